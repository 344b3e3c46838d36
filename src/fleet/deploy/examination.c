/* What a host is like, asked in one line of shell: the login shell, folders, architecture, cgroup,
 * clock, what happens at logout. With sh and cat, as the bootstrap; what needs more is left
 * unknown. */
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bootstrap.h"
#include "cube/builds.h"
#include "cross.h"
#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/logind.h"
#include "cube/mem.h"
#include "cube/examination.h"

#define FOLDERS_MAX 8
#define TEXT_MAX    512
#define BLOCK       4096u
#define CLOCK_WARN  2.0 /* seconds that logs of several hosts would be out of order */

struct folder {
	char path[256], what[32], why[64];
};

struct cube_examination {
	const struct cube_builds *builds;
	int64_t sent;
	char shell[TEXT_MAX], home[TEXT_MAX], user[64], umask[16], machine[64], kernel[TEXT_MAX];
	char cgroup[TEXT_MAX], delegated[TEXT_MAX], worker[TEXT_MAX], clock[64], sudo[64];
	bool cgroup1, cgroup2, in_session, linger, ended;
	int64_t clock_at; /* when it came */
	struct cube_logind logind;
	char why[64]; /* of the folder that follows */
	struct folder folders[FOLDERS_MAX];
	size_t nfolders;
};

/* --- the line --- */

/* Each candidate folder is tried as the bootstrap does, by executing there and by writing as much
 * as the worker has (z blocks; nothing where one is there), and a folder for its daemon; it is left
 * as it was. */
static const char TRY_FOLDERS[] =
	"LC_ALL=C; export LC_ALL; s=0; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do s=$s$s; done; s=${s%?}; "
	"f() { i=0; while [ $i -lt $z ]; do echo \"$s\" || break; i=$((i+1)); done "
	"2>/dev/null | cat >\"$t\" && mkdir \"$t.d\" && true >\"$t.d/f\"; }; "
	"for d; do case $d in /*) ;; *) continue;; esac; p=${d%/*}; e=; q=; y=; z=$m; "
	"for h in $k; do [ -x \"$d/bin/$h\" ] && z=0; done; "
	"if [ -L \"$d\" ] || [ -e \"$d\" ] && ! o; then e=foreign; else "
	"[ -d \"$p\" ] || q=1; [ -d \"$d\" ] || e=new; t=$d/.try.$n; "
	"if y=$({ mkdir -p \"$d\" && true >\"$t\" && chmod 700 \"$t\"; } 2>&1); then "
	"if \"$t\" 2>/dev/null; then r=ok; y=$(f 2>&1) || r=room; else r=noexec; fi; "
	"else r=readonly; fi; rm -f \"$t\" \"$t.d/f\"; [ ! -d \"$t.d\" ] || rmdir \"$t.d\"; [ -z \"$e\" ] || rmdir \"$d\" 2>/dev/null; "
	"[ -z \"$q\" ] || rmdir \"$p\" 2>/dev/null; e=$r; fi; a why \"${y##*: }\"; a folder $e \"$d\"; "
	"for h in $k; do [ -x \"$d/bin/$h\" ] && a worker \"$d/bin/$h\"; done; done 2>/dev/null; ";

static const char LOOK_AROUND[] =
	"a shell \"$SHELL\"; a home \"$HOME\"; a umask \"$(umask)\"; a user \"$u\"; "
	"a machine \"$(uname -m 2>/dev/null || cat /proc/sys/kernel/arch 2>/dev/null)\"; "
	"a kernel \"$(uname -sr 2>/dev/null || cat /proc/sys/kernel/osrelease)\"; "
	"[ -e /sys/fs/cgroup/cgroup.controllers ] && a cgroup2 yes; "
	"[ -e /sys/fs/cgroup/memory/tasks ] && a cgroup1 yes; "
	"while read -r l; do a cgroup \"$l\"; case $l in 0::*) "
	"[ -w \"/sys/fs/cgroup${l#0::}/cgroup.procs\" ] && a delegated \"${l#0::}\";; esac; "
	"done </proc/self/cgroup; "
	"for f in /etc/systemd/logind.conf /usr/lib/systemd/logind.conf.d/*.conf "
	"/run/systemd/logind.conf.d/*.conf /etc/systemd/logind.conf.d/*.conf; do "
	"[ -r \"$f\" ] && while read -r l; do case $l in Kill*) a logind \"$l\";; esac; "
	"done <\"$f\"; done; [ -e \"/var/lib/systemd/linger/$u\" ] && a linger yes; ";

static const char LOOK_AT_CLOCK[] =
	"a clock \"$(date +%s.%N 2>/dev/null || cat /sys/class/rtc/rtc0/since_epoch "
	"2>/dev/null)\"; ";

static const char LOOK_AT_SUDO[] =
	"if sudo -n true </dev/null 2>/dev/null; then a sudo free; "
	"elif command -v sudo >/dev/null 2>&1; then a sudo asks; else a sudo none; fi; ";

void cube_doctor_line(const struct cube_builds *builds, const char *nonce, bool become, char *out,
		      size_t size) {
	char hashes[16 * 66] = "", blocks[16 * 48] = "";
	unsigned long most = 0;
	const struct cube_image *image;
	for (size_t i = 0; (image = cube_builds_at(builds, i)); i++) {
		size_t used = strlen(hashes);
		if (used + 66 < sizeof hashes)
			snprintf(hashes + used, sizeof hashes - used, " %s", image->sha256);
		unsigned long need = image->size / BLOCK + 1;
		used = strlen(blocks);
		if (used + 48 < sizeof blocks)
			snprintf(blocks + used, sizeof blocks - used, "%s) m=%lu;; ",
				 image->machine, need);
		if (need > most) most = need;
	}
	/* clock first: the fewer programs before it, the closer to the moment the line was sent */
	snprintf(out, size,
		 "exec /bin/sh -c '" BOOTSTRAP_FOLDERS
		 "n=%s; k=\"%s\"; a() { echo CUBE $n \"$@\"; }; %s"
		 "case $(uname -m 2>/dev/null) in %s*) m=%lu;; esac; %s%s%sa end'",
		 nonce, hashes, LOOK_AT_CLOCK, blocks, most, LOOK_AROUND, TRY_FOLDERS,
		 become ? LOOK_AT_SUDO : "");
}

/* --- answers --- */

struct cube_examination *cube_examination_new(const struct cube_builds *builds, int64_t sent) {
	struct cube_examination *e = cube_alloc(sizeof *e);
	e->builds = builds;
	e->sent = sent;
	return e;
}

bool cube_examination_heard(const struct cube_examination *e) {
	return *e->machine || *e->umask || e->ended;
}

void cube_examination_free(struct cube_examination *e) {
	free(e);
}

static void take_folder(struct cube_examination *e, const char *value) {
	if (e->nfolders >= FOLDERS_MAX) return;
	struct folder *f = &e->folders[e->nfolders++];
	size_t n = strcspn(value, " ");
	snprintf(f->what, sizeof f->what, "%.*s", (int)n, value);
	snprintf(f->path, sizeof f->path, "%s", value[n] ? value + n + 1 : "");
	snprintf(f->why, sizeof f->why, "%s", e->why);
}

static void take_cgroup(struct cube_examination *e, const char *line) {
	if (cube_logind_is_session(line)) e->in_session = true;
	if (!strncmp(line, "0::", 3) || !*e->cgroup)
		snprintf(e->cgroup, sizeof e->cgroup, "%s", line);
}

static void take_logind(struct cube_examination *e, const char *line) {
	char text[TEXT_MAX];
	snprintf(text, sizeof text, "[Login]\n%.400s\n", line);
	cube_logind_read(&e->logind, text);
}

void cube_examination_take(struct cube_examination *e, const char *answer, int64_t wall_ns) {
	const struct {
		const char *key;
		char *to;
		size_t size;
	} texts[] = {
		{"shell", e->shell, sizeof e->shell},
		{"home", e->home, sizeof e->home},
		{"umask", e->umask, sizeof e->umask},
		{"user", e->user, sizeof e->user},
		{"machine", e->machine, sizeof e->machine},
		{"kernel", e->kernel, sizeof e->kernel},
		{"delegated", e->delegated, sizeof e->delegated},
		{"worker", e->worker, sizeof e->worker},
		{"clock", e->clock, sizeof e->clock},
		{"why", e->why, sizeof e->why},
		{"sudo", e->sudo, sizeof e->sudo},
	};
	size_t n = strcspn(answer, " ");
	const char *value = answer[n] ? answer + n + 1 : "";
	cube_autofree char *key = cube_strndup(answer, n);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (!strcmp(key, texts[i].key)) snprintf(texts[i].to, texts[i].size, "%s", value);
	if (!strcmp(key, "clock")) e->clock_at = wall_ns;
	if (!strcmp(key, "folder")) take_folder(e, value);
	if (!strcmp(key, "cgroup")) take_cgroup(e, value);
	if (!strcmp(key, "cgroup1")) e->cgroup1 = true;
	if (!strcmp(key, "cgroup2")) e->cgroup2 = true;
	if (!strcmp(key, "logind")) take_logind(e, value);
	if (!strcmp(key, "linger")) e->linger = true;
	if (!strcmp(key, "end")) e->ended = true;
}

/* --- what they mean --- */

struct telling {
	struct cube_examination *e;
	void (*found)(void *arg, const struct cube_finding *f);
	void *arg;
	bool good;
};

static void tell(struct telling *t, enum cube_verdict verdict, const char *check, const char *fix,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static void tell(struct telling *t, enum cube_verdict verdict, const char *check, const char *fix,
		 const char *fmt, ...) {
	char text[2 * TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	struct cube_finding f = {.check = check, .verdict = verdict, .text = text, .fix = fix};
	if (verdict == CUBE_VERDICT_FAILED) t->good = false;
	t->found(t->arg, &f);
}

static void tell_account(struct telling *t) {
	const struct cube_examination *e = t->e;
	tell(t, CUBE_VERDICT_OK, "shell", "", "%s", *e->shell ? e->shell : "not told ($SHELL)");
	if (*e->home) tell(t, CUBE_VERDICT_OK, "home", "", "%s, umask %s", e->home, e->umask);
	else
		tell(t, CUBE_VERDICT_NOTE, "home", "",
		     "HOME is not set; cube does without, umask %s", e->umask);
}

static void tell_folder(struct telling *t, const struct folder *f, const char *more) {
	static const struct {
		const char *what, *text, *fix;
	} words[] = {
		{"ok", "programs can be kept and run", ""},
		{"room", "no room for the worker",
		 "free some space there; it goes elsewhere until then"},
		{"noexec", "programs cannot be run (mounted noexec?)", ""},
		{"readonly", "cannot be written to", ""},
		{"foreign", "is a link or belongs to somebody else", ""},
	};
	const char *text = "no sensible answer", *fix = "";
	bool ok = !strcmp(f->what, "ok");
	for (size_t k = 0; k < sizeof words / sizeof words[0]; k++)
		if (!strcmp(f->what, words[k].what)) text = words[k].text, fix = words[k].fix;
	bool why = *f->why && !ok && strcmp(f->what, "noexec");
	tell(t, ok ? CUBE_VERDICT_OK : CUBE_VERDICT_NOTE, "folder", *more ? fix : "",
	     "%s: %s%s%s%s%s", f->path, text, why ? " (" : "", why ? f->why : "", why ? ")" : "",
	     ok ? more : "");
}

/* The texts are the host's, in English: the line asks for that. */
static bool is_full(const struct folder *f) {
	return !strcmp(f->what, "room") || strstr(f->why, "o space left") ||
	       strstr(f->why, "uota exceeded");
}

static void tell_folders(struct telling *t) {
	const struct cube_examination *e = t->e;
	bool there = *e->worker, any = there, full = false, good = false; /* there: no new one */
	for (size_t i = 0; i < e->nfolders; i++) good |= !strcmp(e->folders[i].what, "ok");
	for (size_t i = 0; i < e->nfolders; i++) {
		const struct folder *f = &e->folders[i];
		bool ok = !strcmp(f->what, "ok"), here = ok && !any;
		tell_folder(t, f, here ? " (the worker goes there)" : !ok && good ? " " : "");
		any |= ok;
		full |= is_full(f);
	}
	if (!good)
		tell(t, CUBE_VERDICT_FAILED, "folder",
		     full ? "free some space in one of them, or set CUBE_DIR on the host (sshd's SetEnv or "
			    "~/.ssh/environment) to a folder of yours that has room"
			  : "set CUBE_DIR on the host (sshd's SetEnv or ~/.ssh/environment) to a folder of "
			    "yours that allows executing",
		     "there is none where the worker could be kept and run");
}

static void tell_machine(struct telling *t) {
	const struct cube_examination *e = t->e;
	const char *machine = strcmp(e->machine, "arm64") ? e->machine : "aarch64";
	cube_autofree char *compiler = NULL;
	struct cube_err err;
	if (!*machine || !cube_cross_machine_ok(machine))
		tell(t, CUBE_VERDICT_FAILED, "architecture", "", "the host did not tell it");
	else if (strncmp(e->kernel, "Linux", 5) && !isdigit((unsigned char)*e->kernel))
		tell(t, CUBE_VERDICT_FAILED, "architecture", "hosts must run Linux", "%s",
		     e->kernel);
	else if (cube_builds_find(e->builds, machine))
		tell(t, CUBE_VERDICT_OK, "architecture", "", "%s, %s", machine, e->kernel);
	else if (cube_cross_compiler(machine, &compiler, &err) == 0)
		tell(t, CUBE_VERDICT_OK, "architecture", "",
		     "%s, %s; its worker will be built with %s", machine, e->kernel, compiler);
	else tell(t, CUBE_VERDICT_FAILED, "architecture", err.msg, "%s: no worker for it", machine);
}

static void tell_worker(struct telling *t) {
	if (*t->e->worker) tell(t, CUBE_VERDICT_OK, "worker", "", "is there: %s", t->e->worker);
	else tell(t, CUBE_VERDICT_OK, "worker", "", "not there yet: the first spawn sends it");
}

static void tell_cgroup(struct telling *t) {
	const struct cube_examination *e = t->e;
	if (*e->delegated) tell(t, CUBE_VERDICT_OK, "cgroup", "", "v2, writable: %s", e->delegated);
	else if (e->cgroup2)
		tell(t, CUBE_VERDICT_NOTE, "cgroup", "",
		     "v2, not ours to write: limits by rlimits and a watchdog (%s)", e->cgroup);
	else
		tell(t, CUBE_VERDICT_NOTE, "cgroup", "", "%s: limits by rlimits",
		     e->cgroup1 ? "v1" : "none");
}

/* The host's time lies between sending the line and its answer. */
static void tell_clock(struct telling *t) {
	const struct cube_examination *e = t->e;
	char *end;
	double host = strtod(e->clock, &end);
	if (end == e->clock || host < 1) {
		tell(t, CUBE_VERDICT_NOTE, "clock", "", "not told: there is no date(1)");
		return;
	}
	bool whole = !strchr(e->clock, '.') || strchr(e->clock, 'N');
	double arrived = (double)e->clock_at / 1e9, sent = (double)e->sent / 1e9;
	double error = (arrived - sent) / 2 + (whole ? 0.5 : 0);
	double offset = host + (whole ? 0.5 : 0) - (arrived + sent) / 2;
	double size = offset < 0 ? -offset : offset;
	if (size > CLOCK_WARN + error)
		tell(t, CUBE_VERDICT_WARNING, "clock", "start a time service there (chrony, ntp)",
		     "%+.1f s against this machine (+- %.2g s)", offset, error);
	else
		tell(t, CUBE_VERDICT_OK, "clock", "", "%+.3f s against this machine (+- %.2g s)",
		     offset, error);
}

static void tell_logout(struct telling *t) {
	const struct cube_examination *e = t->e;
	if (!cube_logind_kills(&e->logind, e->user))
		tell(t, CUBE_VERDICT_OK, "logout", "", "what runs goes on");
	else if (!e->in_session)
		tell(t, CUBE_VERDICT_OK, "logout", "",
		     "logind kills what a login session leaves, but this is none");
	else if (e->linger)
		tell(t, CUBE_VERDICT_OK, "logout", "",
		     "logind kills what a session leaves; the worker moves to %s's own manager, "
		     "which lingers",
		     e->user);
	else
		tell(t, CUBE_VERDICT_WARNING, "logout", "run there: loginctl enable-linger",
		     "logind ends the worker and its tasks (KillUserProcesses=yes, no linger)");
}

static void tell_sudo(struct telling *t) {
	const char *sudo = t->e->sudo;
	if (!*sudo) return;
	if (!strcmp(sudo, "free")) tell(t, CUBE_VERDICT_OK, "sudo", "", "asks for no password");
	else if (!strcmp(sudo, "asks"))
		tell(t, CUBE_VERDICT_NOTE, "sudo", "", "asks for a password, or does not allow it");
	else
		tell(t, CUBE_VERDICT_FAILED, "sudo",
		     "install sudo, or log in as root (--user root)", "is not installed");
}

bool cube_examination_tell(struct cube_examination *e,
			   void (*found)(void *arg, const struct cube_finding *f), void *arg) {
	struct telling t = {.e = e, .found = found, .arg = arg, .good = true};
	tell_account(&t);
	tell_folders(&t);
	tell_machine(&t);
	tell_worker(&t);
	tell_cgroup(&t);
	tell_clock(&t);
	tell_logout(&t);
	tell_sudo(&t);
	if (!e->ended)
		tell(&t, CUBE_VERDICT_WARNING, "shell", "",
		     "the examination broke off before its end");
	return t.good;
}

static const char *const verdicts[] = {"ok", "note", "warning", "failed"};

const char *cube_verdict_name(enum cube_verdict v) {
	return (size_t)v < sizeof verdicts / sizeof verdicts[0] ? verdicts[v] : "?";
}
