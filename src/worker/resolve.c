#include "resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/id.h"
#include "cube/parse.h"

enum { LINE_MAX_BYTES = 4096, REPLY_MAX = 4096, QUERIES = 2 };

/* ---- files ------------------------------------------------------------------------------------
 */

typedef void line_fn(void *arg, char *line);

/* Each line that is not over long; none where there is no such file. */
static void each_line(const char *path, line_fn *take, void *arg) {
	char buf[LINE_MAX_BYTES + 1], *end;
	size_t have = 0;
	bool skip = false; /* within a line that is too long */
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0) {
		ssize_t n = read(fd, buf + have, LINE_MAX_BYTES - have);

		if (n < 0 && errno == EINTR) continue;
		have += n > 0 ? (size_t)n : 0;
		if (n <= 0 && have) buf[have++] = '\n'; /* the last line may lack it */
		while ((end = memchr(buf, '\n', have))) {
			*end++ = '\0';
			if (!skip) take(arg, buf);
			skip = false;
			have -= (size_t)(end - buf);
			memmove(buf, end, have);
		}
		if (have == LINE_MAX_BYTES) {
			have = 0;
			skip = true;
		}
		if (n <= 0) break;
	}
	if (fd >= 0) close(fd);
}

struct wanted {
	const char *name;
	struct cube_dns_addresses *out;
};

static void on_hosts_line(void *arg, char *line) {
	struct wanted *w = arg;

	cube_dns_hosts_line(w->out, line, w->name);
}

static void on_config_line(void *arg, char *line) {
	cube_dns_config_line(arg, line);
}

/* ---- asking -----------------------------------------------------------------------------------
 */

socklen_t resolve_sockaddr(const struct cube_dns_address *a, uint16_t port,
			   struct sockaddr_storage *ret) {
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	uint64_t zone = 0;

	memset(ret, 0, sizeof *ret);
	if (!a->v6) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, a->bytes, 4);
		return sizeof *v4;
	}
	if (a->zone[0] && cube_parse_u64(a->zone, 0, UINT32_MAX, &zone, NULL) < 0)
		zone = if_nametoindex(a->zone);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	v6->sin6_scope_id = (uint32_t)zone;
	memcpy(&v6->sin6_addr, a->bytes, 16);
	return sizeof *v6;
}

struct question {
	uint8_t bytes[CUBE_DNS_QUERY];
	size_t len;
	int code; /* of the answer that counts; -1 before */
};

/* All servers are asked for both kinds of addresses at once, and the first answer counts. A socket
 * that is connected takes replies of that server only, and is told when nothing listens there. */
struct asking {
	struct pollfd servers[CUBE_DNS_SERVERS];
	size_t count;
	bool owed[CUBE_DNS_SERVERS][QUERIES]; /* may still come */
	struct question questions[QUERIES];
	struct cube_dns_addresses *out;
};

static void open_servers(struct asking *a, const struct cube_dns_config *c) {
	struct sockaddr_storage sa;

	for (a->count = 0; a->count < c->count; a->count++) {
		const struct cube_dns_address *to = &c->servers[a->count];
		socklen_t len = resolve_sockaddr(to, 53, &sa);
		int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, len) < 0) {
			close(fd);
			fd = -1;
		}
		a->servers[a->count] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
}

/* A server that cannot be sent to, or refused the question before, is asked no more this time. */
static void send_all(struct asking *a) {
	for (size_t s = 0; s < a->count; s++) {
		memset(a->owed[s], 0, sizeof a->owed[s]);
		for (size_t i = 0; i < QUERIES && a->servers[s].fd >= 0; i++) {
			const struct question *q = &a->questions[i];

			if (q->code >= 0) continue;
			a->owed[s][i] = send(a->servers[s].fd, q->bytes, q->len, 0) >= 0;
			if (a->owed[s][i]) continue;
			memset(a->owed[s], 0, sizeof a->owed[s]);
			break;
		}
	}
}

static bool is_owed(const struct asking *a) {
	for (size_t s = 0; s < a->count; s++)
		for (size_t i = 0; i < QUERIES; i++)
			if (a->owed[s][i] && a->questions[i].code < 0) return true;
	return false;
}

/* One at a time: a flood of them must not outlast the time-out. */
static void take_reply(struct asking *a, size_t s) {
	uint8_t reply[REPLY_MAX];
	ssize_t n = recv(a->servers[s].fd, reply, sizeof reply, 0);

	if (n < 0 && errno != EAGAIN && errno != EINTR) memset(a->owed[s], 0, sizeof a->owed[s]);
	for (size_t i = 0; n >= 0 && i < QUERIES; i++) {
		struct question *q = &a->questions[i];
		struct cube_dns_addresses more = {0};
		int code = cube_dns_reply(&more, reply, (size_t)n, q->bytes, q->len);

		if (code < 0 || !a->owed[s][i]) continue;
		a->owed[s][i] = false;
		if (q->code >= 0 || (code != 0 && code != CUBE_DNS_NXDOMAIN)) continue;
		q->code = code;
		for (size_t k = 0; k < more.n && a->out->n < CUBE_DNS_ADDRESSES; k++)
			a->out->at[a->out->n++] = more.at[k];
	}
}

/* True when both questions are answered. */
static bool attempt(struct asking *a, uint64_t wait_ns) {
	uint64_t now = cube_clock_mono(), end = now + wait_ns;

	send_all(a);
	for (; is_owed(a) && now < end; now = cube_clock_mono()) {
		if (poll(a->servers, a->count, (int)((end - now) / CUBE_NS_PER_MS) + 1) <= 0)
			continue;
		for (size_t s = 0; s < a->count; s++)
			if (a->servers[s].fd >= 0 && a->servers[s].revents) take_reply(a, s);
	}
	return a->questions[0].code >= 0 && a->questions[1].code >= 0;
}

/* False where no server answered: another name would find none either. */
static bool ask(const struct cube_dns_config *c, const char *name, struct cube_dns_addresses *ret) {
	static const uint16_t types[QUERIES] = {CUBE_DNS_AAAA, CUBE_DNS_A};
	struct asking a = {.out = ret};
	uint16_t ids[QUERIES];
	bool answered = false;

	cube_id_random(ids, sizeof ids);
	for (size_t i = 0; i < QUERIES; i++) {
		struct question *q = &a.questions[i];

		q->code = -1;
		q->len = cube_dns_query(q->bytes, name, types[i], ids[i]);
		if (!q->len) return true; /* this is no name */
	}
	open_servers(&a, c);
	for (unsigned i = 0; i < c->attempts && !answered; i++)
		answered = attempt(&a, c->timeout_s * CUBE_NS_PER_S / c->attempts);
	for (size_t s = 0; s < a.count; s++)
		if (a.servers[s].fd >= 0) close(a.servers[s].fd);
	return answered || ret->n > 0;
}

const char *resolve(const char *name, struct cube_dns_addresses *ret) {
	struct wanted wanted = {name, ret};
	struct cube_dns_config config;
	char full[CUBE_DNS_NAME];

	ret->n = cube_dns_literal(name, &ret->at[0]);
	if (ret->n) return NULL;
	each_line("/etc/hosts", on_hosts_line, &wanted);
	if (ret->n) return NULL;
	cube_dns_config_init(&config);
	each_line("/etc/resolv.conf", on_config_line, &config);
	cube_dns_config_end(&config);
	for (unsigned i = 0; ret->n == 0 && cube_dns_candidate(&config, name, i, full); i++)
		if (!ask(&config, full, ret)) return "No name server has an answer";
	return ret->n ? NULL : "Name does not resolve";
}
