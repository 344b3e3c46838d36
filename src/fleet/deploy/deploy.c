/* The lines that a login shell is given (cube/deploy.h):
 *
 *   PROBE    says "hello", runs the cached worker where it is; else finds a folder that allows
 *            executing, says "none", reads the wanted hash from stdin and cats the image into a
 *            temporary file there, which then checks itself and takes its final name ("installed");
 *            "skip" where it has no room: the next PROBE begins after that folder; "nowhere" after
 *            the last one
 *   ATTACH   runs the worker just installed; as in PROBE it says "attach" with its folder,
 *            or "skip" where there is no room for its daemon
 *   CLEAN    after a worker's end: removes cached workers wherever none lives, and says "clean",
 * with the folders of other clusters' workers that keep theirs; or "error"
 *
 * Answers are lines "CUBE <nonce> <word> ...". What comes before the first one is noise of
 * the login shell, skipped up to 1 MiB and quoted when nothing else explains a failure.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/assert.h"
#include "cube/deploy.h"

#include "become.h"
#include "lines.h"
#include "cube/id.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/text.h"

#define NOISE_MAX  (1u << 20)
#define LINE_MAX_  4096u
#define ANSWER_MAX 2048u /* bytes: no answer line is longer */
#define PIECE      (64u << 10)
#define SKIP_MAX   16u /* more folders than there are */

enum phase { PHASE_PROBE, PHASE_PROBE_COLD, PHASE_ATTACH, PHASE_CLEAN };

struct cube_deploy {
	struct cube_transport *transport;
	struct cube_builds *builds;
	const struct cube_deploy_events *events;
	void *arg;
	uint64_t cluster;
	uint32_t node;
	char machine[65], login[64], program[40]; /* "" for none */
	bool as_root, touched;
	bool over, gone; /* the last event went out; to be freed */
	unsigned inside; /* calls of ours that are under way */
	enum phase phase;
	char nonce[CUBE_ID_HEX];
	char sha256[65]; /* of the image that goes, or went, to the host; "" while unknown */
	const uint8_t *image;
	size_t image_size, image_sent;
	struct cube_builds_wait build; /* of a worker for the host's architecture */
	bool pushing, installed;
	bool heard;           /* an answer came: the line runs */
	size_t noise;         /* bytes skipped so far */
	char tail[256];       /* the newest noise or stderr, for the error */
	char reason[220];     /* what the host said went wrong */
	unsigned skip;        /* folders from the first on that are not asked for again */
	bool skipped;         /* .. one more since the present line began */
	bool nowhere;         /* there is none left */
	bool clean;           /* nothing is left; reason: but what others keep */
	char tried[180];      /* "No space left on device: /home/u/.cache/cube; ..." */
	char passed[180];     /* .. and of the folders before the one that the image went to */
	struct cube_buf line; /* the answer line being received */
	struct cube_become become;
};

/* Shell text that sets h to the worker this host may have. Homes are shared by hosts of several
 * architectures, and a shell takes a program of another one for a script. */
static void which_worker(const struct cube_deploy *d, char *out, size_t size) {
	const struct cube_image *image;
	if (*d->sha256 || *d->machine) {
		image = *d->sha256 ? NULL : cube_builds_find(d->builds, d->machine);
		snprintf(out, size, "h=%s; ", image ? image->sha256 : d->sha256);
		return;
	}
	size_t at = (size_t)snprintf(out, size, "h=; case $(" MACHINE ") in ");
	for (size_t i = 0; (image = cube_builds_at(d->builds, i)); i++) {
		if (at + sizeof image->machine + sizeof image->sha256 + 20 > size) break;
		at += (size_t)snprintf(out + at, size - at, "%s) h=%s;; ", image->machine,
				       image->sha256);
	}
	snprintf(out + at, size - at, "esac; ");
}

static void compose(struct cube_deploy *d, char *out, size_t size) {
	char cluster[CUBE_ID_HEX], ours[1400];
	cube_id_hex(d->cluster, cluster);
	which_worker(d, ours, sizeof ours);
	const char *n = d->nonce;
	int at = d->as_root ? cube_become_compose(&d->become, n, out, size)
			    : snprintf(out, size, "exec /bin/sh -c '");
	at += snprintf(out + at, size - (size_t)at, "echo CUBE %s hello; " BOOTSTRAP_FOLDERS, n);
	if (d->phase == PHASE_CLEAN)
		at += snprintf(out + at, size - (size_t)at, CLEAN, cluster, n, n);
	else if (d->phase != PHASE_PROBE_COLD)
		at += snprintf(out + at, size - (size_t)at, RUN_CACHED, ours, cluster, d->node,
			       d->skip, n, cluster, d->node);
	if (d->phase == PHASE_ATTACH)
		at += snprintf(out + at, size - (size_t)at,
			       "echo CUBE %s error the worker is gone again", n);
	else if (d->phase != PHASE_CLEAN)
		at += snprintf(out + at, size - (size_t)at, RECEIVE, d->skip, n, n, n, n, n);
	at += snprintf(out + at, size - (size_t)at, "'");
	cube_assert((size_t)at < size); /* or half a line would run there */
}

static int run(struct cube_deploy *d, enum phase phase, struct cube_err *err) {
	char line[4096];
	d->phase = phase;
	d->noise = 0;
	d->pushing = d->installed = d->skipped = false;
	cube_builds_cancel(&d->build);
	cube_buf_clear(&d->line);
	cube_id_hex(cube_id_u64(), d->nonce);
	compose(d, line, sizeof line);
	return cube_transport_exec(d->transport, line, err);
}

/* --- life --- */

struct cube_deploy *cube_deploy_new(struct cube_transport *transport, struct cube_builds *builds,
				    const struct cube_deploy_target *target,
				    const struct cube_deploy_events *events, void *arg) {
	struct cube_deploy *d = cube_alloc(sizeof *d);
	d->transport = transport;
	d->builds = builds;
	d->events = events;
	d->arg = arg;
	d->cluster = target->cluster;
	d->node = target->node;
	d->as_root = target->become;
	d->touched = target->touched;
	snprintf(d->machine, sizeof d->machine, "%s", target->machine ? target->machine : "");
	snprintf(d->login, sizeof d->login, "%s", target->login);
	snprintf(d->program, sizeof d->program, "%s", target->program ? target->program : "");
	cube_buf_init(&d->line, LINE_MAX_);
	return d;
}

int cube_deploy_begin(struct cube_deploy *d, struct cube_err *err) {
	d->events->stage(d->arg, CUBE_NODE_PROBING);
	d->events->step(d->arg, "probing", -1);
	return run(d, PHASE_PROBE, err);
}

int cube_deploy_clean(struct cube_deploy *d, struct cube_err *err) {
	d->events->step(d->arg, "cleaning up", -1);
	return run(d, PHASE_CLEAN, err);
}

/* An event may free it while calls of ours are under way: those end first. */
void cube_deploy_free(struct cube_deploy *d) {
	if (!d) return;
	d->over = d->gone = true;
	cube_builds_cancel(&d->build);
	if (d->inside) return;
	cube_buf_done(&d->line);
	free(d);
}

static void enter(struct cube_deploy *d) {
	d->inside++;
}

static void leave(struct cube_deploy *d) {
	d->inside--;
	if (d->gone) cube_deploy_free(d);
}

static void touch(struct cube_deploy *d, bool on) {
	d->events->touched(d->arg, on);
}

static void fail_by(struct cube_deploy *d, const struct cube_err *err) {
	if (d->over) return;
	d->over = true;
	d->events->failed(d->arg, err);
}

static void fail(struct cube_deploy *d, int code, const char *step, const char *what) {
	struct cube_err err;
	const char *tail = *d->reason ? "" : d->tail;
	cube_fail(&err, code, "%s: %.200s%s%.120s%s", step, what, *tail ? " (the host said: " : "",
		  tail, *tail ? ")" : "");
	fail_by(d, &err);
}

/* Keeps the end of what a person would want to see. */
static void remember(struct cube_deploy *d, const uint8_t *bytes, size_t n) {
	struct cube_buf text;
	cube_buf_init(&text, 4096);
	size_t keep = n > 150 ? 150 : n;
	cube_text_escape(&text, bytes + n - keep, keep);
	const char *s = cube_buf_str(&text);
	size_t len = strlen(s);
	while (len >= 2 && s[len - 2] == '\\' && s[len - 1] == 'n') len -= 2;
	if (len) snprintf(d->tail, sizeof d->tail, "%.*s", (int)(len > 200 ? 200 : len), s);
	cube_buf_done(&text);
}

/* --- sudo --- */

static void ask_password(struct cube_deploy *d) {
	char text[128];
	snprintf(text, sizeof text, "[sudo] password for %.64s: ", d->login);
	struct cube_ask ask = {.kind = CUBE_ASK_BECOME, .key = d->login, .title = "", .n = 1};
	ask.prompts[0].text = text;
	d->events->ask(d->arg, &ask);
}

void cube_deploy_answer(struct cube_deploy *d, const char *password) {
	char line[CUBE_ASK_ANSWER + 2];
	struct cube_err err;
	if (!password) {
		cube_fail(&err, CUBE_ELOGIN, "sudo wants a password");
		enter(d);
		fail_by(d, &err);
		leave(d);
		return;
	}
	int n = snprintf(line, sizeof line, "%.*s\n", CUBE_ASK_ANSWER, password);
	d->become.given = true;
	cube_transport_write(d->transport, line, (size_t)n);
	explicit_bzero(line, sizeof line);
}

static void fail_become(struct cube_deploy *d, int status) {
	struct cube_err err;
	if (*d->reason) cube_fail(&err, CUBE_EEXEC, "%s", d->reason);
	else cube_become_explain(&d->become, status, d->tail, &err);
	fail_by(d, &err);
}

void cube_deploy_err(struct cube_deploy *d, const uint8_t *bytes, size_t n) {
	struct cube_become *b = &d->become;
	struct cube_err err;
	enter(d);
	bool asks = cube_become_asks(b, bytes, n);
	if (!asks) {
		remember(d, bytes, n);
	} else if (b->given) {
		cube_fail(&err, CUBE_ELOGIN, "sudo refused the password");
		fail_by(d, &err);
	} else {
		ask_password(d);
	}
	leave(d);
}

/* What waits for the user ("Press return") often ends without a newline. Where nothing came, and
 * not our first words either, something else than our line waits there. */
const char *cube_deploy_said(struct cube_deploy *d) {
	size_t n = cube_buf_len(&d->line);
	if (n) remember(d, cube_buf_data(&d->line), n);
	if (!*d->tail && !d->heard)
		return "nothing; an account for sftp only, a ForceCommand or a startup file may wait "
		       "for input";
	return d->tail;
}

/* --- pushing --- */

static void pump(struct cube_deploy *d) {
	while (d->image_sent < d->image_size && cube_transport_queued(d->transport) < 2 * PIECE) {
		size_t n = d->image_size - d->image_sent;
		if (n > PIECE) n = PIECE;
		if (cube_transport_write(d->transport, d->image + d->image_sent, n)) return;
		d->image_sent += n;
	}
	size_t queued = cube_transport_queued(d->transport);
	size_t arrived = d->image_sent > queued ? d->image_sent - queued : 0;
	d->events->step(d->arg, "pushing", (double)arrived / (double)d->image_size);
	if (d->image_sent == d->image_size) {
		d->pushing = false;
		cube_transport_end_write(d->transport);
	}
}

void cube_deploy_drained(struct cube_deploy *d) {
	enter(d);
	if (d->pushing) pump(d);
	leave(d);
}

static void begin_push(struct cube_deploy *d, const struct cube_image *image) {
	d->image = image->bytes;
	d->image_size = image->size;
	d->image_sent = 0;
	d->pushing = true;
	touch(d, true);
	snprintf(d->sha256, sizeof d->sha256, "%s", image->sha256);
	d->events->stage(d->arg, CUBE_NODE_PUSHING);
	char hash[66];
	snprintf(hash, sizeof hash, "%s\n", d->sha256);
	cube_transport_write(d->transport, hash, 65);
	pump(d);
}

static void no_worker(struct cube_deploy *d, const struct cube_err *err) {
	struct cube_err why;
	cube_fail(&why, CUBE_EEXEC, "no worker for its architecture, %s", err->msg);
	fail_by(d, &why);
}

static void on_built(void *arg, const struct cube_image *image, const struct cube_err *err) {
	struct cube_deploy *d = arg;
	enter(d);
	if (image) begin_push(d, image);
	else if (err) no_worker(d, err);
	else d->events->step(d->arg, "building its worker", -1);
	leave(d);
}

/* The host waits meanwhile: its shell reads. */
static void build(struct cube_deploy *d, const char *machine) {
	struct cube_err err, why;
	d->build.fn = on_built;
	d->build.arg = d;
	d->events->step(d->arg, "building its worker", -1);
	if (cube_builds_make(d->builds, machine, &d->build, &err) == 0) return;
	cube_fail(&why, err.code, "%s: %s", machine, err.msg);
	no_worker(d, &why);
}

static void set_passed(struct cube_deploy *d, const char *rest) {
	struct cube_buf text;
	cube_buf_init(&text, LINE_MAX_);
	rest += strspn(rest, "; ");
	cube_text_escape(&text, (const uint8_t *)rest, strnlen(rest, sizeof d->passed - 1));
	snprintf(d->passed, sizeof d->passed, "%s", cube_buf_str(&text));
	cube_buf_done(&text);
}

static void push(struct cube_deploy *d, const char *uname) {
	char sysname[65] = "", machine[65] = "";
	int rest = 0;
	if (sscanf(uname, "%64s %64s%n", sysname, machine, &rest) != 2 ||
	    strcmp(sysname, "Linux")) {
		fail(d, CUBE_EEXEC, "probing", "the host is not Linux");
		return;
	}
	set_passed(d, uname + rest);
	if (strcmp(machine, "arm64") == 0) snprintf(machine, sizeof machine, "aarch64");
	const struct cube_image *image = cube_builds_find(d->builds, machine);
	if (image) begin_push(d, image);
	else build(d, machine);
}

/* --- answers --- */

/* A home without exec is somebody's intention; a disk that is full is to be told. */
static bool is_full(const char *tried) {
	return strstr(tried, "o space left") || strstr(tried, "uota exceeded");
}

static void note_full(struct cube_deploy *d, const char *folder) {
	struct cube_buf text;
	cube_buf_init(&text, LINE_MAX_);
	cube_buf_printf(&text, "the worker is in ");
	cube_text_escape(&text, (const uint8_t *)folder, strnlen(folder, 200));
	cube_buf_printf(&text, " (%s%s%s)", d->tried, *d->tried && *d->passed ? "; " : "",
			d->passed);
	d->events->note(d->arg, cube_buf_str(&text));
	cube_buf_done(&text);
}

static void hand_over(struct cube_deploy *d, const char *folder) {
	if (*folder && (d->skip || is_full(d->passed))) note_full(d, folder);
	touch(d, true);
	d->over = true;
	d->events->attached(d->arg);
}

static void on_error(struct cube_deploy *d, const char *rest) {
	struct cube_buf text;
	cube_buf_init(&text, LINE_MAX_);
	cube_text_escape(&text, (const uint8_t *)rest, strnlen(rest, sizeof d->reason - 1));
	snprintf(d->reason, sizeof d->reason, "%s", cube_buf_str(&text));
	cube_buf_done(&text);
	if (d->image && !d->installed) touch(d, d->touched); /* it was removed again */
}

/* The folders of a skip or nowhere answer, "; <why>: <folder> <folder>..." each. The first may go
 * on with what the last one of the answer before it says. */
static void add_tried(struct cube_deploy *d, const char *rest) {
	struct cube_buf text;
	cube_buf_init(&text, LINE_MAX_);
	rest += strspn(rest, "; ");
	cube_text_escape(&text, (const uint8_t *)rest, strnlen(rest, sizeof d->tried));
	const char *add = cube_buf_str(&text), *last = strrchr(d->tried, ';'), *why;
	size_t used = strlen(d->tried);
	last = last ? last + 2 : d->tried;
	why = strstr(add, ": ");
	bool same = why && strncmp(last, add, (size_t)(why + 2 - add)) == 0;
	snprintf(d->tried + used, sizeof d->tried - used, "%s%s",
		 same           ? " "
		 : used && *add ? "; "
				: "",
		 same ? why + 2 : add);
	cube_buf_done(&text);
}

static void on_skip(struct cube_deploy *d, const char *rest) {
	unsigned skip = 0;
	int at = 0;
	if (sscanf(rest, "%u%n", &skip, &at) != 1 || skip <= d->skip || skip > SKIP_MAX) {
		fail(d, CUBE_EPROTO, "pushing", "the host gave an answer that makes no sense");
		return;
	}
	d->skip = skip;
	d->skipped = true;
	*d->passed = 0; /* among these */
	add_tried(d, rest + at);
	if (d->image) touch(d, d->touched);
}

static void on_nowhere(struct cube_deploy *d, const char *rest) {
	add_tried(d, rest);
	d->nowhere = true;
	snprintf(d->reason, sizeof d->reason, "no folder can hold the worker (%s)", d->tried);
}

/* The script runs; by sudo, where that was asked for. */
static void on_hello(struct cube_deploy *d) {
	d->become.done = true;
	d->events->let_in(d->arg);
}

static void on_clean(struct cube_deploy *d, const char *rest) {
	if (*rest) on_error(d, rest);
	d->clean = true;
}

static void on_answer(struct cube_deploy *d, const char *word, const char *rest) {
	const char *step = d->phase == PHASE_ATTACH ? "starting the worker" : "probing";
	d->heard = true;
	if (strcmp(word, "hello") == 0) on_hello(d);
	else if (strcmp(word, "clean") == 0 && d->phase == PHASE_CLEAN) on_clean(d, rest);
	else if (strcmp(word, "attach") == 0 && d->phase != PHASE_CLEAN) hand_over(d, rest);
	else if (strcmp(word, "none") == 0 && d->phase != PHASE_ATTACH && !*d->sha256 &&
		 !cube_list_linked(&d->build.entry))
		push(d, rest);
	else if (strcmp(word, "installed") == 0 && *d->sha256) d->installed = true;
	else if (strcmp(word, "skip") == 0) on_skip(d, rest);
	else if (strcmp(word, "nowhere") == 0) on_nowhere(d, rest);
	else if (strcmp(word, "error") == 0) on_error(d, rest);
	else fail(d, CUBE_EPROTO, step, "the host gave an answer that makes no sense");
}

/* Takes one whole answer line, or a line of noise, out of d->line. */
static void on_line(struct cube_deploy *d) {
	char text[LINE_MAX_ + 1], nonce[20] = "", word[20] = "";
	size_t len = cube_buf_len(&d->line);
	for (size_t i = 0; i < len; i++) { /* a NUL in the noise hides nothing */
		char c = (char)cube_buf_data(&d->line)[i];
		text[i] = c ? c : '?';
	}
	text[len] = 0;
	cube_buf_clear(&d->line);
	int rest = 0;
	/* A login shell may have printed something without a newline before our line. */
	char *at = strstr(text, "CUBE ");
	while (at && strncmp(at + 5, d->nonce, 16)) at = strstr(at + 1, "CUBE ");
	if (at && sscanf(at, "CUBE %19s %19s %n", nonce, word, &rest) >= 2) {
		if (!rest) rest = (int)strlen(at);
		if (at > text) remember(d, (const uint8_t *)text, (size_t)(at - text));
		on_answer(d, word, at + rest);
		return;
	}
	d->noise += strlen(text) + 1;
	remember(d, (const uint8_t *)text, strlen(text));
}

/* Of an over-long line only the end can matter. */
static void add_piece(struct cube_deploy *d, const uint8_t *bytes, size_t n) {
	size_t room = cube_buf_room(&d->line), len = cube_buf_len(&d->line);
	if (n > room && len > ANSWER_MAX) {
		cube_buf_consume(&d->line, len - ANSWER_MAX);
		d->noise += len - ANSWER_MAX;
		room = cube_buf_room(&d->line);
	}
	cube_buf_add(&d->line, bytes, n < room ? n : room);
	if (n > room) add_piece(d, bytes + room, n - room);
}

size_t cube_deploy_out(struct cube_deploy *d, const uint8_t *bytes, size_t n) {
	size_t used = 0;
	enter(d);
	while (used < n && !d->over) {
		const uint8_t *nl = memchr(bytes + used, '\n', n - used);
		size_t piece = nl ? (size_t)(nl - bytes) - used : n - used;
		add_piece(d, bytes + used, piece);
		used += piece + (nl != NULL);
		if (nl) on_line(d);
		if (d->noise > NOISE_MAX)
			fail(d, CUBE_EPROTO, "probing",
			     "the login shell prints more than 1 MiB before running a command");
	}
	leave(d);
	return used;
}

/* Why a line may have ended without a word of ours. */
static void say_end(const struct cube_deploy *d, int status, char *text, size_t size) {
	if (d->heard)
		snprintf(text, size, "the login shell ended without an answer (status %d)", status);
	else if (*d->program)
		snprintf(text, size, "%s ended with status %d and did not run our command",
			 d->program, status);
	else if (status == 0)
		snprintf(text, size,
			 "the host runs a command of its own instead of ours (ForceCommand in "
			 "sshd_config, command= in authorized_keys)");
	else snprintf(text, size, "the login shell ended without an answer (status %d)", status);
}

static void end_clean(struct cube_deploy *d, int status) {
	char what[300];
	if (!d->clean) {
		say_end(d, status, what, sizeof what);
		fail(d, CUBE_EEXEC, "cleaning up", *d->reason ? d->reason : what);
		return;
	}
	snprintf(what, sizeof what, "its worker stays cached for that of another cluster: %s",
		 d->reason);
	d->over = true;
	d->events->cleaned(d->arg, *d->reason ? what : "");
}

static void end_line(struct cube_deploy *d, int status) {
	struct cube_err err;
	int rc = 0;
	if (d->phase == PHASE_CLEAN) {
		end_clean(d, status);
	} else if (d->installed) {
		d->events->stage(d->arg, CUBE_NODE_STARTING);
		d->events->step(d->arg, "starting", -1);
		rc = run(d, PHASE_ATTACH, &err);
	} else if (d->as_root && !d->become.done) {
		fail_become(d, status);
	} else if (d->skipped) { /* no room there: another folder may have */
		*d->sha256 = *d->reason = 0;
		d->image = NULL;
		rc = run(d, PHASE_PROBE, &err);
	} else if (d->phase == PHASE_PROBE && !*d->sha256 && d->heard && !d->nowhere) {
		/* A worker was found there and did not run: damaged, another architecture's in a
		 * shared home, or on a file system that does not allow it. Look again without it.
		 */
		*d->reason = 0;
		rc = run(d, PHASE_PROBE_COLD, &err);
	} else {
		char what[160];
		say_end(d, status, what, sizeof what);
		fail(d, CUBE_EEXEC, d->phase == PHASE_ATTACH ? "starting the worker" : "deploying",
		     *d->reason ? d->reason : what);
	}
	if (rc < 0) fail_by(d, &err);
}

void cube_deploy_end(struct cube_deploy *d, int status) {
	enter(d);
	end_line(d, status);
	leave(d);
}
