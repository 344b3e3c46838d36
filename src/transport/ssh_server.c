/* What is known of other programs: the server's habits, and whether ssh is installed here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/paths.h"
#include "ssh_priv.h"

bool cube_ssh_program_there(void) {
	cube_autofree char *path = cube_paths_program("ssh");
	return path != NULL;
}

/* "SSH-2.0-OpenSSH_9.2p1 Debian-2": since 8.8, unless its administrator said otherwise. */
bool cube_ssh_refuses_sha1(const char *banner) {
	const char *at = banner ? strstr(banner, "-OpenSSH_") : NULL;
	int major, minor;
	if (!at || sscanf(at, "-OpenSSH_%d.%d", &major, &minor) != 2) return false;
	return major > 8 || (major == 8 && minor >= 8);
}
