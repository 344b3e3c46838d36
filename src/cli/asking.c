#include "asking.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cube/text.h"
#include "render.h"
#include "select.h"
#include "terminal.h"

#define TEXT_MAX (64u << 10)

bool cube_asking_possible(void) {
	int fd = cube_terminal_open();
	if (fd >= 0) close(fd);
	return fd >= 0;
}

/* ---- on the screen ---- */

static void print(struct cube_asking *a, struct cube_buf *text) {
	const uint8_t *bytes = cube_buf_data(text);
	for (size_t at = 0; at < cube_buf_len(text);) {
		ssize_t n = write(a->fd, bytes + at, cube_buf_len(text) - at);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) break;
		at += (size_t)n;
	}
	cube_buf_done(text);
}

static void print_text(struct cube_asking *a, const char *s) {
	struct cube_buf text;
	cube_buf_init(&text, TEXT_MAX);
	cube_buf_addstr(&text, s);
	print(a, &text);
}

/* What a server says: its lines, without anything that moves the cursor. Returns the last one's
 * beginning; with last, that one is added too. */
static const char *add_lines(struct cube_buf *out, const char *s, bool last) {
	const char *nl;
	while ((nl = strpbrk(s, "\r\n"))) {
		cube_text_escape(out, s, (size_t)(nl - s));
		if (nl > s || *nl == '\n') cube_buf_addstr(out, "\n");
		s = nl + 1;
	}
	if (!last || !*s) return s;
	cube_text_escape(out, s, strlen(s));
	cube_buf_addstr(out, "\n");
	return s;
}

static const json_t *at_hand(const struct cube_asking *a) {
	return json_array_get(a->waiting, 0);
}

static const json_t *line_at_hand(const struct cube_asking *a) {
	return json_array_get(json_object_get(at_hand(a), "prompts"), a->at);
}

/* "(web[1-8]): ", or how many where the names would not fit. */
static void add_names(struct cube_buf *out, const json_t *names, size_t room) {
	cube_autofree char *folded = cube_fold_names(names);
	struct cube_buf safe;
	cube_buf_init(&safe, TEXT_MAX);
	cube_text_escape(&safe, folded, strlen(folded));
	if (strlen(cube_buf_str(&safe)) <= room)
		cube_buf_printf(out, "(%s): ", cube_buf_str(&safe));
	else cube_buf_printf(out, "(%zu nodes): ", json_array_size(names));
	cube_buf_done(&safe);
}

/* The line that is to be answered. */
static void add_question(struct cube_asking *a, struct cube_buf *out, bool whole) {
	const char *text = cube_json_str(line_at_hand(a), "text", "");
	struct cube_buf before;
	size_t width = 80, height;
	cube_render_terminal(a->fd, &width, &height);
	cube_buf_init(&before, TEXT_MAX);
	const char *last = add_lines(&before, text, false);
	if (whole) cube_buf_addstr(out, cube_buf_str(&before));
	cube_buf_done(&before);
	size_t n = strlen(last), head = cube_buf_len(out);
	while (n && last[n - 1] == ' ') n--;
	if (n && last[n - 1] == ':') n--;
	cube_text_escape(out, last, n);
	cube_buf_addstr(out, " ");
	size_t used = cube_text_width(cube_buf_str(out) + head);
	add_names(out, json_object_get(at_hand(a), "nodes"),
		  width > used + 5 ? width - used - 5 : 0);
	used = cube_text_width(cube_buf_str(out) + head);
	a->above = used ? (used - 1) / width : 0;
}

static bool asks_for(const struct cube_asking *a, const char *node) {
	size_t i;
	json_t *name;
	json_array_foreach(json_object_get(at_hand(a), "nodes"), i, name) {
		if (json_is_string(name) && strcmp(json_string_value(name), node) == 0) return true;
	}
	return false;
}

/* What comes once, ahead of the first line. */
static void add_head(struct cube_asking *a, struct cube_buf *out) {
	const char *refused = cube_json_str(at_hand(a), "refused_by", NULL);
	if (a->at) return;
	add_lines(out, cube_json_str(at_hand(a), "title", ""), true);
	if (!refused) return;
	cube_text_escape(out, refused, strlen(refused));
	cube_buf_addstr(out, " refused it; once more");
	if (!asks_for(a, refused)) {
		cube_buf_addstr(out, ", without ");
		cube_text_escape(out, refused, strlen(refused));
	}
	cube_buf_addstr(out, "\n");
}

static void show(struct cube_asking *a) {
	struct cube_buf text;
	bool first = !a->begun;
	if (a->shown || !at_hand(a)) return;
	if (a->owner.hide) a->owner.hide(a->arg);
	if (first && cube_terminal_begin(a->fd, cube_json_true(line_at_hand(a), "echo"))) return;
	a->begun = a->shown = true;
	a->hook.fd = a->fd;
	cube_buf_init(&text, TEXT_MAX);
	if (first) add_head(a, &text);
	add_question(a, &text, first);
	print(a, &text);
}

void cube_asking_hide(struct cube_asking *a) {
	if (!a->started || !a->shown) return;
	a->shown = false;
	if (!cube_render_live(a->fd)) {
		print_text(a, "\n");
		return;
	}
	struct cube_buf codes;
	cube_buf_init(&codes, 64);
	if (a->above) cube_buf_printf(&codes, "\033[%zuA", a->above);
	cube_buf_addstr(&codes, a->above ? "\r\033[J" : "\r\033[K");
	print(a, &codes);
}

/* The terminal is not ours any more. */
static void leave_line(struct cube_asking *a, const char *last) {
	if (a->begun) cube_terminal_end();
	if (a->shown) print_text(a, last);
	a->begun = a->shown = false;
	a->hook.fd = -1; /* what is typed now is for the shell */
}

/* ---- answers ---- */

static void wipe(struct cube_asking *a) {
	explicit_bzero(a->answers, sizeof a->answers);
	a->used = a->at = 0;
}

static void drop_first(struct cube_asking *a) {
	wipe(a);
	json_array_remove(a->waiting, 0);
}

static void post(struct cube_asking *a, json_t *taken) {
	struct cube_err err;
	cube_autofree char *path = cube_strf(
		"/v1/prompts/%llu", (unsigned long long)cube_json_num(at_hand(a), "prompt", 0));
	int rc = cube_client_json_secret(a->cli->client, "POST", path, taken, &err);
	if (rc && rc != CUBE_ECONNECT) cube_cli_say("the answer came too late: %s", err.msg);
}

static void refuse(struct cube_asking *a) {
	leave_line(a, "\n");
	post(a, json_pack("{s:b}", "refuse", 1));
	drop_first(a);
}

static void answer(struct cube_asking *a) {
	cube_client_secret_begin();
	json_t *list = json_array();
	for (size_t i = 0; i < a->at; i++)
		json_array_append_new(list, json_string_nocheck(a->answers[i]));
	cube_client_secret_end();
	post(a, json_pack("{s:o}", "answers", list));
	drop_first(a);
}

/* An empty line is an answer only where it can be seen: "Press Enter to go on". */
static void on_line(struct cube_asking *a, bool ended) {
	bool echo = cube_json_true(line_at_hand(a), "echo");
	bool empty = a->used == 0;
	a->answers[a->at][a->used] = 0;
	if (!cube_text_is_utf8(a->answers[a->at], a->used)) {
		leave_line(a, "\n");
		cube_cli_say("an answer has to be UTF-8");
		refuse(a);
		return;
	}
	if (empty && (ended || !echo)) {
		refuse(a);
		return;
	}
	leave_line(a, echo && !ended ? "" : "\n");
	a->used = 0;
	a->at++;
	if (a->at == json_array_size(json_object_get(at_hand(a), "prompts"))) answer(a);
}

static void on_readable(struct cube_asking *a) {
	char *line = a->answers[a->at], *nl;
	size_t room = CUBE_ASKING_ANSWER + 1 - a->used;
	if (room == 0) {
		leave_line(a, "\n");
		cube_cli_say("that is longer than any password");
		refuse(a);
		return;
	}
	ssize_t n = read(a->fd, line + a->used, room);
	if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
	if (n <= 0) {
		on_line(a, true);
		return;
	}
	nl = memchr(line + a->used, '\n', (size_t)n);
	a->used = nl ? (size_t)(nl - line) : a->used + (size_t)n;
	if (nl) on_line(a, false);
}

/* Each turn: a question that was hidden comes back, and the next one after an answered one. */
static void on_turn(void *arg, enum cube_client_turn what) {
	struct cube_asking *a = arg;
	if (what == CUBE_TURN_INTERRUPTED) {
		a->over = true;
		while (at_hand(a)) refuse(a);
		return;
	}
	if (what == CUBE_TURN_READABLE && a->begun) on_readable(a);
	while (a->over && at_hand(a)) refuse(a);
	if (cube_terminal_was_stopped()) a->shown = false;
	show(a);
}

/* ---- questions ---- */

static size_t find(const struct cube_asking *a, const json_t *data) {
	size_t i;
	json_t *q;
	json_array_foreach(a->waiting, i, q) {
		if (json_equal(json_object_get(q, "prompt"), json_object_get(data, "prompt")))
			return i;
	}
	return json_array_size(a->waiting);
}

static bool is_ours(const struct cube_asking *a, const json_t *data) {
	size_t i;
	json_t *name;
	json_array_foreach(json_object_get(data, "nodes"), i, name) {
		if (json_is_string(name) && a->owner.waits_for(a->arg, json_string_value(name)))
			return true;
	}
	return false;
}

static void on_prompt(struct cube_asking *a, const json_t *data) {
	size_t i = find(a, data);
	if (!is_ours(a, data)) return;
	json_t *copy = json_deep_copy(data);
	if (json_array_size(json_object_get(data, "prompts")) > CUBE_ASKING_PROMPTS) {
		json_decref(copy);
		return;
	}
	if (i == json_array_size(a->waiting)) {
		json_array_append_new(a->waiting, copy);
		return;
	}
	json_array_set_new(a->waiting, i, copy);
	/* More nodes want the same. What is being typed unseen stays. */
	if (i == 0 && a->shown && !cube_json_true(line_at_hand(a), "echo") &&
	    cube_render_live(a->fd))
		cube_asking_hide(a);
}

void cube_asking_event(struct cube_asking *a, const char *event, const json_t *data) {
	if (!a->started) return;
	if (strcmp(event, "prompt") == 0) {
		on_prompt(a, data);
	} else if (strcmp(event, "prompt-gone") == 0) {
		size_t i = find(a, data);
		if (i == json_array_size(a->waiting)) return;
		if (i == 0) {
			leave_line(a, "\n");
			drop_first(a);
		} else {
			json_array_remove(a->waiting, i);
		}
	}
}

bool cube_asking_busy(const struct cube_asking *a) {
	return a->started && at_hand(a) != NULL;
}

/* ---- begin and end ---- */

void cube_asking_start(struct cube_asking *a, struct cube_cli *cli, struct cube_asking_owner owner,
		       void *arg) {
	struct rlimit none = {0, 0};
	memset(a, 0, sizeof *a);
	a->fd = cube_terminal_open();
	if (a->fd < 0) return;
	/* What is typed is in our memory for a moment: no core of it, and nobody reads it. */
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	a->cli = cli;
	a->owner = owner;
	a->arg = arg;
	a->waiting = json_array();
	a->started = true;
	a->hook = (struct cube_client_hook){.fd = -1, .fn = on_turn, .arg = a};
	cube_client_hook_add(cli->client, &a->hook);
}

void cube_asking_stop(struct cube_asking *a) {
	if (!a->started) return;
	a->started = false;
	leave_line(a, "\n");
	wipe(a);
	cube_client_hook_remove(a->cli->client, &a->hook);
	json_decref(a->waiting);
	close(a->fd);
}
