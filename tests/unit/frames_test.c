#include "../../src/cli/frames.h"

#include <check.h>

#include "../../src/cli/sse.h"
#include "hostile.h"

/* What came out, one readable row a frame; pieces of one payload come together by their offsets. */
struct seen {
	struct cube_buf rows;
	uint64_t next; /* offset that goes on where the last piece ended */
	uint64_t task;
	int stop_at, calls;
};

static int see(void *arg, const struct cube_frame *f) {
	struct seen *s = arg;
	if (f->stream == CUBE_STDIN) {
		cube_buf_printf(&s->rows, "[%llu %s %s %d]", (unsigned long long)f->task, f->node,
				f->state, f->task_row ? 1 : 0);
	} else {
		ck_assert_uint_gt(f->n, 0);
		if (s->next != f->offset || s->task != f->task)
			cube_buf_printf(&s->rows, "[%llu %s %d %llu %s]",
					(unsigned long long)f->task, f->node, (int)f->stream,
					(unsigned long long)f->offset, f->time ? f->time : "-");
		cube_buf_add(&s->rows, f->bytes, f->n);
		s->next = f->offset + f->n;
		s->task = f->task;
	}
	return ++s->calls == s->stop_at ? 77 : 0;
}

static const char stream[] =
	"{\"task\":17,\"node\":\"web1\",\"stream\":\"stdout\",\"offset\":0,\"time\":\"T\",\"len\":6}\n"
	"hello\n"
	"{\"task\":17,\"node\":\"web1\",\"state\":\"running\"}\n"
	"{\"task\":18,\"node\":\"web2\",\"stream\":\"stderr\",\"offset\":100,\"len\":3,\"more\":[1]}\n"
	"{\"\n"
	"{\"task\":18,\"node\":\"web2\",\"stream\":\"stdout\",\"offset\":9,\"len\":0}\n"
	"{\"task\":17,\"node\":\"web1\",\"state\":\"completed\",\"task_row\":{\"id\":17}}\n";
static const char rows[] = "[17 web1 1 0 T]hello\n[17 web1 running 0][18 web2 2 100 -]{\"\n"
			   "[17 web1 completed 1]";

START_TEST(test_split) {
	size_t n = sizeof stream - 1;
	for (size_t cut = 0; cut <= n; cut++) {
		struct cube_frames f;
		struct cube_err err;
		struct seen s = {.next = UINT64_MAX};
		struct guard g;
		guard_init(&g, n);
		cube_buf_init(&s.rows, 1 << 16);
		cube_frames_init(&f);
		const uint8_t *p = guard_put(&g, stream, cut);
		ck_assert_int_eq(cube_frames_feed(&f, p, cut, see, &s, &err), 0);
		p = guard_put(&g, stream + cut, n - cut);
		ck_assert_int_eq(cube_frames_feed(&f, p, n - cut, see, &s, &err), 0);
		ck_assert_str_eq(cube_buf_str(&s.rows), rows);
		ck_assert_int_eq(cube_frames_end(&f, &err), 0);
		cube_frames_done(&f);
		cube_buf_done(&s.rows);
		guard_done(&g);
	}
}
END_TEST

START_TEST(test_byte_by_byte_and_cut_off) {
	struct cube_frames f;
	struct cube_err err;
	struct seen s = {.next = UINT64_MAX};
	cube_buf_init(&s.rows, 1 << 16);
	cube_frames_init(&f);
	size_t whole = 0; /* of the places where it may end */
	for (size_t i = 0; i < sizeof stream - 1; i++) {
		ck_assert_int_eq(cube_frames_feed(&f, stream + i, 1, see, &s, &err), 0);
		if (cube_frames_end(&f, NULL) == 0) whole++;
		else ck_assert_int_eq(cube_frames_end(&f, &err), CUBE_EPROTO);
	}
	ck_assert_str_eq(cube_buf_str(&s.rows), rows);
	ck_assert_uint_eq(whole, 5);
	cube_frames_done(&f);
	cube_buf_done(&s.rows);
}
END_TEST

START_TEST(test_stop) {
	for (int at = 1; at <= 4; at++) {
		struct cube_frames f;
		struct cube_err err;
		struct seen s = {.next = UINT64_MAX, .stop_at = at};
		cube_buf_init(&s.rows, 1 << 16);
		cube_frames_init(&f);
		ck_assert_int_eq(cube_frames_feed(&f, stream, sizeof stream - 1, see, &s, &err),
				 77);
		ck_assert_int_eq(s.calls, at);
		cube_frames_done(&f);
		cube_buf_done(&s.rows);
	}
}
END_TEST

START_TEST(test_refused) {
	static const char *const bad[] = {
		"\n",
		"[]\n",
		"nonsense\n",
		"{\"task\":-1,\"state\":\"x\"}\n",
		"{\"task\":1.5,\"state\":\"x\"}\n",
		"{\"task\":\"1\",\"state\":\"x\"}\n",
		"{\"task\":1,\"stream\":\"stdout\",\"len\":-5}\n",
		"{\"task\":1,\"stream\":\"stdout\",\"len\":99999999999999999999}\n",
		"{\"task\":1,\"stream\":\"stdout\",\"len\":9999999999999999}\n",
		"{\"task\":1,\"stream\":\"stdin\",\"len\":5}\n",
		"{\"task\":1,\"len\":5}\n",
		"{\"task\":1,\"state\":\"\xff\"}\n",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct cube_frames f;
		struct cube_err err;
		struct seen s = {0};
		cube_buf_init(&s.rows, 1 << 16);
		cube_frames_init(&f);
		ck_assert_msg(cube_frames_feed(&f, bad[i], strlen(bad[i]), see, &s, &err) ==
				      CUBE_EPROTO,
			      "taken: %s", bad[i]);
		ck_assert_int_eq(s.calls, 0);
		cube_frames_done(&f);
		cube_buf_done(&s.rows);
	}
}
END_TEST

START_TEST(test_head_is_bounded) {
	struct cube_frames f;
	struct cube_err err;
	struct seen s = {0};
	char block[4096];
	int rc = 0;
	memset(block, 'x', sizeof block);
	cube_frames_init(&f);
	for (size_t fed = 0; !rc && fed <= CUBE_FRAME_HEAD_MAX; fed += sizeof block)
		rc = cube_frames_feed(&f, block, sizeof block, see, &s, &err);
	ck_assert_int_eq(rc, CUBE_ETOOBIG);
	cube_frames_done(&f);
}
END_TEST

static int see_event(void *arg, const char *event, const json_t *data) {
	struct cube_buf *out = arg;
	char *text = json_dumps(data, JSON_COMPACT);
	cube_buf_printf(out, "%s %s|", event, text);
	free(text);
	return 0;
}

START_TEST(test_events_split) {
	static const char text[] = "id: 41\nevent: node\ndata: {\"seq\":41}\n\n"
				   ": still there\n\n"
				   "event: progress\r\ndata:{\"a\":\r\ndata: [1]}\r\n\r\n"
				   "data: nonsense\n\ndata: {}\n\nevent: task\ndata: {\"cut\":1}\n";
	for (size_t cut = 0; cut < sizeof text; cut++) {
		struct cube_sse s;
		struct cube_buf out;
		cube_buf_init(&out, 1 << 16);
		cube_sse_init(&s);
		ck_assert_int_eq(cube_sse_feed(&s, text, cut, see_event, &out), 0);
		ck_assert_int_eq(
			cube_sse_feed(&s, text + cut, sizeof text - 1 - cut, see_event, &out), 0);
		ck_assert_str_eq(cube_buf_str(&out),
				 "node {\"seq\":41}|progress {\"a\":[1]}|message {}|");
		cube_sse_done(&s);
		cube_buf_done(&out);
	}
}
END_TEST

int main(void) {
	Suite *s = suite_create("frames");
	TCase *t = tcase_create("all");
	tcase_add_test(t, test_split);
	tcase_add_test(t, test_byte_by_byte_and_cut_off);
	tcase_add_test(t, test_stop);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_head_is_bounded);
	tcase_add_test(t, test_events_split);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
