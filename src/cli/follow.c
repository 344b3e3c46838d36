#include "follow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/clock.h"
#include "frames.h"
#include "select.h"
#include "signals.h"
#include "writeout.h"

#define TWICE_NS  (2 * CUBE_NS_PER_S)
#define MAX_FAIL  101
#define COME_BACK 5 /* tries, without anything new in between */

enum progress { NOT_YET, RUNNING, ENDED };

struct follow {
	struct cube_cli *cli;
	const struct cube_follow_config *config;
	struct cube_follow_result result;
	struct cube_frames frames;
	struct cube_output output;
	struct cube_signals signals;
	uint8_t *progress; /* of each task */
	uint64_t *seen;    /* [2 * (task - first) + stream - 1]: where its bytes go on */
	struct cube_transfer *logs, *input;
	unsigned tries;       /* to come back to a manager that went away */
	bool came_back;       /* what was seen comes again, then */
	json_t *reasons;      /* how tasks failed */
	uint64_t interrupted; /* when Ctrl-C was last pressed, monotonic; 0: never */
	struct cube_err err;  /* of frames that cannot be read */
};

char *cube_follow_why(const json_t *row) {
	const char *how = cube_json_str(row, "how", ""), *reason = cube_json_str(row, "reason", "");
	int code = (int)cube_json_num(row, "code", 0);
	if (strcmp(how, "exited") == 0) return code ? cube_strf("exit code %d", code) : NULL;
	if (strcmp(how, "signaled") == 0)
		return cube_strf("killed by signal %s", cube_json_str(row, "signal", "?"));
	if (*reason) return cube_strdup(reason);
	if (strcmp(how, "timeout") == 0) return cube_strdup("stopped after its timeout");
	if (*how) return cube_strdup(how);
	return strcmp(cube_json_str(row, "state", ""), "failed") == 0 ? cube_strdup("failed")
								      : NULL;
}

void cube_follow_count(struct cube_follow_result *r, uint64_t tasks, const json_t *row) {
	int code = (int)cube_json_num(row, "exit_code", 125);
	r->ended++;
	if (code != 0) r->failed++;
	r->exit_code = tasks == 1 ? code : r->failed < MAX_FAIL ? (int)r->failed : MAX_FAIL;
}

static void stop_those_not_begun(struct follow *f) {
	const struct cube_follow_config *c = f->config;
	for (uint64_t i = 0; i < c->count; i++) {
		struct pollfd p = {.fd = f->signals.fd, .events = POLLIN};
		if (f->progress[i] != NOT_YET) continue;
		if (poll(&p, 1, 0) > 0) break; /* pressed again */
		cube_autofree char *task =
			cube_strf("/v1/tasks/%llu", (unsigned long long)(c->first + i));
		cube_client_json(f->cli->client, "DELETE", task, NULL, NULL, NULL);
	}
}

/* The tasks that have not begun are stopped; those that run get the signal. Some may get it later,
 * which is told in any case. */
static void interrupt(struct follow *f) {
	const struct cube_follow_config *c = f->config;
	struct cube_err err;
	json_t *body = json_pack("{s:s}", "signal", "INT"), *reply = NULL;
	cube_autofree char *path = cube_strf("/v1/%s/%llu/signal", c->ref.job ? "jobs" : "tasks",
					     (unsigned long long)c->ref.id);
	int rc = cube_client_json(f->cli->client, "POST", path, body, &reply, &err);
	stop_those_not_begun(f);
	unsigned long long waiting = (unsigned long long)cube_json_num(reply, "waiting", 0);
	if (rc && rc != CUBE_ECONFLICT) cube_cli_say("not interrupted: %s", err.msg);
	else if (waiting)
		cube_cli_say("interrupt sent, but to %llu of %llu tasks only when their nodes are "
			     "back (`cube nodes` tells); Ctrl-C again within 2 s leaves",
			     waiting, (unsigned long long)c->count);
	else if (isatty(STDERR_FILENO))
		cube_cli_say(
			"interrupt sent; Ctrl-C again within 2 s leaves, and the work goes on");
	json_decref(reply);
	json_decref(body);
}

/* Looks at a signal; the exit code to leave with, or 0. */
static int on_signal(void *arg) {
	struct follow *f = arg;
	int signo = cube_signals_next(&f->signals);
	if (signo == 0) return 0;
	if (signo == SIGTERM) return f->result.left = 128 + SIGTERM;
	uint64_t now = cube_clock_mono();
	bool twice = f->interrupted && now - f->interrupted < TWICE_NS;
	if (!f->config->attached || twice) return f->result.left = 130;
	f->interrupted = now;
	cube_client_interrupted(f->cli->client);
	interrupt(f);
	return 0;
}

static int on_write(void *arg, int fd, const void *bytes, size_t n) {
	struct follow *f = arg;
	bool whole = n && ((const char *)bytes)[n - 1] == '\n';
	if (f->config->before) f->config->before(f->config->arg, whole || !n);
	int rc = cube_write_out(fd, bytes, n, f->signals.fd, on_signal, f);
	if (rc) f->result.left = rc;
	return rc;
}

static void note_end(struct follow *f, const struct cube_frame *frame) {
	cube_follow_count(&f->result, f->config->count, frame->task_row);
	cube_autofree char *why = cube_follow_why(frame->task_row);
	if (!why) return;
	char name[64];
	snprintf(name, sizeof name, "task-%llu", (unsigned long long)frame->task);
	cube_reasons_add(f->reasons, why, *frame->node ? frame->node : name);
}

static int on_state(struct follow *f, const struct cube_frame *frame) {
	const struct cube_follow_config *c = f->config;
	if (frame->task < c->first || frame->task - c->first >= c->count) return 0;
	uint8_t *progress = &f->progress[frame->task - c->first];
	bool final = strcmp(frame->state, "completed") == 0 || strcmp(frame->state, "failed") == 0;
	if (!final) {
		if (*progress != ENDED && strcmp(frame->state, "running") == 0) *progress = RUNNING;
		return 0;
	}
	if (*progress == ENDED) return cube_output_end(&f->output, frame->task);
	*progress = ENDED;
	note_end(f, frame);
	return 0;
}

/* How many of the frame's bytes were printed before the manager went away. */
static size_t skip_seen(struct follow *f, const struct cube_frame *frame) {
	uint64_t *seen = &f->seen[(frame->task - f->config->first) * 2 + frame->stream - 1];
	uint64_t end = frame->offset + frame->n, old = f->came_back ? *seen : 0;
	if (end <= old) return frame->n;
	*seen = end;
	f->tries = 0;
	return old > frame->offset ? (size_t)(old - frame->offset) : 0;
}

static int on_frame(void *arg, const struct cube_frame *frame) {
	struct follow *f = arg;
	const struct cube_follow_config *c = f->config;
	if (frame->stream == CUBE_STDIN) return on_state(f, frame);
	if (c->only_stream && (int)frame->stream != c->only_stream) return 0;
	if (frame->task < c->first || frame->task - c->first >= c->count) return 0;
	size_t skip = skip_seen(f, frame);
	return cube_output_bytes(&f->output, frame->task, frame->node, frame->stream, frame->time,
				 frame->bytes + skip, frame->n - skip);
}

static int on_bytes(void *arg, const void *bytes, size_t n) {
	struct follow *f = arg;
	return cube_frames_feed(&f->frames, bytes, n, on_frame, f, &f->err);
}

static void turn_until_end(struct follow *f) {
	while (!cube_transfer_ended(f->logs) && !f->result.left) {
		struct pollfd p = {.fd = f->signals.fd, .events = POLLIN};
		cube_client_turn(f->cli->client, &p, 1, -1);
		while (p.revents && !f->result.left && on_signal(f) == 0) {
			if (poll(&p, 1, 0) <= 0) break;
		}
	}
}

static void open_logs(struct follow *f) {
	const struct cube_follow_config *c = f->config;
	char tail[48] = "";
	if (c->tail != CUBE_OPT_UNSET)
		snprintf(tail, sizeof tail, "%stail=%llu", c->follow ? "&" : "?",
			 (unsigned long long)c->tail);
	cube_autofree char *path =
		cube_strf("/v1/%s/%llu/logs%s%s", c->ref.job ? "jobs" : "tasks",
			  (unsigned long long)c->ref.id, c->follow ? "?follow=1" : "", tail);
	f->logs = cube_client_get(f->cli->client, path, on_bytes, f);
}

static int fail_gone(const struct follow *f, struct cube_err *err) {
	const struct cube_follow_config *c = f->config;
	bool job = c->ref.job && c->count > 1;
	return cube_fail(
		err, CUBE_ECONNECT,
		"the manager went away; the work goes on: `cube logs -f %s%llu` comes back to it",
		job ? "job:" : "", (unsigned long long)(job ? c->ref.id : c->first));
}

/* The stream ended before the tasks did, as the manager went away: starts another one, and goes on
 * where it was. Not with input, of which nobody knows how much arrived. */
static bool come_back(struct follow *f) {
	const struct cube_follow_config *c = f->config;
	struct cube_err err;
	int rc = f->result.left ? 0 : cube_transfer_result(f->logs, &err);
	if (f->result.left || f->result.ended >= c->count || (rc && rc != CUBE_ECONNECT))
		return false;
	if (!c->follow || c->tail != CUBE_OPT_UNSET || f->input) return false;
	bool first = f->tries == 0;
	do {
		/* the old one may be just leaving, then there is no starting yet */
		struct pollfd p = {.fd = f->signals.fd, .events = POLLIN};
		if (f->tries >= COME_BACK) return false;
		if (poll(&p, 1, 100 * (int)f->tries++) > 0 && on_signal(f)) return false;
	} while (cube_client_start_manager(&f->cli->paths, &err));
	if (c->before) c->before(c->arg, true);
	if (first) cube_cli_say("the manager went away; it was started again");
	f->came_back = true;
	cube_transfer_free(f->logs);
	cube_frames_done(&f->frames);
	cube_frames_init(&f->frames);
	open_logs(f);
	return true;
}

/* What the end of the stream means. */
static int conclude(struct follow *f, struct cube_err *err) {
	if (f->result.left) return 0;
	int rc = cube_transfer_result(f->logs, err);
	if (rc > 0) return f->result.left = rc, 0;
	if (rc && f->err.code) *err = f->err;
	else if (rc == CUBE_ECONNECT) return fail_gone(f, err);
	if (!rc) rc = cube_frames_end(&f->frames, err);
	if (!rc) {
		int stop = cube_output_finish(&f->output);
		if (stop < 0) return cube_fail(err, stop, "no memory for output");
		if (stop) f->result.left = stop;
	}
	if (!rc && f->config->follow && f->result.ended < f->config->count && !f->result.left)
		return fail_gone(f, err);
	return rc;
}

/* One that exited by itself needs no words; several are told together. */
static void tell_reasons(struct follow *f) {
	const struct cube_follow_config *c = f->config;
	if (!c->attached || json_object_size(f->reasons) == 0) return;
	if (c->before) c->before(c->arg, true);
	const char *reason = json_object_iter_key(json_object_iter(f->reasons));
	if (c->count == 1 && strncmp(reason, "exit code ", 10) == 0) return;
	cube_reasons_print(f->reasons, "error: ");
}

int cube_follow(struct cube_cli *cli, const struct cube_follow_config *config,
		struct cube_follow_result *ret, struct cube_err *err) {
	static const int signals[] = {SIGINT, SIGTERM, 0};
	struct follow f = {.cli = cli, .config = config};
	struct cube_output_config output = config->output;
	output.first = config->first;
	output.count = config->count;
	f.progress = cube_alloc(config->count + 1);
	f.seen = cube_alloc((config->count * 2 + 1) * sizeof *f.seen);
	f.reasons = json_object();
	cube_frames_init(&f.frames);
	cube_output_init(&f.output, &output, on_write, &f);
	cube_signals_open(&f.signals, signals);
	open_logs(&f);
	if (config->input) {
		cube_autofree char *path =
			cube_strf("/v1/tasks/%llu/stdin", (unsigned long long)config->first);
		f.input = cube_client_post(cli->client, path, STDIN_FILENO);
	}
	do turn_until_end(&f);
	while (come_back(&f));
	int rc = conclude(&f, err);
	tell_reasons(&f);
	cube_transfer_free(f.input);
	cube_transfer_free(f.logs);
	cube_signals_close(&f.signals);
	cube_output_done(&f.output);
	cube_frames_done(&f.frames);
	json_decref(f.reasons);
	free(f.progress);
	free(f.seen);
	if (!rc) *ret = f.result;
	return rc;
}
