/* Hosts that lie to `cube cp`, `cube exec` and `cube forward`, or say nothing: the one that lies is
 * named with what it did, it fails alone, and nothing is used after it was freed. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "commands.h"
#include "cp.h"
#include "forward.h"
#include "liar.h"

/* ---- what the liar says of a copy --------------------------------------------------------- */

static void rec(struct cube_buf *out, struct record r) {
	ck_assert_int_eq(record_put(out, &r), 0);
}
static void begin(struct cube_buf *out) {
	ck_assert_int_eq(cube_buf_addstr(out, PREAMBLE), 0);
	rec(out, (struct record){.type = REC_BEGIN});
}
static void garbage(struct cube_buf *b) {
	for (int i = 0; i < 16; i++) ck_assert_int_eq(cube_buf_add(b, "\xff", 1), 0);
}
static void words(struct cube_buf *b) {
	ck_assert_int_eq(cube_buf_addstr(b, "hello, nobody asked\n"), 0);
}
static void link_at_the_top(struct cube_buf *b) {
	begin(b);
	rec(b, (struct record){.type = REC_LINK, .name = "x", .text = "/etc/passwd"});
}
static void file(struct cube_buf *b, const char *name, uint64_t size) {
	struct record r = {.type = REC_FILE, .mode = 0600, .number = size};
	snprintf(r.name, sizeof r.name, "%s", name);
	begin(b);
	rec(b, r);
}
static void file_unasked(struct cube_buf *b) {
	file(b, ".bashrc", 1);
}
static void file_above(struct cube_buf *b) {
	file(b, "../x", 1);
}
static void file_in_file(struct cube_buf *b) {
	file(b, "x", 9);
	rec(b, (struct record){.type = REC_FILE, .name = "x"});
}
static void data(struct cube_buf *b, uint32_t n) {
	rec(b, (struct record){.type = REC_DATA, .length = n});
}
static void data_over_the_size(struct cube_buf *b) {
	file(b, "x", 4);
	data(b, 5);
}
static void data_of_no_file(struct cube_buf *b) {
	begin(b);
	data(b, 5);
}
static void data_of_4_GiB(struct cube_buf *b) {
	file(b, "x", UINT64_MAX);
	data(b, UINT32_MAX);
}
static void hole_over_the_size(struct cube_buf *b) {
	file(b, "x", 1000);
	rec(b, (struct record){.type = REC_HOLE, .number = UINT64_MAX - 3});
}
static void from_unasked(struct cube_buf *b) {
	file(b, "x", 4);
	rec(b, (struct record){.type = REC_FROM, .number = 2});
}
static void from_beyond(struct cube_buf *b) {
	file(b, "x", 4u << 20);
	rec(b, (struct record){.type = REC_FROM, .number = 4u << 20});
}
static void up_too_far(struct cube_buf *b) {
	begin(b);
	rec(b, (struct record){.type = REC_UP});
}
static void done_in_file(struct cube_buf *b) {
	file(b, "x", 4);
	rec(b, (struct record){.type = REC_DONE});
}
static void done_first(struct cube_buf *b) {
	ck_assert_int_eq(cube_buf_addstr(b, PREAMBLE), 0);
	rec(b, (struct record){.type = REC_DONE});
}
static void begin_twice(struct cube_buf *b) {
	begin(b);
	rec(b, (struct record){.type = REC_BEGIN});
}
static void of_the_other_end(struct cube_buf *b) {
	begin(b);
	rec(b, (struct record){.type = REC_HAVE});
}
static void record_without_fields(struct cube_buf *b) {
	begin(b);
	ck_assert_int_eq(cube_buf_add(b, "\4\0\0", 3), 0);
}
static void record_too_long(struct cube_buf *b) {
	begin(b);
	ck_assert_int_eq(cube_buf_add(b, "\4\xff\xff", 3), 0);
}
static void escapes(struct cube_buf *b) { /* what is fatal ends it, and DONE follows */
	begin(b);
	rec(b, (struct record){.type = REC_PROBLEM, .name = "\033[31mred", .text = "x\n"});
	rec(b, (struct record){.type = REC_DONE});
}
static void reply(struct cube_buf *b, struct record r) {
	ck_assert_int_eq(cube_buf_addstr(b, PREAMBLE), 0);
	rec(b, r);
}
static void reply_done(struct cube_buf *b) {
	reply(b, (struct record){.type = REC_REPLY_DONE});
}
static void reply_has_more(struct cube_buf *b) {
	reply(b, (struct record){.type = REC_HAVE, .entry = 1, .number = 1ull << 60});
}
static void reply_of_a_sender(struct cube_buf *b) {
	reply(b, (struct record){.type = REC_UP});
}
static void reply_without_fields(struct cube_buf *b) {
	ck_assert_int_eq(cube_buf_addstr(b, PREAMBLE), 0);
	ck_assert_int_eq(cube_buf_add(b, "\103\0\0", 3), 0);
}
static void reply_escapes(struct cube_buf *b) {
	struct record r = {.type = REC_REPLY_PROBLEM, .name = "\033[31mred", .flag = 1};
	snprintf(r.text, sizeof r.text, "x\n");
	reply(b, r);
	rec(b, (struct record){.type = REC_REPLY_DONE});
}

/* ---- and of the stream -------------------------------------------------------------------- */

static void stream_garbage(struct cube_buf *b) {
	for (int i = 0; i < 64; i++) ck_assert_int_eq(cube_buf_add(b, "\xee", 1), 0);
}
static void stream_other_message(struct cube_buf *b) {
	struct cube_msg msg = {.type = CUBE_MSG_PONG};
	ck_assert_int_eq(cube_msg_encode(b, &msg), 0);
}
static void stream_of_no_fd(struct cube_buf *b) {
	uint8_t head[CUBE_STREAM_HEAD];
	cube_msg_stream_head(head, CUBE_MSG_STREAM_OUTPUT, 0, 7, 0);
	ck_assert_int_eq(cube_buf_add(b, head, sizeof head), 0);
}
static void stream_more_than_granted(struct cube_buf *b) {
	static const uint8_t zeros[64u << 10];
	say_grant(b, 1000);
	for (int i = 0; i < 128; i++) say_frames(b, 2, zeros, sizeof zeros);
	for (int i = 0; i < 128; i++) say_frames(b, 1, zeros, sizeof zeros);
}
static void stream_grants_too_much(struct cube_buf *b) {
	say_grant(b, CUBE_WINDOW_MAX);
	say_grant(b, CUBE_WINDOW_MAX);
}
static void stream_after_the_end(struct cube_buf *b) {
	say_frames(b, 2, "", 0);
	say_frames(b, 2, "more", 4);
}
static void stream_closed_twice(struct cube_buf *b) {
	say_closed(b, "gone \033[31mwrong");
	say_closed(b, "twice");
	say_frames(b, 1, "more", 4);
}
static void stream_cut(struct cube_buf *b) {
	uint8_t head[CUBE_STREAM_HEAD];
	cube_msg_stream_head(head, CUBE_MSG_STREAM_OUTPUT, 0, 1, 5000);
	ck_assert_int_eq(cube_buf_add(b, head, sizeof head - 3), 0);
}

/* ---- the table ---------------------------------------------------------------------------- */

static const struct lie {
	void (*copy)(struct cube_buf *); /* goes into a frame on fd 1, twice */
	void (*stream)(struct cube_buf *);
	bool get, put; /* a copy's; a stream's is told to all commands */
	bool hangs_up;
	const char *said;
	const char *when; /* this has come; NULL: at once */
} lies[] = {
	{garbage, NULL, true, true, false, "speaks another version"},
	{words, NULL, true, true, false, "speaks another version"},
	{link_at_the_top, NULL, true, false, false, "x came, which nobody asked for"},
	{file_unasked, NULL, true, false, false, ".bashrc came, which nobody asked for"},
	{file_above, NULL, true, false, false, "a path for its name"},
	{file_in_file, NULL, true, false, false, "an entry out of place"},
	{data_over_the_size, NULL, true, false, false, "contents out of place"},
	{data_of_no_file, NULL, true, false, false, "contents out of place"},
	{data_of_4_GiB, NULL, true, false, false, "malformed record"},
	{hole_over_the_size, NULL, true, false, false, "contents out of place"},
	{from_unasked, NULL, true, false, false, "begin at the wrong place"},
	{from_beyond, NULL, true, false, false, "begin at the wrong place"},
	{up_too_far, NULL, true, false, false, "end of a folder out of place"},
	{done_in_file, NULL, true, false, false, "an end out of place"},
	{done_first, NULL, true, false, false, "an end out of place"},
	{begin_twice, NULL, true, false, false, "a second beginning"},
	{of_the_other_end, NULL, true, false, false, "a record of type 65"},
	{record_without_fields, NULL, true, false, false, "malformed record of type 4"},
	{record_too_long, NULL, true, true, false, "a record of type"},
	{escapes, NULL, true, false, false, "x\\n: \\x1b[31mred"},
	{reply_done, NULL, false, true, false, "done before all was sent"},
	{reply_has_more, NULL, false, true, false, "has more than the file", "large"},
	{reply_of_a_sender, NULL, false, true, false, "a record of type 3"},
	{reply_without_fields, NULL, false, true, false, "malformed record of type 67"},
	{reply_escapes, NULL, false, true, false, "x\\n: \\x1b[31mred"},
	{NULL, stream_garbage, true, true, false, ""},
	{NULL, stream_other_message, true, true, false, "the manager sends PONG"},
	{NULL, stream_of_no_fd, true, true, false, "malformed STREAM_DATA"},
	{NULL, stream_more_than_granted, true, true, false, ""},
	{NULL, stream_grants_too_much, true, true, false, "STREAM_WINDOW"},
	{NULL, stream_after_the_end, true, true, false, "after its end"},
	{NULL, stream_closed_twice, true, true, false, "gone"},
	{NULL, stream_cut, true, true, true, ""},
};
#define LIES (sizeof lies / sizeof *lies)

/* A copy's lie comes in two frames, and once more: something is there when it is found out. */
static void tell(const struct lie *lie, struct lie_told *told) {
	struct cube_buf copy;
	told->hangs_up = lie->hangs_up;
	told->when = lie->when;
	if (lie->stream) {
		lie->stream(&told->bytes);
		return;
	}
	cube_buf_init(&copy, 1u << 20);
	lie->copy(&copy);
	const char *p = (const char *)cube_buf_data(&copy);
	size_t n = cube_buf_len(&copy), half = n / 2;
	say_grant(&told->bytes, 4u << 20);
	say_frames(&told->bytes, 1, p, half);
	say_frames(&told->bytes, 1, p + half, n - half);
	say_frames(&told->bytes, 1, p, n);
	say_closed(&told->bytes, "");
	cube_buf_done(&copy);
}

/* liar<N> tells lies[N]. */
static void start_liars(struct liar *l) {
	liar_init(l);
	for (size_t i = 0; i < LIES; i++) tell(&lies[i], liar_add(l));
	liar_start(l);
}

/* ---- cp ----------------------------------------------------------------------------------- */

static const struct cube_cp_host *host(const struct cube_cp *cp, const char *name) {
	for (size_t i = 0; i < cp->n; i++)
		if (strcmp(cp->hosts[i].node, name) == 0) return &cp->hosts[i];
	ck_abort_msg("no host %s", name);
	return NULL;
}

static bool said(const struct cube_cp_host *h, const char *what) {
	const char *text;
	json_t *none;
	if (h->failure && strstr(h->failure, what)) return true;
	json_object_foreach(h->problems, text, none) {
		if (strstr(text, what)) return true;
	}
	return false;
}

static void large_file(const char *path) {
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	ck_assert(fd >= 0 && ftruncate(fd, 2u << 20) == 0 && close(fd) == 0);
}

static void check_arrived(const struct liar *l, const char *name, bool up) {
	struct stat st;
	char path[64];
	snprintf(path, sizeof path, up ? "to-%s" : "from-%s/x", name);
	ck_assert_msg(stat(liar_path(l, path), &st) == 0, "%s is not there", path);
	ck_assert_int_eq(st.st_size, up ? 2 << 20 : 10);
}

static void add_host(struct liar *l, struct cube_cp *cp, const char *name) {
	char dest[64];
	snprintf(dest, sizeof dest, cp->up ? "to-%s" : "from-%s", name);
	struct cube_cp_host *h = cube_cp_add(cp, name, cp->up ? dest : liar_path(l, dest));
	if (cp->up) return;
	cube_strv_add(&h->paths, "x");
	ck_assert_int_eq(mkdir(h->dest, 0755), 0);
}

static void check_liar(const struct cube_cp *cp, size_t i) {
	char name[16];
	snprintf(name, sizeof name, "liar%zu", i);
	const struct cube_cp_host *bad = host(cp, name);
	ck_assert_msg(bad->failure || json_object_size(bad->problems), "%s: believed", name);
	ck_assert_msg(said(bad, lies[i].said), "%s: %s, not %s", name, bad->failure, lies[i].said);
	ck_assert_ptr_null(bad->stream);
}

/* One copy, with all of them and two that do not lie. */
static void copy_with_liars(bool up) {
	static const char *const good[] = {"good1", "good2"};
	char name[16];
	struct liar l;
	start_liars(&l);
	cube_autofree char *large = cube_strdup(liar_path(&l, "large"));
	const char *const paths[] = {large};
	struct cube_cp cp = {.cli = &l.cli, .up = up, .paths = paths, .npaths = 1, .fanout = 64};
	cp.wait = 60 * CUBE_NS_PER_S;
	large_file(large);
	add_host(&l, &cp, good[0]);
	for (size_t i = 0; i < LIES; i++) {
		snprintf(name, sizeof name, "liar%zu", i);
		if (up ? lies[i].put : lies[i].get) add_host(&l, &cp, name);
	}
	add_host(&l, &cp, good[1]);
	while (cube_cp_turn(&cp, -1, 1000)) {}
	for (size_t i = 0; i < LIES; i++)
		if (up ? lies[i].put : lies[i].get) check_liar(&cp, i);
	for (int k = 0; k < 2; k++) {
		const struct cube_cp_host *h = host(&cp, good[k]);
		ck_assert_msg(h->state == CUBE_CP_DONE && !json_object_size(h->problems), "%s: %s",
			      good[k], h->failure);
		check_arrived(&l, good[k], up);
	}
	cube_cp_done(&cp);
	liar_stop(&l);
}

START_TEST(copies_from) {
	copy_with_liars(false);
}
END_TEST

START_TEST(copies_to) {
	copy_with_liars(true);
}
END_TEST

/* ---- exec --------------------------------------------------------------------------------- */

static void read_all(int fd, char *text, size_t size) {
	ssize_t n = pread(fd, text, size - 1, 0);
	text[n > 0 ? n : 0] = '\0';
}

static int code_of(pid_t pid) {
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run_command(struct liar *l, const struct cube_command *command, char **argv, int err) {
	size_t n = 0;
	while (argv[n]) n++;
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		dup2(err, 2);
		_exit(command->run(&l->cli, cube_alloc(command->size), argv, n));
	}
	return code_of(pid);
}

static void exec_on_liar(struct liar *l, size_t i, int err) {
	char name[16], words[] = "true", *argv[] = {name, words, NULL}, text[4096], want[64];
	snprintf(name, sizeof name, "liar%zu", i);
	snprintf(want, sizeof want, "cube: error: %s: ", name);
	ck_assert_int_eq(ftruncate(err, 0), 0);
	int code = run_command(l, &cube_cmd_exec, argv, err);
	read_all(err, text, sizeof text);
	ck_assert_msg(code == 125, "%s: exit code %d: %s", name, code, text);
	ck_assert_msg(lies[i].hangs_up || strstr(text, want), "%s: %s", name, text);
	ck_assert_msg(strstr(text, lies[i].said) != NULL, "%s: %s", name, text);
	ck_assert_msg(!strchr(text, '\033'), "%s: not escaped", name);
}

START_TEST(execs) {
	char name[] = "good1", words[] = "true", *good[] = {name, words, NULL};
	int err = memfd_create("stderr", 0);
	struct liar l;
	start_liars(&l);
	ck_assert_int_eq(fcntl(err, F_SETFL, O_APPEND), 0);
	for (size_t i = 0; i < LIES; i++) /* what is granted again as it comes is never too much */
		if (lies[i].stream && lies[i].stream != stream_more_than_granted)
			exec_on_liar(&l, i, err);
	ck_assert_int_eq(run_command(&l, &cube_cmd_exec, good, err), 0);
	close(err);
	liar_stop(&l);
}
END_TEST

static int hold(void *arg, int fd, const uint8_t *bytes, size_t n, struct cube_err *err) {
	return 0;
}

/* Who holds what came grants nothing: the host may not go on. */
START_TEST(more_than_granted) {
	static const struct cube_rstream_ops ops = {hold};
	struct cube_rstream_open open = {.node = "liar0"};
	struct cube_rstream *s;
	struct cube_err err;
	struct liar l;
	int rc = 0;
	liar_init(&l);
	stream_more_than_granted(&liar_add(&l)->bytes);
	liar_start(&l);
	ck_assert_msg(!cube_rstream_open(l.cli.client, &open, &ops, NULL, &s, &err), "%s", err.msg);
	for (struct pollfd p = {cube_rstream_fd(s), POLLIN, 0}; !rc && poll(&p, 1, -1) > 0;)
		rc = cube_rstream_step(s, &err);
	ck_assert_int_eq(rc, CUBE_EPROTO);
	ck_assert_str_eq(err.msg, "more output came than was granted");
	cube_rstream_free(s);
	liar_stop(&l);
}
END_TEST

/* ---- forward ------------------------------------------------------------------------------ */

/* One to each that lies about the stream, and one to a good host, the last. */
static size_t make_forwards(struct cube_forward list[LIES + 1]) {
	struct cube_err err;
	size_t n = 0;
	for (size_t i = 0; i < LIES; i++) {
		cube_autofree char *word = cube_strf("0:liar%zu:7", i);
		if (lies[i].stream) ck_assert_int_eq(cube_forward_parse(word, &list[n++], &err), 0);
	}
	ck_assert_int_eq(cube_forward_parse("0:good1:7", &list[n++], &err), 0);
	return n;
}

static pid_t start_forwards(struct liar *l, const struct cube_forward *list, size_t n,
			    FILE **ret_out, FILE **ret_err) {
	int out[2], err[2];
	ck_assert(pipe(out) == 0 && pipe(err) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct cube_err why;
		dup2(out[1], 1);
		dup2(err[1], 2);
		close(out[0]);
		close(err[0]);
		_exit(cube_forward_run(&l->cli, list, n, &why) == CUBE_ECANCELED ? 0 : 1);
	}
	close(out[1]);
	close(err[1]);
	*ret_out = fdopen(out[0], "r");
	*ret_err = fdopen(err[0], "r");
	return pid;
}

static int connect_to_next(FILE *listeners) {
	char line[200];
	unsigned port;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_ptr_nonnull(fgets(line, sizeof line, listeners));
	ck_assert_int_eq(sscanf(line, "127.0.0.1:%u", &port), 1);
	at.sin_port = htons((uint16_t)port);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	return fd;
}

/* What is told of one of them, in a line that names it. */
static void check_told(FILE *err) {
	char text[4096] = "";
	unsigned i = LIES;
	ck_assert_ptr_nonnull(fgets(text, sizeof text, err));
	ck_assert_msg(sscanf(text, "cube: liar%u: ", &i) == 1 && i < LIES, "%s", text);
	ck_assert_msg(strstr(text, lies[i].said) != NULL, "%s", text);
	ck_assert_msg(!strchr(text, '\033'), "not escaped");
}

START_TEST(forwards) {
	struct cube_forward list[LIES + 1];
	char got[16] = "";
	int fds[LIES + 1];
	struct liar l;
	FILE *listeners, *err;
	start_liars(&l);
	size_t n = make_forwards(list);
	pid_t pid = start_forwards(&l, list, n, &listeners, &err);
	for (size_t i = 0; i < n; i++) fds[i] = connect_to_next(listeners);
	for (size_t i = 0; i + 1 < n; i++) check_told(err);
	/* another host's connection goes on */
	ck_assert_int_eq(send(fds[n - 1], "echo", 4, MSG_NOSIGNAL), 4);
	ck_assert_int_eq(recv(fds[n - 1], got, 4, MSG_WAITALL), 4);
	ck_assert_str_eq(got, "echo");
	kill(pid, SIGTERM);
	ck_assert_int_eq(code_of(pid), 0);
	for (size_t i = 0; i < n; i++) {
		close(fds[i]);
		cube_forward_done(&list[i]);
	}
	fclose(listeners);
	fclose(err);
	liar_stop(&l);
}
END_TEST

/* ---- silence ------------------------------------------------------------------------------ */

struct waiting {
	struct liar *l;
	unsigned told;
};

static void on_told(void *arg) {
	struct waiting *w = arg;
	w->told++;
	close(w->l->go); /* now it answers */
	w->l->go = -1;
}

/* It is told, once, and the copy goes on when the host does. */
START_TEST(silence_of_a_copy) {
	struct liar l;
	char text[4096];
	int err = memfd_create("stderr", 0), before = dup(2);
	struct waiting w = {&l, 0};
	liar_init(&l);
	liar_start(&l);
	cube_autofree char *large = cube_strdup(liar_path(&l, "large"));
	const char *const paths[] = {large};
	struct cube_cp cp = {.cli = &l.cli, .up = _i, .paths = paths, .npaths = 1, .fanout = 3};
	large_file(large);
	cp.silence = 100 * CUBE_NS_PER_MS;
	cp.hide = on_told;
	cp.arg = &w;
	struct cube_cp_host *h =
		cube_cp_add(&cp, "late", _i ? "to-late" : liar_path(&l, "from-late"));
	if (!_i) {
		cube_strv_add(&h->paths, "x");
		ck_assert_int_eq(mkdir(h->dest, 0755), 0);
	}
	dup2(err, 2);
	while (cube_cp_turn(&cp, -1, 20)) {}
	dup2(before, 2);
	read_all(err, text, sizeof text);
	ck_assert_uint_eq(w.told, 1);
	ck_assert_str_eq(text, "cube: late: no answer for 0 s; waiting (Ctrl-C ends)\n");
	ck_assert_msg(h->state == CUBE_CP_DONE, "%s", h->failure);
	check_arrived(&l, "late", _i);
	cube_cp_done(&cp);
	liar_stop(&l);
	close(err);
	close(before);
}
END_TEST

/* The same of `cube env`, which waits for one host only. */
START_TEST(silence_of_a_stream) {
	static const struct cube_rstream_ops ops = {hold};
	static const char *const argv[] = {"environ", NULL};
	struct cube_rstream_open open = {.node = "late", .argv = argv, .flags = CUBE_OPEN_OWN};
	struct cube_rstream *s;
	struct cube_err err;
	struct liar l;
	char line[200] = "";
	int out[2], before = dup(2);
	liar_init(&l);
	liar_start(&l);
	ck_assert_int_eq(pipe(out), 0);
	ck_assert_msg(!cube_rstream_open(l.cli.client, &open, &ops, NULL, &s, &err), "%s", err.msg);
	pid_t pid = fork();
	if (pid == 0) { /* waits for what is told, and lets the host answer */
		ssize_t n = read(out[0], line, sizeof line - 1);
		close(l.go);
		_exit(n <= 0 ||
		      strcmp(line, "cube: late: no answer for 0 s; waiting (Ctrl-C ends)\n"));
	}
	close(l.go);
	l.go = -1;
	cube_rstream_end(s);
	dup2(out[1], 2);
	int rc = cube_rstream_finish(s, "late", 100 * CUBE_NS_PER_MS, &err);
	dup2(before, 2);
	ck_assert_msg(rc == 0, "%s", err.msg);
	ck_assert(cube_rstream_closed(s));
	ck_assert_int_eq(code_of(pid), 0);
	cube_rstream_free(s);
	close(out[0]);
	close(out[1]);
	close(before);
	liar_stop(&l);
}
END_TEST

int main(void) {
	Suite *s = suite_create("lies");
	TCase *t = tcase_create("lies");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, copies_from);
	tcase_add_test(t, copies_to);
	tcase_add_test(t, execs);
	tcase_add_test(t, more_than_granted);
	tcase_add_test(t, forwards);
	tcase_add_loop_test(t, silence_of_a_copy, 0, 2);
	tcase_add_test(t, silence_of_a_stream);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
