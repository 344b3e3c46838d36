/* A deploy over a node's open transport, and what it tells of the host. */
#include <string.h>

#include "cube/events.h"
#include "cube/mem.h"
#include "node_link.h"

static void on_stage(void *arg, enum cube_node_state stage) {
	struct cube_node *node = arg;
	static const enum cube_node_state before[] = {
		[CUBE_NODE_PROBING] = CUBE_NODE_CONNECTING,
		[CUBE_NODE_PUSHING] = CUBE_NODE_PROBING,
		[CUBE_NODE_STARTING] = CUBE_NODE_PUSHING,
	};
	/* One that is lost, or leaving, stays that on its way. */
	if (node->state == before[stage]) cube_node_set(node, stage, "");
}

static void on_step(void *arg, const char *step, double progress) {
	cube_node_step(arg, step, progress);
}

static void on_let_in(void *arg) {
	struct cube_node *node = arg;
	cube_prompts_passed(node->fleet->is.prompts, &node->link->asker);
}

static void on_touched(void *arg, bool on) {
	struct cube_node *node = arg;
	node->link->touched = on;
}

static void on_note(void *arg, const char *text) {
	struct cube_node *node = arg;
	cube_events_note(node->fleet->is.events, node->id, node->name, text);
}

static void on_ask(void *arg, const struct cube_ask *ask) {
	cube_node_ask(arg, ask);
}

static void end(struct cube_node *node) {
	cube_deploy_free(node->link->deploy);
	node->link->deploy = NULL;
}

static void on_attached(void *arg) {
	end(arg);
	cube_link_begin(arg);
}

static void on_cleaned(void *arg, const char *stays) {
	end(arg);
	cube_node_left_clean(arg, stays);
}

static void on_failed(void *arg, const struct cube_err *err) {
	cube_node_fail(arg, err);
}

static const struct cube_deploy_events events = {
	.stage = on_stage,
	.step = on_step,
	.let_in = on_let_in,
	.touched = on_touched,
	.note = on_note,
	.ask = on_ask,
	.attached = on_attached,
	.cleaned = on_cleaned,
	.failed = on_failed,
};

static void begin(struct cube_node *node) {
	struct cube_node_link *l = node->link;
	const char *transport = cube_node_transport(node);
	bool ours = strcmp(transport, "ssh") == 0 || strcmp(transport, "openssh") == 0 ||
		    strcmp(transport, "local") == 0;
	cube_autofree char *program = cube_strndup(transport, strcspn(transport, " \t"));
	struct cube_deploy_target target = {
		.cluster = node->fleet->is.cluster,
		.node = node->id,
		.machine = node->has_facts ? node->facts.machine : NULL,
		.login = node->login,
		.program = ours ? NULL : program,
		.become = node->set.become,
		.touched = l->touched,
	};
	cube_deploy_free(l->deploy);
	l->deploy = cube_deploy_new(l->transport, node->fleet->is.builds, &target, &events, node);
}

int cube_node_deploy(struct cube_node *node, struct cube_err *err) {
	begin(node);
	return cube_deploy_begin(node->link->deploy, err);
}

int cube_node_clean(struct cube_node *node, struct cube_err *err) {
	begin(node);
	return cube_deploy_clean(node->link->deploy, err);
}

bool cube_node_fall_back(struct cube_node *node, const struct cube_err *err) {
	if (err->code != CUBE_ELIBRARY || !cube_node_settings_choose(&node->set) || node->fallback)
		return false;
	cube_autofree char *text = cube_strf("using OpenSSH's ssh: %s", err->msg);
	node->fallback = cube_strdup(err->msg);
	cube_node_persist(node);
	cube_events_note(node->fleet->is.events, node->id, node->name, text);
	return true;
}
