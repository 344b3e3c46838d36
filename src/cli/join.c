#include "join.h"

#include <string.h>
#include <unistd.h>

#include "render.h"
#include "select.h"

/* A question has the screen to itself. */
static void draw(struct cube_join *j, bool now) {
	if (!j->midline && !cube_asking_busy(&j->asking)) cube_progress_draw(&j->progress, now);
}

/* Above the live display. */
static void tell_notes(struct cube_join *j, bool now) {
	if (!cube_notes_due(&j->notes, now)) return;
	if (!j->told) cube_progress_hide(&j->progress);
	cube_asking_hide(&j->asking);
	cube_notes_print(&j->notes);
	if (!j->told) draw(j, true);
}

/* What to type for those that wait for a person. */
static void tell_parked(const struct cube_progress *p) {
	json_t *names = json_array();
	for (size_t i = 0; i < p->n; i++) {
		if (p->rows[i].state == CUBE_NODE_NEEDS_LOGIN)
			json_array_append_new(names, json_string(p->rows[i].name));
	}
	cube_autofree char *folded = cube_fold_names(names);
	if (*folded)
		cube_cli_say("%s: waiting for a login; `cube login %s` asks again", folded, folded);
	json_decref(names);
}

static void finish(struct cube_join *j) {
	if (j->told || j->progress.pending) return;
	tell_notes(j, true);
	j->told = true;
	cube_asking_stop(&j->asking);
	if (!j->midline) cube_progress_finish(&j->progress);
	tell_parked(&j->progress);
}

static void hide_progress(void *arg) {
	struct cube_join *j = arg;
	cube_progress_hide(&j->progress);
}

static bool waits_for(void *arg, const char *node) {
	struct cube_join *j = arg;
	return cube_progress_has(&j->progress, node);
}

static int on_event(void *arg, const char *event, const json_t *data) {
	struct cube_join *j = arg;
	const char *node = cube_json_str(data, "node", NULL);
	enum cube_node_state state;
	if (j->told) return 0;
	cube_asking_event(&j->asking, event, data);
	if (!node) return 0;
	if (j->progress.mode == CUBE_PROGRESS_PLAIN) cube_asking_hide(&j->asking);
	if (strcmp(event, "note") == 0) {
		if (cube_progress_has(&j->progress, node))
			cube_notes_add(&j->notes, node, cube_json_str(data, "text", ""));
	} else if (strcmp(event, "progress") == 0) {
		cube_progress_step(&j->progress, node, cube_json_str(data, "step", NULL),
				   cube_json_num(data, "progress", 0));
	} else if (strcmp(event, "node") == 0 &&
		   cube_node_state_parse(cube_json_str(data, "new", ""), &state) == 0) {
		cube_progress_state(&j->progress, node, state, cube_json_str(data, "reason", NULL));
	}
	tell_notes(j, false);
	draw(j, false);
	finish(j);
	return 0;
}

void cube_join_start(struct cube_join *j, struct cube_cli *cli, const json_t *reply,
		     enum cube_progress_mode mode, bool brief) {
	memset(j, 0, sizeof *j);
	j->cli = cli;
	cube_progress_init(&j->progress, mode, STDERR_FILENO, json_object_get(reply, "nodes"));
	j->progress.brief = brief;
	if (mode == CUBE_PROGRESS_PLAIN || brief)
		for (size_t i = 0; i < j->progress.n; i++) cube_progress_note(&j->progress, i);
	int64_t after = (int64_t)cube_json_num(reply, "event", 0);
	draw(j, true);
	cube_asking_start(&j->asking, cli, (struct cube_asking_owner){waits_for, hide_progress}, j);
	if (j->asking.started) cube_watch_start_asking(&j->watch, cli, after, on_event, j);
	else cube_watch_start(&j->watch, cli, after, true, on_event, j);
	finish(j);
}

int cube_join_wait(struct cube_join *j, struct cube_err *err) {
	static const int stops[] = {SIGINT, SIGTERM, 0};
	struct cube_signals signals;
	int rc = 0;
	cube_signals_open(&signals, stops);
	while (!rc && j->progress.pending) {
		struct pollfd p = {.fd = signals.fd, .events = POLLIN};
		cube_client_turn(j->cli->client, &p, 1, 200);
		int signo = cube_signals_next(&signals);
		if (signo) j->asked = j->asking.begun;
		if (signo == SIGINT) cube_client_interrupted(j->cli->client);
		if (signo) {
			rc = cube_fail(err, CUBE_ECANCELED, "interrupted");
			if (err) err->sys = signo;
		} else if (cube_transfer_ended(j->watch.transfer)) {
			rc = cube_transfer_result(j->watch.transfer, err);
			if (!rc)
				rc = cube_fail(
					err, CUBE_ECONNECT,
					"the manager went away; `cube nodes` starts it again, and the nodes go on joining");
		}
		tell_notes(j, false);
		draw(j, false);
	}
	cube_signals_close(&signals);
	return rc;
}

void cube_join_hide(void *join, bool whole) {
	struct cube_join *j = join;
	j->midline = !whole;
	if (j->told) return;
	cube_progress_hide(&j->progress);
	cube_asking_hide(&j->asking);
}

void cube_join_stop(struct cube_join *j) {
	if (!j->cli) return;
	cube_join_hide(j, true);
	if (cube_notes_due(&j->notes, true)) cube_notes_print(&j->notes);
	cube_notes_done(&j->notes);
	cube_asking_stop(&j->asking);
	cube_watch_stop(&j->watch);
	cube_progress_done(&j->progress);
	j->cli = NULL;
}

int cube_join_all(struct cube_cli *cli, const json_t *reply) {
	struct cube_join join;
	struct cube_err err;
	bool live = cube_render_live(STDERR_FILENO);
	cube_join_start(&join, cli, reply, live ? CUBE_PROGRESS_LIVE : CUBE_PROGRESS_PLAIN, false);
	int rc = cube_join_wait(&join, &err), code = join.progress.failed ? 1 : 0;
	cube_join_stop(&join);
	if (rc == CUBE_ECANCELED) {
		cube_cli_say("interrupted; %s go on joining: `cube nodes`, `cube down`",
			     join.asked ? "`cube login` asks again, other nodes" : "the nodes");
		return 128 + err.sys;
	}
	return rc ? cube_cli_fail(&err) : code;
}
