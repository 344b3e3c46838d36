#include <string.h>

#include "cube/dns.h"

enum { HEAD = 12, RECORD = 10, CLASS_IN = 1, LABEL_MAX = 63, NAME_MAX_WIRE = 255 };
enum { TRUNCATED = 2, SERVER_FAILURE = 2 };

static uint16_t u16(const uint8_t *p) {
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint8_t *put16(uint8_t *p, unsigned v) {
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

/* "a.example" or "a.example." as labels; NULL where this cannot be a name. */
static uint8_t *put_name(uint8_t *p, const char *name) {
	const uint8_t *begin = p;

	do {
		size_t n = strcspn(name, ".");

		if (n == 0 || n > LABEL_MAX || (size_t)(p - begin) + n + 2 > NAME_MAX_WIRE)
			return NULL;
		*p++ = (uint8_t)n;
		for (; n; n--, name++) /* in one case, so that the reply's can be compared */
			*p++ = (uint8_t)(*name >= 'A' && *name <= 'Z' ? *name | 32 : *name);
		if (*name == '.') name++;
	} while (*name);
	*p++ = 0;
	return p;
}

size_t cube_dns_query(uint8_t packet[CUBE_DNS_QUERY], const char *name, uint16_t type,
		      uint16_t id) {
	static const uint8_t flags[] = {1, 0, 0, 1, 0, 0, 0, 0, 0, 0}; /* recursion; one question */
	uint8_t *p = put16(packet, id);

	memcpy(p, flags, sizeof flags);
	p = put_name(p + sizeof flags, name);
	if (!p) return 0;
	p = put16(p, type);
	p = put16(p, CLASS_IN);
	return (size_t)(p - packet);
}

/* Where the name at `at` ends, or n where it does not end within the message. */
static size_t skip_name(const uint8_t *m, size_t n, size_t at) {
	while (at < n) {
		if (m[at] >= 0xc0) return n - at >= 2 ? at + 2 : n; /* the rest is elsewhere */
		if (m[at] == 0) return at + 1;
		at += (size_t)m[at] + 1;
	}
	return n;
}

static void add_record(struct cube_dns_addresses *out, bool v6, const uint8_t *bytes) {
	struct cube_dns_address *a = &out->at[out->n];

	if (out->n == CUBE_DNS_ADDRESSES) return;
	*a = (struct cube_dns_address){.v6 = v6};
	memcpy(a->bytes, bytes, v6 ? 16 : 4);
	out->n++;
}

/* Whose addresses they are is not looked at: the records of a chain of aliases. */
int cube_dns_reply(struct cube_dns_addresses *out, const uint8_t *reply, size_t n,
		   const uint8_t *query, size_t query_len) {
	uint16_t type = u16(query + query_len - 4);
	size_t at = query_len, size = type == CUBE_DNS_AAAA ? 16 : 4, before = out->n;

	if (n < query_len || memcmp(reply, query, 2) != 0 || !(reply[2] & 0x80)) return -1;
	if (u16(reply + 4) != 1 || memcmp(reply + HEAD, query + HEAD, query_len - HEAD) != 0)
		return -1;
	for (unsigned left = u16(reply + 6); left; left--) {
		at = skip_name(reply, n, at);
		if (n - at < RECORD) break;

		const uint8_t *record = reply + at;
		size_t len = u16(record + 8);

		at += RECORD;
		if (n - at < len) break;
		if (u16(record) == type && u16(record + 2) == CLASS_IN && len == size)
			add_record(out, size == 16, reply + at);
		at += len;
	}
	/* cut to nothing, which does not mean that there is none; the rest would come by TCP */
	if (reply[2] & TRUNCATED && out->n == before) return SERVER_FAILURE;
	return reply[3] & 15;
}
