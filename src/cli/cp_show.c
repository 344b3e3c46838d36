/* How the copies get on, and what they came to. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cp.h"
#include "cube/clock.h"
#include "cube/nodeset.h"
#include "cube/parse.h"
#include "cube/text.h"
#include "render.h"

enum { DRAW_MS = 150, SAMPLES = 16, NAMES_MIN = 12 };

struct sum {
	struct cube_copy_counts c;
	size_t ended;
	bool known; /* the totals of all */
};

static struct sum add_up(const struct cube_cp *cp) {
	struct sum s = {.known = true};
	for (size_t i = 0; i < cp->n; i++) {
		const struct cube_cp_host *h = &cp->hosts[i];
		struct cube_copy_counts c = cube_cp_counts(h);
		s.c.files += c.files;
		s.c.bytes += c.bytes;
		s.c.moved += c.moved;
		s.c.problems += c.problems;
		s.ended += h->state >= CUBE_CP_DONE;
		if (cp->up) c.total_files = cp->total_files, c.total_bytes = cp->total_bytes;
		if (!c.total_files && h->state < CUBE_CP_DONE) s.known = false;
		/* a host that has ended has no more to come */
		s.c.total_bytes += h->state < CUBE_CP_DONE ? c.total_bytes : c.bytes;
	}
	return s;
}

/* The nodes in the states from..to, folded; "" where there are none. */
static int add_names(const struct cube_cp *cp, enum cube_cp_state from, enum cube_cp_state to,
		     struct cube_buf *out) {
	const char **names = cube_realloc_array(NULL, cp->n + 1, sizeof *names);
	size_t n = 0;
	for (size_t i = 0; i < cp->n; i++)
		if (cp->hosts[i].state >= from && cp->hosts[i].state <= to)
			names[n++] = cp->hosts[i].node;
	int rc = cube_nodeset_fold(names, n, out);
	free(names);
	return rc;
}

/* A part of the line, where it fits as a whole. */
static int add_part(struct cube_buf *line, size_t width, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int add_part(struct cube_buf *line, size_t width, const char *fmt, ...) {
	char text[96];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	size_t used = cube_text_width(cube_buf_str(line)), gap = used ? 2 : 0;
	if (used + gap + cube_text_width(text) > width) return 0;
	return cube_buf_printf(line, "%*s%s", (int)gap, "", text);
}

/* Names are cut where there are too many, but not to a mere beginning. */
static int add_hosts(const struct cube_cp *cp, size_t width, struct cube_buf *line) {
	size_t used = cube_text_width(cube_buf_str(line)) + 2;
	struct cube_buf names;
	cube_buf_init(&names, 1u << 20);
	int rc = add_names(cp, CUBE_CP_QUEUED, CUBE_CP_WAITING, &names);
	size_t room = width > used ? width - used : 0;
	if (!rc && (room >= NAMES_MIN || cube_text_width(cube_buf_str(&names)) <= room)) {
		rc = cube_buf_addstr(line, "  ");
		if (!rc) rc = cube_render_cut(cube_buf_str(&names), room, line);
	}
	cube_buf_done(&names);
	return rc;
}

/* What matters most comes first: a narrow terminal lacks the rest. */
int cube_cp_line(const struct cube_cp *cp, double rate, size_t width, struct cube_buf *out) {
	struct sum s = add_up(cp);
	bool known = s.known && s.c.total_bytes;
	struct cube_buf line;
	char a[32], b[32];
	cube_buf_init(&line, 1u << 20);
	const char *done = cube_format_size(s.c.bytes, a, sizeof a);
	int rc = 0;
	if (known) {
		rc = add_part(&line, width, "%3.0f %%",
			      (double)s.c.bytes * 100 / (double)s.c.total_bytes);
		if (!rc)
			rc = add_part(&line, width, "%s of %s", done,
				      cube_format_size(s.c.total_bytes, b, sizeof b));
	} else rc = add_part(&line, width, "%s", done);
	if (!rc && cp->n > 1) rc = add_part(&line, width, "%zu/%zu hosts", s.ended, cp->n);
	if (!rc && rate > 0)
		rc = add_part(&line, width, "%s/s", cube_format_size((uint64_t)rate, a, sizeof a));
	double left = known && rate > 0 && s.c.total_bytes > s.c.bytes
			      ? (double)(s.c.total_bytes - s.c.bytes) / rate * 1e9
			      : 1e18;
	if (!rc && left < 1e18)
		rc = add_part(&line, width, "%s left",
			      cube_format_duration((uint64_t)left, b, sizeof b));
	if (!rc) rc = add_hosts(cp, width, &line);
	if (!rc) rc = cube_buf_add(out, cube_buf_data(&line), cube_buf_len(&line));
	cube_buf_done(&line);
	return rc;
}

static double rate_of(struct cube_cp_show *s, const struct cube_cp *cp, uint64_t now) {
	struct sum sum = add_up(cp);
	unsigned i = s->samples++ % SAMPLES,
		 first = s->samples > SAMPLES ? s->samples % SAMPLES : 0;
	s->sample[i].at = now;
	s->sample[i].bytes = sum.c.bytes;
	uint64_t ns = now - s->sample[first].at, before = s->sample[first].bytes;
	/* a round begins anew: less than before */
	return ns && sum.c.bytes > before ? (double)(sum.c.bytes - before) * 1e9 / (double)ns : 0;
}

static void write_text(int fd, const char *text, size_t n) {
	while (n > 0) {
		ssize_t w = write(fd, text, n);
		if (w < 0 && errno == EINTR) continue;
		if (w <= 0) return; /* a display that cannot be written is done without */
		text += w;
		n -= (size_t)w;
	}
}

void cube_cp_draw(struct cube_cp_show *s, const struct cube_cp *cp, bool now) {
	uint64_t t = cube_clock_mono();
	size_t columns, rows;
	struct cube_buf out;
	if (!s->live || (!now && t - s->drawn < DRAW_MS * CUBE_NS_PER_MS)) return;
	if (!cube_render_terminal(s->fd, &columns, &rows)) return;
	s->drawn = t;
	cube_buf_init(&out, 64u << 10);
	if (cube_buf_addstr(&out, "\r\033[K") == 0 &&
	    cube_cp_line(cp, rate_of(s, cp, t), columns - 1, &out) == 0)
		write_text(s->fd, cube_buf_str(&out), cube_buf_len(&out));
	s->shown = true;
	cube_buf_done(&out);
}

void cube_cp_hide(void *show) {
	struct cube_cp_show *s = show;
	if (s->shown) write_text(s->fd, "\r\033[K", 4);
	s->shown = false;
}

int cube_cp_sum(const struct cube_cp *cp, uint64_t ns, struct cube_buf *out) {
	struct sum s = add_up(cp);
	char size[32], time[32];
	int rc = cube_buf_printf(out, "%llu file%s, %s %s ", (unsigned long long)s.c.files,
				 s.c.files == 1 ? "" : "s",
				 cube_format_size(s.c.bytes, size, sizeof size),
				 cp->up ? "to" : "from");
	if (!rc) rc = add_names(cp, CUBE_CP_QUEUED, CUBE_CP_FAILED, out);
	if (!rc) rc = cube_buf_printf(out, " in %s", cube_format_duration(ns, time, sizeof time));
	if (!rc && ns)
		rc = cube_buf_printf(
			out, " (%s/s)",
			cube_format_size((uint64_t)((double)s.c.moved * 1e9 / (double)ns), size,
					 sizeof size));
	return rc;
}

/* What a host says may be any bytes. */
static json_t *text_json(const char *text) {
	struct cube_buf out;
	cube_buf_init(&out, 64u << 10);
	json_t *value = !text || cube_text_escape(&out, text, strlen(text))
				? json_null()
				: json_string(cube_buf_str(&out));
	cube_buf_done(&out);
	return value;
}

static json_t *host_json(const struct cube_cp_host *h) {
	struct cube_copy_counts c = cube_cp_counts(h);
	json_t *problems = json_array();
	const char *text;
	json_t *nothing;
	json_object_foreach(h->problems, text, nothing) {
		json_array_append_new(problems, json_string(text));
	}
	uint64_t end = h->ended ? h->ended : cube_clock_mono();
	return json_pack("{s:s,s:b,s:I,s:I,s:I,s:i,s:f,s:o,s:o}", "node", h->node, "ok",
			 h->state == CUBE_CP_DONE && c.problems == 0, "files", (json_int_t)c.files,
			 "bytes", (json_int_t)c.bytes, "moved", (json_int_t)c.moved, "rounds",
			 (int)h->rounds, "seconds", h->begun ? (double)(end - h->begun) / 1e9 : 0.0,
			 "problems", problems, "error", text_json(h->failure));
}

json_t *cube_cp_json(const struct cube_cp *cp) {
	json_t *hosts = json_array();
	for (size_t i = 0; i < cp->n; i++) json_array_append_new(hosts, host_json(&cp->hosts[i]));
	return hosts;
}
