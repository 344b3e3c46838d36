/* Readers of /proc texts (proc(5), Documentation/accounting/psi.rst). Pure: text in, numbers
 * out; whatever is missing or malformed leaves the fields as they are. */
#ifndef CUBE_PROCFS_H
#define CUBE_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/metric.h"

void cube_procfs_stat(struct cube_metric *m, const char *text, size_t n);    /* /proc/stat */
void cube_procfs_meminfo(struct cube_metric *m, const char *text, size_t n); /* /proc/meminfo */
void cube_procfs_loadavg(struct cube_metric *m, const char *text, size_t n); /* /proc/loadavg */
void cube_procfs_diskstats(struct cube_metric *m, const char *text,
			   size_t n);                                       /* whole disks only */
void cube_procfs_netdev(struct cube_metric *m, const char *text, size_t n); /* /proc/net/dev */
void cube_procfs_uptime(struct cube_metric *m, const char *text, size_t n); /* /proc/uptime */
/* /proc/pressure/{cpu,memory,io}: avg10 of "some", percent x 100; CUBE_METRIC_NONE if absent. */
uint32_t cube_procfs_pressure(const char *text, size_t n);

struct cube_procfs_pid {
	int ppid, pgrp, session;
	char state;
	uint64_t start; /* ticks after boot: with the pid it names a process for good */
};
/* /proc/PID/stat; the command name may hold blanks and parentheses. False when malformed. */
bool cube_procfs_pid(struct cube_procfs_pid *ret, const char *text, size_t n);
/* Whether a NUL-separated environ holds exactly "key=value". */
bool cube_procfs_environ_has(const char *text, size_t n, const char *entry);

#endif
