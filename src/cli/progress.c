#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cube/format.h"
#include "cube/clock.h"
#include "cube/parse.h"
#include "cube/text.h"
#include "render.h"
#include "select.h"
#include "terminal.h"

#define DRAW_EVERY     (80 * CUBE_NS_PER_MS)
#define LINE_MAX_BYTES (1u << 20)

static bool joining(const struct cube_progress_row *r) {
	return r->state != CUBE_NODE_READY && r->state != CUBE_NODE_FAILED &&
	       r->state != CUBE_NODE_NEEDS_LOGIN && r->state != CUBE_NODE_GONE;
}

static int by_name(const void *x, const void *y, void *arg) {
	const struct cube_progress *p = arg;
	return strcmp(p->rows[*(const size_t *)x].name, p->rows[*(const size_t *)y].name);
}

static void init_row(struct cube_progress_row *r, const json_t *node) {
	const char *reason = cube_json_str(node, "reason", NULL);
	const char *kept = cube_json_str(node, "kept", NULL);
	r->name = cube_strdup(cube_json_str(node, "name", "?"));
	if (cube_node_state_parse(cube_json_str(node, "state", ""), &r->state))
		r->state = CUBE_NODE_CONNECTING;
	if (r->state == CUBE_NODE_LOST) r->state = CUBE_NODE_CONNECTING; /* is tried again */
	r->before = r->state == CUBE_NODE_READY;
	if (kept) r->kept = cube_strdup(kept);
	if (reason && !joining(r) && r->state != CUBE_NODE_READY) r->reason = cube_strdup(reason);
}

static void note_parked(struct cube_progress *p, enum cube_node_state state) {
	if (state != CUBE_NODE_NEEDS_LOGIN) return;
	p->failed++;
	p->parked++;
}

void cube_progress_init(struct cube_progress *p, enum cube_progress_mode mode, int fd,
			const json_t *nodes) {
	memset(p, 0, sizeof *p);
	p->mode = mode;
	p->fd = fd;
	p->n = json_array_size(nodes);
	p->rows = cube_realloc_array(NULL, p->n + 1, sizeof *p->rows);
	p->sorted = cube_realloc_array(NULL, p->n + 1, sizeof *p->sorted);
	p->started = cube_clock_mono();
	memset(p->rows, 0, (p->n + 1) * sizeof *p->rows);
	for (size_t i = 0; i < p->n; i++) {
		init_row(&p->rows[i], json_array_get(nodes, i));
		p->sorted[i] = i;
		p->pending += joining(&p->rows[i]);
		p->failed += p->rows[i].state == CUBE_NODE_FAILED;
		note_parked(p, p->rows[i].state);
	}
	qsort_r(p->sorted, p->n, sizeof *p->sorted, by_name, p);
}

void cube_progress_done(struct cube_progress *p) {
	for (size_t i = 0; i < p->n; i++) {
		free(p->rows[i].name);
		free(p->rows[i].step);
		free(p->rows[i].reason);
		free(p->rows[i].kept);
	}
	free(p->rows);
	free(p->sorted);
	memset(p, 0, sizeof *p);
}

static struct cube_progress_row *find(struct cube_progress *p, const char *name) {
	size_t low = 0, high = p->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct cube_progress_row *r = &p->rows[p->sorted[mid]];
		int rc = strcmp(name, r->name);
		if (rc == 0) return r;
		if (rc < 0) high = mid;
		else low = mid + 1;
	}
	return NULL;
}

bool cube_progress_has(struct cube_progress *p, const char *name) {
	return find(p, name) != NULL;
}

/* "web3 ready 0.2 s", "web3 pushing 40 %", "web4 failed: no route to host" */
static int row_text(const struct cube_progress_row *r, struct cube_buf *out) {
	char time[32];
	int rc = cube_buf_printf(out, "%s ", r->name);
	if (rc) return rc;
	if (r->state == CUBE_NODE_READY && r->before) {
		rc = cube_buf_addstr(out, "ready already");
		if (rc || !r->kept) return rc;
		return cube_buf_printf(out, "; not changed: %s (`cube down %s` first)", r->kept,
				       r->name);
	}
	if (r->state == CUBE_NODE_READY) {
		uint64_t ns = (uint64_t)(r->seconds * 1e9);
		return cube_buf_printf(out, "ready %s",
				       cube_format_duration(ns, time, sizeof time));
	}
	if (r->state == CUBE_NODE_PUSHING && r->fraction > 0)
		return cube_buf_printf(out, "pushing %.0f %%", r->fraction * 100);
	const char *word = r->step && joining(r) ? r->step : cube_node_state_name(r->state);
	rc = cube_buf_addstr(out, word);
	if (rc || !r->reason) return rc;
	rc = cube_buf_addstr(out, ": ");
	return rc ? rc : cube_text_escape(out, r->reason, strlen(r->reason));
}

/* A display that cannot be written is done without. */
static void show(int fd, const struct cube_buf *b) {
	(void)cube_write_all(fd, cube_buf_data(b), cube_buf_len(b));
}

static void print_row(const struct cube_progress *p, const struct cube_progress_row *r) {
	struct cube_buf line;
	cube_buf_init(&line, LINE_MAX_BYTES);
	row_text(r, &line);
	cube_buf_addstr(&line, "\n");
	show(p->fd, &line);
	cube_buf_done(&line);
}

void cube_progress_note(const struct cube_progress *p, size_t row) {
	const struct cube_progress_row *r = &p->rows[row];
	if (p->mode == CUBE_PROGRESS_PLAIN ? !joining(r) : r->kept && r->before) print_row(p, r);
}

void cube_progress_state(struct cube_progress *p, const char *name, enum cube_node_state state,
			 const char *reason) {
	struct cube_progress_row *r = find(p, name);
	if (!r || !joining(r)) return;
	r->state = state;
	free(r->step);
	r->step = NULL;
	free(r->reason);
	r->reason = reason && *reason ? cube_strdup(reason) : NULL;
	if (!joining(r)) {
		r->seconds = (double)(cube_clock_mono() - p->started) / 1e9;
		p->pending--;
		p->failed += state != CUBE_NODE_READY && state != CUBE_NODE_NEEDS_LOGIN;
		note_parked(p, state);
		if (p->mode == CUBE_PROGRESS_PLAIN) print_row(p, r);
	}
}

void cube_progress_step(struct cube_progress *p, const char *name, const char *step,
			double fraction) {
	struct cube_progress_row *r = find(p, name);
	if (!r || !joining(r)) return;
	free(r->step);
	r->step = step && *step ? cube_strdup(step) : NULL;
	r->fraction = fraction;
}

/* ---- rendering ---- */

static int add_line(const char *text, size_t width, struct cube_buf *out) {
	int rc = cube_render_cut(text, width, out);
	return rc ? rc : cube_buf_addstr(out, "\n");
}

static int render_rows(const struct cube_progress *p, size_t width, struct cube_buf *out) {
	struct cube_buf line;
	cube_buf_init(&line, LINE_MAX_BYTES);
	int rc = 0;
	for (size_t i = 0; !rc && i < p->n; i++) {
		cube_buf_clear(&line);
		row_text(&p->rows[i], &line);
		rc = add_line(cube_buf_str(&line), width, out);
	}
	cube_buf_done(&line);
	return rc;
}

/* "pushing 12: web[1-12]", a line a state or reason. */
static int render_folded(const struct cube_progress *p, size_t width, size_t height,
			 struct cube_buf *out) {
	json_t *groups = json_object();
	const char *what;
	json_t *names;
	int rc = 0;
	for (size_t i = 0; i < p->n; i++) {
		const struct cube_progress_row *r = &p->rows[i];
		const char *word = cube_node_state_name(r->state);
		cube_autofree char *key =
			r->reason ? cube_strf("%s: %s", word, r->reason) : cube_strdup(word);
		cube_reasons_add(groups, key, r->name);
	}
	json_object_foreach(groups, what, names) {
		if (rc || height == 0) break;
		cube_autofree char *folded = cube_fold_names(names);
		cube_autofree char *line =
			cube_strf("%5zu  %s  %s", json_array_size(names), folded, what);
		if (cube_text_width(line) > width) {
			free(line);
			line = cube_strf("%5zu  %s  %s", json_array_size(names), what, folded);
		}
		struct cube_buf safe;
		cube_buf_init(&safe, LINE_MAX_BYTES * 4);
		rc = cube_text_escape(&safe, line, strlen(line));
		if (!rc) rc = add_line(cube_buf_str(&safe), width, out);
		cube_buf_done(&safe);
		height--;
	}
	json_decref(groups);
	return rc;
}

int cube_progress_render(const struct cube_progress *p, size_t width, size_t height,
			 struct cube_buf *out) {
	return p->n <= height ? render_rows(p, width, out) : render_folded(p, width, height, out);
}

/* Where it stood other things stand now. */
static void forget_if_stopped(struct cube_progress *p) {
	unsigned continued = cube_terminal_continued();
	if (p->continued != continued) p->shown = 0;
	p->continued = continued;
}

void cube_progress_hide(struct cube_progress *p) {
	char code[32];
	forget_if_stopped(p);
	if (p->shown == 0) return;
	int n = snprintf(code, sizeof code, "\r\033[%zuA\033[J", p->shown);
	ssize_t done = write(p->fd, code, (size_t)n);
	(void)done;
	p->shown = 0;
}

/* last: it stays, so that nothing of a reason may be cut off; no line of it is drawn over. */
static void draw(struct cube_progress *p, bool last) {
	size_t width, height, lines = 0;
	if (!cube_render_terminal(p->fd, &width, &height)) return;
	if (last) width = SIZE_MAX;
	forget_if_stopped(p);
	struct cube_buf out;
	cube_buf_init(&out, 16u << 20);
	if (p->shown) cube_buf_printf(&out, "\r\033[%zuA\033[J", p->shown);
	size_t head = cube_buf_len(&out);
	cube_progress_render(p, width > 1 ? width - 1 : 1, height > 2 ? height - 2 : 1, &out);
	const uint8_t *bytes = cube_buf_data(&out);
	for (size_t i = head; i < cube_buf_len(&out); i++) lines += bytes[i] == '\n';
	show(p->fd, &out);
	cube_buf_done(&out);
	p->shown = lines;
}

void cube_progress_draw(struct cube_progress *p, bool now) {
	uint64_t time = cube_clock_mono();
	if (p->mode != CUBE_PROGRESS_LIVE) return;
	if (!now && p->drawn && time - p->drawn < DRAW_EVERY) return;
	p->drawn = time;
	draw(p, false);
}

/* Nothing was joined, and no time is worth being told. */
static bool all_were_there(const struct cube_progress *p) {
	for (size_t i = 0; i < p->n; i++)
		if (!p->rows[i].before) return false;
	return true;
}

void cube_progress_finish(struct cube_progress *p) {
	char time[32], text[128];
	bool was_there = all_were_there(p);
	if (p->mode == CUBE_PROGRESS_QUIET) return;
	if (p->brief) cube_progress_hide(p);
	else if (p->mode == CUBE_PROGRESS_LIVE) draw(p, true);
	if (p->brief && was_there) return;
	p->shown = 0;
	cube_format_duration(cube_clock_mono() - p->started, time, sizeof time);
	size_t ready = p->n - p->failed - p->pending;
	int n = snprintf(text, sizeof text, "%zu ready", ready);
	if (p->failed > p->parked)
		n += snprintf(text + n, sizeof text - (size_t)n, ", %zu failed",
			      p->failed - p->parked);
	if (p->parked)
		n += snprintf(text + n, sizeof text - (size_t)n, ", %zu waiting for a login",
			      p->parked);
	if (p->pending)
		n += snprintf(text + n, sizeof text - (size_t)n, ", %zu on the way", p->pending);
	n += was_there ? snprintf(text + n, sizeof text - (size_t)n, "\n")
		       : snprintf(text + n, sizeof text - (size_t)n, " in %s\n", time);
	ssize_t done = write(p->fd, text, (size_t)n);
	(void)done;
}
