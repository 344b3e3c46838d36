/* From the jump host next to the target outwards: see route.h. */
#include "cube/route.h"

#include <stdlib.h>
#include <string.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/parse.h"
#include "cube/text.h"
#include "cube/hop.h"

enum { HOPS_MAX = 8, COMMAND_MAX = 64 * 1024 };

struct cube_route {
	struct cube_loop *loop;
	struct cube_ssh_configs *configs;
	cube_route_fn *fn;
	void *arg;
	char *file;
	bool strict, ask;
	unsigned timeout_s;
	struct cube_openssh hops[HOPS_MAX]; /* the one next to the target first */
	unsigned n;
	struct cube_ssh_lookup *lookup;
	struct cube_err early; /* known at the start, told at the end of the turn */
	bool gone;
};

static void destroy(void *arg) {
	struct cube_route *r = arg;
	for (unsigned i = 0; i < r->n; i++) cube_openssh_done(&r->hops[i]);
	free(r->file);
	free(r);
}

void cube_route_cancel(struct cube_route *r) {
	if (!r || r->gone) return;
	r->gone = true;
	cube_ssh_lookup_cancel(r->lookup);
	cube_loop_defer(r->loop, destroy, r);
}

static void answer(struct cube_route *r, const char *command, const struct cube_err *err) {
	r->lookup = NULL;
	cube_route_cancel(r);
	r->fn(r->arg, command, err);
}

/* The ssh that runs this replaces %-words: those of ours are its target, all others stay. */
static int add_word(struct cube_buf *out, const char *word) {
	struct cube_buf kept;
	int rc = 0;
	cube_buf_init(&kept, COMMAND_MAX);
	for (const char *p = word; rc == 0 && *p; p++)
		rc = *p == '%' ? cube_buf_add(&kept, "%%", 2) : cube_buf_add(&kept, p, 1);
	if (rc == 0) rc = cube_text_shell_quote(out, cube_buf_str(&kept));
	if (rc == 0) rc = cube_buf_add(out, " ", 1);
	cube_buf_done(&kept);
	return rc;
}

static char *command_of(const struct cube_strv *argv) {
	struct cube_buf out;
	cube_buf_init(&out, COMMAND_MAX);
	int rc = add_word(&out, argv->v[0]);
	if (rc == 0) rc = cube_buf_addstr(&out, "-W '[%h]:%p' ");
	for (size_t i = 1; rc == 0 && i < argv->len; i++) rc = add_word(&out, argv->v[i]);
	char *text = rc == 0 ? cube_buf_take(&out, NULL) : NULL;
	cube_buf_done(&out);
	return text;
}

/* The farthest hop's command is the proxy of the next, and so on. */
static char *put_together(struct cube_route *r) {
	char *command = NULL;
	for (unsigned i = r->n; i--;) {
		struct cube_strv argv = {0};
		r->hops[i].proxy = command;
		cube_openssh_jump_argv(&r->hops[i], &argv);
		command = command_of(&argv);
		cube_strv_done(&argv);
		if (!command) return NULL;
	}
	return command;
}

static void finish(struct cube_route *r) {
	struct cube_err err;
	cube_autofree char *command = put_together(r);
	if (!command) cube_fail(&err, CUBE_ETOOBIG, "the way through the jump hosts is too long");
	answer(r, command, command ? NULL : &err);
}

static int next_hop(struct cube_route *r, const char *jumps, struct cube_err *err);

static void on_config(void *arg, const struct cube_ssh_config *config, const struct cube_err *err) {
	struct cube_route *r = arg;
	struct cube_openssh *hop = &r->hops[r->n - 1];
	struct cube_err copy;
	int rc = 0;
	r->lookup = NULL;
	if (err) {
		copy = *err;
		rc = cube_wrap(&copy, "jump host %.60s", hop->host);
	} else {
		cube_openssh_config(hop, config);
		const char *jumps = config->proxyjump;
		if (jumps && !cube_jump_to_itself(jumps, hop->host, config)) {
			rc = next_hop(r, jumps, &copy);
		} else {
			finish(r);
			return;
		}
	}
	if (rc < 0) answer(r, NULL, &copy);
}

static int next_hop(struct cube_route *r, const char *jumps, struct cube_err *err) {
	const char *comma = strrchr(jumps, ',');
	cube_autofree char *before = comma ? cube_strndup(jumps, (size_t)(comma - jumps)) : NULL;
	struct cube_jump_hop hop;
	uint64_t port = 0;
	if (r->n == HOPS_MAX)
		return cube_fail(err, CUBE_EUSAGE, "over %d jump hosts in a row", HOPS_MAX);
	cube_jump_parse(comma ? comma + 1 : jumps, &hop);
	int rc = cube_ssh_check_names(hop.host, hop.user, err);
	if (rc == 0 && hop.port) rc = cube_parse_u64(hop.port, 1, UINT16_MAX, &port, err);
	if (rc < 0) {
		cube_wrap(err, "jump host %.60s", hop.host);
	} else {
		struct cube_target target = {.host = hop.host,
					     .user = hop.user,
					     .port = (uint16_t)port,
					     .ssh_config = r->file,
					     .strict_host_keys = r->strict,
					     .ask = r->ask,
					     .timeout_ns = r->timeout_s * CUBE_NS_PER_S};
		struct cube_openssh *o = &r->hops[r->n++];
		cube_openssh_init(o, &target);
		struct cube_ssh_question q = {.host = o->host,
					      .user = o->user,
					      .port = o->port,
					      .file = o->file,
					      .jump = before};
		r->lookup = cube_ssh_configs_ask(r->configs, &q, on_config, r);
	}
	cube_jump_hop_done(&hop);
	return rc;
}

static void fail_early(void *arg) {
	struct cube_route *r = arg;
	if (!r->gone) answer(r, NULL, &r->early);
}

struct cube_route *cube_route_find(struct cube_loop *loop, struct cube_ssh_configs *configs,
				   const struct cube_route_spec *spec, cube_route_fn *fn,
				   void *arg) {
	struct cube_route *r = cube_alloc(sizeof *r);
	r->loop = loop;
	r->configs = configs;
	r->fn = fn;
	r->arg = arg;
	r->file = cube_strdup(spec->file);
	r->strict = spec->strict;
	r->ask = spec->ask;
	r->timeout_s = spec->timeout_s;
	if (next_hop(r, spec->jumps, &r->early) < 0) cube_loop_defer(loop, fail_early, r);
	return r;
}
