/* The ssh transport: from target to open session, and the operations on it.
 *
 * ssh_lookup.c (ssh -G) -> dial.c (TCP or a proxy) -> ssh_kex.c -> ssh_auth.c -> ssh_channel.c;
 * ssh_pump.c has the last three work. This file owns the connection: see ssh_priv.h.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ssh_auth.h"

static const uint64_t DEFAULT_TIMEOUT_NS = 15 * CUBE_NS_PER_S;

static struct ssh_conn *conn_of(const struct cube_transport *t) {
	return (struct ssh_conn *)t;
}

/* ---- its end ------------------------------------------------------------------------------- */

/* Of a connection that failed, or that nobody wants any more. */
static void release(struct ssh_conn *c) {
	cube_ssh_auth_free(c->auth);
	c->auth = NULL;
	cube_ssh_link_stop(c);
	cube_ssh_lookup_cancel(c->lookup);
	c->lookup = NULL;
	cube_dial_free(c->dial);
	c->dial = NULL;
	cube_timer_del(c->timer);
	c->timer = NULL;
	cube_timer_del(c->again);
	c->again = NULL;
}

static void timed_out(struct ssh_conn *c) {
	static const char *const WORDS[] = {
		[CUBE_STEP_CONFIG] = "reading the ssh configuration of",
		[CUBE_STEP_RESOLVE] = "resolving",
		[CUBE_STEP_CONNECT] = "connecting to",
		[CUBE_STEP_KEX] = "exchanging keys with",
		[CUBE_STEP_AUTH] = "authenticating with",
		[CUBE_STEP_OPEN] = "opening",
	};
	struct cube_err err;
	double s = (double)c->timeout_ns / (double)CUBE_NS_PER_S;
	const char *proxy = c->dial ? cube_dial_proxy_says(c->dial) : NULL;
	const char *silent = c->step == CUBE_STEP_KEX && !c->received ? " (no greeting came)" : "";
	int code = cube_ssh_auth_asked(c->auth) ? CUBE_ELOGIN : CUBE_ETIMEOUT;
	cube_fail(&err, code, "%s %s timed out after %g s%s%s%s", WORDS[c->step],
		  c->step == CUBE_STEP_RESOLVE ? c->config.hostname : cube_ssh_where(c), s, silent,
		  proxy ? "; " : "", proxy ? proxy : "");
	cube_ssh_fail(c, &err);
}

static void on_timer(void *arg) {
	struct ssh_conn *c = arg;
	if (c->state >= SSH_IDLE) cube_ssh_channel_timer(c);
	else if (c->drops) cube_ssh_again_failed(c);
	else timed_out(c);
}

/* ---- opening ----------------------------------------------------------------------------- */

static void on_dial_step(void *arg, enum cube_transport_step step) {
	cube_ssh_step(arg, step);
}

static void on_connected(void *arg, int fd) {
	struct ssh_conn *c = arg;
	const char *person = cube_dial_person(c->dial);
	struct cube_err err;
	c->state = SSH_KEX;
	if (cube_ssh_link_start(c, fd, &err) < 0) {
		cube_ssh_fail(c, &err);
		return;
	}
	if (cube_ssh_kex_start(c) < 0) return;
	if (person && cube_ssh_fact(c, CUBE_FACT_JUMP, person)) return;
	if (cube_ssh_fact(c, CUBE_FACT_ADDRESS, cube_ssh_where(c))) return;
	cube_ssh_step(c, CUBE_STEP_KEX);
	cube_ssh_kick(c);
}

static void on_dial_failed(void *arg, const struct cube_err *err) {
	cube_ssh_fail(arg, err);
}

static void on_dial_waits(void *arg, bool on) {
	if (on) cube_ssh_clock_stop(arg);
	else cube_ssh_clock_go(arg);
}

static void on_dial_asks(void *arg, const struct cube_ask *ask) {
	struct ssh_conn *c = arg;
	c->events->on_ask(c->arg, ask);
}

static const struct cube_dial_events DIAL_EVENTS = {.asks = on_dial_asks,
						    .step = on_dial_step,
						    .connected = on_connected,
						    .failed = on_dial_failed,
						    .waits = on_dial_waits};

static void dial(struct ssh_conn *c) {
	struct cube_dial_spec spec = {.host = c->host,
				      .file = c->file,
				      .config = &c->config,
				      .deadline = &c->deadline,
				      .from = c->jumps_from,
				      .strict = c->strict,
				      .ask = c->may_ask,
				      .old_jumps = c->old_jumps,
				      .timeout_ns = c->timeout_given ? c->timeout_ns : 0};
	c->dial = cube_dial_start(c->ssh, &spec, &DIAL_EVENTS, c);
}

/* The pause after the server dropped us is over. */
static void on_again(void *arg) {
	struct ssh_conn *c = arg;
	if (!cube_ssh_over(c)) dial(c);
}

static bool tell_config(struct ssh_conn *c) {
	cube_autofree char *text = cube_ssh_config_fact(&c->config);
	return cube_ssh_fact(c, CUBE_FACT_CONFIG, text);
}

static void on_config(void *arg, const struct cube_ssh_config *config, const struct cube_err *err) {
	struct ssh_conn *c = arg;
	struct cube_err bad;
	c->lookup = NULL;
	cube_ssh_clock_go(c);
	if (err) {
		cube_ssh_fail(c, err);
		return;
	}
	cube_ssh_config_copy(&c->config, config);
	if (cube_ssh_check_names(config->hostname, config->user, &bad) < 0) {
		cube_ssh_fail(c, &bad);
		return;
	}
	if (config->program) { /* its own ssh -G said so: it is there */
		cube_fail(&bad, CUBE_ELIBRARY, "%s", config->program);
		cube_ssh_fail(c, &bad);
		return;
	}
	if (!c->timeout_ns && config->connect_timeout_s) {
		c->timeout_ns = config->connect_timeout_s * CUBE_NS_PER_S;
		cube_ssh_clock_set(c, c->timeout_ns);
	} else if (!c->timeout_ns) {
		c->timeout_ns = DEFAULT_TIMEOUT_NS;
	}
	if (tell_config(c)) return;
	dial(c);
}

static void on_config_begun(void *arg) {
	cube_ssh_clock_go(arg);
}

static void begin(void *arg) {
	struct ssh_conn *c = arg;
	if (c->gone) return;
	cube_ssh_step(c, CUBE_STEP_CONFIG);
	if (c->gone) return;
	struct cube_ssh_question q = {.host = c->host,
				      .user = c->user,
				      .file = c->file,
				      .jump = c->jump,
				      .port = c->port,
				      .options = &c->options,
				      .begun = on_config_begun};
	cube_ssh_clock_stop(c); /* hundreds of hosts may be asked about before this one */
	c->lookup = cube_ssh_configs_ask(c->ssh->configs, &q, on_config, c);
}

/* ---- operations -------------------------------------------------------------------------- */

static bool has_command(const struct ssh_conn *c) {
	return c->state >= SSH_CHANNEL && c->state <= SSH_FLUSH;
}

static int ssh_exec(struct cube_transport *t, const char *line, struct cube_err *err) {
	struct ssh_conn *c = conn_of(t);
	if (c->state != SSH_IDLE || c->gone)
		return cube_fail(err, CUBE_ECONFLICT, "%s is not ready for a command",
				 cube_ssh_where(c));
	free(c->line);
	c->line = cube_strdup(line);
	c->input_ended = c->eof_sent = c->above_low = false;
	c->retries = 0;
	c->status = -1;
	c->state = SSH_CHANNEL;
	cube_ssh_kick(c);
	return 0;
}

static int ssh_write(struct cube_transport *t, const void *bytes, size_t n) {
	struct ssh_conn *c = conn_of(t);
	if (!has_command(c) || c->input_ended) return CUBE_ECONFLICT;
	if (c->state >= SSH_CLOSE) return 0; /* the command is over: it goes nowhere */
	size_t sent = n <= cube_buf_room(&c->input) ? cube_ssh_channel_write(c, bytes, n) : 0;
	int rc = cube_buf_add(&c->input, (const uint8_t *)bytes + sent, n - sent);
	/* Whoever was refused is told when there is room. */
	if (rc == CUBE_ETOOBIG || cube_buf_len(&c->input) > CUBE_INPUT_LOW) c->above_low = true;
	if (rc == 0) cube_ssh_kick(c);
	return rc;
}

static size_t ssh_queued(const struct cube_transport *t) {
	return cube_buf_len(&conn_of(t)->input);
}

static void ssh_end_write(struct cube_transport *t) {
	struct ssh_conn *c = conn_of(t);
	if (!has_command(c)) return;
	c->input_ended = true;
	cube_ssh_kick(c);
}

static void resumed(void *arg) {
	struct ssh_conn *c = arg;
	c->resume_due = false;
	if (cube_ssh_over(c)) return;
	cube_outlet_offer(&c->outlet);
	if (cube_ssh_over(c)) return;
	cube_ssh_channel_check_end(c);
	cube_ssh_kick(c);
}

static void ssh_resume(struct cube_transport *t) {
	struct ssh_conn *c = conn_of(t);
	if (c->resume_due || cube_ssh_over(c)) return;
	c->resume_due = true;
	cube_loop_defer(c->ssh->loop, resumed, c);
}

static void ssh_answer(struct cube_transport *t, const char *const *answers) {
	struct ssh_conn *c = conn_of(t);
	if (cube_ssh_over(c)) return;
	if (c->auth) cube_ssh_auth_answer(c->auth, answers);
	else if (c->dial) cube_dial_answer(c->dial, answers);
}

static void destroy(void *arg) {
	struct ssh_conn *c = arg;
	cube_outlet_done(&c->outlet);
	cube_buf_done(&c->in);
	cube_buf_done(&c->out);
	cube_buf_done(&c->input);
	cube_ssh_config_done(&c->config);
	free(c->host);
	free(c->user);
	free(c->identity);
	free(c->file);
	free(c->jump);
	cube_strv_done(&c->options);
	free(c->line);
	free(c);
}

static void ssh_free(struct cube_transport *t) {
	struct ssh_conn *c = conn_of(t);
	if (c->gone) return;
	c->gone = true;
	release(c);
	cube_loop_defer(c->ssh->loop, destroy, c);
}

static const struct cube_transport_ops SSH_OPS = {
	.name = "ssh",
	.exec = ssh_exec,
	.write = ssh_write,
	.queued = ssh_queued,
	.end_write = ssh_end_write,
	.resume = ssh_resume,
	.answer = ssh_answer,
	.free = ssh_free,
};

static const struct ssh_owner OWNER = {.pump = cube_ssh_pump, .release = release};

static void init_buffers(struct ssh_conn *c) {
	cube_outlet_init(&c->outlet, c->events, c->arg, &c->gone);
	cube_buf_init(&c->in, 2 * SSH_FEED);
	cube_buf_init(&c->out, SSH_OUT_MAX);
	cube_buf_init(&c->input, CUBE_INPUT_MAX);
	cube_buf_set_secret(&c->input); /* sudo's password is among it */
}

int cube_transport_ssh(struct cube_ssh *ssh, const struct cube_target *target,
		       const struct cube_transport_events *events, void *arg,
		       struct cube_transport **ret, struct cube_err *err) {
	if (!target->host) return cube_fail(err, CUBE_EUSAGE, "no host to connect to");
	int rc = cube_ssh_check_names(target->host, target->user, err);
	if (rc < 0) return rc;
	struct ssh_conn *c = cube_alloc(sizeof *c);
	c->base.ops = &SSH_OPS;
	c->owner = &OWNER;
	c->ssh = ssh;
	c->events = events;
	c->arg = arg;
	c->host = cube_strdup(target->host);
	c->user = cube_strdup(target->user);
	c->identity = cube_strdup(target->identity);
	c->file = cube_strdup(target->ssh_config);
	c->jump = cube_strdup(target->jump);
	for (size_t i = 0; target->options && i < target->options->len; i++)
		cube_strv_add(&c->options, target->options->v[i]);
	c->port = target->port;
	c->strict = target->strict_host_keys;
	c->may_ask = target->ask && events->on_ask;
	c->old_jumps = target->old_jumps;
	c->timeout_ns = target->timeout_ns;
	c->timeout_given = target->timeout_ns != 0;
	c->fd = -1;
	init_buffers(c);
	c->timer = cube_timer_add(ssh->loop, on_timer, c);
	c->again = cube_timer_add(ssh->loop, on_again, c);
	cube_ssh_clock_set(c, c->timeout_ns ? c->timeout_ns : DEFAULT_TIMEOUT_NS);
	cube_loop_defer(ssh->loop, begin, c);
	*ret = &c->base;
	return 0;
}
