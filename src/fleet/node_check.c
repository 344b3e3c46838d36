#include "node_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/hosts.h"
#include "cube/task.h"
#include "cube/transport.h"

enum { TEXT_MAX = 4095, OPTIONS_MAX = 64, DIFFERS_MAX = 128 };

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

/* --- a node that is there already --- */

const char *cube_node_transport(const struct cube_node *node) {
	return cube_node_settings_transport(&node->set, node->fallback != NULL);
}

static bool other(const char *has, const char *wanted) {
	return wanted && (!has || strcmp(has, wanted) != 0);
}

static bool other_options(const struct cube_strv *has, const struct cube_strv *wanted) {
	if (!wanted->len) return false;
	if (has->len != wanted->len) return true;
	for (size_t i = 0; i < has->len; i++)
		if (strcmp(has->v[i], wanted->v[i]) != 0) return true;
	return false;
}

/* The account there: as it was asked for, or as the configuration turned out to have it. */
static bool other_user(const struct cube_node *node, const struct cube_node_request *r) {
	const char *has = node->set.user ? node->set.user : node->login;
	return !r->set.local && other(has, r->set.user);
}

/* A node's own name is no wish for a host, also where that is this machine. */
static bool other_host(const struct cube_node *node, const struct cube_node_request *r) {
	const char *has = node->set.host ? node->set.host : node->name, *wants = r->set.host;
	if (r->set.local || !wants || strcmp(wants, node->name) != 0)
		if (r->set.local != node->set.local) return true;
	return other(wants, node->name) && other(has, wants);
}

static size_t add_row(char *out, size_t used, bool differs, const char *name) {
	if (!differs) return used;
	return used +
	       (size_t)snprintf(out + used, DIFFERS_MAX - used, "%s%s", used ? ", " : "", name);
}

/* What r asks for and the node does not have; same_way: also how it is reached. */
static void differences(const struct cube_node *node, const struct cube_node_request *r,
			bool same_way, char out[DIFFERS_MAX]) {
	const struct cube_node_settings *has = &node->set, *wants = &r->set;
	const struct {
		const char *name;
		bool way, differs;
	} rows[] = {
		{"host", false, other_host(node, r)},
		{"user", false, other_user(node, r)},
		{"become", false, wants->become && !has->become},
		{"port", true, wants->port && has->port != wants->port},
		{"identity", true, other(has->identity, wants->identity)},
		{"ssh-config", true, other(has->ssh_config, wants->ssh_config)},
		{"jump", true, other(has->jump, wants->jump)},
		{"option", true, other_options(&has->options, &wants->options)},
		{"host-key-check", true, wants->strict_host_keys && !has->strict_host_keys},
		{"transport", true,
		 !cube_node_settings_choose(wants) && !wants->local &&
			 other(cube_node_transport(node), wants->transport)},
	};
	size_t used = 0;
	out[0] = 0;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (same_way || !rows[i].way)
			used = add_row(out, used, rows[i].differs, rows[i].name);
}

int cube_node_check_same(const struct cube_node *node, const struct cube_node_request *r,
			 bool same_way, struct cube_err *err) {
	char what[DIFFERS_MAX];
	const char *user = node->set.user ? node->set.user : node->login;
	differences(node, r, same_way, what);
	if (!*what) return 0;
	return cube_fail(err, CUBE_ECONFLICT,
			 "%.80s is a node already%s%.40s; not as asked for: %s. `cube down %.80s` "
			 "first, or give this one another name",
			 node->name, *user ? ", logged in to as " : "", user, what, node->name);
}

bool cube_node_kept(const struct cube_node *node, const struct cube_node_request *r) {
	return r->slots && (node->auto_slots || node->slots != r->slots);
}

void cube_node_take(struct cube_node *node, const struct cube_node_request *r) {
	struct cube_node_settings now = r->set;
	struct cube_node_settings old = node->set;
	/* What may be left on the host is the account's it was put there by. */
	if (node->joined && !now.user) now.user = old.user;
	if (node->joined && old.become) now.become = true;
	cube_node_settings_copy(&node->set, &now);
	cube_node_settings_done(&old);
	free(node->fallback);
	node->fallback = NULL;
	node->auto_slots = r->slots == 0;
	node->slots = r->slots;
}
