#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"
#include "output_source.h"

#define OUT_MAX   (1u << 20)
#define OUT_FLUSH (64u << 10)

void cube_output_init(struct cube_output *o, const struct cube_output_config *config,
		      cube_output_fn *fn, void *arg) {
	memset(o, 0, sizeof *o);
	o->config = *config;
	o->fn = fn;
	o->arg = arg;
	o->held_end = &o->held;
	o->sources = cube_realloc_array(NULL, config->count * 2 + 1, sizeof *o->sources);
	memset(o->sources, 0, (config->count * 2 + 1) * sizeof *o->sources);
	cube_buf_init(&o->out, OUT_MAX);
}

static void source_free(struct cube_output_source *s) {
	if (!s) return;
	cube_lines_done(&s->lines);
	cube_buf_done(&s->held);
	cube_buf_done(&s->gathered);
	free(s->node);
	free(s);
}

void cube_output_done(struct cube_output *o) {
	if (!o->sources) return;
	for (uint64_t i = 0; i < o->config.count * 2; i++) source_free(o->sources[i]);
	free(o->sources);
	o->sources = NULL;
	cube_buf_done(&o->out);
}

static int out_flush(struct cube_output *o) {
	if (cube_buf_len(&o->out) == 0) return 0;
	int rc = o->fn(o->arg, o->out_fd, cube_buf_data(&o->out), cube_buf_len(&o->out));
	cube_buf_clear(&o->out);
	return rc;
}

int cube_output_write(struct cube_output *o, int fd, const void *bytes, size_t n) {
	int rc = 0;
	if (fd != o->out_fd || cube_buf_len(&o->out) + n > OUT_FLUSH) rc = out_flush(o);
	if (rc) return rc;
	o->out_fd = fd;
	if (n > OUT_FLUSH) return o->fn(o->arg, fd, bytes, n);
	return cube_buf_add(&o->out, bytes, n);
}

static struct cube_output_source *source_of(struct cube_output *o, uint64_t task,
					    enum cube_stream_id stream) {
	if (task < o->config.first || task - o->config.first >= o->config.count) return NULL;
	if (stream != CUBE_STDOUT && stream != CUBE_STDERR) return NULL;
	size_t i = (size_t)(task - o->config.first) * 2 + (stream == CUBE_STDERR);
	if (o->sources[i]) return o->sources[i];
	struct cube_output_source *s = cube_alloc(sizeof *s);
	s->output = o;
	s->fd = stream == CUBE_STDERR ? 2 : 1;
	s->gathering = o->config.fold && stream == CUBE_STDOUT;
	cube_lines_init(&s->lines, CUBE_OUTPUT_PIECE);
	cube_buf_init(&s->held, CUBE_OUTPUT_HELD);
	cube_buf_init(&s->gathered, CUBE_OUTPUT_GATHER);
	return o->sources[i] = s;
}

/* A piece of a line, with what belongs before and after it. Nobody else has an open line. */
static int on_piece(void *arg, const uint8_t *line, size_t n, bool first, bool whole) {
	struct cube_output_source *s = arg;
	struct cube_output *o = s->output;
	int rc = 0;
	if (first && o->config.times) {
		const char *time = s->begun[0] ? s->begun : s->time;
		rc = cube_output_write(o, s->fd, time, strlen(time));
		if (!rc) rc = cube_output_write(o, s->fd, " ", 1);
	}
	s->begun[0] = '\0';
	if (!rc && first && o->config.prefix && !o->config.raw) {
		rc = cube_output_write(o, s->fd, s->node, strlen(s->node));
		if (!rc) rc = cube_output_write(o, s->fd, ": ", 2);
	}
	if (!rc) rc = cube_output_write(o, s->fd, line, n);
	if (!rc && whole) rc = cube_output_write(o, s->fd, "\n", 1);
	o->owner = whole ? NULL : s;
	return rc;
}

/* Breaks the owner's line with a newline, so that others can go on. */
static int break_line(struct cube_output *o) {
	struct cube_output_source *s = o->owner;
	o->owner = NULL;
	s->lines.open = false;
	return cube_output_write(o, s->fd, "\n", 1);
}

static int feed(struct cube_output_source *s, const void *bytes, size_t n) {
	bool fresh = cube_buf_len(&s->lines.partial) == 0 && !s->lines.open;
	int rc = cube_lines_feed(&s->lines, bytes, n, on_piece, s);
	if (!rc && fresh && !s->begun[0] && cube_buf_len(&s->lines.partial) > 0)
		memcpy(s->begun, s->time, sizeof s->begun);
	return rc;
}

/* Lets those that were held go on, in the order they came, until one has an open line. */
static int release(struct cube_output *o) {
	int rc = 0;
	while (!rc && o->held && !o->owner) {
		struct cube_output_source *s = o->held;
		o->held = s->next;
		if (!o->held) o->held_end = &o->held;
		s->waiting = false;
		s->next = NULL;
		o->held_bytes -= cube_buf_len(&s->held);
		rc = feed(s, cube_buf_data(&s->held), cube_buf_len(&s->held));
		cube_buf_clear(&s->held);
		if (!rc && s->ended) rc = cube_lines_flush(&s->lines, on_piece, s);
	}
	return rc;
}

/* Keeps bytes (or only the end) of s until the open line of another one is finished. */
static int hold(struct cube_output_source *s, const void *bytes, size_t n) {
	struct cube_output *o = s->output;
	int rc = cube_buf_add(&s->held, bytes, n);
	if (rc) return rc;
	o->held_bytes += n;
	if (!s->waiting) {
		s->waiting = true;
		*o->held_end = s;
		o->held_end = &s->next;
	}
	return 0;
}

int cube_output_print(struct cube_output_source *s, const void *bytes, size_t n) {
	struct cube_output *o = s->output;
	int rc = 0;
	while (!rc && o->owner && o->owner != s && o->held_bytes + n > CUBE_OUTPUT_HELD) {
		rc = break_line(o);
		if (!rc) rc = release(o);
	}
	if (rc) return rc;
	/* what is waiting stays in order: new bytes go behind those held */
	if ((o->owner && o->owner != s) || s->waiting) return hold(s, bytes, n);
	rc = feed(s, bytes, n);
	return rc ? rc : release(o);
}

static int print_large(struct cube_output_source *s, const uint8_t *bytes, size_t n) {
	int rc = 0;
	while (!rc && n > 0) { /* in parts that can be held */
		size_t part = n < CUBE_OUTPUT_PIECE ? n : CUBE_OUTPUT_PIECE;
		rc = cube_output_print(s, bytes, part);
		bytes += part;
		n -= part;
	}
	return rc;
}

/* Too long to be gathered: from here on it is printed as it comes. */
static int gather(struct cube_output_source *s, const void *bytes, size_t n) {
	struct cube_output *o = s->output;
	if (cube_buf_room(&s->gathered) >= n && CUBE_OUTPUT_GATHER_ALL - o->gathered_bytes >= n) {
		o->gathered_bytes += n;
		return cube_buf_add(&s->gathered, bytes, n);
	}
	s->gathering = false;
	o->gathered_bytes -= cube_buf_len(&s->gathered);
	int rc = print_large(s, cube_buf_data(&s->gathered), cube_buf_len(&s->gathered));
	cube_buf_clear(&s->gathered);
	return rc ? rc : print_large(s, bytes, n);
}

int cube_output_bytes(struct cube_output *o, uint64_t task, const char *node,
		      enum cube_stream_id stream, const char *time, const void *bytes, size_t n) {
	struct cube_output_source *s = source_of(o, task, stream);
	if (!s || s->ended || n == 0) return 0;
	if (o->config.raw && !o->config.times) return o->fn(o->arg, s->fd, bytes, n);
	if (!s->node || strcmp(s->node, node) != 0) {
		free(s->node);
		s->node = cube_strdup(node);
	}
	snprintf(s->time, sizeof s->time, "%s", time ? time : "");
	int rc = s->gathering ? gather(s, bytes, n) : print_large(s, bytes, n);
	return rc ? rc : out_flush(o);
}

static int end_source(struct cube_output_source *s) {
	struct cube_output *o = s->output;
	if (s->ended) return 0;
	s->ended = true;
	if (s->gathering) return 0;
	if (s->waiting) return 0; /* release() ends it */
	if (o->owner && o->owner != s) {
		if (cube_buf_len(&s->lines.partial) == 0 && !s->lines.open) return 0;
		return hold(s, "", 0);
	}
	int rc = cube_lines_flush(&s->lines, on_piece, s);
	return rc ? rc : release(o);
}

int cube_output_end(struct cube_output *o, uint64_t task) {
	if (task < o->config.first || task - o->config.first >= o->config.count) return 0;
	if (o->config.raw && !o->config.times) return 0;
	size_t i = (size_t)(task - o->config.first) * 2;
	int rc = 0;
	for (size_t k = i; !rc && k < i + 2; k++)
		if (o->sources[k]) rc = end_source(o->sources[k]);
	return rc ? rc : out_flush(o);
}

int cube_output_finish(struct cube_output *o) {
	int rc = 0;
	if (o->owner) rc = end_source(o->owner); /* first: the others wait for it */
	for (uint64_t i = 0; !rc && i < o->config.count; i++)
		rc = cube_output_end(o, o->config.first + i);
	if (!rc && o->config.fold) rc = cube_output_fold(o);
	return rc ? rc : out_flush(o);
}
