/* What was received goes through the state that the connection is in, as far as it comes. */
#include <errno.h>

#include "ssh_priv.h"

static void opened(struct ssh_conn *c) {
	cube_timer_disarm(c->timer);
	cube_dial_logged_in(c->dial);
	c->state = SSH_IDLE;
	cube_ssh_step(c, CUBE_STEP_OPEN);
	if (!c->gone) c->events->on_open(c->arg);
}

/* One state's work; true when the next one's may follow at once. */
static bool work(struct ssh_conn *c) {
	switch (c->state) {
	case SSH_KEX:
		if (cube_ssh_kex_pump(c) != 0) return false;
		c->state = SSH_AUTH;
		cube_ssh_step(c, CUBE_STEP_AUTH);
		return true;
	case SSH_AUTH:
		if (cube_ssh_auth_pump(c) != 0) return false;
		opened(c);
		return true;
	case SSH_CHANNEL:
	case SSH_EXEC:
	case SSH_RUN:
	case SSH_CLOSE: return cube_ssh_channel_pump(c);
	case SSH_CARRY: c->rider->pump(c->rider_arg); return false;
	default: return false;
	}
}

/* All that was received is with libssh2, or waits in c->in for the next pump. */
static void keep_rest(struct ssh_conn *c) {
	if (c->fed_len && cube_buf_add(&c->in, c->fed, c->fed_len) < 0) {
		c->link_sys = ENOMEM;
		c->link_eof = true;
	}
	c->fed_len = 0;
}

static bool output_waits(const struct ssh_conn *c) {
	return c->state == SSH_FLUSH || (c->state == SSH_RUN && !cube_outlet_room(&c->outlet));
}

void cube_ssh_pump(struct ssh_conn *c) {
	while (!cube_ssh_over(c) && c->session && work(c)) {}
	if (cube_ssh_over(c) || !c->session) return;
	keep_rest(c);
	cube_ssh_link_flush(c);
	if (c->state == SSH_CARRY) c->rider->flushed(c->rider_arg);
	if (c->link_eof && !output_waits(c)) {
		cube_ssh_link_fail(c, NULL);
		return;
	}
	cube_ssh_link_refresh(c);
}
