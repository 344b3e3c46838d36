/* One node: its making, the states it goes through and its end; what its transport tells; its
 * timer. */
#include "node_link.h"

#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/events.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "node_row.h"
#include "wake.h"

#define STALL_NS   (30 * CUBE_NS_PER_S) /* a joining step without progress */
#define SILENCE_NS (20 * CUBE_NS_PER_S)
#define STEADY_NS  (60 * CUBE_NS_PER_S) /* a link that lasted this long was no failure */
#define OUTBOX_MAX (64u << 20)
#define BEHIND_MAX (8u << 20) /* frames waiting for the link: no more STARTs for now */
/* The reason of a node that is gone. */
#define CACHED "its worker stays cached on the host: `cube down --purge` removes it"

static void on_timer(void *arg);

/* --- made, and gone --- */

static void tell_added(struct cube_node *node) {
	const struct cube_fleet_listener *l = node->fleet->listener;
	l->added(l->arg, node);
}

struct cube_node *cube_node_new(struct cube_fleet *fleet, uint32_t id, const char *name) {
	struct cube_node *node = cube_alloc(sizeof *node);
	node->fleet = fleet;
	node->link = cube_alloc(sizeof *node->link);
	node->link->node = node;
	node->id = id;
	fleet->ids[id].node = node;
	node->name = cube_strdup(name);
	node->progress = -1;
	cube_buf_init(&node->link->outbox, OUTBOX_MAX);
	node->link->timer = cube_timer_add(fleet->is.turn->loop, on_timer, node);
	cube_node_ask_init(node);
	struct cube_list *at = fleet->list.prev;
	while (at != &fleet->list && cube_container(at, struct cube_node, hook)->id > id)
		at = at->prev;
	cube_list_insert(at, &node->hook);
	fleet->count++;
	tell_added(node);
	return node;
}

void cube_node_hang_up(struct cube_node *node, const char *why) {
	cube_prompts_end(node->fleet->is.prompts, &node->link->asker, CUBE_ECANCELED);
	cube_transport_free(node->link->transport);
	node->link->transport = NULL;
	cube_deploy_free(node->link->deploy);
	node->link->deploy = NULL;
	cube_link_drop(node, why);
}

static void node_release(void *arg) {
	struct cube_node *node = arg;
	cube_node_settings_done(&node->set);
	free(node->fallback);
	free(node->name);
	free(node->reason);
	free(node->link);
	free(node);
}

void cube_node_free(struct cube_node *node, const char *why) {
	struct cube_fleet *fleet = node->fleet;
	cube_node_hang_up(node, why);
	fleet->listener->removed(fleet->listener->arg, node);
	cube_timer_del(node->link->timer);
	cube_buf_done(&node->link->outbox);
	cube_list_remove(&node->hook);
	cube_list_remove(&node->link->unsent);
	cube_list_remove(&node->link->sampled);
	fleet->count--;
	fleet->ids[node->id].node = NULL;
	if (fleet->count == 0) cube_prompts_forget(fleet->is.prompts);
	/* Callers up the stack (a transport's event) may still look at it. */
	cube_loop_defer(fleet->is.turn->loop, node_release, node);
}

/* --- state --- */

static void tell_ended(struct cube_node *node, const char *why) {
	const struct cube_fleet_listener *l = node->fleet->listener;
	l->ended(l->arg, node, why);
}

bool cube_node_idle(const struct cube_node *node) {
	const struct cube_fleet_listener *l = node->fleet->listener;
	return l->idle(l->arg, node);
}

void cube_node_persist(struct cube_node *node) {
	struct cube_store *s = cube_turn_tx(node->fleet->is.turn);
	struct cube_err err;
	cube_turn_must(node->fleet->is.turn, cube_node_to_row(node, s, &err), &err);
}

void cube_node_set(struct cube_node *node, enum cube_node_state state, const char *reason) {
	enum cube_node_state old = node->state;
	if (!cube_node_allows(old, state)) {
		cube_error("%s: a node cannot go from %s to %s", node->name,
			   cube_node_state_name(old), cube_node_state_name(state));
		return;
	}
	node->state = state;
	node->seen = cube_clock_wall();
	char *text = cube_strdup(reason ? reason : "");
	free(node->reason);
	node->reason = text;
	if (!cube_node_joining(state)) node->step = NULL, node->progress = -1;
	if (state == CUBE_NODE_READY) {
		node->link->ask = false;
		cube_prompts_end(node->fleet->is.prompts, &node->link->asker, 0);
		cube_transport_settled(node->link->transport);
	}
	cube_info("%s: %s -> %s%s%s", node->name, cube_node_state_name(old),
		  cube_node_state_name(state), *text ? ": " : "", text);
	cube_node_persist(node);
	cube_events_node(node->fleet->is.events, node->id, cube_node_state_name(old),
			 cube_node_state_name(state), text);
}

void cube_node_step(struct cube_node *node, const char *step, double progress) {
	node->step = step;
	node->progress = progress;
	if (cube_node_joining(node->state)) cube_timer_after(node->link->timer, STALL_NS);
	cube_events_progress(node->fleet->is.events, node->id, step, progress);
}

void cube_node_end(struct cube_node *node, enum cube_node_state state, const char *reason) {
	bool gone = state == CUBE_NODE_GONE;
	bool cached = gone && !node->link->purge &&
		      (node->link->touched || node->link->cached || node->has_facts);
	cube_timer_disarm(node->link->timer);
	cube_node_set(node, state, cached ? CACHED : reason);
	if (gone) node->fleet->ids[node->id].cached = cached;
	tell_ended(node, *reason ? reason : "the node was taken down");
	if (gone) cube_node_free(node, "the node was taken down");
}

/* Trying again is no event: a host that is off for a month would fill the store. */
static void still_lost(struct cube_node *node, const char *reason) {
	node->step = NULL;
	node->progress = -1;
	if (strcmp(node->reason, reason) == 0) return;
	free(node->reason);
	node->reason = cube_strdup(reason);
	cube_node_persist(node);
}

/* Until a person asks for it; the tasks of one that was ready are unknown until then. */
static void park(struct cube_node *node, const char *reason) {
	cube_timer_disarm(node->link->timer);
	cube_node_set(node, CUBE_NODE_NEEDS_LOGIN, reason);
	if (!node->joined) tell_ended(node, reason);
}

/* It was ready once and refuses us now: asking again and again would lock the account, and no
 * answer of a person's would help. What it runs is not given up: its user may mend that. */
static void refused(struct cube_node *node, const char *why) {
	cube_autofree char *reason =
		cube_strf("%s; `cube spawn -w %s` with the right --user or --identity tries again",
			  why, node->name);
	if (cube_node_idle(node)) {
		cube_node_end(node, CUBE_NODE_FAILED, reason);
		return;
	}
	cube_timer_disarm(node->link->timer);
	cube_node_set(node, CUBE_NODE_FAILED, reason);
}

/* A node that had been ready is lost, its tasks unknown, and it is tried again, unless it refuses
 * us. One that never was is the user's to mend. */
void cube_node_fail(struct cube_node *node, const struct cube_err *why) {
	struct cube_err copy = *why, *err = &copy;
	cube_node_add_reason(node, err);
	cube_prompts_end(node->fleet->is.prompts, &node->link->asker, err->code);
	node->link->ask = false;
	cube_node_hang_up(node, err->msg);
	if (node->state == CUBE_NODE_LEAVING) {
		if (cube_node_left_something(node)) cube_node_end(node, CUBE_NODE_FAILED, err->msg);
		else cube_node_end(node, CUBE_NODE_GONE, ""); /* nothing of ours ever ran there */
		return;
	}
	if (cube_node_must_park(node, err)) {
		park(node, err->msg);
		return;
	}
	if (!node->joined) {
		cube_node_end(node, CUBE_NODE_FAILED, err->msg);
		return;
	}
	if (err->code == CUBE_EAUTH) {
		refused(node, err->msg);
		return;
	}
	if (node->state != CUBE_NODE_LOST) cube_node_set(node, CUBE_NODE_LOST, err->msg);
	else still_lost(node, err->msg);
	cube_timer_disarm(node->link->timer);
	if (err->code != CUBE_EHOSTKEY) cube_node_retry_later(node);
}

/* --- the transport's events: to deploy while joining, to the link afterwards --- */

/* Opening has a time limit of its own, and waits for its turn, or for a person, outside it. */
static void on_step(void *arg, enum cube_transport_step step) {
	struct cube_node *node = arg;
	node->link->touch = false;
	cube_node_step(node, cube_transport_step_name(step), -1);
	if (step != CUBE_STEP_OPEN && node->state != CUBE_NODE_LEAVING)
		cube_timer_disarm(node->link->timer);
}

static void on_open(void *arg) {
	struct cube_node *node = arg;
	struct cube_err err;
	cube_prompts_passed(node->fleet->is.prompts, &node->link->asker);
	if (node->state == CUBE_NODE_LOST) cube_node_set(node, CUBE_NODE_CONNECTING, "");
	bool clean = node->link->only_clean && node->state == CUBE_NODE_LEAVING;
	if ((clean ? cube_node_clean(node, &err) : cube_node_deploy(node, &err)) < 0)
		cube_node_fail(node, &err);
}

static size_t on_out(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_node *node = arg;
	size_t used = 0;
	struct cube_transport *transport = node->link->transport;
	if (node->link->deploy) used = cube_deploy_out(node->link->deploy, bytes, n);
	if (!node->link->deploy && node->link->transport == transport && used < n)
		used += cube_link_in(node, bytes + used, n - used);
	return used;
}

static void on_err(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_node *node = arg;
	if (node->link->deploy) cube_deploy_err(node->link->deploy, bytes, n);
}

static void on_drained(void *arg) {
	struct cube_node *node = arg;
	if (node->link->deploy) cube_deploy_drained(node->link->deploy);
	else cube_node_flush_soon(node); /* after the commit */
}

/* Over the same link where another one would need the person again. */
static void replace_worker(struct cube_node *node) {
	struct cube_err err;
	cube_node_set(node, CUBE_NODE_LOST, "its worker was of another cube: replacing it");
	if (!node->link->by_person) {
		cube_node_hang_up(node, "the node was taken down");
		cube_node_retry_later(node);
		return;
	}
	cube_link_drop(node, "the node was taken down");
	cube_node_set(node, CUBE_NODE_CONNECTING, "");
	if (cube_node_deploy(node, &err) < 0) cube_node_fail(node, &err);
}

static void on_end(void *arg, int status) {
	struct cube_node *node = arg;
	struct cube_err err;
	if (node->link->deploy) {
		cube_deploy_end(node->link->deploy, status);
		return;
	}
	if (node->link->told && status <= 0) { /* told to shut down, and it did */
		if (node->state != CUBE_NODE_LEAVING) {
			replace_worker(node);
			return;
		}
		cube_link_drop(node, "the node was taken down");
		cube_node_left(node);
		return;
	}
	cube_fail(&err, CUBE_ECONNECT, "the worker's channel ended (status %d)", status);
	cube_node_fail(node, &err);
}

static void on_fail(void *arg, const struct cube_err *err) {
	if (cube_node_fall_back(arg, err)) cube_node_join(arg);
	else cube_node_fail(arg, err);
}

static void on_ask(void *arg, const struct cube_ask *ask) {
	cube_node_ask(arg, ask);
}

static void on_fact(void *arg, enum cube_transport_fact fact, const char *text) {
	cube_node_on_fact(arg, fact, text);
}

static void on_note(void *arg, const char *text) {
	cube_node_note(arg, text);
}

static const struct cube_transport_events transport_events = {
	.on_step = on_step,
	.on_open = on_open,
	.on_out = on_out,
	.on_err = on_err,
	.on_drained = on_drained,
	.on_end = on_end,
	.on_fail = on_fail,
	.on_ask = on_ask,
	.on_note = on_note,
	.on_fact = on_fact,
};

void cube_node_join(struct cube_node *node) {
	struct cube_err err;
	cube_node_hang_up(node, "the node was taken down");
	node->link->join_began = cube_loop_now(node->fleet->is.turn->loop);
	cube_node_ask_begin(node);
	cube_node_step(node, "connecting", -1);
	cube_timer_after(node->link->timer, STALL_NS + node->set.connect_timeout_ns);
	struct cube_reach *reach = node->fleet->is.reach;
	struct cube_reach_how how = {.by_openssh = node->fallback != NULL,
				     .ask = true,
				     .old_jumps = node->link->by_jump && !node->link->ask};
	int rc = reach->open(reach, node->name, &node->set, &how, &transport_events, node,
			     &node->link->transport, &err);
	if (rc < 0) cube_node_fail(node, &err);
}

/* --- the node's one timer: what it means depends on the state --- */

static void on_stall(struct cube_node *node) {
	struct cube_err err;
	const char *said = node->link->deploy ? cube_deploy_said(node->link->deploy) : "";
	cube_fail(&err, CUBE_ETIMEOUT, "%s: no progress for %d s%s%.120s%s",
		  node->step ? node->step : "joining", (int)(STALL_NS / CUBE_NS_PER_S),
		  *said ? " (the host said: " : "", said, *said ? ")" : "");
	cube_node_fail(node, &err);
}

static void on_ping(struct cube_node *node) {
	struct cube_err err;
	uint64_t now = cube_loop_now(node->fleet->is.turn->loop);
	if (now - node->link->heard > SILENCE_NS || cube_node_is_deaf(node)) {
		cube_fail(&err, CUBE_ETIMEOUT, "nothing heard for %d s",
			  (int)((now - node->link->heard) / CUBE_NS_PER_S));
		cube_node_fail(node, &err);
		return;
	}
	if (now - node->link->linked_at > STEADY_NS) node->link->retries = 0;
	cube_wake_check(node->fleet->wake);
	cube_link_ping_later(node);
	cube_node_send(node, &(struct cube_msg){.type = CUBE_MSG_PING, .ping.token = now});
}

static void on_timer(void *arg) {
	struct cube_node *node = arg;
	struct cube_err err;
	if (node->link->choked) {
		cube_fail(&err, CUBE_ETOOBIG, "the worker does not take what it is sent");
		cube_node_fail(node, &err);
	} else if (node->state == CUBE_NODE_READY) {
		on_ping(node);
	} else if (!node->link->transport) {
		cube_node_join(node);
	} else if (node->state == CUBE_NODE_LEAVING) {
		cube_node_leave_limit(node);
	} else {
		on_stall(node);
	}
}

/* --- its link --- */

void cube_node_choke(struct cube_node *node) {
	if (node->link->choked) return;
	node->link->choked = true;
	cube_timer_after(node->link->timer, 0);
}

bool cube_node_linked(const struct cube_node *node) {
	return node->link->linked && !node->link->choked;
}

uint64_t cube_node_features(const struct cube_node *node) {
	return node->link->features;
}

bool cube_node_has_room(const struct cube_node *node) {
	return cube_node_linked(node) && cube_buf_len(&node->link->outbox) < BEHIND_MAX;
}
