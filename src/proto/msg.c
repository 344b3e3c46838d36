/* One table says how each message lies on the wire and in struct cube_msg; reading and writing
 * both walk it. Only START and OPEN are written by hand, since their lists come from the caller's
 * arrays. */
#include "cube/assert.h"
#include "cube/msg.h"

#include <string.h>

#define WORD_BYTES_MAX (1u << 20) /* argv and env together, without their lengths */
#define FRAME_HEAD     5          /* length and type */

enum kind { END, U8, U16, U32, U64, HASH, TEXT, DATA, DIR, WORDS, FILES };

struct field {
	uint8_t kind;
	uint8_t lo, hi; /* U8: the values allowed; TEXT, U64: hi 0xff, older peers end before it */
	uint16_t off;   /* in struct cube_msg */
	uint16_t size;
};

/* clang-format off */
/* The array size is -1, an error, when the member is not as wide as the wire says. */
#define SIZE(m)      sizeof(((struct cube_msg *)0)->m)
#define EXACT(n, m)  sizeof(char[SIZE(m) == (n) ? (n) : -1])
#define NUM(k, n, m) {k, 0, k == U8 ? 0xff : 0, offsetof(struct cube_msg, m), EXACT(n, m)}
#define U8(m)        NUM(U8, 1, m)
#define U16(m)       NUM(U16, 2, m)
#define U32(m)       NUM(U32, 4, m)
#define U64(m)       NUM(U64, 8, m)
#define HASH(m)      NUM(HASH, 32, m)
#define OTHER(k, m)  {k, 0, 0, offsetof(struct cube_msg, m), SIZE(m)}
#define TEXT(m)      OTHER(TEXT, m)
#define LATER_TEXT(m) {TEXT, 0, 0xff, offsetof(struct cube_msg, m), SIZE(m)}
#define LATER_U64(m) {U64, 0, 0xff, offsetof(struct cube_msg, m), EXACT(8, m)}
#define ONE_OF(m, lo, hi) {U8, lo, hi, offsetof(struct cube_msg, m), 1}
#define FIELDS(...)       (const struct field[]) { __VA_ARGS__, {END} }
/* Of a message about an attempt. */
#define OF_ATTEMPT(...)   FIELDS(U64(task), U32(attempt), __VA_ARGS__, LATER_U64(epoch))
/* clang-format on */

static const struct layout {
	const char *name;
	const struct field *fields;
} layouts[] = {
	[CUBE_MSG_HELLO] = {"HELLO",
			    FIELDS(U32(hello.magic), U16(hello.version), TEXT(hello.build),
				   U64(hello.cluster), U32(hello.node), TEXT(hello.node_name),
				   U32(hello.slots), LATER_U64(hello.features), LATER_U64(epoch))},
	[CUBE_MSG_START] = {"START", OF_ATTEMPT(OTHER(WORDS, start.argv), OTHER(WORDS, start.env),
						OTHER(DIR, start.dir), U64(start.timeout_ms),
						U32(start.grace_ms), U8(start.flags),
						OTHER(FILES, start.files))},
	[CUBE_MSG_SIGNAL] = {"SIGNAL", OF_ATTEMPT(U32(signal.signo))},
	[CUBE_MSG_STOP] = {"STOP", OF_ATTEMPT(U32(stop.grace_ms))},
	[CUBE_MSG_STDIN] = {"STDIN",
			    OF_ATTEMPT(U64(data.offset), U8(data.eof), OTHER(DATA, data.bytes))},
	[CUBE_MSG_ACK] = {"ACK", OF_ATTEMPT(ONE_OF(ack.stream, CUBE_STDOUT, CUBE_STDERR),
					    U64(ack.offset))},
	[CUBE_MSG_FORGET] = {"FORGET", FIELDS(U64(task), U32(attempt), LATER_U64(epoch))},
	[CUBE_MSG_PUSH] = {"PUSH", FIELDS(HASH(push.sha256), U64(push.size))},
	[CUBE_MSG_PUSH_DATA] = {"PUSH_DATA", FIELDS(HASH(data.sha256), U64(data.offset),
						    OTHER(DATA, data.bytes))},
	[CUBE_MSG_PING] = {"PING", FIELDS(U64(ping.token))},
	[CUBE_MSG_SHUTDOWN] = {"SHUTDOWN", FIELDS(U8(shutdown.purge))},
	[CUBE_MSG_OPEN] = {"OPEN", FIELDS(U64(task), OTHER(WORDS, open.argv),
					  OTHER(WORDS, open.env), OTHER(DIR, open.dir),
					  U8(open.flags), U16(open.rows), U16(open.cols))},
	[CUBE_MSG_STREAM_INPUT] = {"STREAM_DATA",
				   FIELDS(U64(task), ONE_OF(stream.fd, CUBE_STDIN, CUBE_STDIN),
					  OTHER(DATA, stream.bytes))},
	[CUBE_MSG_STREAM_WINDOW] = {"STREAM_WINDOW",
				    FIELDS(U64(task), ONE_OF(stream.fd, CUBE_STDOUT, CUBE_STDERR),
					   U32(stream.window))},
	[CUBE_MSG_STREAM_RESIZE] = {"STREAM_RESIZE",
				    FIELDS(U64(task), U16(open.rows), U16(open.cols))},
	[CUBE_MSG_STREAM_SIGNAL] = {"STREAM_SIGNAL", FIELDS(U64(task), U32(signal.signo))},
	[CUBE_MSG_STREAM_CLOSE] = {"STREAM_CLOSE", FIELDS(U64(task))},
	[CUBE_MSG_WORKER_HELLO] = {"HELLO",
				   FIELDS(U32(worker_hello.magic), U16(worker_hello.version),
					  TEXT(worker_hello.build), U64(worker_hello.cluster),
					  U32(worker_hello.node), U64(worker_hello.boot),
					  U32(worker_hello.pid), TEXT(worker_hello.hostname),
					  TEXT(worker_hello.sysname), TEXT(worker_hello.release),
					  TEXT(worker_hello.machine), U32(worker_hello.cpus),
					  U64(worker_hello.memory), U64(worker_hello.wall),
					  LATER_TEXT(worker_hello.notice),
					  LATER_U64(worker_hello.features))},
	[CUBE_MSG_ATTEMPT] = {"ATTEMPT", OF_ATTEMPT(ONE_OF(known.state, CUBE_ATTEMPT_QUEUED,
							   CUBE_ATTEMPT_FINISHED),
						    U64(known.out_begin), U64(known.out_end),
						    U64(known.err_begin), U64(known.err_end))},
	[CUBE_MSG_READY] = {"READY", FIELDS({END})},
	[CUBE_MSG_STARTED] = {"STARTED", OF_ATTEMPT(U32(started.pid), U64(started.wall))},
	[CUBE_MSG_EXIT] = {"EXIT",
			   OF_ATTEMPT(ONE_OF(exit.how, CUBE_EXIT_EXITED, CUBE_EXIT_LOST),
				      U32(exit.value), U64(exit.out_end), U64(exit.err_end),
				      U64(exit.started), U64(exit.finished), U64(exit.user_us),
				      U64(exit.sys_us), U64(exit.max_rss), TEXT(exit.message))},
	[CUBE_MSG_LOG] = {"LOG", OF_ATTEMPT(ONE_OF(data.stream, CUBE_STDOUT, CUBE_STDERR),
					    U64(data.offset), OTHER(DATA, data.bytes))},
	[CUBE_MSG_STDIN_ACK] = {"STDIN_ACK", OF_ATTEMPT(U64(ack.offset))},
	[CUBE_MSG_PUSH_DONE] = {"PUSH_DONE",
				FIELDS(HASH(push.sha256), U8(push.ok), TEXT(push.message))},
	[CUBE_MSG_METRIC] = {"METRIC",
			     FIELDS(U64(metric.wall), U64(metric.cpu_user), U64(metric.cpu_system),
				    U64(metric.cpu_iowait), U64(metric.cpu_steal),
				    U64(metric.cpu_idle), U32(metric.load1), U32(metric.load5),
				    U32(metric.load15), U64(metric.mem_total),
				    U64(metric.mem_available), U64(metric.swap_total),
				    U64(metric.swap_free), U64(metric.disk_total),
				    U64(metric.disk_free), U64(metric.disk_read),
				    U64(metric.disk_written), U64(metric.net_received),
				    U64(metric.net_sent), U32(metric.running), U32(metric.psi_cpu),
				    U32(metric.psi_mem), U32(metric.psi_io), U64(metric.uptime_s))},
	[CUBE_MSG_PONG] = {"PONG", FIELDS(U64(ping.token), U64(ping.wall))},
	[CUBE_MSG_ERROR] = {"ERROR", FIELDS(U8(error.code), TEXT(error.message))},
	[CUBE_MSG_STREAM_OUTPUT] = {"STREAM_DATA",
				    FIELDS(U64(task), ONE_OF(stream.fd, CUBE_STDOUT, CUBE_STDERR),
					   OTHER(DATA, stream.bytes))},
	[CUBE_MSG_STREAM_GRANT] = {"STREAM_WINDOW",
				   FIELDS(U64(task), ONE_OF(stream.fd, CUBE_STDIN, CUBE_STDIN),
					  U32(stream.window))},
	[CUBE_MSG_STREAM_CLOSED] = {"STREAM_CLOSED",
				    FIELDS(U64(task),
					   ONE_OF(closed.how, CUBE_EXIT_EXITED, CUBE_EXIT_LOST),
					   U32(closed.value), TEXT(closed.message))},
};

static const struct layout *layout_of(int type) {
	if (type < 0 || (size_t)type >= sizeof layouts / sizeof *layouts) return NULL;
	return layouts[type].name ? &layouts[type] : NULL;
}

const char *cube_msg_name(int type) {
	const struct layout *l = layout_of(type);
	return l ? l->name : "?";
}

static bool is_later(const struct field *f) {
	return (f->kind == TEXT || f->kind == U64) && f->hi;
}

static bool has_nul(struct cube_slice s) {
	return s.n && memchr(s.p, 0, s.n);
}

/* A name that stays inside the folder it is created in. */
static bool is_plain_name(const char *s) {
	return *s && !strchr(s, '/') && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

/* ---- reading ---------------------------------------------------------------------------- */

static void get_hash(struct cube_reader *r, uint8_t sha256[32]) {
	struct cube_slice s = cube_get_raw(r, 32);
	if (s.n) memcpy(sha256, s.p, s.n);
}

static struct cube_slice get_no_nul(struct cube_reader *r, size_t max) {
	struct cube_slice s = cube_get_bytes(r, max);
	if (has_nul(s)) r->bad = true;
	return s;
}

static void get_file(struct cube_reader *r, struct cube_msg_file *ret) {
	get_hash(r, ret->sha256);
	cube_get_str(r, ret->name, sizeof ret->name);
	ret->mode = cube_get_u32(r);
	if (!is_plain_name(ret->name)) r->bad = true;
}

static void get_list(struct cube_reader *r, uint8_t kind, struct cube_msg_list *ret) {
	struct cube_msg_file file;
	ret->count = cube_get_u32(r);
	if (ret->count > (kind == FILES ? CUBE_FILES_MAX : CUBE_WORDS_MAX)) r->bad = true;
	const uint8_t *begin = r->p;
	for (uint32_t i = 0; i < ret->count && !r->bad; i++) {
		if (kind == FILES) get_file(r, &file);
		else get_no_nul(r, WORD_BYTES_MAX);
	}
	ret->raw = (struct cube_slice){begin, (size_t)(r->p - begin)};
}

static void get_field(struct cube_reader *r, const struct field *f, struct cube_msg *m) {
	void *p = (char *)m + f->off;
	switch (f->kind) {
	case U8: {
		uint8_t v = cube_get_u8(r);
		if (v < f->lo || v > f->hi) r->bad = true;
		*(uint8_t *)p = v;
		break;
	}
	case U16: *(uint16_t *)p = cube_get_u16(r); break;
	case U32: *(uint32_t *)p = cube_get_u32(r); break;
	case U64: *(uint64_t *)p = cube_get_u64(r); break;
	case HASH: get_hash(r, p); break;
	case TEXT: cube_get_str(r, p, f->size); break;
	case DATA: *(struct cube_slice *)p = cube_get_bytes(r, CUBE_DATA_MAX); break;
	case DIR: *(struct cube_slice *)p = get_no_nul(r, CUBE_PATH_LEN - 1); break;
	default: get_list(r, f->kind, p); break;
	}
}

static bool words_fit(size_t count, size_t bytes) {
	return count <= CUBE_WORDS_MAX && bytes <= WORD_BYTES_MAX;
}

static bool lists_fit(const struct cube_msg_list *argv, const struct cube_msg_list *env) {
	size_t count = (size_t)argv->count + env->count;
	return words_fit(count, argv->raw.n + env->raw.n - 4 * count);
}

int cube_msg_decode(const uint8_t *bytes, size_t n, struct cube_msg *ret, size_t *ret_used,
		    struct cube_err *err) {
	/* A bad head is refused at once: the rest of such a frame may never come. */
	if (n < 4) return CUBE_AGAIN;
	uint32_t len = cube_peek_u32(bytes);
	if (len < 1 || len > CUBE_FRAME_MAX)
		return cube_fail(err, CUBE_EPROTO, "frame of %u bytes", (unsigned)len);
	if (n < FRAME_HEAD) return CUBE_AGAIN;
	const struct layout *l = layout_of(bytes[4]);
	if (!l) return cube_fail(err, CUBE_EPROTO, "unknown message type %u", bytes[4]);
	if (n - 4 < len) return CUBE_AGAIN;

	struct cube_reader r;
	struct cube_msg m;
	memset(&m, 0, sizeof m); /* an initialiser need not reach all members of the union */
	m.type = bytes[4];
	cube_reader_init(&r, bytes + FRAME_HEAD, len - 1);
	for (const struct field *f = l->fields; f->kind != END && !r.bad; f++) {
		if (is_later(f) && r.p == r.end) break;
		get_field(&r, f, &m);
	}
	if (!r.bad && m.type == CUBE_MSG_START && !lists_fit(&m.start.argv, &m.start.env))
		r.bad = true;
	if (!r.bad && m.type == CUBE_MSG_OPEN && !lists_fit(&m.open.argv, &m.open.env))
		r.bad = true;
	if (r.bad) return cube_fail(err, CUBE_EPROTO, "malformed %s message", l->name);
	*ret = m;
	*ret_used = (size_t)len + 4;
	return 0;
}

/* Begins at the list's item at *pos; false when there is none. */
static bool list_reader(const struct cube_msg_list *list, size_t pos, struct cube_reader *ret) {
	if (pos >= list->raw.n) return false;
	cube_reader_init(ret, list->raw.p + pos, list->raw.n - pos);
	return true;
}

bool cube_msg_next_bytes(const struct cube_msg_list *list, size_t *pos, struct cube_slice *ret) {
	struct cube_reader r;
	if (!list_reader(list, *pos, &r)) return false;
	struct cube_slice s = cube_get_bytes(&r, WORD_BYTES_MAX);
	if (r.bad) return false;
	*ret = s;
	*pos = (size_t)(r.p - list->raw.p);
	return true;
}

bool cube_msg_next_file(const struct cube_msg_list *list, size_t *pos, struct cube_msg_file *ret) {
	struct cube_reader r;
	struct cube_msg_file file;
	if (!list_reader(list, *pos, &r)) return false;
	get_file(&r, &file);
	if (r.bad) return false;
	*ret = file;
	*pos = (size_t)(r.p - list->raw.p);
	return true;
}

/* ---- writing ---------------------------------------------------------------------------- */

static int put_field(struct cube_buf *out, const struct field *f, const struct cube_msg *m) {
	const void *p = (const char *)m + f->off;
	switch (f->kind) {
	case U8: {
		uint8_t v = *(const uint8_t *)p;
		return v < f->lo || v > f->hi ? CUBE_EINTERNAL : cube_put_u8(out, v);
	}
	case U16: return cube_put_u16(out, *(const uint16_t *)p);
	case U32: return cube_put_u32(out, *(const uint32_t *)p);
	case U64: return cube_put_u64(out, *(const uint64_t *)p);
	case HASH: return cube_put_raw(out, p, 32);
	case TEXT: return cube_put_bytes(out, p, strnlen(p, f->size - 1u));
	case DATA: {
		const struct cube_slice *s = p;
		return s->n > CUBE_DATA_MAX ? CUBE_ETOOBIG : cube_put_bytes(out, s->p, s->n);
	}
	default: return CUBE_EINTERNAL;
	}
}

static int frame_begin(struct cube_buf *out, uint8_t type) {
	int rc = cube_put_u32(out, 0);
	return rc ? rc : cube_put_u8(out, type);
}

/* Sets the length of the frame that begins at `at`, or takes its bytes back when rc is a failure.
 */
static int frame_end(struct cube_buf *out, size_t at, int rc) {
	size_t len = cube_buf_len(out) - at;
	if (!rc && len - 4 > CUBE_FRAME_MAX) rc = CUBE_ETOOBIG;
	if (rc) cube_buf_truncate(out, at);
	else cube_poke_u32((uint8_t *)cube_buf_data(out) + at, (uint32_t)(len - 4));
	return rc;
}

/* Past the last field that is to be written. */
static const struct field *fields_end(const struct layout *l, const struct cube_msg *m) {
	const struct field *end = l->fields;
	for (const struct field *f = l->fields; f->kind != END; f++) {
		const char *p = (const char *)m + f->off;
		bool empty = f->kind == TEXT ? !*p : f->kind == U64 && !*(const uint64_t *)p;
		if (!is_later(f) || !empty) end = f + 1;
	}
	return end;
}

int cube_msg_encode(struct cube_buf *out, const struct cube_msg *msg) {
	const struct layout *l = layout_of((int)msg->type);
	if (!l) return CUBE_EINTERNAL;
	size_t at = cube_buf_len(out);
	int rc = frame_begin(out, (uint8_t)msg->type);
	const struct field *end = fields_end(l, msg);
	for (const struct field *f = l->fields; f != end && !rc; f++) rc = put_field(out, f, msg);
	return frame_end(out, at, rc);
}

/* Adds the words' number and size; stops early once they are too many. */
static void measure(const char *const *words, size_t *count, size_t *bytes) {
	for (; words && *words && words_fit(*count, *bytes); words++) {
		*count += 1;
		*bytes += strlen(*words);
	}
}

/* What a decoder would refuse is not sent. */
static int check_command(const char *const *argv, const char *const *env, const char *dir) {
	size_t count = 0, bytes = 0;
	measure(argv, &count, &bytes);
	measure(env, &count, &bytes);
	return words_fit(count, bytes) && strlen(dir) < CUBE_PATH_LEN ? 0 : CUBE_ETOOBIG;
}

static int check_start(const struct cube_msg_start *s) {
	int rc = check_command(s->argv, s->env, s->dir);
	if (rc || s->nfiles > CUBE_FILES_MAX) return CUBE_ETOOBIG;
	for (uint32_t i = 0; i < s->nfiles; i++) {
		const char *name = s->files[i].name;
		if (!memchr(name, 0, CUBE_NAME_LEN)) return CUBE_ETOOBIG;
		if (!is_plain_name(name)) return CUBE_EUSAGE;
	}
	return 0;
}

static int put_words(struct cube_buf *out, const char *const *words) {
	uint32_t n = 0;
	while (words && words[n]) n++;
	int rc = cube_put_u32(out, n);
	for (uint32_t i = 0; i < n && !rc; i++) rc = cube_put_str(out, words[i]);
	return rc;
}

static int put_files(struct cube_buf *out, const struct cube_msg_file *files, uint32_t n) {
	int rc = cube_put_u32(out, n);
	for (uint32_t i = 0; i < n && !rc; i++) {
		rc = cube_put_raw(out, files[i].sha256, 32);
		if (!rc) rc = cube_put_str(out, files[i].name);
		if (!rc) rc = cube_put_u32(out, files[i].mode);
	}
	return rc;
}

int cube_msg_encode_start(struct cube_buf *out, const struct cube_msg_start *start) {
	int rc = check_start(start);
	if (rc) return rc;
	size_t at = cube_buf_len(out);
	rc = frame_begin(out, CUBE_MSG_START);
	if (!rc) rc = cube_put_u64(out, start->task);
	if (!rc) rc = cube_put_u32(out, start->attempt);
	if (!rc) rc = put_words(out, start->argv);
	if (!rc) rc = put_words(out, start->env);
	if (!rc) rc = cube_put_str(out, start->dir);
	if (!rc) rc = cube_put_u64(out, start->timeout_ms);
	if (!rc) rc = cube_put_u32(out, start->grace_ms);
	if (!rc) rc = cube_put_u8(out, start->flags);
	if (!rc) rc = put_files(out, start->files, start->nfiles);
	if (!rc && start->epoch) rc = cube_put_u64(out, start->epoch);
	return frame_end(out, at, rc);
}

int cube_msg_encode_open(struct cube_buf *out, const struct cube_msg_open *open) {
	int rc = check_command(open->argv, open->env, open->dir);
	if (rc) return rc;
	size_t at = cube_buf_len(out);
	rc = frame_begin(out, CUBE_MSG_OPEN);
	if (!rc) rc = cube_put_u64(out, open->stream);
	if (!rc) rc = put_words(out, open->argv);
	if (!rc) rc = put_words(out, open->env);
	if (!rc) rc = cube_put_str(out, open->dir);
	if (!rc) rc = cube_put_u8(out, open->flags);
	if (!rc) rc = cube_put_u16(out, open->rows);
	if (!rc) rc = cube_put_u16(out, open->cols);
	return frame_end(out, at, rc);
}

static void poke_u64(uint8_t *p, uint64_t v) {
	cube_poke_u32(p, (uint32_t)v);
	cube_poke_u32(p + 4, (uint32_t)(v >> 32));
}

void cube_msg_set_stream(uint8_t *frame, uint64_t stream) {
	poke_u64(frame + CUBE_STREAM_ID_AT, stream);
}

void cube_msg_stream_head(uint8_t head[CUBE_STREAM_HEAD], enum cube_msg_type type, uint64_t stream,
			  uint8_t fd, uint32_t n) {
	cube_assert(n <= CUBE_DATA_MAX);
	cube_poke_u32(head, CUBE_STREAM_HEAD - 4 + n);
	head[4] = (uint8_t)type;
	cube_msg_set_stream(head, stream);
	head[13] = fd;
	cube_poke_u32(head + 14, n);
}

size_t cube_msg_log_ends(uint8_t head[CUBE_LOG_HEAD], uint8_t tail[CUBE_LOG_TAIL],
			 const struct cube_msg_log_id *id, uint64_t offset, uint32_t n) {
	size_t tail_len = id->epoch ? CUBE_LOG_TAIL : 0;
	cube_assert(n <= CUBE_DATA_MAX);
	cube_poke_u32(head, CUBE_LOG_HEAD - 4 + n + (uint32_t)tail_len);
	head[4] = CUBE_MSG_LOG;
	poke_u64(head + 5, id->task);
	cube_poke_u32(head + 13, id->attempt);
	head[17] = id->stream;
	poke_u64(head + 18, offset);
	cube_poke_u32(head + 26, n);
	poke_u64(tail, id->epoch);
	return tail_len;
}
