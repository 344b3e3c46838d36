/* Logs against a naive twin, with both stores: what is read is what was committed, in order. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/events.h"
#include "cube/logs.h"
#include "../../src/work/logs_impl.h"
#include "cube/mem.h"
#include "cube/msg.h"

enum { TASKS = 4, READERS = 6, STEPS = 3000, MAX_BYTES = 1 << 20 };

struct arrival { /* one append */
	uint8_t stream;
	size_t offset, n;
};

struct twin {              /* of a task */
	uint8_t *bytes[3]; /* by stream */
	size_t len[3];
	struct arrival *arrivals;
	size_t narrivals;
};

struct reading {
	struct cube_log_reader *r;
	int task;
	uint8_t stream;       /* 0: both */
	size_t at[3];         /* next offset */
	size_t arrival, skip; /* both: next byte by arrival */
};

static struct fixture {
	struct cube_loop *loop;
	struct cube_store *store;
	struct cube_turn turn;
	struct cube_events *events;
	struct cube_logs *logs;
	char dir[40];
	bool sqlite;
	struct twin twins[TASKS];
	struct reading readings[READERS];
	unsigned told[TASKS];
	uint64_t seed;
} fx;

static uint32_t rnd(uint32_t n) {
	fx.seed = fx.seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(fx.seed >> 33) % n;
}

static void open_logs(uint64_t segment_max) {
	ck_assert_int_eq(cube_logs_new(&fx.turn, fx.dir, &fx.logs, NULL), 0);
	cube_logs_set_segment_max(fx.logs, segment_max);
}

static void setup(bool sqlite, uint64_t segment_max) {
	memset(&fx, 0, sizeof fx);
	fx.sqlite = sqlite;
	snprintf(fx.dir, sizeof fx.dir, "/tmp/logs-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fx.dir));
	ck_assert_int_eq(cube_loop_new(&fx.loop, NULL), 0);
	char db[80];
	snprintf(db, sizeof db, "%s/cube.db", fx.dir);
	ck_assert_int_eq(sqlite ? cube_store_sqlite(db, &fx.store, NULL)
				: cube_store_memory(&fx.store, NULL),
			 0);
	cube_turn_init(&fx.turn, fx.loop, fx.store, NULL, NULL);
	ck_assert_int_eq(cube_events_new(&fx.turn, &fx.events, NULL), 0);
	open_logs(segment_max);
	for (int i = 0; i < TASKS; i++) {
		for (int s = 1; s < 3; s++) fx.twins[i].bytes[s] = malloc(MAX_BYTES);
		fx.twins[i].arrivals = malloc(STEPS * sizeof(struct arrival));
	}
}

static void teardown(void) {
	for (int i = 0; i < READERS; i++) cube_log_reader_free(fx.readings[i].r);
	for (int i = 0; i < TASKS; i++) {
		for (int s = 1; s < 3; s++) free(fx.twins[i].bytes[s]);
		free(fx.twins[i].arrivals);
	}
	cube_logs_free(fx.logs);
	cube_events_free(fx.events);
	cube_store_free(fx.store);
	cube_loop_free(fx.loop);
	char command[64];
	snprintf(command, sizeof command, "%s/logs", fx.dir);
	DIR *d = opendir(command);
	for (struct dirent *e = readdir(d); e; e = readdir(d)) unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	rmdir(command);
	d = opendir(fx.dir);
	for (struct dirent *e = readdir(d); e; e = readdir(d)) unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	ck_assert_int_eq(rmdir(fx.dir), 0);
}

static void append(int task, uint8_t stream, size_t n) {
	struct twin *t = &fx.twins[task];
	if (t->len[stream] + n > MAX_BYTES) return;
	uint8_t *to = t->bytes[stream] + t->len[stream];
	for (size_t i = 0; i < n; i++) to[i] = rnd(40) ? (uint8_t)('a' + rnd(26)) : '\n';
	ck_assert_int_eq(cube_logs_append(fx.logs, (uint64_t)task + 1, 1, stream, t->len[stream],
					  to, n, NULL),
			 0);
	t->arrivals[t->narrivals++] = (struct arrival){stream, t->len[stream], n};
	t->len[stream] += n;
}

static void commit(void) {
	cube_turn_commit(&fx.turn);
}

/* Reads what there is: all of it, and right. */
static void read_on(struct reading *g) {
	static uint8_t space[70000];
	struct twin *t = &fx.twins[g->task];
	for (;;) {
		struct cube_log_piece p;
		size_t n = rnd(3) ? sizeof space : 1 + rnd(500);
		ck_assert_int_eq(cube_log_reader_next(g->r, space, n, &p, NULL), 0);
		if (!p.n) break;
		if (p.n > n || p.offset != g->at[p.stream] || p.offset + p.n > t->len[p.stream] ||
		    memcmp(space, t->bytes[p.stream] + p.offset, p.n) != 0)
			ck_abort_msg(
				"task %d stream %d: %zu bytes at %llu are wrong (expected at %zu, "
				"committed %zu)",
				g->task, p.stream, p.n, (unsigned long long)p.offset,
				g->at[p.stream], t->len[p.stream]);
		g->at[p.stream] += p.n;
		while (!g->stream && p.n) { /* in the order of arrival */
			struct arrival *a = &t->arrivals[g->arrival];
			if (a->stream != p.stream || a->offset + g->skip != p.offset)
				ck_abort_msg("not in order of arrival");
			size_t k = a->n - g->skip < p.n ? a->n - g->skip : p.n;
			g->skip += k;
			p.offset += k;
			p.n -= k;
			if (g->skip == a->n) g->arrival++, g->skip = 0;
		}
	}
	for (int s = 1; s < 3; s++)
		if (g->stream == 0 || g->stream == s) ck_assert_uint_eq(g->at[s], t->len[s]);
}

static void start_reading(struct reading *g) {
	cube_log_reader_free(g->r);
	*g = (struct reading){.task = (int)rnd(TASKS), .stream = (uint8_t)rnd(3)};
	if (g->stream) {
		size_t len = fx.twins[g->task].len[g->stream];
		g->at[g->stream] = rnd(2) ? 0 : rnd((uint32_t)len + 1);
	}
	g->r = cube_log_reader_new(fx.logs, (uint64_t)g->task + 1, 1, g->stream, g->at[g->stream]);
}

/* Where the last lines begin, found the long way: all line ends by arrival, the newest counted. */
static void tail_of(const struct twin *t, uint8_t stream, uint64_t lines, size_t from[3]) {
	bool open[3] = {false, true,
			true}; /* the line at hand was not yet closed by its beginning */
	from[1] = t->len[1];
	from[2] = t->len[2];
	for (size_t i = t->narrivals; i--;) {
		const struct arrival *a = &t->arrivals[i];
		if (stream && a->stream != stream) continue;
		for (size_t k = a->n; k-- && open[a->stream];) {
			size_t at = a->offset + k;
			if (t->bytes[a->stream][at] == '\n' || at + 1 == t->len[a->stream]) {
				if (lines == 0) {
					open[a->stream] = false;
					break;
				}
				lines--;
			}
			from[a->stream] = at;
		}
	}
}

static void check_tail(int task) {
	uint8_t stream = (uint8_t)rnd(3), space[5000];
	uint64_t lines = rnd(4) ? rnd(30) : rnd(100000);
	size_t from[3], at[3];
	struct cube_log_piece p;
	struct twin *t = &fx.twins[task];
	struct cube_log_reader *r = cube_log_reader_new(fx.logs, (uint64_t)task + 1, 1, stream, 0);
	ck_assert_int_eq(cube_log_reader_tail(r, lines, NULL), 0);
	tail_of(t, stream, lines, from);
	memcpy(at, from, sizeof at);
	for (;;) {
		ck_assert_int_eq(cube_log_reader_next(r, space, sizeof space, &p, NULL), 0);
		if (!p.n) break;
		if (p.offset != at[p.stream])
			ck_abort_msg("the tail of %llu lines of stream %d begins at %llu, not %zu",
				     (unsigned long long)lines, p.stream,
				     (unsigned long long)p.offset, at[p.stream]);
		ck_assert_int_eq(memcmp(space, t->bytes[p.stream] + p.offset, p.n), 0);
		at[p.stream] += p.n;
	}
	for (int s = 1; s < 3; s++)
		if (!stream || stream == s) ck_assert_uint_eq(at[s], t->len[s]);
	cube_log_reader_free(r);
}

static void restart(uint64_t segment_max) {
	commit();
	for (int i = 0; i < READERS; i++) {
		cube_log_reader_free(fx.readings[i].r);
		fx.readings[i].r = NULL;
	}
	cube_logs_free(fx.logs);
	open_logs(segment_max);
}

static void settled(void) {
	commit();
	cube_logs_flush(fx.logs);
	for (int i = 0; i < READERS; i++)
		if (fx.readings[i].r) read_on(&fx.readings[i]);
}

static void step(uint64_t segment_max) {
	switch (rnd(12)) {
	case 0: commit(); break;
	case 1: settled(); break;
	case 2: start_reading(&fx.readings[rnd(READERS)]); break;
	case 3:
	case 4: {
		struct reading *g = &fx.readings[rnd(READERS)];
		commit();
		if (g->r) read_on(g);
		break;
	}
	case 5:
		settled();
		check_tail((int)rnd(TASKS));
		break;
	case 6:
		if (rnd(20) == 0) restart(segment_max);
		break;
	case 7:
		append((int)rnd(TASKS), (uint8_t)(1 + rnd(2)), 1 + rnd(rnd(10) ? 3000 : 100000));
		break;
	default: append((int)rnd(TASKS), (uint8_t)(1 + rnd(2)), 1 + rnd(300));
	}
}

START_TEST(random_model) {
	static const uint64_t sizes[] = {1, 5000, 1 << 30};
	uint64_t segment_max = sizes[_i % 3], seed = 77 + (uint64_t)_i;
	setup(_i >= 3, segment_max);
	fx.seed = seed;
	for (int i = 0; i < STEPS; i++) step(segment_max);
	settled();
	for (int i = 0; i < 4 * READERS; i++) {
		struct reading *g = &fx.readings[i % READERS];
		start_reading(g);
		read_on(g);
	}
	teardown();
}
END_TEST

/* --- telling --- */

static void on_grew(void *arg, uint64_t task) {
	fx.told[task - 1]++;
}
static void on_grew_once(void *arg, uint64_t task) {
	cube_subscriber_remove(arg);
}

START_TEST(subscribers) {
	setup(false, 1 << 20);
	struct cube_subscriber all = {.first = 1, .last = TASKS, .news = on_grew};
	struct cube_subscriber once = {
		.first = 1, .last = TASKS, .news = on_grew_once, .arg = &once};
	cube_logs_subscribe(fx.logs, &once);
	cube_logs_subscribe(fx.logs, &all);
	append(0, CUBE_STDOUT, 10);
	append(0, CUBE_STDERR, 10);
	append(0, CUBE_STDOUT, 10);
	append(2, CUBE_STDERR, 10);
	ck_assert_uint_eq(fx.told[0], 0);
	commit();
	cube_logs_flush(fx.logs);
	ck_assert_uint_eq(fx.told[0], 1);
	ck_assert_uint_eq(fx.told[1], 0);
	ck_assert_uint_eq(fx.told[2], 1);
	ck_assert_ptr_null(once.of);
	cube_logs_flush(fx.logs);
	ck_assert_uint_eq(fx.told[0], 1);
	cube_subscriber_remove(&all);
	all.first = 2;
	cube_logs_subscribe(fx.logs, &all);
	append(0, CUBE_STDOUT, 10);
	for (int i = 0; i < 2000; i++) /* many streams in one turn */
		ck_assert_int_eq(
			cube_logs_append(fx.logs, 1000 + (uint64_t)i, 1, 1, 0, "x", 1, NULL), 0);
	commit();
	cube_logs_flush(fx.logs);
	ck_assert_uint_eq(fx.told[0], 1);
	cube_subscriber_remove(&all);
	append(2, CUBE_STDOUT, 10);
	commit();
	cube_logs_flush(fx.logs);
	ck_assert_uint_eq(fx.told[2], 1);
	teardown();
}
END_TEST

/* Bytes that a killed manager wrote and did not commit are passed over. */
START_TEST(uncommitted_leftovers) {
	char path[80];
	setup(false, 1 << 20);
	append(0, CUBE_STDOUT, 100);
	commit();
	cube_logs_free(fx.logs);
	snprintf(path, sizeof path, "%s/logs/00000001.seg", fx.dir);
	FILE *f = fopen(path, "a");
	fputs("left over", f);
	fclose(f);
	open_logs(1 << 20);
	append(0, CUBE_STDOUT, 50);
	commit();
	struct reading *g = &fx.readings[0];
	g->stream = CUBE_STDOUT;
	g->r = cube_log_reader_new(fx.logs, 1, 1, CUBE_STDOUT, 0);
	read_on(g);
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, 159);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	teardown();
}
END_TEST

START_TEST(lost_segment) {
	char path[80];
	struct cube_log_piece p;
	struct cube_err err = {0};
	uint8_t space[100];
	setup(false, 10);
	append(0, CUBE_STDOUT, 20);
	append(0, CUBE_STDOUT, 20);
	commit();
	snprintf(path, sizeof path, "%s/logs/00000001.seg", fx.dir);
	ck_assert_int_eq(truncate(path, 15), 0);
	struct cube_log_reader *r = cube_log_reader_new(fx.logs, 1, 1, 1, 0);
	ck_assert_int_eq(cube_log_reader_next(r, space, sizeof space, &p, &err), CUBE_ESYS);
	cube_log_reader_free(r);
	unlink(path);
	r = cube_log_reader_new(fx.logs, 1, 1, 1, 20);
	ck_assert_int_eq(cube_log_reader_next(r, space, sizeof space, &p, &err), 0);
	ck_assert_uint_eq(p.n, 20);
	cube_log_reader_free(r);
	teardown();
}
END_TEST

int main(void) {
	TCase *tc = tcase_create("logs");
	Suite *s = suite_create("logs");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, random_model, 0, 6);
	tcase_add_test(tc, subscribers);
	tcase_add_test(tc, uncommitted_leftovers);
	tcase_add_test(tc, lost_segment);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
