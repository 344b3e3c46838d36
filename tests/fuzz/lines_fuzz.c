/* First two bytes: line limit and chunk size. The pieces joined again are the input. */
#include "cube/lines.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct joined {
	struct cube_buf text;
	size_t limit;
	bool open;
};

static int join(void *arg, const uint8_t *line, size_t n, bool first, bool whole) {
	struct joined *j = arg;
	if (first == j->open || memchr(line, '\n', n) || n > j->limit) abort();
	if (!whole && n != j->limit) abort();
	j->open = !whole;
	cube_buf_add(&j->text, line, n);
	return whole ? cube_buf_addstr(&j->text, "\n") : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	if (n < 2) return 0;
	struct joined j = {.limit = bytes[0] + 1u};
	struct cube_lines l;
	size_t chunk = bytes[1] + 1u;
	cube_lines_init(&l, j.limit);
	cube_buf_init(&j.text, n);
	for (size_t at = 2; at < n; at += chunk)
		if (cube_lines_feed(&l, bytes + at, n - at < chunk ? n - at : chunk, join, &j))
			abort();
	if (cube_lines_flush(&l, join, &j) != 0 || j.open) abort();
	size_t len = cube_buf_len(&j.text);
	bool added = n > 2 && bytes[n - 1] != '\n';
	if (len != n - 2 + added || memcmp(cube_buf_data(&j.text), bytes + 2, n - 2) != 0) abort();
	cube_lines_done(&l);
	cube_buf_done(&j.text);
	return 0;
}
