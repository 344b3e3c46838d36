#include "man.h"

#include <string.h>

#include "cube/mem.h"

/* Text in which nothing is roff's: a line's first . and ', backslashes, and characters that
 * typesetters would make prettier than a shell can take. */
static int add_text(struct cube_buf *out, const char *text) {
	int rc = 0;
	bool begin = true;
	for (; *text && !rc; text++) {
		if (begin && (*text == '.' || *text == '\'')) rc = cube_buf_addstr(out, "\\&");
		switch (*text) {
		case '\\': rc = cube_buf_addstr(out, "\\e"); break;
		case '-': rc = cube_buf_addstr(out, "\\-"); break;
		case '\'': rc = cube_buf_addstr(out, "\\(aq"); break;
		case '`': rc = cube_buf_addstr(out, "\\(ga"); break;
		case '^': rc = cube_buf_addstr(out, "\\(ha"); break;
		case '~': rc = cube_buf_addstr(out, "\\(ti"); break;
		default: rc = cube_buf_add(out, text, 1);
		}
		begin = *text == '\n';
	}
	return rc;
}

/* A macro, then text. */
static int add_line(struct cube_buf *out, const char *macro, const char *text) {
	int rc = cube_buf_addstr(out, macro);
	if (!rc) rc = add_text(out, text);
	return rc ? rc : cube_buf_addstr(out, "\n");
}

/* As it stands, each line one of its own. */
static int add_example(struct cube_buf *out, const char *text) {
	int rc = cube_buf_addstr(out, ".PP\n.EX\n");
	if (!rc) rc = add_text(out, text);
	return rc ? rc : cube_buf_addstr(out, ".EE\n");
}

static int add_option(struct cube_buf *out, const struct cube_option *o) {
	cube_autofree char *letter = o->letter ? cube_strf("-%c, ", o->letter) : cube_strdup("");
	cube_autofree char *alias = o->alias ? cube_strf(", --%s", o->alias) : cube_strdup("");
	cube_autofree char *name = cube_strf("%s--%s%s", letter, o->name, alias);
	int rc = cube_buf_addstr(out, ".TP\n\\fB");
	if (!rc) rc = add_text(out, name);
	if (!rc) rc = cube_buf_addstr(out, "\\fR");
	if (!rc && o->arg) rc = cube_buf_addstr(out, " \\fI");
	if (!rc && o->arg) rc = add_text(out, o->arg);
	if (!rc && o->arg) rc = cube_buf_addstr(out, "\\fR");
	if (!rc) rc = cube_buf_addstr(out, "\n");
	if (!rc) rc = add_text(out, o->help);
	if (!rc && o->choices) {
		cube_autofree char *choices = cube_strf("; one of %s", o->choices);
		rc = add_text(out, choices);
	}
	if (!rc && o->def && *o->def) {
		cube_autofree char *def = cube_strf(" (default: %s)", o->def);
		rc = add_text(out, def);
	}
	return rc ? rc : cube_buf_addstr(out, "\n");
}

static int add_options(struct cube_buf *out, const struct cube_option *v) {
	int rc = 0;
	for (; !rc && v->name; v++) rc = add_option(out, v);
	return rc;
}

static int add_command(struct cube_buf *out, const struct cube_command *c) {
	cube_autofree char *usage = cube_strf("cube %s %s", c->name, c->usage);
	int rc = add_line(out, ".SS ", usage);
	if (!rc) rc = add_line(out, "", c->help);
	if (!rc && c->aliases) rc = add_line(out, ".PP\nAlso called: ", c->aliases);
	if (!rc && c->text) rc = add_example(out, c->text);
	for (const struct cube_option_group *g = c->groups; !rc && g->v; g++) {
		if (g->v == cube_common_options) continue; /* told once */
		rc = add_line(out, ".PP\n", g->title);
		if (!rc) rc = add_options(out, g->v);
	}
	return rc;
}

static const char HEAD[] =
	".TH CUBE 1 \"\" \"cube " CUBE_VERSION "\" \"User Commands\"\n"
	".SH NAME\n"
	"cube \\- turn machines reachable by ssh into one computer\n"
	".SH SYNOPSIS\n"
	"\\fBcube\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [...]\n"
	".SH DESCRIPTION\n"
	"cube starts a small worker on each host over ssh, runs tasks there and streams their output\n"
	"and the hosts\\(aq metrics back.\n"
	"Nothing has to be installed on the hosts, and after \\fBcube down\\fR nothing of it is left "
	"there.\n"
	"A manager process on this machine keeps the connections; the first \\fBcube spawn\\fR starts "
	"it,\n"
	"tasks go on while it is away.\n"
	".PP\n"
	"A list of hosts is written as names, ranges and groups: \\fBweb[1\\-8],db1\\fR, "
	"\\fB@group\\fR of the hosts file,\n"
	"\\fB\\(hafile\\fR with an expression a line, \\fB\\-\\fR for standard input, "
	"\\fBuser@host:port\\fR, \\fBlocalhost*3\\fR;\n"
	"\\fB!\\fR takes out, \\fB&\\fR keeps what both sides have.\n";

static const char TAIL[] =
	".SH ENVIRONMENT\n"
	"Each option \\fB\\-\\-some\\-name\\fR can also be given as \\fBCUBE_SOME_NAME\\fR; the command "
	"line goes first.\n"
	".TP\n\\fBCUBE_STATE_DIR\\fR\nwhere cube keeps what it knows "
	"(\\fI$XDG_STATE_HOME/cube\\fR, \\fI\\(ti/.local/state/cube\\fR)\n"
	".TP\n\\fBCUBE_CLUSTER\\fR\nwhich cluster, as \\fB\\-\\-cluster\\fR\n"
	".TP\n\\fBCUBE_CC_\\fIARCH\\fR\n"
	"the compiler for workers of another architecture that cube has none for\n"
	".TP\n\\fBXDG_CACHE_HOME\\fR\nwhere to keep what can be made again "
	"(\\fI\\(ti/.cache\\fR)\n"
	".TP\n\\fBSSH_AUTH_SOCK\\fR\nthe ssh agent, as for ssh\n"
	".TP\n\\fBNO_COLOR\\fR, \\fBCOLUMNS\\fR, \\fBLINES\\fR, \\fBTERM\\fR\nas usual\n"
	".PP\n"
	"A task finds \\fBCUBE_TASK_ID\\fR, \\fBCUBE_JOB_ID\\fR, \\fBCUBE_HOST\\fR and others in its "
	"environment.\n"
	".SH EXIT STATUS\n"
	"\\fBcube run\\fR, \\fBexec\\fR, \\fBwait\\fR and \\fBspawn\\fR with a command exit as that "
	"command did:\n"
	".TP\n\\fB0\\fR..\\fB255\\fR\n"
	"its own exit status; of several tasks how many failed, at most 100, and 101 for more\n"
	".TP\n\\fB124\\fR\nit was stopped after its \\fB\\-\\-timeout\\fR\n"
	".TP\n\\fB125\\fR\n"
	"cube itself failed, or there is no such node or task; the reason is on standard error\n"
	".TP\n\\fB126\\fR, \\fB127\\fR\nit cannot be executed there, is not found there\n"
	".TP\n\\fB128+\\fIn\\fR\nit was ended by signal \\fIn\\fR\n"
	".PP\n"
	"All other commands exit with\n"
	".TP\n\\fB0\\fR\nwhen all went well\n"
	".TP\n\\fB1\\fR\nwhen something failed, or a node or task does not exist\n"
	".PP\n"
	"and each of them with\n"
	".TP\n\\fB2\\fR\nwhen the command line cannot be understood\n"
	".TP\n\\fB128+\\fIn\\fR\n"
	"when signal \\fIn\\fR ended cube itself: 130 for Ctrl\\-C, 141 when nobody reads standard "
	"output\n"
	".SH FILES\n"
	".TP\n\\fI\\(ti/.local/state/cube/CLUSTER/\\fR\n"
	"database, logs and the manager\\(aqs own log\n"
	".TP\n\\fI\\(ti/.cache/cube/\\fR\n"
	"here: answers of ssh \\-G, workers built for other machines. On a host: the worker\n"
	".TP\n\\fI\\(ti/.ssh/config\\fR, \\fI/etc/ssh/ssh_config\\fR\n"
	"as for ssh, in full where OpenSSH is installed\n"
	".TP\n\\fI\\(ti/.ssh/known_hosts\\fR\n"
	"host keys; the first one of a host is accepted and added, see "
	"\\fB\\-\\-host\\-key\\-check\\fR\n"
	".SH EXAMPLES\n"
	".EX\n"
	"cube spawn \\-\\-workers=\\(aqweb[1\\-8],db1\\(aq      # make them nodes\n"
	"cube run \\-\\-all \\-b \\-\\- uname \\-r           # on each of them, equal output once\n"
	"cube run \\-n 100 \\-\\- ./simulate           # a hundred tasks, wherever there is room\n"
	"cube logs \\-f 17                          # what task 17 prints\n"
	"cube spawn \\-w h1,h2 \\-\\- ./bench        # join, run, take down\n"
	"cube down                                # leave the hosts as they were\n"
	".EE\n"
	".SH SEE ALSO\n"
	".BR ssh (1),\n"
	".BR ssh_config (5)\n";

int cube_man_page(const struct cube_command *const *table, struct cube_buf *out) {
	int rc = cube_buf_addstr(out, HEAD);
	if (!rc) rc = cube_buf_addstr(out, ".SH COMMANDS\n");
	for (const struct cube_command *const *c = table; !rc && *c; c++)
		if (!(*c)->hidden) rc = add_command(out, *c);
	if (!rc) rc = cube_buf_addstr(out, ".SH OPTIONS OF EVERY COMMAND\n");
	if (!rc) rc = add_options(out, cube_common_options);
	return rc ? rc : cube_buf_addstr(out, TAIL);
}
