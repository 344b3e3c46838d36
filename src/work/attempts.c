/* What workers say about attempts, and what becomes of them when a link comes or goes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/task.h"
#include "cube/events.h"
#include "cube/logs.h"
#include "cube/fleet.h"
#include "push.h"
#include "work_impl.h"

#define OFFSET_MAX  (1ull << 60) /* of a stream; more is a lie */
#define LISTED_MAX  65536u       /* attempts: a worker holds no more */
#define ATTEMPT_MAX (1u << 20)   /* so many times nothing is tried; likewise */

static struct cube_task *find(struct cube_work *t, const struct cube_node *node,
			      const struct cube_msg *msg) {
	struct cube_task *task = cube_work_find(t, msg->task);
	if (!task || task->row.attempt != msg->attempt || task->row.epoch != msg->epoch ||
	    task->row.node != node->id)
		return NULL;
	return task->row.state == CUBE_TASK_PENDING ? NULL : task;
}

static int take_start(void *arg, const struct cube_task_row *row) {
	struct cube_task_row *to = arg;
	to->attempt = row->attempt;
	to->epoch = row->epoch;
	return 0;
}

/* A later attempt than the database has, or the same of another epoch: it was started by what this
 * database lost. (An earlier one may have been given up.) */
static bool is_stranger(struct cube_work *t, const struct cube_msg *msg) {
	struct cube_store *s = t->is.turn->store;
	struct cube_task_row row = {0};
	if (s->ops->task_get(s, msg->task, take_start, &row, NULL) < 0) return true;
	return msg->attempt > row.attempt ||
	       (msg->attempt == row.attempt && msg->epoch != row.epoch);
}

/* What this manager starts is to have a number that no worker knows. */
static void on_stranger(struct cube_work *t, struct cube_node *node, const struct cube_msg *msg) {
	struct cube_task *task = cube_work_find(t, msg->task);
	cube_ids_above(t->ids, msg->task);
	if (task && msg->attempt > task->above && msg->attempt <= ATTEMPT_MAX)
		task->above = msg->attempt;
	if (!cube_seat_of(node)->strangers++) cube_seat_of(node)->stranger = msg->task;
}

void cube_attempts_tell_strangers(struct cube_work *t, struct cube_node *node) {
	const char *state = cube_node_state_name(node->state);
	char text[240];
	if (!cube_seat_of(node)->strangers) return;
	snprintf(text, sizeof text,
		 "%u attempt%s found that this database never started (the first of task %llu) and "
		 "stopped: the database was taken back to an earlier state, or is in use twice",
		 (unsigned)cube_seat_of(node)->strangers,
		 cube_seat_of(node)->strangers == 1 ? " was" : "s were",
		 (unsigned long long)cube_seat_of(node)->stranger);
	cube_warn("%s: %s", node->name, text);
	cube_events_node(t->is.events, node->id, state, state, text);
	cube_seat_of(node)->strangers = 0;
}

/* An attempt that this manager does not follow: it is to end, and its output is not waited for. */
static void on_unknown(struct cube_work *t, struct cube_node *node, const struct cube_msg *msg) {
	struct cube_msg reply = {.task = msg->task, .attempt = msg->attempt, .epoch = msg->epoch};
	switch (msg->type) {
	case CUBE_MSG_ATTEMPT:
		if (is_stranger(t, msg)) on_stranger(t, node, msg);
		reply.type =
			msg->known.state == CUBE_ATTEMPT_FINISHED ? CUBE_MSG_FORGET : CUBE_MSG_STOP;
		break;
	case CUBE_MSG_EXIT: reply.type = CUBE_MSG_FORGET; break;
	case CUBE_MSG_LOG:
		reply.type = CUBE_MSG_ACK;
		reply.ack.stream = msg->data.stream;
		reply.ack.offset = msg->data.offset + msg->data.bytes.n;
		break;
	default: return;
	}
	cube_node_send(node, &reply);
}

/* The worker no longer has bytes that this manager acknowledged and then lost: a power cut took its
 * newest commits. The task goes on with a hole in its log, said as its reason. */
static int skip_lost(struct cube_work *t, struct cube_task *task, uint8_t stream, uint64_t begin,
		     struct cube_err *err) {
	uint64_t *end = stream == CUBE_STDOUT ? &task->row.out_end : &task->row.err_end;
	char text[120];
	if (begin <= *end) return 0;
	if (begin > OFFSET_MAX)
		return cube_fail(err, CUBE_EPROTO, "task %llu: no stream is that long",
				 (unsigned long long)task->row.id);
	snprintf(text, sizeof text, "bytes %llu to %llu of its %s were lost on this machine",
		 (unsigned long long)*end, (unsigned long long)begin,
		 stream == CUBE_STDOUT ? "output" : "error output");
	cube_warn("task %llu: %s", (unsigned long long)task->row.id, text);
	free(task->reason);
	task->reason = cube_strdup(text);
	*end = begin;
	return 0;
}

static int on_known(struct cube_work *t, struct cube_task *task, const struct cube_msg *msg,
		    struct cube_err *err) {
	uint64_t had = task->row.out_end + task->row.err_end;
	int rc = skip_lost(t, task, CUBE_STDOUT, msg->known.out_begin, err);
	if (!rc) rc = skip_lost(t, task, CUBE_STDERR, msg->known.err_begin, err);
	if (rc) return rc;
	task->known = true;
	task->ack_out = task->ack_err = true;
	if (task->row.out_end + task->row.err_end != had) cube_task_changed(t, task);
	else cube_task_tell(t, task);
	return 0;
}

static void on_started(struct cube_work *t, struct cube_task *task, const struct cube_msg *msg) {
	if (task->row.state != CUBE_TASK_SCHEDULED) return; /* said again after a reconnect */
	task->row.started = cube_clock_wall();
	cube_task_set(t, task, CUBE_TASK_RUNNING, "");
	cube_task_send_signals(t, task);
}

static int on_log(struct cube_work *t, struct cube_task *task, const struct cube_msg *msg,
		  struct cube_err *err) {
	bool is_out = msg->data.stream == CUBE_STDOUT;
	uint64_t *end = is_out ? &task->row.out_end : &task->row.err_end;
	const uint8_t *bytes = msg->data.bytes.p;
	size_t n = msg->data.bytes.n;
	if (msg->data.offset > *end)
		return cube_fail(err, CUBE_EPROTO,
				 "task %llu: output is missing between %llu and %llu",
				 (unsigned long long)task->row.id, (unsigned long long)*end,
				 (unsigned long long)msg->data.offset);
	uint64_t overlap = *end - msg->data.offset;
	if (overlap < n) {
		struct cube_err disk;
		int rc = cube_logs_append(t->is.logs, task->row.id, task->row.attempt,
					  msg->data.stream, *end, bytes + overlap,
					  n - (size_t)overlap, &disk);
		cube_turn_must(t->is.turn, rc, &disk);
		*end += n - (size_t)overlap;
		cube_task_changed(t, task);
	}
	*(is_out ? &task->ack_out : &task->ack_err) = true;
	cube_task_tell(t, task);
	return 0;
}

/* A moving mean over about the last eight; feeds the prefetch. */
static void learn(struct cube_node *node, uint64_t took) {
	if (!took) return;
	cube_seat_of(node)->mean_ns =
		cube_seat_of(node)->mean_ns
			? cube_seat_of(node)->mean_ns - cube_seat_of(node)->mean_ns / 8 + took / 8
			: took;
	if (!cube_seat_of(node)->mean_ns) cube_seat_of(node)->mean_ns = 1;
}

/* How long it ran by the host's clock; 0 where that makes no sense. */
static uint64_t run_time(const struct cube_msg *msg) {
	int64_t from = msg->exit.started, to = msg->exit.finished;
	if (from <= 0 || to <= from) return 0;
	return (uint64_t)(to - from);
}

static uint64_t figure(uint64_t v) {
	return v < OFFSET_MAX ? v : OFFSET_MAX; /* the store takes no more than 2^63 */
}

/* The host had one of its files and has it no more, or somebody changed it there: the files are
 * sent again, and the task, of which nothing has run, gets another attempt. */
static bool send_files_again(struct cube_work *t, struct cube_node *node, struct cube_task *task,
			     const struct cube_msg *msg) {
	const struct cube_spec *spec = &task->job->spec;
	if (msg->exit.how != CUBE_EXIT_NOT_STARTED || msg->exit.value != ESTALE) return false;
	if (!spec->nfiles || task->refused || task->resent) return false;
	if (task->stopping || task->input_acked) return false;
	cube_warn("%s: %s; sent again", node->name, msg->exit.message);
	struct cube_msg forget = cube_task_msg(task, CUBE_MSG_FORGET);
	cube_node_send(node, &forget);
	cube_push_forget(node, spec->files, spec->nfiles);
	task->resent = true;
	cube_task_next_attempt(t, task, node);
	cube_task_send_start(t, task, node);
	if (!cube_task_final(task->row.state)) cube_task_resend_input(task, node);
	return true;
}

static int on_exit_(struct cube_work *t, struct cube_node *node, struct cube_task *task,
		    const struct cube_msg *msg, struct cube_err *err) {
	if (msg->exit.out_end != task->row.out_end || msg->exit.err_end != task->row.err_end)
		return cube_fail(
			err, CUBE_EPROTO,
			"task %llu: ended at %llu/%llu bytes of output, received %llu/%llu",
			(unsigned long long)task->row.id, (unsigned long long)msg->exit.out_end,
			(unsigned long long)msg->exit.err_end,
			(unsigned long long)task->row.out_end,
			(unsigned long long)task->row.err_end);
	if (send_files_again(t, node, task, msg)) return 0;
	int64_t now = cube_clock_wall();
	uint64_t took = run_time(msg);
	learn(node, took);
	/* The duration is the host's, the point in time the laptop's: their clocks may differ. */
	task->row.finished = now;
	if (msg->exit.started) task->row.started = now - (int64_t)took;
	if (task->row.started && task->row.started < task->row.created && task->row.created < now)
		task->row.started = task->row.created;
	task->row.user_us = figure(msg->exit.user_us);
	task->row.sys_us = figure(msg->exit.sys_us);
	task->row.max_rss = figure(msg->exit.max_rss);
	/* For want of a file that was refused, which is not the program's fault. */
	if (task->refused && msg->exit.how == CUBE_EXIT_NOT_STARTED)
		cube_task_end(t, task, msg->exit.how, 0, task->refused);
	else cube_task_end(t, task, msg->exit.how, msg->exit.value, msg->exit.message);
	return 0;
}

/* A list has an end: whoever goes on with it would use up numbers, and make holes in logs. */
static int check_list(struct cube_node *node, const struct cube_msg *msg, struct cube_err *err) {
	if (msg->type != CUBE_MSG_ATTEMPT) return 0;
	if (node->state == CUBE_NODE_READY)
		return cube_fail(err, CUBE_EPROTO, "the worker lists an attempt after READY");
	if (cube_seat_of(node)->strangers < LISTED_MAX) return 0;
	cube_seat_of(node)->strangers = 0;
	return cube_fail(err, CUBE_EPROTO, "the worker lists more than %u attempts", LISTED_MAX);
}

int cube_attempts_message(void *arg, struct cube_node *node, const struct cube_msg *msg,
			  struct cube_err *err) {
	struct cube_work *t = arg;
	int rc = check_list(node, msg, err);
	if (rc) return rc;
	struct cube_task *task = find(t, node, msg);
	if (!task) {
		on_unknown(t, node, msg);
		return 0;
	}
	switch (msg->type) {
	case CUBE_MSG_ATTEMPT: return on_known(t, task, msg, err);
	case CUBE_MSG_STARTED: on_started(t, task, msg); return 0;
	case CUBE_MSG_LOG: return on_log(t, task, msg, err);
	case CUBE_MSG_EXIT: return on_exit_(t, node, task, msg, err);
	case CUBE_MSG_STDIN_ACK: cube_task_input_acked(t, task, msg->ack.offset); return 0;
	default:
		return cube_fail(err, CUBE_EINTERNAL, "%s is no message about a task",
				 cube_msg_name(msg->type));
	}
}

/* --- links --- */

/* It was sent no START that is known of on its node. Where that may have been lost with this
 * database's newest commits, rather than on its way, it is another attempt. */
static void start_again(struct cube_work *t, struct cube_task *task, struct cube_node *node) {
	if (!task->sent) cube_task_next_attempt(t, task, node);
	cube_task_send_start(t, task, node);
	if (!cube_task_final(task->row.state)) cube_task_resend_input(task, node);
}

/* The worker has listed what it knows. What it does not know it either never got, or lost with a
 * daemon that died: a task that may have run is not run again. */
void cube_attempts_ready(struct cube_work *t, struct cube_node *node, bool new_boot) {
	cube_list_each (&cube_seat_of(node)->attempts, task, struct cube_task, queue) {
		if (task->known) {
			cube_task_send_signals(t, task);
			if (task->stopping) cube_work_stop(t, task, task->stop_grace_ms);
			cube_task_resend_input(task, node);
		} else if (task->row.state == CUBE_TASK_SCHEDULED && !new_boot) {
			if (task->stopping)
				cube_task_end(t, task, CUBE_EXIT_STOPPED, 0,
					      "stopped before it started");
			else start_again(t, task, node);
		} else {
			cube_task_end(t, task, task->stopping ? CUBE_EXIT_STOPPED : CUBE_EXIT_LOST,
				      0,
				      new_boot ? "the worker that ran it died"
					       : "how it ended was lost on this machine");
		}
	}
}

void cube_attempts_down(struct cube_node *node) {
	cube_list_each (&cube_seat_of(node)->attempts, task, struct cube_task, queue) {
		task->known = false;
		task->signalled = 0;
		task->ack_out = task->ack_err = false;
	}
}

void cube_attempts_end(struct cube_work *t, struct cube_node *node, const char *reason) {
	cube_list_each (&cube_seat_of(node)->attempts, task, struct cube_task, queue) {
		cube_task_end(t, task, task->stopping ? CUBE_EXIT_STOPPED : CUBE_EXIT_LOST, 0,
			      reason);
	}
	cube_list_each (&cube_seat_of(node)->bound, task, struct cube_task, queue) {
		cube_task_end(t, task, CUBE_EXIT_NOT_STARTED, 0, reason);
	}
	cube_jobs_check(t, reason);
}
