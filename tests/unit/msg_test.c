/* Frames of every type, whole, cut, corrupted, mutated. msg_golden.h has the known ones. */
#include "cube/msg.h"

#include <check.h>

#include "hostile.h"
#include "msg_golden.h"

#define BODY_MAX (CUBE_FRAME_MAX + 4 + 64)

static struct guard guard;

/* ---- helpers ------------------------------------------------------------------------------ */

static struct cube_msg got;
static size_t used;

/* Decodes right before a guard page and checks that a failure leaves the outputs alone. */
static int decode(const void *bytes, size_t n) {
	static struct cube_msg before;
	struct cube_err err = {0};
	memset(&got, 0x5a, sizeof got);
	memset(&before, 0x5a, sizeof before);
	used = 12345;
	int rc = cube_msg_decode(guard_put(&guard, bytes, n), n, &got, &used, &err);
	if (rc && (used != 12345 || memcmp(&got, &before, sizeof got) != 0))
		ck_abort_msg("outputs changed though rc is %d", rc);
	if ((rc < 0) != (err.code == rc && err.msg[0])) ck_abort_msg("rc %d, err %d", rc, err.code);
	return rc;
}

/* A list's words as the encoders take them. */
static const char **words_of(const struct cube_msg_list *list) {
	const char **words = calloc(list->count + 1, sizeof *words);
	struct cube_slice w;
	size_t pos = 0, n = 0;
	for (; cube_msg_next_bytes(list, &pos, &w); n++) words[n] = strndup((const char *)w.p, w.n);
	if (n != list->count || pos != list->raw.n) ck_abort_msg("list of %u", list->count);
	return words;
}

static void words_free(const char **words) {
	for (size_t i = 0; words[i]; i++) free((char *)words[i]);
	free(words);
}

/* A decoded START as a new frame. */
static int encode_again_start(struct cube_buf *out, const struct cube_msg *m) {
	static struct cube_msg_file files[CUBE_FILES_MAX];
	struct cube_msg_start s = {m->task, m->epoch, m->attempt,
				   .timeout_ms = m->start.timeout_ms};
	const char **argv = words_of(&m->start.argv), **env = words_of(&m->start.env);
	for (size_t pos = 0; cube_msg_next_file(&m->start.files, &pos, &files[s.nfiles]);)
		s.nfiles++;
	if (s.nfiles != m->start.files.count) ck_abort_msg("files");
	char *dir = strndup((const char *)m->start.dir.p, m->start.dir.n);
	s.argv = argv;
	s.env = env;
	s.dir = dir;
	s.grace_ms = m->start.grace_ms;
	s.flags = m->start.flags;
	s.files = files;
	int rc = cube_msg_encode_start(out, &s);
	words_free(argv);
	words_free(env);
	free(dir);
	return rc;
}

static int encode_again_open(struct cube_buf *out, const struct cube_msg *m) {
	const char **argv = words_of(&m->open.argv), **env = words_of(&m->open.env);
	char *dir = strndup((const char *)m->open.dir.p, m->open.dir.n);
	struct cube_msg_open open = {m->task,       argv,         env,         dir,
				     m->open.flags, m->open.rows, m->open.cols};
	int rc = cube_msg_encode_open(out, &open);
	words_free(argv);
	words_free(env);
	free(dir);
	return rc;
}

static int encode_again(struct cube_buf *out, const struct cube_msg *m) {
	if (m->type == CUBE_MSG_OPEN) return encode_again_open(out, m);
	return m->type == CUBE_MSG_START ? encode_again_start(out, m) : cube_msg_encode(out, m);
}

/* ---- tests -------------------------------------------------------------------------------- */

START_TEST(test_encode) {
	struct golden g;
	struct cube_buf b;
	golden(&g, types[_i]);
	cube_buf_init(&b, 4096);
	cube_buf_addstr(&b, "before");
	ck_assert_int_eq(encode_sample(&b, types[_i]), 0);
	ck_assert_uint_eq(cube_buf_len(&b), g.n + 6);
	ck_assert_mem_eq(cube_buf_data(&b), "before", 6);
	ck_assert_mem_eq(cube_buf_data(&b) + 6, g.bytes, g.n);
	cube_buf_done(&b);
}
END_TEST

START_TEST(test_decode) {
	struct golden g;
	struct cube_buf b;
	golden(&g, types[_i]);
	ck_assert_int_eq(decode(g.bytes, g.n), 0);
	ck_assert_uint_eq(used, g.n);
	ck_assert_int_eq((int)got.type, types[_i]);
	cube_buf_init(&b, 4096);
	ck_assert_int_eq(encode_again(&b, &got), 0);
	ck_assert_uint_eq(cube_buf_len(&b), g.n);
	ck_assert_mem_eq(cube_buf_data(&b), g.bytes, g.n);
	cube_buf_done(&b);
}
END_TEST

START_TEST(test_cut_anywhere) {
	struct golden g;
	golden(&g, types[_i]);
	for (size_t n = 0; n < g.n; n++) ck_assert_int_eq(decode(g.bytes, n), CUBE_AGAIN);
	/* A frame that is complete but ends within its fields is no longer a matter of waiting. */
	for (size_t n = 5; n < g.n; n++) {
		cube_poke_u32(g.bytes, (uint32_t)n - 4);
		bool whole = false; /* as older ends know it */
		for (int i = 0; i < g.nlater; i++) whole = whole || n == g.later[i];
		ck_assert_msg(decode(g.bytes, n) == (whole ? 0 : CUBE_EPROTO), "cut at %zu", n);
	}
}
END_TEST

/* A frame without what was appended to it: the fields are empty, and it is encoded as it was. */
START_TEST(test_older_ends) {
	struct golden g;
	struct cube_buf b;
	golden(&g, types[_i]);
	for (int i = 0; i < g.nlater; i++) {
		size_t n = g.later[i];
		cube_poke_u32(g.bytes, (uint32_t)n - 4);
		ck_assert_int_eq(decode(g.bytes, n), 0);
		ck_assert_uint_eq(got.epoch, 0);
		if (got.type == CUBE_MSG_HELLO) ck_assert(i || !got.hello.features);
		if (got.type == CUBE_MSG_WORKER_HELLO) {
			ck_assert_str_eq(got.worker_hello.notice, i ? "take care" : "");
			ck_assert_uint_eq(got.worker_hello.features, 0);
		}
		cube_buf_init(&b, 4096);
		ck_assert_int_eq(encode_again(&b, &got), 0);
		ck_assert_uint_eq(cube_buf_len(&b), n);
		ck_assert_mem_eq(cube_buf_data(&b), g.bytes, n);
		cube_buf_done(&b);
	}
}
END_TEST

/* An empty one before one that is not is written, or the next would be taken for it. */
START_TEST(test_later_fields_keep_their_places) {
	struct cube_msg m = {.type = CUBE_MSG_HELLO, .epoch = EPOCH};
	struct cube_buf b;
	cube_buf_init(&b, 4096);
	ck_assert_int_eq(cube_msg_encode(&b, &m), 0);
	ck_assert_int_eq(decode(cube_buf_data(&b), cube_buf_len(&b)), 0);
	ck_assert_uint_eq(got.hello.features, 0);
	ck_assert_uint_eq(got.epoch, EPOCH);
	cube_buf_done(&b);
}
END_TEST

START_TEST(test_corrupt_counts) {
	struct golden g;
	golden(&g, types[_i]);
	for (int i = 0; i < g.ncounts; i++) {
		uint8_t *p = g.bytes + g.counts[i];
		uint32_t good = cube_peek_u32(p), rest = (uint32_t)(g.n - g.counts[i] - 4);
		const uint32_t bad[] = {rest + 1,   65537,      0x7fffffff,
					0x80000000, 0xfffffffc, 0xffffffff};
		for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
			cube_poke_u32(p, bad[k]);
			ck_assert_msg(decode(g.bytes, g.n) == CUBE_EPROTO, "field %d as %u", i,
				      bad[k]);
		}
		cube_poke_u32(p, good);
	}
	ck_assert_int_eq(decode(g.bytes, g.n), 0);
}
END_TEST

/* Fields of a later version, and then the next frame, which is not looked at. */
START_TEST(test_trailing_bytes) {
	struct golden g;
	golden(&g, types[_i]);
	size_t n = g.n;
	for (size_t extra = 1; extra < 20; extra++) {
		g.bytes[g.n++] = (uint8_t)(0xf0 + extra);
		cube_poke_u32(g.bytes, (uint32_t)g.n - 4);
		ck_assert_int_eq(decode(g.bytes, g.n), 0);
		ck_assert_uint_eq(used, g.n);
	}
	cube_poke_u32(g.bytes, (uint32_t)n - 4);
	ck_assert_int_eq(decode(g.bytes, g.n), 0);
	ck_assert_uint_eq(used, n);
}
END_TEST

/* A buffer too small by any amount stays as it was. */
START_TEST(test_encode_whole_or_not_at_all) {
	struct golden g;
	golden(&g, types[_i]);
	for (size_t max = 3; max < g.n + 3; max++) {
		struct cube_buf b;
		cube_buf_init(&b, max);
		cube_buf_addstr(&b, "old");
		ck_assert_int_eq(encode_sample(&b, types[_i]), CUBE_ETOOBIG);
		ck_assert_str_eq(cube_buf_str(&b), "old");
		cube_buf_done(&b);
	}
}
END_TEST

START_TEST(test_heads) {
	static const struct {
		uint32_t len;
		uint8_t type;
		size_t n;
		int rc;
	} cases[] = {
		{0, 1, 4, CUBE_EPROTO},
		{CUBE_FRAME_MAX, 1, 4, CUBE_AGAIN},
		{CUBE_FRAME_MAX + 1, 1, 4, CUBE_EPROTO},
		{0xffffffff, 1, 5, CUBE_EPROTO},
		{100, 0, 4, CUBE_AGAIN},
		{100, 0, 5, CUBE_EPROTO},
		{100, 17, 5, CUBE_AGAIN},
		{100, 18, 5, CUBE_EPROTO},
		{100, 64, 5, CUBE_EPROTO},
		{100, 79, 5, CUBE_EPROTO},
		{100, 255, 5, CUBE_EPROTO},
		{100, 78, 5, CUBE_AGAIN},
		{1, 67, 5, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t bytes[5] = {[4] = cases[i].type};
		cube_poke_u32(bytes, cases[i].len);
		ck_assert_msg(decode(bytes, cases[i].n) == cases[i].rc, "case %zu", i);
	}
	int known = 0;
	for (int type = 0; type < 256; type++) {
		uint8_t bytes[5] = {1, 0, 0, 0, (uint8_t)type};
		bool is = strcmp(cube_msg_name(type), "?") != 0;
		known += is;
		ck_assert_int_eq(decode(bytes, 5), type == 67 ? 0 : CUBE_EPROTO);
	}
	ck_assert_int_eq(known, NTYPES);
	ck_assert_str_eq(cube_msg_name(CUBE_MSG_START), "START");
	ck_assert_str_eq(cube_msg_name(CUBE_MSG_ERROR), "ERROR");
	ck_assert_str_eq(cube_msg_name(-1), "?");
	ck_assert_str_eq(cube_msg_name(1 << 20), "?");
}
END_TEST

/* The largest frame: fields nobody knows yet, up to the limit. */
START_TEST(test_largest_frame) {
	uint8_t *frame = calloc(1, BODY_MAX);
	cube_poke_u32(frame, CUBE_FRAME_MAX);
	frame[4] = CUBE_MSG_READY;
	ck_assert_int_eq(decode(frame, CUBE_FRAME_MAX + 3), CUBE_AGAIN);
	ck_assert_int_eq(decode(frame, CUBE_FRAME_MAX + 4), 0);
	ck_assert_uint_eq(used, CUBE_FRAME_MAX + 4);
	free(frame);
}
END_TEST

/* Sets the byte at `at` of a golden frame and decodes. */
static int decode_with(int type, size_t at, uint8_t v) {
	struct golden g;
	golden(&g, type);
	g.bytes[at] = v;
	return decode(g.bytes, g.n);
}

START_TEST(test_enumerations) {
	static const struct {
		int type, lo, hi;
	} cases[] = {{CUBE_MSG_ACK, 1, 2},
		     {CUBE_MSG_LOG, 1, 2},
		     {CUBE_MSG_ATTEMPT, 1, 3},
		     {CUBE_MSG_EXIT, 0, 5}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (int v = 0; v < 256; v++) { /* the byte right after task and attempt */
			bool ok = v >= cases[i].lo && v <= cases[i].hi;
			ck_assert_int_eq(decode_with(cases[i].type, 17, (uint8_t)v),
					 ok ? 0 : CUBE_EPROTO);
		}
	}
	static const struct {
		int type, lo, hi;
	} of_streams[] = {{CUBE_MSG_STREAM_INPUT, 0, 0},
			  {CUBE_MSG_STREAM_WINDOW, 1, 2},
			  {CUBE_MSG_STREAM_OUTPUT, 1, 2},
			  {CUBE_MSG_STREAM_GRANT, 0, 0},
			  {CUBE_MSG_STREAM_CLOSED, 0, 5}};
	for (size_t i = 0; i < sizeof of_streams / sizeof *of_streams; i++) {
		for (int v = 0; v < 256; v++) { /* the byte right after the stream's id */
			bool ok = v >= of_streams[i].lo && v <= of_streams[i].hi;
			ck_assert_int_eq(decode_with(of_streams[i].type, 13, (uint8_t)v),
					 ok ? 0 : CUBE_EPROTO);
		}
	}
	struct cube_buf b;
	struct cube_msg m;
	cube_buf_init(&b, 4096);
	sample(&m, CUBE_MSG_LOG);
	m.data.stream = 3;
	ck_assert_int_eq(cube_msg_encode(&b, &m), CUBE_EINTERNAL);
	m.type = CUBE_MSG_START;
	ck_assert_int_eq(cube_msg_encode(&b, &m), CUBE_EINTERNAL);
	m.type = (enum cube_msg_type)33;
	ck_assert_int_eq(cube_msg_encode(&b, &m), CUBE_EINTERNAL);
	ck_assert_uint_eq(cube_buf_len(&b), 0);
	cube_buf_done(&b);
}
END_TEST

START_TEST(test_data_limit) {
	static const int with_data[] = {CUBE_MSG_STDIN, CUBE_MSG_LOG, CUBE_MSG_PUSH_DATA};
	uint8_t *data = calloc(1, CUBE_DATA_MAX + 1);
	for (int i = 0; i < 3; i++) {
		struct cube_msg m;
		struct cube_buf b;
		sample(&m, with_data[i]);
		m.epoch = 0;
		cube_buf_init(&b, BODY_MAX);
		m.data.bytes = (struct cube_slice){data, CUBE_DATA_MAX + 1};
		ck_assert_int_eq(cube_msg_encode(&b, &m), CUBE_ETOOBIG);
		ck_assert_uint_eq(cube_buf_len(&b), 0);
		m.data.bytes.n--;
		ck_assert_int_eq(cube_msg_encode(&b, &m), 0);
		ck_assert_int_eq(decode(cube_buf_data(&b), cube_buf_len(&b)), 0);
		ck_assert_uint_eq(got.data.bytes.n, CUBE_DATA_MAX);
		/* One byte more, put there by hand. */
		uint8_t *frame = (uint8_t *)cube_buf_data(&b);
		size_t n = cube_buf_len(&b), at = n - CUBE_DATA_MAX - 4;
		cube_poke_u32(frame + at, CUBE_DATA_MAX + 1);
		cube_buf_add(&b, "x", 1);
		frame = (uint8_t *)cube_buf_data(&b);
		cube_poke_u32(frame, (uint32_t)n + 1 - 4);
		ck_assert_int_eq(decode(frame, n + 1), CUBE_EPROTO);
		cube_buf_done(&b);
	}
	free(data);
}
END_TEST

START_TEST(test_text_limits) {
	struct cube_msg m;
	struct cube_buf b;
	sample(&m, CUBE_MSG_ERROR);
	memset(m.error.message, 'e', sizeof m.error.message); /* no NUL at all: cut */
	cube_buf_init(&b, 4096);
	ck_assert_int_eq(cube_msg_encode(&b, &m), 0);
	ck_assert_uint_eq(cube_buf_len(&b), 4 + 1 + 1 + 4 + 239);
	ck_assert_int_eq(decode(cube_buf_data(&b), cube_buf_len(&b)), 0);
	ck_assert_uint_eq(strlen(got.error.message), 239);
	cube_buf_done(&b);

	for (size_t len = 254; len < 258; len++) { /* a name: at most 255 */
		struct golden g = {.n = 0};
		char name[300] = "";
		memset(name, 'n', len);
		num(&g, 4, 0), num(&g, 1, CUBE_MSG_HELLO), num(&g, 4, 1), num(&g, 2, 1);
		str(&g, "b"), num(&g, 8, 1), num(&g, 4, 1), str(&g, name), num(&g, 4, 1);
		cube_poke_u32(g.bytes, (uint32_t)g.n - 4);
		ck_assert_int_eq(decode(g.bytes, g.n), len <= 255 ? 0 : CUBE_EPROTO);
		g.bytes[g.n - 10] = 0;
		ck_assert_int_eq(decode(g.bytes, g.n), CUBE_EPROTO);
	}
}
END_TEST

/* A START by hand: n words of len bytes in argv, the same for env. */
static int decode_words(size_t n, size_t len, size_t env_words, size_t env_len, size_t ndir) {
	uint8_t *frame = calloc(1, BODY_MAX), *p = frame + 17;
	size_t counts[2] = {n, env_words}, lens[2] = {len, env_len};
	frame[4] = CUBE_MSG_START;
	for (int k = 0; k < 2; k++) {
		cube_poke_u32(p, (uint32_t)counts[k]);
		p += 4;
		for (size_t i = 0; i < counts[k]; i++, p += 4 + lens[k]) {
			cube_poke_u32(p, (uint32_t)lens[k]);
			memset(p + 4, 'w', lens[k]);
		}
	}
	cube_poke_u32(p, (uint32_t)ndir);
	memset(p + 4, 'd', ndir);
	p += 4 + ndir + 8 + 4 + 1 + 4;
	cube_poke_u32(frame, (uint32_t)(p - frame) - 4);
	int rc = decode(frame, (size_t)(p - frame));
	free(frame);
	return rc;
}

START_TEST(test_word_limits) {
	ck_assert_int_eq(decode_words(0, 0, 0, 0, 0), 0);
	ck_assert_int_eq(decode_words(65536, 0, 0, 0, 0), 0);
	ck_assert_int_eq(decode_words(0, 0, 65536, 3, 0), 0);
	ck_assert_int_eq(decode_words(65537, 0, 0, 0, 0), CUBE_EPROTO);
	ck_assert_int_eq(decode_words(65535, 0, 1, 9, 0), 0);
	ck_assert_int_eq(decode_words(65535, 0, 2, 9, 0), CUBE_EPROTO);
	ck_assert_int_eq(decode_words(1, (1 << 20) - 7, 1, 7, 0), 0);
	ck_assert_int_eq(decode_words(1, (1 << 20) - 7, 1, 8, 0), CUBE_EPROTO);
	ck_assert_int_eq(decode_words(1, (1 << 20) + 1, 0, 0, 0), CUBE_EPROTO);
}
END_TEST

START_TEST(test_dir_limit) {
	ck_assert_int_eq(decode_words(1, 1, 0, 0, 4095), 0);
	ck_assert_uint_eq(got.start.dir.n, 4095);
	ck_assert_int_eq(decode_words(1, 1, 0, 0, 4096), CUBE_EPROTO);
}
END_TEST

START_TEST(test_encode_start_limits) {
	static struct cube_msg_file files[65];
	const char **words = calloc(65538, sizeof *words);
	char *big = calloc(1, (1 << 20) + 2), *dir = calloc(1, 4097);
	struct cube_msg_start s = {1, 1, .argv = words, .dir = ""};
	struct cube_buf b;
	cube_buf_init(&b, 8 << 20);
	for (int i = 0; i < 65536; i++) words[i] = "a";
	ck_assert_int_eq(cube_msg_encode_start(&b, &s), 0);
	ck_assert_int_eq(decode(cube_buf_data(&b), cube_buf_len(&b)), 0);
	ck_assert_uint_eq(got.start.argv.count, 65536);
	cube_buf_clear(&b);
	words[65536] = "a";
	ck_assert_int_eq(cube_msg_encode_start(&b, &s), CUBE_ETOOBIG);
	words[1] = NULL;
	words[0] = memset(big, 'b', 1 << 20);
	ck_assert_int_eq(cube_msg_encode_start(&b, &s), 0);
	ck_assert_int_eq(decode(cube_buf_data(&b), cube_buf_len(&b)), 0);
	cube_buf_clear(&b);
	s.env = (const char *const[]){"c", NULL};
	ck_assert_int_eq(cube_msg_encode_start(&b, &s), CUBE_ETOOBIG);
	s.env = NULL;
	s.dir = "/more/than/the/frame/has/room/for"; /* within each limit, but not together */
	ck_assert_int_eq(cube_msg_encode_start(&b, &s), CUBE_ETOOBIG);
	words[0] = "x";
	s.dir = memset(dir, 'd', 4095);
	ck_assert_int_eq(cube_msg_encode_start(&b, &s), 0);
	ck_assert_int_eq(decode(cube_buf_data(&b), cube_buf_len(&b)), 0);
	ck_assert_uint_eq(got.start.dir.n, 4095);
	cube_buf_clear(&b);
	dir[4095] = 'd';
	ck_assert_int_eq(cube_msg_encode_start(&b, &s), CUBE_ETOOBIG);
	s.dir = "";
	for (int i = 0; i < 65; i++) memset(files[i].name, 'f', 255);
	s.files = files;
	s.nfiles = 64;
	ck_assert_int_eq(cube_msg_encode_start(&b, &s), 0);
	ck_assert_int_eq(decode(cube_buf_data(&b), cube_buf_len(&b)), 0);
	ck_assert_uint_eq(got.start.files.count, 64);
	cube_buf_clear(&b);
	s.nfiles = 65;
	ck_assert_int_eq(cube_msg_encode_start(&b, &s), CUBE_ETOOBIG);
	s.nfiles = 1;
	files[0].name[255] = 'f';
	ck_assert_int_eq(cube_msg_encode_start(&b, &s), CUBE_ETOOBIG);
	ck_assert_uint_eq(cube_buf_len(&b), 0);
	cube_buf_done(&b);
	free(words);
	free(big);
	free(dir);
}
END_TEST

static void start_by_hand(struct golden *g, const char *word, const char *dir, size_t ndir,
			  uint32_t nfiles, const char *name) {
	*g = (struct golden){.n = 0};
	num(g, 4, 0), num(g, 1, CUBE_MSG_START), attempt(g);
	num(g, 4, 1), num(g, 4, 3), raw(g, word, 3), num(g, 4, 0);
	num(g, 4, ndir), raw(g, dir, ndir), num(g, 8, 0), num(g, 4, 0), num(g, 1, 0);
	num(g, 4, nfiles);
	for (uint32_t i = 0; i < nfiles && g->n < 1800; i++)
		raw(g, hash, 32), str(g, name), num(g, 4, 0644), g->ncounts = 0;
	cube_poke_u32(g->bytes, (uint32_t)g->n - 4);
}

START_TEST(test_start_contents) {
	static const struct {
		const char *word, *dir, *name;
		size_t ndir;
		int rc;
	} cases[] = {
		{"abc", "/d", "f", 2, 0},
		{"a\0c", "/d", "f", 2, CUBE_EPROTO},
		{"ab\0", "/d", "f", 2, CUBE_EPROTO},
		{"abc", "/\0", "f", 2, CUBE_EPROTO},
		{"abc", "", "f", 0, 0},
		{"abc", "", "", 0, CUBE_EPROTO},
		{"abc", "", ".", 0, CUBE_EPROTO},
		{"abc", "", "..", 0, CUBE_EPROTO},
		{"abc", "", "a/b", 0, CUBE_EPROTO},
		{"abc", "", "/", 0, CUBE_EPROTO},
		{"abc", "", "...", 0, 0},
		{"abc", "", ".profile", 0, 0},
		{"abc", "", "../x", 0, CUBE_EPROTO},
	};
	struct golden g;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		start_by_hand(&g, cases[i].word, cases[i].dir, cases[i].ndir, 1, cases[i].name);
		ck_assert_msg(decode(g.bytes, g.n) == cases[i].rc, "case %zu", i);
	}
	static const char *const bad[] = {"", ".", "..", "a/b"};
	for (int i = 0; i < 4; i++) {
		struct cube_buf b;
		struct cube_msg_start s = sample_start();
		snprintf(sample_files[1].name, sizeof sample_files[1].name, "%s", bad[i]);
		cube_buf_init(&b, 4096);
		ck_assert_int_eq(cube_msg_encode_start(&b, &s), CUBE_EUSAGE);
		ck_assert_uint_eq(cube_buf_len(&b), 0);
		cube_buf_done(&b);
	}
}
END_TEST

/* 64 files pass, 65 do not; the file list is the last field, so it can be made by hand. */
START_TEST(test_files_limit) {
	for (uint32_t nfiles = 64; nfiles <= 65; nfiles++) {
		uint8_t frame[8192] = {[4] = CUBE_MSG_START};
		size_t n = 17 + 4 + 4 + 4 + 8 + 4 + 1;
		cube_poke_u32(frame + n, nfiles);
		n += 4;
		for (uint32_t i = 0; i < nfiles; i++, n += 32 + 4 + 1 + 4) {
			cube_poke_u32(frame + n + 32, 1);
			frame[n + 36] = 'f';
		}
		cube_poke_u32(frame, (uint32_t)n - 4);
		ck_assert_int_eq(decode(frame, n), nfiles <= 64 ? 0 : CUBE_EPROTO);
	}
}
END_TEST

START_TEST(test_log_ends) {
	struct golden g;
	uint8_t head[CUBE_LOG_HEAD], tail[CUBE_LOG_TAIL];
	struct cube_msg_log_id id = {0x1122334455667788, EPOCH, 7, CUBE_STDOUT};
	golden(&g, CUBE_MSG_LOG);
	ck_assert_uint_eq(cube_msg_log_ends(head, tail, &id, 1ull << 48, 11), CUBE_LOG_TAIL);
	ck_assert_uint_eq(g.n, CUBE_LOG_HEAD + 11 + CUBE_LOG_TAIL);
	ck_assert_mem_eq(head, g.bytes, CUBE_LOG_HEAD);
	ck_assert_mem_eq(tail, g.bytes + CUBE_LOG_HEAD + 11, CUBE_LOG_TAIL);
	id.epoch = 0;
	ck_assert_uint_eq(cube_msg_log_ends(head, tail, &id, 1ull << 48, 11), 0);
	cube_poke_u32(g.bytes, (uint32_t)g.later[0] - 4);
	ck_assert_mem_eq(head, g.bytes, CUBE_LOG_HEAD);
}
END_TEST

START_TEST(test_stream_head) {
	struct golden g;
	uint8_t head[CUBE_STREAM_HEAD];
	golden(&g, CUBE_MSG_STREAM_OUTPUT);
	cube_msg_stream_head(head, CUBE_MSG_STREAM_OUTPUT, 1ull << 55, 1, 5);
	ck_assert_uint_eq(g.n, CUBE_STREAM_HEAD + 5);
	ck_assert_mem_eq(head, g.bytes, CUBE_STREAM_HEAD);
	golden(&g, CUBE_MSG_STREAM_INPUT);
	cube_msg_stream_head(head, CUBE_MSG_STREAM_INPUT, 7, 0, 5);
	cube_msg_set_stream(g.bytes, 7);
	ck_assert_mem_eq(head, g.bytes, CUBE_STREAM_HEAD);
	for (int type = CUBE_MSG_OPEN; type <= CUBE_MSG_STREAM_CLOSE; type++) {
		golden(&g, type);
		cube_msg_set_stream(g.bytes, 0xf1f2f3f4f5f6f7f8);
		ck_assert_int_eq(decode(g.bytes, g.n), 0);
		ck_assert_uint_eq(got.task, 0xf1f2f3f4f5f6f7f8);
	}
}
END_TEST

START_TEST(test_open_contents) {
	struct golden g;
	struct cube_slice word;
	size_t pos = 0;
	golden(&g, CUBE_MSG_OPEN);
	ck_assert_int_eq(decode(g.bytes, g.n), 0);
	ck_assert_uint_eq(got.task, 1ull << 49);
	ck_assert_uint_eq(got.open.argv.count, 2);
	ck_assert(cube_msg_next_bytes(&got.open.argv, &pos, &word));
	ck_assert(word.n == 4 && memcmp(word.p, "tail", 4) == 0);
	ck_assert_uint_eq(got.open.env.count, 1);
	ck_assert(got.open.dir.n == 8 && memcmp(got.open.dir.p, "/var/log", 8) == 0);
	ck_assert_uint_eq(got.open.flags, CUBE_OPEN_PTY | CUBE_OPEN_LOGIN);
	ck_assert_uint_eq(got.open.rows, 0x0102);
	ck_assert_uint_eq(got.open.cols, 0x0304);
	g.bytes[g.n - 6] = 0; /* a NUL inside the folder, or in a word */
	ck_assert_int_eq(decode(g.bytes, g.n), CUBE_EPROTO);
	golden(&g, CUBE_MSG_OPEN);
	g.bytes[5 + 8 + 4 + 4] = 0;
	ck_assert_int_eq(decode(g.bytes, g.n), CUBE_EPROTO);
}
END_TEST

START_TEST(test_open_limits) {
	char *big = malloc((1u << 20) + 2);
	memset(big, 'a', (1u << 20) + 1);
	big[(1u << 20) + 1] = '\0';
	const char *argv[] = {big, NULL};
	struct cube_buf b;
	struct cube_msg_open open = {.stream = 1, .argv = argv, .dir = ""};
	cube_buf_init(&b, BODY_MAX);
	ck_assert_int_eq(cube_msg_encode_open(&b, &open), CUBE_ETOOBIG);
	big[1u << 20] = '\0';
	ck_assert_int_eq(cube_msg_encode_open(&b, &open), 0);
	ck_assert_int_eq(decode(cube_buf_data(&b), cube_buf_len(&b)), 0);
	cube_buf_clear(&b);
	open.argv = NULL;
	open.dir = big;
	ck_assert_int_eq(cube_msg_encode_open(&b, &open), CUBE_ETOOBIG);
	ck_assert_uint_eq(cube_buf_len(&b), 0);
	cube_buf_done(&b);
	free(big);
}
END_TEST

/* A decoded frame encodes to the same bytes, apart from unknown ones at its end. */
static void check_canonical(const uint8_t *frame, size_t n, int round) {
	struct cube_buf b;
	cube_buf_init(&b, BODY_MAX);
	if (used < 5 || used > n) ck_abort_msg("round %d: used %zu of %zu", round, used, n);
	if (encode_again(&b, &got) != 0) ck_abort_msg("round %d: does not encode", round);
	size_t len = cube_buf_len(&b);
	if (len > used || memcmp(cube_buf_data(&b) + 4, frame + 4, len - 4) != 0)
		ck_abort_msg("round %d: type %d comes back different", round, (int)got.type);
	cube_buf_done(&b);
}

START_TEST(test_random_mutations) {
	uint64_t seed = rnd_seed("msg");
	int results[3] = {0};
	for (int round = 0; round < 200000; round++) {
		struct golden g;
		golden(&g, types[rnd_below(&seed, NTYPES)]);
		size_t n = g.n;
		for (size_t k = rnd_below(&seed, 4); k > 0; k--) {
			static const uint8_t likely[] = {0, 1, 2, 3, 4, 0x7f, 0x80, 0xff};
			uint8_t any = (uint8_t)rnd_next(&seed);
			size_t at =
				rnd_below(&seed, 2) ? rnd_below(&seed, n) : rnd_below(&seed, 24);
			if (at < n) g.bytes[at] = any & 1 ? likely[any >> 5] : any;
		}
		switch (rnd_below(&seed, 4)) {
		case 0: n = rnd_below(&seed, n + 1); break;
		case 1: /* another length, and told so */
			n = 4 + rnd_below(&seed, n + 8);
			cube_poke_u32(g.bytes, (uint32_t)n - 4);
			break;
		}
		int rc = decode(g.bytes, n);
		if (rc == 0) check_canonical(g.bytes, n, round);
		else if (rc != CUBE_AGAIN && rc != CUBE_EPROTO)
			ck_abort_msg("round %d: rc %d", round, rc);
		results[rc == 0 ? 0 : rc == CUBE_AGAIN ? 1 : 2]++;
	}
	for (int i = 0; i < 3; i++) ck_assert_int_gt(results[i], 10000);
}
END_TEST

int main(void) {
	guard_init(&guard, BODY_MAX);
	for (int i = 0; i < 32; i++) hash[i] = (uint8_t)(0xe0 - i);
	Suite *s = suite_create("msg");
	TCase *t = tcase_create("msg");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_encode, 0, NTYPES);
	tcase_add_loop_test(t, test_decode, 0, NTYPES);
	tcase_add_loop_test(t, test_cut_anywhere, 0, NTYPES);
	tcase_add_loop_test(t, test_older_ends, 0, NTYPES);
	tcase_add_test(t, test_later_fields_keep_their_places);
	tcase_add_loop_test(t, test_corrupt_counts, 0, NTYPES);
	tcase_add_loop_test(t, test_trailing_bytes, 0, NTYPES);
	tcase_add_loop_test(t, test_encode_whole_or_not_at_all, 0, NTYPES);
	tcase_add_test(t, test_heads);
	tcase_add_test(t, test_largest_frame);
	tcase_add_test(t, test_enumerations);
	tcase_add_test(t, test_data_limit);
	tcase_add_test(t, test_text_limits);
	tcase_add_test(t, test_word_limits);
	tcase_add_test(t, test_dir_limit);
	tcase_add_test(t, test_encode_start_limits);
	tcase_add_test(t, test_start_contents);
	tcase_add_test(t, test_files_limit);
	tcase_add_test(t, test_log_ends);
	tcase_add_test(t, test_stream_head);
	tcase_add_test(t, test_open_contents);
	tcase_add_test(t, test_open_limits);
	tcase_add_test(t, test_random_mutations);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	guard_done(&guard);
	return failed ? 1 : 0;
}
