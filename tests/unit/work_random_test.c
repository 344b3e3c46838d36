/* The work at random, over a fleet that is none: workers that keep to the protocol, links that
 * break, daemons that die, managers that end or are killed. At the end nothing was lost and nothing
 * ran twice. With both stores. */
#include "work_fleet.h"

enum { HOSTS = 4, STEPS = 4000, TASKS = 2000, ATTEMPTS = 400 };

struct twin { /* an attempt as its worker knows it */
	struct cube_msg id;
	uint8_t state; /* 0: none */
	uint64_t out;
	uint8_t how;
};

static struct host {
	struct twin v[ATTEMPTS];
	bool told; /* this link: it listed what it knows */
} hosts[HOSTS + 1];
static unsigned runs[TASKS]; /* how often a task began */
static bool lost[TASKS];     /* a daemon that knew of it died, or its node went */

static struct twin *twin_of(struct cube_node *n, const struct cube_msg *m) {
	for (size_t i = 0; i < ATTEMPTS; i++) {
		struct twin *t = &hosts[n->id].v[i];
		if (t->state && t->id.task == m->task && t->id.attempt == m->attempt &&
		    t->id.epoch == m->epoch)
			return t;
	}
	return NULL;
}

static struct cube_msg of(const struct twin *t, enum cube_msg_type type) {
	struct cube_msg m = t->id;
	m.type = type;
	return m;
}

/* What it has to say of one, all again after a new link. */
static void tell_exit(struct cube_node *n, const struct twin *t) {
	struct cube_msg m = of(t, CUBE_MSG_EXIT);
	m.exit.how = t->how;
	m.exit.value = t->how == CUBE_EXIT_EXITED ? 3 : 0;
	m.exit.out_end = t->out;
	say_ok(n, m);
}

static void tell_log(struct cube_node *n, const struct twin *t, uint64_t from) {
	static const uint8_t zeros[100000];
	struct cube_msg m = of(t, CUBE_MSG_LOG);
	m.data.stream = 1;
	m.data.offset = from;
	m.data.bytes = (struct cube_slice){zeros, t->out - from};
	say_ok(n, m);
}

static void host_end(struct cube_node *n, struct twin *t, uint8_t how) {
	t->state = CUBE_ATTEMPT_FINISHED;
	t->how = how;
	if (n->link->linked && hosts[n->id].told) tell_exit(n, t);
}

static void on_start(struct cube_node *n, const struct cube_msg *m) {
	if (twin_of(n, m)) return; /* starts nothing again */
	for (size_t i = 0; i < ATTEMPTS; i++) {
		struct twin *t = &hosts[n->id].v[i];
		if (t->state) continue;
		*t = (struct twin){
			.id = {.task = m->task, .attempt = m->attempt, .epoch = m->epoch},
			.state = CUBE_ATTEMPT_QUEUED};
		return;
	}
	ck_abort_msg("FORGET never comes");
}

static struct {
	struct cube_node *n;
	struct cube_msg id;
} stopped[ATTEMPTS];
static size_t nstopped;

static void host_hears(struct cube_node *n, const struct cube_msg *m) {
	struct twin *t = twin_of(n, m);
	if (m->type == CUBE_MSG_START) on_start(n, m);
	if (m->type == CUBE_MSG_STOP && t && nstopped < ATTEMPTS)
		stopped[nstopped].n = n, stopped[nstopped++].id = *m;
	if (m->type != CUBE_MSG_FORGET || !t) return;
	ck_assert_uint_eq(t->state, CUBE_ATTEMPT_FINISHED);
	ck_assert(cube_task_final(row_of(m->task).state));
	t->state = 0;
}

/* Workers answer what they heard after the flush, never within it. */
static void random_turn(void) {
	cube_work_tick(w.work);
	cube_turn_commit(&w.turn);
	cube_work_flush(w.work);
	cube_list_each (&w.fleet.list, n, struct cube_node, hook) {
		flush_node(n);
		n->link->n = 0;
	}
	cube_logs_flush(w.logs);
	cube_events_flush(w.events);
	for (size_t i = 0; i < nstopped; i++) {
		struct twin *t = twin_of(stopped[i].n, &stopped[i].id);
		if (t && t->state != CUBE_ATTEMPT_FINISHED)
			host_end(stopped[i].n, t, CUBE_EXIT_STOPPED);
	}
	nstopped = 0;
}

static void host_comes(struct cube_node *n, bool new_boot) {
	struct host *h = &hosts[n->id];
	for (size_t i = 0; new_boot && i < ATTEMPTS; i++) {
		if (h->v[i].state) lost[h->v[i].id.task] = true;
		h->v[i].state = 0;
	}
	if (new_boot)
		cube_list_each (&cube_seat_of(n)->attempts, t, struct cube_task, queue)
			lost[t->row.id] = true;
	link_up(n);
	for (size_t i = 0; i < ATTEMPTS; i++) {
		if (!h->v[i].state) continue;
		struct cube_msg m = of(&h->v[i], CUBE_MSG_ATTEMPT);
		m.known.state = h->v[i].state;
		m.known.out_end = h->v[i].out;
		say_ok(n, m);
	}
	link_ready(n, new_boot);
	random_turn(); /* ACKs, FORGETs and STOPs come first */
	for (size_t i = 0; i < ATTEMPTS; i++) {
		struct twin *t = &h->v[i];
		if (!t->state || t->state == CUBE_ATTEMPT_QUEUED) continue;
		say_ok(n, of(t, CUBE_MSG_STARTED));
		tell_log(n, t, 0); /* overlapping what is there */
		if (t->state == CUBE_ATTEMPT_FINISHED) tell_exit(n, t);
	}
	h->told = true;
}

/* One attempt goes on: begins, writes or ends. */
static void host_step(struct cube_node *n) {
	struct twin *t = &hosts[n->id].v[rnd(8)];
	bool says = n->link->linked && hosts[n->id].told;
	if (t->state == CUBE_ATTEMPT_QUEUED) {
		t->state = CUBE_ATTEMPT_RUNNING;
		runs[t->id.task]++;
		if (says) say_ok(n, of(t, CUBE_MSG_STARTED));
	} else if (t->state == CUBE_ATTEMPT_RUNNING && rnd(3)) {
		uint64_t from = t->out;
		t->out += rnd(100);
		if (says) tell_log(n, t, from);
	} else if (t->state == CUBE_ATTEMPT_RUNNING) {
		host_end(n, t, CUBE_EXIT_EXITED);
	}
}

static void ask_something(uint64_t *last) {
	uint32_t some[2] = {1 + rnd(HOSTS), 1 + rnd(HOSTS)}, every[HOSTS];
	const char *names = rnd(2) ? "run n1 n2" : "run n3 n4";
	struct cube_err err;
	bool waits;
	for (uint32_t i = 0; i < HOSTS; i++) every[i] = i + 1;
	some[0] = names[5] == '1' ? 1 : 3, some[1] = some[0] + 1;
	struct cube_task *t = cube_work_find(w.work, 1 + rnd((uint32_t)*last + 1));
	if (*last + 10 > TASKS) return;
	switch (rnd(8)) {
	case 0: ck_assert_int_eq(add_to("run", 0, true, every, HOSTS, last, &err), 0); break;
	case 1: ck_assert_int_eq(add_to(names, 1 + rnd(3), false, some, 2, last, &err), 0); break;
	case 2:
		if (t) cube_work_stop(w.work, t, rnd(1000));
		return;
	case 3:
		if (t && t->row.state) cube_work_signal(w.work, t, 1 + (int)rnd(6), &waits, &err);
		return;
	default: *last = add("run", 1 + rnd(4)); break;
	}
	*last += 4;
}

static void go_wrong(struct cube_node *n, unsigned kind) {
	if (kind < 4 && n->link->linked) {
		link_down(n); /* and what was on its way is lost */
		hosts[n->id].told = false;
	} else if (kind < 10 && !n->link->linked) {
		host_comes(n, kind == 4 && n->joined);
	} else if (kind == 10) {
		cube_turn_commit(&w.turn);
		restart();
		for (uint32_t i = 1; i <= HOSTS; i++) hosts[i].told = false;
	} else if (kind == 11 && w.sqlite) {
		restart(); /* killed: nobody heard of what is lost now */
		for (uint32_t i = 1; i <= HOSTS; i++) hosts[i].told = false;
	}
}

static void drain(void) {
	for (int i = 0; i < 20000 && cube_work_active(w.work); i++) {
		struct cube_node *n = w.fleet.ids[1 + rnd(HOSTS)];
		if (!n->link->linked) host_comes(n, false);
		host_step(n);
		if (i % 4 == 0) random_turn();
	}
	random_turn();
}

/* Whatever happened, in each of the four places where something is kept. */
static void nothing_is_left_over(uint64_t last) {
	ck_assert_uint_eq(cube_work_active(w.work), 0);
	ck_assert_uint_eq(w.work->pending, 0);
	ck_assert(w.work->jobs.n == 0 && cube_list_empty(&w.work->waiting));
	cube_list_each (&w.fleet.list, n, struct cube_node, hook) {
		ck_assert_uint_eq(cube_seat_of(n)->load, 0);
		for (size_t i = 0; i < ATTEMPTS; i++) ck_assert_uint_eq(hosts[n->id].v[i].state, 0);
	}
	for (uint64_t id = 1; id <= last && id < TASKS; id++) {
		struct cube_task_row r = {0};
		if (w.store->ops->task_get(w.store, id, take_row, &r, NULL)) continue;
		ck_assert(cube_task_final(r.state));
		ck_assert_msg(runs[id] <= 1, "task %llu ran %u times", (unsigned long long)id,
			      runs[id]);
		ck_assert_msg(r.how != CUBE_EXIT_LOST || lost[id], "task %llu: %s",
			      (unsigned long long)id, row_reason);
		ck_assert_msg(r.how != CUBE_EXIT_EXITED || runs[id], "task %llu never ran",
			      (unsigned long long)id);
		ck_assert_uint_le(w.finals[id], 1);
	}
}

START_TEST(at_random) {
	uint64_t last = 0;
	begin(_i % 2);
	w.seed = (uint64_t)_i + 1;
	memset(hosts, 0, sizeof hosts);
	memset(runs, 0, sizeof runs);
	memset(lost, 0, sizeof lost);
	for (int i = 0; i < HOSTS; i++)
		node_add((const char *[]){"n1", "n2", "n3", "n4"}[i], 1 + rnd(3))->link->hears =
			host_hears;
	for (int i = 0; i < STEPS; i++) {
		struct cube_node *n = w.fleet.ids[1 + rnd(HOSTS)];
		unsigned what = rnd(100);
		if (what < 12) ask_something(&last);
		else if (what < 60) host_step(n);
		else if (what < 70) go_wrong(n, rnd(12));
		else random_turn();
	}
	drain();
	nothing_is_left_over(last);
	finish();
}
END_TEST

int main(void) {
	Suite *s = suite_create("work_random");
	TCase *t = tcase_create("work_random");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, at_random, 0, 10);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
