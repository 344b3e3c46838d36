#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attempt.h"
#include "cube/clock.h"
#include "cube/id.h"
#include "cube/mem.h"
#include "runner.h"

enum { NOFILE_MAX = 65536 };

/* ---- the table ------------------------------------------------------------------------------ */

/* Some descriptors for each task add up to more than the usual soft limit of 1,024. */
static void raise_limit(struct runner *r) {
	struct rlimit all;

	prlimit(0, RLIMIT_NOFILE, NULL, &r->nofile);
	all = r->nofile;
	if (all.rlim_cur < NOFILE_MAX)
		all.rlim_cur = all.rlim_max < NOFILE_MAX ? all.rlim_max : NOFILE_MAX;
	prlimit(0, RLIMIT_NOFILE, &all, NULL); /* musl's setrlimit is 2 KB */
}

void runner_init(struct runner *r, struct cube_loop *loop, struct files *files,
		 struct sweeper *sweeper) {
	*r = (struct runner){.loop = loop, .files = files, .node_name = "", .node_cookie = ""};
	r->sweeper = sweeper;
	r->home = getenv("HOME");
	if (!r->home || r->home[0] != '/' || access(r->home, X_OK) < 0) r->home = "/";
	r->folder = "";
	raise_limit(r);
	r->buckets = cube_alloc(RUNNER_BUCKETS * sizeof *r->buckets);
	cube_list_init(&r->all);
	cube_list_init(&r->queue);
	cube_list_init(&r->dirty);
	cube_list_init(&r->unsent);
}

static struct attempt **bucket(struct runner *r, uint64_t task, uint32_t attempt) {
	uint64_t h = (task * 31 + attempt) * 0x9e3779b97f4a7c15ull;

	return &r->buckets[(h >> 32) % RUNNER_BUCKETS];
}

static bool is_about(const struct cube_msg *msg, const struct attempt *a) {
	return a->task == msg->task && a->attempt == msg->attempt && a->epoch == msg->epoch;
}

struct attempt *runner_find(struct runner *r, const struct cube_msg *msg) {
	struct attempt *a = *bucket(r, msg->task, msg->attempt);

	while (a && !is_about(msg, a)) a = a->chain;
	return a;
}

static void init_output(struct attempt *a, struct output *o, uint8_t stream) {
	o->owner = a;
	o->stream = stream;
	o->fd = -1;
	spool_init(&o->spool, SPOOL_LIMIT);
}

static struct attempt *new_attempt(struct runner *r, const struct cube_msg *msg) {
	struct attempt *a = cube_alloc(sizeof *a), **head = bucket(r, msg->task, msg->attempt);

	a->r = r;
	a->task = msg->task;
	a->attempt = msg->attempt;
	a->epoch = msg->epoch;
	a->state = CUBE_ATTEMPT_QUEUED;
	a->timeout_ms = msg->start.timeout_ms;
	a->grace_ms = msg->start.grace_ms;
	a->has_stdin = msg->start.flags & CUBE_START_STDIN;
	a->in.fd = -1;
	cube_buf_init(&a->in.buf, RUNNER_STDIN_MAX);
	init_output(a, &a->out, CUBE_STDOUT);
	init_output(a, &a->err, CUBE_STDERR);
	memcpy(a->cookie, "CUBE_COOKIE=", 12);
	cube_id_hex(cube_id_u64(), a->cookie + 12);
	a->chain = *head;
	*head = a;
	cube_list_append(&r->all, &a->all);
	r->count++;
	return a;
}

static void drop_spec(struct attempt *a) {
	if (a->spec) a->r->queued_bytes -= a->spec->bytes;
	free(a->spec);
	a->spec = NULL;
}

static void free_attempt(struct attempt *a) {
	struct attempt **at = bucket(a->r, a->task, a->attempt);

	while (*at != a) at = &(*at)->chain;
	*at = a->chain;
	attempt_release(a);
	login_forget(&a->wait);
	cube_list_remove(&a->all);
	cube_list_remove(&a->queue);
	cube_list_remove(&a->dirty);
	cube_list_remove(&a->out.unsent);
	cube_list_remove(&a->err.unsent);
	spool_done(&a->out.spool);
	spool_done(&a->err.spool);
	drop_spec(a);
	free(a->message);
	a->r->count--;
	free(a);
}

void runner_done(struct runner *r) {
	if (!r->buckets) return;
	cube_list_each (&r->all, a, struct attempt, all) {
		if (a->state == CUBE_ATTEMPT_RUNNING && !a->reaped)
			cube_loop_forget_child(r->loop, a->pid);
		free_attempt(a);
	}
	free(r->buckets);
	r->buckets = NULL;
}

/* ---- what is due ---------------------------------------------------------------------------- */

void runner_need(struct attempt *a, uint8_t needs) {
	a->needs |= needs;
	if (!cube_list_linked(&a->dirty)) cube_list_append(&a->r->dirty, &a->dirty);
}

void runner_mark_unsent(struct output *o) {
	bool due = !o->held && o->sent < spool_end(&o->spool);

	if (!due) cube_list_remove(&o->unsent);
	else if (!cube_list_linked(&o->unsent)) cube_list_append(&o->owner->r->unsent, &o->unsent);
}

void runner_finished(struct attempt *a, bool was_running) {
	struct runner *r = a->r;

	a->state = CUBE_ATTEMPT_FINISHED;
	drop_spec(a);
	if (a->scratch) files_scratch_remove(r->files, a->task, a->attempt);
	a->scratch = false;
	runner_need(a, NEED_EXIT);
	if (!was_running) return;
	r->running--;
	runner_kick(r);
}

/* False: it waits again, as the first one. It keeps the files it has. */
static bool begin(struct attempt *a) {
	bool places = a->spec->files.count && !a->placed;

	if (!places) a->state = CUBE_ATTEMPT_RUNNING;
	if (places ? attempt_place(a) : attempt_begin(a)) {
		if (a->state != CUBE_ATTEMPT_QUEUED) drop_spec(a);
		return true;
	}
	a->state = CUBE_ATTEMPT_QUEUED;
	a->r->running--;
	cube_list_push(&a->r->queue, &a->queue);
	return false; /* the next one that ends kicks */
}

void runner_placed(struct attempt *a) {
	if (!a->r->closing) begin(a);
}

/* Starting may fail and finish at once, which kicks again: only the outermost call loops. */
void runner_kick(struct runner *r) {
	if (r->kicking) return;
	r->kicking = true;
	while (!r->closing && r->running < r->slots && !cube_list_empty(&r->queue)) {
		struct attempt *a = cube_container(r->queue.next, struct attempt, queue);

		cube_list_remove(&a->queue);
		r->running++;
		if (!begin(a)) break;
	}
	r->kicking = false;
}

void runner_set_slots(struct runner *r, uint32_t slots) {
	r->slots = slots;
	runner_kick(r);
}

static void rewind_output(struct output *o) {
	o->sent = spool_begin(&o->spool);
	o->held = o->sent < spool_end(&o->spool);
	runner_mark_unsent(o);
}

void runner_rewind(struct runner *r) {
	cube_list_each (&r->all, a, struct attempt, all) {
		rewind_output(&a->out);
		rewind_output(&a->err);
		if (a->has_stdin) runner_need(a, NEED_STDIN_ACK);
		if (a->state == CUBE_ATTEMPT_RUNNING) runner_need(a, NEED_STARTED);
		if (a->state == CUBE_ATTEMPT_FINISHED) runner_need(a, NEED_EXIT);
	}
}

void runner_kill_all(struct runner *r) {
	r->closing = true;
	cube_list_each (&r->all, a, struct attempt, all) {
		if (a->state == CUBE_ATTEMPT_RUNNING && !a->reaped) kill(-a->pid, SIGKILL);
		place_kill(&a->place);
	}
}

/* ---- messages ------------------------------------------------------------------------------- */

static void refuse(struct attempt *a, int sys, const char *why) {
	a->how = CUBE_EXIT_NOT_STARTED;
	a->value = sys;
	a->message = cube_strdup(why);
	a->finished = cube_clock_wall();
	runner_finished(a, false);
}

/* A repeated START is answered with what is known, and starts nothing. */
static void answer_again(struct attempt *a) {
	if (a->state == CUBE_ATTEMPT_RUNNING) runner_need(a, NEED_STARTED);
	if (a->state == CUBE_ATTEMPT_FINISHED) runner_need(a, NEED_EXIT);
}

static void on_login(void *arg, const struct cube_err *err) {
	struct attempt *a = arg;

	if (err) {
		input_close(&a->in);
		refuse(a, err->sys ? err->sys : EIO, err->msg);
		return;
	}
	cube_list_append(&a->r->queue, &a->queue);
	runner_kick(a->r);
}

int runner_start(struct runner *r, const struct cube_msg *msg, struct cube_err *err) {
	struct attempt *a = runner_find(r, msg);
	int rc;

	if (a) {
		answer_again(a);
		return 0;
	}
	if (msg->epoch != r->epoch)
		return cube_fail(err, CUBE_EPROTO,
				 "START of task %" PRIu64 " under another epoch than HELLO's",
				 msg->task);
	rc = start_spec_check(msg, err);
	if (rc < 0) return rc;
	if (r->count >= RUNNER_ATTEMPTS_MAX)
		return cube_fail(err, CUBE_EPROTO, "more than %u attempts", RUNNER_ATTEMPTS_MAX);
	a = new_attempt(r, msg);
	if (r->queued_bytes < RUNNER_QUEUED_MAX) a->spec = start_spec_copy(msg);
	if (!a->spec) {
		refuse(a, ENOMEM, "the worker's queue is full");
		return 0;
	}
	r->queued_bytes += a->spec->bytes;
	if (a->spec->flags & CUBE_START_LOGIN && !login_environ(r->login)) {
		a->wait = (struct login_wait){.done = on_login, .arg = a};
		login_ask(r->login, &a->wait);
		return 0;
	}
	cube_list_append(&r->queue, &a->queue);
	runner_kick(r);
	return 0;
}

int runner_signal(struct runner *r, const struct cube_msg *msg, struct cube_err *err) {
	struct attempt *a = runner_find(r, msg);

	if (msg->signal.signo < 1 || msg->signal.signo > 64)
		return cube_fail(err, CUBE_EPROTO, "SIGNAL %" PRId32, msg->signal.signo);
	if (a && a->state == CUBE_ATTEMPT_RUNNING && !a->reaped) kill(-a->pid, msg->signal.signo);
	return 0;
}

static void release_hold(struct output *o) {
	o->held = false;
	runner_mark_unsent(o);
}

int runner_stop(struct runner *r, const struct cube_msg *msg, struct cube_err *err) {
	struct attempt *a = runner_find(r, msg);

	if (!a) return 0;
	/* A manager that does not know the attempt sends no ACK, only this: its EXIT must come. */
	release_hold(&a->out);
	release_hold(&a->err);
	if (a->state == CUBE_ATTEMPT_RUNNING) {
		attempt_end(a, CUBE_EXIT_STOPPED, msg->stop.grace_ms);
	} else if (a->place.pid) {
		attempt_stop_placing(a);
	} else if (a->state == CUBE_ATTEMPT_QUEUED) {
		cube_list_remove(&a->queue);
		login_forget(&a->wait);
		a->how = CUBE_EXIT_STOPPED;
		a->finished = cube_clock_wall();
		input_close(&a->in);
		runner_finished(a, false);
	} else runner_need(a, NEED_EXIT);
	return 0;
}

/* The bytes of msg that are new, given that everything before `have` is here. */
static int new_part(const struct cube_msg *msg, uint64_t have, struct cube_slice *ret,
		    struct cube_err *err) {
	size_t n = msg->data.bytes.n, skip;

	if (msg->data.offset > have)
		return cube_fail(err, CUBE_EPROTO, "STDIN at %" PRIu64 ", expected %" PRIu64,
				 msg->data.offset, have);
	skip = have - msg->data.offset < n ? (size_t)(have - msg->data.offset) : n;
	*ret = (struct cube_slice){msg->data.bytes.p + skip, n - skip};
	return 0;
}

int runner_stdin(struct runner *r, const struct cube_msg *msg, struct cube_err *err) {
	struct attempt *a = runner_find(r, msg);
	struct cube_slice part = {NULL, 0};
	struct input *in;
	bool takes;
	int rc;

	if (!a) return 0;
	in = &a->in;
	rc = new_part(msg, in->taken + cube_buf_len(&in->buf), &part, err);
	if (rc < 0) return rc;
	if (part.n && in->eof) return cube_fail(err, CUBE_EPROTO, "STDIN after its end");
	takes = in->fd >= 0 || (a->state == CUBE_ATTEMPT_QUEUED && a->has_stdin);
	if (msg->data.eof) in->eof = true;
	if (!takes) {
		in->taken += part.n;
		runner_need(a, NEED_STDIN_ACK);
		return 0;
	}
	rc = cube_buf_add(&in->buf, part.p, part.n);
	if (rc == CUBE_ETOOBIG)
		return cube_fail(err, CUBE_EPROTO, "more than %u bytes of STDIN in flight",
				 RUNNER_STDIN_MAX);
	if (rc < 0) return cube_fail_sys(err, ENOMEM, "STDIN");
	if (in->fd >= 0) input_flush(a);
	return 0;
}

int runner_ack(struct runner *r, const struct cube_msg *msg, struct cube_err *err) {
	struct attempt *a = runner_find(r, msg);
	struct output *o;
	int rc;

	if (msg->ack.stream != CUBE_STDOUT && msg->ack.stream != CUBE_STDERR)
		return cube_fail(err, CUBE_EPROTO, "ACK of stream %u", msg->ack.stream);
	if (!a) return 0;
	o = msg->ack.stream == CUBE_STDOUT ? &a->out : &a->err;
	rc = spool_ack(&o->spool, msg->ack.offset, err);
	if (rc < 0) return rc;
	if (o->sent < spool_begin(&o->spool)) o->sent = spool_begin(&o->spool);
	release_hold(o);
	if (a->needs & NEED_EXIT) runner_need(a, NEED_EXIT);
	output_resume(o);
	return 0;
}

int runner_forget(struct runner *r, const struct cube_msg *msg, struct cube_err *err) {
	struct attempt *a = runner_find(r, msg);

	if (a && a->state == CUBE_ATTEMPT_FINISHED) free_attempt(a);
	return 0;
}
