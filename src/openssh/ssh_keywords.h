/* What is done about each setting of ssh_config(5). Private to this folder.
 *
 * `ssh -G` prints all of them, and each is one of:
 *  - read: the built-in ssh does as it says (ssh_config.c has how it is taken);
 *  - the program's: libssh2 has no way to do it, so that a host whose value asks for something goes
 *    by OpenSSH's ssh, which reads the configuration itself, and its node says why;
 *  - nothing to us, for a reason;
 * One that is not here, of an OpenSSH newer than this table, sends the hosts by OpenSSH's ssh whose
 * configuration file or -o names it. */
#ifndef CUBE_TRANSPORT_SSH_KEYWORDS_H
#define CUBE_TRANSPORT_SSH_KEYWORDS_H

#include <stdbool.h>
#include <stddef.h>

enum cube_ssh_use { CUBE_SSH_READ, CUBE_SSH_PROGRAM, CUBE_SSH_NOTHING };

struct cube_ssh_keyword {
	const char *name; /* as ssh_config(5) writes it */
	enum cube_ssh_use use;
	const char *text; /* PROGRAM: the values that ask for nothing, a blank between; NOTHING:
			     why; else NULL */
};

/* name: n bytes in any case. NULL: not known. */
const struct cube_ssh_keyword *cube_ssh_keyword_find(const char *name, size_t n);
/* The one at i, or NULL after the last. */
const struct cube_ssh_keyword *cube_ssh_keyword_at(size_t i);
/* The value (n bytes) is one that needs the ssh program. */
bool cube_ssh_keyword_needs(const struct cube_ssh_keyword *k, const char *value, size_t n);

#endif
