/* Untaken stdout bytes: see outlet.h. */
#include "outlet.h"

void cube_outlet_init(struct cube_outlet *o, const struct cube_transport_events *events, void *arg,
		      const bool *gone) {
	*o = (struct cube_outlet){.events = events, .arg = arg, .gone = gone};
	cube_buf_init(&o->held, CUBE_OUTLET_MAX);
}

void cube_outlet_done(struct cube_outlet *o) {
	cube_buf_done(&o->held);
}

size_t cube_outlet_room(const struct cube_outlet *o) {
	return cube_buf_room(&o->held);
}

static size_t take(struct cube_outlet *o, const uint8_t *bytes, size_t n) {
	size_t taken = o->events->on_out(o->arg, bytes, n);
	return taken < n ? taken : n;
}

void cube_outlet_offer(struct cube_outlet *o) {
	size_t n = cube_buf_len(&o->held);
	if (!n) return;
	size_t taken = take(o, cube_buf_data(&o->held), n);
	if (*o->gone) return;
	if (taken == n) cube_buf_clear(&o->held);
	else cube_buf_consume(&o->held, taken);
}

int cube_outlet_push(struct cube_outlet *o, const uint8_t *bytes, size_t n) {
	if (cube_buf_len(&o->held)) {
		int rc = cube_buf_add(&o->held, bytes, n);
		if (rc == 0) cube_outlet_offer(o);
		return rc;
	}
	size_t taken = take(o, bytes, n); /* the usual case: no copy */
	if (*o->gone || taken == n) return 0;
	return cube_buf_add(&o->held, bytes + taken, n - taken);
}

void cube_outlet_drop(struct cube_outlet *o) {
	cube_buf_clear(&o->held);
}
