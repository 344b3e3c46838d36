/* One sample of a host's metrics: filled by procfs on the worker, carried by METRIC
 * (PROTOCOL.md section 7), kept by the store. Counters count since boot. */
#ifndef CUBE_METRIC_H
#define CUBE_METRIC_H

#include <stdint.h>

#define CUBE_METRIC_NONE UINT32_MAX /* for the psi_ fields: the kernel has no such figure */

struct cube_metric {
	int64_t wall;                                                   /* ns since 1970 */
	uint64_t cpu_user, cpu_system, cpu_iowait, cpu_steal, cpu_idle; /* 10 ms ticks */
	uint32_t load1, load5, load15;                                  /* x 100 */
	uint64_t mem_total, mem_available, swap_total, swap_free;       /* bytes */
	uint64_t disk_total, disk_free, disk_read, disk_written;        /* bytes */
	uint64_t net_received, net_sent;                                /* bytes, without lo */
	uint32_t running;                                               /* attempts now */
	uint32_t psi_cpu, psi_mem, psi_io;                              /* percent x 100 */
	uint64_t uptime_s;
};

#endif
