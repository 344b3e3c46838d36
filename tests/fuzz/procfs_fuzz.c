/* Any text to any reader of /proc. */
#include "cube/procfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	const char *text = (const char *)bytes;
	struct cube_metric m = {0};
	struct cube_procfs_pid pid;

	cube_procfs_stat(&m, text, n);
	cube_procfs_meminfo(&m, text, n);
	cube_procfs_loadavg(&m, text, n);
	cube_procfs_diskstats(&m, text, n);
	cube_procfs_netdev(&m, text, n);
	cube_procfs_uptime(&m, text, n);
	cube_procfs_pressure(text, n);
	cube_procfs_pid(&pid, text, n);
	cube_procfs_environ_has(text, n, "A=1");
	return 0;
}
