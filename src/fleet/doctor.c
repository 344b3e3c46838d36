/* The way to the host, step by step, over a transport of its own; then doctor_host.c's questions.
 */
#include "cube/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/id.h"
#include "cube/mem.h"
#include "cube/text.h"
#include "node_link.h"

#define NOISE_MAX (1u << 20)
#define LINE_MAX_ 4096u
#define TAIL_MAX  200u
#define HOST_NS   (20 * CUBE_NS_PER_S) /* for the answers, which take a moment */

struct cube_doctor {
	struct cube_fleet *fleet;
	const struct cube_doctor_events *events;
	void *arg;
	char *name;
	struct cube_node_settings set;
	struct cube_transport *transport;
	struct cube_asker asker;
	struct cube_timer *timer;
	uint64_t last; /* mono, of the finding before */
	enum cube_transport_step step;
	char nonce[CUBE_ID_HEX];
	struct cube_examination *exam;
	struct cube_buf line;
	size_t noise;
	char tail[TAIL_MAX + 1]; /* the newest noise or stderr */
	bool ask, by_openssh, over, gone;
};

/* --- telling --- */

/* What hosts say goes to terminals. */
static void found(void *arg, const struct cube_finding *f) {
	struct cube_doctor *d = arg;
	uint64_t now = cube_loop_now(d->fleet->is.turn->loop);
	struct cube_buf text;
	struct cube_finding copy = *f;
	if (d->gone) return;
	cube_buf_init(&text, 16384);
	cube_text_escape(&text, (const uint8_t *)f->text, strlen(f->text));
	copy.text = cube_buf_str(&text);
	copy.seconds = (double)(now - d->last) / 1e9;
	d->last = now;
	d->events->found(d->arg, &copy);
	cube_buf_done(&text);
}

static void tell(struct cube_doctor *d, enum cube_verdict verdict, const char *check,
		 const char *text, const char *fix) {
	struct cube_finding f = {.check = check, .verdict = verdict, .text = text, .fix = fix};
	found(d, &f);
}

static void hang_up(struct cube_doctor *d, int code) {
	cube_prompts_end(d->fleet->is.prompts, &d->asker, code);
	cube_transport_free(d->transport);
	d->transport = NULL;
	cube_timer_disarm(d->timer);
}

/* code: why, as for cube_prompts_end. */
static void finish(struct cube_doctor *d, int code) {
	if (d->over || d->gone) return;
	d->over = true;
	hang_up(d, code);
	d->events->done(d->arg);
}

/* --- the way there --- */

static const char *const checks[] = {
	[CUBE_STEP_CONFIG] = "configuration", [CUBE_STEP_RESOLVE] = "resolve",
	[CUBE_STEP_CONNECT] = "connect",      [CUBE_STEP_KEX] = "key exchange",
	[CUBE_STEP_AUTH] = "login",           [CUBE_STEP_OPEN] = "session",
};

static void on_step(void *arg, enum cube_transport_step step) {
	struct cube_doctor *d = arg;
	d->step = step;
	if (!d->exam) return;
	if (step == CUBE_STEP_OPEN) cube_timer_after(d->timer, HOST_NS);
	else cube_timer_disarm(d->timer); /* the line waits for its turn */
}

static void on_fact(void *arg, enum cube_transport_fact fact, const char *text) {
	static const char *const names[] = {
		[CUBE_FACT_CONFIG] = "configuration", [CUBE_FACT_JUMP] = "jump host",
		[CUBE_FACT_ADDRESS] = "connect",      [CUBE_FACT_SERVER] = "server",
		[CUBE_FACT_KEX] = "key exchange",     [CUBE_FACT_HOST_KEY] = "host key",
		[CUBE_FACT_METHODS] = "methods",      [CUBE_FACT_LOGIN] = "login",
	};
	/* what is wrong with a host key is told by the failure that follows */
	size_t n = strlen(text), k = strlen(" changed");
	bool changed = fact == CUBE_FACT_HOST_KEY && n > k && !strcmp(text + n - k, " changed");
	tell(arg, changed ? CUBE_VERDICT_WARNING : CUBE_VERDICT_OK, names[fact], text, "");
}

static const char *fix_for(const struct cube_doctor *d, const struct cube_err *err) {
	switch (err->code) {
	case CUBE_EAUTH:
		return "put your public key into its authorized_keys, or name the key with --identity";
	case CUBE_ELOGIN: return "run `cube spawn` or `cube login` on a terminal: it asks";
	case CUBE_EHOSTKEY:
		return "if the host was made anew, remove the old key as told; else stop here";
	case CUBE_ETIMEOUT: return "a firewall, a wrong address, or the host is down";
	case CUBE_ECONNECT:
		if (d->step == CUBE_STEP_RESOLVE)
			return "check the name, or give host= in the hosts file";
		return "is sshd running there, and on this port (--port)?";
	default: return "";
	}
}

static void open_transport(struct cube_doctor *d);

static void reopen(void *arg) {
	struct cube_doctor *d = arg;
	if (!d->gone) open_transport(d);
}

/* What libssh2 cannot the ssh program may: as joining does. */
static void on_fail(void *arg, const struct cube_err *err) {
	struct cube_doctor *d = arg;
	if (err->code == CUBE_ELIBRARY && !d->by_openssh && cube_node_settings_choose(&d->set)) {
		tell(d, CUBE_VERDICT_NOTE, "transport", err->msg,
		     "none needed: OpenSSH's ssh is used instead");
		d->by_openssh = true;
		hang_up(d, err->code);
		cube_loop_defer(d->fleet->is.turn->loop, reopen, d);
		return;
	}
	const char *check = err->code == CUBE_EHOSTKEY ? "host key" : checks[d->step];
	tell(d, CUBE_VERDICT_FAILED, check, err->msg, fix_for(d, err));
	finish(d, err->code);
}

/* --- the host --- */

static void ask_host(struct cube_doctor *d) {
	char line[CUBE_DOCTOR_LINE];
	struct cube_err err;
	cube_id_hex(cube_id_u64(), d->nonce);
	cube_doctor_line(d->fleet->is.builds, d->nonce, d->set.become, line, sizeof line);
	d->exam = cube_examination_new(d->fleet->is.builds, cube_clock_wall());
	cube_timer_after(d->timer, HOST_NS);
	if (cube_transport_exec(d->transport, line, &err) < 0) on_fail(d, &err);
	else cube_transport_end_write(d->transport);
}

static void on_open(void *arg) {
	struct cube_doctor *d = arg;
	cube_prompts_passed(d->fleet->is.prompts, &d->asker);
	ask_host(d);
}

static void remember(struct cube_doctor *d, const uint8_t *bytes, size_t n) {
	size_t keep = n > TAIL_MAX ? TAIL_MAX : n;
	for (size_t i = 0; i < keep; i++) {
		uint8_t c = bytes[n - keep + i];
		d->tail[i] = c >= ' ' && c < 127 ? (char)c : ' ';
	}
	d->tail[keep] = 0;
	d->noise += n;
}

/* A login shell may have printed something without a newline before our line. */
static void on_line(struct cube_doctor *d) {
	char text[LINE_MAX_ + 1], marker[8 + CUBE_ID_HEX];
	size_t len = cube_buf_len(&d->line);
	memcpy(text, cube_buf_data(&d->line), len);
	text[len] = 0;
	for (size_t i = 0; i < len; i++)
		if (!text[i]) text[i] = '?';
	cube_buf_clear(&d->line);
	snprintf(marker, sizeof marker, "CUBE %s ", d->nonce);
	char *at = strstr(text, marker);
	if (!at || at > text) remember(d, (uint8_t *)text, at ? (size_t)(at - text) : len);
	if (at) cube_examination_take(d->exam, at + strlen(marker), cube_clock_wall());
}

static size_t on_out(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_doctor *d = arg;
	for (size_t i = 0; i < n && !d->gone && d->noise <= NOISE_MAX; i++) {
		if (bytes[i] == '\n') on_line(d);
		else if (cube_buf_room(&d->line)) cube_buf_add(&d->line, &bytes[i], 1);
		else d->noise++;
	}
	return n;
}

static void on_err(void *arg, const uint8_t *bytes, size_t n) {
	remember(arg, bytes, n);
}

static void tell_noise(struct cube_doctor *d) {
	char text[TAIL_MAX + 80];
	if (!d->noise) return;
	snprintf(text, sizeof text, "the login prints %zu bytes of its own: ...%s", d->noise,
		 d->tail);
	tell(d, CUBE_VERDICT_NOTE, "shell", text,
	     "none needed; rc files should print for interactive shells only");
}

static void on_end(void *arg, int status) {
	struct cube_doctor *d = arg;
	char text[TAIL_MAX + 160];
	if (!cube_examination_heard(d->exam)) {
		snprintf(
			text, sizeof text,
			"the host did not run our command but something of its own (status %d): %s",
			status, d->tail);
		tell(d, CUBE_VERDICT_FAILED, "shell", text,
		     "a ForceCommand in its sshd_config, command= in authorized_keys, or no "
		     "login shell");
	} else {
		tell_noise(d);
		cube_examination_tell(d->exam, found, d);
	}
	finish(d, 0);
}

static void on_ask(void *arg, const struct cube_ask *ask) {
	struct cube_doctor *d = arg;
	cube_timer_disarm(d->timer);
	cube_prompts_ask(d->fleet->is.prompts, &d->asker, ask);
}

static void on_answer(void *arg, const char *const *answers, const char *why) {
	struct cube_doctor *d = arg;
	if (d->exam)
		cube_timer_after(d->timer, HOST_NS); /* the ssh program asks when the line runs */
	if (d->transport) cube_transport_answer(d->transport, answers);
}

static const struct cube_transport_events transport_events = {
	.on_step = on_step,
	.on_open = on_open,
	.on_out = on_out,
	.on_err = on_err,
	.on_end = on_end,
	.on_fail = on_fail,
	.on_fact = on_fact,
	.on_ask = on_ask,
};

static void on_timer(void *arg) {
	struct cube_doctor *d = arg;
	tell(d, CUBE_VERDICT_FAILED, "shell", "no answer within 20 s",
	     "does `ssh HOST true` come back? rc files of the login shell may wait for something");
	finish(d, CUBE_ETIMEOUT);
}

/* --- life --- */

static void open_transport(struct cube_doctor *d) {
	struct cube_err err;
	cube_prompts_begin(d->fleet->is.prompts, &d->asker, d->ask);
	struct cube_reach *reach = d->fleet->is.reach;
	struct cube_reach_how how = {.by_openssh = d->by_openssh, .ask = d->ask};
	int rc = reach->open(reach, d->name, &d->set, &how, &transport_events, d, &d->transport,
			     &err);
	if (rc < 0) on_fail(d, &err);
}

void cube_doctor_new(struct cube_fleet *fleet, const char *name,
		     const struct cube_node_settings *settings, bool ask,
		     const struct cube_doctor_events *events, void *arg, struct cube_doctor **ret) {
	struct cube_doctor *d = cube_alloc(sizeof *d);
	d->fleet = fleet;
	d->events = events;
	d->arg = arg;
	d->name = cube_strdup(name);
	d->asker = (struct cube_asker){.name = d->name, .answer = on_answer, .arg = d};
	d->ask = ask;
	cube_node_settings_copy(&d->set, settings);
	cube_buf_init(&d->line, LINE_MAX_);
	d->timer = cube_timer_add(fleet->is.turn->loop, on_timer, d);
	d->last = cube_loop_now(fleet->is.turn->loop);
	cube_loop_defer(fleet->is.turn->loop, reopen, d);
	*ret = d;
}

static void destroy(void *arg) {
	struct cube_doctor *d = arg;
	cube_node_settings_done(&d->set);
	cube_examination_free(d->exam);
	cube_buf_done(&d->line);
	free(d->name);
	free(d);
}

void cube_doctor_free(struct cube_doctor *d) {
	if (!d || d->gone) return;
	d->gone = true;
	hang_up(d, CUBE_ECANCELED);
	cube_timer_del(d->timer);
	cube_loop_defer(d->fleet->is.turn->loop, destroy, d);
}
