#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "cube/err.h"
#include "cube/format.h"

/* Indexed by -code: what a code is called and what it becomes in HTTP. */
static const struct {
	const char *name;
	uint16_t http;
} codes[] = {
	[0] = {"ok", 200},
	[-CUBE_EUSAGE] = {"usage", 400},
	[-CUBE_ENOTFOUND] = {"not-found", 404},
	[-CUBE_ECONFLICT] = {"conflict", 409},
	[-CUBE_EPROTO] = {"protocol", 502},
	[-CUBE_ETOOBIG] = {"too-big", 413},
	[-CUBE_ESYS] = {"system", 500},
	[-CUBE_ETIMEOUT] = {"timeout", 504},
	[-CUBE_ECONNECT] = {"connect", 502},
	[-CUBE_EAUTH] = {"auth", 502},
	[-CUBE_EHOSTKEY] = {"host-key", 502},
	[-CUBE_EVERSION] = {"version", 502},
	[-CUBE_EEXEC] = {"exec", 422},
	[-CUBE_ECANCELED] = {"canceled", 409},
	[-CUBE_EINTERNAL] = {"internal", 500},
	[-CUBE_ELOGIN] = {"needs-login", 502},
	[-CUBE_ELIBRARY] = {"library", 502},
};

#define CODES (sizeof codes / sizeof codes[0])
_Static_assert(CODES == -CUBE_ELIBRARY + 1, "a row for each code");

/* Copies text to msg; what does not fit is cut before a UTF-8 character, and marked. */
static void set_text(struct cube_err *err, const char *text) {
	size_t len = strlen(text), room = sizeof err->msg - 1;

	if (len > room) {
		len = room - 3;
		while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80) len--;
		memcpy(err->msg + len, "...", 4);
	} else {
		err->msg[len] = '\0';
	}
	memcpy(err->msg, text, len);
}

/* Formats "<fmt>" or "<fmt>: <tail>" through a scratch text, since the arguments and the tail
 * may lie in err->msg. */
static void set_vtext(struct cube_err *err, const char *tail, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
static void set_vtext(struct cube_err *err, const char *tail, const char *fmt, va_list ap) {
	char text[sizeof err->msg * 2 + 8];
	size_t half = sizeof err->msg + 1; /* enough to see that it is too long */
	int n = cube_vformat(text, half, fmt, ap);
	size_t len = n < 0 ? 0 : (size_t)n < half ? (size_t)n : half - 1;

	text[len] = '\0';
	if (tail) cube_format(text + len, sizeof text - len, ": %s", tail);
	set_text(err, text);
}

int cube_fail(struct cube_err *err, int code, const char *fmt, ...) {
	va_list ap;

	if (!err) return code;
	va_start(ap, fmt);
	set_vtext(err, NULL, fmt, ap);
	va_end(ap);
	err->code = code;
	err->sys = 0;
	return code;
}

/* musl's "Quota exceeded" leaves open of what. */
const char *cube_err_text(int sys) {
	return sys == EDQUOT ? "Disk quota exceeded" : strerror(sys);
}

int cube_fail_sys(struct cube_err *err, int sys, const char *fmt, ...) {
	va_list ap;

	if (!err) return CUBE_ESYS;
	va_start(ap, fmt);
	set_vtext(err, cube_err_text(sys), fmt, ap);
	va_end(ap);
	err->code = CUBE_ESYS;
	err->sys = sys;
	return CUBE_ESYS;
}

int cube_wrap(struct cube_err *err, const char *fmt, ...) {
	va_list ap;

	if (!err) return CUBE_EINTERNAL;
	va_start(ap, fmt);
	set_vtext(err, err->msg, fmt, ap);
	va_end(ap);
	/* Wrapping an error that was never set must not come out as success. */
	if (err->code >= 0) err->code = CUBE_EINTERNAL;
	return err->code;
}

static size_t row_of(int code) {
	return code <= 0 && code >= CUBE_ELIBRARY ? (size_t)-code : (size_t)-CUBE_EINTERNAL;
}

const char *cube_err_name(int code) {
	return code == CUBE_AGAIN ? "again" : codes[row_of(code)].name;
}

int cube_err_http(int code) {
	return code == CUBE_AGAIN ? 503 : codes[row_of(code)].http;
}

int cube_err_exit(int code, bool carries) {
	if (code == 0) return 0;
	if (code == CUBE_EUSAGE) return 2;
	return carries ? 125 : 1;
}
