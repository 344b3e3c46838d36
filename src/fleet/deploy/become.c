#include "become.h"

#include <stdio.h>
#include <string.h>

/* The script is a word of its own for the login shell, and sh gets it as $0, so that it needs no
 * quoting but the one it has without sudo. Messages in English, for cube_become_explain. */
#define LINE                                                          \
	"exec /bin/sh -c 'command -v sudo >/dev/null 2>&1 || { "      \
	"echo CUBE %s error sudo is not installed there; exit 1; }; " \
	"LANGUAGE=C; export LANGUAGE; exec sudo -H -S -p %s /bin/sh -c \"$0\"' 'unset LANGUAGE; "

int cube_become_compose(struct cube_become *b, const char *nonce, char *out, size_t size) {
	*b = (struct cube_become){0};
	snprintf(b->marker, sizeof b->marker, "CUBE-%.20s-sudo:", nonce);
	return snprintf(out, size, LINE, nonce, b->marker);
}

static void drop(struct cube_become *b, size_t n) {
	b->len -= n;
	memmove(b->said, b->said + n, b->len);
	b->said[b->len] = 0;
}

/* A piece that fits, without NULs. */
static void add(struct cube_become *b, const uint8_t *bytes, size_t n) {
	size_t room = sizeof b->said - 1;
	if (b->len + n > room) drop(b, b->len + n - room);
	for (size_t i = 0; i < n; i++) b->said[b->len++] = bytes[i] ? (char)bytes[i] : '?';
	b->said[b->len] = 0;
}

bool cube_become_asks(struct cube_become *b, const uint8_t *bytes, size_t n) {
	enum { PIECE = 256 };
	bool found = false;
	if (b->done || !*b->marker) return false;
	for (size_t at = 0; at < n; at += PIECE) {
		add(b, bytes + at, n - at < PIECE ? n - at : PIECE);
		for (char *m; (m = strstr(b->said, b->marker)); found = true)
			drop(b, (size_t)(m - b->said) + strlen(b->marker));
	}
	return found;
}

static bool says(const struct cube_become *b, const char *words) {
	return strstr(b->said, words) != NULL;
}

int cube_become_explain(const struct cube_become *b, int status, const char *tail,
			struct cube_err *err) {
	if (says(b, "must have a tty"))
		return cube_fail(
			err, CUBE_EAUTH,
			"sudo wants a terminal there: take `Defaults requiretty` out of its "
			"sudoers, or leave --become");
	if (says(b, "sudoers file") || says(b, "not allowed to") || says(b, "may not run sudo"))
		return cube_fail(err, CUBE_EAUTH, "sudo does not allow it there: %.150s", tail);
	if (b->given) return cube_fail(err, CUBE_ELOGIN, "sudo refused the password: %.150s", tail);
	return cube_fail(err, CUBE_EEXEC, "sudo ended with status %d: %.150s", status,
			 *tail ? tail : "it said nothing");
}
