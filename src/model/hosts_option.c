#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"
#include "cube/parse.h"
#include "hosts_internal.h"
#include "nodeset_internal.h"
#include "quote.h"

enum { SLOTS_MAX = 65536 };

void cube_hosts_set(char **field, const char *value) {
	char *copy = cube_strdup(value);

	free(*field);
	*field = copy;
}

int cube_hosts_slots(const char *text, uint32_t *ret, struct cube_err *err) {
	struct cube_err why;
	uint64_t v;

	if (cube_parse_u64(text, 1, SLOTS_MAX, &v, &why) < 0)
		return cube_fail(err, CUBE_EUSAGE, "slots: %s", why.msg);
	*ret = (uint32_t)v;
	return 0;
}

struct option {
	const char *name;
	int (*read)(struct cube_hosts_options *o, const char *value, size_t column, size_t *work,
		    struct cube_err *err);
};

static int read_user(struct cube_hosts_options *o, const char *value, size_t column, size_t *work,
		     struct cube_err *err) {
	struct cube_quote q;

	if (!cube_term_is_user(value))
		return cube_fail(err, CUBE_EUSAGE,
				 "user: %s has characters other than letters, digits and ._+-",
				 cube_quote(&q, value));
	cube_hosts_set(&o->user, value);
	return 0;
}

static int read_port(struct cube_hosts_options *o, const char *value, size_t column, size_t *work,
		     struct cube_err *err) {
	struct cube_err why;
	uint64_t v;

	if (cube_parse_u64(value, 1, UINT16_MAX, &v, &why) < 0)
		return cube_fail(err, CUBE_EUSAGE, "port: %s", why.msg);
	o->port = (uint16_t)v;
	return 0;
}

static int read_key(struct cube_hosts_options *o, const char *value, size_t column, size_t *work,
		    struct cube_err *err) {
	cube_hosts_set(&o->key, value);
	return 0;
}

/* What may stand behind ssh -J: "[user@]host[:port]", several parted by commas. */
bool cube_hosts_jump_ok(const char *jump) {
	if (!*jump || *jump == '-' || strstr(jump, ",-")) return false;
	for (const char *p = jump; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 127 || strchr("'`\"$\\;&<>|(){}*?!#~", *p))
			return false;
	return true;
}

static int read_jump(struct cube_hosts_options *o, const char *value, size_t column, size_t *work,
		     struct cube_err *err) {
	struct cube_quote q;

	if (!cube_hosts_jump_ok(value))
		return cube_fail(err, CUBE_EUSAGE, "jump: %s is not like user@host:port",
				 cube_quote(&q, value));
	cube_hosts_set(&o->jump, value);
	return 0;
}

static int read_transport(struct cube_hosts_options *o, const char *value, size_t column,
			  size_t *work, struct cube_err *err) {
	cube_hosts_set(&o->transport, value);
	return 0;
}

static int read_slots(struct cube_hosts_options *o, const char *value, size_t column, size_t *work,
		      struct cube_err *err) {
	return cube_hosts_slots(value, &o->slots, err);
}

/* Words as in "gpu,zone=eu": plain enough to be compared and printed anywhere. */
static int read_labels(struct cube_hosts_options *o, const char *value, size_t column, size_t *work,
		       struct cube_err *err) {
	struct cube_quote q;
	bool empty = true, named = false;

	for (const char *p = value;; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9') || (*p && strchr("._-/", *p));

		if (plain) {
			empty = false;
		} else if (*p == '=' && !empty && !named) {
			named = true;
		} else if ((*p == ',' || *p == '\0') && !empty) {
			empty = true;
			named = false;
		} else {
			return cube_fail(
				err, CUBE_EUSAGE,
				"labels: %s is not like gpu,zone=eu (letters, digits and ._-/)",
				cube_quote(&q, value));
		}
		if (!*p) break;
	}
	cube_hosts_set(&o->labels, value);
	return 0;
}

static int read_host(struct cube_hosts_options *o, const char *value, size_t column, size_t *work,
		     struct cube_err *err) {
	int rc;

	cube_nodeset_done(&o->host);
	rc = cube_nodeset_eval(&o->host, value, column, NULL, work, err);
	if (rc < 0) return rc;
	for (size_t i = 0; i < o->host.len; i++) {
		const struct cube_host *h = &o->host.v[i];
		struct cube_quote q;

		if (h->user || h->port || (h->local && strcmp(h->name, "localhost")))
			return cube_fail(
				err, CUBE_EUSAGE,
				"host: %s is more than an address; user= and port= say the rest",
				cube_quote(&q, value));
	}
	o->has_host = true;
	return 0;
}

static const struct option options[] = {
	{"user", read_user},   {"port", read_port},           {"key", read_key},
	{"slots", read_slots}, {"labels", read_labels},       {"host", read_host},
	{"jump", read_jump},   {"transport", read_transport},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

static int unknown_option(const char *name, struct cube_err *err) {
	const char *candidates[OPTIONS + 1], *near;
	struct cube_quote q;

	for (size_t i = 0; i < OPTIONS; i++) candidates[i] = options[i].name;
	candidates[OPTIONS] = NULL;
	near = cube_parse_nearest(name, candidates);
	if (near)
		return cube_fail(err, CUBE_EUSAGE, "there is no option %s; did you mean %s=?",
				 cube_quote(&q, name), near);
	return cube_fail(
		err, CUBE_EUSAGE,
		"there is no option %s; known are user, port, key, jump, transport, slots, "
		"labels and host",
		cube_quote(&q, name));
}

int cube_hosts_option(struct cube_hosts_options *o, char *word, size_t column, size_t *work,
		      struct cube_err *err) {
	char *value = strchr(word, '=');

	*value++ = '\0';
	for (size_t i = 0; i < OPTIONS; i++) {
		if (strcmp(word, options[i].name) != 0) continue;
		if (!*value)
			return cube_fail(err, CUBE_EUSAGE, "%s= has no value", options[i].name);
		o->any = true;
		return options[i].read(o, value, column + (size_t)(value - word), work, err);
	}
	return unknown_option(word, err);
}

int cube_hosts_apply(const struct cube_hosts_options *o, size_t i, struct cube_hosts_entry *e,
		     struct cube_err *err) {
	if (e->host.local &&
	    (o->user || o->port || o->key || o->jump || o->transport || o->has_host))
		return cube_fail(err, CUBE_EUSAGE,
				 "%s is reached without ssh: user, port, key, jump, transport and "
				 "host say nothing; write 127.0.0.1 for ssh",
				 e->host.name);
	if (o->user) cube_hosts_set(&e->host.user, o->user);
	if (o->port) e->host.port = o->port;
	if (o->key) cube_hosts_set(&e->key, o->key);
	if (o->jump) cube_hosts_set(&e->jump, o->jump);
	if (o->transport) cube_hosts_set(&e->transport, o->transport);
	if (o->labels) cube_hosts_set(&e->labels, o->labels);
	if (o->slots) e->slots = o->slots;
	if (o->has_host) {
		const struct cube_host *to = &o->host.v[i];

		cube_hosts_set(&e->host.host, to->local ? to->name : to->host);
	}
	return 0;
}

void cube_hosts_options_done(struct cube_hosts_options *o) {
	free(o->user);
	free(o->key);
	free(o->jump);
	free(o->transport);
	free(o->labels);
	cube_nodeset_done(&o->host);
	*o = (struct cube_hosts_options){0};
}
