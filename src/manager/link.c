/* The protocol with one worker (PROTOCOL.md section 5), over the node's transport. */
#include <stdio.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/log.h"
#include "cube/program.h"
#include "events.h"
#include "nodes.h"
#include "tasks.h"

#define TRANSPORT_QUEUE (1u << 20)
#define UNFINISHED_MAX  (CUBE_DATA_MAX + 4096) /* no message of a worker is longer */
#define PING_NS         (5 * CUBE_NS_PER_S)

static void send_hello(struct cube_mnode *node) {
	struct cube_msg msg = {.type = CUBE_MSG_HELLO};
	unsigned long size;
	/* Which build the worker must be follows from its architecture, which the first join does
	 * not know yet: the worker's own path is named by its hash and checked by itself, so ""
	 * accepts. */
	if (node->has_facts) cube_worker_image(node->facts.machine, &size, msg.hello.build);
	msg.hello.magic = CUBE_PROTO_MAGIC;
	msg.hello.version = CUBE_PROTO_VERSION;
	msg.hello.cluster = node->m->cluster;
	msg.hello.node = node->id;
	msg.hello.slots = node->auto_slots ? 0 : node->slots;
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
	node->linked = node->told = false;
	cube_buf_clear(&node->outbox);
	cube_push_reset(node, false);
}

void cube_node_send(struct cube_mnode *node, const struct cube_msg *msg) {
	if (!node->transport || node->deploy || !node->linked) return;
	struct cube_err err;
	if (cube_msg_encode(&node->outbox, msg)) {
		cube_fail(&err, CUBE_ETOOBIG, "the host does not take what it is sent");
		cube_node_fail(node, &err);
	}
}

void cube_link_flush(struct cube_mnode *node) {
	size_t n = cube_buf_len(&node->outbox), queued = cube_transport_queued(node->transport);
	size_t room = queued < TRANSPORT_QUEUE ? TRANSPORT_QUEUE - queued : 0;
	if (n > room) n = room;
	if (n && cube_transport_write(node->transport, cube_buf_data(&node->outbox), n) == 0)
		cube_buf_consume(&node->outbox, n);
	if (node->linked) cube_push_pump(node);
}

/* --- what the worker says --- */

static int on_hello(struct cube_mnode *node, const struct cube_msg *msg, struct cube_err *err) {
	struct cube_node_facts *f = &node->facts;
	if (msg->worker_hello.magic != CUBE_PROTO_MAGIC ||
	    msg->worker_hello.version != CUBE_PROTO_VERSION)
		return cube_fail(err, CUBE_EVERSION,
				 "the worker speaks version %u of the protocol, not %u",
				 msg->worker_hello.version, CUBE_PROTO_VERSION);
	if (msg->worker_hello.cluster != node->m->cluster || msg->worker_hello.node != node->id)
		return cube_fail(err, CUBE_EPROTO, "the worker belongs to another cluster or node");
	snprintf(f->hostname, sizeof f->hostname, "%s", msg->worker_hello.hostname);
	snprintf(f->kernel, sizeof f->kernel, "%s %s", msg->worker_hello.sysname,
		 msg->worker_hello.release);
	snprintf(f->machine, sizeof f->machine, "%s", msg->worker_hello.machine);
	f->cpus = msg->worker_hello.cpus;
	f->memory = msg->worker_hello.memory;
	node->new_boot = node->boot && node->boot != msg->worker_hello.boot;
	if (node->new_boot) cube_push_reset(node, true);
	node->boot = msg->worker_hello.boot;
	node->has_facts = node->linked = true;
	if (node->auto_slots) node->slots = f->cpus ? f->cpus : 1;
	return 0;
}

static void on_ready(struct cube_mnode *node) {
	node->retries = 0;
	node->join_took = cube_loop_now(node->m->loop) - node->join_began;
	if (node->state == CUBE_NODE_LEAVING) {
		cube_node_shut_down(node);
		return;
	}
	node->joined = true;
	cube_node_set(node, CUBE_NODE_READY, "");
	cube_timer_after(node->timer, PING_NS);
	cube_tasks_on_ready(node->m->tasks, node);
}

static int on_metric(struct cube_mnode *node, const struct cube_msg *msg) {
	struct cube_store *s = cube_manager_tx(node->m);
	struct cube_err err;
	node->metric_before = node->metric;
	node->metric = msg->metric;
	node->metric.wall = cube_clock_wall(); /* the laptop's axis: hosts' clocks differ */
	node->seen = node->metric.wall;
	cube_manager_must(node->m, s->ops->metric_add(s, node->id, &node->metric, &err), &err);
	return 0;
}

static int on_msg(struct cube_mnode *node, const struct cube_msg *msg, struct cube_err *err) {
	if (msg->type != CUBE_MSG_WORKER_HELLO && msg->type != CUBE_MSG_ERROR && !node->linked)
		return cube_fail(err, CUBE_EPROTO, "the worker does not begin with HELLO");
	switch (msg->type) {
	case CUBE_MSG_WORKER_HELLO: return on_hello(node, msg, err);
	case CUBE_MSG_READY: on_ready(node); return 0;
	case CUBE_MSG_METRIC: return on_metric(node, msg);
	case CUBE_MSG_PONG: return 0;
	case CUBE_MSG_PUSH_DONE: cube_push_done(node, msg); return 0;
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
