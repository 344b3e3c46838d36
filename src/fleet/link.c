/* The protocol with one worker (PROTOCOL.md section 5), over the node's transport. */
#include <stdio.h>
#include <string.h>

#include "cube/builds.h"
#include "cube/clock.h"
#include "cube/log.h"
#include "cube/events.h"
#include "cube/node_wake.h"
#include "cube/nodes.h"
#include "cube/streams.h"
#include "cube/tasks.h"

#define TRANSPORT_QUEUE (1u << 20)
#define LOW_WATER       (256u << 10)           /* no more bulk over this */
#define UNFINISHED_MAX  (CUBE_DATA_MAX + 4096) /* no message of a worker is longer */
#define PING_NS         (5 * CUBE_NS_PER_S)
#define METRIC_MIN_NS   (200 * CUBE_NS_PER_MS)
#define CPUS_MAX        65536u

/* Any build is accepted: a daemon that an older cube left running may have tasks to finish, and
 * must at least be told to go. See on_ready. */
static void send_hello(struct cube_mnode *node) {
	struct cube_msg msg = {.type = CUBE_MSG_HELLO};
	msg.hello.magic = CUBE_PROTO_MAGIC;
	msg.hello.version = CUBE_PROTO_VERSION;
	msg.hello.cluster = node->m->cluster;
	msg.hello.node = node->id;
	msg.hello.slots = node->auto_slots ? 0 : node->slots;
	msg.hello.features = CUBE_FEATURES;
	msg.epoch = node->m->epoch;
	snprintf(msg.hello.node_name, sizeof msg.hello.node_name, "%s", node->name);
	cube_msg_encode(&node->outbox, &msg);
	cube_link_flush(node);
}

void cube_link_begin(struct cube_mnode *node) {
	node->linked = false;
	node->heard = cube_loop_now(node->m->loop);
	if (node->state == CUBE_NODE_PROBING) cube_node_set(node, CUBE_NODE_STARTING, "");
	cube_node_step(node, "starting", -1);
	send_hello(node);
}

void cube_link_drop(struct cube_mnode *node) {
	if (node->linked) cube_tasks_on_link_down(node->m->tasks, node);
	node->linked = node->told = node->choked = node->other_build = node->signalled = false;
	node->features = node->strangers = 0;
	cube_streams_link_down(node, "the node was taken down");
	cube_buf_clear(&node->outbox);
	cube_push_reset(node, false);
}

void cube_node_send(struct cube_mnode *node, const struct cube_msg *msg) {
	cube_node_send_into(node, &node->outbox, msg);
}

void cube_node_send_into(struct cube_mnode *node, struct cube_buf *out,
			 const struct cube_msg *msg) {
	if (!node->transport || node->deploy || !node->linked || node->choked) return;
	if (cube_msg_encode(out, msg)) cube_node_choke(node);
}

/* Files and streams take turns, behind all control frames. */
static void pump_bulk(struct cube_mnode *node) {
	bool more = true;
	while (more && !cube_buf_len(&node->outbox) &&
	       cube_transport_queued(node->transport) < LOW_WATER) {
		more = cube_push_pump(node);
		if (cube_transport_queued(node->transport) < LOW_WATER)
			more = cube_streams_pump(node) || more;
	}
}

void cube_link_flush(struct cube_mnode *node) {
	if (node->choked) return;
	size_t n = cube_buf_len(&node->outbox), queued = cube_transport_queued(node->transport);
	size_t room = queued < TRANSPORT_QUEUE ? TRANSPORT_QUEUE - queued : 0;
	if (n > room) n = room;
	if (n && cube_transport_write(node->transport, cube_buf_data(&node->outbox), n) == 0)
		cube_buf_consume(&node->outbox, n);
	if (node->linked) pump_bulk(node);
}

/* --- what the worker says --- */

/* What a host says of itself goes to terminals and into JSON. */
static void take_text(char *to, size_t size, const char *from) {
	size_t n = 0;
	for (; from[n] && n < size - 1; n++)
		to[n] = from[n] >= ' ' && from[n] < 127 ? from[n] : '?';
	to[n] = 0;
}

static void take_facts(struct cube_mnode *node, const struct cube_msg *msg) {
	struct cube_node_facts *f = &node->facts;
	char kernel[sizeof f->kernel];
	snprintf(kernel, sizeof kernel, "%s %s", msg->worker_hello.sysname,
		 msg->worker_hello.release);
	take_text(f->hostname, sizeof f->hostname, msg->worker_hello.hostname);
	take_text(f->kernel, sizeof f->kernel, kernel);
	take_text(f->machine, sizeof f->machine, msg->worker_hello.machine);
	f->cpus = msg->worker_hello.cpus < CPUS_MAX ? msg->worker_hello.cpus : CPUS_MAX;
	f->memory = msg->worker_hello.memory < INT64_MAX ? msg->worker_hello.memory : INT64_MAX;
	node->has_facts = true;
	if (node->auto_slots) node->slots = f->cpus ? f->cpus : 1;
	const struct cube_image *image = cube_builds_find(node->m->builds, f->machine);
	node->other_build = image && strcmp(image->sha256, msg->worker_hello.build) != 0;
}

/* What threatens the worker there; told once a daemon, not at each reconnect. */
static void take_notice(struct cube_mnode *node, const char *text) {
	char notice[sizeof node->notice];
	take_text(notice, sizeof notice, text);
	if (*notice && strcmp(notice, node->notice) != 0)
		cube_events_note(node->m->events, node->id, node->name, notice);
	memcpy(node->notice, notice, sizeof notice);
}

static int on_hello(struct cube_mnode *node, const struct cube_msg *msg, struct cube_err *err) {
	if (node->linked) return cube_fail(err, CUBE_EPROTO, "the worker says HELLO twice");
	if (msg->worker_hello.magic != CUBE_PROTO_MAGIC ||
	    msg->worker_hello.version != CUBE_PROTO_VERSION)
		return cube_fail(err, CUBE_EVERSION,
				 "the worker speaks version %u of the protocol, not %u",
				 msg->worker_hello.version, CUBE_PROTO_VERSION);
	if (msg->worker_hello.cluster != node->m->cluster || msg->worker_hello.node != node->id)
		return cube_fail(err, CUBE_EPROTO, "the worker belongs to another cluster or node");
	take_facts(node, msg);
	take_notice(node, msg->worker_hello.notice);
	node->features = msg->worker_hello.features & CUBE_FEATURES;
	node->link_boot = msg->worker_hello.boot;
	if (node->link_boot != node->boot) cube_push_reset(node, true);
	node->linked = true;
	node->linked_at = cube_loop_now(node->m->loop);
	return 0;
}

/* The tasks' ends and the new boot are committed together: a boot that is kept says that all
 * attempts of the one before are settled. */
static int on_ready(struct cube_mnode *node, struct cube_err *err) {
	bool again = node->state == CUBE_NODE_READY;
	if (again) return cube_fail(err, CUBE_EPROTO, "the worker says READY twice");
	node->join_took = cube_loop_now(node->m->loop) - node->join_began;
	cube_tasks_tell_strangers(node->m->tasks, node);
	bool idle = cube_list_empty(&node->attempts);
	if (node->state == CUBE_NODE_LEAVING || (node->other_build && idle)) {
		if (!node->told) cube_node_shut_down(node);
		return 0;
	}
	bool new_boot = node->boot && node->boot != node->link_boot;
	if (node->joined) cube_wake_back(node->m);
	node->joined = true;
	node->boot = node->link_boot;
	cube_node_set(node, CUBE_NODE_READY, "");
	cube_timer_after(node->timer, PING_NS);
	cube_tasks_on_ready(node->m->tasks, node, new_boot);
	return 0;
}

static int on_metric(struct cube_mnode *node, const struct cube_msg *msg) {
	struct cube_store *s = cube_turn_tx(&node->m->turn);
	struct cube_err err;
	uint64_t now = cube_loop_now(node->m->loop);
	if (node->metric_at && now - node->metric_at < METRIC_MIN_NS) return 0; /* one a second */
	node->metric_at = now;
	node->metric_before = node->metric;
	node->metric = msg->metric;
	node->metric.wall = cube_clock_wall(); /* the laptop's axis: hosts' clocks differ */
	node->seen = node->metric.wall;
	cube_turn_must(&node->m->turn, s->ops->metric_add(s, node->id, &node->metric, &err), &err);
	return 0;
}

static int on_msg(struct cube_mnode *node, const struct cube_msg *msg, struct cube_err *err) {
	if (msg->type != CUBE_MSG_WORKER_HELLO && msg->type != CUBE_MSG_ERROR && !node->linked)
		return cube_fail(err, CUBE_EPROTO, "the worker does not begin with HELLO");
	switch (msg->type) {
	case CUBE_MSG_WORKER_HELLO: return on_hello(node, msg, err);
	case CUBE_MSG_READY: return on_ready(node, err);
	case CUBE_MSG_METRIC: return on_metric(node, msg);
	case CUBE_MSG_PONG: cube_tasks_on_answer(node->m->tasks, node, msg->ping.token); return 0;
	case CUBE_MSG_PUSH_DONE: cube_push_done(node, msg); return 0;
	case CUBE_MSG_STREAM_OUTPUT:
	case CUBE_MSG_STREAM_GRANT:
	case CUBE_MSG_STREAM_CLOSED: return cube_streams_on_msg(node, msg, err);
	case CUBE_MSG_ERROR:
		return cube_fail(err,
				 msg->error.code == CUBE_PROTO_ERR_REPLACED ? CUBE_ECONNECT
									    : CUBE_EVERSION,
				 "the worker refuses: %s", msg->error.message);
	case CUBE_MSG_ATTEMPT:
	case CUBE_MSG_STARTED:
	case CUBE_MSG_EXIT:
	case CUBE_MSG_LOG:
	case CUBE_MSG_STDIN_ACK: return cube_tasks_on_msg(node->m->tasks, node, msg, err);
	default:
		return cube_fail(err, CUBE_EPROTO, "the worker sends %s, which is not its to send",
				 cube_msg_name(msg->type));
	}
}

size_t cube_link_in(struct cube_mnode *node, const uint8_t *bytes, size_t n) {
	size_t used = 0;
	struct cube_err err;
	struct cube_msg msg;
	struct cube_transport *transport = node->transport;
	node->heard = cube_loop_now(node->m->loop);
	while (used < n) {
		size_t one = 0;
		int rc = cube_msg_decode(bytes + used, n - used, &msg, &one, &err);
		if (rc == CUBE_AGAIN && n - used > UNFINISHED_MAX)
			rc = cube_fail(&err, CUBE_EPROTO,
				       "the worker announces a frame longer than any it may send");
		if (rc == CUBE_AGAIN) break;
		if (!rc) rc = on_msg(node, &msg, &err);
		if (rc) {
			cube_wrap(&err, "protocol");
			cube_node_fail(node, &err);
		}
		if (node->transport != transport) return n; /* failed, or left */
		used += one;
	}
	return used;
}
