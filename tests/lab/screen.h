/* The screen of a terminal, as xterm has it: what is written moves its cursor, wraps, scrolls,
 * clears. Nothing is known but what programs here have a use for: the rest is counted as unknown,
 * so that a test fails on it. Lines that scrolled off stay. */
#ifndef CUBE_TESTS_SCREEN_H
#define CUBE_TESTS_SCREEN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum { SCREEN_LINES = 20000, SCREEN_COLUMNS = 512, SCREEN_PARAMS = 8 };

struct screen_line {
	wchar_t cells[SCREEN_COLUMNS]; /* 0: blank, or the right half of a wide character */
	bool wrapped;                  /* it goes on in the next one */
};

struct screen_page {
	struct screen_line *lines[SCREEN_LINES]; /* NULL: blank */
	size_t top, y, x;                        /* top: of what is seen; x == columns: full */
};

struct screen {
	size_t rows, columns;
	struct screen_page pages[2], *page; /* the second is the alternate one */
	bool cursor, wraps;                 /* shown; wide lines go on below */
	size_t coloured, moves, unknown;    /* sequences that set colours, that do anything else */
	char odd[64];                       /* the first unknown one */
	char sequence[64];
	size_t used; /* of sequence; 0: plain text comes */
	mbstate_t state;
};

static inline void screen_init(struct screen *s, size_t rows, size_t columns) {
	memset(s, 0, sizeof *s);
	s->rows = rows;
	s->columns = columns;
	s->page = &s->pages[0];
	s->cursor = s->wraps = true;
}

static inline struct screen_line *screen_line(struct screen *s, size_t y) {
	if (y >= SCREEN_LINES) abort();
	if (!s->page->lines[y]) s->page->lines[y] = calloc(1, sizeof *s->page->lines[y]);
	if (!s->page->lines[y]) abort();
	return s->page->lines[y];
}

static inline void screen_down(struct screen *s) {
	struct screen_page *p = s->page;
	if (p->y + 1 == p->top + s->rows) p->top++;
	p->y++;
}

static inline void screen_print(struct screen *s, wchar_t c) {
	struct screen_page *p = s->page;
	int n = wcwidth(c);
	size_t w = n > 0 ? (size_t)n : 1;
	if (n == 0) return;
	if (p->x + w > s->columns && s->wraps) {
		screen_line(s, p->y)->wrapped = true;
		screen_down(s);
		p->x = 0;
	}
	if (p->x + w > s->columns) p->x = s->columns - w;
	struct screen_line *l = screen_line(s, p->y);
	l->cells[p->x] = c;
	if (w == 2) l->cells[p->x + 1] = 0;
	p->x += w;
}

static inline void screen_clear(struct screen *s, size_t y, size_t x) {
	struct screen_line *l = screen_line(s, y);
	if (x >= s->columns) x = s->columns - 1; /* what stands in the last one goes too */
	memset(l->cells + x, 0, (SCREEN_COLUMNS - x) * sizeof *l->cells);
	l->wrapped = false;
}

static inline void screen_clear_below(struct screen *s) {
	screen_clear(s, s->page->y, s->page->x);
	for (size_t y = s->page->y + 1; y < s->page->top + s->rows; y++) screen_clear(s, y, 0);
}

static inline void screen_switch(struct screen *s, bool alternate) {
	struct screen_page *p = &s->pages[1];
	if (alternate && s->page != p) {
		for (size_t y = 0; y < SCREEN_LINES; y++) free(p->lines[y]);
		memset(p, 0, sizeof *p);
	}
	s->page = &s->pages[alternate];
}

/* "\033[?25h": true where it is known. */
static inline bool screen_mode(struct screen *s, const char *what) {
	bool on = what[strlen(what) - 1] == 'h';
	long mode = strtol(what + 3, NULL, 10);
	if (mode == 7) s->wraps = on;
	else if (mode == 25) s->cursor = on;
	else if (mode == 1049) screen_switch(s, on);
	else return false;
	return true;
}

static inline bool screen_move(struct screen *s, char how, const size_t *v) {
	struct screen_page *p = s->page;
	size_t n = v[0] ? v[0] : 1, bottom = p->top + s->rows - 1;
	if (p->x >= s->columns) p->x = s->columns - 1;
	if (how == 'A') p->y = p->y > p->top + n ? p->y - n : p->top;
	else if (how == 'B') p->y = p->y + n < bottom ? p->y + n : bottom;
	else if (how == 'C') p->x = p->x + n < s->columns ? p->x + n : s->columns - 1;
	else if (how == 'D') p->x = p->x > n ? p->x - n : 0;
	else if (how == 'H') {
		p->y = p->top + n - 1 < bottom ? p->top + n - 1 : bottom;
		p->x = v[1] ? v[1] - 1 : 0;
	} else return false;
	return true;
}

static inline bool screen_do(struct screen *s, const char *what, char last) {
	size_t v[SCREEN_PARAMS] = {0}, n = 0;
	if (what[2] == '?') return (last == 'h' || last == 'l') && screen_mode(s, what);
	for (const char *p = what + 2; *p && *p != last && n < SCREEN_PARAMS; n++) {
		char *end;
		v[n] = strtoul(p, &end, 10);
		if (end == p && *p != ';') return false;
		p = end + (*end == ';');
	}
	if (last == 'K' && !v[0]) screen_clear(s, s->page->y, s->page->x);
	else if (last == 'J' && !v[0]) screen_clear_below(s);
	else if (last == 'm') s->coloured += v[0] || v[1];
	else return screen_move(s, last, v);
	return true;
}

static inline void screen_sequence(struct screen *s, char c) {
	s->sequence[s->used++] = c;
	s->sequence[s->used] = '\0';
	bool begun = s->used == 2 && c == '[';
	bool over = s->used > 2 ? c >= '@' && c <= '~' : s->used == 2 && !begun;
	if (!over && s->used + 1 < sizeof s->sequence) return;
	if (c != 'm') s->moves++;
	if (s->used < 3 || !over || !screen_do(s, s->sequence, c)) {
		if (!s->unknown++) memcpy(s->odd, s->sequence, sizeof s->odd);
	}
	s->used = 0;
}

static inline void screen_feed(struct screen *s, const char *bytes, size_t n) {
	struct screen_page *p;
	for (size_t i = 0; i < n; i++) {
		char c = bytes[i];
		wchar_t wide;
		p = s->page;
		if (s->used || c == '\033') screen_sequence(s, c);
		else if (c == '\r') p->x = 0;
		else if (c == '\n') screen_down(s);
		else if (c == '\b') p->x -= p->x > 0;
		else if (c == '\t') p->x = (p->x | 7) + 1 < s->columns ? (p->x | 7) + 1 : p->x;
		else if (c == '\a') continue;
		else if ((unsigned char)c < ' ' || c == 0x7f) s->unknown++;
		else {
			size_t got = mbrtowc(&wide, &c, 1, &s->state);
			if (got == (size_t)-1) memset(&s->state, 0, sizeof s->state), s->unknown++;
			else if (got == 1) screen_print(s, wide);
		}
	}
}

static inline void screen_resize(struct screen *s, size_t rows, size_t columns) {
	struct screen_page *p = s->page;
	if (p->y >= p->top + rows) p->top = p->y - rows + 1;
	s->rows = rows;
	s->columns = columns;
}

/* The lines from the first on, whole again where they were wrapped, without blanks at their ends.
 * To be freed. */
static inline char *screen_text(struct screen *s, size_t first) {
	size_t end = s->page->top + s->rows, at = 0, line = 0;
	char *text = malloc((end + 1) * (SCREEN_COLUMNS * MB_LEN_MAX + 1));
	if (!text) abort();
	for (size_t y = first; y < end; y++) {
		const struct screen_line *l = s->page->lines[y];
		size_t last = 0;
		for (size_t x = 0; l && x < s->columns; x++)
			if (l->cells[x]) last = x + 1;
		for (size_t x = 0; x < last; x++) {
			bool half = x && !l->cells[x] && l->cells[x - 1] &&
				    wcwidth(l->cells[x - 1]) == 2;
			int n = half ? 0 : wctomb(text + at, l->cells[x] ? l->cells[x] : L' ');
			at += n > 0 ? (size_t)n : 0;
		}
		if (l && l->wrapped) continue;
		while (at > line && text[at - 1] == ' ') at--;
		text[at++] = '\n';
		line = at;
	}
	while (at > 1 && text[at - 1] == '\n' && text[at - 2] == '\n') at--;
	if (at == 1 && text[0] == '\n') at = 0;
	text[at] = '\0';
	return text;
}

/* Whether the line has a blank where it could have been cut. */
static inline bool screen_divisible(const struct screen_line *l, size_t columns) {
	size_t x = 0;
	while (x < columns && (!l->cells[x] || l->cells[x] == L' ')) x++;
	while (x < columns && l->cells[x] != L' ') x++;
	return x < columns;
}

/* Lines that were wider than the screen, those apart that are one word. */
static inline size_t screen_wrapped(struct screen *s) {
	size_t n = 0;
	bool within = false; /* a line that was counted, or is not to be */
	for (size_t y = 0; y < s->page->top + s->rows; y++) {
		const struct screen_line *l = s->page->lines[y];
		n += l && l->wrapped && !within && screen_divisible(l, s->columns);
		within = l && l->wrapped;
	}
	return n;
}

#endif
