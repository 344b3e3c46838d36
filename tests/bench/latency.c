/* How long a line takes from a task to a reader on the same machine.
 * usage: latency emit N MICROSECONDS   prints N lines, each the time it was written
 *        latency read SKIP             reads them, drops the first SKIP (a follower catching up);
 *                                      prints the count, p50, p99 and maximum in ms */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LINES_MAX = 1000000 };

static uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int emit(long n, long pause_us) {
	struct timespec pause = {pause_us / 1000000, pause_us % 1000000 * 1000};
	for (long i = 0; i < n; i++) {
		printf("%" PRIu64 "\n", now_ns());
		fflush(stdout);
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int compare(const void *a, const void *b) {
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static int read_lines(long skip) {
	uint64_t *v = calloc(LINES_MAX, sizeof *v);
	char line[64];
	size_t n = 0;
	if (!v) return 1;
	while (n < LINES_MAX && fgets(line, sizeof line, stdin)) {
		if (skip-- > 0) continue;
		v[n++] = now_ns() - strtoull(line, NULL, 10);
	}
	qsort(v, n, sizeof *v, compare);
	if (n)
		printf("%zu %.3f %.3f %.3f\n", n, (double)v[n / 2] / 1e6,
		       (double)v[n * 99 / 100] / 1e6, (double)v[n - 1] / 1e6);
	free(v);
	return n == 0;
}

int main(int argc, char **argv) {
	if (argc == 4 && strcmp(argv[1], "emit") == 0)
		return emit(strtol(argv[2], NULL, 10), strtol(argv[3], NULL, 10));
	if (argc == 3 && strcmp(argv[1], "read") == 0) return read_lines(strtol(argv[2], NULL, 10));
	fprintf(stderr, "usage: %s emit N MICROSECONDS | read SKIP\n", argv[0]);
	return 2;
}
