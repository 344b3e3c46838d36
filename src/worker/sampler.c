#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/procfs.h"
#include "sampler.h"

enum { TEXT_MAX = 32768, NOT_OPEN = -1, ABSENT = -2 };

typedef void read_fn(struct cube_metric *m, const char *text, size_t n);

static void read_psi_cpu(struct cube_metric *m, const char *text, size_t n) {
	m->psi_cpu = cube_procfs_pressure(text, n);
}
static void read_psi_mem(struct cube_metric *m, const char *text, size_t n) {
	m->psi_mem = cube_procfs_pressure(text, n);
}
static void read_psi_io(struct cube_metric *m, const char *text, size_t n) {
	m->psi_io = cube_procfs_pressure(text, n);
}

/* max: of a long file only so much is of interest (the first line of /proc/stat). */
static const struct {
	const char *path;
	read_fn *read;
	size_t max;
} SOURCES[SAMPLER_FILES] = {
	{"/proc/stat", cube_procfs_stat, 512},
	{"/proc/meminfo", cube_procfs_meminfo, TEXT_MAX},
	{"/proc/loadavg", cube_procfs_loadavg, TEXT_MAX},
	{"/proc/diskstats", cube_procfs_diskstats, TEXT_MAX},
	{"/proc/net/dev", cube_procfs_netdev, TEXT_MAX},
	{"/proc/uptime", cube_procfs_uptime, TEXT_MAX},
	{"/proc/pressure/cpu", read_psi_cpu, TEXT_MAX},
	{"/proc/pressure/memory", read_psi_mem, TEXT_MAX},
	{"/proc/pressure/io", read_psi_io, TEXT_MAX},
};

void sampler_init(struct sampler *s) {
	for (int i = 0; i < SAMPLER_FILES; i++) s->fd[i] = NOT_OPEN;
}

void sampler_done(struct sampler *s) {
	for (int i = 0; i < SAMPLER_FILES; i++) {
		if (s->fd[i] >= 0) close(s->fd[i]);
		s->fd[i] = NOT_OPEN;
	}
}

static size_t read_text(int fd, char *text, size_t max) {
	size_t n = 0;

	while (n < max) {
		ssize_t got = pread(fd, text + n, max - n, (off_t)n);

		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) break;
		n += (size_t)got;
	}
	return n;
}

void sampler_take(struct sampler *s, struct cube_metric *m) {
	char *text = malloc(TEXT_MAX);
	struct statfs fs;

	memset(m, 0, sizeof *m);
	m->psi_cpu = m->psi_mem = m->psi_io = CUBE_METRIC_NONE;
	m->wall = cube_clock_wall();
	for (int i = 0; text && i < SAMPLER_FILES; i++) {
		if (s->fd[i] == NOT_OPEN) {
			s->fd[i] = open(SOURCES[i].path, O_RDONLY | O_CLOEXEC);
			if (s->fd[i] < 0) s->fd[i] = ABSENT;
		}
		if (s->fd[i] < 0) continue;
		SOURCES[i].read(m, text, read_text(s->fd[i], text, SOURCES[i].max));
	}
	free(text);
	if (statfs(".", &fs) < 0) return;
	m->disk_total = (uint64_t)fs.f_blocks * (uint64_t)fs.f_frsize;
	m->disk_free = (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize;
}
