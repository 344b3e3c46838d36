/* Masters: see master.h. One is a transport of child processes with a single line. */
#include "master.h"

#include <stdlib.h>
#include <unistd.h>

#include "process.h"
#include "cube/ssh_says.h"

enum { SSH_FAILED_STATUS = 255 };

struct cube_master {
	struct cube_ssh *ssh;
	struct cube_master_spec spec;
	struct cube_process *process;
	struct cube_ticket target, bastion; /* entered in this order */
	unsigned drops;                     /* in a row */
	struct cube_err dropped;            /* what the newest of them looked like */
	bool ready, over;
};

/* ---- one's turn -------------------------------------------------------------------------- */

static void leave(struct cube_master *m, enum cube_limit_end how) {
	cube_limit_leave(&m->bastion, how);
	cube_limit_leave(&m->target, how);
}

static void on_bastion(void *arg) {
	struct cube_master *m = arg;
	cube_process_go(m->process);
}

static bool enter_bastion(struct cube_master *m) {
	return !m->spec.jump_point ||
	       cube_limit_enter(m->ssh->limit, &m->bastion, m->spec.jump_point, on_bastion, m);
}

static void on_target(void *arg) {
	struct cube_master *m = arg;
	if (enter_bastion(m)) cube_process_go(m->process);
}

static bool master_enter(void *of) {
	struct cube_master *m = of;
	return cube_limit_enter(m->ssh->limit, &m->target, m->spec.point, on_target, m) &&
	       enter_bastion(m);
}

/* ---- the program ------------------------------------------------------------------------- */

/* ssh leaves a socket that is there alone and then has none. */
static int master_argv(void *of, const char *line, struct cube_strv *argv, struct cube_err *err) {
	struct cube_master *m = of;
	unlink(m->spec.path);
	cube_openssh_master_argv(m->spec.openssh, m->spec.path, argv);
	cube_askpass_next(m->spec.askpass);
	return 0;
}

static const char *const *master_envp(void *of) {
	const struct cube_master *m = of;
	return cube_askpass_envp(m->spec.askpass);
}

/* A person's answer is not used up for nothing: who was asked is not tried again. */
static uint64_t master_again(void *of, const struct cube_process_end *end) {
	struct cube_master *m = of;
	if (end->status != SSH_FAILED_STATUS || cube_askpass_asked(m->spec.askpass) ||
	    !cube_ssh_says_dropped(end->said, end->said_len))
		return 0;
	leave(m, CUBE_LIMIT_DROPPED);
	m->drops++;
	cube_ssh_says(end->said, end->said_len, &m->dropped);
	return cube_ssh_again_pause(m->drops, m->spec.proxied);
}

static int tell_dropped(const struct cube_master *m, struct cube_err *err) {
	return cube_fail(err, CUBE_ECONNECT,
			 "tried %u time%s: %.100s (too many logins at once or failed ones before, "
			 "see MaxStartups and PerSourcePenalties in sshd_config, or a firewall)",
			 m->drops, m->drops == 1 ? "" : "s", m->dropped.msg);
}

/* Whatever its status: it is to stay. */
static int master_judge(void *of, const struct cube_process_end *end, struct cube_err *err) {
	struct cube_master *m = of;
	leave(m, CUBE_LIMIT_DONE);
	if (!end->printed && m->drops && cube_ssh_says_dropped(end->said, end->said_len))
		return tell_dropped(m, err);
	int rc = cube_ssh_says(end->said, end->said_len, err);
	if (!end->printed)
		return rc == CUBE_EAUTH && cube_askpass_asked(m->spec.askpass)
			       ? (err->code = CUBE_ELOGIN)
			       : rc;
	err->code = CUBE_ECONNECT;
	return cube_wrap(err, "the connection broke");
}

static void master_late(void *of, const struct cube_process_end *end, struct cube_err *err) {
	const struct cube_master *m = of;
	struct cube_err says = {0};
	if (m->drops) tell_dropped(m, &says);
	else if (end->said_len) cube_ssh_says(end->said, end->said_len, &says);
	cube_ssh_says_late(m->spec.openssh->host, "ssh", m->spec.timeout_ns, says.msg, err);
}

static void master_stop(void *of) {
	leave(of, CUBE_LIMIT_DONE);
}

static const struct cube_process_kind MASTER = {
	.name = "master",
	.mortal = true,
	.argv = master_argv,
	.envp = master_envp,
	.enter = master_enter,
	.again = master_again,
	.judge = master_judge,
	.late = master_late,
	.stop = master_stop,
	.free = free,
};

/* ---- what comes of it -------------------------------------------------------------------- */

static void tell_over(struct cube_master *m, const struct cube_err *err) {
	if (m->over) return;
	m->over = true;
	m->ready = false;
	m->spec.fn(m->spec.arg, err);
}

static void on_open(void *arg) {
	struct cube_master *m = arg;
	struct cube_transport *t = cube_process_transport(m->process);
	struct cube_err err;
	if (cube_transport_exec(t, "", &err) < 0) tell_over(m, &err);
	else cube_transport_end_write(t);
}

static size_t on_out(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_master *m = arg;
	if (m->ready || m->over) return n;
	leave(m, CUBE_LIMIT_LOGIN);
	m->ready = true;
	m->spec.fn(m->spec.arg, NULL);
	return n;
}

static void on_end(void *arg, int status) {
	struct cube_err err;
	cube_fail(&err, CUBE_EINTERNAL, "ssh ended with status %d", status); /* judge fails it */
	tell_over(arg, &err);
}

static void on_fail(void *arg, const struct cube_err *err) {
	tell_over(arg, err);
}

static const struct cube_transport_events EVENTS = {
	.on_open = on_open, .on_out = on_out, .on_end = on_end, .on_fail = on_fail};

struct cube_master *cube_master_new(struct cube_ssh *ssh, const struct cube_master_spec *spec) {
	struct cube_master *m = cube_alloc(sizeof *m);
	m->ssh = ssh;
	m->spec = *spec;
	struct cube_process_spec process = {.kind = &MASTER,
					    .of = m,
					    .limit_ns = spec->timeout_ns,
					    .dying = &ssh->dying,
					    .events = &EVENTS,
					    .arg = m};
	m->process = cube_process_new(ssh->loop, &process);
	cube_process_open_soon(m->process);
	return m;
}

bool cube_master_ready(const struct cube_master *m) {
	return m && m->ready;
}

void cube_master_hold(struct cube_master *m, bool hold) {
	cube_process_hold(m->process, hold);
}

void cube_master_end(struct cube_master *m) {
	cube_process_end(m->process);
}

void cube_master_free(struct cube_master *m) {
	if (!m) return;
	m->over = true;
	unlink(m->spec.path); /* as it does itself, if it is given the time */
	cube_transport_free(cube_process_transport(m->process));
}
