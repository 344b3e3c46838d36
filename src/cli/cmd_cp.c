/* cube cp: files and folders to hosts, and from them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "cp.h"
#include "cube/clock.h"
#include "render.h"
#include "select.h"
#include "signals.h"

struct args {
	struct cube_common common;
	const char *hosts, *output;
	uint64_t wait, fanout;
	bool recursive, preserve, quiet;
};

#define AT(member) offsetof(struct args, member)
static const struct cube_option options[] = {
	{"hosts", "inventory", 'i', CUBE_OPT_STRING, AT(hosts), "FILE", "hosts file, for @groups"},
	{"wait", NULL, 0, CUBE_OPT_DURATION, AT(wait), "TIME",
	 "for a node whose link broke to be back", "60s"},
	{"fanout", NULL, 'f', CUBE_OPT_UINT, AT(fanout), "N", "hosts at a time", "64", NULL, 1,
	 1024},
	{"quiet", NULL, 'q', CUBE_OPT_FLAG, AT(quiet), NULL, "no progress, no summary"},
	{"output", NULL, 'o', CUBE_OPT_STRING, AT(output), "FORMAT", "a summary on stdout: json",
	 NULL, "json"},
	{"recursive", NULL, 'r', CUBE_OPT_FLAG, AT(recursive), NULL,
	 "as for scp; folders are always copied"},
	{"preserve", NULL, 0, CUBE_OPT_FLAG, AT(preserve), NULL,
	 "as for scp; modes and times are always kept"},
	{0},
};

/* ---- what is to be copied where ----------------------------------------------------------- */

static int names_of(const struct args *a, const char *expr, struct cube_selection *s,
		    struct cube_err *err) {
	struct cube_select o = {.hosts = a->hosts};
	char *words[] = {(char *)(uintptr_t)expr, NULL};
	int rc = cube_select_hosts(&o, words, false, s, err);
	if (!rc && s->set.len == 0) rc = cube_fail(err, CUBE_EUSAGE, "%.80s: names no host", expr);
	return rc;
}

/* Sources that are not there are told once, not by each host. */
static int plan_up(const struct args *a, struct cube_cp *cp, char **words, size_t n,
		   const struct cube_cp_operand *to, int *ret_code, struct cube_err *err) {
	struct cube_selection s = {0};
	const char **paths = cube_alloc((n + 1) * sizeof *paths);
	int rc = names_of(a, to->hosts, &s, err);
	cp->up = true;
	cp->paths = paths;
	cp->folder = n > 1;
	for (size_t i = 0; !rc && i < n; i++) {
		struct stat st;
		if (stat(words[i], &st) == 0 || lstat(words[i], &st) == 0) {
			paths[cp->npaths++] = words[i];
			continue;
		}
		cube_cli_say("error: %s: %s", words[i], strerror(errno));
		*ret_code = 1;
	}
	for (size_t i = 0; !rc && cp->npaths && i < s.set.len; i++)
		cube_cp_add(cp, s.set.v[i].name, *to->path ? to->path : ".");
	if (!rc) cube_copy_measure(paths, cp->npaths, &cp->total_files, &cp->total_bytes);
	cube_selection_done(&s);
	return rc;
}

static struct cube_cp_host *host_of(struct cube_cp *cp, const char *node) {
	for (size_t i = 0; i < cp->n; i++)
		if (strcmp(cp->hosts[i].node, node) == 0) return &cp->hosts[i];
	return cube_cp_add(cp, node, "");
}

/* From several hosts each gets a folder of its name. */
static int place_down(struct cube_cp *cp, const char *dir, struct cube_err *err) {
	size_t most = 0;
	for (size_t i = 0; i < cp->n; i++)
		if (cp->hosts[i].paths.len > most) most = cp->hosts[i].paths.len;
	cp->folder = cp->n > 1 || most > 1;
	cp->make = cp->n > 1;
	if (cp->n > 1 && mkdir(dir, 0777) < 0 && errno != EEXIST)
		return cube_fail_sys(err, errno, "%.160s", dir);
	for (size_t i = 0; i < cp->n; i++) {
		struct cube_cp_host *h = &cp->hosts[i];
		free(h->dest);
		h->dest = cp->n > 1 ? cube_strf("%s/%s", dir, h->node) : cube_strdup(dir);
	}
	return 0;
}

/* The home itself has no name here, as it has none in "HOST:"; and nothing is an option there. */
static void add_path(struct cube_strv *paths, const char *path) {
	bool home = path[0] == '~' && path[1 + strspn(path + 1, "/")] == '\0';
	cube_autofree char *text = cube_strf("%s%s", *path == '-' ? "./" : "", path);
	cube_strv_add(paths, *path && !home ? text : ".");
}

static int plan_down(const struct args *a, struct cube_cp *cp, char **words, size_t n,
		     const char *dir, struct cube_err *err) {
	int rc = 0;
	for (size_t i = 0; !rc && i < n; i++) {
		struct cube_cp_operand from = cube_cp_operand(words[i]);
		struct cube_selection s = {0};
		if (!from.hosts)
			rc = cube_fail(
				err, CUBE_EUSAGE,
				"%.80s: of no host; what is copied is all here, or all on hosts",
				words[i]);
		if (!rc) rc = names_of(a, from.hosts, &s, err);
		for (size_t k = 0; !rc && k < s.set.len; k++)
			add_path(&host_of(cp, s.set.v[k].name)->paths, from.path);
		cube_selection_done(&s);
		free(from.hosts);
	}
	return rc ? rc : place_down(cp, dir, err);
}

static int plan(const struct args *a, struct cube_cp *cp, char **words, size_t n, int *ret_code,
		struct cube_err *err) {
	if (n < 2)
		return cube_fail(
			err, CUBE_EUSAGE,
			"what, and where to? cube cp FILE... HOSTS:PATH, or HOSTS:PATH... PATH");
	struct cube_cp_operand to = cube_cp_operand(words[n - 1]);
	size_t remote = 0;
	for (size_t i = 0; i + 1 < n; i++) {
		struct cube_cp_operand o = cube_cp_operand(words[i]);
		remote += o.hosts != NULL;
		free(o.hosts);
	}
	int rc;
	if (to.hosts && remote)
		rc = cube_fail(
			err, CUBE_EUSAGE,
			"from host to host: copy it here first (a file here whose name has a colon is ./NAME)");
	else if (to.hosts) rc = plan_up(a, cp, words, n - 1, &to, ret_code, err);
	else if (remote) rc = plan_down(a, cp, words, n - 1, to.path, err);
	else rc = cube_fail(err, CUBE_EUSAGE, "no host is named; write HOST:PATH");
	free(to.hosts);
	return rc;
}

/* ---- doing it ----------------------------------------------------------------------------- */

/* Each host takes some files open at a time. */
static void allow_files(void) {
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* 0, or the signal that ended it. */
static int drive(struct cube_cp *cp, struct cube_cp_show *show) {
	static const int stops[] = {SIGINT, SIGTERM, SIGHUP, 0};
	struct cube_signals signals;
	int signo = 0;
	cube_signals_open(&signals, stops);
	while (!signo && cube_cp_turn(cp, signals.fd, 200)) {
		cube_cp_draw(show, cp, false);
		signo = cube_signals_next(&signals);
	}
	cube_signals_close(&signals);
	cube_cp_hide(show);
	return signo;
}

/* What went wrong, folded over the hosts. True where something did. */
static bool tell_problems(const struct cube_cp *cp) {
	json_t *reasons = json_object(), *nothing;
	const char *text;
	bool any = false;
	for (size_t i = 0; i < cp->n; i++) {
		const struct cube_cp_host *h = &cp->hosts[i];
		json_object_foreach(h->problems, text, nothing) {
			cube_reasons_add(reasons, text, h->node);
		}
		if (h->unsaid) {
			cube_autofree char *more = cube_strf("and %u more problems", h->unsaid);
			cube_reasons_add(reasons, more, h->node);
		}
		if (h->failure) cube_reasons_add(reasons, h->failure, h->node);
	}
	any = json_object_size(reasons) > 0;
	cube_reasons_print(reasons, "error: ");
	json_decref(reasons);
	return any;
}

static int tell(const struct args *a, const struct cube_cp *cp, const struct cube_cp_show *show,
		bool failed) {
	struct cube_buf out;
	int code = 0;
	if (a->output) {
		json_t *root = json_pack("{s:i,s:b,s:o}", "version", 1, "ok", !failed, "hosts",
					 cube_cp_json(cp));
		code = cube_render_object("json", root);
		json_decref(root);
	} else if (show->live) {
		cube_buf_init(&out, 1u << 20);
		if (cube_cp_sum(cp, cube_clock_mono() - show->begun, &out) == 0)
			cube_cli_say("%s", cube_buf_str(&out));
		cube_buf_done(&out);
	}
	return code;
}

static int copy(const struct args *a, struct cube_cp *cp, int code) {
	struct cube_cp_show show = {
		.live = !a->quiet && cube_render_live(STDERR_FILENO),
		.fd = STDERR_FILENO,
		.begun = cube_clock_mono(),
	};
	cp->hide = cube_cp_hide;
	cp->arg = &show;
	cp->wait = a->wait;
	cp->silence = CUBE_RSTREAM_SILENCE;
	cp->fanout = a->fanout;
	allow_files();
	int signo = drive(cp, &show);
	if (tell_problems(cp)) code = 1;
	if (signo) {
		cube_cli_say("stopped; the same command goes on where it was");
		return 128 + signo;
	}
	int print = tell(a, cp, &show, code != 0);
	return code ? code : print;
}

static int check_logins(struct cube_cli *cli, const struct args *a, char **words, size_t n,
			struct cube_err *err) {
	int rc = 0;
	for (size_t i = 0; !rc && i < n; i++) {
		struct cube_cp_operand one = cube_cp_operand(words[i]);
		struct cube_selection s = {0};
		if (one.hosts && strchr(one.hosts, '@')) rc = names_of(a, one.hosts, &s, err);
		if (!rc) rc = cube_select_check_logins(cli, &s, err);
		cube_selection_done(&s);
		free(one.hosts);
	}
	return rc;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_cp cp = {.cli = cli};
	struct cube_err err;
	int code = 0, rc = plan(a, &cp, words, n, &code, &err);
	if (!rc && cp.n) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (!rc && cp.n) rc = check_logins(cli, a, words, n, &err);
	if (rc) code = cube_cli_fail(&err);
	else if (cp.n) code = copy(a, &cp, code);
	cube_cp_done(&cp);
	free((void *)(uintptr_t)cp.paths);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_cp = {
	.name = "cp",
	.usage = "[OPTIONS] FILE... HOSTS:PATH | HOSTS:PATH... PATH",
	.help = "copy files and folders to nodes, or from them; what was cut off goes on where it was",
	.text = "  cube cp data.tar web1:                     into the home there\n"
		"  cube cp -r site 'web[1-32]:/srv/'          a folder to many\n"
		"  cube cp web1:/var/log/app.log .            and back\n"
		"  cube cp 'web[1-3]:/var/log/app.log' logs   to logs/web1/app.log and so on\n\n"
		"Modes and times are kept; owners and set-id bits are not. Links in folders stay links, a link\n"
		"that is named is followed. As with cp, several files need a folder as their destination,\n"
		"and a file appears under its name only when it is whole. Run the command again after\n"
		"it was stopped or cut off: large files go on where they were. Until then a part lies beside\n"
		"its place (.NAME.*.cube-part); `cube down` removes it. A full disk keeps none.\n"
		"A file here whose name has a colon is written ./NAME. A host that does not answer for 10 s is\n"
		"named, and waited for.\n",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
