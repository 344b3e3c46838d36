#include "../../src/cli/output.h"

#include <check.h>

#include "hostile.h"

/* What was written, stdout and stderr apart and together. */
struct seen {
	struct cube_buf out, err, both;
	int calls, stop_at;
};

static int see(void *arg, int fd, const void *bytes, size_t n) {
	struct seen *s = arg;
	ck_assert(fd == 1 || fd == 2);
	cube_buf_add(fd == 1 ? &s->out : &s->err, bytes, n);
	cube_buf_add(&s->both, bytes, n);
	return ++s->calls == s->stop_at ? 77 : 0;
}

static void seen_init(struct seen *s) {
	cube_buf_init(&s->out, 256u << 20);
	cube_buf_init(&s->err, 256u << 20);
	cube_buf_init(&s->both, 256u << 20);
	s->calls = s->stop_at = 0;
}

static void seen_done(struct seen *s) {
	cube_buf_done(&s->out);
	cube_buf_done(&s->err);
	cube_buf_done(&s->both);
}

static int put(struct cube_output *o, uint64_t task, int stream, const char *text) {
	char node[32];
	snprintf(node, sizeof node, "web%llu", (unsigned long long)task);
	return cube_output_bytes(o, task, node, (enum cube_stream_id)stream, "T", text,
				 strlen(text));
}

START_TEST(test_raw) {
	struct cube_output o;
	struct seen s;
	struct cube_output_config c = {.raw = true, .prefix = true, .first = 1, .count = 1};
	seen_init(&s);
	cube_output_init(&o, &c, see, &s);
	ck_assert_int_eq(cube_output_bytes(&o, 1, "w", CUBE_STDOUT, NULL, "a\0b\xff", 4), 0);
	ck_assert_int_eq(put(&o, 1, 2, "err"), 0);
	ck_assert_int_eq(put(&o, 2, 1, "not ours"), 0);
	ck_assert_int_eq(put(&o, 0, 1, "not ours"), 0);
	ck_assert_int_eq(cube_output_end(&o, 1), 0);
	ck_assert_int_eq(cube_output_finish(&o), 0);
	ck_assert_uint_eq(cube_buf_len(&s.out), 4);
	ck_assert_int_eq(memcmp(cube_buf_data(&s.out), "a\0b\xff", 4), 0);
	ck_assert_str_eq(cube_buf_str(&s.err), "err");
	cube_output_done(&o);
	seen_done(&s);
}
END_TEST

/* steps: task digit, 'o' or 'e' for the stream, text up to '|'; "1.|" ends task 1. */
static void play(struct cube_output *o, const char *steps) {
	for (const char *p = steps; *p;) {
		char text[256];
		size_t len = strcspn(p, "|");
		uint64_t task = (uint64_t)(p[0] - '0');
		snprintf(text, sizeof text, "%.*s", (int)len - 2, p + 2);
		if (p[1] == '.') ck_assert_int_eq(cube_output_end(o, task), 0);
		else ck_assert_int_eq(put(o, task, p[1] == 'e' ? 2 : 1, text), 0);
		p += len + (p[len] == '|');
	}
	ck_assert_int_eq(cube_output_finish(o), 0);
}

START_TEST(test_lines) {
	static const struct {
		struct cube_output_config c;
		const char *steps, *out, *err;
	} cases[] = {
		{{.prefix = true}, "1oa\n|2ob\n|", "web1: a\nweb2: b\n", ""},
		{{.prefix = true}, "1oa|2ob\n|1oc\n|", "web2: b\nweb1: ac\n", ""},
		{{.prefix = true}, "1oa|1eb\n|1oc\n|", "web1: ac\n", "web1: b\n"},
		{{.prefix = true}, "1oa\n\nb|1.|", "web1: a\nweb1: \nweb1: b\n", ""},
		{{.prefix = true}, "1oa|1.|1olate|2ob\n|", "web1: a\nweb2: b\n", ""},
		{{.prefix = true}, "1oa|2ob|", "web1: a\nweb2: b\n", ""},
		{{0}, "1oa|2ob\n|", "b\na\n", ""},
		{{.prefix = true, .times = true},
		 "1oa\nb|1eb\n|",
		 "T web1: a\nT web1: b\n",
		 "T web1: b\n"},
		{{.raw = true, .times = true}, "1oa\nb|", "T a\nT b\n", ""},
		{{.prefix = true, .fold = true},
		 "1oa\n|2oa|3ob\n|1ee\n|2o\n|",
		 "---------------\nweb[1-2] (2)\n---------------\na\n"
		 "---------------\nweb3\n---------------\nb\n",
		 "web1: e\n"},
		{{.fold = true},
		 "3oz|1ey|2.|",
		 "---------------\nweb3\n---------------\nz\n",
		 "y\n"},
		{{.fold = true},
		 "1oa|2ob|3ob|",
		 "---------------\nweb[2-3] (2)\n---------------\nb\n"
		 "---------------\nweb1\n---------------\na\n",
		 ""},
		{{.fold = true}, "", "", ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct cube_output o;
		struct seen s;
		struct cube_output_config c = cases[i].c;
		c.first = 1;
		c.count = 3;
		seen_init(&s);
		cube_output_init(&o, &c, see, &s);
		play(&o, cases[i].steps);
		ck_assert_str_eq(cube_buf_str(&s.out), cases[i].out);
		ck_assert_str_eq(cube_buf_str(&s.err), cases[i].err);
		cube_output_done(&o);
		seen_done(&s);
	}
}
END_TEST

/* Two tasks write 1 MiB lines without newline in turns of 10,000 bytes, a third short lines. */
START_TEST(test_long_lines_stay_whole) {
	enum { SIZE = 1 << 20, PART = 10000 };
	struct cube_output o;
	struct seen s;
	struct cube_output_config c = {.prefix = true, .first = 1, .count = 3};
	static char a[PART], b[PART];
	memset(a, 'a', sizeof a);
	memset(b, 'b', sizeof b);
	seen_init(&s);
	cube_output_init(&o, &c, see, &s);
	size_t shorts = 0;
	for (size_t at = 0; at < SIZE; at += PART, shorts++) {
		size_t n = SIZE - at < PART ? SIZE - at : PART;
		ck_assert_int_eq(cube_output_bytes(&o, 1, "web1", CUBE_STDOUT, NULL, a, n), 0);
		ck_assert_int_eq(cube_output_bytes(&o, 2, "web2", CUBE_STDERR, NULL, b, n), 0);
		ck_assert_int_eq(put(&o, 3, 1, "short\n"), 0);
	}
	ck_assert_int_eq(cube_output_end(&o, 2), 0);
	ck_assert_int_eq(cube_output_end(&o, 1), 0);
	ck_assert_int_eq(cube_output_finish(&o), 0);
	size_t longs = 0, lines = 0;
	const char *p = cube_buf_str(&s.both);
	for (; *p; lines++) {
		size_t len = strcspn(p, "\n");
		ck_assert_int_eq(p[len], '\n');
		if (len == 6 + SIZE) {
			ck_assert(!memcmp(p, "web1: ", 6) || !memcmp(p, "web2: ", 6));
			ck_assert_uint_eq(strspn(p + 6, p[3] == '1' ? "a" : "b"), SIZE);
			longs++;
		} else {
			ck_assert_int_eq(strncmp(p, "web3: short\n", 12), 0);
		}
		p += len + 1;
	}
	ck_assert_uint_eq(longs, 2);
	ck_assert_uint_eq(lines, longs + shorts);
	cube_output_done(&o);
	seen_done(&s);
}
END_TEST

/* One that never ends its line does not make the others wait without bound. */
START_TEST(test_held_is_bounded) {
	enum { PART = 1 << 16 };
	struct cube_output o;
	struct seen s;
	struct cube_output_config c = {.prefix = true, .first = 1, .count = 2};
	static char a[PART], b[PART];
	memset(a, 'a', sizeof a);
	memset(b, 'b', sizeof b);
	b[PART - 1] = '\n';
	seen_init(&s);
	cube_output_init(&o, &c, see, &s);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(cube_output_bytes(&o, 1, "web1", CUBE_STDOUT, NULL, a, PART), 0);
	for (int i = 0; i < 300; i++) { /* 19 MiB */
		ck_assert_int_eq(cube_output_bytes(&o, 2, "web2", CUBE_STDOUT, NULL, b, PART), 0);
		ck_assert_uint_le(o.held_bytes, CUBE_OUTPUT_HELD);
	}
	ck_assert_uint_gt(cube_buf_len(&s.out), 299u * PART);
	ck_assert_int_eq(put(&o, 1, 1, "tail"), 0);
	ck_assert_int_eq(cube_output_finish(&o), 0);
	for (const char *p = cube_buf_str(&s.out); *p;) {
		size_t len = strcspn(p, "\n");
		ck_assert(!memcmp(p, "web1: a", 7) || !memcmp(p, "web2: b", 7));
		ck_assert(memchr(p + 6, p[3] == '1' ? 'b' : 'a', len - 10) == NULL);
		p += len + 1;
	}
	cube_output_done(&o);
	seen_done(&s);
}
END_TEST

static int count_bytes(void *arg, int fd, const void *bytes, size_t n) {
	*(size_t *)arg += n;
	return 0;
}

/* What is too much to be gathered is printed, also while another one has an open line. */
START_TEST(test_fold_of_too_much) {
	enum { PART = 1 << 20, PARTS = CUBE_OUTPUT_GATHER / PART + 3 };
	struct cube_output o;
	struct cube_output_config c = {.prefix = true, .fold = true, .first = 1, .count = 2};
	static char a[PART];
	size_t written = 0;
	memset(a, 'a', sizeof a);
	cube_output_init(&o, &c, count_bytes, &written);
	ck_assert_int_eq(cube_output_bytes(&o, 1, "web1", CUBE_STDERR, NULL, a, PART), 0);
	for (int i = 0; i < PARTS; i++) {
		ck_assert_int_eq(cube_output_bytes(&o, 2, "web2", CUBE_STDOUT, NULL, a, PART), 0);
		ck_assert_uint_le(o.held_bytes, CUBE_OUTPUT_HELD);
	}
	ck_assert_uint_eq(o.gathered_bytes, 0);
	ck_assert_int_eq(cube_output_finish(&o), 0);
	ck_assert_uint_ge(written, (size_t)PART * (PARTS + 1));
	cube_output_done(&o);
}
END_TEST

START_TEST(test_stops) {
	struct cube_output o;
	struct seen s;
	struct cube_output_config c = {.prefix = true, .first = 1, .count = 2};
	seen_init(&s);
	s.stop_at = 2;
	cube_output_init(&o, &c, see, &s);
	ck_assert_int_eq(put(&o, 1, 1, "x\n"), 0);
	ck_assert_int_eq(put(&o, 2, 1, "y\n"), 77);
	cube_output_done(&o);
	seen_done(&s);
}
END_TEST

/* ---- model: random writes; each source's text comes out whole, line by line, never mixed ---- */

enum { TASKS = 5, WRITES = 400, TEXT = 2 << 20 };

struct twin {
	char *text[TASKS][2]; /* what each source wrote, with a last newline */
	size_t n[TASKS][2];
	size_t read[TASKS][2]; /* how much of it was seen again */
};

static void twin_write(struct twin *t, struct cube_output *o, uint64_t *seed) {
	static char bytes[1 << 17];
	size_t task = rnd_below(seed, TASKS), stream = rnd_below(seed, 2);
	size_t n = rnd_below(seed, 20) ? rnd_below(seed, 300) : rnd_below(seed, sizeof bytes);
	char node[8];
	if (t->n[task][stream] + n + 1 >= TEXT) return;
	for (size_t i = 0; i < n; i++)
		bytes[i] = rnd_below(seed, n < 300 ? 400 : 90000) ? (char)('a' + task * 2 + stream)
								  : '\n';
	memcpy(t->text[task][stream] + t->n[task][stream], bytes, n);
	t->n[task][stream] += n;
	snprintf(node, sizeof node, "w%zu", task);
	ck_assert_int_eq(cube_output_bytes(o, task + 7, node, stream ? CUBE_STDERR : CUBE_STDOUT,
					   NULL, bytes, n),
			 0);
}

/* Each line of what came out is the next line of its source. */
static void twin_check(struct twin *t, const char *out) {
	for (const char *p = out; *p;) {
		size_t len = strcspn(p, "\n");
		ck_assert_int_eq(p[len], '\n');
		ck_assert(p[0] == 'w' && p[2] == ':' && p[3] == ' ');
		size_t task = (size_t)(p[1] - '0'), stream = 0;
		if (len > 4) stream = (size_t)(p[4] - 'a') % 2;
		else if (t->read[task][0] >= t->n[task][0] ||
			 t->text[task][0][t->read[task][0]] != '\n')
			stream = 1;
		ck_assert_uint_lt(task, TASKS);
		ck_assert_uint_le(t->read[task][stream] + len - 3, t->n[task][stream]);
		ck_assert_int_eq(
			memcmp(t->text[task][stream] + t->read[task][stream], p + 4, len - 3), 0);
		t->read[task][stream] += len - 3;
		p += len + 1;
	}
	for (size_t i = 0; i < TASKS * 2; i++)
		ck_assert_uint_eq(t->read[i / 2][i % 2], t->n[i / 2][i % 2]);
}

START_TEST(test_model) {
	uint64_t seed = rnd_seed("output model");
	for (int round = 0; round < 20; round++) {
		struct cube_output o;
		struct seen s;
		struct twin t = {0};
		struct cube_output_config c = {.prefix = true, .first = 7, .count = TASKS};
		for (size_t i = 0; i < TASKS * 2; i++) t.text[i / 2][i % 2] = malloc(TEXT);
		seen_init(&s);
		cube_output_init(&o, &c, see, &s);
		for (int i = 0; i < WRITES; i++) twin_write(&t, &o, &seed);
		if (rnd_below(&seed, 2))
			for (uint64_t i = 0; i < TASKS; i++)
				ck_assert_int_eq(cube_output_end(&o, 7 + i), 0);
		ck_assert_int_eq(cube_output_finish(&o), 0);
		for (size_t i = 0; i < TASKS * 2; i++) {
			char *text = t.text[i / 2][i % 2];
			size_t n = t.n[i / 2][i % 2];
			if (n > 0 && text[n - 1] != '\n') text[t.n[i / 2][i % 2]++] = '\n';
		}
		twin_check(&t, cube_buf_str(&s.both));
		cube_output_done(&o);
		seen_done(&s);
		for (size_t i = 0; i < TASKS * 2; i++) free(t.text[i / 2][i % 2]);
	}
}
END_TEST

int main(void) {
	Suite *s = suite_create("output");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_raw);
	tcase_add_test(t, test_lines);
	tcase_add_test(t, test_long_lines_stay_whole);
	tcase_add_test(t, test_held_is_bounded);
	tcase_add_test(t, test_fold_of_too_much);
	tcase_add_test(t, test_stops);
	tcase_add_test(t, test_model);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
