/* Streams of a real worker: frames by hand over its link. */
#include "worker_link.h"

#define WINDOW 65536

/* What was seen of one stream. */
struct heard {
	struct cube_buf out[3];
	bool eof[3];
	uint32_t granted;
	struct cube_msg closed;
	bool over;
};

static void heard_init(struct heard *h) {
	memset(h, 0, sizeof *h);
	for (int i = 0; i < 3; i++) cube_buf_init(&h->out[i], 64 << 20);
}

static void heard_done(struct heard *h) {
	for (int i = 0; i < 3; i++) cube_buf_done(&h->out[i]);
}

static void grant(struct link *l, uint64_t id, uint8_t fd, uint32_t n) {
	struct cube_msg m = {.type = CUBE_MSG_STREAM_WINDOW, .task = id};

	m.stream.fd = fd;
	m.stream.window = n;
	link_send(l, &m);
}

static void open_words(struct link *l, uint64_t id, const char *const *argv, uint8_t flags) {
	static const char *const env[] = {"GREETING=hello", NULL};
	struct cube_msg_open open = {.stream = id,
				     .argv = argv,
				     .env = env,
				     .dir = "/",
				     .flags = flags,
				     .rows = 33,
				     .cols = 77};

	ck_assert_int_eq(cube_msg_encode_open(&l->out, &open), 0);
	link_flush(l);
}

static void open_sh(struct link *l, uint64_t id, const char *script, uint8_t flags) {
	const char *argv[] = {"/bin/sh", "-c", script, NULL};

	open_words(l, id, argv, flags);
}

static void input(struct link *l, uint64_t id, const char *text) {
	struct cube_msg m = {.type = CUBE_MSG_STREAM_INPUT, .task = id};

	m.stream.bytes = (struct cube_slice){(const uint8_t *)text, strlen(text)};
	link_send(l, &m);
}

static void plain(struct link *l, uint64_t id, enum cube_msg_type type) {
	struct cube_msg m = {.type = type, .task = id};

	link_send(l, &m);
}

/* Takes one frame; what is used up of a window is granted again if `again`. */
static void hear(struct link *l, struct heard *h, uint64_t id, bool again) {
	struct cube_msg m;

	ck_assert_msg(link_next(l, &m), "the link ended");
	if (m.type == CUBE_MSG_ERROR) ck_abort_msg("ERROR: %s", m.error.message);
	ck_assert_uint_eq(m.task, id);
	switch (m.type) {
	case CUBE_MSG_STREAM_OUTPUT:
		ck_assert(!h->eof[m.stream.fd]);
		cube_buf_add(&h->out[m.stream.fd], m.stream.bytes.p, m.stream.bytes.n);
		h->eof[m.stream.fd] = !m.stream.bytes.n;
		if (again && m.stream.bytes.n)
			grant(l, id, m.stream.fd, cube_msg_stream_cost(m.stream.bytes.n));
		break;
	case CUBE_MSG_STREAM_GRANT: h->granted += m.stream.window; break;
	case CUBE_MSG_STREAM_CLOSED:
		h->closed = m;
		h->over = true;
		break;
	default: ck_abort_msg("unexpected %s", cube_msg_name((int)m.type));
	}
}

static void hear_all(struct link *l, struct heard *h, uint64_t id) {
	while (!h->over) hear(l, h, id, true);
}

static void hear_text(struct link *l, struct heard *h, uint64_t id, const char *text) {
	while (!strstr(cube_buf_str(&h->out[1]), text)) hear(l, h, id, true);
}

static void both_windows(struct link *l, uint64_t id) {
	grant(l, id, 1, WINDOW);
	grant(l, id, 2, WINDOW);
}

START_TEST(test_a_process) {
	struct host host;
	struct link l;
	struct heard h;

	host_make(&host, "process");
	link_open(&l, &host, 1);
	heard_init(&h);
	open_sh(&l, 1, "read x; echo \"$GREETING $x in $PWD for $CUBE_HOST\"; echo bad >&2; exit 9",
		0);
	both_windows(&l, 1);
	while (!h.granted) hear(&l, &h, 1, true);
	input(&l, 1, "there\n");
	hear_all(&l, &h, 1);
	ck_assert_str_eq(cube_buf_str(&h.out[1]), "hello there in / for web1\n");
	ck_assert_str_eq(cube_buf_str(&h.out[2]), "bad\n");
	ck_assert(h.eof[1] && h.eof[2]);
	ck_assert_int_eq(h.closed.closed.how, CUBE_EXIT_EXITED);
	ck_assert_int_eq(h.closed.closed.value, 9);
	heard_done(&h);
	heard_init(&h);
	open_sh(&l, 2, "kill -USR1 $$", 0);
	both_windows(&l, 2);
	hear_all(&l, &h, 2);
	ck_assert_int_eq(h.closed.closed.how, CUBE_EXIT_SIGNALED);
	ck_assert_int_eq(h.closed.closed.value, SIGUSR1);
	heard_done(&h);
	link_shutdown(&l, true);
}
END_TEST

START_TEST(test_cannot_start) {
	const char *argv[] = {"/no/such/program", NULL};
	struct host host;
	struct link l;
	struct heard h;

	host_make(&host, "cannot");
	link_open(&l, &host, 1);
	heard_init(&h);
	open_words(&l, 1, argv, 0);
	hear_all(&l, &h, 1);
	ck_assert_int_eq(h.closed.closed.how, CUBE_EXIT_NOT_STARTED);
	ck_assert_int_eq(h.closed.closed.value, ENOENT);
	ck_assert_ptr_nonnull(strstr(h.closed.closed.message, "/no/such/program"));
	heard_done(&h);
	link_shutdown(&l, true);
}
END_TEST

/* Not a byte more than was granted, and the process waits meanwhile. */
START_TEST(test_windows_hold_output_back) {
	struct host host;
	struct link l;
	struct heard h;

	host_make(&host, "windows");
	link_open(&l, &host, 1);
	heard_init(&h);
	open_sh(&l, 1, "head -c 500000 /dev/zero; echo; echo end >&2", 0);
	grant(&l, 1, 1, 1000 + CUBE_STREAM_COST);
	while (cube_buf_len(&h.out[1]) < 1000) hear(&l, &h, 1, false);
	plain(&l, 0, CUBE_MSG_PING);
	for (struct cube_msg m = {0}; m.type != CUBE_MSG_PONG;) {
		ck_assert(link_next(&l, &m));
		ck_assert_int_ne((int)m.type, CUBE_MSG_STREAM_OUTPUT);
	}
	ck_assert_uint_eq(cube_buf_len(&h.out[1]), 1000);
	both_windows(&l, 1);
	hear_all(&l, &h, 1);
	ck_assert_uint_eq(cube_buf_len(&h.out[1]), 500001);
	ck_assert_str_eq(cube_buf_str(&h.out[2]), "end\n");
	heard_done(&h);
	link_shutdown(&l, true);
}
END_TEST

/* Input over the window, and grants over the limit, end the link. */
START_TEST(test_breaking_the_rules) {
	struct host host;
	struct link l;
	struct heard h;
	struct cube_msg m;

	host_make(&host, "rules");
	for (int i = 0; i < 3; i++) {
		link_open(&l, &host, 1);
		heard_init(&h);
		open_sh(&l, 1, "sleep 100", 0);
		while (!h.granted) hear(&l, &h, 1, true);
		if (i == 0) {
			plain(&l, 1, CUBE_MSG_STREAM_INPUT); /* the end .. */
			input(&l, 1, "more");                /* .. and more */
		} else if (i == 1) {
			grant(&l, 1, 1, CUBE_WINDOW_MAX);
			grant(&l, 1, 1, 1);
		} else open_sh(&l, 1, "true", 0); /* an id that was there */
		link_expect(&l, CUBE_MSG_ERROR, &m);
		ck_assert_int_eq(m.error.code, CUBE_PROTO_ERR_MALFORMED);
		heard_done(&h);
		link_close(&l);
	}
	link_open(&l, &host, 1);
	link_shutdown(&l, true);
}
END_TEST

START_TEST(test_a_terminal) {
	struct host host;
	struct link l;
	struct heard h;
	struct cube_msg m = {.type = CUBE_MSG_STREAM_RESIZE, .task = 1};

	host_make(&host, "terminal");
	link_open(&l, &host, 1);
	heard_init(&h);
	open_sh(&l, 1,
		"stty size; tty; read x; stty size; trap 'echo got INT; exit 4' INT; echo wait; "
		"while :; do sleep 0.05; done",
		CUBE_OPEN_PTY);
	grant(&l, 1, 1, WINDOW);
	hear_text(&l, &h, 1, "33 77\r\n/dev/pts/");
	m.open.rows = 50;
	m.open.cols = 132;
	link_send(&l, &m);
	input(&l, 1, "\n");
	hear_text(&l, &h, 1, "50 132\r\n");
	hear_text(&l, &h, 1, "wait\r\n");
	input(&l, 1, "\003");
	hear_all(&l, &h, 1);
	ck_assert_ptr_nonnull(strstr(cube_buf_str(&h.out[1]), "got INT\r\n"));
	ck_assert_int_eq(h.closed.closed.value, 4);
	heard_done(&h);
	link_shutdown(&l, true);
}
END_TEST

static pid_t number_in(struct link *l, struct heard *h, uint64_t id) {
	hear_text(l, h, id, "\n");
	return (pid_t)strtol(cube_buf_str(&h->out[1]), NULL, 10);
}

/* CLOSE and the link's end: HUP at once, and KILL for who does not care. */
START_TEST(test_hang_up) {
	struct host host;
	struct link l;
	struct heard h;
	pid_t pid;

	host_make(&host, "hangup");
	link_open(&l, &host, 1);
	heard_init(&h);
	open_sh(&l, 1, "echo $$; sleep 1000", 0);
	both_windows(&l, 1);
	pid = number_in(&l, &h, 1);
	plain(&l, 1, CUBE_MSG_STREAM_CLOSE);
	ck_assert(wait_gone(pid, 3000));
	heard_done(&h);
	heard_init(&h);
	open_sh(&l, 2, "trap '' HUP; echo $$; while :; do sleep 1; done", 0);
	both_windows(&l, 2);
	pid = number_in(&l, &h, 2);
	link_close(&l);
	ck_assert(wait_gone(pid, 20000));
	heard_done(&h);
	link_open(&l, &host, 1);
	link_shutdown(&l, true);
}
END_TEST

/* The process is gone, and what it left keeps the pipe: the stream ends all the same. */
START_TEST(test_leftover_does_not_hold_it) {
	struct host host;
	struct link l;
	struct heard h;

	host_make(&host, "leftover");
	link_open(&l, &host, 1);
	heard_init(&h);
	open_sh(&l, 1, "sleep 1000 & echo $!", 0);
	both_windows(&l, 1);
	hear_all(&l, &h, 1);
	ck_assert_int_eq(h.closed.closed.how, CUBE_EXIT_EXITED);
	ck_assert(alive((pid_t)strtol(cube_buf_str(&h.out[1]), NULL, 10)));
	heard_done(&h);
	link_shutdown(&l, true);
}
END_TEST

START_TEST(test_at_most_256) {
	struct host host;
	struct link l;
	struct heard h;
	struct cube_msg m;

	host_make(&host, "many");
	link_open(&l, &host, 1);
	for (uint64_t id = 1; id <= 257; id++) open_sh(&l, id, "exec sleep 1000", 0);
	do ck_assert(link_next(&l, &m));
	while (m.type != CUBE_MSG_STREAM_CLOSED);
	ck_assert_uint_eq(m.task, 257);
	ck_assert_int_eq(m.closed.value, EAGAIN);
	plain(&l, 7, CUBE_MSG_STREAM_CLOSE);
	heard_init(&h);
	open_sh(&l, 300, "echo fine", 0);
	both_windows(&l, 300);
	while (!h.over) {
		ck_assert(link_next(&l, &m));
		if (m.type == CUBE_MSG_STREAM_CLOSED) h.over = true;
		if (m.type == CUBE_MSG_STREAM_OUTPUT && m.stream.bytes.n)
			cube_buf_add(&h.out[1], m.stream.bytes.p, m.stream.bytes.n);
	}
	ck_assert_str_eq(cube_buf_str(&h.out[1]), "fine\n");
	heard_done(&h);
	link_shutdown(&l, true);
}
END_TEST

/* The login environment: noise around it, kept for later ones, told why it fails. */
START_TEST(test_login_environment) {
	static const char *const shells[] = {"/bin/bash",     "/bin/dash", "/usr/bin/zsh",
					     "/usr/bin/fish", "/bin/tcsh", "/usr/bin/tcsh"};
	const char *const argv[] = {"environ", NULL};
	const char *shell = shells[_i];
	char home[PATH_MAX], file[PATH_MAX + 40], name[32];
	struct host host;
	struct link l;
	struct heard h;

	if (access(shell, X_OK) < 0) return;
	snprintf(name, sizeof name, "login%d", _i);
	snprintf(home, sizeof home, "%s/home%d", getenv("CUBE_TEST_ROOT"), _i);
	ck_assert_int_eq(mkdir(home, 0700), 0);
	static const char sh[] = "echo noise; export MY_VAR='set by login'\n";
	static const char csh[] = "echo noise\nsetenv MY_VAR 'set by login'\n";
	static const char fish[] = "echo noise\nset -gx MY_VAR 'set by login'\n";
	static const char *const files[] = {".bash_profile", ".profile", ".zprofile",
					    "config.fish",   ".login",   ".login"};
	snprintf(file, sizeof file, "%s/%s", home, files[_i]);
	write_whole(file,
		    _i >= 4   ? csh
		    : _i == 3 ? fish
			      : sh,
		    strlen(_i >= 4   ? csh
			   : _i == 3 ? fish
				     : sh),
		    0600);
	snprintf(file, sizeof file, "%s/fish", home);
	mkdir(file, 0700);
	snprintf(file, sizeof file, "%s/fish/config.fish", home);
	if (_i == 3) write_whole(file, fish, strlen(fish), 0600);
	setenv("HOME", home, 1);
	setenv("XDG_CONFIG_HOME", home, 1);
	setenv("SHELL", shell, 1);
	host_make(&host, name);
	link_open(&l, &host, 1);
	heard_init(&h);
	open_words(&l, 1, argv, CUBE_OPEN_OWN | CUBE_OPEN_LOGIN);
	both_windows(&l, 1);
	hear_all(&l, &h, 1);
	ck_assert_msg(h.closed.closed.how == CUBE_EXIT_EXITED, "%s", h.closed.closed.message);
	static const char want[] = "MY_VAR=set by login";
	ck_assert_msg(memmem(cube_buf_data(&h.out[1]), cube_buf_len(&h.out[1]), want, sizeof want),
		      "%s: the variable is not there", shell);
	heard_done(&h);
	link_shutdown(&l, true);
}
END_TEST

/* A host whose login shell is bash with this .bash_profile. */
static void host_with_profile(struct host *host, const char *name, const char *profile) {
	char file[PATH_MAX + 40];

	host_make(host, name);
	snprintf(file, sizeof file, "%s/.bash_profile", host->base);
	write_whole(file, profile, strlen(profile), 0600);
	setenv("HOME", host->base, 1);
	setenv("SHELL", "/bin/bash", 1);
}

/* Input may end before the process begins, which waits for the login environment. */
START_TEST(test_input_ends_before_login) {
	const char *const argv[] = {"/bin/cat", NULL};
	struct host host;
	struct link l;
	struct heard h;

	if (access("/bin/bash", X_OK) < 0) return;
	host_with_profile(&host, "early", "export X=1\n");
	link_open(&l, &host, 1);
	heard_init(&h);
	open_words(&l, 1, argv, CUBE_OPEN_LOGIN);
	input(&l, 1, "");
	both_windows(&l, 1);
	hear_all(&l, &h, 1);
	ck_assert_int_eq(h.closed.closed.how, CUBE_EXIT_EXITED);
	ck_assert_int_eq(h.closed.closed.value, 0);
	heard_done(&h);
	link_shutdown(&l, true);
}
END_TEST

/* So may a signal come. */
START_TEST(test_signal_before_login) {
	struct cube_msg m = {.type = CUBE_MSG_STREAM_SIGNAL, .task = 1, .signal.signo = SIGINT};
	const char *const argv[] = {"/bin/sleep", "1000", NULL};
	struct host host;
	struct link l;
	struct heard h;

	if (access("/bin/bash", X_OK) < 0) return;
	host_with_profile(&host, "signal", "export X=1\n");
	link_open(&l, &host, 1);
	heard_init(&h);
	open_words(&l, 1, argv, CUBE_OPEN_LOGIN);
	link_send(&l, &m);
	both_windows(&l, 1);
	hear_all(&l, &h, 1);
	ck_assert_int_eq(h.closed.closed.how, CUBE_EXIT_SIGNALED);
	ck_assert_int_eq(h.closed.closed.value, SIGINT);
	heard_done(&h);
	link_shutdown(&l, true);
}
END_TEST

/* The worker's file may be gone (somebody cleaned a cache): what runs goes on to work. */
START_TEST(test_its_file_is_gone) {
	const char *const argv[] = {"environ", NULL};
	struct host host;
	struct link l;
	struct heard h;

	if (access("/bin/bash", X_OK) < 0) return;
	host_with_profile(&host, "nofile", "export MY_VAR=kept\n");
	link_open(&l, &host, 1);
	ck_assert_int_eq(unlink(host.exe), 0);
	heard_init(&h);
	open_words(&l, 1, argv, CUBE_OPEN_OWN | CUBE_OPEN_LOGIN);
	both_windows(&l, 1);
	hear_all(&l, &h, 1);
	ck_assert_msg(h.closed.closed.how == CUBE_EXIT_EXITED, "%s", h.closed.closed.message);
	ck_assert_ptr_nonnull(memmem(cube_buf_data(&h.out[1]), cube_buf_len(&h.out[1]),
				     "MY_VAR=kept", sizeof "MY_VAR=kept"));
	heard_done(&h);
	link_shutdown(&l, true);
}
END_TEST

int main(void) {
	Suite *s = suite_create("worker_stream");
	TCase *t = tcase_create("streams");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_a_process);
	tcase_add_test(t, test_cannot_start);
	tcase_add_test(t, test_windows_hold_output_back);
	tcase_add_test(t, test_breaking_the_rules);
	tcase_add_test(t, test_a_terminal);
	tcase_add_test(t, test_hang_up);
	tcase_add_test(t, test_leftover_does_not_hold_it);
	tcase_add_test(t, test_at_most_256);
	tcase_add_test(t, test_input_ends_before_login);
	tcase_add_test(t, test_signal_before_login);
	tcase_add_test(t, test_its_file_is_gone);
	tcase_add_loop_test(t, test_login_environment, 0, 6);
	suite_add_tcase(s, t);
	return worker_test_main(s);
}
