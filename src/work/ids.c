#include "ids.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/id.h"
#include "cube/log.h"
#include "cube/mem.h"

#define RANGE_MIN 64u
#define RANGE_MAX 65536u
#define BUSY_NS   (10 * CUBE_NS_PER_S) /* a range that did not last longer: the next is larger */
#define ABOVE_MAX (UINT64_C(1) << 24)
#define LINE_MAX  96
#define FORMAT    "cube-ids %016" PRIx64 " %" PRIu64 " %" PRIu64 "\n" /* cluster, job, task */

struct mark {
	uint64_t last; /* given */
	uint64_t end;  /* may be given: no more than what the file says */
};

struct cube_ids {
	int folder; /* -1: nothing is kept */
	uint64_t cluster;
	struct mark job, task;
	uint64_t own;         /* the last task that was not told by a host */
	uint32_t range;       /* the present one's size */
	uint64_t reserved_at; /* mono; 0: not yet */
};

/* ---- the file -------------------------------------------------------------------------------- */

static int fail(struct cube_err *err, int sys, const char *step) {
	cube_fail(err, CUBE_ESYS, "ids, the file beside the database: %s: %s", step, strerror(sys));
	err->sys = sys;
	return CUBE_ESYS;
}

/* The new content is whole on the disk before it takes the place of the old one. */
static int write_synced(int folder, const char *line, struct cube_err *err) {
	size_t n = strlen(line);
	int fd = openat(folder, "ids.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) return fail(err, errno, "making it");
	ssize_t done = write(fd, line, n);
	int rc = 0;
	if (done != (ssize_t)n) rc = fail(err, done < 0 ? errno : ENOSPC, "writing it");
	else if (fdatasync(fd) < 0) rc = fail(err, errno, "writing it to the disk");
	close(fd);
	if (!rc && renameat(folder, "ids.new", folder, "ids") < 0)
		rc = fail(err, errno, "putting it into its place");
	if (!rc && fsync(folder) < 0) rc = fail(err, errno, "writing the folder to the disk");
	return rc;
}

static int save(struct cube_ids *ids, uint64_t job, uint64_t task, struct cube_err *err) {
	char line[LINE_MAX];
	if (ids->folder < 0) return 0;
	snprintf(line, sizeof line, FORMAT, ids->cluster, job, task);
	return write_synced(ids->folder, line, err);
}

/* What save wrote, and nothing else. */
static bool parse(const char *line, uint64_t *ret_cluster, uint64_t *ret_job, uint64_t *ret_task) {
	char again[LINE_MAX], *end = (char *)line;
	if (strncmp(line, "cube-ids ", 9) != 0) return false;
	*ret_cluster = strtoull(line + 9, &end, 16);
	*ret_job = strtoull(end, &end, 10);
	*ret_task = strtoull(end, &end, 10);
	snprintf(again, sizeof again, FORMAT, *ret_cluster, *ret_job, *ret_task);
	return strcmp(line, again) == 0 && *ret_job <= INT64_MAX && *ret_task <= INT64_MAX;
}

static void raise(struct mark *m, uint64_t last) {
	if (last > m->last) m->last = last;
}

static int load(struct cube_ids *ids, struct cube_err *err) {
	char line[LINE_MAX] = "";
	uint64_t cluster, job, task;
	int fd = openat(ids->folder, "ids", O_RDONLY | O_CLOEXEC);
	if (fd < 0) return errno == ENOENT ? 0 : fail(err, errno, "reading it");
	ssize_t n = read(fd, line, sizeof line - 1);
	int sys = errno;
	close(fd);
	if (n < 0) return fail(err, sys, "reading it");
	if (!parse(line, &cluster, &job, &task)) {
		cube_warn("the file ids in the state folder is damaged; new numbers go on above "
			  "those in the database");
		return 0;
	}
	if (cluster != ids->cluster) return 0;
	raise(&ids->job, job);
	raise(&ids->task, task);
	return 0;
}

/* ---- giving ---------------------------------------------------------------------------------- */

int cube_ids_open(const char *folder, uint64_t cluster, uint64_t last_job, uint64_t last_task,
		  struct cube_ids **ret, struct cube_err *err) {
	struct cube_ids *ids = cube_alloc(sizeof *ids);
	*ids = (struct cube_ids){
		.folder = -1, .cluster = cluster, .job.last = last_job, .task.last = last_task};
	int rc = 0;
	if (folder) {
		ids->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = ids->folder < 0 ? fail(err, errno, "opening its folder") : load(ids, err);
	}
	if (rc) {
		cube_ids_close(ids);
		return rc;
	}
	ids->own = ids->task.last;
	*ret = ids;
	return 0;
}

void cube_ids_close(struct cube_ids *ids) {
	struct cube_err err;
	if (!ids) return;
	if ((ids->job.end > ids->job.last || ids->task.end > ids->task.last) &&
	    save(ids, ids->job.last, ids->task.last, &err) < 0)
		cube_warn("%s", err.msg); /* what is there leaves more numbers out: no harm */
	if (ids->folder >= 0) close(ids->folder);
	free(ids);
}

static uint64_t higher(uint64_t a, uint64_t b) {
	return a > b ? a : b;
}

/* Room for a job and count tasks, and for some more. */
static int reserve(struct cube_ids *ids, uint32_t count, struct cube_err *err) {
	uint64_t now = cube_clock_mono();
	bool busy = ids->reserved_at && now - ids->reserved_at < BUSY_NS;
	uint32_t range = busy ? ids->range * 2 : RANGE_MIN;
	if (range > RANGE_MAX) range = RANGE_MAX;
	uint64_t job = higher(ids->job.end, ids->job.last + range);
	uint64_t task = higher(ids->task.end, ids->task.last + (count > range ? count : range));
	int rc = save(ids, job, task, err);
	if (rc) return rc;
	ids->job.end = job;
	ids->task.end = task;
	ids->range = range;
	ids->reserved_at = now;
	return 0;
}

int cube_ids_take(struct cube_ids *ids, uint32_t count, uint64_t *ret_job, uint64_t *ret_first,
		  struct cube_err *err) {
	int rc = 0;
	if (higher(ids->job.last, ids->task.last) >= (uint64_t)INT64_MAX - RANGE_MAX - count)
		return cube_fail(err, CUBE_ETOOBIG, "all numbers for tasks were given");
	if (ids->job.last + 1 > ids->job.end || ids->task.last + count > ids->task.end)
		rc = reserve(ids, count, err);
	if (rc) return rc;
	*ret_job = ++ids->job.last;
	*ret_first = ids->task.last + 1;
	ids->task.last += count;
	ids->own = ids->task.last;
	return 0;
}

void cube_ids_above(struct cube_ids *ids, uint64_t task) {
	if (task > ids->task.last && task - ids->own <= ABOVE_MAX) ids->task.last = task;
}
