#include "node_check.h"

#include <string.h>

#include "cube/hosts.h"
#include "cube/task.h"
#include "cube/transport.h"

enum { TEXT_MAX = 4095, OPTIONS_MAX = 64 };

/* Names go into command lines and file names, and are listed a line each. */
static bool plain(const char *s, const char *others) {
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 127 || strchr(others, *s)) return false;
	return true;
}

static int check_names(const struct cube_node_request *r, struct cube_err *err) {
	if (!r->name || !*r->name || strlen(r->name) >= CUBE_NAME_LEN)
		return cube_fail(err, CUBE_EUSAGE, "name: 1 to %d bytes", CUBE_NAME_LEN - 1);
	const char *host = r->set.host ? r->set.host : r->name;
	if (host[0] == '-' || strlen(host) >= CUBE_NAME_LEN || !plain(host, ""))
		return cube_fail(err, CUBE_EUSAGE, "host: '%.80s' is no host name", host);
	if (r->set.user && (r->set.user[0] == '-' || !*r->set.user))
		return cube_fail(err, CUBE_EUSAGE, "user: '%.80s' is no user name", r->set.user);
	if (!plain(r->name, ",/"))
		return cube_fail(err, CUBE_EUSAGE,
				 "name: '%.80s' has a character that names may not have", r->name);
	return 0;
}

static int check_lengths(const struct cube_node_settings *s, struct cube_err *err) {
	const char *const texts[] = {s->user, s->identity, s->labels, s->ssh_config, s->transport};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (texts[i] && strlen(texts[i]) > TEXT_MAX)
			return cube_fail(err, CUBE_EUSAGE, "nodes: '%.40s...' is too long",
					 texts[i]);
	}
	return 0;
}

static bool is_word(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* "Key=Value" as ssh -o takes it. A newline would begin another line of a configuration. */
static int check_option(const char *word, struct cube_err *err) {
	size_t n = 0;
	while (is_word(word[n])) n++;
	if (n == 0 || n > 64 || word[n] != '=' || !word[n + 1])
		return cube_fail(err, CUBE_EUSAGE, "options: '%.80s' is not like Key=Value", word);
	if (strlen(word) > TEXT_MAX)
		return cube_fail(err, CUBE_EUSAGE, "options: '%.40s...' is too long", word);
	for (const char *p = word; *p; p++) {
		if (((unsigned char)*p < ' ' && *p != '\t') || *p == 127)
			return cube_fail(err, CUBE_EUSAGE,
					 "options: %.*s has a control character in its value",
					 (int)n, word);
	}
	return 0;
}

static int check_transport(const char *transport, struct cube_err *err) {
	if (!transport || strcmp(transport, "auto") == 0 || strcmp(transport, "ssh") == 0) return 0;
	return cube_transport_command_check(transport, err);
}

static int check_reach(const struct cube_node_settings *s, struct cube_err *err) {
	if (s->jump && (strlen(s->jump) > TEXT_MAX || !cube_hosts_jump_ok(s->jump)))
		return cube_fail(err, CUBE_EUSAGE, "jump: '%.80s' is not like user@host:port",
				 s->jump);
	int rc = check_transport(s->transport, err);
	if (rc) return rc;
	if (s->options.len > OPTIONS_MAX)
		return cube_fail(err, CUBE_EUSAGE, "options: more than %d", OPTIONS_MAX);
	for (size_t i = 0; i < s->options.len; i++) {
		rc = check_option(s->options.v[i], err);
		if (rc) return rc;
	}
	return 0;
}

int cube_node_check(const struct cube_node_request *r, struct cube_err *err) {
	int rc = check_names(r, err);
	if (!rc) rc = check_lengths(&r->set, err);
	return rc ? rc : check_reach(&r->set, err);
}
