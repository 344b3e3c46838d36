/* Requests to the ssh agent: see ssh_agent.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/listen.h"
#include "cube/mem.h"
#include "cube/bufio.h"
#include "ssh_agent.h"

enum { REPLY_MAX = 256 * 1024, REQUEST_MAX = 256 * 1024, KEYS_MAX = 2048 };
enum { LIST = 11, LIST_REPLY = 12, SIGN = 13, SIGN_REPLY = 14 };
/* sshd gives two minutes for a login. */
static const uint64_t LIST_NS = 5 * CUBE_NS_PER_S, SIGN_NS = 100 * CUBE_NS_PER_S,
		      SLOW_NS = CUBE_NS_PER_S, QUEUE_NS = 20 * CUBE_NS_PER_MS;

struct cube_agent {
	struct cube_loop *loop;
	struct cube_agent_load *load;
	char *path;
	const struct cube_agent_events *events;
	void *arg;
	struct cube_bufio *stream;
	struct cube_timer *slow, *limit, *queue;
	enum cube_agent_state state;
	struct cube_agent_key *keys;
	size_t nkeys;
	struct cube_buf reply; /* the newest signature's */
	const uint8_t *signature;
	size_t signature_len;
};

/* ---- words -------------------------------------------------------------------------------- */

static uint32_t number(const uint8_t *p) {
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void write_number(uint8_t p[4], size_t n) {
	for (int i = 0; i < 4; i++) p[i] = (uint8_t)(n >> (24 - 8 * i));
}

static int put_number(struct cube_buf *out, size_t n) {
	uint8_t bytes[4];
	write_number(bytes, n);
	return cube_buf_add(out, bytes, sizeof bytes);
}

static int put_string(struct cube_buf *out, const void *bytes, size_t n) {
	int rc = put_number(out, n);
	return rc < 0 ? rc : cube_buf_add(out, bytes, n);
}

/* The string at *p, which moves behind it; NULL where there is none. */
static const uint8_t *take_string(const uint8_t **p, const uint8_t *end, size_t *ret_n) {
	if (end - *p < 4 || number(*p) > (size_t)(end - *p - 4)) return NULL;
	const uint8_t *s = *p + 4;
	*ret_n = number(*p);
	*p = s + *ret_n;
	return s;
}

/* ---- replies ------------------------------------------------------------------------------ */

static void set_state(struct cube_agent *a, enum cube_agent_state state) {
	if (a->state == CUBE_AGENT_SIGNING) a->load->signing--;
	if (state == CUBE_AGENT_SIGNING) a->load->signing++;
	a->state = state;
}

static void become(struct cube_agent *a, enum cube_agent_state state) {
	cube_timer_disarm(a->slow);
	cube_timer_disarm(a->limit);
	cube_timer_disarm(a->queue);
	set_state(a, state);
	a->events->changed(a->arg);
}

/* What still comes is not read: it would be taken for the next answer. */
static void lose(struct cube_agent *a) {
	cube_bufio_free(a->stream);
	a->stream = NULL;
	become(a, CUBE_AGENT_GONE);
}

static bool take_keys(struct cube_agent *a, const uint8_t *p, const uint8_t *end) {
	size_t n, note;
	if (end - p < 4 || number(p) > KEYS_MAX) return false;
	size_t count = number(p);
	p += 4;
	a->keys = cube_realloc_array(NULL, count + 1, sizeof *a->keys);
	for (; a->nkeys < count; a->nkeys++) {
		const uint8_t *blob = take_string(&p, end, &n);
		if (!blob || !take_string(&p, end, &note)) return false;
		a->keys[a->nkeys] = (struct cube_agent_key){.blob = cube_alloc(n + 1), .n = n};
		memcpy(a->keys[a->nkeys].blob, blob, n);
	}
	return true;
}

static bool take_signature(struct cube_agent *a, const uint8_t *p, const uint8_t *end) {
	size_t n, name;
	const uint8_t *whole = take_string(&p, end, &n);
	if (!whole) return false;
	cube_buf_clear(&a->reply);
	if (cube_buf_add(&a->reply, whole, n) < 0) return false;
	const uint8_t *at = cube_buf_data(&a->reply), *stop = at + n;
	if (!take_string(&at, stop, &name)) return false;
	a->signature = take_string(&at, stop, &a->signature_len);
	return a->signature != NULL;
}

static void take_reply(struct cube_agent *a, const uint8_t *p, size_t n) {
	int kind = n ? *p : 0;
	const uint8_t *end = p + n;
	a->load->answered = cube_loop_now(a->loop);
	if (a->state == CUBE_AGENT_LISTING)
		become(a, kind == LIST_REPLY && take_keys(a, p + 1, end) ? CUBE_AGENT_IDLE
									 : CUBE_AGENT_GONE);
	else if (a->state == CUBE_AGENT_SIGNING)
		become(a, kind == SIGN_REPLY && take_signature(a, p + 1, end) ? CUBE_AGENT_SIGNED
									      : CUBE_AGENT_REFUSED);
}

static size_t on_data(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_agent *a = arg;
	size_t used = 0;
	while (n - used >= 4) {
		size_t len = number(bytes + used);
		if (len > REPLY_MAX) {
			lose(a);
			return n;
		}
		if (n - used - 4 < len) break;
		take_reply(a, bytes + used + 4, len);
		used += 4 + len;
	}
	return used;
}

static void on_closed(void *arg, const struct cube_err *err) {
	lose(arg);
}

/* ssh-agent serves nobody while it asks a person for one of us. */
static void on_limit(void *arg) {
	struct cube_agent *a = arg;
	if (a->state == CUBE_AGENT_LISTING && a->load->signing) cube_timer_after(a->limit, LIST_NS);
	else lose(a);
}

/* One that answers others has much to do, and waits for nobody. */
static void on_slow(void *arg) {
	struct cube_agent *a = arg;
	uint64_t busy = a->load->answered + SLOW_NS;
	if (busy > cube_loop_now(a->loop)) cube_timer_arm(a->slow, busy);
	else a->events->slow(a->arg);
}

/* ---- requests ----------------------------------------------------------------------------- */

static void ask(struct cube_agent *a, const struct cube_buf *body, enum cube_agent_state state,
		uint64_t limit_ns) {
	uint8_t head[4];
	write_number(head, cube_buf_len(body));
	struct iovec iov[2] = {{head, sizeof head},
			       {(void *)cube_buf_data(body), cube_buf_len(body)}};
	set_state(a, state);
	cube_timer_after(a->limit, limit_ns);
	if (state == CUBE_AGENT_SIGNING) cube_timer_after(a->slow, SLOW_NS);
	if (!a->stream || cube_bufio_writev(a->stream, iov, 2) < 0) cube_timer_after(a->limit, 0);
}

void cube_agent_sign(struct cube_agent *a, const struct cube_agent_key *key, const void *data,
		     size_t n, uint32_t flags) {
	struct cube_buf body;
	a->signature = NULL;
	cube_buf_init(&body, REQUEST_MAX);
	cube_buf_add(&body, &(uint8_t){SIGN}, 1);
	put_string(&body, key->blob, key->n);
	put_string(&body, data, n);
	put_number(&body, flags);
	ask(a, &body, CUBE_AGENT_SIGNING, SIGN_NS);
	cube_buf_done(&body);
}

/* ---- its life ----------------------------------------------------------------------------- */

/* 0 or errno: EAGAIN while its queue is full, as when hundreds of hosts want it at once. */
static int begin(struct cube_agent *a) {
	static const struct cube_bufio_ops OPS = {.data = on_data, .closed = on_closed};
	static const struct cube_bufio_limits LIMITS = {.max_in = REPLY_MAX + 4,
							.max_out = REQUEST_MAX + 4};
	struct cube_buf body;
	int fd = -1, sys = cube_connect_unix_now(a->path, &fd);
	if (sys) return sys;
	if (cube_bufio_new(a->loop, fd, fd, &OPS, a, &LIMITS, &a->stream, NULL) < 0) return EIO;
	cube_buf_init(&body, 1);
	cube_buf_add(&body, &(uint8_t){LIST}, 1);
	ask(a, &body, CUBE_AGENT_LISTING, LIST_NS);
	cube_buf_done(&body);
	return 0;
}

/* The kernel does not tell when the queue is shorter. */
static void on_queue(void *arg) {
	struct cube_agent *a = arg;
	int sys = begin(a);
	if (sys == EAGAIN) cube_timer_after(a->queue, QUEUE_NS);
	else if (sys) lose(a);
}

struct cube_agent *cube_agent_open(struct cube_loop *loop, const char *path,
				   struct cube_agent_load *load,
				   const struct cube_agent_events *events, void *arg) {
	struct cube_agent *a = cube_alloc(sizeof *a);
	*a = (struct cube_agent){.loop = loop, .load = load, .events = events, .arg = arg};
	a->path = cube_strdup(path);
	a->state = CUBE_AGENT_LISTING;
	cube_buf_init(&a->reply, REPLY_MAX);
	a->limit = cube_timer_add(loop, on_limit, a);
	a->slow = cube_timer_add(loop, on_slow, a);
	a->queue = cube_timer_add(loop, on_queue, a);
	int sys = begin(a);
	if (sys == EAGAIN) {
		cube_timer_after(a->limit, LIST_NS);
		cube_timer_after(a->queue, QUEUE_NS);
	} else if (sys) {
		cube_agent_free(a);
		return NULL;
	}
	return a;
}

void cube_agent_free(struct cube_agent *a) {
	if (!a) return;
	set_state(a, CUBE_AGENT_GONE);
	cube_bufio_free(a->stream);
	cube_timer_del(a->limit);
	cube_timer_del(a->slow);
	cube_timer_del(a->queue);
	for (size_t i = 0; i < a->nkeys; i++) free(a->keys[i].blob);
	free(a->keys);
	cube_buf_done(&a->reply);
	free(a->path);
	free(a);
}

enum cube_agent_state cube_agent_state(const struct cube_agent *a) {
	return a->state;
}

const struct cube_agent_key *cube_agent_key(const struct cube_agent *a, size_t i) {
	return i < a->nkeys ? &a->keys[i] : NULL;
}

const uint8_t *cube_agent_signature(const struct cube_agent *a, size_t *ret_n) {
	*ret_n = a->signature_len;
	return a->signature;
}
