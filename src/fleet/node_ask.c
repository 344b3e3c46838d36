/* What a person has to answer for a node to join, and what follows from it. */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cube/events.h"
#include "node_link.h"

static const uint64_t TOUCH_NS = 100 * CUBE_NS_PER_S, ALONE_NS = 10 * CUBE_NS_PER_S;

static const char *const waiting[CUBE_ASK_KINDS] = {
	[CUBE_ASK_PASSWORD] = "waiting for a password",
	[CUBE_ASK_PASSPHRASE] = "waiting for a passphrase",
	[CUBE_ASK_KEYBOARD] = "waiting for an answer",
	[CUBE_ASK_BECOME] = "waiting for sudo's password",
};

/* The time a person takes is limited by prompts.c, not by the node's timer. */
void cube_node_ask(struct cube_node *node, const struct cube_ask *ask) {
	node->link->asked = ask->kind;
	*node->link->no_answer = 0;
	cube_node_step(node, waiting[ask->kind], -1);
	cube_timer_disarm(node->link->timer);
	cube_prompts_ask(node->fleet->is.prompts, &node->link->asker, ask);
}

/* Without a person at the command somebody may still see the key blink, but is not waited for. */
void cube_node_note(struct cube_node *node, const char *text) {
	uint64_t alone = node->set.connect_timeout_ns ? node->set.connect_timeout_ns : ALONE_NS;
	cube_events_note(node->fleet->is.events, node->id, node->name, text);
	node->link->touch = node->link->by_person = true;
	cube_node_step(node, "waiting for a touch of the key", -1);
	cube_timer_after(node->link->timer, node->link->ask ? TOUCH_NS : alone);
}

static void go_on(struct cube_node *node) {
	const char *step = cube_transport_step_name(CUBE_STEP_AUTH);
	cube_node_step(node, node->link->asked == CUBE_ASK_BECOME ? "probing" : step, -1);
	if (node->state == CUBE_NODE_LOST || node->state == CUBE_NODE_LEAVING)
		cube_timer_after(node->link->timer, CUBE_NODE_LEAVE_NS);
}

static void on_answer(void *arg, const char *const *answers, const char *why) {
	struct cube_node *node = arg;
	snprintf(node->link->no_answer, sizeof node->link->no_answer, "%s", answers ? "" : why);
	go_on(node);
	if (node->link->asked == CUBE_ASK_BECOME) {
		if (node->link->deploy)
			cube_deploy_answer(node->link->deploy, answers ? answers[0] : NULL);
		return;
	}
	if (answers && node->link->asked != CUBE_ASK_PASSPHRASE) node->link->by_person = true;
	if (node->link->transport) cube_transport_answer(node->link->transport, answers);
}

void cube_node_ask_init(struct cube_node *node) {
	node->link->asker =
		(struct cube_asker){.name = node->name, .answer = on_answer, .arg = node};
}

/* Until the configuration tells better. */
void cube_node_ask_begin(struct cube_node *node) {
	const struct passwd *pw = node->set.user ? NULL : getpwuid(getuid());
	const char *name = node->set.user ? node->set.user : pw ? pw->pw_name : "";
	snprintf(node->login, sizeof node->login, "%s", name);
	*node->link->no_answer = 0;
	node->link->by_person = node->link->touch = false;
	if (node->link->ask) node->link->by_jump = false;
	cube_prompts_begin(node->fleet->is.prompts, &node->link->asker, node->link->ask);
}

void cube_node_on_fact(struct cube_node *node, enum cube_transport_fact fact, const char *text) {
	if (fact == CUBE_FACT_CONFIG) {
		const char *user = strstr(text, "User=");
		if (user) sscanf(user + 5, "%63s", node->login);
	}
	if (fact == CUBE_FACT_JUMP) { /* what was asked so far was the jump host's */
		node->link->by_jump = true;
		node->link->by_person = false;
	}
	if (fact == CUBE_FACT_LOGIN &&
	    (strncmp(text, "password", 8) == 0 || strncmp(text, "keyboard", 8) == 0))
		node->link->by_person = true;
}

/* Where it came to OpenSSH for the sake of tickets, one may be all that was missing. */
static bool by_ticket(const struct cube_node *node) {
	return node->fallback && strncmp(node->fallback, "GSSAPI", 6) == 0;
}

void cube_node_add_reason(const struct cube_node *node, struct cube_err *err) {
	struct cube_err old = *err;
	if (err->code == CUBE_EAUTH && by_ticket(node)) {
		cube_fail(err, CUBE_EAUTH, "%.180s A Kerberos ticket might do: `kinit`", old.msg);
		return;
	}
	if (err->code == CUBE_ETIMEOUT && node->link->touch) {
		cube_fail(err, CUBE_ELOGIN, "its key has to be touched, and was not");
		return;
	}
	if (err->code != CUBE_ELOGIN || !*node->link->no_answer) return;
	cube_fail(err, CUBE_ELOGIN, "%.160s: %s", old.msg, node->link->no_answer);
}

bool cube_node_must_park(const struct cube_node *node, const struct cube_err *err) {
	if (err->code == CUBE_ELOGIN) return true;
	return node->joined && node->link->by_person && err->code != CUBE_EAUTH;
}

bool cube_node_is_out(const struct cube_node *node) {
	return (node->state == CUBE_NODE_FAILED && cube_node_idle(node)) ||
	       node->state == CUBE_NODE_GONE ||
	       (node->state == CUBE_NODE_NEEDS_LOGIN && !node->joined);
}
