/* A worker's life, with the real binary: installing, starting, who may talk to it, the end. */
#include "worker_link.h"

#include "cube/listen.h"

/* ---- install ------------------------------------------------------------------------------ */

START_TEST(install_good) {
	char upload[PATH_MAX + 32], old[PATH_MAX + 32], fresh[PATH_MAX + 32], text[1024];
	struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct host h;

	host_upload(&h, "good", upload, sizeof upload);
	snprintf(old, sizeof old, "%s/bin/.tmp.old", h.base);
	snprintf(fresh, sizeof fresh, "%s/bin/.tmp.fresh", h.base);
	write_whole(old, "x", 1, 0700);
	write_whole(fresh, "x", 1, 0700);
	ck_assert_int_eq(utimensat(AT_FDCWD, old, times, 0), 0);
	ck_assert_int_eq(run_install(upload, h.sha, text, sizeof text), 0);
	ck_assert_str_eq(text, "CUBE " NONCE " installed\n");
	ck_assert(!exists(upload));
	ck_assert(exists(h.exe));
	ck_assert(!exists(old));
	ck_assert(exists(fresh));
}
END_TEST

START_TEST(install_bad_hash) {
	char upload[PATH_MAX + 32], text[1024];
	struct host h;

	host_upload(&h, "bad", upload, sizeof upload);
	h.sha[0] = h.sha[0] == '0' ? '1' : '0';
	ck_assert_int_eq(run_install(upload, h.sha, text, sizeof text), 1);
	ck_assert(strstr(text, "CUBE " NONCE " error ") == text);
	ck_assert(!exists(upload));
	ck_assert(!exists(h.exe));
}
END_TEST

/* What lacks its last bytes may still run, and must notice (nothing runs of a shorter one). */
START_TEST(install_truncated) {
	char upload[PATH_MAX + 32], text[1024];
	struct host h;
	struct stat st;
	int rc;

	host_upload(&h, "truncated", upload, sizeof upload);
	ck_assert_int_eq(stat(upload, &st), 0);
	ck_assert_int_eq(truncate(upload, st.st_size - 1), 0);
	rc = run_install(upload, h.sha, text, sizeof text);
	ck_assert_int_ne(rc, 0);
	ck_assert(!exists(h.exe));
	if (rc == 1) ck_assert(!exists(upload));
}
END_TEST

START_TEST(attach_bad_hash) {
	struct host h;
	char text[1024];

	host_make(&h, "attach_bad");
	const char *argv[] = {h.exe, "attach", h.sha, NONCE, CLUSTER_HEX, "7", NULL};
	h.sha[0] = h.sha[0] == '0' ? '1' : '0';
	ck_assert_int_eq(run_program(argv, text, sizeof text), 1);
	ck_assert(strstr(text, "CUBE " NONCE " error ") == text);
	ck_assert(!exists(h.exe));
}
END_TEST

/* In place of the worker's own folder, and of the one around it. */
START_TEST(attach_refuses_symlink) {
	char run[PATH_MAX + 8], elsewhere[PATH_MAX + 16], text[1024];
	struct host h;

	host_make(&h, _i ? "symlink" : "symlink_run");
	snprintf(run, sizeof run, "%s/run", h.base);
	snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", h.base);
	ck_assert_int_eq(mkdir(elsewhere, 0700), 0);
	if (_i) ck_assert_int_eq(mkdir(run, 0700), 0);
	ck_assert_int_eq(symlink(elsewhere, _i ? h.run : run), 0);
	const char *argv[] = {h.exe, "attach", h.sha, NONCE, CLUSTER_HEX, "7", NULL};
	ck_assert_int_eq(run_program(argv, text, sizeof text), 1);
	ck_assert(strstr(text, "CUBE " NONCE " error ") == text);
}
END_TEST

/* ---- one daemon --------------------------------------------------------------------------- */

START_TEST(attach_finds_the_daemon) {
	struct link a, b;
	struct host h;

	host_make(&h, "finds");
	link_open(&a, &h, 1);
	link_close(&a);
	link_open(&b, &h, 1);
	ck_assert_int_eq(a.daemon, b.daemon);
	ck_assert_uint_eq(a.boot, b.boot);
	ck_assert_int_eq(getsid(b.daemon) == getsid(0), 0);
	link_shutdown(&b, true);
}
END_TEST

/* Eight at once, none running: all must reach the same daemon. */
START_TEST(attach_race) {
	struct link l[8];
	struct cube_msg m;
	struct host h;
	pid_t daemon = 0;
	char line[64];

	host_make(&h, "race");
	for (int i = 0; i < 8; i++) {
		int fds[2];

		memset(&l[i], 0, sizeof l[i]);
		l[i].host = &h;
		cube_buf_init(&l[i].in, 1 << 20);
		cube_buf_init(&l[i].out, 1 << 20);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		l[i].fd = fds[0];
		l[i].pid = fork();
		if (l[i].pid == 0) {
			dup2(fds[1], 0);
			dup2(fds[1], 1);
			execl(h.exe, h.exe, "attach", h.sha, NONCE, CLUSTER_HEX, "7", (char *)NULL);
			_exit(99);
		}
		close(fds[1]);
	}
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(recv(l[i].fd, line, 29, MSG_WAITALL), 29);
		ck_assert_mem_eq(line, "CUBE " NONCE " attach\n", 29);
		link_hello(&l[i], 1, NULL, 0);
		if (!daemon) daemon = l[i].daemon;
		ck_assert_int_eq(l[i].daemon, daemon);
	}
	for (int i = 0; i < 7; i++) { /* each was replaced by the next */
		link_expect(&l[i], CUBE_MSG_ERROR, &m);
		ck_assert_int_eq(m.error.code, CUBE_PROTO_ERR_REPLACED);
		ck_assert(!link_next(&l[i], &m));
		link_close(&l[i]);
	}
	link_shutdown(&l[7], true);
}
END_TEST

/* A link that is asked for while the daemon ends either ends without a word or is served by the
 * next daemon; and one of the next tries is served. */
START_TEST(attach_while_shutting_down) {
	struct cube_msg m = {.type = CUBE_MSG_SHUTDOWN}, hello;
	struct link old, new;
	struct host h;

	host_make(&h, "while");
	hello = hello_msg(&h, 1);
	link_open(&new, &h, 1);
	for (int i = 0; i < 40; i++) {
		bool served = false;

		old = new;
		link_send(&old, &m);
		for (int tries = 0; !served; tries++) {
			ck_assert_int_lt(tries, 5);
			link_open_raw(&new, &h);
			cube_msg_encode(&new.out, &hello);
			link_flush(&new);
			served = link_next(&new, &m);
			if (!served) link_drop(&new);
		}
		ck_assert_int_eq(m.type, CUBE_MSG_WORKER_HELLO);
		ck_assert_int_ne((pid_t)m.worker_hello.pid, old.daemon);
		new.daemon = (pid_t)m.worker_hello.pid;
		link_expect(&new, CUBE_MSG_READY, &m);
		while (link_next(&old, &m)) {}
		link_close(&old);
		m = (struct cube_msg){.type = CUBE_MSG_SHUTDOWN};
	}
	link_shutdown(&new, true);
	ck_assert(!exists(h.base));
}
END_TEST

/* ---- who may talk to it ------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint8_t code;
} REFUSED[] = {
	{"version", CUBE_PROTO_ERR_VERSION},   {"build", CUBE_PROTO_ERR_BUILD},
	{"cluster", CUBE_PROTO_ERR_IDENTITY},  {"node", CUBE_PROTO_ERR_IDENTITY},
	{"magic", CUBE_PROTO_ERR_MALFORMED},   {"first", CUBE_PROTO_ERR_MALFORMED},
	{"garbage", CUBE_PROTO_ERR_MALFORMED}, {"huge", CUBE_PROTO_ERR_MALFORMED},
};

static void make_wrong(struct link *l, int i) {
	static const uint8_t GARBAGE[] = {3, 0, 0, 0, 99, 1, 2}, HUGE_FRAME[] = {0, 0, 0, 64, 1};
	struct cube_msg m = hello_msg(l->host, 1);

	if (i == 0) m.hello.version++;
	if (i == 1) m.hello.build[5] ^= 1;
	if (i == 2) m.hello.cluster++;
	if (i == 3) m.hello.node++;
	if (i == 4) m.hello.magic++;
	if (i == 5) m = (struct cube_msg){.type = CUBE_MSG_PING};
	if (i == 6) cube_buf_add(&l->out, GARBAGE, sizeof GARBAGE);
	else if (i == 7) cube_buf_add(&l->out, HUGE_FRAME, sizeof HUGE_FRAME);
	else cube_msg_encode(&l->out, &m);
}

/* The refused link must not take the place of the good one. */
START_TEST(hello_refused) {
	struct link good, bad;
	struct cube_msg m = {.type = CUBE_MSG_PING};
	struct host h;

	host_make(&h, REFUSED[_i].name);
	link_open(&good, &h, 1);
	link_open_raw(&bad, &h);
	make_wrong(&bad, _i);
	link_flush(&bad);
	link_expect(&bad, CUBE_MSG_ERROR, &m);
	ck_assert_int_eq(m.error.code, REFUSED[_i].code);
	ck_assert(!link_next(&bad, &m));
	link_close(&bad);
	m = (struct cube_msg){.type = CUBE_MSG_PING};
	m.ping.token = 77;
	link_send(&good, &m);
	link_expect(&good, CUBE_MSG_PONG, &m);
	ck_assert_uint_eq(m.ping.token, 77);
	link_shutdown(&good, true);
}
END_TEST

/* Broken rules end the link; the tasks go on. */
START_TEST(broken_rules) {
	const char *const argv[] = {"/bin/sleep", "1000", NULL};
	struct host h = {.sha = ""};
	struct cube_msg bad[] = {
		{.type = CUBE_MSG_ACK, .task = 1, .attempt = 1, .ack = {.stream = 1, .offset = 5}},
		{.type = CUBE_MSG_SIGNAL, .task = 1, .attempt = 1, .signal = {.signo = 0}},
		{.type = CUBE_MSG_SIGNAL, .task = 1, .attempt = 1, .signal = {.signo = 65}},
		{.type = CUBE_MSG_STDIN, .task = 1, .attempt = 1, .data = {.offset = 1}},
		hello_msg(&h, 1),
		{.type = CUBE_MSG_PONG},
	};
	struct cube_msg m, known;
	struct link l;

	host_make(&h, "rules");
	link_open(&l, &h, 1);
	link_start(&l, 1, argv);
	link_expect(&l, CUBE_MSG_STARTED, &m);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		link_send(&l, &bad[i]);
		link_expect(&l, CUBE_MSG_ERROR, &m);
		ck_assert_int_eq(m.error.code, CUBE_PROTO_ERR_MALFORMED);
		ck_assert(!link_next(&l, &m));
		link_close(&l);
		link_open_raw(&l, &h);
		ck_assert_uint_eq(link_hello(&l, 1, &known, 1), 1);
		ck_assert_int_eq(known.known.state, CUBE_ATTEMPT_RUNNING);
		link_expect(&l, CUBE_MSG_STARTED, &m);
		ck_assert(alive((pid_t)m.started.pid));
	}
	link_shutdown(&l, true);
}
END_TEST

#ifndef __SANITIZE_ADDRESS__
/* Resident size in KB. */
static long rss_of(pid_t pid) {
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "VmRSS:", 6) == 0) kb = strtol(line + 6, NULL, 10);
	if (f) fclose(f);
	return kb;
}

/* Also after much output: nothing is kept. */
START_TEST(small_while_idle) {
	struct cube_msg m;
	struct seen s;
	struct host h;
	struct link l;
	long before;

	host_make(&h, "small");
	link_open(&l, &h, 1);
	seen_init(&s);
	before = rss_of(l.daemon);
	link_sh(&l, 1, "head -c 20000000 /dev/zero");
	link_watch(&l, &s, true);
	link_forget(&l, 1);
	m = (struct cube_msg){.type = CUBE_MSG_PING};
	link_send(&l, &m);
	link_expect(&l, CUBE_MSG_PONG, &m); /* by then all before it was taken */
	ck_assert_int_gt(rss_of(l.daemon), 0);
	ck_assert_int_lt(rss_of(l.daemon), 1024);
	for (int i = 0; rss_of(l.daemon) > before + 128;
	     i++) { /* the link's block rests a moment */
		ck_assert_int_lt(i, 300);
		poll(NULL, 0, 10);
	}
	seen_done(&s);
	link_shutdown(&l, true);
}
END_TEST
#endif

START_TEST(metric_arrives) {
	struct cube_msg m;
	struct host h;
	struct link l;

	host_make(&h, "metric");
	link_open(&l, &h, 1);
	m = (struct cube_msg){.type = CUBE_MSG_PING};
	while (l.metrics < 2) { /* one at once, one a second later */
		ck_assert_int_eq(cube_msg_encode(&l.out, &m), 0);
		link_flush(&l);
		link_expect(&l, CUBE_MSG_PONG, &m);
		m = (struct cube_msg){.type = CUBE_MSG_PING};
		poll(&(struct pollfd){.fd = l.fd, .events = POLLIN}, 1, 2000);
	}
	link_shutdown(&l, true);
}
END_TEST

/* ---- the end ------------------------------------------------------------------------------ */

START_TEST(shutdown_keeps_the_binary) {
	char run[PATH_MAX + 8];
	struct cube_msg m;
	struct host h;
	struct link l;

	host_make(&h, "keeps");
	link_open(&l, &h, 1);
	link_sh(&l, 1, "trap '' TERM HUP; setsid sleep 1000 & sleep 1000");
	link_expect(&l, CUBE_MSG_STARTED, &m);
	link_shutdown(&l, false);
	ck_assert(!alive((pid_t)m.started.pid));
	snprintf(run, sizeof run, "%s/run", h.base);
	ck_assert(!exists(run));
	ck_assert(exists(h.exe));
	link_open(&l, &h, 1); /* and a next one starts from it */
	link_shutdown(&l, true);
}
END_TEST

START_TEST(purge_leaves_nothing) {
	char cache[PATH_MAX + 16], made[PATH_MAX + 16];
	struct host outer, h;
	struct link l;

	host_make(&outer, "cache"); /* stands for ~/.cache, made by the bootstrap */
	snprintf(cache, sizeof cache, "%s/bin", outer.base);
	ck_assert_int_eq(unlink(outer.exe), 0);
	ck_assert_int_eq(rmdir(cache), 0);
	host_make(&h, "cache/cube");
	snprintf(made, sizeof made, "%s/.made-parent", h.base);
	write_whole(made, "", 0, 0600);
	link_open(&l, &h, 1);
	link_shutdown(&l, true);
	ck_assert(!exists(h.base));
	ck_assert(!exists(outer.base));
	ck_assert(wait_gone(l.daemon, 10000));
}
END_TEST

static void earlier_build(const struct host *h, char *path, size_t size) {
	snprintf(path, size, "%s/bin/%064d", h->base, 7);
	write_whole(path, "old", 3, 0700);
}

/* Also what an earlier build of cube left, but nothing that is not a worker's. */
START_TEST(purge_takes_earlier_builds) {
	char old[PATH_MAX + 80], mine[PATH_MAX + 16];
	struct host h;
	struct link l;

	host_make(&h, "earlier");
	earlier_build(&h, old, sizeof old);
	snprintf(mine, sizeof mine, "%s/bin/notes", h.base);
	write_whole(mine, "", 0, 0600);
	link_open(&l, &h, 1);
	link_shutdown(&l, true);
	ck_assert(!exists(old) && !exists(h.exe));
	ck_assert(exists(mine));
}
END_TEST

/* One that is replaced leaves its successor's file alone. */
START_TEST(replaced_takes_its_own) {
	char next[PATH_MAX + 80];
	struct cube_msg m = {.type = CUBE_MSG_SHUTDOWN, .shutdown.purge = 2};
	struct host h;
	struct link l;

	host_make(&h, "replaced");
	earlier_build(&h, next, sizeof next);
	link_open(&l, &h, 1);
	link_send(&l, &m);
	while (link_next(&l, &m)) {}
	link_close(&l);
	ck_assert(wait_gone(l.daemon, 10000));
	ck_assert(!exists(h.exe));
	ck_assert(exists(next));
}
END_TEST

START_TEST(purge_leaves_other_clusters) {
	char other[PATH_MAX + 64], made[PATH_MAX + 16], old[PATH_MAX + 80];
	struct host h;
	struct link l;

	host_make(&h, "others");
	link_open(&l, &h, 1);
	snprintf(other, sizeof other, "%s/run/fedcba9876543210.1", h.base);
	ck_assert_int_eq(mkdir(other, 0700), 0);
	snprintf(made, sizeof made, "%s/.made-parent", h.base);
	write_whole(made, "", 0, 0600);
	earlier_build(&h, old, sizeof old); /* may be what the other one runs */
	link_shutdown(&l, true);
	ck_assert(!exists(h.run));
	ck_assert(exists(old));
	ck_assert(exists(other));
	ck_assert(exists(made));
}
END_TEST

START_TEST(sigterm_cleans_up) {
	struct cube_msg m;
	struct host h;
	struct link l;

	host_make(&h, "sigterm");
	link_open(&l, &h, 1);
	link_sh(&l, 1, "sleep 1000");
	link_expect(&l, CUBE_MSG_STARTED, &m);
	kill(l.daemon, SIGTERM);
	while (link_next(&l, &m)) {}
	link_close(&l);
	ck_assert(!exists(h.run));
}
END_TEST

/* Neither cookie nor session nor parent: the daemon has adopted it. */
START_TEST(shutdown_takes_adopted) {
	struct seen s;
	struct host h;
	struct link l;
	pid_t orphan;

	host_make(&h, "adopted");
	link_open(&l, &h, 1);
	seen_init(&s);
	link_sh(&l, 1, "env -i setsid sh -c 'echo pid $$; exec sleep 1000' & sleep 0.1");
	link_watch(&l, &s, true);
	orphan = (pid_t)strtol(strstr(cube_buf_str(&s.out[1]), "pid ") + 4, NULL, 10);
	ck_assert(alive(orphan));
	link_shutdown(&l, true);
	ck_assert(!alive(orphan));
	seen_done(&s);
}
END_TEST

/* Nobody can reach it any more. */
START_TEST(folder_removed) {
	struct host h;
	struct link l;

	host_make(&h, "lonely");
	link_open(&l, &h, 1);
	const char *rm[] = {"/bin/rm", "-rf", h.run, NULL};
	char text[64];
	ck_assert_int_eq(run_program(rm, text, sizeof text), 0);
	link_close(&l);
	ck_assert(wait_gone(l.daemon, 5000));
}
END_TEST

/* ---- what a cleaner of old files takes away ------------------------------------------------- */

/* What happens to the files of a worker with work to do: shell words, in BASE, with $R its folder.
 */
static const char *const TAKEN[] = {
	"rm $R/sock",
	"rm $R/lock",
	"rm $R/sock $R/lock",
	"rm $R/sock && mkdir $R/sock && touch $R/sock/x",
	"rm -rf $R/*",
	"rm -rf $R",
	"rm -rf run",
	"mv $R $R.old",
	"mv run old",
	"rm -rf bin",
	"rm -rf bin $R/sock",
	"chmod 0 $R; chmod 0 run",
	"rm -rf ../$B",
	"mv ../$B ../$B.old",
	"mkdir -p other && mv run other/ && mkdir run",
};

static void take_away(const struct host *h, const char *how) {
	char line[3 * PATH_MAX];
	const char *argv[] = {"/bin/sh", "-c", line, NULL};

	snprintf(line, sizeof line, "cd %s && B=%s R=run/%s && %s", h->base,
		 strrchr(h->base, '/') + 1, strrchr(h->run, '/') + 1, how);
	ck_assert_int_eq(run_program(argv, line + 2 * PATH_MAX, PATH_MAX), 0);
}

/* What the bootstrap does where it finds no worker. */
static void install_again(const struct host *h) {
	char bin[PATH_MAX + 8];
	struct cube_buf bytes;

	if (exists(h->exe)) return;
	snprintf(bin, sizeof bin, "%s/bin", h->base);
	mkdir(h->base, 0700);
	mkdir(bin, 0700);
	cube_buf_init(&bytes, 64 << 20);
	read_whole(worker_binary(), &bytes);
	write_whole(h->exe, cube_buf_data(&bytes), cube_buf_len(&bytes), 0700);
	cube_buf_done(&bytes);
}

/* A new link finds the same daemon with the same task, twice, and all is removed at the end. With
 * the link down at that time, or up. */
START_TEST(files_taken_away) {
	const char *how = TAKEN[_i / 2];
	bool up = _i % 2;
	struct cube_msg m, known;
	struct link l, old;
	char name[32], sock[PATH_MAX + 96];
	struct host h, outer = {.run = "/"};
	pid_t task, daemon;
	uint64_t boot;

	snprintf(name, sizeof name, "taken%d", _i);
	snprintf(outer.base, sizeof outer.base, "%s/%s", getenv("CUBE_TEST_ROOT"), name);
	ck_assert_int_eq(mkdir(outer.base, 0700), 0);
	snprintf(name, sizeof name, "taken%d/cube", _i);
	host_make(&h, name);
	snprintf(sock, sizeof sock, "%s/sock", h.run);
	link_open(&l, &h, 1);
	daemon = l.daemon;
	boot = l.boot;
	link_sh(&l, 1, "sleep 1000");
	link_expect(&l, CUBE_MSG_STARTED, &m);
	task = (pid_t)m.started.pid;
	old = l;
	if (!up) link_close(&old);
	take_away(&h, how);
	for (int i = 0; i < 2; i++) {
		install_again(&h);
		link_open_raw(&l, &h);
		ck_assert_uint_eq(link_hello(&l, 1, &known, 1), 1);
		ck_assert_int_eq(l.daemon, daemon);
		ck_assert_uint_eq(l.boot, boot);
		ck_assert_int_eq(known.known.state, CUBE_ATTEMPT_RUNNING);
		ck_assert(alive(task));
		ck_assert(exists(sock));
		if (i == 0 && up) {
			link_expect(&old, CUBE_MSG_ERROR, &m);
			link_close(&old);
		}
		if (i == 0) link_close(&l);
	}
	link_shutdown(&l, true);
	ck_assert(!alive(task));
	ck_assert(!exists(h.run));
	ck_assert(!exists(h.exe));
	ck_assert(strstr(how, "mv ") || !exists(h.base));
	take_away(&outer, "! find . -name sock -o -name lock -o -name worker.log | grep . >&2");
}
END_TEST

/* Nobody comes meanwhile: it makes its socket again by itself while it has work. */
START_TEST(socket_comes_again) {
	char sock[PATH_MAX + 96];
	struct cube_msg m;
	struct host h;
	struct link l;

	host_make(&h, "again");
	snprintf(sock, sizeof sock, "%s/sock", h.run);
	link_open(&l, &h, 1);
	link_sh(&l, 1, "sleep 1000");
	link_expect(&l, CUBE_MSG_STARTED, &m);
	take_away(&h, "rm -rf run");
	link_close(&l);
	for (int i = 0; !exists(sock); i++) {
		ck_assert_int_lt(i, 1000);
		poll(NULL, 0, 10);
	}
	link_open_raw(&l, &h);
	ck_assert_uint_eq(link_hello(&l, 1, &m, 1), 1);
	link_shutdown(&l, true);
	ck_assert(!exists(h.base));
}
END_TEST

/* A daemon that hangs holds the lock: whoever waits for it is told who that is. */
START_TEST(nobody_answers) {
	char text[1024], want[64];
	struct host h;
	int lock;

	host_make(&h, "nobody");
	const char *argv[] = {h.exe, "attach", h.sha, NONCE, CLUSTER_HEX, "7", NULL};
	take_away(&h, "mkdir -m 700 run $R");
	snprintf(text, sizeof text, "%s/lock", h.run);
	ck_assert_int_eq(cube_lock_file(text, &lock, NULL), 0);
	snprintf(want, sizeof want, "%d\n", (int)getpid());
	ck_assert_int_eq(write(lock, want, strlen(want)), (ssize_t)strlen(want));
	ck_assert_int_eq(run_program(argv, text, sizeof text), 1);
	snprintf(want, sizeof want, "pid %d neither answers nor ends", (int)getpid());
	ck_assert_ptr_nonnull(strstr(text, want));
	close(lock);
}
END_TEST

/* What a killed daemon left running is gone before the next one says HELLO. */
START_TEST(killed_daemon_leaves_no_orphans) {
	struct cube_msg m;
	struct seen s;
	struct host h;
	struct link l;
	pid_t orphan;

	host_make(&h, "orphans");
	link_open(&l, &h, 1);
	seen_init(&s);
	link_sh(&l, 1,
		"trap '' HUP PIPE; setsid sh -c 'echo pid $$; while :; do sleep 1000; done'");
	link_wait_text(&l, &s, "\n");
	orphan = (pid_t)strtol(strstr(cube_buf_str(&s.out[1]), "pid ") + 4, NULL, 10);
	ck_assert(alive(orphan));
	kill(l.daemon, SIGKILL);
	while (link_next(&l, &m)) {}
	link_close(&l);
	link_open(&l, &h, 1);
	ck_assert(!alive(orphan));
	link_shutdown(&l, true);
	seen_done(&s);
}
END_TEST

START_TEST(serve) {
	char folder[PATH_MAX + 16], line[PATH_MAX + 64], want[PATH_MAX + 64];
	struct host h;
	ssize_t n;
	int fds[2], status;
	pid_t pid;

	host_make(&h, "serve");
	snprintf(folder, sizeof folder, "%s/here", h.base);
	snprintf(want, sizeof want, "listening on %s/sock\n", folder);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		dup2(open("/dev/null", O_RDWR), 2);
		execl(h.exe, h.exe, "serve", folder, CLUSTER_HEX, "7", "me", (char *)NULL);
		_exit(99);
	}
	n = read(fds[0], line, sizeof line - 1);
	ck_assert_int_gt(n, 0);
	line[n] = '\0';
	ck_assert_str_eq(line, want);
	kill(pid, SIGINT);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert(!exists(folder));
	ck_assert(exists(h.exe));
}
END_TEST

START_TEST(version) {
	char text[512];
	struct host h;

	host_make(&h, "version");
	const char *argv[] = {h.exe, "version", NULL};
	ck_assert_int_eq(run_program(argv, text, sizeof text), 0);
	ck_assert_ptr_nonnull(strstr(text, h.sha));
}
END_TEST

int main(void) {
	Suite *suite = suite_create("worker_life");
	TCase *tc = tcase_create("worker_life");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, install_good);
	tcase_add_test(tc, install_bad_hash);
	tcase_add_test(tc, install_truncated);
	tcase_add_test(tc, attach_bad_hash);
	tcase_add_loop_test(tc, attach_refuses_symlink, 0, 2);
	tcase_add_test(tc, attach_finds_the_daemon);
	tcase_add_test(tc, attach_race);
	tcase_add_test(tc, attach_while_shutting_down);
	tcase_add_loop_test(tc, hello_refused, 0, sizeof REFUSED / sizeof *REFUSED);
	tcase_add_test(tc, broken_rules);
#ifndef __SANITIZE_ADDRESS__
	tcase_add_test(tc, small_while_idle);
#endif
	tcase_add_test(tc, metric_arrives);
	tcase_add_test(tc, shutdown_keeps_the_binary);
	tcase_add_test(tc, purge_leaves_nothing);
	tcase_add_test(tc, purge_takes_earlier_builds);
	tcase_add_test(tc, replaced_takes_its_own);
	tcase_add_test(tc, purge_leaves_other_clusters);
	tcase_add_test(tc, sigterm_cleans_up);
	tcase_add_test(tc, shutdown_takes_adopted);
	tcase_add_test(tc, folder_removed);
	tcase_add_loop_test(tc, files_taken_away, 0, 2 * sizeof TAKEN / sizeof *TAKEN);
	tcase_add_test(tc, socket_comes_again);
	tcase_add_test(tc, nobody_answers);
	tcase_add_test(tc, killed_daemon_leaves_no_orphans);
	tcase_add_test(tc, serve);
	tcase_add_test(tc, version);
	suite_add_tcase(suite, tc);
	return worker_test_main(suite);
}
