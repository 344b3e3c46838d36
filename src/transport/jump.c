/* Sharing carriers: see jump.h. A host waits in its group's queue until a carrier can open its
 * lane; then it is a member whose socket the carrier serves, and of interest only for counting. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/hop.h"
#include "cube/list.h"
#include "cube/mem.h"
#include "cube/parse.h"
#include "jump.h"
#include "ssh_shared.h"

enum {
	CARRIERS_MAX = 4, /* of one group: each more is for one that is stuck */
	HOPS_MAX = 8,
	TRIES_MAX = 3, /* carriers that broke while they opened a host's lane */
};
static const uint64_t GRACE_NS = 5 * CUBE_NS_PER_S;

struct carrier {
	struct cube_list entry;
	struct cube_jump_group *group;
	struct cube_carrier *carrier;
	struct cube_jump *asker;   /* who passes its question on, or NULL */
	struct cube_jump *opening; /* whose lane is being opened; NULL also when it has gone */
	bool connected, stuck;
};

struct cube_jump_group {
	struct cube_list entry;
	struct cube_jumps *js;
	struct cube_jump_group *via; /* through whom its carriers connect */
	char *key, *jumps, *file, *name;
	bool strict;
	uint64_t timeout_ns;
	struct cube_list carriers;
	unsigned ncarriers;
	struct cube_list queue, members; /* cube_jump: waiting; served, or about to be */
	bool serving;
	struct cube_err apart; /* why each host is to look for itself; code 0: it need not */
	struct cube_timer *grace;
	bool gone;
};

struct cube_jumps {
	struct cube_ssh *ssh;
	cube_carrier_opener *open;
	struct cube_list groups;
};

struct cube_jump {
	struct cube_list entry;
	struct cube_jump_group *group; /* NULL: all carriers were ended */
	const struct cube_jump_events *events;
	void *arg;
	char *host;
	uint16_t port;
	struct carrier *at; /* whose lane it has, or is to get */
	unsigned tries;
	bool ask, old_only;
	struct cube_err early; /* known at the start, told at the end of the turn */
	char *says;
	struct cube_loop *loop;
	bool gone;
};

static void serve_soon(struct cube_jump_group *g);

/* ---- ends -------------------------------------------------------------------------------- */

static void carrier_free(struct carrier *k) {
	k->carrier->ops->free(k->carrier);
	cube_list_remove(&k->entry);
	k->group->ncarriers--;
	free(k);
}

static void group_destroy(void *arg) {
	struct cube_jump_group *g = arg;
	free(g->key);
	free(g->jumps);
	free(g->file);
	free(g->name);
	free(g);
}

static void orphan(struct cube_list *jumps) {
	cube_list_each (jumps, j, struct cube_jump, entry) {
		cube_list_remove(&j->entry);
		j->group = NULL;
		j->at = NULL;
	}
}

static void group_free(struct cube_jump_group *g) {
	g->gone = true;
	cube_list_remove(&g->entry);
	orphan(&g->queue);
	orphan(&g->members);
	cube_list_each (&g->carriers, k, struct carrier, entry) carrier_free(k);
	cube_list_each (&g->js->groups, other, struct cube_jump_group, entry)
		if (other->via == g) other->via = NULL;
	cube_timer_del(g->grace);
	cube_loop_defer(g->js->ssh->loop, group_destroy, g);
}

static void keep_or_not(struct cube_jump_group *g) {
	bool unused = cube_list_empty(&g->queue) && cube_list_empty(&g->members);
	if (unused) cube_timer_after(g->grace, GRACE_NS);
	else cube_timer_disarm(g->grace);
}

static void on_grace(void *arg) {
	group_free(arg);
}

static void jump_destroy(void *arg) {
	struct cube_jump *j = arg;
	free(j->host);
	free(j->says);
	free(j);
}

void cube_jump_answer(struct cube_jump *j, const char *const *answers) {
	if (!j->group) return;
	cube_list_each (&j->group->carriers, k, struct carrier, entry) {
		if (k->asker != j) continue;
		k->asker = NULL;
		k->carrier->ops->answer(k->carrier, answers);
	}
}

void cube_jump_free(struct cube_jump *j) {
	struct cube_jump_group *g;
	if (!j || j->gone) return;
	j->gone = true;
	g = j->group;
	if (g) {
		cube_list_remove(&j->entry);
		cube_jump_answer(j, NULL);
		/* Its carrier goes on with the opening: libssh2 knows no way back. */
		if (j->at && j->at->opening == j) j->at->opening = NULL;
		keep_or_not(g);
	}
	cube_loop_defer(j->loop, jump_destroy, j);
}

const char *cube_jump_person(const struct cube_jump *j) {
	const struct cube_carrier *k = j->at ? j->at->carrier : NULL;
	return k ? k->ops->person(k) : NULL;
}

const char *cube_jump_says(const struct cube_jump *j) {
	return j->says;
}

/* ---- what a carrier tells ---------------------------------------------------------------- */

/* The jump host that failed is named, not all those that are reached through it. */
static void name_it(struct cube_jump_group *g, struct cube_err *err) {
	if (strncmp(err->msg, "jump host ", 10) != 0) cube_wrap(err, "jump host %.60s", g->name);
}

static void fail(struct cube_jump *j, const struct cube_err *err) {
	struct cube_err copy = *err;
	j->at = NULL;
	j->events->failed(j->arg, &copy);
}

static void on_ready(void *arg) {
	struct carrier *k = arg;
	k->connected = true;
	serve_soon(k->group);
}

static struct cube_jump *find_asker(struct cube_jump_group *g) {
	cube_list_each (&g->queue, j, struct cube_jump, entry)
		if (j->ask) return j;
	return NULL;
}

/* One of those who wait for it asks for all. The jump host's password is not the target's, even
 * where the accounts have one name. */
static void on_ask(void *arg, const struct cube_ask *ask) {
	static const char JUMP[] = "jump host ";
	struct carrier *k = arg;
	const char *name = k->group->name;
	struct cube_ask named = *ask;
	cube_autofree char *key = cube_strf("%s@%s", ask->key, name);
	cube_autofree char *title =
		cube_strf("%s%s%s%s", JUMP, name, *ask->title ? ": " : "", ask->title);
	/* One before it, which it is reached through, has its name already. */
	if (ask->kind != CUBE_ASK_PASSPHRASE && strncmp(ask->title, JUMP, sizeof JUMP - 1) != 0) {
		named.key = key;
		named.title = title;
	}
	k->asker = find_asker(k->group);
	if (k->asker) k->asker->events->asks(k->asker->arg, &named);
	else k->carrier->ops->answer(k->carrier, NULL);
}

static void on_stuck(void *arg) {
	struct carrier *k = arg;
	k->stuck = true;
	serve_soon(k->group);
}

static void on_opened(void *arg, int fd, const struct cube_err *err) {
	struct carrier *k = arg;
	struct cube_jump *j = k->opening;
	k->opening = NULL;
	k->stuck = false;
	serve_soon(k->group);
	if (!j) {
		if (fd >= 0) close(fd);
	} else if (err) {
		struct cube_err copy = *err;
		name_it(k->group, &copy);
		fail(j, &copy);
	} else {
		j->events->connected(j->arg, fd);
	}
}

/* A carrier that can open a lane now; *ret_soon: one will be able to before long. */
static struct carrier *find_idle(struct cube_jump_group *g, bool *ret_soon) {
	*ret_soon = false;
	cube_list_each (&g->carriers, k, struct carrier, entry) {
		if (k->connected && k->carrier->ops->idle(k->carrier)) return k;
		*ret_soon |= !k->stuck;
	}
	return NULL;
}

/* Whoever only waits fails with it. */
static void fail_queue(struct cube_jump_group *g, const struct cube_err *err) {
	while (!g->gone && !cube_list_empty(&g->queue)) {
		struct cube_jump *j = cube_container(g->queue.next, struct cube_jump, entry);
		cube_list_remove(&j->entry);
		cube_list_append(&g->members, &j->entry);
		fail(j, err);
	}
}

static void carrier_broke(struct carrier *k, const struct cube_err *err) {
	struct cube_jump_group *g = k->group;
	cube_list_each (&g->members, j, struct cube_jump, entry) {
		if (j->at != k) continue;
		j->at = NULL;
		free(j->says);
		j->says = cube_strf("jump host %s: %s", g->name, err->msg);
		if (j != k->opening || ++j->tries >= TRIES_MAX) continue;
		cube_list_remove(&j->entry);
		cube_list_push(&g->queue, &j->entry);
		j->events->waits(j->arg, true);
	}
}

static void on_failed(void *arg, const struct cube_err *err) {
	struct carrier *k = arg;
	struct cube_jump_group *g = k->group;
	struct cube_err copy = *err;
	struct cube_jump *j = k->opening;
	bool was_connected = k->connected, soon;
	name_it(g, &copy);
	if (was_connected) carrier_broke(k, err);
	if (j && j->at == k) j->at = NULL;
	carrier_free(k);
	if (err->code == CUBE_ELIBRARY) g->apart = copy;
	/* Unless there is another one to wait for. */
	if (g->apart.code || (!was_connected && !find_idle(g, &soon) && !soon))
		fail_queue(g, &copy);
	else if (j && j->tries >= TRIES_MAX) fail(j, &copy);
	serve_soon(g);
}

static const struct cube_carrier_events CARRIER_EVENTS = {.ready = on_ready,
							  .opened = on_opened,
							  .ask = on_ask,
							  .stuck = on_stuck,
							  .failed = on_failed};

/* ---- serving the queue ------------------------------------------------------------------- */

static int new_carrier(struct cube_jump_group *g, struct cube_err *err) {
	const char *comma = strrchr(g->jumps, ',');
	cube_autofree char *before =
		comma ? cube_strndup(g->jumps, (size_t)(comma - g->jumps)) : NULL;
	struct cube_jump_hop hop;
	uint64_t port = 0;
	cube_jump_parse(comma ? comma + 1 : g->jumps, &hop);
	int rc = hop.port ? cube_parse_u64(hop.port, 1, UINT16_MAX, &port, err) : 0;
	struct cube_target target = {.name = hop.host,
				     .host = hop.host,
				     .user = hop.user,
				     .port = (uint16_t)port,
				     .ssh_config = g->file,
				     .jump = before,
				     .strict_host_keys = g->strict,
				     .ask = find_asker(g) != NULL,
				     .timeout_ns = g->timeout_ns};
	struct carrier *k = cube_alloc(sizeof *k);
	k->group = g;
	if (rc == 0) rc = g->js->open(g->js->ssh, &target, g, &CARRIER_EVENTS, k, &k->carrier, err);
	cube_jump_hop_done(&hop);
	if (rc < 0) {
		free(k);
		return rc;
	}
	cube_list_append(&g->carriers, &k->entry);
	g->ncarriers++;
	return 0;
}

static void open_lane(struct carrier *k, struct cube_jump *j) {
	cube_list_remove(&j->entry);
	cube_list_append(&k->group->members, &j->entry);
	j->at = k;
	k->opening = j;
	k->stuck = false;
	k->carrier->ops->open(k->carrier, j->host, j->port);
	j->events->waits(j->arg, false);
}

static void fail_first(struct cube_jump_group *g, const struct cube_err *err) {
	struct cube_jump *j = cube_container(g->queue.next, struct cube_jump, entry);
	cube_list_remove(&j->entry);
	cube_list_append(&g->members, &j->entry);
	fail(j, err);
}

static void serve(void *arg) {
	struct cube_jump_group *g = arg;
	struct cube_err err;
	bool soon;
	g->serving = false;
	while (!g->gone && !cube_list_empty(&g->queue)) {
		struct cube_jump *j = cube_container(g->queue.next, struct cube_jump, entry);
		struct carrier *k = find_idle(g, &soon);
		if (g->apart.code) fail_first(g, &g->apart);
		else if (k) open_lane(k, j);
		else if (soon || (j->old_only && g->ncarriers)) return;
		else if (j->old_only) {
			cube_fail(&err, CUBE_ELOGIN, "jump host %.60s: its login wants a person",
				  g->name);
			fail_first(g, &err);
		} else if (g->ncarriers == CARRIERS_MAX) {
			cube_fail(&err, CUBE_ELIBRARY, "jump host %.60s: all connections are stuck",
				  g->name);
			fail_first(g, &err);
		} else if (new_carrier(g, &err) < 0) {
			name_it(g, &err);
			fail_first(g, &err);
		}
	}
}

/* At the end of the turn, so that nobody is called from where we are. */
static void serve_soon(struct cube_jump_group *g) {
	if (g->serving || g->gone) return;
	g->serving = true;
	cube_loop_defer(g->js->ssh->loop, serve, g);
}

/* ---- groups and members ------------------------------------------------------------------ */

static struct cube_jump_group *group_for(struct cube_jumps *js, const struct cube_jump_spec *spec) {
	const char *comma = strrchr(spec->jumps, ',');
	cube_autofree char *key =
		cube_strf("%s\n%s\n%d", spec->jumps, spec->file ? spec->file : "", spec->strict);
	cube_list_each (&js->groups, g, struct cube_jump_group, entry)
		if (!strcmp(g->key, key)) return g;
	struct cube_jump_group *g = cube_alloc(sizeof *g);
	g->js = js;
	g->key = cube_strdup(key);
	g->jumps = cube_strdup(spec->jumps);
	g->name = cube_strdup(comma ? comma + 1 : spec->jumps);
	g->file = cube_strdup(spec->file);
	g->strict = spec->strict;
	g->timeout_ns = spec->timeout_ns;
	cube_list_init(&g->carriers);
	cube_list_init(&g->queue);
	cube_list_init(&g->members);
	g->grace = cube_timer_add(js->ssh->loop, on_grace, g);
	cube_list_append(&js->groups, &g->entry);
	return g;
}

/* A group whose carriers would wait for themselves, or for ever longer chains ("ProxyJump x%h"). */
static int check_chain(struct cube_jump_group *from, struct cube_jump_group *g,
		       struct cube_err *err) {
	unsigned hops = 0;
	if (!from) return 0;
	cube_list_each (&from->js->groups, each, struct cube_jump_group, entry) {
		unsigned n = 0;
		for (struct cube_jump_group *at = each; at && n <= HOPS_MAX; at = at->via) {
			n++;
			if (at == from && n > hops) hops = n;
		}
	}
	for (struct cube_jump_group *at = g; at; at = at->via) {
		if (at == from)
			return cube_fail(
				err, CUBE_EUSAGE,
				"ProxyJump leads in a circle: %.80s is reached through %.80s",
				from->name, g->name);
		hops++;
	}
	if (hops <= HOPS_MAX) return 0;
	return cube_fail(err, CUBE_EUSAGE, "over %d jump hosts in a row", HOPS_MAX);
}

static void fail_early(void *arg) {
	struct cube_jump *j = arg;
	if (!j->gone) fail(j, &j->early);
}

struct cube_jump *cube_jump_start(struct cube_jumps *js, const struct cube_jump_spec *spec,
				  const struct cube_jump_events *events, void *arg) {
	struct cube_jump_group *g = group_for(js, spec);
	struct cube_jump *j = cube_alloc(sizeof *j);
	j->loop = js->ssh->loop;
	j->events = events;
	j->arg = arg;
	j->host = cube_strdup(spec->host);
	j->port = spec->port;
	j->ask = spec->ask && !spec->old_only;
	j->old_only = spec->old_only;
	if (check_chain(spec->from, g, &j->early) < 0) {
		keep_or_not(g);
		cube_loop_defer(js->ssh->loop, fail_early, j);
		return j;
	}
	if (spec->from) spec->from->via = g;
	j->group = g;
	cube_list_append(&g->queue, &j->entry);
	keep_or_not(g);
	serve_soon(g);
	events->waits(arg, true);
	return j;
}

void cube_jumps_new(struct cube_ssh *ssh, cube_carrier_opener *open, struct cube_jumps **ret) {
	struct cube_jumps *js = cube_alloc(sizeof *js);
	js->ssh = ssh;
	js->open = open;
	cube_list_init(&js->groups);
	*ret = js;
}

void cube_jumps_free(struct cube_jumps *js) {
	if (!js) return;
	while (!cube_list_empty(&js->groups))
		group_free(cube_container(js->groups.next, struct cube_jump_group, entry));
	free(js);
}
