/* Host names to addresses, without I/O: /etc/hosts, resolv.conf and DNS messages as bytes and text.
 * As musl's getaddrinfo understands them; that one brings 19 KB to a static program (stdio, qsort,
 * wide characters), and glibc's cannot be linked statically at all. */
#ifndef CUBE_DNS_H
#define CUBE_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CUBE_DNS_ADDRESSES = 32, /* kept of a name; more are left out */
	CUBE_DNS_SERVERS = 3,
	CUBE_DNS_NAME = 256, /* room for a name and its NUL */
	CUBE_DNS_QUERY = 12 + CUBE_DNS_NAME + 4,
	CUBE_DNS_A = 1,
	CUBE_DNS_AAAA = 28,
	CUBE_DNS_NXDOMAIN = 3, /* a reply's code: there is no such name */
};

struct cube_dns_address {
	bool v6;
	uint8_t bytes[16]; /* 4 where it is not v6 */
	char zone[16];     /* of fe80::1%eth0: a name or number of an interface; else "" */
};

struct cube_dns_addresses { /* zero-initialise */
	size_t n;
	struct cube_dns_address at[CUBE_DNS_ADDRESSES];
};

/* "192.0.2.1", also "127.1", "0x7f000001" as inet_aton reads them; "2001:db8::1", "fe80::1%2". */
bool cube_dns_literal(const char *text, struct cube_dns_address *ret);

/* The order in which to try them: 0 first. Routable IPv6, then IPv4, then IPv6 of a site. */
unsigned cube_dns_rank(const struct cube_dns_address *a);
enum { CUBE_DNS_RANKS = 3 };

/* A line of /etc/hosts: its address is added when name is one of its names. The line is cut up. */
void cube_dns_hosts_line(struct cube_dns_addresses *out, char *line, const char *name);

struct cube_dns_config {
	struct cube_dns_address servers[CUBE_DNS_SERVERS];
	size_t count;
	unsigned ndots, attempts, timeout_s;
	char search[512]; /* domains with blanks between them */
};

/* The defaults; then each line of resolv.conf (which is cut up); then end, after which there is at
 * least one server. */
void cube_dns_config_init(struct cube_dns_config *c);
void cube_dns_config_line(struct cube_dns_config *c, char *line);
void cube_dns_config_end(struct cube_dns_config *c);

/* The full names to ask for, i = 0, 1, ...: with the domains of `search` where name has fewer dots
 * than ndots, and at last as it is. False behind the last; one that is too long is "". */
bool cube_dns_candidate(const struct cube_dns_config *c, const char *name, unsigned i,
			char ret[CUBE_DNS_NAME]);

/* A query for addresses of one type (A or AAAA); its length, 0 where this cannot be a name. */
size_t cube_dns_query(uint8_t packet[CUBE_DNS_QUERY], const char *name, uint16_t type, uint16_t id);

/* Adds the addresses of a reply; of one that was cut to 512 bytes those that it has. Its code (0:
 * answered, perhaps with none; where it was cut to none, as of a server that failed), -1 where it
 * is no reply to that query. */
int cube_dns_reply(struct cube_dns_addresses *out, const uint8_t *reply, size_t n,
		   const uint8_t *query, size_t query_len);

#endif
