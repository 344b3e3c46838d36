/* The protocol with one worker (PROTOCOL.md section 5), over the node's transport. */
#include <stdio.h>
#include <string.h>

#include "cube/builds.h"
#include "cube/clock.h"
#include "cube/log.h"
#include "cube/events.h"
#include "wake.h"
#include "node_link.h"

#define TRANSPORT_QUEUE (1u << 20)
#define LOW_WATER       (256u << 10)           /* no more bulk over this */
#define PIECE_MAX       (1u << 20)             /* handed to the transport at once */
#define UNFINISHED_MAX  (CUBE_DATA_MAX + 4096) /* no message of a worker is longer */
#define PING_NS         (5 * CUBE_NS_PER_S)
#define METRIC_MIN_NS   (200 * CUBE_NS_PER_MS)
#define CPUS_MAX        65536u

/* All of a second's go out in one turn, and what they bring comes back in few. */
void cube_link_ping_later(struct cube_node *node) {
	uint64_t now = cube_loop_now(node->fleet->is.turn->loop);
	cube_timer_after(node->link->timer, PING_NS - now % CUBE_NS_PER_S);
}

/* Any build is accepted: a daemon that an older cube left running may have tasks to finish, and
 * must at least be told to go. See on_ready. */
static void send_hello(struct cube_node *node) {
	struct cube_msg msg = {.type = CUBE_MSG_HELLO};
	msg.hello.magic = CUBE_PROTO_MAGIC;
	msg.hello.version = CUBE_PROTO_VERSION;
	msg.hello.cluster = node->fleet->is.cluster;
	msg.hello.node = node->id;
	msg.hello.slots = node->auto_slots ? 0 : node->slots;
	msg.hello.features = CUBE_FEATURES;
	msg.epoch = node->fleet->is.epoch;
	snprintf(msg.hello.node_name, sizeof msg.hello.node_name, "%s", node->name);
	cube_msg_encode(&node->link->outbox, &msg);
	cube_link_flush(node);
}

void cube_link_begin(struct cube_node *node) {
	node->link->linked = false;
	node->link->heard = cube_loop_now(node->fleet->is.turn->loop);
	if (node->state == CUBE_NODE_PROBING) cube_node_set(node, CUBE_NODE_STARTING, "");
	cube_node_step(node, "starting", -1);
	send_hello(node);
}

void cube_link_drop(struct cube_node *node, const char *why) {
	struct cube_node_link *l = node->link;
	const struct cube_fleet *fleet = node->fleet;
	bool linked = l->linked;
	l->linked = l->told = l->choked = l->other_build = false;
	l->features = 0;
	for (size_t i = 0; linked && i < fleet->nreceivers; i++)
		fleet->receivers[i].down(fleet->receivers[i].arg, node, why);
	cube_buf_clear(&l->outbox);
}

void cube_node_flush_soon(struct cube_node *node) {
	struct cube_list *l = &node->link->unsent;
	if (!cube_list_linked(l)) cube_list_append(&node->fleet->unsent, l);
}

void cube_node_send(struct cube_node *node, const struct cube_msg *msg) {
	cube_node_send_into(node, &node->link->outbox, msg);
}

void cube_node_send_into(struct cube_node *node, struct cube_buf *out, const struct cube_msg *msg) {
	if (!node->link->transport || node->link->deploy || !node->link->linked ||
	    node->link->choked)
		return;
	if (cube_msg_encode(out, msg)) cube_node_choke(node);
	cube_node_flush_soon(node);
}

void cube_node_send_bytes(struct cube_node *node, const void *bytes, size_t n) {
	if (!cube_node_linked(node)) return;
	if (cube_buf_add(&node->link->outbox, bytes, n)) cube_node_choke(node);
	cube_node_flush_soon(node);
}

struct cube_buf *cube_node_outbox(struct cube_node *node) {
	cube_node_flush_soon(node);
	return &node->link->outbox;
}

void cube_node_send_now(struct cube_node *node, const void *bytes, size_t n) {
	if (cube_transport_write(node->link->transport, bytes, n)) cube_node_choke(node);
}

/* As much of it as the transport takes at once, at most n. */
static void hand_over(struct cube_node *node, size_t n) {
	struct cube_buf *out = &node->link->outbox;
	if (n && cube_transport_write(node->link->transport, cube_buf_data(out), n) == 0)
		cube_buf_consume(out, n);
}

void cube_node_outbox_out(struct cube_node *node) {
	size_t n = cube_buf_len(&node->link->outbox);
	hand_over(node, n > PIECE_MAX ? PIECE_MAX / 2 : n);
}

/* Those that have bulk (files, streams) take turns, behind all control frames. */
static bool has_room(const struct cube_node *node) {
	return cube_transport_queued(node->link->transport) < LOW_WATER;
}

static void pump_bulk(struct cube_node *node) {
	const struct cube_fleet *fleet = node->fleet;
	bool more = true;
	while (more && !cube_buf_len(&node->link->outbox) && has_room(node)) {
		more = false;
		for (size_t i = 0; i < fleet->nreceivers; i++) {
			const struct cube_fleet_receiver *r = &fleet->receivers[i];
			if (r->pump && has_room(node)) more = r->pump(r->arg, node) || more;
		}
	}
}

void cube_link_flush(struct cube_node *node) {
	struct cube_node_link *l = node->link;
	if (l->choked) return;
	size_t n = cube_buf_len(&l->outbox), queued = cube_transport_queued(l->transport);
	size_t room = queued < TRANSPORT_QUEUE ? TRANSPORT_QUEUE - queued : 0;
	hand_over(node, n < room ? n : room);
	if (l->linked) pump_bulk(node);
}

/* --- what the worker says --- */

/* What a host says of itself goes to terminals and into JSON. */
static void take_text(char *to, size_t size, const char *from) {
	size_t n = 0;
	for (; from[n] && n < size - 1; n++)
		to[n] = from[n] >= ' ' && from[n] < 127 ? from[n] : '?';
	to[n] = 0;
}

static void take_facts(struct cube_node *node, const struct cube_msg *msg) {
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
	const struct cube_image *image = cube_builds_find(node->fleet->is.builds, f->machine);
	node->link->other_build = image && strcmp(image->sha256, msg->worker_hello.build) != 0;
}

/* What threatens the worker there; told once a daemon, not at each reconnect. */
static void take_notice(struct cube_node *node, const char *text) {
	char notice[sizeof node->notice];
	take_text(notice, sizeof notice, text);
	if (*notice && strcmp(notice, node->notice) != 0)
		cube_events_note(node->fleet->is.events, node->id, node->name, notice);
	memcpy(node->notice, notice, sizeof notice);
}

static int on_hello(struct cube_node *node, const struct cube_msg *msg, struct cube_err *err) {
	if (node->link->linked) return cube_fail(err, CUBE_EPROTO, "the worker says HELLO twice");
	if (msg->worker_hello.magic != CUBE_PROTO_MAGIC ||
	    msg->worker_hello.version != CUBE_PROTO_VERSION)
		return cube_fail(err, CUBE_EVERSION,
				 "the worker speaks version %u of the protocol, not %u",
				 msg->worker_hello.version, CUBE_PROTO_VERSION);
	if (msg->worker_hello.cluster != node->fleet->is.cluster ||
	    msg->worker_hello.node != node->id)
		return cube_fail(err, CUBE_EPROTO, "the worker belongs to another cluster or node");
	take_facts(node, msg);
	take_notice(node, msg->worker_hello.notice);
	node->link->features = msg->worker_hello.features & CUBE_FEATURES;
	node->link->link_boot = msg->worker_hello.boot;
	node->link->linked = true;
	node->link->linked_at = cube_loop_now(node->fleet->is.turn->loop);
	return 0;
}

/* The tasks' ends and the new boot are committed together: a boot that is kept says that all
 * attempts of the one before are settled. */
static int on_ready(struct cube_node *node, struct cube_err *err) {
	const struct cube_fleet_listener *listener = node->fleet->listener;
	bool again = node->state == CUBE_NODE_READY;
	if (again) return cube_fail(err, CUBE_EPROTO, "the worker says READY twice");
	listener->listed(listener->arg, node);
	node->join_took = cube_loop_now(node->fleet->is.turn->loop) - node->link->join_began;
	bool idle = cube_node_idle(node);
	if (node->state == CUBE_NODE_LEAVING || (node->link->other_build && idle)) {
		if (!node->link->told) cube_node_shut_down(node);
		return 0;
	}
	bool new_boot = node->link->boot && node->link->boot != node->link->link_boot;
	if (node->joined) cube_wake_back(node->fleet->wake);
	node->joined = true;
	node->link->boot = node->link->link_boot;
	cube_node_set(node, CUBE_NODE_READY, "");
	cube_link_ping_later(node);
	listener->ready(listener->arg, node, new_boot);
	return 0;
}

static void store_sample(struct cube_node *node) {
	struct cube_turn *turn = node->fleet->is.turn;
	struct cube_store *s = cube_turn_tx(turn);
	struct cube_err err;
	cube_list_remove(&node->link->sampled);
	cube_turn_must(turn, s->ops->metric_add(s, node->id, &node->metric, &err), &err);
}

void cube_fleet_store_samples(void *arg) {
	struct cube_fleet *fleet = arg;
	cube_list_each (&fleet->sampled, l, struct cube_node_link, sampled) store_sample(l->node);
}

/* The hosts' samples of a second are stored together: a transaction each would be most of what an
 * idle fleet costs. */
static int on_metric(struct cube_node *node, const struct cube_msg *msg) {
	struct cube_fleet *fleet = node->fleet;
	struct cube_node_link *l = node->link;
	uint64_t now = cube_loop_now(fleet->is.turn->loop);
	if (l->metric_at && now - l->metric_at < METRIC_MIN_NS) return 0; /* one a second */
	if (cube_list_linked(&l->sampled)) store_sample(node);
	l->metric_at = now;
	node->metric_before = node->metric;
	node->metric = msg->metric;
	node->metric.wall = cube_clock_wall(); /* the laptop's axis: hosts' clocks differ */
	node->seen = node->metric.wall;
	cube_list_append(&fleet->sampled, &l->sampled);
	if (!cube_timer_armed(fleet->samples)) cube_timer_after(fleet->samples, CUBE_NS_PER_S);
	return 0;
}

/* Not the fleet's: whose it is. */
static int hand_up(struct cube_node *node, const struct cube_msg *msg, struct cube_err *err) {
	const struct cube_fleet *fleet = node->fleet;
	for (size_t i = 0; i < fleet->nreceivers; i++) {
		const struct cube_fleet_receiver *r = &fleet->receivers[i];
		if (msg->type >= r->first && msg->type <= r->last)
			return r->message(r->arg, node, msg, err);
	}
	return cube_fail(err, CUBE_EPROTO, "the worker sends %s, which is not its to send",
			 cube_msg_name(msg->type));
}

static int on_msg(struct cube_node *node, const struct cube_msg *msg, struct cube_err *err) {
	const struct cube_fleet_listener *l = node->fleet->listener;
	if (msg->type != CUBE_MSG_WORKER_HELLO && msg->type != CUBE_MSG_ERROR &&
	    !node->link->linked)
		return cube_fail(err, CUBE_EPROTO, "the worker does not begin with HELLO");
	switch (msg->type) {
	case CUBE_MSG_WORKER_HELLO: return on_hello(node, msg, err);
	case CUBE_MSG_READY: return on_ready(node, err);
	case CUBE_MSG_METRIC: return on_metric(node, msg);
	case CUBE_MSG_PONG: l->answered(l->arg, node, msg->ping.token); return 0;
	case CUBE_MSG_ERROR:
		return cube_fail(err,
				 msg->error.code == CUBE_PROTO_ERR_REPLACED ? CUBE_ECONNECT
									    : CUBE_EVERSION,
				 "the worker refuses: %s", msg->error.message);
	default: return hand_up(node, msg, err);
	}
}

size_t cube_link_in(struct cube_node *node, const uint8_t *bytes, size_t n) {
	size_t used = 0;
	struct cube_err err;
	struct cube_msg msg;
	struct cube_transport *transport = node->link->transport;
	node->link->heard = cube_loop_now(node->fleet->is.turn->loop);
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
		if (node->link->transport != transport) return n; /* failed, or left */
		used += one;
	}
	return used;
}
