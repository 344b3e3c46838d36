/* What a person has to answer for a node to join, and what follows from it. */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cube/events.h"
#include "cube/nodes.h"

static const uint64_t TOUCH_NS = 100 * CUBE_NS_PER_S, ALONE_NS = 10 * CUBE_NS_PER_S;

static const char *const waiting[CUBE_ASK_KINDS] = {
	[CUBE_ASK_PASSWORD] = "waiting for a password",
	[CUBE_ASK_PASSPHRASE] = "waiting for a passphrase",
	[CUBE_ASK_KEYBOARD] = "waiting for an answer",
	[CUBE_ASK_BECOME] = "waiting for sudo's password",
};

/* The time a person takes is limited by prompts.c, not by the node's timer. */
void cube_node_ask(struct cube_mnode *node, const struct cube_ask *ask) {
	node->asked = ask->kind;
	*node->no_answer = 0;
	cube_node_step(node, waiting[ask->kind], -1);
	cube_timer_disarm(node->timer);
	cube_prompts_ask(node->m->prompts, &node->asker, ask);
}

/* Without a person at the command somebody may still see the key blink, but is not waited for. */
void cube_node_note(struct cube_mnode *node, const char *text) {
	uint64_t alone = node->set.connect_timeout_ns ? node->set.connect_timeout_ns : ALONE_NS;
	cube_events_note(node->m->events, node->id, node->name, text);
	node->touch = node->by_person = true;
	cube_node_step(node, "waiting for a touch of the key", -1);
	cube_timer_after(node->timer, node->ask ? TOUCH_NS : alone);
}

static void go_on(struct cube_mnode *node) {
	const char *step = cube_transport_step_name(CUBE_STEP_AUTH);
	cube_node_step(node, node->asked == CUBE_ASK_BECOME ? "probing" : step, -1);
	if (node->state == CUBE_NODE_LOST || node->state == CUBE_NODE_LEAVING)
		cube_timer_after(node->timer, CUBE_NODE_LEAVE_NS);
}

static void on_answer(void *arg, const char *const *answers, const char *why) {
	struct cube_mnode *node = arg;
	snprintf(node->no_answer, sizeof node->no_answer, "%s", answers ? "" : why);
	go_on(node);
	if (node->asked == CUBE_ASK_BECOME) {
		if (node->deploy) cube_deploy_answer(node, answers ? answers[0] : NULL);
		return;
	}
	if (answers && node->asked != CUBE_ASK_PASSPHRASE) node->by_person = true;
	if (node->transport) cube_transport_answer(node->transport, answers);
}

void cube_node_ask_init(struct cube_mnode *node) {
	node->asker = (struct cube_asker){.name = node->name, .answer = on_answer, .arg = node};
}

/* Until the configuration tells better. */
void cube_node_ask_begin(struct cube_mnode *node) {
	const struct passwd *pw = node->set.user ? NULL : getpwuid(getuid());
	const char *name = node->set.user ? node->set.user : pw ? pw->pw_name : "";
	snprintf(node->login, sizeof node->login, "%s", name);
	*node->no_answer = 0;
	node->by_person = node->touch = false;
	if (node->ask) node->by_jump = false;
	cube_prompts_begin(node->m->prompts, &node->asker, node->ask);
}

void cube_node_on_fact(struct cube_mnode *node, enum cube_transport_fact fact, const char *text) {
	if (fact == CUBE_FACT_CONFIG) {
		const char *user = strstr(text, "User=");
		if (user) sscanf(user + 5, "%63s", node->login);
	}
	if (fact == CUBE_FACT_JUMP) { /* what was asked so far was the jump host's */
		node->by_jump = true;
		node->by_person = false;
	}
	if (fact == CUBE_FACT_LOGIN &&
	    (strncmp(text, "password", 8) == 0 || strncmp(text, "keyboard", 8) == 0))
		node->by_person = true;
}

/* Where it came to OpenSSH for the sake of tickets, one may be all that was missing. */
static bool by_ticket(const struct cube_mnode *node) {
	return node->fallback && strncmp(node->fallback, "GSSAPI", 6) == 0;
}

void cube_node_add_reason(const struct cube_mnode *node, struct cube_err *err) {
	struct cube_err old = *err;
	if (err->code == CUBE_EAUTH && by_ticket(node)) {
		cube_fail(err, CUBE_EAUTH, "%.180s A Kerberos ticket might do: `kinit`", old.msg);
		return;
	}
	if (err->code == CUBE_ETIMEOUT && node->touch) {
		cube_fail(err, CUBE_ELOGIN, "its key has to be touched, and was not");
		return;
	}
	if (err->code != CUBE_ELOGIN || !*node->no_answer) return;
	cube_fail(err, CUBE_ELOGIN, "%.160s: %s", old.msg, node->no_answer);
}

bool cube_node_must_park(const struct cube_mnode *node, const struct cube_err *err) {
	if (err->code == CUBE_ELOGIN) return true;
	return node->joined && node->by_person && err->code != CUBE_EAUTH;
}

bool cube_node_is_out(const struct cube_mnode *node) {
	return (node->state == CUBE_NODE_FAILED && cube_list_empty(&node->attempts)) ||
	       node->state == CUBE_NODE_GONE ||
	       (node->state == CUBE_NODE_NEEDS_LOGIN && !node->joined);
}
