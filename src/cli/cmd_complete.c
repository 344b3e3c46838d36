/* `cube complete -- WORDS...`: what the shells' completions call; see complete.h. WORDS are those
 * of the line behind `cube`, up to the cursor; the last one, maybe empty, is to be completed. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "complete.h"
#include "render.h"

struct args {
	struct cube_common common;
};

struct line {
	char **words;
	size_t n; /* the last one is under the cursor */
	const struct cube_command *command;
	size_t first;                  /* of the words behind the command's name */
	size_t named;                  /* words of the command, before the cursor */
	bool ended;                    /* by --, or by a word where that ends the options */
	const struct cube_option *opt; /* whose value the last word is */
};

/* ---- the command's options ------------------------------------------------------------------ */

static const struct cube_option *find(const struct cube_command *c, const char *name, size_t n,
				      char letter) {
	for (const struct cube_option_group *g = c->groups; g->v; g++)
		for (const struct cube_option *o = g->v; o->name; o++) {
			if (letter && o->letter == letter) return o;
			if (name && strlen(o->name) == n && !memcmp(o->name, name, n)) return o;
			if (name && o->alias && strlen(o->alias) == n && !memcmp(o->alias, name, n))
				return o;
		}
	return NULL;
}

/* What of the word is the option's value: *ret_value, or NULL where it is the next word. NULL: it
 * is no option with a value. */
static const struct cube_option *value_of(const struct cube_command *c, const char *word,
					  const char **ret_value) {
	const char *eq = strchr(word, '=');
	*ret_value = NULL;
	if (word[0] != '-' || !word[1]) return NULL;
	if (word[1] == '-') {
		size_t n = eq ? (size_t)(eq - word - 2) : strlen(word + 2);
		const struct cube_option *o = n ? find(c, word + 2, n, 0) : NULL;
		*ret_value = eq ? eq + 1 : NULL;
		return o && o->type != CUBE_OPT_FLAG ? o : NULL;
	}
	for (const char *p = word + 1; *p; p++) {
		const struct cube_option *o = find(c, NULL, 0, *p);
		if (!o) return NULL;
		if (o->type == CUBE_OPT_FLAG) continue;
		*ret_value = p[1] == '=' ? p + 2 : p[1] ? p + 1 : NULL;
		return o;
	}
	return NULL;
}

static void take_value(struct cube_complete *c, const struct cube_option *o, const char *value) {
	if (!strcmp(o->name, "hosts")) c->hosts = value;
	if (!strcmp(o->name, "ssh-config")) c->ssh_config = value;
	if (!strcmp(o->name, "cluster")) cube_paths_find(value, &c->cli->paths, NULL);
}

/* Walks the words before the cursor. */
static void read_words(struct cube_complete *c, struct line *l) {
	for (size_t i = l->first; i + 1 < l->n; i++) {
		const char *word = l->words[i], *value;
		const struct cube_option *o = l->ended ? NULL : value_of(l->command, word, &value);
		if (o && !value && i + 2 == l->n) {
			l->opt = o;
			return;
		}
		if (o && !value) value = l->words[++i];
		if (o) take_value(c, o, value);
		else if (!l->ended && !strcmp(word, "--")) l->ended = true;
		else if (l->ended || word[0] != '-') l->named++;
		if (l->named && l->command->stop_at_word) l->ended = true;
	}
}

/* ---- kinds of words ------------------------------------------------------------------------- */

/* Commands that say how hosts are reached can have any host; the others know nodes. */
static unsigned hosts_of(const struct cube_command *c) {
	return find(c, "ssh-config", 10, 0) ? CUBE_WORD_HOST : CUBE_WORD_NODE;
}

static unsigned kind_of_value(const struct cube_command *c, const struct cube_option *o) {
	const char *arg = o->arg ? o->arg : "";
	if (!strcmp(arg, "FILE") || !strcmp(arg, "KEY")) return CUBE_WORD_FILE;
	if (!strcmp(arg, "DIR")) return CUBE_WORD_DIR;
	if (!strcmp(arg, "ID")) return CUBE_WORD_TASK;
	if (!strcmp(arg, "NODE")) return CUBE_WORD_NODE;
	if (!strcmp(o->name, "jump")) return CUBE_WORD_HOST | CUBE_WORD_LIST;
	if (!strcmp(arg, "HOSTS")) return hosts_of(c) | CUBE_WORD_LIST;
	return 0;
}

/* By the usage's words. */
static unsigned kind_of_word(const struct line *l) {
	const struct cube_command *c = l->command;
	const char *u = c->usage;
	bool first = l->named == 0;
	if (c->no_words) return 0;
	if (!strcmp(u, "[COMMAND]")) return first ? CUBE_WORD_COMMAND : 0;
	if (strstr(u, "HOSTS:PATH")) return CUBE_WORD_NODE | CUBE_WORD_PATH | CUBE_WORD_FILE;
	if (strstr(u, "LOCALPORT")) return CUBE_WORD_NODE;
	unsigned kinds = strstr(u, "ID|job:ID") ? CUBE_WORD_TASK : 0;
	if (strstr(u, "COMMAND")) {
		bool program = strstr(u, "NODE") ? !first : l->ended || !strstr(u, "HOSTS");
		if (program)
			return l->named > (strstr(u, "NODE") ? 1u : 0u) ? CUBE_WORD_FILE
									: CUBE_WORD_PROGRAM;
	}
	if (strstr(u, "NODE")) return kinds | CUBE_WORD_NODE;
	if (strstr(u, "HOSTS")) return kinds | hosts_of(c) | CUBE_WORD_LIST;
	return kinds;
}

/* Moves what stays of the word to lead: the hosts before, a user's name, ports. */
static void split_part(struct cube_complete *c, unsigned kinds) {
	const char *last = c->part;
	for (const char *p = c->part; *p && (kinds & CUBE_WORD_LIST); p++)
		if (strchr(",!&", *p)) last = p + 1;
	const char *at = kinds & (CUBE_WORD_HOST | CUBE_WORD_PATH) ? strrchr(last, '@') : NULL;
	if (at && at != last) last = at + 1;
	const char *colon = kinds == CUBE_WORD_NODE ? strrchr(last, ':') : NULL;
	if (colon) last = colon + 1;
	char *lead = cube_strf("%s%.*s", c->lead, (int)(last - c->part), c->part);
	free(c->lead);
	c->lead = lead;
	c->part = last;
}

static void add_kinds(struct cube_complete *c, unsigned kinds) {
	const unsigned live = CUBE_WORD_HOST | CUBE_WORD_NODE | CUBE_WORD_TASK;
	if (kinds & CUBE_WORD_COMMAND)
		for (const struct cube_command *const *k = c->cli->commands; *k; k++)
			if (!(*k)->hidden) cube_complete_add(c, (*k)->name, (*k)->help);
	if (kinds & live) {
		split_part(c, kinds);
		if (kinds & CUBE_WORD_PATH) c->tail = ":";
		cube_complete_live(c, kinds & live);
	}
	if (kinds & CUBE_WORD_PROGRAM) cube_buf_addstr(&c->out, ":commands\n");
	if (kinds & CUBE_WORD_FILE) cube_buf_addstr(&c->out, ":files\n");
	if (kinds & CUBE_WORD_DIR) cube_buf_addstr(&c->out, ":dirs\n");
}

/* ---- completing ----------------------------------------------------------------------------- */

static void add_words_of(struct cube_complete *c, const char *list, char by) {
	while (*list) {
		size_t n = strcspn(list, (char[]){by, 0});
		cube_autofree char *word = cube_strndup(list, n);
		cube_complete_add(c, word, NULL);
		list += n + (list[n] != 0);
	}
}

static void add_value(struct cube_complete *c, const struct line *l, const struct cube_option *o) {
	if (o->choices) add_words_of(c, o->choices, '|');
	else if (!strcmp(o->name, "transport")) add_words_of(c, "auto|ssh|openssh", '|');
	else add_kinds(c, kind_of_value(l->command, o));
}

static void add_options(struct cube_complete *c, const struct cube_command *command) {
	for (const struct cube_option_group *g = command->groups; g->v; g++)
		for (const struct cube_option *o = g->v; o->name; o++) {
			cube_autofree char *name =
				cube_strf("--%s%s", o->name, o->type == CUBE_OPT_FLAG ? "" : "=");
			cube_complete_add(c, name, o->help);
		}
}

static void complete_word(struct cube_complete *c, struct line *l) {
	const char *word = l->words[l->n - 1], *value;
	const struct cube_option *o = NULL;
	c->part = word;
	if (l->opt) {
		add_value(c, l, l->opt);
		return;
	}
	if (!l->ended && word[0] == '-') {
		o = value_of(l->command, word, &value);
		if (!o || !value) {
			add_options(c, l->command);
			return;
		}
		free(c->lead);
		c->lead = cube_strndup(word, (size_t)(value - word));
		c->part = value;
		add_value(c, l, o);
		return;
	}
	add_kinds(c, kind_of_word(l));
}

/* Before the command's name only options of every command may stand. */
static void complete_line(struct cube_complete *c, struct line *l) {
	static const struct cube_option_group common[] = {
		{"Options", cube_common_options, 0},
		{0},
	};
	static const struct cube_command none = {
		.name = "", .usage = "[COMMAND]", .groups = common, .stop_at_word = true};
	const char *value;
	l->command = &none;
	while (l->first + 1 < l->n && l->words[l->first][0] == '-') {
		const struct cube_option *o = value_of(&none, l->words[l->first], &value);
		if (o && !value && l->first + 2 < l->n) value = l->words[++l->first];
		else if (o && !value) break;
		if (o) take_value(c, o, value);
		l->first++;
	}
	if (l->first + 1 < l->n && l->words[l->first][0] != '-') {
		l->command = cube_command_find(c->cli->commands, l->words[l->first++]);
		if (!l->command) return;
	}
	read_words(c, l);
	complete_word(c, l);
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	struct line l = {.words = words, .n = n};
	struct cube_complete c = {.cli = cli,
				  .hosts = getenv("CUBE_HOSTS"),
				  .ssh_config = getenv("CUBE_SSH_CONFIG"),
				  .lead = cube_strdup(""),
				  .tail = ""};
	cube_buf_init(&c.out, 4u << 20);
	if (n) complete_line(&c, &l);
	int code = cube_render_print(&c.out);
	cube_buf_done(&c.out);
	free(c.lead);
	return code;
}

static const struct cube_option_group groups[] = {
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_complete = {
	.name = "complete",
	.usage = "-- WORDS...",
	.help = "what may stand for the last of a line's words, for the shells' completions",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.stop_at_word = true,
	.hidden = true,
	.run = run,
};
