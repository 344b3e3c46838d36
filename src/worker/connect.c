/* connect HOST PORT: a TCP connection to there, joined to stdin and stdout. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/parse.h"
#include "cube/spawn.h"
#include "resolve.h"
#include "tools.h"

struct way { /* one direction */
	int from, to;
	size_t off, len;
	bool eof, over; /* nothing more comes; and all of it was passed on */
	char bytes[64 * 1024];
};

static int complain(const char *host, const char *port, const char *why) {
	(void)cube_print(STDERR_FILENO, "%s port %s: %s\n", host, port, why);
	return 1;
}

/* The first address that answers; -1 and the last one's errno. */
static int dial(const struct cube_dns_addresses *list, uint16_t port) {
	int sys = EADDRNOTAVAIL;

	for (size_t i = 0; i < list->n * CUBE_DNS_RANKS; i++) {
		const struct cube_dns_address *a = &list->at[i % list->n];
		struct sockaddr_storage sa;
		socklen_t len;
		int fd;

		if (cube_dns_rank(a) != i / list->n) continue;
		len = resolve_sockaddr(a, port, &sa);
		fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, len) == 0) return fd;
		sys = errno;
		if (fd >= 0) close(fd);
	}
	errno = sys;
	return -1;
}

/* False when the whole connection is broken. */
static bool fill(struct way *w) {
	ssize_t n = read(w->from, w->bytes, sizeof w->bytes);

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
	w->off = 0;
	w->len = n > 0 ? (size_t)n : 0;
	w->eof = n <= 0;
	return n >= 0;
}

static bool drain(struct way *w) {
	ssize_t n = write(w->to, w->bytes + w->off, w->len);

	if (n < 0) return errno == EAGAIN || errno == EINTR;
	w->off += (size_t)n;
	w->len -= (size_t)n;
	return true;
}

/* Half a connection ends: the other half goes on. */
static void finish(struct way *w, int sock) {
	if (!w->eof || w->len || w->over) return;
	w->over = true;
	if (w->to == sock) shutdown(sock, SHUT_WR);
	else close(w->to);
}

static struct pollfd interest(const struct way *w) {
	struct pollfd p = {.fd = -1};

	if (w->len) p = (struct pollfd){.fd = w->to, .events = POLLOUT};
	else if (!w->eof) p = (struct pollfd){.fd = w->from, .events = POLLIN};
	return p;
}

static bool step(struct way *w, short revents) {
	if (!revents) return true;
	if (!w->len && !fill(w)) return false;
	return !w->len || drain(w); /* what came is mostly taken at once */
}

/* The exit status: 0 when both halves came to their end. */
static int relay(struct way ways[2], int sock) {
	while (!ways[0].over || !ways[1].over) {
		struct pollfd p[2] = {interest(&ways[0]), interest(&ways[1])};

		if (poll(p, 2, -1) < 0) continue;
		for (int i = 0; i < 2; i++) {
			if (!step(&ways[i], p[i].revents)) return 1;
			finish(&ways[i], sock);
		}
	}
	return 0;
}

int connect_main(int argc, char **argv) {
	static struct way ways[2];
	struct cube_dns_addresses list = {0};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	const char *host = argv[0], *port = argv[1], *why;
	struct cube_err err;
	uint64_t number;
	int on = 1, sock;

	if (cube_parse_u64(port, 1, UINT16_MAX, &number, &err) < 0)
		return complain(host, port, err.msg);
	why = resolve(host, &list);
	if (why) return complain(host, port, why);
	sock = dial(&list, (uint16_t)number);
	if (sock < 0) return complain(host, port, strerror(errno));
	sigaction(SIGPIPE, &ignore, NULL);
	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	cube_set_nonblock(sock, true);
	cube_set_nonblock(0, true);
	cube_set_nonblock(1, true);
	ways[0].from = 0, ways[0].to = sock;
	ways[1].from = sock, ways[1].to = 1;
	return relay(ways, sock);
}
