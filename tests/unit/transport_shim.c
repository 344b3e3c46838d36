/* Faults in front of a transport: see transport_shim.h. */
#include "transport_shim.h"

#include <stdlib.h>

#include "cube/buf.h"
#include "cube/mem.h"

enum { HELD_MAX = 256 * 1024, QUEUE_MAX = 1024 * 1024, LOW = 64 * 1024 };

struct shim {
	struct cube_transport base;
	struct cube_transport *inner;
	struct cube_loop *loop;
	const struct cube_transport_events *events;
	void *arg;
	struct cube_shim_plan plan;
	struct cube_timer *timer;
	struct cube_buf held, queue;
	uint64_t was_read, was_written;
	uint32_t random;
	unsigned calm; /* empty turns still to go */
	int status;
	bool ended, ending, end_told, above, inner_waits, stuck, failed, gone;
};

static struct shim *shim_of(const void *t) {
	return (struct shim *)t;
}

static uint32_t rnd(struct shim *s, uint32_t below) {
	s->random ^= s->random << 13;
	s->random ^= s->random >> 17;
	s->random ^= s->random << 5;
	return below ? s->random % below : 0;
}

static void wake(struct shim *s) {
	if (s->gone || s->failed || cube_timer_armed(s->timer)) return;
	if (!s->calm && s->plan.storm) s->calm = rnd(s, s->plan.storm + 1);
	cube_timer_after(s->timer, 0);
}

static size_t piece(struct shim *s, size_t n) {
	if (!s->plan.piece) return n;
	size_t p = 1 + rnd(s, (uint32_t)s->plan.piece);
	return p < n ? p : n;
}

static void cut(struct shim *s) {
	struct cube_err err;
	s->failed = true;
	cube_transport_free(s->inner);
	s->inner = NULL;
	cube_fail(&err, CUBE_ECONNECT, "the shim cut the link");
	s->events->on_fail(s->arg, &err);
}

/* ---- from the command -------------------------------------------------------------------- */

static void deliver(struct shim *s) {
	size_t n = cube_buf_len(&s->held);
	if (!n || s->stuck) return;
	n = piece(s, n);
	if (s->plan.cut_read - s->was_read < n) n = (size_t)(s->plan.cut_read - s->was_read);
	/* The consumer sees a window that starts at its first untaken byte. */
	size_t taken = n ? s->events->on_out(s->arg, cube_buf_data(&s->held), n) : 0;
	if (s->gone) return;
	cube_buf_consume(&s->held, taken);
	s->was_read += taken;
	/* It may need a longer piece: widen until all is shown, then wait for resume. */
	if (!taken && n == cube_buf_len(&s->held)) s->stuck = true;
	if (s->was_read >= s->plan.cut_read) cut(s);
}

static size_t in_out(void *arg, const uint8_t *bytes, size_t n) {
	struct shim *s = shim_of(arg);
	size_t room = cube_buf_room(&s->held), take = piece(s, n);
	if (take > room) take = room;
	if (take) cube_buf_add(&s->held, bytes, take);
	s->stuck = false;
	if (take < n) s->inner_waits = true;
	wake(s);
	return take;
}

static void in_end(void *arg, int status) {
	struct shim *s = shim_of(arg);
	s->ended = true;
	s->status = status;
	wake(s);
}

static void in_err(void *arg, const uint8_t *bytes, size_t n) {
	struct shim *s = shim_of(arg);
	if (s->events->on_err) s->events->on_err(s->arg, bytes, n);
}

static void in_step(void *arg, enum cube_transport_step step) {
	struct shim *s = shim_of(arg);
	if (s->events->on_step) s->events->on_step(s->arg, step);
}

static void in_open(void *arg) {
	struct shim *s = shim_of(arg);
	s->events->on_open(s->arg);
}

static void in_fail(void *arg, const struct cube_err *err) {
	struct shim *s = shim_of(arg);
	s->failed = true;
	s->events->on_fail(s->arg, err);
}

static void in_drained(void *arg) {
	wake(shim_of(arg));
}

/* ---- to the command ---------------------------------------------------------------------- */

static void send_on(struct shim *s) {
	size_t n = cube_buf_len(&s->queue);
	if (n) {
		n = piece(s, n);
		if (s->plan.cut_write - s->was_written < n)
			n = (size_t)(s->plan.cut_write - s->was_written);
		if (n && s->inner &&
		    cube_transport_write(s->inner, cube_buf_data(&s->queue), n) != CUBE_ETOOBIG) {
			cube_buf_consume(&s->queue, n);
			s->was_written += n;
		}
		if (s->was_written >= s->plan.cut_write) {
			cut(s);
			return;
		}
	}
	if (!cube_buf_len(&s->queue) && s->ending && !s->end_told) {
		s->end_told = true;
		cube_transport_end_write(s->inner);
	}
	if (s->above && cube_buf_len(&s->queue) <= LOW) {
		s->above = false;
		if (s->events->on_drained) s->events->on_drained(s->arg);
	}
}

static void on_timer(void *arg) {
	struct shim *s = arg;
	if (s->calm) {
		s->calm--;
		cube_timer_after(s->timer, 0);
		return;
	}
	deliver(s);
	if (!s->gone && !s->failed) send_on(s);
	if (s->gone || s->failed) return;
	if (s->inner_waits && cube_buf_len(&s->held) < HELD_MAX / 2) {
		s->inner_waits = false;
		cube_transport_resume(s->inner);
	}
	if (s->ended && !cube_buf_len(&s->held)) {
		s->ended = false;
		cube_buf_clear(&s->queue);
		s->events->on_end(s->arg, s->status);
		return;
	}
	if ((cube_buf_len(&s->held) && !s->stuck) || cube_buf_len(&s->queue)) wake(s);
}

static int shim_exec(struct cube_transport *t, const char *line, struct cube_err *err) {
	struct shim *s = shim_of(t);
	s->ending = s->end_told = s->stuck = false;
	return cube_transport_exec(s->inner, line, err);
}

static int shim_write(struct cube_transport *t, const void *bytes, size_t n) {
	struct shim *s = shim_of(t);
	if (s->failed || s->ending) return CUBE_ECONFLICT;
	int rc = cube_buf_add(&s->queue, bytes, n);
	if (rc < 0 || cube_buf_len(&s->queue) > LOW) s->above = true;
	wake(s);
	return rc;
}

static size_t shim_queued(const struct cube_transport *t) {
	return cube_buf_len(&shim_of(t)->queue);
}

static void shim_end_write(struct cube_transport *t) {
	struct shim *s = shim_of(t);
	s->ending = true;
	wake(s);
}

static void shim_resume(struct cube_transport *t) {
	struct shim *s = shim_of(t);
	s->stuck = false;
	wake(s);
}

static void destroy(void *arg) {
	struct shim *s = arg;
	cube_buf_done(&s->held);
	cube_buf_done(&s->queue);
	free(s);
}

static void shim_free(struct cube_transport *t) {
	struct shim *s = shim_of(t);
	if (s->gone) return;
	s->gone = true;
	cube_transport_free(s->inner);
	cube_timer_del(s->timer);
	s->timer = NULL;
	cube_loop_defer(s->loop, destroy, s);
}

static const struct cube_transport_ops OPS = {
	.name = "shim",
	.exec = shim_exec,
	.write = shim_write,
	.queued = shim_queued,
	.end_write = shim_end_write,
	.resume = shim_resume,
	.free = shim_free,
};

const struct cube_transport_events *cube_shim_events(void) {
	static const struct cube_transport_events EVENTS = {
		.on_step = in_step,
		.on_open = in_open,
		.on_out = in_out,
		.on_err = in_err,
		.on_drained = in_drained,
		.on_end = in_end,
		.on_fail = in_fail,
	};
	return &EVENTS;
}

struct cube_transport *cube_shim_new(struct cube_loop *loop, const struct cube_shim_plan *plan,
				     const struct cube_transport_events *events, void *arg) {
	struct shim *s = cube_alloc(sizeof *s);
	s->base.ops = &OPS;
	s->loop = loop;
	s->plan = *plan;
	s->random = plan->seed ? plan->seed : 1;
	s->events = events;
	s->arg = arg;
	s->timer = cube_timer_add(loop, on_timer, s);
	cube_buf_init(&s->held, HELD_MAX);
	cube_buf_init(&s->queue, QUEUE_MAX);
	return &s->base;
}

void cube_shim_attach(struct cube_transport *shim, struct cube_transport *inner) {
	shim_of(shim)->inner = inner;
}
