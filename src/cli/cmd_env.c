#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "cube/mem.h"
#include "cube/text.h"
#include "render.h"
#include "stream.h"

#define TEXT_MAX (8u << 20)

struct args {
	struct cube_common common;
	const char *output;
	bool login;
};

static const struct cube_option options[] = {
	{"login", NULL, 0, CUBE_OPT_FLAG, offsetof(struct args, login), NULL,
	 "what tasks get with --login: the environment of the user's login shell"},
	{"output", NULL, 'o', CUBE_OPT_STRING, offsetof(struct args, output), "FORMAT",
	 "text or json", "text", "text|json"},
	{0},
};

struct asking {
	struct cube_rstream *stream;
	struct cube_buf text, complaint;
};

static int on_data(void *arg, int fd, const uint8_t *bytes, size_t n, struct cube_err *err) {
	struct asking *a = arg;
	size_t room = cube_buf_room(&a->complaint);
	cube_rstream_grant(a->stream, fd, n);
	if (fd == 2) {
		cube_buf_add(&a->complaint, bytes, n < room ? n : room);
		return 0;
	}
	if (!cube_buf_add(&a->text, bytes, n)) return 0;
	return cube_fail(err, CUBE_ETOOBIG, "more than 8 MiB of environment");
}

/* What kept it from starting was told. */
static void tell_complaint(struct asking *a, const char *node) {
	const char *text = cube_buf_str(&a->complaint);
	if (cube_rstream_result(a->stream).how == CUBE_EXIT_EXITED)
		cube_cli_say("error: %s: its environment cannot be read: %.*s", node,
			     (int)strcspn(text, "\n"), text);
}

/* Runs the worker's `environ` there; its output into a->text. *ret_code: the exit code, not 0 when
 * it was told what went wrong. */
static int ask(struct cube_cli *cli, const char *node, bool login, struct asking *a, int *ret_code,
	       struct cube_err *err) {
	static const char *const argv[] = {"environ", NULL};
	static const struct cube_rstream_ops ops = {on_data};
	struct cube_rstream_open open = {
		.node = node,
		.argv = argv,
		.flags = (uint8_t)(CUBE_OPEN_OWN | (login ? CUBE_OPEN_LOGIN : 0)),
	};
	int rc = cube_rstream_open_waiting(cli, &open, &ops, a, &a->stream, err);
	if (!rc) cube_rstream_end(a->stream);
	if (!rc) rc = cube_rstream_finish(a->stream, node, CUBE_RSTREAM_SILENCE, err);
	if (rc && a->stream && rc != CUBE_ECONNECT) cube_wrap(err, "%.80s", node);
	if (!rc) *ret_code = cube_rstream_exit(a->stream, node);
	if (!rc && *ret_code) tell_complaint(a, node);
	cube_rstream_free(a->stream);
	return rc;
}

static int compare(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The cookies are how a worker finds its processes again: of no interest, and new each time. */
static bool is_shown(const char *entry) {
	return strncmp(entry, "CUBE_COOKIE=", 12) != 0 &&
	       strncmp(entry, "CUBE_NODE_COOKIE=", 17) != 0 && strchr(entry, '=');
}

static void sort_entries(const struct cube_buf *text, struct cube_strv *ret) {
	const char *p = (const char *)cube_buf_data(text), *end = p + cube_buf_len(text);
	while (p < end) {
		size_t n = strnlen(p, (size_t)(end - p));
		cube_strv_addn(ret, p, n);
		if (!is_shown(ret->v[ret->len - 1])) free(ret->v[--ret->len]);
		p += n + 1;
	}
	if (ret->len) qsort(ret->v, ret->len, sizeof *ret->v, compare);
}

static int print(const struct cube_strv *env, bool json) {
	struct cube_buf out;
	json_t *object = json_object();
	int rc = 0;
	cube_buf_init(&out, 8 * TEXT_MAX);
	for (size_t i = 0; !rc && i < env->len; i++) {
		const char *entry = env->v[i], *value = strchr(entry, '=') + 1;
		cube_autofree char *key = cube_strndup(entry, (size_t)(value - entry - 1));
		if (json && cube_text_is_utf8(key, strlen(key)))
			json_object_set_new(object, key, cube_json_bytes(value, strlen(value)));
		if (!json) rc = cube_text_escape(&out, entry, strlen(entry));
		if (!json && !rc) rc = cube_buf_addstr(&out, "\n");
	}
	if (json && !rc) rc = cube_render_json(object, JSON_INDENT(2), &out);
	json_decref(object);
	int code = rc ? 125 : cube_render_print(&out);
	cube_buf_done(&out);
	return code;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct asking asking = {0};
	struct cube_strv env = {0};
	struct cube_err err;
	int rc = 0, code = 0;
	cube_buf_init(&asking.text, TEXT_MAX);
	cube_buf_init(&asking.complaint, 1024);
	if (n != 1) rc = cube_fail(&err, CUBE_EUSAGE, "of which node? cube env [--login] NODE");
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (!rc) rc = ask(cli, words[0], a->login, &asking, &code, &err);
	if (rc) code = cube_cli_fail(&err);
	if (!code) {
		sort_entries(&asking.text, &env);
		code = print(&env, strcmp(a->output, "json") == 0);
		cube_strv_done(&env);
	}
	cube_buf_done(&asking.text);
	cube_buf_done(&asking.complaint);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_env = {
	.name = "env",
	.usage = "[OPTIONS] NODE",
	.help = "show the environment that tasks get on a node",
	.text = "Sorted, as K=V lines (control characters escaped) or one JSON object. A task has\n"
		"CUBE_TASK_ID, CUBE_ATTEMPT, and what its -e says, in addition. What differs with --login\n"
		"is what start-up files of the login shell set: ssh commands do not read those.\n",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
