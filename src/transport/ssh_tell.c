/* What becomes of a connection is recorded and told here, and nothing is done about it. */
#include "ssh_priv.h"

const char *cube_ssh_where(const struct ssh_conn *c) {
	return c->dial ? cube_dial_where(c->dial) : c->host;
}

void cube_ssh_step(struct ssh_conn *c, enum cube_transport_step step) {
	c->step = step;
	if (c->events->on_step) c->events->on_step(c->arg, step);
}

bool cube_ssh_fact(struct ssh_conn *c, enum cube_transport_fact fact, const char *text) {
	bool told = c->facts & 1u << fact; /* on a connection that was dropped before */
	c->facts |= 1u << fact;
	if (c->events->on_fact && !told) c->events->on_fact(c->arg, fact, text);
	return cube_ssh_over(c);
}

void cube_ssh_fail(struct ssh_conn *c, const struct cube_err *err) {
	struct cube_err copy = *err;
	if (cube_ssh_over(c)) return;
	c->state = SSH_FAILED;
	c->owner->release(c);
	c->events->on_fail(c->arg, &copy);
}

/* ---- the time for opening ---------------------------------------------------------------- */

void cube_ssh_clock_set(struct ssh_conn *c, uint64_t timeout_ns) {
	c->deadline = cube_loop_now(c->ssh->loop) + timeout_ns;
	cube_timer_arm(c->timer, c->deadline);
}

void cube_ssh_clock_stop(struct ssh_conn *c) {
	uint64_t now = cube_loop_now(c->ssh->loop);
	if (c->clock_stands || c->state >= SSH_IDLE) return;
	c->clock_stands = true;
	c->time_left = c->deadline > now ? c->deadline - now : 0;
	cube_timer_disarm(c->timer);
}

void cube_ssh_clock_go(struct ssh_conn *c) {
	if (!c->clock_stands) return;
	c->clock_stands = false;
	cube_ssh_clock_set(c, c->time_left);
}

void cube_ssh_clock_least(struct ssh_conn *c, uint64_t ns) {
	if (!c->clock_stands && c->deadline < cube_loop_now(c->ssh->loop) + ns)
		cube_ssh_clock_set(c, ns);
}

/* ---- work to be done --------------------------------------------------------------------- */

static void kicked(void *arg) {
	struct ssh_conn *c = arg;
	c->kicked = false;
	if (!cube_ssh_over(c)) c->owner->pump(c);
}

void cube_ssh_kick(struct ssh_conn *c) {
	if (c->kicked || cube_ssh_over(c)) return;
	c->kicked = true;
	cube_loop_defer(c->ssh->loop, kicked, c);
}
