#include <inttypes.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/format.h"
#include "cube/parse.h"

/* A piece of the user's text for a message: quoted, and cut so that the rest of it fits. */
struct quoted {
	char s[72];
};

static const char *quote(struct quoted *q, const char *s) {
	size_t len = strnlen(s, 61), cut = len;

	if (len > 60)
		for (cut = 57; cut > 0 && ((uint8_t)s[cut] & 0xc0) == 0x80;) cut--;
	cube_format(q->s, sizeof q->s, "\"%.*s%s\"", (int)cut, s, cut < len ? "..." : "");
	return q->s;
}

static bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

/* Reads digits at *s and steps over them; false where there are none, or they exceed 64 bits. */
static bool read_digits(const char **s, uint64_t *ret) {
	const char *p = *s;
	uint64_t v = 0;

	if (!is_digit(*p)) return false;
	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	*s = p;
	*ret = v;
	return true;
}

int cube_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret, struct cube_err *err) {
	const char *p = s;
	struct quoted q;
	uint64_t v;

	if (read_digits(&p, &v) && *p == '\0' && v >= min && v <= max) {
		*ret = v;
		return 0;
	}
	return cube_fail(err, CUBE_EUSAGE, "%s is not a whole number from %" PRIu64 " to %" PRIu64,
			 quote(&q, s), min, max);
}

/* A number as written: whole part, and the n digits behind the point. */
struct decimal {
	uint64_t whole;
	const char *digits;
	size_t n;
};

static bool read_decimal(const char **s, struct decimal *d) {
	d->n = 0;
	if (!read_digits(s, &d->whole)) return false;
	if (**s != '.') return true;
	d->digits = ++*s;
	while (is_digit(**s)) ++*s;
	d->n = (size_t)(*s - d->digits);
	return d->n > 0;
}

/* d * unit rounded down, exactly and without floating point; unit <= 2^60. False when it exceeds
 * 64 bits, or asks for a part of the smallest unit. */
static bool scale(const struct decimal *d, uint64_t unit, uint64_t *ret) {
	uint64_t part = 0, v;

	if (d->n && unit == 1) return false;
	for (size_t i = d->n; i-- > 0;) part = ((uint64_t)(d->digits[i] - '0') * unit + part) / 10;
	if (__builtin_mul_overflow(d->whole, unit, &v) || __builtin_add_overflow(v, part, &v))
		return false;
	*ret = v;
	return true;
}

static const struct {
	char name[4];
	uint64_t ns;
} time_units[] = {
	{"d", 86400 * CUBE_NS_PER_S},
	{"h", 3600 * CUBE_NS_PER_S},
	{"m", 60 * CUBE_NS_PER_S},
	{"s", CUBE_NS_PER_S},
	{"ms", CUBE_NS_PER_MS},
	{"us", 1000},
	{"ns", 1},
};
enum { TIME_UNITS = sizeof time_units / sizeof time_units[0], TIME_UNIT_S = 3 };

/* The unit at *s, which is stepped over, or TIME_UNITS. */
static size_t read_time_unit(const char **s) {
	size_t len = 0;

	while ((*s)[len] >= 'a' && (*s)[len] <= 'z') len++;
	for (size_t i = 0; i < TIME_UNITS; i++)
		if (strlen(time_units[i].name) == len && !memcmp(time_units[i].name, *s, len)) {
			*s += len;
			return i;
		}
	return TIME_UNITS;
}

static bool read_duration(const char *s, uint64_t *ret_ns) {
	const uint64_t most = 3650 * 86400 * CUBE_NS_PER_S;
	uint64_t sum = 0, part;
	size_t next = 0; /* units go from large to small, each at most once */
	bool first = true;

	do {
		struct decimal d;
		size_t unit = TIME_UNIT_S;

		if (!read_decimal(&s, &d)) return false;
		if (*s != '\0' || !first) unit = read_time_unit(&s);
		if (unit == TIME_UNITS || unit < next) return false;
		if (!scale(&d, time_units[unit].ns, &part) || part > most) return false;
		sum += part;
		if (sum > most) return false;
		next = unit + 1;
		first = false;
	} while (*s != '\0');
	*ret_ns = sum;
	return true;
}

int cube_parse_duration(const char *s, uint64_t *ret_ns, struct cube_err *err) {
	struct quoted q;

	if (read_duration(s, ret_ns)) return 0;
	return cube_fail(err, CUBE_EUSAGE,
			 "%s is not a duration such as 90s, 10m, 1h30m, 250ms or 1.5s "
			 "(units d h m s ms us ns, at most 3650d)",
			 quote(&q, s));
}

static char lower(char c) {
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool read_size(const char *s, uint64_t *ret) {
	static const char prefixes[] = "kmgtpe";
	const char *at;
	struct decimal d;
	unsigned shift = 0;

	if (!read_decimal(&s, &d)) return false;
	at = *s ? strchr(prefixes, lower(*s)) : NULL;
	if (at) {
		shift = 10 * (unsigned)(at - prefixes + 1);
		s++;
		if (lower(s[0]) == 'i' && lower(s[1]) == 'b') s++;
	}
	if (lower(*s) == 'b') s++;
	return *s == '\0' && scale(&d, (uint64_t)1 << shift, ret);
}

int cube_parse_size(const char *s, uint64_t *ret_bytes, struct cube_err *err) {
	struct quoted q;

	if (read_size(s, ret_bytes)) return 0;
	return cube_fail(err, CUBE_EUSAGE,
			 "%s is not a size such as 100, 512k, 64m, 1.5g or 2TiB (powers of 1024, "
			 "less than 16e)",
			 quote(&q, s));
}

char *cube_format_duration(uint64_t ns, char *buf, size_t size) {
	uint64_t s = ns / CUBE_NS_PER_S;

	if (ns == 0) cube_format(buf, size, "0 s");
	else if (ns < 1000) cube_format(buf, size, "%u ns", (unsigned)ns);
	else if (ns < CUBE_NS_PER_MS) cube_format(buf, size, "%u us", (unsigned)(ns / 1000));
	else if (s == 0) cube_format(buf, size, "%u ms", (unsigned)(ns / CUBE_NS_PER_MS));
	else if (s < 60)
		cube_format(buf, size, "%u.%u s", (unsigned)s,
			    (unsigned)(ns / (CUBE_NS_PER_S / 10) % 10));
	else if (s < 3600) cube_format(buf, size, "%um %02us", (unsigned)s / 60, (unsigned)s % 60);
	else if (s < 86400)
		cube_format(buf, size, "%uh %02um", (unsigned)s / 3600, (unsigned)s / 60 % 60);
	else cube_format(buf, size, "%" PRIu64 "d %uh", s / 86400, (unsigned)(s / 3600 % 24));
	return buf;
}

char *cube_format_size(uint64_t bytes, char *buf, size_t size) {
	unsigned unit = 0, shift, tenths;

	while (unit < 6 && bytes >> (10 * (unit + 1))) unit++;
	if (unit == 0) {
		cube_format(buf, size, "%u B", (unsigned)bytes);
		return buf;
	}
	shift = 10 * unit;
	tenths = (unsigned)(((bytes & (((uint64_t)1 << shift) - 1)) * 10) >> shift);
	cube_format(buf, size, "%u.%u %cB", (unsigned)(bytes >> shift), tenths, "KMGTPE"[unit - 1]);
	return buf;
}

enum { WORD_MAX = 63 };

static unsigned min_of(unsigned a, unsigned b) {
	return a < b ? a : b;
}

/* Edit distance of two words of at most WORD_MAX bytes; two neighbours swapped count one. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb) {
	uint8_t rows[3][WORD_MAX + 1];
	uint8_t *before = rows[0], *above = rows[1], *row = rows[2], *spare;

	for (size_t j = 0; j <= nb; j++) above[j] = before[j] = (uint8_t)j;
	for (size_t i = 1; i <= na; i++) {
		row[0] = (uint8_t)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);

			best = min_of(best, min_of(above[j], row[j - 1]) + 1u);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = min_of(best, before[j - 2] + 1u);
			row[j] = (uint8_t)best;
		}
		spare = before, before = above, above = row, row = spare;
	}
	return above[nb];
}

const char *cube_parse_nearest(const char *word, const char *const *candidates) {
	size_t len = strlen(word);
	unsigned least = 2 + (unsigned)min_of((unsigned)(len / 4), WORD_MAX);
	const char *found = NULL;

	if (len > WORD_MAX) return NULL;
	for (; *candidates; candidates++) {
		size_t n = strnlen(*candidates, WORD_MAX + 1);
		unsigned d = n > WORD_MAX ? least : distance(word, len, *candidates, n);

		if (d < least) {
			least = d;
			found = *candidates;
		}
	}
	return found;
}
