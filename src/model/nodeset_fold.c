/* Folding names into ranges. A pass takes one number of each name, the last first: names that are
 * equal but for that number become one item. What is left alone goes into the next pass. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"
#include "nodeset_internal.h"

enum { PASSES = 8, DIGITS = 18 };

/* A name split at one of its numbers: before | digits | after. len 0: no number, all before. */
struct part {
	const char *name;
	size_t size; /* of the name */
	size_t at, len;
	uint64_t value;
	bool done;  /* in an item already */
	size_t run; /* how many parts the item has that begins here; 0 inside one */
};

static bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

/* Where the part that may hold ranges ends: before the port; nowhere in an IPv6 address. */
static size_t foldable(const char *name, size_t size) {
	size_t n = size;

	if (*name == '[') return 0;
	while (n > 0 && is_digit(name[n - 1])) n--;
	return n > 0 && n < size && name[n - 1] == ':' ? n - 1 : size;
}

/* Splits at the number `back` numbers before the last; false where there are not so many. Numbers
 * too long for a range do not count. */
static bool split(struct part *p, unsigned back) {
	size_t end = foldable(p->name, p->size);

	p->len = 0;
	p->at = p->size;
	while (end > 0) {
		size_t start;

		while (end > 0 && !is_digit(p->name[end - 1])) end--;
		for (start = end; start > 0 && is_digit(p->name[start - 1]);) start--;
		if (end > start && end - start <= DIGITS && back-- == 0) {
			p->at = start;
			p->len = end - start;
			p->value = 0;
			for (size_t i = start; i < end; i++)
				p->value = p->value * 10 + (uint64_t)(p->name[i] - '0');
			return true;
		}
		end = start;
	}
	return false;
}

static int compare_bytes(const char *a, size_t na, const char *b, size_t nb) {
	int c = memcmp(a, b, na < nb ? na : nb);

	return c ? c : na < nb ? -1 : na > nb;
}

static int compare_frame(const struct part *a, const struct part *b) {
	size_t after_a = a->at + a->len, after_b = b->at + b->len;
	int c = compare_bytes(a->name, a->at, b->name, b->at);

	if (c) return c;
	return compare_bytes(a->name + after_a, a->size - after_a, b->name + after_b,
			     b->size - after_b);
}

static int compare_number(const struct part *a, const struct part *b) {
	if (a->value != b->value) return a->value < b->value ? -1 : 1;
	return a->len < b->len ? -1 : a->len > b->len;
}

static int by_frame(const void *va, const void *vb) {
	const struct part *a = va, *b = vb;
	int c;

	if (!a->len != !b->len) return a->len ? -1 : 1;
	c = compare_frame(a, b);
	return c ? c : compare_number(a, b);
}

/* Text in the order people count: digits by their number. */
static int compare_natural(const char *a, size_t na, const char *b, size_t nb) {
	size_t i = 0, k = 0;

	while (i < na && k < nb) {
		size_t ei = i, ek = k;

		if (!is_digit(a[i]) || !is_digit(b[k])) {
			if (a[i] != b[k]) return (unsigned char)a[i] < (unsigned char)b[k] ? -1 : 1;
			i++, k++;
			continue;
		}
		while (i < na && a[i] == '0') i++;
		while (k < nb && b[k] == '0') k++;
		for (ei = i; ei < na && is_digit(a[ei]);) ei++;
		for (ek = k; ek < nb && is_digit(b[ek]);) ek++;
		if (ei - i != ek - k) return ei - i < ek - k ? -1 : 1;
		for (; i < ei; i++, k++)
			if (a[i] != b[k]) return a[i] < b[k] ? -1 : 1;
	}
	if (i < na || k < nb) return i < na ? 1 : -1;
	return compare_bytes(a, na, b, nb);
}

static int by_output(const void *va, const void *vb) {
	const struct part *a = va, *b = vb;
	int c = compare_natural(a->name, a->at, b->name, b->at);

	if (c == 0) c = compare_number(a, b);
	return c ? c : compare_frame(a, b);
}

/* Joins neighbours of the sorted n parts that make an item into runs. */
static void join(struct part *parts, size_t n) {
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && parts[i].len && parts[k].len &&
				compare_frame(&parts[i], &parts[k]) == 0;)
			k++;
		if (k - i < 2) continue;
		parts[i].run = k - i;
		for (size_t m = i; m < k; m++) parts[m].done = true;
	}
}

static int by_name(const void *va, const void *vb) {
	const struct part *a = va, *b = vb;

	return compare_bytes(a->name, a->size, b->name, b->size);
}

/* Copies the names' parts without doubles; returns how many. */
static size_t collect(struct part *parts, const char *const *names, size_t n) {
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		parts[i] = (struct part){.name = names[i], .size = strlen(names[i])};
	if (n) qsort(parts, n, sizeof *parts, by_name);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || by_name(&parts[i], &parts[len - 1]) != 0) parts[len++] = parts[i];
	return len;
}

/* Whether b's digits are what counting on from a prints, in a range that began with first. */
static bool follows(const struct part *first, const struct part *a, const struct part *b) {
	bool padded = first->len > 1 && first->name[first->at] == '0';

	if (b->value != a->value + 1) return false;
	if (b->name[b->at] == '0' && b->len > 1) return padded && b->len == first->len;
	return !padded || b->len >= first->len;
}

static int put_number(struct cube_buf *out, const struct part *p) {
	return cube_buf_add(out, p->name + p->at, p->len);
}

static int put_ranges(struct cube_buf *out, const struct part *p, size_t n) {
	int rc = 0;

	for (size_t i = 0, k; i < n && rc == 0; i = k) {
		for (k = i + 1; k < n && follows(&p[i], &p[k - 1], &p[k]);) k++;
		if (i > 0) rc = cube_buf_add(out, ",", 1);
		if (rc == 0) rc = put_number(out, &p[i]);
		if (rc == 0 && k - i > 1) rc = cube_buf_add(out, "-", 1);
		if (rc == 0 && k - i > 1) rc = put_number(out, &p[k - 1]);
	}
	return rc;
}

static int put_item(struct cube_buf *out, const struct part *p, size_t n) {
	size_t after = p->at + p->len;
	int rc;

	if (n < 2) return cube_buf_add(out, p->name, p->size);
	rc = cube_buf_add(out, p->name, p->at);
	if (rc == 0) rc = cube_buf_add(out, "[", 1);
	if (rc == 0) rc = put_ranges(out, p, n);
	if (rc == 0) rc = cube_buf_add(out, "]", 1);
	if (rc == 0) rc = cube_buf_add(out, p->name + after, p->size - after);
	return rc;
}

/* An item in the order of print; the parts stay where the passes left them. */
struct item {
	struct part head;
	const struct part *parts;
};

static int by_item(const void *va, const void *vb) {
	const struct item *a = va, *b = vb;

	return by_output(&a->head, &b->head);
}

static size_t make_items(struct item *items, struct part *parts, size_t n) {
	size_t count = 0;

	for (size_t i = 0; i < n; i += parts[i].run) {
		if (!parts[i].run) { /* stayed alone */
			parts[i].run = 1;
			split(&parts[i], 0);
		}
		items[count++] = (struct item){.head = parts[i], .parts = &parts[i]};
	}
	qsort(items, count, sizeof *items, by_item);
	return count;
}

static void run_passes(struct part *parts, size_t n) {
	size_t left = n;

	for (unsigned pass = 0; pass < PASSES && left > 1; pass++) {
		size_t folded = 0, numbered = 0;
		struct part *p = parts + (n - left);

		for (size_t i = 0; i < left; i++) numbered += split(&p[i], pass);
		if (numbered == 0) break;
		qsort(p, left, sizeof *p, by_frame);
		join(p, left);
		/* What was folded moves to the front, whole runs and in their order. */
		struct part *rest = cube_realloc_array(NULL, left, sizeof *rest);
		size_t nrest = 0;

		for (size_t i = 0; i < left; i++)
			if (p[i].done) p[folded++] = p[i];
			else rest[nrest++] = p[i];
		memcpy(p + folded, rest, nrest * sizeof *rest);
		free(rest);
		left -= folded;
	}
}

int cube_nodeset_fold(const char *const *names, size_t n, struct cube_buf *out) {
	size_t before = cube_buf_len(out), count;
	struct part *parts;
	struct item *items;
	int rc = 0;

	if (n == 0) return 0;
	parts = cube_realloc_array(NULL, n, sizeof *parts);
	n = collect(parts, names, n);
	run_passes(parts, n);
	items = cube_realloc_array(NULL, n, sizeof *items);
	count = make_items(items, parts, n);
	for (size_t i = 0; i < count && rc == 0; i++) {
		if (i > 0) rc = cube_buf_add(out, ",", 1);
		if (rc == 0) rc = put_item(out, items[i].parts, items[i].head.run);
	}
	if (rc < 0) cube_buf_truncate(out, before);
	free(items);
	free(parts);
	return rc;
}
