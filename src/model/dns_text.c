/* The texts around names: addresses, /etc/hosts, resolv.conf. */
#include <arpa/inet.h>
#include <string.h>

#include "cube/dns.h"
#include "cube/format.h"

/* ---- addresses --------------------------------------------------------------------------------
 */

static unsigned digit(char c) {
	if (c >= '0' && c <= '9') return (unsigned)(c - '0');
	c |= 32;
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* Decimal, 0octal or 0xhex of at most 32 bits; NULL where it is none. */
static const char *read_part(const char *s, uint64_t *ret) {
	unsigned base = 10;
	const char *begin;

	if (*s == '0') base = (s[1] | 32) == 'x' ? 16 : 8;
	if (base == 16) s += 2;
	for (begin = s, *ret = 0; digit(*s) < base; s++) {
		*ret = *ret * base + digit(*s);
		if (*ret > UINT32_MAX) return NULL;
	}
	return s > begin ? s : NULL;
}

/* One to four numbers; the last fills the bytes that are left. */
static bool read_v4(const char *s, uint8_t bytes[4]) {
	uint64_t v;

	for (unsigned i = 0; i < 4; i++) {
		s = read_part(s, &v);
		if (!s) return false;
		if (!*s) {
			if (v >> 8 * (4 - i)) return false;
			for (unsigned k = 4; k-- > i; v >>= 8) bytes[k] = (uint8_t)v;
			return true;
		}
		if (*s++ != '.' || v > 255) return false;
		bytes[i] = (uint8_t)v;
	}
	return false;
}

bool cube_dns_literal(const char *text, struct cube_dns_address *ret) {
	size_t n = strcspn(text, "%");
	char plain[INET6_ADDRSTRLEN];

	*ret = (struct cube_dns_address){.v6 = false};
	if (read_v4(text, ret->bytes)) return true;
	if (n >= sizeof plain || strlen(text + n) > sizeof ret->zone) return false;
	memcpy(plain, text, n);
	plain[n] = '\0';
	if (text[n]) memcpy(ret->zone, text + n + 1, strlen(text + n));
	ret->v6 = true;
	return inet_pton(AF_INET6, plain, ret->bytes) == 1;
}

unsigned cube_dns_rank(const struct cube_dns_address *a) {
	return !a->v6 ? 1 : (a->bytes[0] & 0xfe) == 0xfc ? 2 : 0; /* fc00::/7 */
}

/* ---- files ------------------------------------------------------------------------------------
 */

/* The next word of a line, or NULL; the line is cut behind it. */
static char *word(char **at) {
	char *begin = *at + strspn(*at, " \t\r\n\f\v");
	size_t n = strcspn(begin, " \t\r\n\f\v");

	*at = begin + n + (begin[n] != '\0');
	begin[n] = '\0';
	return n ? begin : NULL;
}

/* Names are the same in either case. */
static bool same(const char *a, const char *b) {
	for (; *a && *b; a++, b++) {
		char x = *a >= 'A' && *a <= 'Z' ? *a | 32 : *a;
		char y = *b >= 'A' && *b <= 'Z' ? *b | 32 : *b;

		if (x != y) return false;
	}
	return *a == *b;
}

void cube_dns_hosts_line(struct cube_dns_addresses *out, char *line, const char *name) {
	char *address, *other;

	line[strcspn(line, "#")] = '\0';
	address = word(&line);
	if (!address || out->n == CUBE_DNS_ADDRESSES) return;
	while ((other = word(&line)))
		if (same(other, name)) {
			if (cube_dns_literal(address, &out->at[out->n])) out->n++;
			return;
		}
}

void cube_dns_config_init(struct cube_dns_config *c) {
	*c = (struct cube_dns_config){.ndots = 1, .attempts = 2, .timeout_s = 5};
}

/* "ndots:2" with key "ndots:" */
static void option(const char *text, const char *key, unsigned least, unsigned most,
		   unsigned *ret) {
	size_t n = strlen(key);
	unsigned v = 0;

	if (strncmp(text, key, n) != 0 || digit(text[n]) > 9) return;
	for (text += n; digit(*text) < 10; text++)
		if (v < 1000) v = v * 10 + digit(*text);
	*ret = v < least ? least : v < most ? v : most;
}

/* Half a domain is none. */
static void cut_word(char *text) {
	char *blank = strrchr(text, ' ');

	*(blank ? blank : text) = '\0';
}

void cube_dns_config_line(struct cube_dns_config *c, char *line) {
	char *key = word(&line), *value;

	if (!key || *key == '#' || *key == ';') return;
	if (strcmp(key, "nameserver") == 0) {
		value = word(&line);
		if (value && c->count < CUBE_DNS_SERVERS &&
		    cube_dns_literal(value, &c->servers[c->count]))
			c->count++;
	} else if (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0) {
		if (cube_format(c->search, sizeof c->search, "%s", line) >= (int)sizeof c->search)
			cut_word(c->search);
	} else if (strcmp(key, "options") == 0) {
		while ((value = word(&line))) {
			option(value, "ndots:", 0, 15, &c->ndots);
			option(value, "attempts:", 1, 10, &c->attempts);
			option(value, "timeout:", 1, 60, &c->timeout_s);
		}
	}
}

void cube_dns_config_end(struct cube_dns_config *c) {
	if (c->count == 0) c->count = cube_dns_literal("127.0.0.1", &c->servers[0]);
}

bool cube_dns_candidate(const struct cube_dns_config *c, const char *name, unsigned i,
			char ret[CUBE_DNS_NAME]) {
	size_t len = strlen(name), dots = 0, n;
	const char *at = c->search;
	bool whole = len && name[len - 1] == '.';

	for (const char *p = name; *p; p++) dots += *p == '.';
	if (whole || dots >= c->ndots) at = "";
	for (;; at += n) { /* the i-th domain; behind the last comes none */
		at += strspn(at, " \t\r\n");
		n = strcspn(at, " \t\r\n");
		if (!n) break;
		if (!i--) break;
	}
	if (!n && i) return false;
	if (cube_format(ret, CUBE_DNS_NAME, "%s%s%.*s", name, n ? "." : "", (int)n, at) >=
	    CUBE_DNS_NAME)
		*ret = '\0';
	return true;
}
