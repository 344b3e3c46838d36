/* The command transport: a program a line, of a template; or OpenSSH's ssh, which has a file of its
 * own. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "openssh_transport.h"
#include "process.h"
#include "cube/ssh_config.h"
#include "ssh_shared.h"
#include "cube/ssh_says.h"
#include "template.h"

enum { FAILED_STATUS = 255 }; /* ssh's, and what is like it */

struct command {
	struct cube_process *process;
	char *host, *user, *name;
	uint16_t port;
	uint64_t timeout_ns;
	struct cube_template template;
	struct cube_strv env;
};

static int command_argv(void *of, const char *line, struct cube_strv *argv, struct cube_err *err) {
	struct command *c = of;
	struct cube_template_values values = {
		.host = c->host, .user = c->user, .name = c->name, .port = c->port};
	return cube_template_fill(&c->template, &values, line, argv, err);
}

static const char *const *command_envp(void *of) {
	const struct command *c = of;
	return (const char *const *)cube_strv_argv(&c->env);
}

/* srun keeps output back until a newline comes, which our frames have not (srun(1) -u). Nobody else
 * minds. */
static void make_environment(struct command *c) {
	for (char **e = environ; *e; e++)
		if (strncmp(*e, "SLURM_UNBUFFEREDIO=", 19) != 0) cube_strv_add(&c->env, *e);
	cube_strv_add(&c->env, "SLURM_UNBUFFEREDIO=1");
}

/* A command that printed something was there, whatever its status; one that printed nothing may
 * have ended with 255 of its own accord, which is as good as no command at all. */
static int command_judge(void *of, const struct cube_process_end *end, struct cube_err *err) {
	if (end->status != FAILED_STATUS || end->printed) return 0;
	return cube_ssh_says(end->said, end->said_len, err);
}

static void command_late(void *of, const struct cube_process_end *end, struct cube_err *err) {
	const struct command *c = of;
	struct cube_err says = {0};
	if (end->said_len) cube_ssh_says(end->said, end->said_len, &says);
	cube_ssh_says_late(c->host, c->template.words.v[0], c->timeout_ns, says.msg, err);
}

static void command_free(void *of) {
	struct command *c = of;
	cube_template_done(&c->template);
	cube_strv_done(&c->env);
	free(c->host);
	free(c->user);
	free(c->name);
	free(c);
}

static const struct cube_process_kind COMMAND = {
	.name = "command",
	.mortal = true,
	.argv = command_argv,
	.envp = command_envp,
	.judge = command_judge,
	.late = command_late,
	.free = command_free,
};

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
	if (names_openssh(target->command))
		return cube_openssh_transport(ssh, target, events, arg, ret, err);
	struct command *c = cube_alloc(sizeof *c);
	c->template = t;
	c->host = cube_strdup(target->host);
	c->user = cube_strdup(target->user);
	c->name = cube_strdup(target->name);
	c->port = target->port;
	c->timeout_ns = target->timeout_ns;
	make_environment(c);
	struct cube_process_spec spec = {.kind = &COMMAND,
					 .of = c,
					 .limit_ns = target->timeout_ns,
					 .dying = &ssh->dying,
					 .events = events,
					 .arg = arg};
	c->process = cube_process_new(ssh->loop, &spec);
	cube_process_open_soon(c->process);
	*ret = cube_process_transport(c->process);
	return 0;
}
