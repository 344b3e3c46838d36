/* Buffered streams: a random model over a socketpair, and each promise of stream.h. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/spawn.h"
#include "cube/bufio.h"

static struct cube_loop *loop;

static void setup(void) {
	struct sigaction ign = {.sa_handler = SIG_IGN};
	sigaction(SIGPIPE, &ign, NULL);
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
}
static void teardown(void) {
	cube_loop_free(loop);
}
static void turn(void) {
	ck_assert_int_eq(cube_loop_turn(loop, 0, NULL), 0);
}
static void turns(int n) {
	while (n-- > 0) turn();
}

static uint8_t pattern(uint64_t at) {
	return (uint8_t)(at * 7 ^ at >> 8 ^ at >> 17);
}

static void fill(uint8_t *to, uint64_t at, size_t n) {
	for (size_t i = 0; i < n; i++) to[i] = pattern(at + i);
}
static void check_bytes(const uint8_t *p, uint64_t at, size_t n) {
	for (size_t i = 0; i < n; i++)
		if (p[i] != pattern(at + i)) ck_abort_msg("byte %zu differs", (size_t)at + i);
}

/* The owner of a stream, and what it saw. */
struct owner {
	struct cube_bufio *s;
	uint64_t taken; /* bytes taken so far */
	size_t untaken; /* shown last time and left */
	size_t take;    /* of each offer at most */
	int offers, closed, drained;
	struct cube_err err; /* of closed; code 0 at end of file */
	bool random, pause_in_data, free_in_data, free_in_closed, free_in_drained, end_in_data;
	bool paused, freed;
	size_t low_out, max_in;
};

static void let_go(struct owner *o) {
	cube_bufio_free(o->s);
	o->freed = true;
}

static size_t on_data(void *arg, const uint8_t *bytes, size_t n) {
	struct owner *o = arg;
	ck_assert(!o->freed && !o->paused && !o->closed);
	ck_assert_uint_gt(n, 0);
	ck_assert_uint_ge(n, o->untaken);
	ck_assert_uint_le(n, o->max_in);
	o->offers++;
	check_bytes(bytes, o->taken, n);
	size_t take = n < o->take ? n : o->take;
	if (o->random) take = lrand48() % 3 ? (size_t)lrand48() % (n + 1) : n;
	o->taken += take;
	o->untaken = n - take;
	if (o->pause_in_data) {
		o->paused = true;
		cube_bufio_pause(o->s);
	}
	if (o->end_in_data) cube_bufio_end(o->s);
	if (o->free_in_data) {
		let_go(o);
		check_bytes(bytes, o->taken - take, n); /* still there to look at */
	}
	return take;
}

static void on_closed(void *arg, const struct cube_err *err) {
	struct owner *o = arg;
	ck_assert(!o->freed);
	ck_assert_int_eq(o->closed++, 0);
	if (err) o->err = *err;
	if (o->free_in_closed) let_go(o);
}

static void on_drained(void *arg) {
	struct owner *o = arg;
	ck_assert(!o->freed);
	ck_assert_uint_le(cube_bufio_queued(o->s), o->low_out);
	o->drained++;
	if (o->free_in_drained) let_go(o);
}

static const struct cube_bufio_ops ops = {on_data, on_closed, on_drained};

static struct owner *own(int rfd, int wfd, size_t max_in, size_t max_out, size_t low_out) {
	static struct owner owners[4];
	static int used;
	struct owner *o = &owners[used++ % 4];
	struct cube_bufio_limits limits = {max_in, max_out, low_out};
	struct cube_err err;
	*o = (struct owner){.take = SIZE_MAX, .low_out = low_out, .max_in = max_in};
	int rc = cube_bufio_new(loop, rfd, wfd, &ops, o, &limits, &o->s, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	return o;
}

static void socks(int sv[2]) {
	int small = 4096;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(cube_set_nonblock(sv[1], true), 0);
	setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
}

static size_t peer_write(int fd, uint64_t at, size_t n) {
	static uint8_t buf[1 << 20];
	ck_assert_uint_le(n, sizeof buf);
	fill(buf, at, n);
	ssize_t k = send(fd, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	return k < 0 ? 0 : (size_t)k;
}

/* Reads up to n bytes; -1 would block, 0 end of file. */
static ssize_t peer_read(int fd, uint64_t at, size_t n) {
	static uint8_t buf[1 << 16];
	ssize_t k = read(fd, buf, n < sizeof buf ? n : sizeof buf);
	if (k > 0) check_bytes(buf, at, (size_t)k);
	return k;
}

static int stream_put(struct owner *o, uint64_t at, size_t n) {
	uint8_t *buf = malloc(n + 1);
	fill(buf, at, n);
	size_t cut = n ? (size_t)lrand48() % n : 0;
	struct iovec v[3] = {{buf, cut}, {buf, 0}, {buf + cut, n - cut}};
	int rc = n % 2 ? cube_bufio_write(o->s, buf, n) : cube_bufio_writev(o->s, v, 3);
	free(buf);
	return rc;
}

/* One end is a stream, the other end is this test, which reads and writes in random pieces. */
START_TEST(random_model) {
	enum { MAX_IN = 5000, MAX_OUT = 60000, LOW_OUT = 1000, STEPS = 4000 };
	unsigned seed = 17 + 104729u * (unsigned)_i;
	uint64_t wrote = 0, got = 0, sent = 0;
	bool owed = false;
	int sv[2], drained_before = 0;
	printf("stream seed %u\n", seed);
	srand48(seed);
	socks(sv);
	struct owner *o = own(sv[0], sv[0], MAX_IN, MAX_OUT, LOW_OUT);
	o->random = true;
	for (int i = 0; i < STEPS; i++) {
		size_t n = (size_t)lrand48() % (lrand48() % 4 ? 300 : 20000);
		switch (lrand48() % 8) {
		case 0:
		case 1: {
			size_t queued = cube_bufio_queued(o->s), room = cube_bufio_room(o->s);
			ck_assert_uint_eq(queued + room, MAX_OUT);
			int rc = stream_put(o, wrote, n);
			ck_assert_int_eq(rc, n > room ? CUBE_ETOOBIG : 0);
			if (rc == 0) wrote += n;
			if (cube_bufio_queued(o->s) > LOW_OUT) owed = true;
			break;
		}
		case 2:
		case 3: {
			ssize_t k = n ? peer_read(sv[1], got, n) : 0;
			if (k > 0) got += (uint64_t)k;
			break;
		}
		case 4: sent += peer_write(sv[1], sent, n + 1); break;
		case 5:
			if (lrand48() % 2) {
				cube_bufio_pause(o->s);
				o->paused = true;
			} else {
				o->paused = false;
				cube_bufio_resume(o->s);
			}
			break;
		default: turn(); break;
		}
		if (owed && o->drained > drained_before) owed = false;
		drained_before = o->drained;
		ck_assert_int_eq(o->closed, 0);
	}
	/* Everything arrives, in both directions, and the ends of file come last. */
	uint64_t all_sent = sent;
	shutdown(sv[1], SHUT_WR);
	cube_bufio_end(o->s);
	ck_assert_uint_eq(cube_bufio_room(o->s), 0);
	ck_assert_int_eq(cube_bufio_write(o->s, "x", 1), CUBE_ETOOBIG);
	o->paused = false;
	o->random = false;
	cube_bufio_resume(o->s);
	for (ssize_t k = -1; k != 0 || !o->closed;) {
		turn();
		k = peer_read(sv[1], got, SIZE_MAX);
		if (k > 0) got += (uint64_t)k;
		if (k < 0) ck_assert_int_eq(errno, EAGAIN);
	}
	ck_assert_uint_eq(got, wrote);
	ck_assert_uint_eq(o->taken, all_sent);
	ck_assert_int_eq(o->err.code, 0);
	if (owed) ck_assert_int_gt(o->drained, drained_before);
	turns(2);
	cube_bufio_free(o->s);
	close(sv[1]);
}
END_TEST

START_TEST(untaken_bytes_come_again_with_the_next_or_by_resume) {
	int sv[2];
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 100, 0);
	o->take = 0;
	ck_assert_uint_eq(peer_write(sv[1], 0, 10), 10);
	turns(3);
	ck_assert_int_eq(o->offers, 1);
	ck_assert_uint_eq(o->untaken, 10);
	o->take = 4;
	ck_assert_uint_eq(peer_write(sv[1], 10, 5), 5);
	turns(3);
	ck_assert_int_eq(o->offers, 2);
	ck_assert_uint_eq(o->untaken, 11);
	cube_bufio_resume(o->s);
	ck_assert_int_eq(o->offers, 2); /* never from inside a call */
	turns(3);
	ck_assert_int_eq(o->offers, 3);
	ck_assert_uint_eq(o->taken, 8);
	cube_bufio_free(o->s);
	close(sv[1]);
}
END_TEST

START_TEST(a_full_or_paused_stream_holds_the_writer_back) {
	int sv[2];
	uint64_t sent = 0;
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 1000, 100, 0);
	o->take = 0;
	for (size_t k; (k = peer_write(sv[1], sent, 500)) > 0; sent += k) turn();
	turns(5);
	ck_assert_uint_eq(o->untaken, 1000);
	int offers = o->offers;
	turns(5);
	ck_assert_int_eq(o->offers, offers);
	cube_bufio_pause(o->s);
	o->paused = true;
	o->take = SIZE_MAX;
	turns(5);
	o->paused = false;
	cube_bufio_resume(o->s);
	turns(500);
	ck_assert_uint_eq(o->taken, sent);
	cube_bufio_free(o->s);
	close(sv[1]);
}
END_TEST

START_TEST(end_of_file_with_untaken_bytes) {
	int sv[2];
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 100, 0);
	o->take = 3; /* of 10: at the end they are offered until all is taken */
	ck_assert_uint_eq(peer_write(sv[1], 0, 10), 10);
	close(sv[1]);
	turns(5);
	ck_assert_int_eq(o->closed, 1);
	ck_assert_int_eq(o->err.code, 0);
	ck_assert_uint_eq(o->taken, 10);
	cube_bufio_free(o->s);

	socks(sv);
	o = own(sv[0], sv[0], 100, 100, 0);
	o->take = 0; /* never taken: the end comes all the same */
	ck_assert_uint_eq(peer_write(sv[1], 0, 10), 10);
	close(sv[1]);
	turns(5);
	ck_assert_int_eq(o->closed, 1);
	ck_assert_uint_eq(o->untaken, 10);
	cube_bufio_free(o->s);
}
END_TEST

START_TEST(paused_end_of_file_waits) {
	int sv[2];
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 100, 0);
	o->take = 4;
	o->pause_in_data = true;
	ck_assert_uint_eq(peer_write(sv[1], 0, 10), 10);
	close(sv[1]);
	for (int i = 1; i <= 3; i++) {
		turns(5);
		ck_assert_int_eq(o->offers, i);
		ck_assert_int_eq(o->closed, 0);
		o->paused = false;
		cube_bufio_resume(o->s);
	}
	turns(5);
	ck_assert_int_eq(o->closed, 1);
	ck_assert_uint_eq(o->taken, 10);
	cube_bufio_free(o->s);
}
END_TEST

START_TEST(pausing_in_the_last_offer_waits) {
	int sv[2];
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 100, 0);
	o->take = 4;
	ck_assert_uint_eq(peer_write(sv[1], 0, 10), 10);
	turn();
	o->pause_in_data = true;
	close(sv[1]);
	turns(3);
	ck_assert_int_eq(o->offers, 2);
	ck_assert_int_eq(o->closed, 0);
	o->paused = false;
	cube_bufio_resume(o->s);
	turns(3);
	ck_assert_int_eq(o->closed, 1);
	ck_assert_uint_eq(o->taken, 10);
	cube_bufio_free(o->s);
}
END_TEST

/* The failing write is seen first, and the last reading had emptied the fd. */
START_TEST(last_words_of_a_broken_pipe_pair_are_offered) {
	int to[2], from[2];
	uint8_t words[15];
	fill(words, 0, sizeof words);
	ck_assert_int_eq(cube_pipe(to, NULL), 0);
	ck_assert_int_eq(cube_pipe(from, NULL), 0);
	struct owner *o = own(from[0], to[1], 10, 1 << 20, 0);
	ck_assert_int_eq(write(from[1], words, 10), 10);
	turn();
	ck_assert_int_eq(stream_put(o, 0, 1 << 18), 0);
	turn();
	close(to[0]);
	ck_assert_int_eq(write(from[1], words + 10, 5), 5);
	turns(3);
	ck_assert_int_eq(o->closed, 1);
	ck_assert_uint_eq(o->taken, 15);
	ck_assert_int_eq(o->err.sys, EPIPE);
	cube_bufio_free(o->s);
	close(from[1]);
}
END_TEST

/* A paused stream whose peer hung up must not make the loop spin. */
START_TEST(paused_and_hung_up_sleeps) {
	int sv[2];
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 100, 0);
	cube_bufio_pause(o->s);
	o->paused = true;
	close(sv[1]);
	uint64_t start = cube_loop_now(loop);
	ck_assert_int_eq(cube_loop_turn(loop, 10, NULL), 0);
	ck_assert_uint_ge(cube_loop_now(loop) - start, 9000000);
	o->paused = false;
	cube_bufio_resume(o->s);
	turns(3);
	ck_assert_int_eq(o->closed, 1);
	/* And neither does one that was told of the end and keeps its write side. */
	start = cube_loop_now(loop);
	ck_assert_int_eq(cube_loop_turn(loop, 10, NULL), 0);
	ck_assert_uint_ge(cube_loop_now(loop) - start, 9000000);
	cube_bufio_free(o->s);
}
END_TEST

START_TEST(writing_goes_on_after_end_of_file) {
	int sv[2];
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 50000, 10);
	shutdown(sv[1], SHUT_WR);
	turns(2);
	ck_assert_int_eq(o->closed, 1);
	ck_assert_int_eq(stream_put(o, 0, 40000), 0);
	ck_assert_uint_gt(cube_bufio_queued(o->s), 10);
	cube_bufio_end(o->s);
	uint64_t got = 0;
	for (ssize_t k = -1; k != 0;) {
		turn();
		if ((k = peer_read(sv[1], got, 4000)) > 0) got += (uint64_t)k;
	}
	ck_assert_uint_eq(got, 40000);
	ck_assert_int_eq(o->drained, 1);
	cube_bufio_free(o->s);
	close(sv[1]);
}
END_TEST

/* With SIGPIPE at its default: MSG_NOSIGNAL has to keep us alive. */
START_TEST(broken_socket_is_reported_after_the_last_data) {
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	int sv[2];
	sigaction(SIGPIPE, &dfl, NULL);
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 100, 0);
	ck_assert_uint_eq(peer_write(sv[1], 0, 50), 50);
	close(sv[1]);
	ck_assert_int_eq(cube_bufio_write(o->s, "x", 1), 0); /* the failure comes by closed */
	ck_assert_int_eq(o->closed, 0);
	turns(3);
	ck_assert_int_eq(o->closed, 1);
	ck_assert_uint_eq(o->taken, 50);
	ck_assert_int_eq(o->err.code, CUBE_ECONNECT);
	ck_assert_int_eq(o->err.sys, EPIPE);
	ck_assert_int_eq(cube_bufio_write(o->s, "x", 1), 0);
	turns(3);
	cube_bufio_free(o->s);
}
END_TEST

START_TEST(broken_pipe_is_reported_also_while_idle) {
	int p[2];
	for (int idle = 0; idle < 2; idle++) {
		ck_assert_int_eq(cube_pipe(p, NULL), 0);
		struct owner *o = own(-1, p[1], 0, 100, 0);
		turn();
		close(p[0]);
		if (!idle) ck_assert_int_eq(cube_bufio_write(o->s, "x", 1), 0);
		turns(2);
		ck_assert_int_eq(o->closed, 1);
		ck_assert_int_eq(o->err.sys, EPIPE);
		cube_bufio_free(o->s);
	}
}
END_TEST

/* The relay's trap: paused because the queue is long, and then the write fails. */
START_TEST(a_failed_write_drains_a_paused_owner) {
	int sv[2];
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 1 << 20, 10);
	cube_bufio_pause(o->s);
	o->paused = true;
	ck_assert_uint_eq(peer_write(sv[1], 0, 50), 50);
	ck_assert_int_eq(stream_put(o, 0, 1 << 19), 0);
	turns(2);
	ck_assert_int_eq(o->drained, 0);
	close(sv[1]);
	turns(3);
	ck_assert_int_eq(o->drained, 1);
	ck_assert_int_eq(o->closed, 0);
	o->paused = false;
	cube_bufio_resume(o->s);
	turns(3);
	ck_assert_uint_eq(o->taken, 50);
	ck_assert_int_eq(o->closed, 1);
	ck_assert_int_ne(o->err.code, 0);
	cube_bufio_free(o->s);
}
END_TEST

START_TEST(reset_is_a_read_failure) {
	int sv[2];
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 100, 0);
	ck_assert_int_eq(cube_bufio_write(o->s, "unread", 6), 0);
	close(sv[1]); /* with unread bytes: the other end gets ECONNRESET */
	turns(3);
	ck_assert_int_eq(o->closed, 1);
	ck_assert_int_eq(o->err.code, CUBE_ECONNECT);
	ck_assert_int_eq(o->err.sys, ECONNRESET);
	cube_bufio_free(o->s);
}
END_TEST

START_TEST(refused_write_is_told_of_room) {
	int sv[2];
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 20000, 19999);
	uint64_t at = 0, got = 0;
	while (cube_bufio_queued(o->s) == 0) {
		ck_assert_int_eq(stream_put(o, at, 5000), 0);
		at += 5000;
	}
	ck_assert_int_eq(stream_put(o, at, 20000), CUBE_ETOOBIG);
	for (ssize_t k; (k = peer_read(sv[1], got, 4000)) > 0; got += (uint64_t)k) turn();
	ck_assert_int_eq(o->drained, 1);
	ck_assert_uint_eq(got, at);
	ck_assert_int_eq(stream_put(o, at, 20001), CUBE_ETOOBIG);
	cube_bufio_free(o->s);
	close(sv[1]);
}
END_TEST

START_TEST(freed_inside_every_callback) {
	for (int kind = 0; kind < 5; kind++) {
		int sv[2];
		socks(sv);
		struct owner *o = own(sv[0], sv[0], 1000, 50000, 10);
		if (kind == 0 || kind == 4) o->free_in_data = true;
		if (kind == 1 || kind == 2) o->free_in_closed = true;
		if (kind == 3) o->free_in_drained = true;
		if (kind == 0) peer_write(sv[1], 0, 10);
		if (kind == 2) ck_assert_int_eq(stream_put(o, 0, 50000), 0);
		if (kind == 3) ck_assert_int_eq(stream_put(o, 0, 40000), 0);
		if (kind == 4) { /* freed by the offer of resume, from the buffer itself */
			o->take = 0;
			o->free_in_data = false;
			peer_write(sv[1], 0, 10);
			turn();
			o->free_in_data = true;
			cube_bufio_resume(o->s);
		}
		if (kind == 1 || kind == 2) close(sv[1]);
		uint64_t got = 0;
		for (int i = 0; i < 100; i++) {
			turn();
			if (kind != 3) continue;
			ssize_t k = peer_read(sv[1], got, 4000);
			if (k > 0) got += (uint64_t)k;
		}
		ck_assert_msg(o->freed, "kind %d", kind);
		if (kind != 1 && kind != 2) close(sv[1]);
	}
	cube_bufio_free(NULL);
}
END_TEST

START_TEST(freed_with_a_kick_on_its_way) {
	int sv[2];
	socks(sv);
	struct owner *o = own(sv[0], sv[0], 100, 100, 0);
	close(sv[1]);
	ck_assert_int_eq(cube_bufio_write(o->s, "x", 1), 0);
	cube_bufio_resume(o->s);
	let_go(o);
	turns(3);
	ck_assert_int_eq(o->closed, 0);
}
END_TEST

START_TEST(one_busy_stream_gets_its_share_only) {
	int p[2], q[2];
	static uint8_t block[1 << 20];
	fill(block, 0, sizeof block);
	ck_assert_int_eq(cube_pipe(p, NULL), 0);
	ck_assert_int_eq(cube_pipe(q, NULL), 0);
	char name[] = "/tmp/cube-stream-XXXXXX";
	int fd = mkstemp(name);
	ck_assert_int_ge(fd, 0);
	unlink(name);
	ck_assert_int_eq(write(fd, block, sizeof block), sizeof block);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	struct owner *busy = own(fd, -1, 1 << 20, 0, 0), *calm = own(q[0], -1, 100, 0, 0);
	ck_assert_int_eq(write(q[1], block, 1), 1);
	turn();
	ck_assert_uint_eq(busy->taken, 256 * 1024);
	ck_assert_uint_eq(calm->taken, 1);
	turns(5);
	ck_assert_uint_eq(busy->taken, sizeof block);
	ck_assert_int_eq(busy->closed, 1);
	ck_assert_int_eq(busy->err.code, 0);
	cube_bufio_free(busy->s);
	cube_bufio_free(calm->s);
}
END_TEST

START_TEST(regular_files_and_dev_null) {
	char name[] = "/tmp/cube-stream-XXXXXX";
	uint8_t back[3000];
	int fd = mkstemp(name), again = open(name, O_RDONLY | O_CLOEXEC);
	unlink(name);
	ck_assert_int_ge(again, 0);
	struct owner *o = own(open("/dev/null", O_RDWR | O_CLOEXEC), fd, 100, 5000, 0);
	ck_assert_int_eq(stream_put(o, 0, 3000), 0);
	cube_bufio_end(o->s);
	turns(2);
	ck_assert_int_eq(o->closed, 1); /* /dev/null ends at once */
	ck_assert_int_eq(o->err.code, 0);
	ck_assert_int_eq(read(again, back, sizeof back), 3000);
	check_bytes(back, 0, 3000);
	cube_bufio_free(o->s);
	ck_assert_int_eq(lseek(again, 0, SEEK_SET), 0);

	o = own(again, -1, 7, 0, 0); /* by pieces of 7, paused half way */
	o->pause_in_data = true;
	for (int i = 0; i < 3000 && !o->closed; i++) {
		turns(2);
		ck_assert_uint_le(o->taken, 7u * (unsigned)(i + 1));
		o->paused = false;
		cube_bufio_resume(o->s);
	}
	ck_assert_uint_eq(o->taken, 3000);
	ck_assert_int_eq(o->closed, 1);
	cube_bufio_free(o->s);

	o = own(-1, open("/dev/full", O_WRONLY | O_CLOEXEC), 0, 100, 0);
	ck_assert_int_eq(cube_bufio_write(o->s, "x", 1), 0);
	turns(2);
	ck_assert_int_eq(o->err.sys, ENOSPC);
	ck_assert_int_eq(o->err.code, CUBE_ESYS);
	cube_bufio_free(o->s);
}
END_TEST

START_TEST(pipes_end_apart) {
	int to[2], from[2];
	char byte;
	ck_assert_int_eq(cube_pipe(to, NULL), 0);
	ck_assert_int_eq(cube_pipe(from, NULL), 0);
	struct owner *o = own(from[0], to[1], 100, 100, 0);
	o->end_in_data = true;
	uint8_t first = pattern(0);
	ck_assert_int_eq(write(from[1], &first, 1), 1);
	turn();
	ck_assert_int_eq(read(to[0], &byte, 1), 0); /* blocks were the write side still open */
	ck_assert_int_eq(o->closed, 0);
	close(from[1]);
	turns(2);
	ck_assert_int_eq(o->closed, 1);
	cube_bufio_free(o->s);
	close(to[0]);
}
END_TEST

START_TEST(new_fails_cleanly_and_takes_the_fds) {
	struct cube_bufio_limits limits = {100, 100, 0};
	struct cube_bufio *s = NULL;
	struct cube_err err;
	int p[2];
	ck_assert_int_eq(cube_pipe(p, NULL), 0);
	ck_assert_int_eq(cube_bufio_new(loop, p[0], 999, &ops, NULL, &limits, &s, &err), CUBE_ESYS);
	ck_assert_int_eq(err.sys, EBADF);
	ck_assert_ptr_null(s);
	ck_assert_int_eq(fcntl(p[0], F_GETFD), -1);
	close(p[1]);
}
END_TEST

int main(void) {
	Suite *s = suite_create("stream");
	TCase *tc = tcase_create("stream");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, random_model, 0, 10);
	tcase_add_test(tc, untaken_bytes_come_again_with_the_next_or_by_resume);
	tcase_add_test(tc, a_full_or_paused_stream_holds_the_writer_back);
	tcase_add_test(tc, end_of_file_with_untaken_bytes);
	tcase_add_test(tc, paused_end_of_file_waits);
	tcase_add_test(tc, pausing_in_the_last_offer_waits);
	tcase_add_test(tc, last_words_of_a_broken_pipe_pair_are_offered);
	tcase_add_test(tc, paused_and_hung_up_sleeps);
	tcase_add_test(tc, writing_goes_on_after_end_of_file);
	tcase_add_test(tc, broken_socket_is_reported_after_the_last_data);
	tcase_add_test(tc, broken_pipe_is_reported_also_while_idle);
	tcase_add_test(tc, a_failed_write_drains_a_paused_owner);
	tcase_add_test(tc, reset_is_a_read_failure);
	tcase_add_test(tc, refused_write_is_told_of_room);
	tcase_add_test(tc, freed_inside_every_callback);
	tcase_add_test(tc, freed_with_a_kick_on_its_way);
	tcase_add_test(tc, one_busy_stream_gets_its_share_only);
	tcase_add_test(tc, regular_files_and_dev_null);
	tcase_add_test(tc, pipes_end_apart);
	tcase_add_test(tc, new_fails_cleanly_and_takes_the_fds);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
