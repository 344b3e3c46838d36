#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "cube/mem.h"
#include "cube/parse.h"
#include "forward.h"
#include "stream.h"

struct args {
	struct cube_common common;
};

#define PARTS_MAX 5

/* Takes the part at *at; false at the end of the word. */
static bool next_part(const char **at, char **ret) {
	const char *p = *at, *end;
	if (*p == '[') {
		end = strchr(++p, ']');
		if (!end || (end[1] && end[1] != ':')) return false;
		*ret = cube_strndup(p, (size_t)(end - p));
		end++;
	} else {
		end = p + strcspn(p, ":");
		*ret = cube_strndup(p, (size_t)(end - p));
	}
	*at = *end ? end + 1 : NULL;
	return true;
}

static bool is_port(const char *text, uint64_t least) {
	uint64_t port;
	return cube_parse_u64(text, least, 65535, &port, NULL) == 0;
}

/* A word of four parts has either BIND or HOST: a port comes first where it has no BIND. */
static bool place(char **v, size_t n, struct cube_forward *f) {
	size_t at = 0;
	bool bind = n == 5 || (n == 4 && !is_port(v[0], 0));
	f->bind = cube_strdup(bind ? v[at++] : "127.0.0.1");
	if (strcmp(f->bind, "*") == 0) f->bind[0] = '\0';
	if (n < 3) return false;
	f->local = cube_strdup(v[at++]);
	f->node = cube_strdup(v[at++]);
	f->host = cube_strdup(n - at == 2 ? v[at++] : "127.0.0.1");
	f->port = at < n ? cube_strdup(v[at++]) : NULL;
	return at == n && f->port && is_port(f->local, 0) && is_port(f->port, 1) && *f->node &&
	       *f->host;
}

int cube_forward_parse(const char *word, struct cube_forward *ret, struct cube_err *err) {
	char *v[PARTS_MAX] = {NULL};
	const char *at = word;
	size_t n = 0;
	bool ok = true;
	while (ok && at && n < PARTS_MAX) {
		ok = next_part(&at, &v[n]);
		n += ok;
	}
	*ret = (struct cube_forward){0};
	ok = ok && !at && place(v, n, ret);
	for (size_t i = 0; i < n; i++) free(v[i]);
	if (ok) return 0;
	cube_forward_done(ret);
	return cube_fail(err, CUBE_EUSAGE, "'%.80s' is not [BIND:]LOCALPORT:NODE:[HOST:]PORT",
			 word);
}

void cube_forward_done(struct cube_forward *f) {
	free(f->bind);
	free(f->local);
	free(f->node);
	free(f->host);
	free(f->port);
	*f = (struct cube_forward){0};
}

/* The node must be there, and joined or on its way: later it may come and go. */
static int check_node(struct cube_cli *cli, const char *name, struct cube_err *err) {
	json_t *reply = NULL, *node;
	size_t i;
	bool known = false;
	int rc = cube_client_json(cli->client, "GET", "/v1/nodes", NULL, &reply, err);
	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		if (strcmp(cube_json_str(node, "name", ""), name) != 0) continue;
		known = true;
		if (!cube_rstream_node_may(node))
			rc = cube_fail(err, CUBE_ECONFLICT, "%.80s is %s: %.120s", name,
				       cube_json_str(node, "state", ""),
				       cube_json_str(node, "reason", ""));
	}
	json_decref(reply);
	return rc || known ? rc : cube_rstream_no_node(name, err);
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	struct cube_forward *list = cube_alloc((n + 1) * sizeof *list);
	struct cube_err err;
	int rc = 0;
	if (n == 0)
		rc = cube_fail(&err, CUBE_EUSAGE,
			       "what? cube forward [BIND:]LOCALPORT:NODE:[HOST:]PORT...");
	for (size_t i = 0; !rc && i < n; i++) rc = cube_forward_parse(words[i], &list[i], &err);
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	for (size_t i = 0; !rc && i < n; i++) rc = check_node(cli, list[i].node, &err);
	if (!rc) rc = cube_forward_run(cli, list, n, &err);
	for (size_t i = 0; i < n; i++) cube_forward_done(&list[i]);
	free(list);
	return rc ? cube_cli_fail(&err) : 0;
}

static const struct cube_option_group groups[] = {
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_forward = {
	.name = "forward",
	.usage = "[BIND:]LOCALPORT:NODE:[HOST:]PORT...",
	.help = "carry connections to local ports over to a node",
	.text = "Listens on 127.0.0.1 (or BIND; * is every address) until Ctrl-C. Each connection is made\n"
		"anew from NODE to HOST (127.0.0.1, that is NODE itself) and PORT. LOCALPORT 0 takes a free\n"
		"one; a line on stdout tells each when it listens. It rides on the worker's channel, so\n"
		"sshd may forbid forwarding. A part with colons goes in [brackets]. A connection waits up\n"
		"to 10 s for a node that is on its way; a manager that went away is started again.\n",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
