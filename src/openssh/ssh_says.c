/* Reading what ssh complains about: see ssh_says.h.
 *
 * Texts as OpenSSH has had them for years; a line that is not known is still the reason shown, only
 * its code is then the general one.
 */
#include <string.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/text.h"
#include "cube/ssh_says.h"

enum { SHOWN_MAX = 190 };

struct line {
	const char *s;
	size_t n;
};

void cube_ssh_says_untag(const char **text, size_t *n) {
	static const char TAG[] = "packet.c:sshpkt_vfatal():", END[] = "): ";
	if (*n < sizeof TAG || memcmp(*text, TAG, sizeof TAG - 1)) return;
	const char *end = memmem(*text + sizeof TAG, *n - sizeof TAG, END, sizeof END - 1);
	if (!end) return;
	*n -= (size_t)(end + sizeof END - 1 - *text);
	*text = end + sizeof END - 1;
}

/* Without blanks, the frame around a warning, and the program's own name. */
static struct line trimmed(const char *s, size_t n) {
	cube_ssh_says_untag(&s, &n);
	if (n > 5 && !memcmp(s, "ssh: ", 5)) s += 5, n -= 5;
	while (n && memchr(" \t\r@", *s, 4)) s++, n--;
	while (n && memchr(" \t\r@", s[n - 1], 4)) n--;
	return (struct line){s, n};
}

static bool next(const char **text, size_t *n, struct line *ret) {
	if (!*n) return false;
	const char *nl = memchr(*text, '\n', *n);
	size_t len = nl ? (size_t)(nl - *text) : *n;
	*ret = trimmed(*text, len);
	*text += nl ? len + 1 : len;
	*n -= nl ? len + 1 : len;
	return true;
}

static bool has(struct line l, const char *what) {
	return memmem(l.s, l.n, what, strlen(what)) != NULL;
}

static bool starts(struct line l, const char *what) {
	return l.n >= strlen(what) && !memcmp(l.s, what, strlen(what));
}

/* Lines that explain nothing. */
static bool is_noise(struct line l) {
	return !l.n || starts(l, "Warning: Permanently added") || starts(l, "Killed by signal");
}

/* ... and those that only repeat that something went wrong. */
static bool is_weak(struct line l) {
	return has(l, "closed by UNKNOWN") || has(l, "reset by UNKNOWN") ||
	       starts(l, "kex_exchange_identification:") ||
	       starts(l, "ssh_exchange_identification:") || starts(l, "banner exchange:") ||
	       starts(l, "Disconnected from ");
}

/* Said by ssh's last function, of the peer or of a proxy's. */
static bool is_hung_up(struct line l) {
	if (starts(l, "connect to host ")) return has(l, ": Connection reset by peer");
	return starts(l, "Connection closed by ") || starts(l, "Connection reset by ");
}

struct said { /* the telling lines, n 0 where there was none */
	struct line last, hung_up, weak, denied, load, host_key, keygen, offending, changed;
};

static void sort_in(struct said *s, struct line l) {
	if (starts(l, "ssh-keygen ")) s->keygen = l;
	else if (starts(l, "Offending ")) s->offending = l;
	else if (has(l, " has changed and you have requested strict checking")) s->changed = l;
	else if (has(l, "host key is known for") || has(l, "HOST KEY DETECTED") ||
		 (has(l, "Host key verification failed") && !s->host_key.n))
		s->host_key = l;
	else if (starts(l, "Load key ") || starts(l, "sign_and_send_pubkey")) s->load = l;
	else if (has(l, "Permission denied") || has(l, "Too many authentication failures"))
		s->denied = l;
	else if (is_weak(l)) s->weak = l;
	else if (is_hung_up(l)) s->hung_up = l;
	else if (!is_noise(l)) s->last = l;
}

static int tell(struct cube_err *err, int code, const char *before, struct line l) {
	struct cube_buf safe;
	cube_buf_init(&safe, 4 * SHOWN_MAX + 1);
	cube_text_escape(&safe, l.s, l.n > SHOWN_MAX ? SHOWN_MAX : l.n);
	cube_fail(err, code, "%s%s", before, cube_buf_str(&safe));
	cube_buf_done(&safe);
	return code;
}

/* "Offending ED25519 key in FILE:7" and "Host key for NAME has changed ...", where ssh does not say
 * the command itself (Debian's does). */
static int tell_changed(const struct said *s, struct cube_err *err) {
	static const char HEAD[] = "HOST KEY CHANGED; if that is right: ";
	static const char FOR[] = "ost key for ", IN[] = " key in ";
	if (s->keygen.n) return tell(err, CUBE_EHOSTKEY, HEAD, s->keygen);
	const char *name = memmem(s->changed.s, s->changed.n, FOR, sizeof FOR - 1);
	const char *end = memmem(s->changed.s, s->changed.n, " has changed", 12);
	const char *file = s->offending.n ? memmem(s->offending.s, s->offending.n, IN, 8) : NULL;
	const char *colon =
		file ? memrchr(file, ':', (size_t)(s->offending.s + s->offending.n - file)) : NULL;
	if (!name || !end || !colon || name + sizeof FOR - 1 > end || file + 8 > colon)
		return tell(err, CUBE_EHOSTKEY, "HOST KEY CHANGED: ", s->changed);
	struct cube_buf command;
	cube_buf_init(&command, 8192);
	name += sizeof FOR - 1;
	file += 8;
	cube_buf_printf(&command, "ssh-keygen -R '%.*s' -f '%.*s'", (int)(end - name), name,
			(int)(colon - file), file);
	int rc = tell(err, CUBE_EHOSTKEY, HEAD,
		      (struct line){cube_buf_str(&command), cube_buf_len(&command)});
	cube_buf_done(&command);
	return rc;
}

/* "Permission denied (gssapi-keyex,gssapi-with-mic)." */
static bool wants_ticket(struct line l) {
	static const char METHOD[] = "gssapi-";
	const char *p = memchr(l.s, '(', l.n), *end = l.s + l.n;
	while (p && ++p < end) {
		size_t n = (size_t)(end - p);
		if (n < sizeof METHOD || memcmp(p, METHOD, sizeof METHOD - 1) != 0) return false;
		const char *comma = memchr(p, ',', n);
		if (!comma) return memchr(p, ')', n) != NULL;
		p = comma;
	}
	return false;
}

/* A key that could not be used is often why. Where tickets are all that counts, a person has to get
 * one; ssh does not say why the one there is was not good enough. */
static int tell_denied(const struct said *s, struct cube_err *err) {
	struct cube_err denied, key;
	tell(&denied, CUBE_EAUTH, "", s->denied);
	if (wants_ticket(s->denied))
		return cube_fail(err, CUBE_ELOGIN,
				 "%.*s: no valid Kerberos ticket, or not one for it; `kinit` gets "
				 "one, `klist` shows them",
				 (int)strcspn(denied.msg, ")") + 1, denied.msg);
	if (!s->load.n) {
		*err = denied;
		return CUBE_EAUTH;
	}
	tell(&key, CUBE_EAUTH, "", s->load);
	return cube_fail(err, CUBE_EAUTH, "%s; %s", denied.msg, key.msg);
}

int cube_ssh_says(const char *text, size_t n, struct cube_err *err) {
	struct said s = {0};
	struct line l;
	while (next(&text, &n, &l)) sort_in(&s, l);
	if (s.changed.n) return tell_changed(&s, err);
	if (s.host_key.n) return tell(err, CUBE_EHOSTKEY, "", s.host_key);
	if (s.denied.n) return tell_denied(&s, err);
	if (s.last.n) return tell(err, CUBE_ECONNECT, "", s.last);
	if (s.hung_up.n) return tell(err, CUBE_ECONNECT, "", s.hung_up);
	if (s.weak.n) return tell(err, CUBE_ECONNECT, "", s.weak);
	if (s.load.n) return tell(err, CUBE_ECONNECT, "", s.load);
	return cube_fail(err, CUBE_ECONNECT, "it ended and did not say why");
}

int cube_ssh_says_late(const char *host, const char *program, uint64_t timeout_ns, const char *why,
		       struct cube_err *err) {
	return cube_fail(err, CUBE_ETIMEOUT,
			 "connecting to %.80s by %.40s timed out after %g s%s%s", host, program,
			 (double)timeout_ns / (double)CUBE_NS_PER_S, *why ? "; " : "", why);
}

/* "kex_exchange_identification: Connection closed by remote host" until OpenSSH 9.7, and what
 * follows from it; from 9.8 on the latter alone. A proxy that could not connect makes ssh say the
 * same, but says more itself. */
bool cube_ssh_says_dropped(const char *text, size_t n) {
	static const char *const WORDS[] = {"closed by remote host", "Connection reset by peer",
					    "Broken pipe", "Exceeded MaxStartups"};
	bool dropped = false;
	struct line l;
	while (next(&text, &n, &l)) {
		bool word = false;
		if (is_noise(l)) continue;
		if (is_hung_up(l)) {
			dropped = true;
			continue;
		}
		for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++)
			word |= has(l, WORDS[i]);
		if (!is_weak(l) || !word) return false;
		dropped = true;
	}
	return dropped;
}

/* As ssh says it of the control socket it was to go over, and what follows from that. */
bool cube_ssh_says_refused(const char *text, size_t n, struct cube_err *err) {
	static const char *const WORDS[] = {"session request failed: ",
					    "Master refused session request: "};
	struct line l;
	while (next(&text, &n, &l)) {
		for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
			const char *at = memmem(l.s, l.n, WORDS[i], strlen(WORDS[i]));
			if (!at) continue;
			at += strlen(WORDS[i]);
			tell(err, CUBE_ECONNECT,
			     "the server refuses a session (MaxSessions in its sshd_config, or an "
			     "account for tunnels only): ",
			     (struct line){at, (size_t)(l.s + l.n - at)});
			return true;
		}
	}
	return false;
}

bool cube_ssh_says_no_master(const char *text, size_t n) {
	struct line l, last = {0};
	while (next(&text, &n, &l))
		if (!is_noise(l)) last = l;
	return starts(last, "Connection closed by UNKNOWN port ");
}
