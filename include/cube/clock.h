/* Time: the only place in cube that reads a clock.
 *
 * Durations, deadlines and intervals use the monotonic clock; the wall clock is for display
 * and for the database. All in nanoseconds. Tests replace them with cube_clock_set_source.
 */
#ifndef CUBE_CLOCK_H
#define CUBE_CLOCK_H

#include <stdint.h>

#define CUBE_NS_PER_MS 1000000ull
#define CUBE_NS_PER_S  1000000000ull

uint64_t cube_clock_mono(void);   /* ns, CLOCK_MONOTONIC: from an arbitrary start, never back */
uint64_t cube_clock_asleep(void); /* ns that this machine was suspended since it booted: the
				     monotonic clock stood still meanwhile */
int64_t cube_clock_wall(void);    /* ns since 1970-01-01 UTC */

/* Replaces the clocks; where a function is NULL it is the system's, and NULL restores all of them.
 * Borrowed. The only mutable global beside the log level. */
struct cube_clock_source {
	uint64_t (*mono)(void);
	uint64_t (*asleep)(void);
	int64_t (*wall)(void);
};
void cube_clock_set_source(const struct cube_clock_source *source);

/* "2026-11-22T07:54:39.123Z" (RFC 3339, UTC, ms) into buf of at least 25 bytes; returns buf. */
char *cube_clock_rfc3339(int64_t wall_ns, char *buf);

#endif
