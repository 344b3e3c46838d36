#include "render.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cube/mem.h"
#include "cube/parse.h"
#include "cube/text.h"
#include "writeout.h"

#define CELL_MAX (64u << 10)
#define COLUMNS  32
#define GAP      2

/* What shrinks is cut to this where the terminal is too narrow for what it should have. */
#define NARROWEST 4

const struct cube_option cube_listing_options[] = {
	CUBE_OUTPUT_ROW(offsetof(struct cube_listing, output)),
	{"no-headers", NULL, 0, CUBE_OPT_FLAG, offsetof(struct cube_listing, no_headers), NULL,
	 "no line with the columns' names"},
	{0},
};

static size_t env_number(const char *name) {
	const char *v = getenv(name);
	uint64_t n = 0;
	return v && cube_parse_u64(v, 1, 10000, &n, NULL) == 0 ? (size_t)n : 0;
}

bool cube_render_terminal(int fd, size_t *ret_columns, size_t *ret_rows) {
	struct winsize w = {0};
	if (!isatty(fd)) return false;
	if (ioctl(fd, TIOCGWINSZ, &w) < 0) w.ws_col = w.ws_row = 0;
	size_t columns = env_number("COLUMNS"), rows = env_number("LINES");
	*ret_columns = columns ? columns : w.ws_col ? w.ws_col : 80;
	*ret_rows = rows ? rows : w.ws_row ? w.ws_row : 24;
	return true;
}

bool cube_render_live(int fd) {
	const char *term = getenv("TERM");
	return isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
}

bool cube_render_colour(int fd) {
	const char *no = getenv("NO_COLOR");
	return !(no && *no) && cube_render_live(fd);
}

int cube_render_print(struct cube_buf *out) {
	while (cube_buf_len(out) > 0) {
		ssize_t n = write(STDOUT_FILENO, cube_buf_data(out), cube_buf_len(out));
		if (n >= 0) cube_buf_consume(out, (size_t)n);
		else if (errno == EAGAIN) {
			struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
			poll(&p, 1, -1);
		} else if (errno != EINTR) return cube_write_broken(errno);
	}
	return 0;
}

/* How many bytes the UTF-8 character at s has; s is well-formed, as escaped text is. */
static size_t char_len(const char *s) {
	size_t n = 1;
	while (((unsigned char)s[n] & 0xc0) == 0x80) n++;
	return n;
}

int cube_render_cut(const char *text, size_t width, struct cube_buf *out) {
	if (cube_text_width(text) <= width) return cube_buf_addstr(out, text);
	size_t at = 0, used = 0;
	char one[8];
	while (text[at]) {
		size_t n = char_len(text + at);
		if (n >= sizeof one) break;
		memcpy(one, text + at, n);
		one[n] = '\0';
		size_t w = cube_text_width(one);
		if (used + w + 1 > width) break;
		used += w;
		at += n;
	}
	int rc = cube_buf_add(out, text, at);
	return rc || width == 0 ? rc : cube_buf_addstr(out, "…");
}

int cube_render_wrap(const char *text, size_t width, size_t indent, struct cube_buf *out) {
	size_t used = 0;
	int rc = 0;
	while (!rc && *text) {
		size_t gap = strspn(text, " "), len = gap + strcspn(text + gap, " ");
		cube_autofree char *word = cube_strndup(text, len);
		size_t w = cube_text_width(word);
		if (used > indent && used + w > width) {
			rc = cube_buf_printf(out, "\n%*s%s", (int)indent, "", word + gap);
			used = indent + w - gap;
		} else {
			rc = cube_buf_addstr(out, word);
			used += w;
		}
		text += len;
	}
	return rc;
}

/* ---- table ---- */

struct layout {
	const struct cube_column *columns[COLUMNS];
	size_t widths[COLUMNS];
	bool hidden[COLUMNS]; /* no room for it */
	size_t n;
};

static void choose(struct layout *l, const struct cube_column *columns, bool wide) {
	for (const struct cube_column *c = columns; c->title && l->n < COLUMNS; c++)
		if (wide || !c->wide) l->columns[l->n++] = c;
}

/* All cells, escaped, row by row. */
static int fill(const struct layout *l, const json_t *array, struct cube_strv *cells) {
	struct cube_buf raw, safe;
	cube_buf_init(&raw, CELL_MAX);
	cube_buf_init(&safe, CELL_MAX * 4);
	size_t i;
	json_t *row;
	int rc = 0;
	json_array_foreach((json_t *)array, i, row) {
		for (size_t k = 0; !rc && k < l->n; k++) {
			cube_buf_clear(&raw);
			cube_buf_clear(&safe);
			rc = l->columns[k]->cell(row, false, &raw);
			if (rc == CUBE_ETOOBIG) rc = 0;
			if (!rc)
				rc = cube_text_escape(&safe, cube_buf_data(&raw),
						      cube_buf_len(&raw));
			if (!rc)
				cube_strv_add(cells,
					      cube_buf_len(&safe) ? cube_buf_str(&safe) : "-");
		}
	}
	cube_buf_done(&raw);
	cube_buf_done(&safe);
	return rc;
}

static void measure(struct layout *l, const struct cube_strv *cells, bool headers) {
	for (size_t k = 0; k < l->n; k++) {
		l->widths[k] = headers ? strlen(l->columns[k]->title) : 0;
		for (size_t i = k; i < cells->len; i += l->n) {
			size_t w = cube_text_width(cells->v[i]);
			if (w > l->widths[k]) l->widths[k] = w;
		}
	}
}

/* What column k takes at least; at most as well where it does not shrink. */
static size_t least(const struct layout *l, size_t k) {
	size_t min = l->columns[k]->shrinks;
	return min && min < l->widths[k] ? min : l->widths[k];
}

/* The column that can be spared first of those shown; l->n where there is none. */
static size_t first_to_drop(const struct layout *l) {
	size_t best = l->n;
	for (size_t k = 0; k < l->n; k++) {
		uint8_t drop = l->columns[k]->drop;
		if (l->hidden[k] || !drop) continue;
		if (best == l->n || drop < l->columns[best]->drop) best = k;
	}
	return best;
}

/* Makes columns that may shrink narrower, the last ones first, but no narrower than `floor` or than
 * they are to be at least, whichever is less; the new total. */
static size_t shrink(struct layout *l, size_t total, size_t width, size_t floor) {
	for (size_t k = l->n; total > width && k-- > 0;) {
		size_t min = least(l, k);
		if (l->hidden[k]) continue;
		if (l->columns[k]->shrinks && min > floor) min = floor;
		size_t over = total - width, room = l->widths[k] - min;
		l->widths[k] -= over < room ? over : room;
		total -= over < room ? over : room;
	}
	return total;
}

/* Leaves columns out, then shrinks others, until all fit into width. */
static void fit(struct layout *l, size_t width) {
	size_t total = 0, smallest = 0;
	for (size_t k = 0; k < l->n; k++) {
		total += l->widths[k] + (k ? GAP : 0);
		smallest += least(l, k) + (k ? GAP : 0);
	}
	while (smallest > width) {
		size_t k = first_to_drop(l);
		if (k == l->n) break;
		l->hidden[k] = true;
		total -= l->widths[k] + GAP;
		smallest -= least(l, k) + GAP;
	}
	total = shrink(l, total, width, SIZE_MAX);
	shrink(l, total, width, NARROWEST);
}

static int add_cell(const struct layout *l, size_t k, const char *text, struct cube_buf *out) {
	struct cube_buf cut;
	if (l->hidden[k]) return 0;
	cube_buf_init(&cut, CELL_MAX * 4);
	int rc = cube_render_cut(text, l->widths[k], &cut);
	const char *shown = cube_buf_str(&cut);
	size_t w = cube_text_width(shown), pad = l->widths[k] > w ? l->widths[k] - w : 0;
	bool last = k + 1 == l->n, right = l->columns[k]->right;
	if (!rc && right) rc = cube_buf_printf(out, "%*s", (int)pad, "");
	if (!rc) rc = cube_buf_addstr(out, shown);
	if (!rc && !last) rc = cube_buf_printf(out, "%*s", (int)(right ? GAP : pad + GAP), "");
	cube_buf_done(&cut);
	return rc;
}

int cube_render_table(const struct cube_render_style *style, const struct cube_column *columns,
		      const json_t *array, struct cube_buf *out) {
	struct layout l = {0};
	struct cube_strv cells = {0};
	choose(&l, columns, style->wide);
	int rc = fill(&l, array, &cells);
	measure(&l, &cells, style->headers);
	if (style->width) fit(&l, style->width);
	if (!rc && style->headers) {
		if (style->bold) rc = cube_buf_addstr(out, "\033[1m");
		for (size_t k = 0; !rc && k < l.n; k++)
			rc = add_cell(&l, k, l.columns[k]->title, out);
		if (!rc) rc = cube_buf_addstr(out, style->bold ? "\033[0m\n" : "\n");
	}
	for (size_t i = 0; !rc && i < cells.len; i++) {
		rc = add_cell(&l, i % l.n, cells.v[i], out);
		if (!rc && i % l.n + 1 == l.n) rc = cube_buf_addstr(out, "\n");
	}
	cube_strv_done(&cells);
	return rc;
}

/* ---- csv, json ---- */

/* RFC 4180: quoted where needed, quotes doubled. */
static int add_csv(const char *text, size_t n, struct cube_buf *out) {
	bool quote = n == 0 ? false : strpbrk(text, ",\"\r\n") != NULL;
	int rc = quote ? cube_buf_addstr(out, "\"") : 0;
	for (size_t i = 0; !rc && i < n; i++) {
		if (text[i] == '"') rc = cube_buf_addstr(out, "\"");
		if (!rc) rc = cube_buf_add(out, text + i, 1);
	}
	return rc || !quote ? rc : cube_buf_addstr(out, "\"");
}

int cube_render_csv(bool headers, const struct cube_column *columns, const json_t *array,
		    struct cube_buf *out) {
	struct cube_buf cell;
	cube_buf_init(&cell, CELL_MAX);
	int rc = 0;
	for (const struct cube_column *c = columns; headers && !rc && c->title; c++)
		rc = cube_buf_printf(out, "%s%s", c->key, c[1].title ? "," : "\n");
	size_t i;
	json_t *row;
	json_array_foreach((json_t *)array, i, row) {
		for (const struct cube_column *c = columns; !rc && c->title; c++) {
			cube_buf_clear(&cell);
			rc = c->cell(row, true, &cell);
			if (!rc) rc = add_csv(cube_buf_str(&cell), cube_buf_len(&cell), out);
			if (!rc) rc = cube_buf_addstr(out, c[1].title ? "," : "\n");
		}
	}
	cube_buf_done(&cell);
	return rc;
}

int cube_render_json(const json_t *json, size_t flags, struct cube_buf *out) {
	char *text = json_dumps(json, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	int rc = text ? 0 : CUBE_ESYS;
	for (const char *p = text; !rc && *p;) {
		size_t plain = strcspn(p, "\x7f\xc2");
		const unsigned char *odd = (const unsigned char *)p + plain;
		rc = cube_buf_add(out, p, plain);
		p += plain;
		if (rc || !*p) break;
		bool c1 = odd[0] == 0xc2 && odd[1] < 0xa0;
		if (odd[0] == 0x7f || c1)
			rc = cube_buf_printf(out, "\\u%04x", c1 ? odd[1] : odd[0]);
		else rc = cube_buf_add(out, p, 1);
		p += c1 ? 2 : 1;
	}
	free(text);
	return rc ? rc : cube_buf_addstr(out, "\n");
}

static int add_listing(const struct cube_listing *list, const struct cube_column *columns,
		       const char *name, const json_t *array, struct cube_buf *out) {
	size_t i, rows;
	json_t *row;
	int rc = 0;
	if (strcmp(list->output, "json") == 0) {
		json_t *all = json_pack("{s:i,s:O}", "version", 1, name, (json_t *)array);
		rc = cube_render_json(all, JSON_INDENT(2), out);
		json_decref(all);
		return rc;
	}
	if (strcmp(list->output, "jsonl") == 0) {
		json_array_foreach((json_t *)array, i, row) {
			if (!rc) rc = cube_render_json(row, JSON_COMPACT, out);
		}
		return rc;
	}
	if (strcmp(list->output, "csv") == 0)
		return cube_render_csv(!list->no_headers, columns, array, out);
	struct cube_render_style style = {.wide = strcmp(list->output, "wide") == 0,
					  .headers = !list->no_headers,
					  .bold = cube_render_colour(STDOUT_FILENO)};
	if (!cube_render_terminal(STDOUT_FILENO, &style.width, &rows) || style.wide)
		style.width = 0;
	return cube_render_table(&style, columns, array, out);
}

int cube_render_list(const struct cube_listing *list, const struct cube_column *columns,
		     const char *name, const json_t *array) {
	struct cube_buf out;
	cube_buf_init(&out, CUBE_RENDER_MAX);
	int rc = add_listing(list, columns, name, array, &out);
	if (rc) fprintf(stderr, "cube: error: the listing is too long\n");
	int code = rc ? 125 : cube_render_print(&out);
	cube_buf_done(&out);
	return code;
}

int cube_render_values(const json_t *array, const char *key) {
	struct cube_buf out;
	size_t i;
	json_t *row;
	int rc = 0;
	cube_buf_init(&out, CUBE_RENDER_MAX);
	json_array_foreach((json_t *)array, i, row) {
		if (!rc) rc = cube_cell_value(row, key, &out);
		if (!rc) rc = cube_buf_addstr(&out, "\n");
	}
	int code = rc ? 125 : cube_render_print(&out);
	cube_buf_done(&out);
	return code;
}

/* A member a line; other values than strings as JSON. */
static int add_members(const json_t *object, bool csv, struct cube_buf *out) {
	struct cube_buf value;
	const char *key;
	json_t *member;
	int rc = 0;
	cube_buf_init(&value, CUBE_RENDER_MAX);
	json_object_foreach((json_t *)object, key, member) {
		const char *text = json_string_value(member);
		cube_buf_clear(&value);
		if (!rc && text) rc = cube_buf_addstr(&value, text);
		else if (!rc && !json_is_null(member))
			rc = cube_render_json(member, JSON_COMPACT, &value);
		size_t n = cube_buf_len(&value);
		if (!text && n > 0) cube_buf_truncate(&value, --n); /* the newline */
		if (!rc) rc = cube_buf_printf(out, csv ? "%s," : "%-11s ", key);
		if (!rc && csv) rc = add_csv(cube_buf_str(&value), n, out);
		else if (!rc) rc = cube_text_escape(out, n ? cube_buf_str(&value) : "-", n ? n : 1);
		if (!rc) rc = cube_buf_addstr(out, "\n");
	}
	cube_buf_done(&value);
	return rc;
}

int cube_render_object(const char *output, const json_t *object) {
	struct cube_buf out;
	cube_buf_init(&out, CUBE_RENDER_MAX);
	int rc;
	if (strcmp(output, "jsonl") == 0) rc = cube_render_json(object, JSON_COMPACT, &out);
	else if (strcmp(output, "json") == 0) rc = cube_render_json(object, JSON_INDENT(2), &out);
	else rc = add_members(object, strcmp(output, "csv") == 0, &out);
	int code = rc ? 125 : cube_render_print(&out);
	cube_buf_done(&out);
	return code;
}
