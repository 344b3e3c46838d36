/* Any bytes as a reply, and any text as /etc/hosts, resolv.conf and names. */
#include <stdlib.h>
#include <string.h>

#include "cube/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void as_reply(const uint8_t *bytes, size_t n, uint16_t type) {
	uint8_t query[CUBE_DNS_QUERY], *reply;
	struct cube_dns_addresses list = {0};
	size_t len = cube_dns_query(query, "a.example", type, 0x1234);

	cube_dns_reply(&list, bytes, n, query, len);
	reply = malloc(len + n); /* and behind a question that is ours */
	if (!reply) return;
	memcpy(reply, query, len);
	if (n) memcpy(reply + len, bytes, n);
	reply[2] |= 0x80;
	reply[7] = n ? bytes[0] : 0;
	cube_dns_reply(&list, reply, len + n, query, len);
	free(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	char *text = malloc(n + 1), *line, *next, name[CUBE_DNS_NAME];
	uint8_t query[CUBE_DNS_QUERY];
	struct cube_dns_addresses list = {0};
	struct cube_dns_address address;
	struct cube_dns_config config;

	if (!text) return 0;
	as_reply(bytes, n, CUBE_DNS_A);
	as_reply(bytes, n, CUBE_DNS_AAAA);
	memcpy(text, bytes, n);
	text[n] = '\0';
	cube_dns_literal(text, &address);
	cube_dns_query(query, text, CUBE_DNS_A, 0);
	cube_dns_config_init(&config);
	for (line = text; line; line = next) {
		char copy[512];

		next = strchr(line, '\n');
		if (next) *next++ = '\0';
		strncpy(copy, line, sizeof copy - 1);
		copy[sizeof copy - 1] = '\0';
		cube_dns_config_line(&config, copy);
		cube_dns_hosts_line(&list, line, "a.example");
	}
	cube_dns_config_end(&config);
	for (unsigned i = 0; cube_dns_candidate(&config, "a", i, name); i++)
		cube_dns_query(query, name, CUBE_DNS_A, 0);
	free(text);
	return 0;
}
