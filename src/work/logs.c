#include "cube/logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/paths.h"
#include "logs_impl.h"

#define SEGMENT_MAX (1ull << 30)
#define NAME_LEN    16

static char *segment_name(uint32_t segment, char name[NAME_LEN]) {
	snprintf(name, NAME_LEN, "%08u.seg", (unsigned)segment);
	return name;
}

/* --- opening --- */

static uint32_t last_segment(int dir) {
	uint32_t last = 0;
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0) close(fd);
		return 0;
	}
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		char name[NAME_LEN];
		unsigned long n = strtoul(e->d_name, NULL, 10);
		if (n == 0 || n >= UINT32_MAX) continue;
		if (strcmp(e->d_name, segment_name((uint32_t)n, name)) == 0 && n > last)
			last = (uint32_t)n;
	}
	closedir(d);
	return last;
}

static int open_segment(struct cube_logs *logs, uint32_t segment, struct cube_err *err) {
	char name[NAME_LEN];
	struct stat st;
	int fd = openat(logs->dir, segment_name(segment, name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) return cube_fail_sys(err, errno, "cannot write logs: %s", name);
	if (fstat(fd, &st) < 0) {
		int sys = errno;
		close(fd);
		return cube_fail_sys(err, sys, "cannot write logs: %s", name);
	}
	if (logs->fd >= 0) close(logs->fd);
	logs->fd = fd;
	logs->segment = segment;
	/* What lies there was named by a chunk, or never will be: both stay as they are. */
	logs->pos = (uint64_t)st.st_size;
	return 0;
}

int cube_logs_new(struct cube_turn *turn, const char *state, struct cube_logs **ret,
		  struct cube_err *err) {
	cube_autofree char *path = cube_strf("%s/logs", state);
	int rc = cube_paths_make(path, err);
	if (rc) return rc;
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) return cube_fail_sys(err, errno, "%s", path);
	struct cube_logs *logs = cube_alloc(sizeof *logs);
	*logs = (struct cube_logs){.turn = turn, .dir = dir, .fd = -1, .segment_max = SEGMENT_MAX};
	cube_list_init(&logs->watchers);
	logs->segment = last_segment(dir);
	*ret = logs;
	return 0;
}

void cube_logs_free(struct cube_logs *logs) {
	if (!logs) return;
	for (size_t i = 0; i < CUBE_LOGS_FDS; i++)
		if (logs->open[i].segment) close(logs->open[i].fd);
	if (logs->fd >= 0) close(logs->fd);
	close(logs->dir);
	free(logs->dirty);
	free(logs->slots);
	free(logs);
}

void cube_logs_set_segment_max(struct cube_logs *logs, uint64_t bytes) {
	logs->segment_max = bytes;
}

/* --- what this turn touched --- */

static size_t hash_of(uint64_t task, uint32_t attempt, uint8_t stream) {
	uint64_t h = (task * 0x9e3779b97f4a7c15ull) ^ ((uint64_t)attempt << 8) ^ stream;
	h ^= h >> 29;
	return (size_t)(h * 0xbf58476d1ce4e5b9ull >> 20);
}

static struct cube_log_dirty *find_dirty(struct cube_logs *logs, uint64_t task, uint32_t attempt,
					 uint8_t stream) {
	if (!logs->ndirty) return NULL;
	for (size_t i = hash_of(task, attempt, stream);; i++) {
		uint32_t at = logs->slots[i & (logs->nslots - 1)];
		if (!at) return NULL;
		struct cube_log_dirty *d = &logs->dirty[at - 1];
		if (d->task == task && d->attempt == attempt && d->stream == stream) return d;
	}
}

static void slot_put(struct cube_logs *logs, size_t index) {
	const struct cube_log_dirty *d = &logs->dirty[index];
	size_t i = hash_of(d->task, d->attempt, d->stream);
	while (logs->slots[i & (logs->nslots - 1)]) i++;
	logs->slots[i & (logs->nslots - 1)] = (uint32_t)index + 1;
}

static void grow_dirty(struct cube_logs *logs) {
	logs->dirty_cap = logs->dirty_cap ? logs->dirty_cap * 2 : 64;
	logs->dirty = cube_realloc_array(logs->dirty, logs->dirty_cap, sizeof *logs->dirty);
	logs->nslots = logs->dirty_cap * 2;
	free(logs->slots);
	logs->slots = cube_alloc(logs->nslots * sizeof *logs->slots);
	for (size_t i = 0; i < logs->ndirty; i++) slot_put(logs, i);
}

static void mark(struct cube_logs *logs, uint64_t task, uint32_t attempt, uint8_t stream,
		 uint64_t offset) {
	struct cube_log_dirty *d = find_dirty(logs, task, attempt, stream);
	if (d) { /* of an earlier transaction in this turn: what it had is committed */
		if (d->committed == UINT64_MAX) d->committed = offset;
		return;
	}
	bool other = find_dirty(logs, task, attempt, stream == 1 ? 2 : 1) != NULL;
	if (logs->ndirty == logs->dirty_cap) grow_dirty(logs);
	logs->dirty[logs->ndirty] = (struct cube_log_dirty){.task = task,
							    .committed = offset,
							    .attempt = attempt,
							    .stream = stream,
							    .tell = !other};
	slot_put(logs, logs->ndirty++);
}

/* A transaction begins: what was marked is committed by now. */
static void settle(struct cube_logs *logs) {
	for (size_t i = 0; i < logs->ndirty; i++) logs->dirty[i].committed = UINT64_MAX;
}

uint64_t cube_logs_limit(struct cube_logs *logs, uint64_t task, uint32_t attempt, uint8_t stream) {
	if (!cube_turn_open(logs->turn)) return UINT64_MAX;
	struct cube_log_dirty *d = find_dirty(logs, task, attempt, stream);
	return d ? d->committed : UINT64_MAX;
}

/* --- appending --- */

static int make_room(struct cube_logs *logs, struct cube_err *err) {
	int rc = 0;
	if (logs->fd < 0) rc = open_segment(logs, logs->segment ? logs->segment : 1, err);
	if (!rc && logs->pos >= logs->segment_max) rc = open_segment(logs, logs->segment + 1, err);
	return rc;
}

static int write_all(struct cube_logs *logs, const uint8_t *bytes, size_t n, struct cube_err *err) {
	uint64_t pos = logs->pos;
	while (n) {
		ssize_t w = pwrite(logs->fd, bytes, n, (off_t)pos);
		if (w < 0 && errno == EINTR) continue;
		if (w < 0) return cube_fail_sys(err, errno, "cannot write logs");
		bytes += w;
		pos += (uint64_t)w;
		n -= (size_t)w;
	}
	return 0;
}

int cube_logs_append(struct cube_logs *logs, uint64_t task, uint32_t attempt, uint8_t stream,
		     uint64_t offset, const void *bytes, size_t n, struct cube_err *err) {
	if (n == 0) return 0;
	int rc = make_room(logs, err);
	if (!rc) rc = write_all(logs, bytes, n, err);
	if (rc) return rc;
	struct cube_chunk_row row = {
		.task = task,
		.attempt = attempt,
		.stream = stream,
		.offset = offset,
		.len = n,
		.segment = logs->segment,
		.pos = logs->pos,
		.wall = cube_clock_wall(),
	};
	if (!cube_turn_open(logs->turn)) settle(logs);
	struct cube_store *s = cube_turn_tx(logs->turn);
	rc = s->ops->chunk_add(s, &row, err);
	if (rc) return rc;
	logs->pos += n;
	logs->version++;
	mark(logs, task, attempt, stream, offset);
	return 0;
}

/* --- reading segments --- */

static int reading_fd(struct cube_logs *logs, uint32_t segment, struct cube_err *err) {
	size_t oldest = 0;
	if (segment == logs->segment && logs->fd >= 0) return logs->fd;
	for (size_t i = 0; i < CUBE_LOGS_FDS; i++) {
		if (logs->open[i].segment == segment) {
			logs->open[i].used = ++logs->clock;
			return logs->open[i].fd;
		}
		if (logs->open[i].used < logs->open[oldest].used) oldest = i;
	}
	char name[NAME_LEN];
	int fd = openat(logs->dir, segment_name(segment, name), O_RDONLY | O_CLOEXEC);
	if (fd < 0) return cube_fail_sys(err, errno, "cannot read logs: %s", name);
	if (logs->open[oldest].segment) close(logs->open[oldest].fd);
	logs->open[oldest].segment = segment;
	logs->open[oldest].fd = fd;
	logs->open[oldest].used = ++logs->clock;
	return fd;
}

int cube_logs_pread(struct cube_logs *logs, uint32_t segment, uint64_t pos, void *bytes, size_t n,
		    struct cube_err *err) {
	int fd = reading_fd(logs, segment, err);
	if (fd < 0) return fd;
	uint8_t *p = bytes;
	while (n) {
		ssize_t r = pread(fd, p, n, (off_t)pos);
		if (r < 0 && errno == EINTR) continue;
		if (r < 0) return cube_fail_sys(err, errno, "cannot read logs");
		if (r == 0)
			return cube_fail(err, CUBE_ESYS,
					 "segment %u ends at byte %llu: log bytes are lost",
					 (unsigned)segment, (unsigned long long)pos);
		p += r;
		pos += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

/* --- telling --- */

static void tell(struct cube_logs *logs, uint64_t task) {
	struct cube_list todo; /* a watcher may go, or take others along */
	cube_list_init(&todo);
	while (!cube_list_empty(&logs->watchers)) {
		struct cube_list *l = logs->watchers.next;
		cube_list_remove(l);
		cube_list_append(&todo, l);
	}
	while (!cube_list_empty(&todo)) {
		struct cube_list *l = todo.next;
		cube_list_remove(l);
		cube_list_append(&logs->watchers, l);
		struct cube_logs_watcher *w = cube_container(l, struct cube_logs_watcher, entry);
		if (task >= w->first && task <= w->last) w->grew(w->arg, task);
	}
}

void cube_logs_flush(struct cube_logs *logs) {
	if (!logs->ndirty) return;
	for (size_t i = 0; i < logs->ndirty && !cube_list_empty(&logs->watchers); i++)
		if (logs->dirty[i].tell) tell(logs, logs->dirty[i].task);
	memset(logs->slots, 0, logs->nslots * sizeof *logs->slots);
	logs->ndirty = 0;
}

void cube_logs_watch(struct cube_logs *logs, struct cube_logs_watcher *w) {
	cube_list_append(&logs->watchers, &w->entry);
}

void cube_logs_unwatch(struct cube_logs_watcher *w) {
	cube_list_remove(&w->entry);
}
