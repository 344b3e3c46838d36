#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/procfs.h"
#include "hostile.h"

#define LIT(s) s, sizeof s - 1

/* Texts as kernels print them. */
static const char stat_now[] = "cpu  4979 7 2928 245563 496 3 48 122 9 1\n"
			       "cpu0 1935 0 989 124084 10 0 6 57 0 0\n"
			       "intr 173381 0 0 0 0 0 0\nctxt 351622\nbtime 1795334028\n";
static const char stat_2_6_10[] = "cpu  100 20 30 4000 50 6 7\ncpu0 100 20 30 4000 50 6 7\n";
static const char stat_2_4[] = "cpu  100 20 30 4000\ncpu0 100 20 30 4000\n";

static const char mem_now[] = "MemTotal:       24684084 kB\nMemFree:        24357516 kB\n"
			      "MemAvailable:   24332504 kB\nBuffers:             512 kB\n"
			      "Cached:            76772 kB\nSwapCached:            0 kB\n"
			      "SwapTotal:       1000000 kB\nSwapFree:         999999 kB\n"
			      "Shmem:              1234 kB\nSReclaimable:      20000 kB\n";
static const char mem_3_2[] = "MemTotal:        1000000 kB\nMemFree:          100000 kB\n"
			      "Buffers:           10000 kB\nCached:           200000 kB\n"
			      "SwapCached:            0 kB\nSwapTotal:             0 kB\n"
			      "SwapFree:              0 kB\nShmem:             50000 kB\n"
			      "SReclaimable:      30000 kB\n";

static const char disks[] =
	"   7       0 loop0 10 0 1000 0 10 0 1000 0 0 0 0 0 0 0 0 0 0\n"
	"   1       0 ram0 10 0 1000 0 10 0 1000 0 0 0 0\n"
	" 254       0 vda 32458 9965 3000 12280 13919 6486 5000 4049 0 7316 16796 4782 26 184168 396 1638 69\n"
	" 254       1 vda1 32000 9965 2900 12280 13919 6486 4900 4049 0 7316 16796\n"
	"   8       0 sda 1 0 100 0 1 0 200 0 0 0 0\n"
	"   8       1 sda1 1 0 100 0 1 0 200 0 0 0 0\n"
	"   8      15 sda15 1 0 100 0 1 0 200 0 0 0 0\n"
	"  65     160 sdaa 1 0 10 0 1 0 20 0 0 0 0\n"
	"  65     161 sdaa1 1 0 10 0 1 0 20 0 0 0 0\n"
	" 259       0 nvme0n1 1 0 10000 0 1 0 20000 0 0 0 0\n"
	" 259       1 nvme0n1p1 1 0 9000 0 1 0 19000 0 0 0 0\n"
	" 259       2 nvme0n10 1 0 100000 0 1 0 200000 0 0 0 0\n"
	" 259       3 nvme0n10p12 1 0 100000 0 1 0 200000 0 0 0 0\n"
	" 179       0 mmcblk0 1 0 1000000 0 1 0 2000000 0 0 0 0\n"
	" 179       1 mmcblk0p1 1 0 1000000 0 1 0 2000000 0 0 0 0\n"
	" 253       0 dm-0 1 0 7777777 0 1 0 7777777 0 0 0 0\n"
	"   9     127 md127 1 0 7777777 0 1 0 7777777 0 0 0 0\n"
	" 253       1 zram0 1 0 7777777 0 1 0 7777777 0 0 0 0\n"
	"  11       0 sr0 1 0 7777777 0 1 0 7777777 0 0 0 0\n";
static const char disks_xen[] = " 202       1 xvda1 1 0 11 0 1 0 22 0 0 0 0\n"
				" 202       2 xvda2 1 0 100 0 1 0 200 0 0 0 0\n";
/* Before 2.6.25 partitions had four fields. */
static const char disks_2_6_20[] = "   8    0 sda 1 0 100 0 1 0 200 0 0 0 0\n"
				   "   8    1 sda1 44 90 2 4\n";

static const char net[] =
	"Inter-|   Receive                                                |  Transmit\n"
	" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
	"    lo:    3267      29    0    0    0     0          0         0     3267      29    0    0    0     0       0          0\n"
	"  eth0: 147271589    2823    0    0    0     0          0         0   125849    1694    0    0    0     0       0          0\n"
	"eth0.100:1000    2823    0    0    0     0          0         0   2000    1694    0    0    0     0       0          0\n"
	"  lo2:      10       0    0    0    0     0          0         0       20       0    0    0    0     0       0          0\n";
static const char psi[] = "some avg10=12.34 avg60=0.51 avg300=0.23 total=7304749\n"
			  "full avg10=1.00 avg60=0.00 avg300=0.00 total=0\n";
static const char pid_cat[] =
	"6660 (cat) R 6653 6652 4738 0 -1 4194304 102 0 0 0 0 0 0 0 20 0 1 0 127371 3133440 380 "
	"18446744073709551615 94162886868992 94162886888873 140722428157872 0 0 0 0 0 0 0 0 0 17 1 0\n";
static const char pid_evil[] =
	"17 (a) R 1 (b) ) S 2 -1 -1 0 -1 4194304 102 0 0 0 0 0 0 0 20 0 1 0 9 0\n";

static struct cube_metric marked(void) {
	struct cube_metric m;

	memset(&m, 0x5a, sizeof m);
	return m;
}
static const uint64_t MARK = 0x5a5a5a5a5a5a5a5a;

START_TEST(cpu_ticks) {
	struct cube_metric m = marked();

	cube_procfs_stat(&m, stat_now, sizeof stat_now - 1);
	ck_assert_uint_eq(m.cpu_user, 4979 + 7);
	ck_assert_uint_eq(m.cpu_system, 2928 + 3 + 48);
	ck_assert_uint_eq(m.cpu_idle, 245563);
	ck_assert_uint_eq(m.cpu_iowait, 496);
	ck_assert_uint_eq(m.cpu_steal, 122);
	m = marked();
	cube_procfs_stat(&m, stat_2_6_10, sizeof stat_2_6_10 - 1);
	ck_assert_uint_eq(m.cpu_user, 120);
	ck_assert_uint_eq(m.cpu_system, 43);
	ck_assert_uint_eq(m.cpu_iowait, 50);
	ck_assert_uint_eq(m.cpu_steal, MARK);
	m = marked();
	cube_procfs_stat(&m, stat_2_4, sizeof stat_2_4 - 1);
	ck_assert_uint_eq(m.cpu_idle, 4000);
	ck_assert_uint_eq(m.cpu_system, 30);
	ck_assert_uint_eq(m.cpu_iowait, MARK);
	m = marked();
	cube_procfs_stat(&m, LIT("cpu  1 2 3\ncpu  1 2 3 4\n"));
	cube_procfs_stat(&m, LIT("cpu0 1 2 3 4\n"));
	cube_procfs_stat(&m, LIT("cpu  1 2 3 99999999999999999999\n"));
	ck_assert_uint_eq(m.cpu_user, MARK);
	ck_assert_uint_eq(m.cpu_idle, MARK);
}
END_TEST

START_TEST(meminfo) {
	struct cube_metric m = marked();

	cube_procfs_meminfo(&m, mem_now, sizeof mem_now - 1);
	ck_assert_uint_eq(m.mem_total, 24684084ull * 1024);
	ck_assert_uint_eq(m.mem_available, 24332504ull * 1024);
	ck_assert_uint_eq(m.swap_total, 1000000ull * 1024);
	ck_assert_uint_eq(m.swap_free, 999999ull * 1024);
	m = marked();
	cube_procfs_meminfo(&m, mem_3_2, sizeof mem_3_2 - 1);
	ck_assert_uint_eq(m.mem_available, (100000ull + 10000 + 200000 + 30000 - 50000) * 1024);
	ck_assert_uint_eq(m.swap_total, 0);
	m = marked();
	cube_procfs_meminfo(&m, LIT("MemTotal: x kB\nMemFree: 99999999999999999 kB\nMemTotal"));
	ck_assert_uint_eq(m.mem_total, MARK);
	ck_assert_uint_eq(m.mem_available, MARK);
	cube_procfs_meminfo(&m, LIT("MemFree: 5 kB\nShmem: 9 kB\n")); /* never below what is free */
	ck_assert_uint_eq(m.mem_available, 5 * 1024);
}
END_TEST

START_TEST(loadavg_and_uptime) {
	static const char *const wrong[] = {
		"",       "0.57", "0.57 0.18",       "0.57 0.18 x", "0.57 0.18 0.",
		"-1 0 0", "a",    "99999999999 0 0", "0.1 0.2 0.3x"};
	struct cube_metric m = marked();

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		cube_procfs_loadavg(&m, wrong[i], strlen(wrong[i]));
		if (m.load1 != (uint32_t)MARK) ck_abort_msg("%s", wrong[i]);
	}
	cube_procfs_loadavg(&m, LIT("0.57 10.18 300.06 2/101 6660\n"));
	ck_assert_uint_eq(m.load1, 57);
	ck_assert_uint_eq(m.load5, 1018);
	ck_assert_uint_eq(m.load15, 30006);
	cube_procfs_loadavg(&m, LIT("1 2.5 3.999"));
	ck_assert_uint_eq(m.load1, 100);
	ck_assert_uint_eq(m.load5, 250);
	ck_assert_uint_eq(m.load15, 399);
	cube_procfs_uptime(&m, LIT("x"));
	cube_procfs_uptime(&m, LIT("12y"));
	ck_assert_uint_eq(m.uptime_s, MARK);
	cube_procfs_uptime(&m, LIT("1273.71 2455.63\n"));
	ck_assert_uint_eq(m.uptime_s, 1273);
}
END_TEST

START_TEST(diskstats) {
	struct cube_metric m = marked();

	cube_procfs_diskstats(&m, disks, sizeof disks - 1);
	ck_assert_uint_eq(m.disk_read, (3000 + 100 + 10 + 10000 + 100000 + 1000000) * 512ull);
	ck_assert_uint_eq(m.disk_written, (5000 + 200 + 20 + 20000 + 200000 + 2000000) * 512ull);
	cube_procfs_diskstats(&m, disks_xen, sizeof disks_xen - 1);
	ck_assert_uint_eq(m.disk_read, 111 * 512);
	ck_assert_uint_eq(m.disk_written, 222 * 512);
	cube_procfs_diskstats(&m, disks_2_6_20, sizeof disks_2_6_20 - 1);
	ck_assert_uint_eq(m.disk_read, 100 * 512);
	m = marked();
	cube_procfs_diskstats(&m, LIT("8 0 sda 1 2 3\n8 0\n8 x sda 1 0 100 0 1 0 200\n"));
	ck_assert_uint_eq(m.disk_read, MARK);
}
END_TEST

START_TEST(netdev) {
	struct cube_metric m = marked();

	cube_procfs_netdev(&m, net, 240); /* hardly more than the head */
	ck_assert_uint_eq(m.net_received, MARK);
	cube_procfs_netdev(&m, net, sizeof net - 1);
	ck_assert_uint_eq(m.net_received, 147271589 + 1000 + 10);
	ck_assert_uint_eq(m.net_sent, 125849 + 2000 + 20);
}
END_TEST

START_TEST(pressure) {
	ck_assert_uint_eq(cube_procfs_pressure(psi, sizeof psi - 1), 1234);
	ck_assert_uint_eq(cube_procfs_pressure(LIT("some avg10=100.00 avg60=")), 10000);
	ck_assert_uint_eq(cube_procfs_pressure("", 0), CUBE_METRIC_NONE);
	ck_assert_uint_eq(cube_procfs_pressure(LIT("full avg10=1.00\n")), CUBE_METRIC_NONE);
	ck_assert_uint_eq(cube_procfs_pressure(LIT("some avg10=\n")), CUBE_METRIC_NONE);
	ck_assert_uint_eq(cube_procfs_pressure(LIT("some avg10=99999999999.0\n")),
			  CUBE_METRIC_NONE);
}
END_TEST

START_TEST(pid) {
	struct cube_procfs_pid p = {0};

	ck_assert(cube_procfs_pid(&p, pid_cat, sizeof pid_cat - 1));
	ck_assert_int_eq(p.ppid, 6653);
	ck_assert_int_eq(p.pgrp, 6652);
	ck_assert_int_eq(p.session, 4738);
	ck_assert_int_eq(p.state, 'R');
	ck_assert_uint_eq(p.start, 127371);
	ck_assert(cube_procfs_pid(&p, pid_evil, sizeof pid_evil - 1));
	ck_assert_int_eq(p.state, 'S');
	ck_assert_int_eq(p.ppid, 2);
	ck_assert_int_eq(p.pgrp, -1);
	ck_assert_uint_eq(p.start, 9);
	/* Cut before the start time: refused, and p stays. */
	for (size_t n = 0; n < (size_t)(strstr(pid_cat, "127371") - pid_cat); n++) {
		p.ppid = -7;
		ck_assert(!cube_procfs_pid(&p, pid_cat, n));
		ck_assert_int_eq(p.ppid, -7);
	}
	ck_assert(!cube_procfs_pid(&p,
				   LIT("1 (x) S 99999999999 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 5")));
	ck_assert(!cube_procfs_pid(&p, LIT("1 x S 1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 5")));
}
END_TEST

START_TEST(environ_entries) {
	static const char env[] = "A=1\0CUBE_ID=77\0\0B=\0LAST=x";
	size_t n = sizeof env - 1;

	ck_assert(cube_procfs_environ_has(env, n, "A=1"));
	ck_assert(cube_procfs_environ_has(env, n, "CUBE_ID=77"));
	ck_assert(cube_procfs_environ_has(env, n, "B="));
	ck_assert(cube_procfs_environ_has(env, n, "LAST=x"));
	ck_assert(!cube_procfs_environ_has(env, n, "CUBE_ID=7"));
	ck_assert(!cube_procfs_environ_has(env, n, "CUBE_ID=777"));
	ck_assert(!cube_procfs_environ_has(env, n, "UBE_ID=77"));
	ck_assert(!cube_procfs_environ_has(env, n, "LAST="));
	ck_assert(!cube_procfs_environ_has(env, n, ""));
	ck_assert(!cube_procfs_environ_has("", 0, "A=1"));
	ck_assert(!cube_procfs_environ_has(NULL, 0, "A=1"));
}
END_TEST

static void feed_all(const char *text, size_t n) {
	struct cube_metric m = marked();
	struct cube_procfs_pid p;

	cube_procfs_stat(&m, text, n);
	cube_procfs_meminfo(&m, text, n);
	cube_procfs_loadavg(&m, text, n);
	cube_procfs_diskstats(&m, text, n);
	cube_procfs_netdev(&m, text, n);
	cube_procfs_uptime(&m, text, n);
	cube_procfs_pressure(text, n);
	cube_procfs_pid(&p, text, n);
	cube_procfs_environ_has(text, n, "cpu");
}

/* Each text cut at each byte, and each byte changed, right before a page nobody may read. */
START_TEST(mutations) {
	static const char chars[] = " \n9-:.()a\x80"; /* and NUL */
	static const struct {
		const char *text;
		size_t n;
	} all[] = {
		{stat_now, sizeof stat_now - 1}, {mem_3_2, sizeof mem_3_2 - 1},
		{disks, sizeof disks - 1},       {net, sizeof net - 1},
		{psi, sizeof psi - 1},           {pid_cat, sizeof pid_cat - 1},
		{pid_evil, sizeof pid_evil - 1}, {LIT("0.57 0.18 0.06 2/101 6660\n")},
	};
	struct guard g;

	guard_init(&g, 4096);
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		for (size_t at = 0; at < all[i].n; at++) {
			feed_all((const char *)guard_put(&g, all[i].text, at), at);
			for (size_t c = 0; c < sizeof chars; c++) {
				uint8_t *text = guard_put(&g, all[i].text, all[i].n);

				text[at] = (uint8_t)chars[c];
				feed_all((const char *)text, all[i].n);
			}
		}
	guard_done(&g);
}
END_TEST

/* What this machine prints is understood. */
START_TEST(this_machine) {
	struct cube_metric m = {0};
	struct cube_procfs_pid p;
	char text[65536];
	FILE *f;

#define READ(path, call)                                   \
	f = fopen(path, "re");                             \
	if (f) {                                           \
		size_t n = fread(text, 1, sizeof text, f); \
		fclose(f);                                 \
		call;                                      \
	}
	READ("/proc/stat", cube_procfs_stat(&m, text, n); ck_assert_uint_gt(m.cpu_user, 0));
	READ("/proc/meminfo", cube_procfs_meminfo(&m, text, n);
	     ck_assert_uint_gt(m.mem_available, 0);
	     ck_assert_uint_ge(m.mem_total, m.mem_available));
	READ("/proc/self/stat", ck_assert(cube_procfs_pid(&p, text, n));
	     ck_assert_int_eq(p.ppid, getppid()); ck_assert_int_eq(p.session, getsid(0)));
	READ("/proc/uptime", cube_procfs_uptime(&m, text, n); ck_assert_uint_gt(m.uptime_s, 0));
#undef READ
}
END_TEST

int main(void) {
	Suite *s = suite_create("procfs");
	TCase *tc = tcase_create("procfs");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, cpu_ticks);
	tcase_add_test(tc, meminfo);
	tcase_add_test(tc, loadavg_and_uptime);
	tcase_add_test(tc, diskstats);
	tcase_add_test(tc, netdev);
	tcase_add_test(tc, pressure);
	tcase_add_test(tc, pid);
	tcase_add_test(tc, environ_entries);
	tcase_add_test(tc, mutations);
	tcase_add_test(tc, this_machine);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
