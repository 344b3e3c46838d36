#include "cube/nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/events.h"
#include "cube/node_check.h"
#include "node_row.h"
#include "cube/node_wake.h"
#include "cube/streams.h"
#include "cube/tasks.h"

#define STALL_NS   (30 * CUBE_NS_PER_S) /* a joining step without progress */
#define PING_NS    (5 * CUBE_NS_PER_S)
#define SILENCE_NS (20 * CUBE_NS_PER_S)
#define STEADY_NS  (60 * CUBE_NS_PER_S) /* a link that lasted this long was no failure */
#define OUTBOX_MAX (64u << 20)
#define BEHIND_MAX (8u << 20) /* frames waiting for the link: no more STARTs for now */
/* The reason of a node that is gone. */
#define CACHED   "its worker stays cached on the host: `cube down --purge` removes it"
#define LOAD_MAX 32768u /* attempts; the worker takes 65536 */

struct cube_nodes {
	struct cube_manager *m;
	struct cube_link list;
	unsigned count;
	struct entry { /* by id; the name stays when the node is gone */
		char *name;
		struct cube_mnode *node;
		bool cached; /* .. and its worker was left on its host */
	} * ids;
	uint32_t last_id;
};

static void on_timer(void *arg);

/* --- the set of nodes --- */

static void set_name(struct cube_nodes *nodes, uint32_t id, const char *name) {
	if (id > nodes->last_id) {
		nodes->ids = cube_realloc_array(nodes->ids, (size_t)id + 1, sizeof *nodes->ids);
		uint32_t from = nodes->last_id ? nodes->last_id + 1 : 0;
		memset(nodes->ids + from, 0, (id + 1 - from) * sizeof *nodes->ids);
		nodes->last_id = id;
	}
	if (!nodes->ids[id].name) nodes->ids[id].name = cube_strdup(name);
}

static uint32_t id_for(struct cube_nodes *nodes, const char *name) {
	for (uint32_t i = 1; i <= nodes->last_id; i++) {
		const char *known = nodes->ids[i].name;
		if (known && strcmp(known, name) == 0) return i;
	}
	uint32_t id = nodes->last_id + 1;
	set_name(nodes, id, name);
	return id;
}

static struct cube_mnode *node_new(struct cube_nodes *nodes, uint32_t id, const char *name) {
	struct cube_mnode *node = cube_alloc(sizeof *node);
	node->m = nodes->m;
	node->id = id;
	nodes->ids[id].node = node;
	node->name = cube_strdup(name);
	node->progress = -1;
	cube_buf_init(&node->outbox, OUTBOX_MAX);
	cube_list_init(&node->files);
	cube_list_init(&node->streams);
	cube_list_init(&node->stream_bulk);
	cube_list_init(&node->bound);
	cube_list_init(&node->attempts);
	node->timer = cube_timer_add(nodes->m->loop, on_timer, node);
	cube_node_ask_init(node);
	struct cube_link *at = nodes->list.prev;
	while (at != &nodes->list && cube_container(at, struct cube_mnode, link)->id > id)
		at = at->prev;
	cube_list_insert(at, &node->link);
	nodes->count++;
	return node;
}

void cube_node_settings_done(struct cube_node_settings *s) {
	free(s->host);
	free(s->user);
	free(s->identity);
	free(s->labels);
	free(s->ssh_config);
	free(s->jump);
	free(s->transport);
	cube_strv_done(&s->options);
	*s = (struct cube_node_settings){0};
}

void cube_node_settings_copy(struct cube_node_settings *to, const struct cube_node_settings *from) {
	*to = *from;
	to->host = cube_strdup(from->host);
	to->user = cube_strdup(from->user);
	to->identity = cube_strdup(from->identity);
	to->labels = cube_strdup(from->labels);
	to->ssh_config = cube_strdup(from->ssh_config);
	to->jump = cube_strdup(from->jump);
	to->transport = cube_strdup(from->transport);
	to->options = (struct cube_strv){0};
	for (size_t i = 0; i < from->options.len; i++)
		cube_strv_add(&to->options, from->options.v[i]);
}

void cube_node_hang_up(struct cube_mnode *node) {
	cube_prompts_end(node->m->prompts, &node->asker, CUBE_ECANCELED);
	cube_transport_free(node->transport);
	node->transport = NULL;
	cube_deploy_free(node->deploy);
	node->deploy = NULL;
	cube_link_drop(node);
}

static void node_release(void *arg) {
	struct cube_mnode *node = arg;
	cube_node_settings_done(&node->set);
	free(node->fallback);
	free(node->name);
	free(node->reason);
	free(node);
}

static void node_free(struct cube_mnode *node) {
	cube_node_hang_up(node);
	cube_push_reset(node, true);
	cube_timer_del(node->timer);
	cube_buf_done(&node->outbox);
	cube_list_remove(&node->link);
	node->m->nodes->count--;
	node->m->nodes->ids[node->id].node = NULL;
	if (node->m->nodes->count == 0) cube_prompts_forget(node->m->prompts);
	/* Callers up the stack (a transport's event) may still look at it. */
	cube_loop_defer(node->m->loop, node_release, node);
}

int cube_nodes_new(struct cube_manager *m, struct cube_nodes **ret, struct cube_err *err) {
	struct cube_nodes *nodes = cube_alloc(sizeof *nodes);
	nodes->m = m;
	cube_list_init(&nodes->list);
	*ret = nodes;
	return 0;
}

void cube_nodes_free(struct cube_nodes *nodes) {
	if (!nodes) return;
	cube_list_each (&nodes->list, node, struct cube_mnode, link) {
		cube_streams_link_down(node, "the manager ended");
		node_free(node);
	}
	cube_streams_free(nodes->m);
	for (uint32_t i = 1; i <= nodes->last_id; i++) free(nodes->ids[i].name);
	free(nodes->ids);
	free(nodes);
}

static int load_row(void *arg, const struct cube_node_row *row) {
	struct cube_nodes *nodes = arg;
	set_name(nodes, row->id, row->name);
	nodes->ids[row->id].cached = row->state == CUBE_NODE_GONE && *row->reason;
	if (row->state == CUBE_NODE_GONE) return 0;
	struct cube_mnode *node = node_new(nodes, row->id, row->name);
	cube_node_from_row(node, row);
	return 0;
}

int cube_nodes_load(struct cube_nodes *nodes, struct cube_err *err) {
	int rc = nodes->m->store->ops->node_list(nodes->m->store, load_row, nodes, err);
	if (rc) return rc;
	cube_list_each (&nodes->list, node, struct cube_mnode, link) {
		if (node->state == CUBE_NODE_FAILED || node->state == CUBE_NODE_NEEDS_LOGIN)
			continue;
		/* Joining begins anew; the steps of before are no place to go on from. */
		if (node->state == CUBE_NODE_LEAVING) {
			node->purge = true;
		} else if (node->by_person) {
			cube_node_set(node, CUBE_NODE_NEEDS_LOGIN, "the manager was restarted");
			continue;
		} else if (node->state != CUBE_NODE_LOST && node->state != CUBE_NODE_CONNECTING)
			cube_node_set(node, CUBE_NODE_LOST, "the manager was restarted");
		cube_timer_after(node->timer, 0);
	}
	return 0;
}

struct cube_mnode *cube_nodes_find(struct cube_nodes *nodes, const char *name) {
	cube_list_each (&nodes->list, node, struct cube_mnode, link) {
		if (strcmp(node->name, name) == 0) return node;
	}
	return NULL;
}

struct cube_mnode *cube_nodes_by_id(struct cube_nodes *nodes, uint32_t id) {
	return id && id <= nodes->last_id ? nodes->ids[id].node : NULL;
}

struct cube_link *cube_nodes_list(struct cube_nodes *nodes) {
	return &nodes->list;
}
bool cube_nodes_cached(struct cube_nodes *nodes, uint32_t id) {
	return id && id <= nodes->last_id && !nodes->ids[id].node && nodes->ids[id].cached;
}

uint32_t cube_nodes_last(const struct cube_nodes *nodes) {
	return nodes->last_id;
}

struct cube_mnode *cube_nodes_revive(struct cube_nodes *nodes, const struct cube_node_row *row) {
	struct cube_mnode *node = node_new(nodes, row->id, row->name);
	cube_node_from_row(node, row);
	node->state = CUBE_NODE_CONNECTING;
	return node;
}

unsigned cube_nodes_count(const struct cube_nodes *nodes) {
	return nodes->count;
}

const char *cube_nodes_name(struct cube_nodes *nodes, uint32_t id) {
	return id && id <= nodes->last_id && nodes->ids[id].name ? nodes->ids[id].name : "";
}

/* --- state --- */

void cube_node_persist(struct cube_mnode *node) {
	struct cube_store *s = cube_turn_tx(&node->m->turn);
	struct cube_err err;
	cube_turn_must(&node->m->turn, cube_node_to_row(node, s, &err), &err);
}

void cube_node_set(struct cube_mnode *node, enum cube_node_state state, const char *reason) {
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
		node->ask = false;
		cube_prompts_end(node->m->prompts, &node->asker, 0);
		cube_transport_settled(node->transport);
	}
	cube_info("%s: %s -> %s%s%s", node->name, cube_node_state_name(old),
		  cube_node_state_name(state), *text ? ": " : "", text);
	cube_node_persist(node);
	cube_events_node(node->m->events, node->id, cube_node_state_name(old),
			 cube_node_state_name(state), text);
}

void cube_node_step(struct cube_mnode *node, const char *step, double progress) {
	node->step = step;
	node->progress = progress;
	if (cube_node_joining(node->state)) cube_timer_after(node->timer, STALL_NS);
	cube_events_progress(node->m->events, node->id, step, progress);
}

void cube_node_end(struct cube_mnode *node, enum cube_node_state state, const char *reason) {
	bool gone = state == CUBE_NODE_GONE;
	bool cached = gone && !node->purge && (node->touched || node->has_facts);
	cube_timer_disarm(node->timer);
	cube_node_set(node, state, cached ? CACHED : reason);
	if (gone) node->m->nodes->ids[node->id].cached = cached;
	cube_tasks_on_node_end(node->m->tasks, node, *reason ? reason : "the node was taken down");
	if (gone) node_free(node);
}

/* Trying again is no event: a host that is off for a month would fill the store. */
static void still_lost(struct cube_mnode *node, const char *reason) {
	node->step = NULL;
	node->progress = -1;
	if (strcmp(node->reason, reason) == 0) return;
	free(node->reason);
	node->reason = cube_strdup(reason);
	cube_node_persist(node);
}

/* Until a person asks for it; the tasks of one that was ready are unknown until then. */
static void park(struct cube_mnode *node, const char *reason) {
	cube_timer_disarm(node->timer);
	cube_node_set(node, CUBE_NODE_NEEDS_LOGIN, reason);
	if (!node->joined) cube_tasks_on_node_end(node->m->tasks, node, reason);
}

/* It was ready once and refuses us now: asking again and again would lock the account, and no
 * answer of a person's would help. What it runs is not given up: its user may mend that. */
static void refused(struct cube_mnode *node, const char *why) {
	cube_autofree char *reason =
		cube_strf("%s; `cube spawn -w %s` with the right --user or --identity tries again",
			  why, node->name);
	if (cube_list_empty(&node->attempts)) {
		cube_node_end(node, CUBE_NODE_FAILED, reason);
		return;
	}
	cube_timer_disarm(node->timer);
	cube_node_set(node, CUBE_NODE_FAILED, reason);
}

/* A node that had been ready is lost, its tasks unknown, and it is tried again, unless it refuses
 * us. One that never was is the user's to mend. */
void cube_node_fail(struct cube_mnode *node, const struct cube_err *why) {
	struct cube_err copy = *why, *err = &copy;
	cube_node_add_reason(node, err);
	cube_prompts_end(node->m->prompts, &node->asker, err->code);
	node->ask = false;
	cube_streams_link_down(node, err->msg);
	cube_node_hang_up(node);
	if (node->state == CUBE_NODE_LEAVING) {
		if (node->has_facts || node->touched)
			cube_node_end(node, CUBE_NODE_FAILED, err->msg);
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
	cube_timer_disarm(node->timer);
	if (err->code != CUBE_EHOSTKEY) cube_node_retry_later(node);
}

/* --- the transport's events: to deploy while joining, to the link afterwards --- */

/* Opening has a time limit of its own, and waits for its turn, or for a person, outside it. */
static void on_step(void *arg, enum cube_transport_step step) {
	struct cube_mnode *node = arg;
	node->touch = false;
	cube_node_step(node, cube_transport_step_name(step), -1);
	if (step != CUBE_STEP_OPEN && node->state != CUBE_NODE_LEAVING)
		cube_timer_disarm(node->timer);
}

static void on_open(void *arg) {
	struct cube_mnode *node = arg;
	struct cube_err err;
	cube_prompts_passed(node->m->prompts, &node->asker);
	if (node->state == CUBE_NODE_LOST) cube_node_set(node, CUBE_NODE_CONNECTING, "");
	if (cube_deploy_begin(node, &err) < 0) cube_node_fail(node, &err);
}

static size_t on_out(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_mnode *node = arg;
	size_t used = 0;
	if (node->deploy) used = cube_deploy_out(node, bytes, n);
	if (!node->deploy && node->transport && used < n)
		used += cube_link_in(node, bytes + used, n - used);
	return used;
}

static void on_err(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_mnode *node = arg;
	if (node->deploy) cube_deploy_err(node, bytes, n);
}

static void on_drained(void *arg) {
	struct cube_mnode *node = arg;
	if (node->deploy) cube_deploy_drained(node);
	/* Else this turn's flush sends more, after the commit. */
}

/* Over the same link where another one would need the person again. */
static void replace_worker(struct cube_mnode *node) {
	struct cube_err err;
	cube_node_set(node, CUBE_NODE_LOST, "its worker was of another cube: replacing it");
	if (!node->by_person) {
		cube_node_hang_up(node);
		cube_node_retry_later(node);
		return;
	}
	cube_link_drop(node);
	cube_node_set(node, CUBE_NODE_CONNECTING, "");
	if (cube_deploy_begin(node, &err) < 0) cube_node_fail(node, &err);
}

static void on_end(void *arg, int status) {
	struct cube_mnode *node = arg;
	struct cube_err err;
	if (node->deploy) {
		cube_deploy_end(node, status);
		return;
	}
	if (node->told && status <= 0) { /* told to shut down, and it did */
		if (node->state != CUBE_NODE_LEAVING) {
			replace_worker(node);
			return;
		}
		cube_link_drop(node);
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

void cube_node_join(struct cube_mnode *node) {
	struct cube_err err;
	cube_node_hang_up(node);
	node->join_began = cube_loop_now(node->m->loop);
	cube_node_ask_begin(node);
	cube_node_step(node, "connecting", -1);
	cube_timer_after(node->timer, STALL_NS + node->set.connect_timeout_ns);
	int rc = cube_node_open(node->m, node->name, &node->set, node->fallback != NULL, true,
				node->by_jump && !node->ask, &transport_events, node,
				&node->transport, &err);
	if (rc < 0) cube_node_fail(node, &err);
}

/* --- the node's one timer: what it means depends on the state --- */

static void on_stall(struct cube_mnode *node) {
	struct cube_err err;
	const char *said = node->deploy ? cube_deploy_said(node) : "";
	cube_fail(&err, CUBE_ETIMEOUT, "%s: no progress for %d s%s%.120s%s",
		  node->step ? node->step : "joining", (int)(STALL_NS / CUBE_NS_PER_S),
		  *said ? " (the host said: " : "", said, *said ? ")" : "");
	cube_node_fail(node, &err);
}

static void on_ping(struct cube_mnode *node) {
	struct cube_err err;
	uint64_t now = cube_loop_now(node->m->loop);
	if (now - node->heard > SILENCE_NS || cube_node_is_deaf(node)) {
		cube_fail(&err, CUBE_ETIMEOUT, "nothing heard for %d s",
			  (int)((now - node->heard) / CUBE_NS_PER_S));
		cube_node_fail(node, &err);
		return;
	}
	if (now - node->linked_at > STEADY_NS) node->retries = 0;
	cube_wake_check(node->m);
	cube_timer_after(node->timer, PING_NS);
	cube_node_send(node, &(struct cube_msg){.type = CUBE_MSG_PING, .ping.token = now});
}

static void on_timer(void *arg) {
	struct cube_mnode *node = arg;
	struct cube_err err;
	if (node->choked) {
		cube_fail(&err, CUBE_ETOOBIG, "the worker does not take what it is sent");
		cube_node_fail(node, &err);
	} else if (node->state == CUBE_NODE_READY) {
		on_ping(node);
	} else if (!node->transport) {
		cube_node_join(node);
	} else if (node->state == CUBE_NODE_LEAVING) {
		cube_node_leave_limit(node);
	} else {
		on_stall(node);
	}
}

/* --- requests --- */

static bool can_begin_again(const struct cube_mnode *node) {
	return node->state == CUBE_NODE_FAILED || node->state == CUBE_NODE_LOST ||
	       node->state == CUBE_NODE_NEEDS_LOGIN;
}

static void begin_again(struct cube_mnode *node, bool ask) {
	cube_node_hang_up(node); /* a lost one may be at it already */
	node->ask = ask;
	node->retries = 0;
	if (node->state == CUBE_NODE_FAILED && cube_list_empty(&node->attempts))
		node->joined = false;
	cube_node_set(node, CUBE_NODE_CONNECTING, "");
	cube_timer_after(node->timer, 0); /* in this turn's timers, after the reply was made */
}

void cube_nodes_login(struct cube_nodes *nodes, struct cube_mnode *node, bool ask,
		      bool *ret_added) {
	*ret_added = can_begin_again(node);
	if (*ret_added) begin_again(node, ask);
}

int cube_nodes_check(struct cube_nodes *nodes, const struct cube_node_request *request,
		     struct cube_err *err) {
	int rc = cube_node_check(request, err);
	if (rc) return rc;
	struct cube_mnode *node = cube_nodes_find(nodes, request->name);
	if (node && node->state == CUBE_NODE_LEAVING)
		return cube_fail(err, CUBE_ECONFLICT,
				 "%s is just being taken down; try again in a moment",
				 request->name);
	if (!node || node->state == CUBE_NODE_GONE) return 0;
	if (!can_begin_again(node)) return cube_node_check_same(node, request, true, err);
	/* One that was ready may have tasks there, and its worker. */
	return node->joined ? cube_node_check_same(node, request, false, err) : 0;
}

int cube_nodes_add(struct cube_nodes *nodes, const struct cube_node_request *request,
		   struct cube_mnode **ret, bool *ret_added, struct cube_err *err) {
	int rc = cube_nodes_check(nodes, request, err);
	if (rc) return rc;
	struct cube_mnode *node = cube_nodes_find(nodes, request->name);
	bool again = node && can_begin_again(node);
	*ret_added = !node || again;
	if (!node) {
		node = node_new(nodes, id_for(nodes, request->name), request->name);
		node->added = cube_clock_wall();
		node->touched = nodes->ids[node->id].cached;
	}
	*ret = node;
	if (!*ret_added) return 0;
	cube_node_take(node, request);
	if (again) {
		begin_again(node, request->ask);
		return 0;
	}
	node->ask = request->ask;
	cube_node_persist(node);
	cube_events_node(nodes->m->events, node->id, "", cube_node_state_name(node->state), "");
	cube_timer_after(node->timer, 0); /* join in this turn's timers, after the reply was made */
	return 0;
}

void cube_node_choke(struct cube_mnode *node) {
	if (node->choked) return;
	node->choked = true;
	cube_timer_after(node->timer, 0);
}

bool cube_node_can_take(struct cube_mnode *node) {
	return node->linked && !node->choked && node->load < LOAD_MAX &&
	       cube_buf_len(&node->outbox) + cube_push_waiting(node) < BEHIND_MAX;
}

void cube_nodes_flush(struct cube_nodes *nodes) {
	cube_list_each (&nodes->list, node, struct cube_mnode, link) {
		if (node->transport && !node->deploy) cube_link_flush(node);
	}
}
