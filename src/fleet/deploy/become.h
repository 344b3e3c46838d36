/* --become: the worker runs as root, started by sudo.
 *
 * sudo reads its password from the channel's stdin, byte by byte up to the newline, and only after
 * it has printed a prompt, which is a marker of ours, on stderr; so nothing of it is left for who
 * reads next, and none is sent where none is wanted. Once sudo lets us in, "CUBE <nonce> root"
 * comes ahead of everything else. A second marker means that the password was wrong.
 */
#ifndef CUBE_BECOME_H
#define CUBE_BECOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"

struct cube_become {
	char marker[40];
	char said[1024]; /* the newest of sudo's stderr */
	size_t len;
	bool given; /* a password */
	bool done;  /* we are root */
};

/* The line's beginning, up to the quote that opens the script; the script is to be closed by one,
 * and needs nothing else. Returns how many bytes. */
int cube_become_compose(struct cube_become *b, const char *nonce, char *out, size_t size);
/* Bytes of stderr: true where sudo asks for a password. */
bool cube_become_asks(struct cube_become *b, const uint8_t *bytes, size_t n);
/* Why sudo ended without having let us in. CUBE_ELOGIN: the password was wrong; CUBE_EAUTH: this
 * user may not, and need not try again. tail: the host's last words, fit to be shown. Returns the
 * code. */
int cube_become_explain(const struct cube_become *b, int status, const char *tail,
			struct cube_err *err);

#endif
