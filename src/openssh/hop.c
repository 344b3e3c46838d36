#include "cube/hop.h"

#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"

void cube_jump_parse(const char *text, struct cube_jump_hop *ret) {
	if (!strncmp(text, "ssh://", 6)) text += 6;
	const char *at = strrchr(text, '@');
	const char *host = at ? at + 1 : text, *end = host + strlen(host), *port = NULL;
	if (*host == '[' && strchr(host, ']')) {
		end = strchr(host++, ']');
		if (end[1] == ':') port = end + 2;
	} else if (strchr(host, ':') && strchr(host, ':') == strrchr(host, ':')) {
		end = strchr(host, ':');
		port = end + 1;
	}
	ret->user = at ? cube_strndup(text, (size_t)(at - text)) : NULL;
	ret->host = cube_strndup(host, (size_t)(end - host));
	ret->port = cube_strdup(port);
}

void cube_jump_hop_done(struct cube_jump_hop *hop) {
	free(hop->user);
	free(hop->host);
	free(hop->port);
}

bool cube_jump_to_itself(const char *jumps, const char *host,
			 const struct cube_ssh_config *config) {
	struct cube_jump_hop hop;
	if (strchr(jumps, ',')) return false;
	cube_jump_parse(jumps, &hop);
	cube_autofree char *port = cube_strf("%u", config->port);
	bool same = !strcmp(hop.host, host) && (!hop.user || !strcmp(hop.user, config->user)) &&
		    (!hop.port || !strcmp(hop.port, port));
	cube_jump_hop_done(&hop);
	return same;
}
