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

static void prepare(struct liar *l, const struct lie *lie) {
	struct cube_buf copy;
	liar_init(l);
	cube_buf_init(&copy, 1u << 20);
	if (lie->copy) {
		lie->copy(&copy);
		/* in two frames, and the whole once more: what comes behind a lie is there when it
		 * is found out */
		const char *p = (const char *)cube_buf_data(&copy);
		size_t n = cube_buf_len(&copy), half = n / 2;
		say_grant(&l->lie, 4u << 20);
		say_frames(&l->lie, 1, p, half);
		say_frames(&l->lie, 1, p + half, n - half);
		say_frames(&l->lie, 1, p, n);
		say_closed(&l->lie, "");
	} else lie->stream(&l->lie);
	cube_buf_done(&copy);
	l->hangs_up = lie->hangs_up;
	l->when = lie->when;
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

/* Copies with three hosts; the one in the middle lies. */
static void copy_with_liar(const struct lie *lie, bool up, size_t i) {
	static const char *const names[] = {"good1", "liar", "good2"};
	struct liar l;
	prepare(&l, lie);
	cube_autofree char *large = cube_strdup(liar_path(&l, "large"));
	const char *const paths[] = {large};
	struct cube_cp cp = {.cli = &l.cli, .up = up, .paths = paths, .npaths = 1, .fanout = 3};
	cp.wait = CUBE_NS_PER_S;
	large_file(large);
	for (int k = 0; k < 3; k++) {
		char dest[64];
		snprintf(dest, sizeof dest, up ? "to-%s" : "from-%s", names[k]);
		struct cube_cp_host *h =
			cube_cp_add(&cp, names[k], up ? dest : liar_path(&l, dest));
		if (up) continue;
		cube_strv_add(&h->paths, "x");
		ck_assert_int_eq(mkdir(h->dest, 0755), 0);
	}
	while (cube_cp_turn(&cp, -1, 1000)) {}
	const struct cube_cp_host *bad = host(&cp, "liar");
	ck_assert_msg(bad->failure || json_object_size(bad->problems), "lie %zu: believed", i);
	ck_assert_msg(said(bad, lie->said), "lie %zu: %s, not %s", i, bad->failure, lie->said);
	ck_assert_ptr_null(bad->stream);
	for (int k = 0; k < 3; k += 2) {
		const struct cube_cp_host *h = host(&cp, names[k]);
		ck_assert_msg(h->state == CUBE_CP_DONE && !json_object_size(h->problems),
			      "lie %zu: %s: %s", i, names[k], h->failure);
		check_arrived(&l, names[k], up);
	}
	cube_cp_done(&cp);
	liar_stop(&l);
}

START_TEST(copies_from) {
	if (lies[_i].get) copy_with_liar(&lies[_i], false, (size_t)_i);
}
END_TEST

START_TEST(copies_to) {
	if (lies[_i].put) copy_with_liar(&lies[_i], true, (size_t)_i);
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

START_TEST(execs) {
	static char liar[] = "liar", good1[] = "good1", true_[] = "true";
	char *good[] = {good1, true_, NULL}, *bad[] = {liar, true_, NULL}, text[4096];
	const struct lie *lie = &lies[_i];
	int err = memfd_create("stderr", 0);
	struct liar l;
	/* what is granted again as it comes is never too much */
	if (!lie->stream || lie->stream == stream_more_than_granted) return;
	prepare(&l, lie);
	int code = run_command(&l, &cube_cmd_exec, bad, err);
	read_all(err, text, sizeof text);
	ck_assert_msg(code == 125, "lie %d: exit code %d: %s", _i, code, text);
	ck_assert_msg(lie->hangs_up || strstr(text, "cube: error: liar: "), "lie %d: %s", _i, text);
	ck_assert_msg(strstr(text, lie->said) != NULL, "lie %d: %s", _i, text);
	ck_assert_msg(!strchr(text, '\033'), "lie %d: not escaped", _i);
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
	struct cube_rstream_open open = {.node = "liar"};
	struct cube_rstream *s;
	struct cube_err err;
	struct liar l;
	int rc = 0;
	liar_init(&l);
	stream_more_than_granted(&l.lie);
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

static pid_t start_forwards(struct liar *l, FILE **ret_out, FILE **ret_err) {
	static char any[] = "0", here[] = "127.0.0.1", bad[] = "liar", good[] = "good1",
		    port[] = "7";
	static const struct cube_forward list[] = {{here, any, bad, here, port},
						   {here, any, good, here, port}};
	int out[2], err[2];
	ck_assert(pipe(out) == 0 && pipe(err) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct cube_err why;
		dup2(out[1], 1);
		dup2(err[1], 2);
		close(out[0]);
		close(err[0]);
		_exit(cube_forward_run(&l->cli, list, 2, &why) == CUBE_ECANCELED ? 0 : 1);
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

START_TEST(forwards) {
	const struct lie *lie = &lies[_i];
	char text[4096] = "", got[16] = "";
	struct liar l;
	FILE *listeners, *err;
	if (!lie->stream) return;
	prepare(&l, lie);
	pid_t pid = start_forwards(&l, &listeners, &err);
	int bad = connect_to_next(listeners), good = connect_to_next(listeners);
	send(bad, "x", 1, MSG_NOSIGNAL);
	ck_assert_ptr_nonnull(fgets(text, sizeof text, err));
	/* another host's connections go on */
	ck_assert_int_eq(send(good, "echo", 4, MSG_NOSIGNAL), 4);
	ck_assert_int_eq(recv(good, got, 4, MSG_WAITALL), 4);
	ck_assert_str_eq(got, "echo");
	kill(pid, SIGTERM);
	ck_assert_int_eq(code_of(pid), 0);
	ck_assert_msg(strstr(text, "cube: liar: ") != NULL, "lie %d: %s", _i, text);
	ck_assert_msg(strstr(text, lie->said) != NULL, "lie %d: %s", _i, text);
	ck_assert_msg(!strchr(text, '\033'), "lie %d: not escaped", _i);
	close(bad);
	close(good);
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
	tcase_add_loop_test(t, copies_from, 0, (int)LIES);
	tcase_add_loop_test(t, copies_to, 0, (int)LIES);
	tcase_add_loop_test(t, execs, 0, (int)LIES);
	tcase_add_test(t, more_than_granted);
	tcase_add_loop_test(t, forwards, 0, (int)LIES);
	tcase_add_loop_test(t, silence_of_a_copy, 0, 2);
	tcase_add_test(t, silence_of_a_stream);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
