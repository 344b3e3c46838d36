/* The nodes of a cluster: their names and ids, those of the store, and what is asked for. */
#include "node_link.h"

#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/events.h"
#include "node_check.h"
#include "node_row.h"
#include "wake.h"

/* --- the set --- */

static uint32_t *bucket(struct cube_fleet *fleet, const char *name) {
	uint64_t h = 14695981039346656037ull; /* FNV-1a */
	for (; *name; name++) h = (h ^ (uint8_t)*name) * 1099511628211ull;
	return &fleet->names[(h ^ h >> 32) & (fleet->nnames - 1)];
}

static void add_name(struct cube_fleet *fleet, uint32_t id) {
	uint32_t *first = bucket(fleet, fleet->ids[id].name);
	fleet->ids[id].next = *first;
	*first = id;
}

static void grow(struct cube_fleet *fleet, uint32_t id) {
	size_t room = fleet->room ? fleet->room : 64;
	while (room <= id) room *= 2;
	fleet->ids = cube_realloc_array(fleet->ids, room, sizeof *fleet->ids);
	memset(fleet->ids + fleet->room, 0, (room - fleet->room) * sizeof *fleet->ids);
	fleet->room = fleet->nnames = room;
	fleet->names = cube_realloc_array(fleet->names, room, sizeof *fleet->names);
	memset(fleet->names, 0, room * sizeof *fleet->names);
	for (uint32_t i = 1; i <= fleet->last_id; i++)
		if (fleet->ids[i].name) add_name(fleet, i);
}

static void set_name(struct cube_fleet *fleet, uint32_t id, const char *name) {
	if (id >= fleet->room) grow(fleet, id);
	if (id > fleet->last_id) fleet->last_id = id;
	if (fleet->ids[id].name) return;
	fleet->ids[id].name = cube_strdup(name);
	add_name(fleet, id);
}

/* Of a node of any time, or 0. */
static uint32_t id_of(struct cube_fleet *fleet, const char *name) {
	uint32_t id = fleet->nnames ? *bucket(fleet, name) : 0;
	while (id && strcmp(fleet->ids[id].name, name) != 0) id = fleet->ids[id].next;
	return id;
}

static uint32_t id_for(struct cube_fleet *fleet, const char *name) {
	uint32_t id = id_of(fleet, name);
	if (id) return id;
	set_name(fleet, fleet->last_id + 1, name);
	return fleet->last_id;
}

void cube_fleet_new(const struct cube_fleet_parts *parts, struct cube_fleet **ret) {
	struct cube_fleet *fleet = cube_alloc(sizeof *fleet);
	fleet->is = *parts;
	cube_list_init(&fleet->list);
	cube_list_init(&fleet->unsent);
	cube_list_init(&fleet->sampled);
	fleet->samples = cube_timer_add(parts->turn->loop, cube_fleet_store_samples, fleet);
	cube_wake_new(fleet, &fleet->wake);
	*ret = fleet;
}

void cube_fleet_tell(struct cube_fleet *fleet, const struct cube_fleet_listener *listener,
		     const struct cube_fleet_receiver *receivers, size_t n) {
	fleet->listener = listener;
	fleet->receivers = receivers;
	fleet->nreceivers = n;
}

void cube_fleet_free(struct cube_fleet *fleet) {
	if (!fleet) return;
	cube_fleet_store_samples(fleet);
	cube_timer_del(fleet->samples);
	cube_wake_free(fleet->wake);
	cube_list_each (&fleet->list, node, struct cube_node, hook)
		cube_node_free(node, "the manager ended");
	for (uint32_t i = 1; i <= fleet->last_id; i++) free(fleet->ids[i].name);
	free(fleet->ids);
	free(fleet->names);
	free(fleet);
}

static int load_row(void *arg, const struct cube_node_row *row) {
	struct cube_fleet *fleet = arg;
	set_name(fleet, row->id, row->name);
	fleet->ids[row->id].cached = row->state == CUBE_NODE_GONE && *row->reason;
	if (row->state == CUBE_NODE_GONE) return 0;
	struct cube_node *node = cube_node_new(fleet, row->id, row->name);
	cube_node_from_row(node, row);
	return 0;
}

int cube_fleet_load(struct cube_fleet *fleet, struct cube_err *err) {
	int rc = fleet->is.turn->store->ops->node_list(fleet->is.turn->store, load_row, fleet, err);
	if (rc) return rc;
	cube_list_each (&fleet->list, node, struct cube_node, hook) {
		if (node->state == CUBE_NODE_FAILED || node->state == CUBE_NODE_NEEDS_LOGIN)
			continue;
		/* Joining begins anew; the steps of before are no place to go on from. */
		if (node->state == CUBE_NODE_LEAVING) {
			node->link->purge = true;
		} else if (node->link->by_person) {
			cube_node_set(node, CUBE_NODE_NEEDS_LOGIN, "the manager was restarted");
			continue;
		} else if (node->state != CUBE_NODE_LOST && node->state != CUBE_NODE_CONNECTING)
			cube_node_set(node, CUBE_NODE_LOST, "the manager was restarted");
		cube_timer_after(node->link->timer, 0);
	}
	return 0;
}

struct cube_node *cube_fleet_find(struct cube_fleet *fleet, const char *name) {
	return cube_fleet_by_id(fleet, id_of(fleet, name));
}

struct cube_node *cube_fleet_by_id(struct cube_fleet *fleet, uint32_t id) {
	return id && id <= fleet->last_id ? fleet->ids[id].node : NULL;
}

struct cube_list *cube_fleet_list(struct cube_fleet *fleet) {
	return &fleet->list;
}
static bool is_cached(struct cube_fleet *fleet, uint32_t id) {
	return id && id <= fleet->last_id && !fleet->ids[id].node && fleet->ids[id].cached;
}

uint32_t cube_fleet_last_id(const struct cube_fleet *fleet) {
	return fleet->last_id;
}

bool cube_fleet_left_worker(struct cube_fleet *fleet, const char *name) {
	return is_cached(fleet, id_of(fleet, name));
}

unsigned cube_fleet_count(const struct cube_fleet *fleet) {
	return fleet->count;
}

void cube_fleet_states(struct cube_fleet *fleet, unsigned ret_counts[CUBE_NODE_STATES]) {
	memset(ret_counts, 0, CUBE_NODE_STATES * sizeof *ret_counts);
	cube_list_each (&fleet->list, node, struct cube_node, hook) ret_counts[node->state]++;
}

const char *cube_fleet_name(struct cube_fleet *fleet, uint32_t id) {
	return id && id <= fleet->last_id && fleet->ids[id].name ? fleet->ids[id].name : "";
}

/* --- those that are gone --- */

static void revive(struct cube_fleet *fleet, const struct cube_node_row *row) {
	struct cube_node *node = cube_node_new(fleet, row->id, row->name);
	cube_node_from_row(node, row);
	node->state = CUBE_NODE_CONNECTING;
	node->link->only_clean = true;
}

struct revive {
	struct cube_fleet *fleet;
	const char *name;
};

static int revive_row(void *arg, const struct cube_node_row *row) {
	struct revive *r = arg;
	if (!is_cached(r->fleet, row->id)) return 0;
	if (!r->name || strcmp(r->name, row->name) == 0) revive(r->fleet, row);
	return 0;
}

int cube_fleet_bring_back(struct cube_fleet *fleet, const char *name, struct cube_err *err) {
	struct revive r = {.fleet = fleet, .name = name};
	struct cube_store *store = fleet->is.turn->store;
	return store->ops->node_list(store, revive_row, &r, err);
}

/* --- requests --- */

static bool can_begin_again(const struct cube_node *node) {
	return node->state == CUBE_NODE_FAILED || node->state == CUBE_NODE_LOST ||
	       node->state == CUBE_NODE_NEEDS_LOGIN;
}

static void begin_again(struct cube_node *node, bool ask) {
	cube_node_hang_up(node, "the node was taken down"); /* a lost one may be at it already */
	node->link->only_clean = false;
	node->link->ask = ask;
	node->link->retries = 0;
	if (node->state == CUBE_NODE_FAILED && cube_node_idle(node)) node->joined = false;
	cube_node_set(node, CUBE_NODE_CONNECTING, "");
	cube_timer_after(node->link->timer,
			 0); /* in this turn's timers, after the reply was made */
}

void cube_node_login(struct cube_node *node, bool ask, bool *ret_added) {
	*ret_added = can_begin_again(node);
	if (*ret_added) begin_again(node, ask);
}

int cube_fleet_check(struct cube_fleet *fleet, const struct cube_node_request *request,
		     struct cube_err *err) {
	int rc = cube_node_check(request, err);
	if (rc) return rc;
	struct cube_node *node = cube_fleet_find(fleet, request->name);
	if (node && node->state == CUBE_NODE_LEAVING)
		return cube_fail(err, CUBE_ECONFLICT,
				 "%s is just being taken down; try again in a moment",
				 request->name);
	if (!node || node->state == CUBE_NODE_GONE) return 0;
	if (!can_begin_again(node)) return cube_node_check_same(node, request, true, err);
	/* One that was ready may have tasks there, and its worker. */
	return node->joined ? cube_node_check_same(node, request, false, err) : 0;
}

int cube_fleet_add(struct cube_fleet *fleet, const struct cube_node_request *request,
		   struct cube_node **ret, bool *ret_added, struct cube_err *err) {
	int rc = cube_fleet_check(fleet, request, err);
	if (rc) return rc;
	struct cube_node *node = cube_fleet_find(fleet, request->name);
	bool again = node && can_begin_again(node);
	*ret_added = !node || again;
	if (!node) {
		node = cube_node_new(fleet, id_for(fleet, request->name), request->name);
		node->added = cube_clock_wall();
		node->link->cached = fleet->ids[node->id].cached;
	}
	*ret = node;
	if (!*ret_added) return 0;
	cube_node_take(node, request);
	if (again) {
		begin_again(node, request->ask);
		return 0;
	}
	node->link->ask = request->ask;
	cube_node_persist(node);
	cube_events_node(fleet->is.events, node->id, "", cube_node_state_name(node->state), "");
	cube_timer_after(node->link->timer,
			 0); /* join in this turn's timers, after the reply was made */
	return 0;
}

void cube_fleet_flush(struct cube_fleet *fleet) {
	cube_list_each (&fleet->unsent, l, struct cube_node_link, unsent) {
		cube_list_remove(&l->unsent);
		if (l->transport && !l->deploy) cube_link_flush(l->node);
	}
}
