/* The fleet over hosts in memory, by a clock that only the test moves: what ends each state of a
 * node, and what is told of it. After each turn every node is looked at: check_node. */
#include "fleet_host.h"

#define LONG_WAIT 200 /* seconds, longer than any limit */

static struct host *const h = &w.hosts[0];

static bool said(const char *text) {
	return strstr(w.story, text) != NULL;
}
static unsigned times(const char *text) {
	unsigned n = 0;
	for (const char *at = w.story; (at = strstr(at, text)); at++) n++;
	return n;
}

/* Another world: a process for each would be most of what this costs. */
static void anew(void) {
	teardown();
	setup();
}

/* How a node came to be on its way: for the first time, after it was ready, or to be taken down. */
enum way { FRESH, AGAIN, LEAVING, WAYS };
static const char *const way_names[] = {"fresh", "again", "leaving"};

static struct cube_node *on_way(enum way way, enum stage stage) {
	struct cube_node *n = add("n0");
	if (way == AGAIN) {
		go_to(h, n, READY, 1);
		drop(h, CUBE_ECONNECT, "cut");
		wait_opened(h);
	}
	go_to(h, n, stage, 1);
	forget_story();
	if (way == LEAVING) {
		cube_node_leave(n, false, false);
		turn();
	}
	return n;
}

/* ---- silence ----------------------------------------------------------------------------------
 */

/* seconds: when a silent host is given up in that stage; 0: the transport has a limit of its own.
 */
static const struct {
	enum stage stage;
	enum cube_node_state state;
	unsigned seconds;
	const char *why;
	bool clean; /* nothing of ours is there: leaving ends as gone */
} silence[] = {
	{OPENING, CUBE_NODE_CONNECTING, 40, "connecting: no progress for 30 s", true},
	{DIALLING, CUBE_NODE_CONNECTING, 0, NULL, true},
	{PROBING, CUBE_NODE_PROBING, 30, "probing: no progress for 30 s", true},
	{PUSHING, CUBE_NODE_PUSHING, 30, "pushing: no progress for 30 s", false},
	{INSTALLED, CUBE_NODE_STARTING, 30, "starting: no progress for 30 s", false},
	{ATTACHED, CUBE_NODE_STARTING, 30, "starting: no progress for 30 s", false},
	{LISTING, CUBE_NODE_STARTING, 30, "starting: no progress for 30 s", false},
	{READY, CUBE_NODE_READY, 25, "nothing heard for 25 s", false},
};

static void silent_leaving(unsigned row, uint32_t id) {
	unsigned took = wait_change(id, LONG_WAIT);
	const struct cube_node *n = cube_fleet_by_id(w.fleet, id);
	ck_assert_uint_eq(took, 30);
	if (silence[row].clean) {
		ck_assert_ptr_null(n);
		ck_assert(!cube_fleet_left_worker(w.fleet, "n0"));
	} else {
		ck_assert_int_eq(n->state, CUBE_NODE_FAILED);
	}
	ck_assert_uint_eq(times("ended n0"), 1);
}

static void silent(unsigned row, enum way way) {
	struct cube_node *n = on_way(way, silence[row].stage);
	if (way == LEAVING) {
		silent_leaving(row, n->id);
		return;
	}
	bool lost_once = way == AGAIN && silence[row].stage <= DIALLING;
	ck_assert_int_eq(n->state, lost_once ? CUBE_NODE_LOST : silence[row].state);
	if (!silence[row].seconds) {
		pass(1000 * SECOND);
		ck_assert(h->up);
		drop(h, CUBE_ETIMEOUT, "connecting timed out");
	} else if (lost_once) { /* it stays lost, and is tried again */
		for (unsigned s = 0; s < silence[row].seconds; s++, turn()) {
			ck_assert(h->up);
			w.now += SECOND;
		}
		ck_assert_ptr_nonnull(strstr(n->reason, silence[row].why));
	} else {
		ck_assert_uint_eq(wait_change(n->id, LONG_WAIT), silence[row].seconds);
		ck_assert_msg(strstr(n->reason, silence[row].why), "%s", n->reason);
	}
	bool joined = way == AGAIN || silence[row].stage == READY;
	ck_assert(!h->up);
	ck_assert_int_eq(n->state, joined ? CUBE_NODE_LOST : CUBE_NODE_FAILED);
	ck_assert_uint_eq(times("ended n0"), !joined);
	if (joined) wait_opened(h);
}

START_TEST(silent_host) {
	silent((unsigned)_i, FRESH);
	anew();
	silent((unsigned)_i, AGAIN);
	anew();
	silent((unsigned)_i, LEAVING);
}
END_TEST

/* ---- links that fail --------------------------------------------------------------------------
 */

static const struct {
	int code; /* 0: the line ends */
	enum cube_node_state fresh, again;
} failures[] = {
	{CUBE_ECONNECT, CUBE_NODE_FAILED, CUBE_NODE_LOST},
	{CUBE_ETIMEOUT, CUBE_NODE_FAILED, CUBE_NODE_LOST},
	{CUBE_EHOSTKEY, CUBE_NODE_FAILED, CUBE_NODE_LOST},
	{CUBE_EAUTH, CUBE_NODE_FAILED, CUBE_NODE_FAILED},
	{CUBE_ELOGIN, CUBE_NODE_NEEDS_LOGIN, CUBE_NODE_NEEDS_LOGIN},
	{0, CUBE_NODE_FAILED, CUBE_NODE_LOST},
};
enum { FAILURES = sizeof failures / sizeof failures[0] };

/* Whoever receives frames is told once, in order, and only where there was a link. */
static void check_down(bool linked) {
	static const char all[] = "down a n0\ndown b n0\ndown c n0\n";
	ck_assert_uint_eq(times("down "), linked ? RECEIVERS : 0);
	ck_assert(!linked || said(all));
}

static void fails(enum way way, enum stage stage, unsigned row) {
	int code = failures[row].code;
	if (!code && stage < PROBING) return; /* no line runs */
	struct cube_node *n = on_way(way, stage);
	h->changed = code == CUBE_EHOSTKEY;
	bool linked = stage >= LISTING, touched = stage >= PUSHING;
	uint32_t id = n->id;
	if (code) drop(h, code, "it broke");
	else end(h, 1);
	turn();
	check_down(linked);
	n = cube_fleet_by_id(w.fleet, id);
	if (way == LEAVING) {
		ck_assert(n ? touched && n->state == CUBE_NODE_FAILED : !touched);
		return;
	}
	bool joined = way == AGAIN || stage == READY;
	enum cube_node_state state = joined ? failures[row].again : failures[row].fresh;
	ck_assert_msg(n->state == state, "%s, stage %d: %s (%s)", way_names[way], (int)stage,
		      cube_node_state_name(n->state), n->reason);
	unsigned opened = h->opened;
	if (state == CUBE_NODE_LOST && !h->changed) wait_opened(h);
	else pass(1000 * SECOND); /* unasked nothing is tried */
	ck_assert_uint_eq(h->opened, opened + (state == CUBE_NODE_LOST && !h->changed));
	check_down(linked);
}

START_TEST(link_fails) {
	for (int stage = 0; stage < STAGES; stage++) {
		for (unsigned row = 0; row < FAILURES; row++) {
			fails((enum way)_i, (enum stage)stage, row);
			anew();
		}
	}
}
END_TEST

/* Those that rest are begun again by their user, and can be taken down. */
START_TEST(who_rests_is_woken) {
	static const int codes[] = {CUBE_ECONNECT, CUBE_ELOGIN, CUBE_EHOSTKEY};
	bool joined = _i >= 3, added;
	int code = codes[_i % 3];
	struct cube_node *n = on_way(joined ? AGAIN : FRESH, DIALLING);
	h->changed = code == CUBE_EHOSTKEY;
	drop(h, code, "it broke");
	h->changed = false;
	cube_node_login(n, false, &added);
	ck_assert(added);
	turn();
	ck_assert(h->up);
	ck_assert_int_eq(n->state, CUBE_NODE_CONNECTING);
	cube_node_login(n, false, &added);
	ck_assert(!added);
	go_to(h, n, READY, 1);
	ck_assert_int_eq(n->state, CUBE_NODE_READY);
	ck_assert(said("ready n0\n"));
}
END_TEST

/* ---- ready ------------------------------------------------------------------------------------
 */

START_TEST(pings) {
	struct cube_node *n = on_way(FRESH, READY);
	struct cube_msg ping = {0};
	for (unsigned i = 1; i <= 200; i++) {
		pass(5 * SECOND);
		turn();
		ck_assert_uint_eq(sent(h, CUBE_MSG_PING, &ping), i);
		ck_assert_uint_eq(ping.ping.token, w.now);
		w.now += SECOND;
		frame(h, &(struct cube_msg){.type = CUBE_MSG_PONG, .ping.token = ping.ping.token});
		w.now -= SECOND;
	}
	ck_assert_int_eq(n->state, CUBE_NODE_READY);
	ck_assert_uint_eq(times("answered n0 1\n"), 200);
	/* Anything that is heard will do. */
	for (int i = 0; i < 20; i++) {
		pass(20 * SECOND);
		frame(h, &(struct cube_msg){.type = CUBE_MSG_METRIC});
	}
	ck_assert_int_eq(n->state, CUBE_NODE_READY);
	ck_assert_int_eq(n->metric.wall, clock_wall());
	ck_assert_int_eq(n->seen, clock_wall());
}
END_TEST

/* Each pause is twice the one before, up to half a minute; one that held on long begins anew. */
START_TEST(pauses) {
	static const unsigned seconds[] = {1, 2, 4, 8, 16, 30, 30, 30};
	struct cube_node *n = on_way(FRESH, READY);
	for (unsigned i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
		drop(h, CUBE_ECONNECT, "cut");
		uint64_t from = w.now, most = seconds[i] * SECOND, was = h->opened;
		while (h->opened == was) pass(SECOND / 20);
		ck_assert_uint_ge(w.now - from, most * 3 / 4);
		ck_assert_uint_le(w.now - from, most + SECOND / 20);
	}
	go_to(h, n, READY, 1);
	for (int i = 0; i < 14; i++) {
		pass(5 * SECOND);
		frame(h, &(struct cube_msg){.type = CUBE_MSG_METRIC});
	}
	drop(h, CUBE_ECONNECT, "cut");
	pass(SECOND);
	ck_assert(h->up);
}
END_TEST

START_TEST(lost_and_back) {
	struct cube_node *n = on_way(FRESH, READY);
	for (uint64_t boot = 1; boot < 4; boot++) {
		drop(h, CUBE_ECONNECT, "cut");
		wait_opened(h);
		forget_story();
		go_to(h, n, READY, boot);
		ck_assert_int_eq(n->state, CUBE_NODE_READY);
		ck_assert_str_eq(w.story, boot == 1 ? "ready n0\n" : "ready n0 anew\n");
	}
	/* Warm: it answers at once. */
	end(h, 1);
	wait_opened(h);
	go_to(h, n, PROBING, 3);
	next_stage(h, n, ATTACHED, 3);
	next_stage(h, n, LISTING, 3);
	next_stage(h, n, READY, 3);
	ck_assert_int_eq(n->state, CUBE_NODE_READY);
}
END_TEST

/* After a sleep a link that does not answer soon is given up, and those that are lost are tried. */
START_TEST(this_machine_slept) {
	struct cube_node *n = on_way(FRESH, READY), *other = add("n1");
	struct host *lost = &w.hosts[1];
	go_to(lost, other, READY, 1);
	for (int i = 0; i < 5; i++) {
		drop(lost, CUBE_ECONNECT, "cut");
		if (i < 4) wait_opened(lost);
	}
	unsigned opened = lost->opened, pinged = sent(h, CUBE_MSG_PING, NULL);
	pass(5 * SECOND);
	ck_assert_uint_eq(lost->opened, opened);
	frame(h, &(struct cube_msg){.type = CUBE_MSG_METRIC});
	w.asleep += 3600 * SECOND;
	pass(5 * SECOND);
	turn();
	pass(SECOND / 2);
	ck_assert_uint_eq(lost->opened, opened + 1);
	ck_assert_uint_ge(sent(h, CUBE_MSG_PING, NULL), pinged + 2);
	ck_assert_uint_le(wait_change(n->id, LONG_WAIT), 10);
	ck_assert_int_eq(n->state, CUBE_NODE_LOST);
}
END_TEST

/* ---- another build ----------------------------------------------------------------------------
 */

static void other_build(struct host *at, const struct cube_node *n) {
	struct cube_msg msg = hello_of(n->id, 1);
	memset(msg.worker_hello.build, 'f', 64);
	frame(at, &msg);
	next_stage(at, n, READY, 1);
}

START_TEST(idle_one_of_another_build_is_replaced) {
	struct cube_msg msg = {0};
	struct cube_node *n = on_way(_i ? AGAIN : FRESH, ATTACHED);
	other_build(h, n);
	ck_assert_int_eq(n->state, CUBE_NODE_STARTING);
	ck_assert_uint_eq(sent(h, CUBE_MSG_SHUTDOWN, &msg), 1);
	ck_assert_uint_eq(msg.shutdown.purge, 2);
	end(h, 0);
	ck_assert_int_eq(n->state, CUBE_NODE_LOST);
	ck_assert(!said("ready n0") && !said("ended n0"));
	wait_opened(h);
	go_to(h, n, READY, 2);
	ck_assert_int_eq(n->state, CUBE_NODE_READY);
}
END_TEST

START_TEST(busy_one_of_another_build_stays) {
	struct cube_node *n = on_way(FRESH, ATTACHED);
	w.busy = true;
	other_build(h, n);
	ck_assert_int_eq(n->state, CUBE_NODE_READY);
	ck_assert_uint_eq(sent(h, CUBE_MSG_SHUTDOWN, NULL), 0);
}
END_TEST

START_TEST(one_of_another_build_that_does_not_go) {
	struct cube_node *n = on_way(_i ? AGAIN : FRESH, ATTACHED);
	other_build(h, n);
	ck_assert_uint_le(wait_change(n->id, LONG_WAIT), 30);
	ck_assert_int_eq(n->state, _i ? CUBE_NODE_LOST : CUBE_NODE_FAILED);
}
END_TEST

/* ---- frames -----------------------------------------------------------------------------------
 */

static const struct {
	enum cube_msg_type type;
	const char *receiver; /* NULL: nobody's, which ends the link */
} frames[] = {
	{CUBE_MSG_ATTEMPT, "a"},       {CUBE_MSG_STARTED, "b"},      {CUBE_MSG_EXIT, "b"},
	{CUBE_MSG_LOG, "b"},           {CUBE_MSG_STDIN_ACK, "b"},    {CUBE_MSG_PUSH_DONE, NULL},
	{CUBE_MSG_STREAM_OUTPUT, "c"}, {CUBE_MSG_STREAM_GRANT, "c"}, {CUBE_MSG_STREAM_CLOSED, "c"},
	{CUBE_MSG_PING, NULL},         {CUBE_MSG_FORGET, NULL},      {CUBE_MSG_SHUTDOWN, NULL},
};

static struct cube_msg of_type(enum cube_msg_type type) {
	struct cube_msg msg = {.type = type};
	if (type == CUBE_MSG_ATTEMPT) msg.known.state = CUBE_ATTEMPT_RUNNING;
	if (type == CUBE_MSG_LOG) msg.data.stream = CUBE_STDOUT;
	if (type == CUBE_MSG_STREAM_OUTPUT) msg.stream.fd = CUBE_STDOUT;
	return msg;
}

START_TEST(frames_and_receivers) {
	char want[100];
	struct cube_node *n = on_way(FRESH, READY);
	struct cube_msg msg = of_type(frames[_i].type);
	forget_story();
	frame(h, &msg);
	if (!frames[_i].receiver) {
		ck_assert_int_eq(n->state, CUBE_NODE_LOST);
		ck_assert_msg(strstr(n->reason, "not its to send"), "%s", n->reason);
		check_down(true);
		return;
	}
	snprintf(want, sizeof want, "%s n0 %s\n", frames[_i].receiver,
		 cube_msg_name((int)msg.type));
	ck_assert_str_eq(w.story, want);
	ck_assert_int_eq(n->state, CUBE_NODE_READY);
	w.verdict = CUBE_EPROTO; /* the receiver refuses */
	frame(h, &msg);
	ck_assert_int_eq(n->state, CUBE_NODE_LOST);
	ck_assert_str_eq(n->reason, "protocol: a bad message");
	check_down(true);
}
END_TEST

enum lie { SECOND_HELLO, NO_HELLO, VERSION, OTHER_CLUSTER, OTHER_NODE, REFUSES, TWICE_READY, LIES };
static const struct {
	enum stage stage;
	const char *why;
} lies[LIES] = {
	[SECOND_HELLO] = {LISTING, "says HELLO twice"},
	[NO_HELLO] = {ATTACHED, "does not begin with HELLO"},
	[VERSION] = {ATTACHED, "speaks version 9 of the protocol"},
	[OTHER_CLUSTER] = {ATTACHED, "belongs to another cluster or node"},
	[OTHER_NODE] = {ATTACHED, "belongs to another cluster or node"},
	[REFUSES] = {ATTACHED, "the worker refuses: no"},
	[TWICE_READY] = {READY, "says READY twice"},
};

START_TEST(workers_that_lie) {
	struct cube_node *n = on_way(FRESH, lies[_i].stage);
	struct cube_msg msg = hello_of(n->id, 1);
	if (_i == VERSION) msg.worker_hello.version = 9;
	if (_i == OTHER_CLUSTER) msg.worker_hello.cluster++;
	if (_i == OTHER_NODE) msg.worker_hello.node++;
	if (_i == NO_HELLO || _i == TWICE_READY) msg = (struct cube_msg){.type = CUBE_MSG_READY};
	if (_i == REFUSES)
		msg = (struct cube_msg){.type = CUBE_MSG_ERROR,
					.error = {.code = CUBE_PROTO_ERR_VERSION, .message = "no"}};
	frame(h, &msg);
	ck_assert_int_eq(n->state, lies[_i].stage == READY ? CUBE_NODE_LOST : CUBE_NODE_FAILED);
	ck_assert_msg(strstr(n->reason, lies[_i].why), "%s", n->reason);
	check_down(lies[_i].stage >= LISTING);
}
END_TEST

/* ---- leaving ----------------------------------------------------------------------------------
 */

START_TEST(leaves) {
	bool purge = _i & 1, lost = _i & 2, added;
	struct cube_msg msg = {0};
	struct cube_node *n = on_way(FRESH, READY);
	uint32_t id = n->id;
	if (lost) drop(h, CUBE_ECONNECT, "cut");
	forget_story();
	cube_node_leave(n, purge, false);
	if (lost) go_to(h, n, READY, 1); /* only one that is reached can be told */
	turn();
	ck_assert_int_eq(n->state, CUBE_NODE_LEAVING);
	ck_assert_uint_eq(sent(h, CUBE_MSG_SHUTDOWN, &msg), 1);
	ck_assert_uint_eq(msg.shutdown.purge, purge);
	pass(29 * SECOND);
	end(h, 0);
	if (purge) { /* what else lies there: by the same transport, with a limit of its own */
		ck_assert_ptr_nonnull(cube_fleet_by_id(w.fleet, id));
		pass(29 * SECOND);
		say(h, "hello");
		say(h, "clean");
		end(h, 0);
	}
	turn();
	ck_assert_ptr_null(cube_fleet_by_id(w.fleet, id));
	ck_assert_str_eq(w.story, "down a n0\ndown b n0\ndown c n0\nended n0\nremoved n0\n");
	ck_assert_int_eq(cube_fleet_left_worker(w.fleet, "n0"), !purge);
	ck_assert_str_eq(cube_fleet_name(w.fleet, id), "n0");
	n = add("n0"); /* the same again */
	ck_assert_uint_eq(n->id, id);
	cube_node_login(n, false, &added);
	ck_assert(!added);
}
END_TEST

START_TEST(cleaning_takes_too_long) {
	struct cube_node *n = on_way(FRESH, READY);
	cube_node_leave(n, true, false);
	turn();
	end(h, 0);
	ck_assert_uint_eq(wait_change(n->id, LONG_WAIT), 30);
	ck_assert_int_eq(n->state, CUBE_NODE_FAILED);
	ck_assert(!h->up);
}
END_TEST

/* One that rests is gone at once where nothing of ours is there, and reached for it elsewhere. */
START_TEST(who_rests_leaves) {
	bool joined = _i;
	struct cube_node *n = on_way(joined ? AGAIN : FRESH, DIALLING);
	uint32_t id = n->id;
	drop(h, CUBE_ELOGIN, "a person");
	unsigned opened = h->opened;
	cube_node_leave(n, false, false);
	turn();
	ck_assert_uint_eq(h->opened, opened + joined);
	if (joined) ck_assert_uint_le(wait_change(id, LONG_WAIT), 40);
	else ck_assert_ptr_null(cube_fleet_by_id(w.fleet, id));
}
END_TEST

/* ---- people -----------------------------------------------------------------------------------
 */

/* Whoever is asked has a limit in prompts.c; without anybody there is no answer at once. */
START_TEST(a_question) {
	bool ask = _i & 1, leaving = _i & 2, again;
	struct cube_node *n = on_way(leaving ? LEAVING : FRESH, DIALLING);
	if (ask && !leaving) {
		drop(h, CUBE_ELOGIN, "a person");
		cube_node_login(n, true, &again);
		turn();
		go_to(h, n, DIALLING, 1);
	}
	h->opening = false; /* its clock stands */
	struct cube_ask question = {.kind = CUBE_ASK_PASSWORD, .key = "u", .title = "", .n = 1};
	question.prompts[0].text = "Password: ";
	h->ev->on_ask(h->arg, &question);
	h->opening = h->answered > 0;
	for (int s = 0; !h->answered; s++) {
		ck_assert_int_lt(s, 11);
		w.now += SECOND;
		ck_assert_int_eq(cube_loop_turn(w.loop, 0, NULL), 0);
		h->opening = h->answered > 0;
		check_node(n);
	}
	ck_assert_uint_eq(h->answered, 1);
	if (leaving) {
		ck_assert_uint_le(wait_change(n->id, LONG_WAIT), 40);
		return;
	}
	drop(h, CUBE_ELOGIN, "no password");
	ck_assert_int_eq(n->state, CUBE_NODE_NEEDS_LOGIN);
	pass(1000 * SECOND);
	ck_assert_int_eq(n->state, CUBE_NODE_NEEDS_LOGIN);
}
END_TEST

/* An opener that fails at once: the same as one that fails later. */
START_TEST(not_there_at_once) {
	h->refuses = CUBE_ECONNECT;
	struct cube_node *n = add("n0");
	ck_assert_int_eq(n->state, CUBE_NODE_FAILED);
	h->refuses = 0;
	bool added;
	cube_node_login(n, false, &added);
	turn();
	go_to(h, n, READY, 1);
	h->refuses = CUBE_ECONNECT;
	drop(h, CUBE_ECONNECT, "cut");
	for (int i = 0; i < 5; i++) wait_opened(h);
	ck_assert_int_eq(n->state, CUBE_NODE_LOST);
}
END_TEST

/* ---- names ------------------------------------------------------------------------------------
 */

/* However many there are, few others are looked at to find one. */
START_TEST(sixteen_thousand_names) {
	enum { N = 16000 };
	char name[32];
	struct cube_node_request r = {.name = name};
	struct cube_node *n;
	bool added;
	for (unsigned i = 1; i <= N; i++) {
		snprintf(name, sizeof name, "rack%u-node%u", i / 40, i);
		ck_assert_int_eq(cube_fleet_add(w.fleet, &r, &n, &added, NULL), 0);
		ck_assert_uint_eq(n->id, i);
		forget_story();
	}
	ck_assert_uint_eq(cube_fleet_count(w.fleet), N);
	unsigned looked_at = 0;
	for (size_t b = 0; b < w.fleet->nnames; b++) {
		unsigned depth = 0;
		for (uint32_t id = w.fleet->names[b]; id; id = w.fleet->ids[id].next)
			looked_at += ++depth;
	}
	ck_assert_uint_ge(looked_at, N);
	ck_assert_uint_le(looked_at, 2 * N);
	for (unsigned i = 1; i <= N; i++) {
		snprintf(name, sizeof name, "rack%u-node%u", i / 40, i);
		n = cube_fleet_find(w.fleet, name);
		ck_assert(n && n->id == i);
		name[0] = 'R';
		ck_assert_ptr_null(cube_fleet_find(w.fleet, name));
	}
}
END_TEST

int main(void) {
	Suite *s = suite_create("fleet");
	TCase *t = tcase_create("fleet");
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, silent_host, 0, STAGES);
	tcase_add_loop_test(t, link_fails, 0, WAYS);
	tcase_add_loop_test(t, who_rests_is_woken, 0, 6);
	tcase_add_test(t, pings);
	tcase_add_test(t, pauses);
	tcase_add_test(t, lost_and_back);
	tcase_add_test(t, this_machine_slept);
	tcase_add_loop_test(t, idle_one_of_another_build_is_replaced, 0, 2);
	tcase_add_test(t, busy_one_of_another_build_stays);
	tcase_add_loop_test(t, one_of_another_build_that_does_not_go, 0, 2);
	tcase_add_loop_test(t, frames_and_receivers, 0, sizeof frames / sizeof frames[0]);
	tcase_add_loop_test(t, workers_that_lie, 0, LIES);
	tcase_add_loop_test(t, leaves, 0, 4);
	tcase_add_test(t, cleaning_takes_too_long);
	tcase_add_loop_test(t, who_rests_leaves, 0, 2);
	tcase_add_loop_test(t, a_question, 0, 4);
	tcase_add_test(t, not_there_at_once);
	tcase_add_test(t, sixteen_thousand_names);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
