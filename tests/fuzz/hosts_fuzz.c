/* Hosts files: refused, or every host is found and every group's text can be had. */
#include "cube/hosts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	struct cube_hosts hosts = {0};
	struct cube_err err;

	if (cube_hosts_parse(&hosts, (const char *)bytes, n, "hosts", &err) != 0) {
		if (err.code >= 0 || hosts.v || hosts.groups) abort();
		return 0;
	}
	for (size_t i = 0; i < hosts.len; i++)
		if (cube_hosts_find(&hosts, hosts.v[i].host.name) != &hosts.v[i]) abort();
	for (size_t i = 0; i < hosts.len; i++)
		if (hosts.v[i].jump && !cube_hosts_jump_ok(hosts.v[i].jump)) abort();
	for (size_t i = 0; i < hosts.ngroups; i++) {
		char *text;

		if (cube_hosts_group(&hosts, hosts.groups[i].name, &text, &err) != 0) abort();
		free(text);
	}
	cube_hosts_done(&hosts);
	return 0;
}
