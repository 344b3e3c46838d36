/* The local transport, bare and behind the fault shim. */
#include "transport_peer.h"

#include "transport_shim.c"

static struct cube_loop *loop;
static struct peer p;

static void setup(void) {
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	peer_init(&p, loop);
}

static void teardown(void) {
	peer_done(&p);
	cube_loop_free(loop);
}

static void open_local(void) {
	struct cube_target target = {.name = "here"};
	struct cube_err err;
	ck_assert_int_eq(cube_transport_local(loop, &target, &PEER_EVENTS, &p, &p.t, &err), 0);
	ck_assert(!p.open);
	peer_wait_open(&p);
}

static void open_shim(const struct cube_shim_plan *plan) {
	struct cube_target target = {.name = "here"};
	struct cube_transport *inner;
	p.t = cube_shim_new(loop, plan, &PEER_EVENTS, &p);
	ck_assert_int_eq(cube_transport_local(loop, &target, cube_shim_events(), p.t, &inner, NULL),
			 0);
	cube_shim_attach(p.t, inner);
	peer_wait_open(&p);
}

START_TEST(test_step_names) {
	for (int i = CUBE_STEP_CONFIG; i <= CUBE_STEP_OPEN; i++)
		ck_assert_str_ne(cube_transport_step_name((enum cube_transport_step)i), "");
	ck_assert_str_eq(cube_transport_step_name(CUBE_STEP_AUTH), "authenticating");
	ck_assert_str_eq(cube_transport_step_name((enum cube_transport_step)77), "unknown step");
}
END_TEST

START_TEST(test_commands) {
	static const struct {
		const char *line, *out, *err;
		int status;
	} cases[] = {
		{"echo hi", "hi\n", "", 0},
		{"exit 7", "", "", 7},
		{"kill -KILL $$", "", "", 137},
		{"kill -TERM $$", "", "", 143},
		{"echo out; echo err >&2", "out\n", "err\n", 0},
		{"exec /bin/sh -c 'printf %s \"$0\"' 'a b'", "a b", "", 0},
		{"exec 1>&-; exec 2>&-; exit 3", "", "", 3},
	};
	open_local();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		peer_run(&p, cases[i].line);
		ck_out(&p, cases[i].out);
		ck_assert_str_eq(cube_buf_str(&p.errs), cases[i].err);
		ck_assert_int_eq(p.status, cases[i].status);
	}
	ck_assert_int_eq(p.ends, (int)(sizeof cases / sizeof cases[0]));
}
END_TEST

START_TEST(test_cat) {
	open_local();
	p.take = (unsigned)_i;
	peer_exec(&p, "cat");
	peer_send(&p, 8 << 20);
	RUN_UNTIL(&p, p.ended);
	ck_assert_uint_eq(p.got, 8 << 20);
	ck_assert_uint_eq(p.hash, p.sent_hash);
	ck_assert_int_eq(p.status, 0);
	ck_assert_uint_eq(cube_transport_queued(p.t), 0);
}
END_TEST

START_TEST(test_queue_limit) {
	static char mega[1 << 20];
	open_local();
	ck_assert_int_lt(cube_transport_write(p.t, "x", 1), 0); /* no command yet */
	peer_exec(&p, "read x; wc -c");
	ck_assert_int_eq(cube_transport_exec(p.t, "echo", NULL), CUBE_ECONFLICT);
	int n = 0, rc;
	while ((rc = cube_transport_write(p.t, mega, sizeof mega)) == 0 && n < 10) n++;
	ck_assert_int_eq(rc, CUBE_ETOOBIG);
	ck_assert_int_le(n, 2);
	cube_transport_end_write(p.t);
	ck_assert_int_lt(cube_transport_write(p.t, "x", 1), 0);
	RUN_UNTIL(&p, p.ended);
}
END_TEST

START_TEST(test_unread_input_keeps_output) {
	open_local();
	peer_exec(
		&p,
		"exec 0<&-; i=0; while [ $i -lt 2000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done");
	peer_send(&p, 4 << 20);
	RUN_UNTIL(&p, p.ended);
	ck_assert_uint_eq(p.got, 2000 * 41);
	ck_assert_int_eq(p.status, 0);
}
END_TEST

/* A consumer that takes nothing holds the command back; nothing is lost when it wakes up. */
START_TEST(test_hold) {
	open_local();
	p.hold = true;
	peer_exec(&p, "head -c 5000000 /dev/zero; echo done >&2");
	for (int i = 0; i < 50; i++) cube_loop_turn(loop, 1, NULL);
	ck_assert(!p.ended);
	ck_assert_str_eq(cube_buf_str(&p.errs), "");
	p.hold = false;
	cube_transport_resume(p.t);
	RUN_UNTIL(&p, p.ended);
	ck_assert_uint_eq(p.got, 5000000);
	ck_assert_str_eq(cube_buf_str(&p.errs), "done\n");
}
END_TEST

/* The end waits for a consumer that was slow, and comes after it has taken all. */
START_TEST(test_hold_at_end) {
	open_local();
	p.hold = true;
	peer_exec(&p, "echo small");
	for (int i = 0; i < 50; i++) cube_loop_turn(loop, 1, NULL);
	ck_assert(!p.ended);
	p.hold = false;
	cube_transport_resume(p.t);
	RUN_UNTIL(&p, p.ended);
	ck_out(&p, "small\n");
}
END_TEST

static uint64_t fake_now;
static uint64_t fake_clock(void) {
	return fake_now;
}
static const struct cube_clock_source fake_clocks = {.mono = fake_clock};

/* A torn last frame is never taken: the end comes all the same, after the grace. */
START_TEST(test_torn_end) {
	fake_now = cube_clock_mono();
	cube_clock_set_source(&fake_clocks);
	open_local();
	p.hold = true;
	peer_exec(&p, "echo torn");
	while (!p.ended) {
		cube_loop_turn(loop, 2, NULL);
		fake_now += CUBE_NS_PER_S / 4;
	}
	ck_assert_uint_eq(p.got, 0);
	cube_clock_set_source(NULL);
}
END_TEST

/* A daemon that keeps stderr open must not keep the command's end from us. */
START_TEST(test_stderr_held) {
	open_local();
	uint64_t before = cube_clock_mono();
	peer_run(&p, "sleep 20 >/dev/null 0</dev/null & echo started");
	ck_out(&p, "started\n");
	ck_assert_uint_lt(cube_clock_mono() - before, 10 * CUBE_NS_PER_S);
	ck_assert_int_eq(p.status, 0);
}
END_TEST

START_TEST(test_free_anywhere) {
	p.free_in = "sode"[_i];
	struct cube_target target = {.name = "here"};
	ck_assert_int_eq(cube_transport_local(loop, &target, &PEER_EVENTS, &p, &p.t, NULL), 0);
	while (p.t) {
		turn(loop);
		if (p.open && p.t && !p.ended) cube_transport_exec(p.t, "echo x; echo y >&2", NULL);
	}
	for (int i = 0; i < 3; i++) cube_loop_turn(loop, 0, NULL);
}
END_TEST

START_TEST(test_free_at_once) {
	struct cube_target target = {.name = "here"};
	ck_assert_int_eq(cube_transport_local(loop, &target, &PEER_EVENTS, &p, &p.t, NULL), 0);
	peer_drop(&p);
	turn(loop);
	ck_assert(!p.open && !p.steps);
	open_local();
	peer_exec(&p, "cat; sleep 100");
	peer_drop(&p);
	turn(loop);
	ck_assert(!p.ended && !p.failed);
}
END_TEST

/* ---- the shim ---------------------------------------------------------------------------- */

START_TEST(test_shim_whole) {
	struct cube_shim_plan plan = {.seed = 0x9e3779b9u + (uint32_t)_i,
				      .piece = _i % 2 ? 65536 : 3000,
				      .storm = (unsigned)_i % 4,
				      .cut_read = CUBE_SHIM_NEVER,
				      .cut_write = CUBE_SHIM_NEVER};
	open_shim(&plan);
	p.take = _i % 3 ? 0 : 1000;
	peer_exec(&p, "cat; exit 4");
	peer_send(&p, 2 << 20);
	RUN_UNTIL(&p, p.ended);
	ck_assert_msg(p.hash == p.sent_hash && p.got == 2 << 20, "seed %u: %llu bytes", plan.seed,
		      (unsigned long long)p.got);
	ck_assert_int_eq(p.status, 4);
	peer_run(&p, "echo again");
	ck_out(&p, "again\n");
}
END_TEST

START_TEST(test_shim_cut) {
	static const uint64_t at[] = {0, 1, 4095, 4096, 100000};
	struct cube_shim_plan plan = {.seed = 7, .piece = 5000, .storm = 1};
	bool reading = _i < 5;
	plan.cut_read = reading ? at[_i] : CUBE_SHIM_NEVER;
	plan.cut_write = reading ? CUBE_SHIM_NEVER : at[_i - 5];
	open_shim(&plan);
	peer_exec(&p, "cat");
	peer_send(&p, 1 << 20);
	RUN_UNTIL(&p, p.failed);
	ck_assert_int_eq(p.err.code, CUBE_ECONNECT);
	if (reading) ck_assert_uint_eq(p.got, at[_i]);
	else ck_assert_uint_le(p.got, at[_i - 5]);
	for (int i = 0; i < 5; i++) cube_loop_turn(loop, 0, NULL);
	ck_assert(!p.ended);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("transport_local");
	TCase *tc = tcase_create("local");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_step_names);
	tcase_add_test(tc, test_commands);
	tcase_add_loop_test(tc, test_cat, 0, 1);
	tcase_add_loop_test(tc, test_cat, 5000, 5001);
	tcase_add_test(tc, test_queue_limit);
	tcase_add_test(tc, test_unread_input_keeps_output);
	tcase_add_test(tc, test_hold);
	tcase_add_test(tc, test_hold_at_end);
	tcase_add_test(tc, test_torn_end);
	tcase_add_test(tc, test_stderr_held);
	tcase_add_loop_test(tc, test_free_anywhere, 0, 4);
	tcase_add_test(tc, test_free_at_once);
	tcase_add_loop_test(tc, test_shim_whole, 0, 12);
	tcase_add_loop_test(tc, test_shim_cut, 0, 10);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
