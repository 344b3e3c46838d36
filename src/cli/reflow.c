#include "reflow.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "cube/mem.h"
#include "cube/text.h"
#include "render.h"

#define FALLBACK 4

/* Where the line's last column begins, in columns. */
static size_t last_column(const char *line) {
	size_t at = strspn(line, " ");
	for (const char *p = line; (p = strstr(p, "  ")); p += strspn(p, " "))
		if (p[strspn(p, " ")]) at = (size_t)(p - line) + strspn(p, " ");
	cube_autofree char *head = cube_strndup(line, at);
	return cube_text_width(head);
}

static size_t longest_word(const char *line) {
	size_t longest = 0;
	while (*line) {
		size_t n = strcspn(line, " ");
		cube_autofree char *word = cube_strndup(line, n);
		size_t w = cube_text_width(word);
		if (w > longest) longest = w;
		line += n + strspn(line + n, " ");
	}
	return longest;
}

static int add_line(const char *line, size_t width, struct cube_buf *out) {
	size_t indent = last_column(line);
	if (cube_text_width(line) <= width) return cube_buf_addstr(out, line);
	if (indent > width / 2 || indent + longest_word(line) > width) indent = FALLBACK;
	return cube_render_wrap(line, width, indent, out);
}

int cube_reflow(const char *text, size_t width, struct cube_buf *out) {
	int rc = 0;
	while (!rc && *text) {
		size_t n = strcspn(text, "\n");
		cube_autofree char *line = cube_strndup(text, n);
		rc = add_line(line, width, out);
		if (!rc && text[n]) rc = cube_buf_addstr(out, "\n");
		text += n + (text[n] == '\n');
	}
	return rc;
}

size_t cube_reflow_width(void) {
	size_t columns, rows;
	return cube_render_terminal(STDOUT_FILENO, &columns, &rows) ? columns : SIZE_MAX;
}

int cube_reflow_print(const char *text) {
	struct cube_buf out;
	cube_buf_init(&out, CUBE_RENDER_MAX);
	int code = cube_reflow(text, cube_reflow_width(), &out) ? 125 : cube_render_print(&out);
	cube_buf_done(&out);
	return code;
}
