/* The command transport: a program a line, OpenSSH's ssh or one of a template. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "askpass.h"
#include "cube/text.h"
#include "hangup.h"
#include "openssh.h"
#include "process.h"
#include "route.h"
#include "ssh_priv.h"
#include "ssh_says.h"
#include "template.h"

enum { SSH_FAILED_STATUS = 255 };

struct command {
	struct cube_ssh *ssh;
	struct cube_process *process;
	char *host, *user, *name;
	uint16_t port;
	uint64_t timeout_ns;
	bool is_openssh, strict;
	struct cube_openssh openssh;
	struct cube_ssh_lookup *lookup;
	/* of a template only */
	struct cube_template template;
	struct cube_strv env;
	/* of openssh only */
	struct cube_askpass *askpass;
	struct cube_route *route;
	char *point, *jump_point; /* at the limiter: the target's, the jump host's or NULL */
	struct cube_ticket target, bastion; /* entered in this order */
	bool proxied;
	unsigned drops;          /* in a row */
	struct cube_err dropped; /* what the newest of them looked like */
	const struct cube_transport_events *events;
	void *arg;
};

/* ---- a line ------------------------------------------------------------------------------ */

static int command_argv(void *of, const char *line, struct cube_strv *argv, struct cube_err *err) {
	struct command *c = of;
	if (!c->is_openssh) {
		struct cube_template_values values = {
			.host = c->host, .user = c->user, .name = c->name, .port = c->port};
		return cube_template_fill(&c->template, &values, line, argv, err);
	}
	cube_openssh_argv(&c->openssh, line, argv);
	cube_askpass_next(c->askpass);
	return 0;
}

static const char *const *command_envp(void *of) {
	const struct command *c = of;
	return c->askpass ? cube_askpass_envp(c->askpass)
			  : (const char *const *)cube_strv_argv(&c->env);
}

/* srun keeps output back until a newline comes, which our frames have not (srun(1) -u). Nobody else
 * minds. */
static void make_environment(struct command *c) {
	for (char **e = environ; *e; e++)
		if (strncmp(*e, "SLURM_UNBUFFEREDIO=", 19) != 0) cube_strv_add(&c->env, *e);
	cube_strv_add(&c->env, "SLURM_UNBUFFEREDIO=1");
}

/* ---- one's turn -------------------------------------------------------------------------- */

/* Each line is another login. sshd counts those that are under way, ours by libssh2 too. */

static void leave(struct command *c, enum cube_limit_end how) {
	cube_limit_leave(&c->bastion, how);
	cube_limit_leave(&c->target, how);
}

static void on_bastion(void *arg) {
	struct command *c = arg;
	cube_process_go(c->process);
}

static bool enter_bastion(struct command *c) {
	return !c->jump_point ||
	       cube_limit_enter(c->ssh->limit, &c->bastion, c->jump_point, on_bastion, c);
}

static void on_target(void *arg) {
	struct command *c = arg;
	if (enter_bastion(c)) cube_process_go(c->process);
}

static bool command_enter(void *of) {
	struct command *c = of;
	if (!c->point) return true;
	return cube_limit_enter(c->ssh->limit, &c->target, c->point, on_target, c) &&
	       enter_bastion(c);
}

static void command_begun(void *of) {
	struct command *c = of;
	c->drops = 0;
	leave(c, CUBE_LIMIT_LOGIN);
}

/* A person's answer is not used up for nothing: who was asked is not tried again. */
static uint64_t command_again(void *of, const struct cube_process_end *end) {
	struct command *c = of;
	if (!c->is_openssh || end->status != SSH_FAILED_STATUS || cube_askpass_asked(c->askpass) ||
	    !cube_ssh_says_dropped(end->said, end->said_len))
		return 0;
	leave(c, CUBE_LIMIT_DROPPED);
	c->drops++;
	cube_ssh_says(end->said, end->said_len, &c->dropped);
	return cube_ssh_again_pause(c->drops, c->proxied);
}

static int tell_dropped(const struct command *c, struct cube_err *err) {
	return cube_fail(err, CUBE_ECONNECT,
			 "tried %u time%s: %.100s (too many logins at once or failed ones before, "
			 "see MaxStartups and PerSourcePenalties in sshd_config, or a firewall)",
			 c->drops, c->drops == 1 ? "" : "s", c->dropped.msg);
}

/* ---- questions --------------------------------------------------------------------------- */

static void on_ask(void *arg, const struct cube_ask *ask) {
	struct command *c = arg;
	cube_process_hold(c->process, true);
	c->events->on_ask(c->arg, ask); /* may answer at once, or free us */
}

static void on_note(void *arg, const char *text) {
	struct command *c = arg;
	if (c->events->on_note) c->events->on_note(c->arg, text);
}

static const struct cube_askpass_events ASKPASS_EVENTS = {.ask = on_ask, .note = on_note};

/* ssh would send an empty password. */
static void unanswered(void *arg) {
	struct command *c = arg;
	struct cube_err err;
	cube_fail(&err, CUBE_ELOGIN, "a person has to log in to %.80s", c->host);
	cube_process_fail(c->process, &err);
}

static void command_answer(void *of, const char *const *answers) {
	struct command *c = of;
	if (!c->askpass) return;
	cube_process_hold(c->process, false);
	if (answers) cube_askpass_answer(c->askpass, answers[0]);
	else cube_loop_defer(c->ssh->loop, unanswered, c);
}

/* A command that printed something was there, whatever its status; one that printed nothing may
 * have ended with 255 of its own accord, which is as good as no command at all. */
static int command_judge(void *of, const struct cube_process_end *end, struct cube_err *err) {
	struct command *c = of;
	leave(c, end->status == SSH_FAILED_STATUS ? CUBE_LIMIT_DONE : CUBE_LIMIT_LOGIN);
	if (end->status != SSH_FAILED_STATUS) return 0;
	if (!end->printed && c->drops && cube_ssh_says_dropped(end->said, end->said_len))
		return tell_dropped(c, err);
	if (!end->printed) {
		int rc = cube_ssh_says(end->said, end->said_len, err);
		bool asked = c->askpass && cube_askpass_asked(c->askpass);
		return rc == CUBE_EAUTH && asked ? (err->code = CUBE_ELOGIN) : rc;
	}
	if (!c->is_openssh || !cube_ssh_says_broke(end->said, end->said_len)) return 0;
	cube_ssh_says(end->said, end->said_len, err);
	err->code = CUBE_ECONNECT;
	return cube_wrap(err, "the connection broke");
}

static void command_late(void *of, const struct cube_process_end *end, struct cube_err *err) {
	const struct command *c = of;
	double s = (double)c->timeout_ns / (double)CUBE_NS_PER_S;
	const char *program = c->is_openssh ? "ssh" : c->template.words.v[0];
	struct cube_err says = {0};
	if (c->drops) tell_dropped(c, &says);
	else if (end->said_len) cube_ssh_says(end->said, end->said_len, &says);
	cube_fail(err, CUBE_ETIMEOUT, "connecting to %.80s by %.40s timed out after %g s%s%s",
		  c->host, program, s, *says.msg ? "; " : "", says.msg);
}

/* ---- its life ---------------------------------------------------------------------------- */

static void command_settled(void *of) {
	struct command *c = of;
	if (c->askpass) cube_askpass_forget(c->askpass);
}

static void command_stop(void *of) {
	struct command *c = of;
	cube_ssh_lookup_cancel(c->lookup);
	c->lookup = NULL;
	cube_route_cancel(c->route);
	c->route = NULL;
	leave(c, CUBE_LIMIT_DONE);
	cube_askpass_free(c->askpass);
	c->askpass = NULL;
}

static void command_free(void *of) {
	struct command *c = of;
	cube_openssh_done(&c->openssh);
	cube_template_done(&c->template);
	cube_strv_done(&c->env);
	free(c->host);
	free(c->user);
	free(c->name);
	free(c->point);
	free(c->jump_point);
	free(c);
}

static const struct cube_process_kind COMMAND = {
	.name = "command",
	.argv = command_argv,
	.envp = command_envp,
	.enter = command_enter,
	.begun = command_begun,
	.again = command_again,
	.judge = command_judge,
	.late = command_late,
	.answer = command_answer,
	.settled = command_settled,
	.stop = command_stop,
	.free = command_free,
};

static void on_route(void *arg, const char *command, const struct cube_err *err) {
	struct command *c = arg;
	c->route = NULL;
	if (err) {
		cube_process_fail(c->process, err);
		return;
	}
	c->openssh.proxy = cube_strdup(command);
	cube_process_open(c->process);
}

static void find_route(struct command *c, const char *jumps) {
	const char *file = c->openssh.file;
	struct cube_route_spec spec = {.jumps = jumps,
				       .file = file,
				       .strict = c->strict,
				       .ask = c->openssh.ask,
				       .timeout_s = c->openssh.timeout_s};
	c->jump_point = cube_strf("jump %s\n%s", jumps, file ? file : "");
	c->route = cube_route_find(c->ssh->loop, c->ssh->configs, &spec, on_route, c);
}

/* Names as dial.c has them, so that those it logs in are counted as well. */
static void name_point(struct command *c, const struct cube_ssh_config *config, const char *jumps) {
	char text[64];
	struct cube_addrs addrs;
	const char *host = config->hostname;
	c->proxied = jumps || config->proxycommand;
	if (!c->proxied && cube_resolve_numeric(host, config->port, &addrs))
		host = cube_addr_text(&addrs.v[0], text, sizeof text);
	if (!jumps && config->proxycommand) c->point = cube_strdup(config->proxycommand);
	else if (!jumps) c->point = cube_strf("%s port %u", host, config->port);
	else
		c->point = cube_strf("%s port %u\n%s\n%s", host, config->port, jumps,
				     c->openssh.file ? c->openssh.file : "");
}

static void on_config(void *arg, const struct cube_ssh_config *config, const struct cube_err *err) {
	struct command *c = arg;
	const char *jumps = err ? NULL : config->proxyjump;
	c->lookup = NULL;
	if (err) {
		cube_process_fail(c->process, err);
		return;
	}
	if (jumps && cube_jump_to_itself(jumps, c->host, config)) jumps = NULL;
	cube_openssh_config(&c->openssh, config);
	cube_askpass_target(c->askpass, config->hostname);
	name_point(c, config, jumps);
	if (jumps) find_route(c, jumps);
	else cube_process_open(c->process);
}

static void opened(void *arg) {
	cube_process_open(arg);
}

/* ssh reads its configuration itself; what it is asked for here is what our own arguments would
 * overrule otherwise. */
static void begin(struct command *c) {
	if (!c->is_openssh) {
		cube_loop_defer(c->ssh->loop, opened, c->process);
		return;
	}
	struct cube_ssh_question q = {.host = c->host,
				      .user = c->user,
				      .file = c->openssh.file,
				      .jump = c->openssh.jump,
				      .port = c->port,
				      .options = &c->openssh.options};
	c->lookup = cube_ssh_configs_ask(c->ssh->configs, &q, on_config, c);
}

/* ---- the opener -------------------------------------------------------------------------- */

static bool names_openssh(const char *command) {
	return !strcmp(command, "openssh");
}

int cube_transport_command_check(const char *command, struct cube_err *err) {
	struct cube_template t = {0};
	if (names_openssh(command)) return 0;
	int rc = cube_template_parse(command, &t, err);
	cube_template_done(&t);
	return rc;
}

/* Before anything is made: the words, and that there is a value for each placeholder. */
static int check(const struct cube_target *target, struct cube_template *t, struct cube_err *err) {
	struct cube_template_values values = {.host = target->host,
					      .user = target->user,
					      .name = target->name,
					      .port = target->port};
	struct cube_strv argv = {0};
	if (!target->host) return cube_fail(err, CUBE_EUSAGE, "no host to connect to");
	if (!target->command) return cube_fail(err, CUBE_EUSAGE, "no command to connect with");
	int rc = cube_ssh_check_names(target->host, target->user, err);
	if (rc < 0 || names_openssh(target->command)) return rc;
	rc = cube_template_parse(target->command, t, err);
	if (rc < 0) return rc;
	rc = cube_template_fill(t, &values, "", &argv, err);
	cube_strv_done(&argv);
	if (rc < 0) cube_template_done(t);
	return rc;
}

int cube_transport_command(struct cube_ssh *ssh, const struct cube_target *target,
			   const struct cube_transport_events *events, void *arg,
			   struct cube_transport **ret, struct cube_err *err) {
	struct cube_template t = {0};
	int rc = check(target, &t, err);
	if (rc < 0) return rc;
	struct command *c = cube_alloc(sizeof *c);
	c->ssh = ssh;
	c->template = t;
	c->is_openssh = names_openssh(target->command);
	c->host = cube_strdup(target->host);
	c->user = cube_strdup(target->user);
	c->name = cube_strdup(target->name);
	c->port = target->port;
	c->timeout_ns = target->timeout_ns;
	c->strict = target->strict_host_keys;
	c->events = events;
	c->arg = arg;
	if (c->is_openssh) {
		bool ask = target->ask && events->on_ask;
		cube_openssh_init(&c->openssh, target);
		c->openssh.ask = ask;
		rc = cube_askpass_new(ssh->loop, ask ? &ASKPASS_EVENTS : NULL, c, &c->askpass, err);
		if (rc < 0) {
			command_free(c);
			return rc;
		}
	} else make_environment(c);
	struct cube_process_spec spec = {.kind = &COMMAND,
					 .of = c,
					 .limit_ns = target->timeout_ns,
					 .dying = &ssh->dying,
					 .events = events,
					 .arg = arg};
	c->process = cube_process_new(ssh->loop, &spec);
	begin(c);
	*ret = cube_process_transport(c->process);
	return 0;
}
