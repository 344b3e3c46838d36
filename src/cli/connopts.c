#include "connopts.h"

#include "asking.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define AT(member) offsetof(struct cube_conn_options, member)
const struct cube_option cube_conn_option_rows[] = {
	{"user", NULL, 'l', CUBE_OPT_STRING, AT(user), "NAME",
	 "log in as NAME where none is given"},
	{"port", NULL, 'p', CUBE_OPT_UINT, AT(port), "PORT", "where none is given", NULL, NULL, 1,
	 65535},
	{"identity", NULL, 0, CUBE_OPT_STRING, AT(identity), "KEY",
	 "private key file, as ssh -i; no other is tried"},
	{"ssh-config", NULL, 'F', CUBE_OPT_STRING, AT(ssh_config), "FILE", "as for ssh -F"},
	{"jump", NULL, 'J', CUBE_OPT_STRING, AT(jump), "HOSTS", "as for ssh -J: through these"},
	{"option", NULL, 'o', CUBE_OPT_LIST, AT(options), "KEY=VALUE", "as for ssh -o"},
	{"host-key-check", NULL, 0, CUBE_OPT_STRING, AT(host_key_check), "HOW",
	 "strict refuses hosts whose key was never seen, accept-new remembers it", "accept-new",
	 "strict|accept-new"},
	{"transport", NULL, 0, CUBE_OPT_STRING, AT(transport), "HOW",
	 "auto (ssh, and openssh where that cannot), ssh (built in), openssh (the ssh program), or a "
	 "command such as 'docker exec -i {host}'",
	 "auto"},
	{"become", NULL, 0, CUBE_OPT_FLAG, AT(become), NULL,
	 "run as root, by sudo, whose password is asked for once (no letter: -b is --fold)"},
	{"connect-timeout", NULL, 0, CUBE_OPT_DURATION, AT(connect_timeout), "TIME",
	 "give a host up after this", "10s"},
	{0},
};

/* --- paths: the manager's folder is another one --- */

static char *from_home(const char *path) {
	const char *home = getenv("HOME");
	if (strncmp(path, "~/", 2) != 0 || !home) return cube_strdup(path);
	return cube_strf("%s%s", home, path + 1);
}

static int set_path(json_t *object, const char *key, const char *path, struct cube_err *err) {
	cube_autofree char *given = from_home(path);
	cube_autofree char *full = realpath(given, NULL);
	if (!full) return cube_fail_sys(err, errno, "%.160s", path);
	json_object_set_new(object, key, cube_json_bytes(full, strlen(full)));
	return 0;
}

/* What ssh would look for in this folder. */
static bool is_relative(const char *word, size_t n) {
	return n > 0 && !strchr("/~%$", *word) && !(n == 4 && !strncasecmp(word, "none", 4));
}

static int add_paths(struct cube_buf *out, const char *value) {
	cube_autofree char *here = getcwd(NULL, 0);
	int rc = 0;
	while (!rc && *value) {
		size_t blanks = strspn(value, " \t"), n = strcspn(value + blanks, " \t");
		rc = cube_buf_add(out, value, blanks);
		value += blanks;
		if (!rc && here && is_relative(value, n)) rc = cube_buf_printf(out, "%s/", here);
		if (!rc) rc = cube_buf_add(out, value, n);
		value += n;
	}
	return rc;
}

/* --- ssh's options --- */

/* "Key=Value" of that or of "Key Value", which ssh takes as well. */
static char *option_text(const char *word, struct cube_err *err) {
	static const char *const paths[] = {"IdentityFile", "CertificateFile", "UserKnownHostsFile",
					    "GlobalKnownHostsFile", "RevokedHostKeys"};
	size_t n = strcspn(word, "= \t");
	const char *value = word + n + strspn(word + n, " \t");
	struct cube_buf out;
	bool path = false;
	if (*value == '=') value += 1 + strspn(value + 1, " \t");
	if (!n || !*value) {
		cube_fail(err, CUBE_EUSAGE, "--option: '%.80s' is not like KEY=VALUE", word);
		return NULL;
	}
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		path |= strlen(paths[i]) == n && !strncasecmp(word, paths[i], n);
	cube_buf_init(&out, 64u << 10);
	int rc = cube_buf_add(&out, word, n);
	if (!rc) rc = cube_buf_addstr(&out, "=");
	if (!rc)
		rc = path && !strpbrk(value, "\"'\\") ? add_paths(&out, value)
						      : cube_buf_addstr(&out, value);
	char *text = rc ? NULL : cube_buf_take(&out, NULL);
	if (rc) cube_fail(err, CUBE_ETOOBIG, "--option: '%.40s...' is too long", word);
	cube_buf_done(&out);
	return text;
}

static int add_options(json_t *body, const struct cube_strv *options, struct cube_err *err) {
	json_t *list = json_array();
	int rc = 0;
	for (size_t i = 0; !rc && i < options->len; i++) {
		cube_autofree char *text = option_text(options->v[i], err);
		json_t *s = text ? json_string(text) : NULL;
		if (s) json_array_append_new(list, s);
		else
			rc = text ? cube_fail(err, CUBE_EUSAGE, "--option: '%.80s' is not UTF-8",
					      text)
				  : err->code;
	}
	if (!rc && json_array_size(list)) json_object_set(body, "options", list);
	json_decref(list);
	return rc;
}

/* --- the body --- */

static int add_reach(json_t *node, const struct cube_conn_options *o, const struct cube_host *h,
		     const struct cube_hosts_entry *e, struct cube_err *err) {
	const struct cube_host *file = e ? &e->host : h;
	const char *user = h->user ? h->user : o->user ? o->user : file->user;
	uint64_t port = h->port ? h->port : o->port != CUBE_OPT_UNSET ? o->port : file->port;
	const char *host = file->host && *file->host ? file->host : h->host;
	int rc = cube_json_set_text(node, "host", host, err);
	if (!rc) rc = cube_json_set_text(node, "user", user, err);
	if (!rc && e) rc = cube_json_set_text(node, "transport", e->transport, err);
	if (!rc && e && !o->jump) rc = cube_json_set_text(node, "jump", e->jump, err);
	if (rc) return rc;
	if (port) json_object_set_new(node, "port", json_integer((json_int_t)port));
	if (o->identity) return set_path(node, "key", o->identity, err);
	if (e && e->key) json_object_set_new(node, "key", cube_json_bytes(e->key, strlen(e->key)));
	return 0;
}

static int add_node(json_t *list, const struct cube_conn_options *o, const struct cube_selection *s,
		    const struct cube_host *h, uint64_t slots, struct cube_err *err) {
	const struct cube_hosts_entry *e =
		s->has_hosts ? cube_hosts_find(&s->hosts, h->name) : NULL;
	json_t *node = json_pack("{s:s}", "name", h->name);
	json_array_append_new(list, node);
	if (slots == CUBE_OPT_UNSET) slots = e ? e->slots : 0;
	if (slots) json_object_set_new(node, "slots", json_integer((json_int_t)slots));
	int rc = e ? cube_json_set_text(node, "labels", e->labels, err) : 0;
	if (rc) return rc;
	if (!h->local && !(e && e->host.local)) return add_reach(node, o, h, e, err);
	json_object_set_new(node, "local", json_true());
	return 0;
}

static int add_common(json_t *body, const struct cube_conn_options *o, struct cube_err *err) {
	bool none = o->ssh_config && !strcasecmp(o->ssh_config, "none"); /* ssh knows the word */
	int rc = none            ? cube_json_set_text(body, "ssh_config", "none", err)
		 : o->ssh_config ? set_path(body, "ssh_config", o->ssh_config, err)
				 : 0;
	if (!rc) rc = cube_json_set_text(body, "jump", o->jump, err);
	if (!rc) rc = cube_json_set_text(body, "transport", o->transport, err);
	if (!rc) rc = cube_json_set_text(body, "host_key_check", o->host_key_check, err);
	if (!rc) rc = add_options(body, &o->options, err);
	json_object_set_new(body, "connect_timeout", json_real((double)o->connect_timeout / 1e9));
	if (o->become) json_object_set_new(body, "become", json_true());
	if (cube_asking_possible()) json_object_set_new(body, "ask", json_true());
	return rc;
}

int cube_conn_body(const struct cube_conn_options *o, const struct cube_selection *s,
		   uint64_t slots, json_t **ret, struct cube_err *err) {
	json_t *list = json_array(), *body = json_pack("{s:o}", "nodes", list);
	int rc = 0;
	for (size_t i = 0; !rc && i < s->set.len; i++)
		rc = add_node(list, o, s, &s->set.v[i], slots, err);
	if (!rc) rc = add_common(body, o, err);
	if (rc) json_decref(body);
	else *ret = body;
	return rc;
}
