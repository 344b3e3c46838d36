/* One term of a host expression: user@name[ranges]:port. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cube/format.h"
#include "cube/mem.h"
#include "nodeset_internal.h"
#include "quote.h"

struct scan {
	const char *text;
	size_t n, at, from, column;
	struct cube_err *err;
};

static bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

static bool is_name_char(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '.' ||
	       c == '_' || c == '-';
}

/* A leading dash would be an option to whoever passes the name on. */
static bool may_begin(char c) {
	return is_name_char(c) && c != '-' && c != '.';
}

static bool is_user_char(char c) {
	return is_name_char(c) || c == '+';
}

bool cube_term_is_user(const char *user) {
	size_t n = strlen(user);

	if (n == 0 || n > CUBE_NODESET_NAME || !may_begin(*user)) return false;
	while (*user && is_user_char(*user)) user++;
	return *user == '\0';
}

bool cube_term_ends(char c) {
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == '!' ||
	       c == '&' || c == '^';
}

static bool is_gap(char c) {
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int cube_nodeset_bad(struct cube_err *err, int code, const char *text, size_t n, size_t from,
		     size_t at, size_t column, const char *why) {
	struct cube_quote q;
	bool inside = false;
	size_t end;

	for (end = from; end < n && !is_gap(text[end]); end++) {
		if (text[end] == '[') inside = true;
		if (text[end] == ']') inside = false;
		if (text[end] == ',' && !inside && end > from) break;
	}
	return cube_fail(err, code, "%s at column %zu: %s",
			 cube_quote_n(&q, text + from, end - from), column + at, why);
}

static int bad_at(struct scan *s, size_t at, const char *why) {
	return cube_nodeset_bad(s->err, CUBE_EUSAGE, s->text, s->n, s->from, at, s->column, why);
}

static int bad(struct scan *s, const char *why) {
	return bad_at(s, s->at, why);
}

static int too_big(struct scan *s, const char *why) {
	return cube_nodeset_bad(s->err, CUBE_ETOOBIG, s->text, s->n, s->from, s->from, s->column,
				why);
}

static char peek(const struct scan *s) {
	return s->at < s->n ? s->text[s->at] : '\0';
}

static bool take(struct scan *s, char c) {
	if (s->at >= s->n || s->text[s->at] != c) return false;
	s->at++;
	return true;
}

/* A number of at most 18 digits; *ret_len tells how many. */
static int take_number(struct scan *s, uint64_t *ret, size_t *ret_len) {
	size_t start = s->at;
	uint64_t v = 0;

	for (; s->at < s->n && is_digit(s->text[s->at]); s->at++) {
		if (s->at - start == 18) return bad_at(s, start, "the number is too long");
		v = v * 10 + (uint64_t)(s->text[s->at] - '0');
	}
	if (s->at == start)
		return bad(s, s->at == s->n ? "it ends where a number is expected"
					    : "a number is expected here");
	*ret = v;
	*ret_len = s->at - start;
	return 0;
}

/* lo, lo-hi or lo-hi/step */
static int take_range(struct scan *s, struct cube_term_range *r) {
	size_t start = s->at, lo_len, hi_len, len;
	bool padded;
	int rc;

	*r = (struct cube_term_range){.step = 1};
	if ((rc = take_number(s, &r->lo, &lo_len)) < 0) return rc;
	r->hi = r->lo;
	padded = lo_len > 1 && s->text[start] == '0';
	if (padded) r->width = (unsigned)lo_len;
	if (!take(s, '-')) return 0;
	start = s->at;
	if ((rc = take_number(s, &r->hi, &hi_len)) < 0) return rc;
	if (hi_len > 1 && s->text[start] == '0' && (!padded || hi_len != lo_len))
		return bad_at(s, start, "both ends need the same number of digits");
	if (r->hi < r->lo) return bad_at(s, start, "the range runs backwards");
	if (!take(s, '/')) return 0;
	start = s->at;
	if ((rc = take_number(s, &r->step, &len)) < 0) return rc;
	return r->step ? 0 : bad_at(s, start, "a step of 0");
}

static size_t range_count(const struct cube_term_range *r) {
	uint64_t n = (r->hi - r->lo) / r->step;

	return n < CUBE_NODESET_HOSTS ? (size_t)n + 1 : CUBE_NODESET_HOSTS + 1;
}

/* The list between brackets, behind '['. *ret_total: how many numbers it holds. */
static int take_ranges(struct scan *s, struct cube_term *t, size_t *ret_total) {
	size_t total = 0;

	do {
		struct cube_term_range r;
		int rc = take_range(s, &r);

		if (rc < 0) return rc;
		total += range_count(&r);
		if (total > CUBE_NODESET_HOSTS) return too_big(s, "more than 100000 hosts");
		if (t->nranges == 0 || (t->nranges >= 4 && !(t->nranges & (t->nranges - 1)))) {
			size_t cap = t->nranges ? t->nranges * 2 : 4;

			t->ranges = cube_realloc_array(t->ranges, cap, sizeof *t->ranges);
		}
		t->ranges[t->nranges++] = r;
	} while (take(s, ','));
	if (!take(s, ']'))
		return bad(s, s->at == s->n ? "the bracket is not closed"
					    : "only numbers, - / and , belong in brackets");
	*ret_total = total;
	return 0;
}

static int take_pattern(struct scan *s, struct cube_term *t) {
	size_t start = s->at;

	if (peek(s) != '[' && s->at < s->n && is_name_char(peek(s)) && !may_begin(peek(s)))
		return bad(s, "a name begins with a letter, a digit or _");
	for (;;) {
		struct cube_term_piece *piece = &t->piece[t->pieces];
		size_t total = 0;
		int rc;

		*piece = (struct cube_term_piece){.text = s->text + s->at};
		while (s->at < s->n && is_name_char(peek(s))) s->at++;
		piece->len = (size_t)(s->text + s->at - piece->text);
		t->pieces++;
		if (!take(s, '[')) break;
		if (t->pieces > CUBE_NODESET_RANGES)
			return too_big(s, "more than 16 ranges in one name");
		piece->first = t->nranges;
		if ((rc = take_ranges(s, t, &total)) < 0) return rc;
		piece->count = t->nranges - piece->first;
		if (__builtin_mul_overflow(t->total, total, &t->total) ||
		    t->total > CUBE_NODESET_HOSTS)
			return too_big(s, "more than 100000 hosts");
	}
	return s->at == start ? bad(s, "a host name is missing") : 0;
}

/* An IPv6 address in brackets; *ret_found false where there is none. */
static int take_v6(struct scan *s, struct cube_term *t, bool *ret_found) {
	const char *open = s->text + s->at, *close = NULL;
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;
	size_t len;

	*ret_found = false;
	if (peek(s) != '[') return 0;
	close = memchr(open, ']', s->n - s->at);
	if (!close || !memchr(open, ':', (size_t)(close - open))) return 0;
	len = (size_t)(close - open) - 1;
	if (len < sizeof text) {
		memcpy(text, open + 1, len);
		text[len] = '\0';
	}
	if (len >= sizeof text || memchr(text, '\0', len) || inet_pton(AF_INET6, text, &addr) != 1)
		return bad(s, "not an IPv6 address");
	t->v6 = *ret_found = true;
	t->piece[t->pieces++] = (struct cube_term_piece){.text = open + 1, .len = len};
	s->at += len + 2;
	return 0;
}

static int take_user(struct scan *s, struct cube_term *t) {
	size_t end = s->at;

	while (end < s->n && is_user_char(s->text[end])) end++;
	if (end == s->n || s->text[end] != '@') return 0;
	if (end > s->at && !may_begin(peek(s)))
		return bad(s, "a user begins with a letter, a digit or _");
	if (end == s->at) return bad(s, "the user is missing");
	if (end - s->at > CUBE_NODESET_NAME) return too_big(s, "a user longer than 255 bytes");
	t->user = s->text + s->at;
	t->user_len = end - s->at;
	s->at = end + 1;
	return 0;
}

static int take_port(struct scan *s, struct cube_term *t) {
	size_t start, len;
	uint64_t v;
	int rc;

	if (!take(s, ':')) return 0;
	start = s->at;
	if ((rc = take_number(s, &v, &len)) < 0) return rc;
	if (v < 1 || v > UINT16_MAX) return bad_at(s, start, "a port is a number from 1 to 65535");
	t->port = (uint16_t)v;
	return 0;
}

/* localhost without user and port is no ssh host; *N makes several of it. */
static int take_local(struct scan *s, struct cube_term *t) {
	const struct cube_term_piece *p = &t->piece[0];
	bool plain = t->pieces == 1 && !t->v6 && !t->user_len && !t->port && p->len == 9 &&
		     !memcmp(p->text, "localhost", 9);
	size_t start, len;
	uint64_t v;
	int rc;

	t->local = plain;
	if (peek(s) != '*') return 0;
	if (!plain) return bad(s, "only localhost can be multiplied");
	start = ++s->at;
	if ((rc = take_number(s, &v, &len)) < 0) return rc;
	if (v == 0) return bad_at(s, start, "no hosts at all");
	if (v > CUBE_NODESET_HOSTS) return too_big(s, "more than 100000 hosts");
	t->repeat = (uint32_t)v;
	t->total = (size_t)v;
	return 0;
}

int cube_term_parse(struct cube_term *t, const char *text, size_t n, size_t *at, size_t column,
		    struct cube_err *err) {
	struct scan s = {
		.text = text, .n = n, .at = *at, .from = *at, .column = column, .err = err};
	bool found;
	int rc;

	*t = (struct cube_term){.total = 1, .word = text + *at, .column = column + *at};
	if ((rc = take_user(&s, t)) < 0) return rc;
	if ((rc = take_v6(&s, t, &found)) < 0) return rc;
	if (!found && (rc = take_pattern(&s, t)) < 0) return rc;
	if ((rc = take_port(&s, t)) < 0) return rc;
	if ((rc = take_local(&s, t)) < 0) return rc;
	if (s.at < n && !cube_term_ends(text[s.at]))
		return bad(&s, "this character cannot be in a host name");
	t->word_len = s.at - *at;
	*at = s.at;
	return 0;
}

void cube_term_done(struct cube_term *t) {
	free(t->ranges);
	t->ranges = NULL;
}

void cube_host_done(struct cube_host *host) {
	free(host->name);
	free(host->host);
	free(host->user);
	*host = (struct cube_host){0};
}

/* Where the counting stands: per piece its range and the number in it. */
struct odometer {
	size_t range[CUBE_NODESET_RANGES + 1];
	uint64_t value[CUBE_NODESET_RANGES + 1];
};

static void odometer_start(struct odometer *o, const struct cube_term *t, size_t i) {
	o->range[i] = t->piece[i].first;
	if (t->piece[i].count) o->value[i] = t->ranges[o->range[i]].lo;
}

/* To the next combination, rightmost fastest; false after the last. */
static bool odometer_step(struct odometer *o, const struct cube_term *t) {
	for (size_t i = t->pieces; i-- > 0;) {
		const struct cube_term_piece *p = &t->piece[i];
		const struct cube_term_range *r;

		if (!p->count) continue;
		r = &t->ranges[o->range[i]];
		if (r->hi - o->value[i] >= r->step) {
			o->value[i] += r->step;
			return true;
		}
		if (++o->range[i] < p->first + p->count) {
			o->value[i] = t->ranges[o->range[i]].lo;
			return true;
		}
		odometer_start(o, t, i);
	}
	return false;
}

/* The name at the odometer into buf of CUBE_NODESET_NAME + 1 bytes; false when it is longer. */
static bool write_name(const struct cube_term *t, const struct odometer *o, char *buf) {
	size_t len = 0, size = CUBE_NODESET_NAME + 1;

	for (size_t i = 0; i < t->pieces; i++) {
		const struct cube_term_piece *p = &t->piece[i];

		if (p->len >= size - len) return false;
		memcpy(buf + len, p->text, p->len);
		len += p->len;
		if (p->count) {
			int w = (int)t->ranges[o->range[i]].width;
			int n = cube_format(buf + len, size - len, "%0*" PRIu64, w, o->value[i]);

			if (n < 0 || (size_t)n >= size - len) return false;
			len += (size_t)n;
		}
	}
	buf[len] = '\0';
	return true;
}

/* What the host is called: unlike the address, with brackets and port. */
static char *full_name(const struct cube_term *t, const char *host) {
	const char *open = t->v6 ? "[" : "", *close = t->v6 ? "]" : "";

	if (t->port) return cube_strf("%s%s%s:%u", open, host, close, (unsigned)t->port);
	return cube_strf("%s%s%s", open, host, close);
}

static int local_each(const struct cube_term *t,
		      int (*fn)(void *arg, struct cube_host *host, struct cube_err *err), void *arg,
		      struct cube_err *err) {
	for (uint32_t i = 1; i <= (t->repeat ? t->repeat : 1); i++) {
		struct cube_host host = {.local = true, .host = cube_strdup("")};
		int rc;

		host.name =
			t->repeat ? cube_strf("localhost-%" PRIu32, i) : cube_strdup("localhost");
		if ((rc = fn(arg, &host, err)) != 0) return rc;
	}
	return 0;
}

int cube_term_each(const struct cube_term *t,
		   int (*fn)(void *arg, struct cube_host *host, struct cube_err *err), void *arg,
		   struct cube_err *err) {
	struct odometer o;
	int rc;

	if (t->local) return local_each(t, fn, arg, err);
	for (size_t i = 0; i < t->pieces; i++) odometer_start(&o, t, i);
	do {
		char buf[CUBE_NODESET_NAME + 1];
		struct cube_host host = {.port = t->port};
		bool fits = write_name(t, &o, buf);

		if (fits) {
			host.name = full_name(t, buf);
			fits = strlen(host.name) <= CUBE_NODESET_NAME;
		}
		if (!fits) {
			cube_host_done(&host);
			return cube_nodeset_bad(err, CUBE_ETOOBIG, t->word, t->word_len, 0, 0,
						t->column, "a host name longer than 255 bytes");
		}
		host.host = cube_strdup(buf);
		if (t->user_len) host.user = cube_strndup(t->user, t->user_len);
		if ((rc = fn(arg, &host, err)) != 0) return rc;
	} while (odometer_step(&o, t));
	return 0;
}
