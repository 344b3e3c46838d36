/* Lines by OpenSSH's ssh: a master logs in (master.h), and each line goes over its socket.
 *
 * When a line ends with 255 and said nothing, either its command did so or the connection broke,
 * and the ssh of the line does not tell which. The master does: it is asked (by its socket), and
 * where it is on its way out its own end is waited for, which brings the reason along. */
#include "openssh_transport.h"

#include <stdlib.h>
#include <string.h>

#include "askpass.h"
#include "cube/clock.h"
#include "master.h"
#include "cube/hop.h"
#include "cube/openssh.h"
#include "process.h"
#include "cube/route.h"
#include "resolve.h"
#include "sockets.h"
#include "ssh_shared.h"
#include "cube/ssh_says.h"

enum { SSH_FAILED_STATUS = 255, REFUSALS_MAX = 6 };
static const uint64_t REFUSED_PAUSE_NS = 10 * CUBE_NS_PER_MS;

struct lines {
	struct cube_ssh *ssh;
	struct cube_process *process;
	struct cube_openssh openssh;
	uint64_t timeout_ns;
	struct cube_ssh_lookup *lookup;
	struct cube_route *route;
	struct cube_askpass *askpass;
	char *point, *jump_point; /* at the limiter: the target's, the jump host's or NULL */
	bool proxied;
	struct cube_master *master; /* NULL: none */
	char *path;                 /* of its socket */
	char *users;                /* the socket of the user's own master, or NULL */
	char *jumps;                /* waiting for whose that is: what comes then, or NULL */
	bool by_users;              /* the line goes over that one */
	bool served;                /* a line has run on this connection */
	unsigned refusals;          /* in a row */
	bool lost;                  /* the master went, and why */
	struct cube_err why;
	const struct cube_transport_events *events;
	void *arg;
};

/* ---- the connection ---------------------------------------------------------------------- */

static void on_master(void *arg, const struct cube_err *err) {
	struct lines *l = arg;
	if (!err) {
		cube_process_go(l->process);
		return;
	}
	bool waits = cube_process_waits(l->process);
	l->lost = true;
	l->why = *err;
	cube_master_free(l->master);
	l->master = NULL;
	if (waits) cube_process_fail(l->process, err);
	else cube_process_known(l->process);
}

static void log_in(struct lines *l) {
	struct cube_master_spec spec = {.openssh = &l->openssh,
					.path = l->path,
					.point = l->point,
					.jump_point = l->jump_point,
					.proxied = l->proxied,
					.askpass = l->askpass,
					.timeout_ns = l->timeout_ns,
					.fn = on_master,
					.arg = l};
	l->served = false;
	l->master = cube_master_new(l->ssh, &spec);
}

/* The user's own master is looked at before each line: it comes and goes. */
static bool lines_enter(void *of) {
	struct lines *l = of;
	l->lost = false;
	if (cube_master_ready(l->master)) return true;
	l->by_users = !l->master && l->users && cube_sockets_lives(l->users);
	if (!l->master && !l->by_users) log_in(l);
	return l->by_users;
}

static int lines_argv(void *of, const char *line, struct cube_strv *argv, struct cube_err *err) {
	const struct lines *l = of;
	cube_openssh_argv(&l->openssh, l->by_users ? l->users : l->path, line, argv);
	return 0;
}

static const char *const *lines_envp(void *of) {
	const struct lines *l = of;
	return cube_askpass_envp(l->askpass);
}

/* ---- the end of a line ------------------------------------------------------------------- */

static bool lines_known(void *of, const struct cube_process_end *end) {
	struct lines *l = of;
	if (end->status != SSH_FAILED_STATUS || !l->master || cube_sockets_lives(l->path))
		return true;
	cube_master_end(l->master); /* if its socket is all that is gone */
	return false;
}

/* sshd forgets a closed session in a later turn of its own loop: where MaxSessions is 1 the next
 * one may come too early. */
static uint64_t refused_early(struct lines *l) {
	return l->served && l->refusals < REFUSALS_MAX ? REFUSED_PAUSE_NS << l->refusals++ : 0;
}

static uint64_t lines_again(void *of, const struct cube_process_end *end) {
	struct lines *l = of;
	struct cube_err err;
	if (end->status != SSH_FAILED_STATUS) return 0;
	bool refused = cube_ssh_says_refused(end->said, end->said_len, &err);
	bool none = cube_ssh_says_no_master(end->said, end->said_len);
	if (l->by_users && (refused || none)) { /* it has no room, or went: one of our own then */
		free(l->users);
		l->users = NULL;
		return 1;
	}
	/* There are servers with one session for a connection: they cost a login for each line, and
	 * that they hang up may be noticed only when the next line is on its way. Once: what has
	 * served no line yet is not given up for another. */
	if (l->lost && l->served) return 1;
	return refused && !l->lost ? refused_early(l) : 0;
}

static int lines_judge(void *of, const struct cube_process_end *end, struct cube_err *err) {
	struct lines *l = of;
	l->refusals = 0;
	if (end->status == SSH_FAILED_STATUS) {
		if (l->lost) {
			*err = l->why;
			return err->code;
		}
		if (!end->printed && cube_ssh_says_refused(end->said, end->said_len, err))
			return err->code;
		if (!end->printed && cube_ssh_says_no_master(end->said, end->said_len))
			return cube_ssh_says(end->said, end->said_len, err);
		if (l->by_users && !cube_sockets_lives(l->users))
			return cube_fail(err, CUBE_ECONNECT,
					 "the connection broke: the ControlMaster is gone");
	}
	l->served = true;
	return 0;
}

static void lines_late(void *of, const struct cube_process_end *end, struct cube_err *err) {
	const struct lines *l = of;
	struct cube_err says = {0};
	if (end->said_len) cube_ssh_says(end->said, end->said_len, &says);
	cube_ssh_says_late(l->openssh.host, "ssh", l->timeout_ns, says.msg, err);
}

/* ---- questions --------------------------------------------------------------------------- */

static void on_ask(void *arg, const struct cube_ask *ask) {
	struct lines *l = arg;
	if (l->master) cube_master_hold(l->master, true);
	l->events->on_ask(l->arg, ask); /* may answer at once, or free us */
}

static void on_note(void *arg, const char *text) {
	struct lines *l = arg;
	if (!l->events->on_note) return;
	if (l->master) cube_master_hold(l->master, true);
	l->events->on_note(l->arg, text); /* may free us */
}

static void on_note_over(void *arg) {
	struct lines *l = arg;
	if (!l->events->on_note) return;
	if (l->master) cube_master_hold(l->master, false);
	if (l->events->on_step) l->events->on_step(l->arg, CUBE_STEP_AUTH);
}

static const struct cube_askpass_events ASKPASS_EVENTS = {
	.ask = on_ask, .note = on_note, .note_over = on_note_over};

/* ssh would send an empty password. */
static void unanswered(void *arg) {
	struct lines *l = arg;
	struct cube_err err;
	cube_fail(&err, CUBE_ELOGIN, "a person has to log in to %.80s", l->openssh.host);
	cube_process_fail(l->process, &err);
}

static void lines_answer(void *of, const char *const *answers) {
	struct lines *l = of;
	if (l->master) cube_master_hold(l->master, false);
	if (answers) cube_askpass_answer(l->askpass, answers[0]);
	else cube_loop_defer(l->ssh->loop, unanswered, l);
}

/* ---- its life ---------------------------------------------------------------------------- */

static void lines_settled(void *of) {
	struct lines *l = of;
	cube_askpass_forget(l->askpass);
}

static void lines_stop(void *of) {
	struct lines *l = of;
	cube_ssh_lookup_cancel(l->lookup);
	cube_route_cancel(l->route);
	cube_master_free(l->master);
	cube_askpass_free(l->askpass);
	l->lookup = NULL;
	l->route = NULL;
	l->master = NULL;
	l->askpass = NULL;
}

static void lines_free(void *of) {
	struct lines *l = of;
	cube_openssh_done(&l->openssh);
	free(l->point);
	free(l->jump_point);
	free(l->path);
	free(l->users);
	free(l->jumps);
	free(l);
}

static const struct cube_process_kind LINES = {
	.name = "command",
	.mortal = true,
	.argv = lines_argv,
	.envp = lines_envp,
	.enter = lines_enter,
	.again = lines_again,
	.known = lines_known,
	.judge = lines_judge,
	.late = lines_late,
	.answer = lines_answer,
	.settled = lines_settled,
	.stop = lines_stop,
	.free = lines_free,
};

/* ---- opening: what ssh's configuration says ---------------------------------------------- */

static void on_route(void *arg, const char *command, const struct cube_err *err) {
	struct lines *l = arg;
	l->route = NULL;
	if (err) {
		cube_process_fail(l->process, err);
		return;
	}
	l->openssh.proxy = cube_strdup(command);
	cube_process_open(l->process);
}

static void find_route(struct lines *l, const char *jumps) {
	const char *file = l->openssh.file;
	struct cube_route_spec spec = {.jumps = jumps,
				       .file = file,
				       .strict = l->openssh.strict,
				       .ask = l->openssh.ask,
				       .timeout_s = l->openssh.timeout_s};
	l->jump_point = cube_strf("jump %s\n%s", jumps, file ? file : "");
	l->route = cube_route_find(l->ssh->loop, l->ssh->configs, &spec, on_route, l);
}

/* Names as dial.c has them, so that those it logs in are counted as well. */
static void name_point(struct lines *l, const struct cube_ssh_config *config, const char *jumps) {
	char text[64];
	struct cube_addrs addrs;
	const char *host = config->hostname, *file = l->openssh.file;
	l->proxied = jumps || config->proxycommand;
	if (!l->proxied && cube_resolve_numeric(host, config->port, &addrs))
		host = cube_addr_text(&addrs.v[0], text, sizeof text);
	if (!jumps && config->proxycommand) l->point = cube_strdup(config->proxycommand);
	else if (!jumps) l->point = cube_strf("%s port %u", host, config->port);
	else
		l->point = cube_strf("%s port %u\n%s\n%s", host, config->port, jumps,
				     file ? file : "");
}

static void tell_config(struct lines *l, const struct cube_ssh_config *config) {
	if (!l->events->on_fact) return;
	cube_autofree char *text = cube_ssh_config_fact(config);
	l->events->on_fact(l->arg, CUBE_FACT_CONFIG, text);
}

static void go_on(struct lines *l) {
	if (l->jumps) find_route(l, l->jumps);
	else cube_process_open(l->process);
}

static void ask_config(struct lines *l, const char *user, uint16_t port, cube_ssh_config_fn *fn) {
	struct cube_ssh_question q = {.host = l->openssh.host,
				      .user = user,
				      .file = l->openssh.file,
				      .jump = l->openssh.jump,
				      .port = port,
				      .options = &l->openssh.options};
	l->lookup = cube_ssh_configs_ask(l->ssh->configs, &q, fn, l);
}

static void not_theirs(struct lines *l) {
	free(l->users);
	l->users = NULL;
}

static void on_other_port(void *arg, const struct cube_ssh_config *config,
			  const struct cube_err *err) {
	struct lines *l = arg;
	l->lookup = NULL;
	if (err || (config->controlpath && !strcmp(config->controlpath, l->users))) not_theirs(l);
	go_on(l);
}

/* A socket that would be another user's just as well is not told apart by ssh: whose login is
 * behind it nobody knows. The same for a port that was asked for. */
static void on_other_user(void *arg, const struct cube_ssh_config *config,
			  const struct cube_err *err) {
	struct lines *l = arg;
	uint16_t port = l->openssh.port;
	l->lookup = NULL;
	if (err || (config->controlpath && !strcmp(config->controlpath, l->users))) not_theirs(l);
	if (l->users && port)
		ask_config(l, l->openssh.user, port == 1 ? 2 : port - 1, on_other_port);
	else go_on(l);
}

static void on_config(void *arg, const struct cube_ssh_config *config, const struct cube_err *err) {
	struct lines *l = arg;
	const char *jumps = err ? NULL : config->proxyjump;
	l->lookup = NULL;
	if (err) {
		cube_process_fail(l->process, err);
		return;
	}
	if (jumps && cube_jump_to_itself(jumps, l->openssh.host, config)) jumps = NULL;
	cube_openssh_config(&l->openssh, config);
	cube_askpass_target(l->askpass, config->hostname);
	if (config->controlpath && !l->openssh.identity &&
	    cube_openssh_socket_ok(config->controlpath))
		l->users = cube_strdup(config->controlpath);
	name_point(l, config, jumps);
	l->jumps = cube_strdup(jumps);
	tell_config(l, config);
	if (l->users) ask_config(l, "cube-asks-for-another", l->openssh.port, on_other_user);
	else go_on(l);
}

/* ssh reads its configuration itself; what it is asked for here is what our own arguments would
 * overrule otherwise, and whom it would meet. */
static void begin(struct lines *l) {
	ask_config(l, l->openssh.user, l->openssh.port, on_config);
}

int cube_openssh_transport(struct cube_ssh *ssh, const struct cube_target *target,
			   const struct cube_transport_events *events, void *arg,
			   struct cube_transport **ret, struct cube_err *err) {
	bool ask = target->ask && events->on_ask;
	struct lines *l = cube_alloc(sizeof *l);
	l->ssh = ssh;
	l->timeout_ns = target->timeout_ns;
	l->events = events;
	l->arg = arg;
	cube_openssh_init(&l->openssh, target);
	l->openssh.ask = ask;
	int rc = cube_sockets_next(ssh->sockets, &l->path, err);
	if (rc == 0)
		rc = cube_askpass_new(ssh->loop, ask ? &ASKPASS_EVENTS : NULL, l, &l->askpass, err);
	if (rc < 0) {
		lines_free(l);
		return rc;
	}
	struct cube_process_spec spec = {.kind = &LINES,
					 .of = l,
					 .limit_ns = target->timeout_ns,
					 .dying = &ssh->dying,
					 .events = events,
					 .arg = arg};
	l->process = cube_process_new(ssh->loop, &spec);
	begin(l);
	*ret = cube_process_transport(l->process);
	return 0;
}
