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
	cube_subscribers_free(&logs->subscribers);
	free(logs);
}

void cube_logs_set_segment_max(struct cube_logs *logs, uint64_t bytes) {
	logs->segment_max = bytes;
}

/* --- what this turn touched --- */

static void mark(struct cube_logs *logs, uint64_t task) {
	if (logs->ndirty && logs->dirty[logs->ndirty - 1] == task) return;
	if (logs->ndirty == logs->dirty_cap) {
		logs->dirty_cap = logs->dirty_cap ? logs->dirty_cap * 2 : 64;
		logs->dirty = cube_realloc_array(logs->dirty, logs->dirty_cap, sizeof *logs->dirty);
	}
	logs->dirty[logs->ndirty++] = task;
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
	struct cube_store *s = cube_turn_tx(logs->turn);
	rc = s->ops->chunk_add(s, &row, err);
	if (rc) return rc;
	logs->pos += n;
	logs->version++;
	mark(logs, task);
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

static int by_number(const void *a, const void *b) {
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

void cube_logs_flush(struct cube_logs *logs) {
	if (!logs->ndirty) return;
	qsort(logs->dirty, logs->ndirty, sizeof *logs->dirty, by_number);
	for (size_t i = 0; i < logs->ndirty; i++)
		if (!i || logs->dirty[i] != logs->dirty[i - 1])
			cube_subscribers_tell(&logs->subscribers, logs->dirty[i]);
	logs->ndirty = 0;
}

void cube_logs_subscribe(struct cube_logs *logs, struct cube_subscriber *s) {
	cube_subscriber_add(&logs->subscribers, s);
}
