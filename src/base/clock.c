#include <stddef.h>
#include <time.h>

#include "cube/clock.h"

static const struct cube_clock_source system_clocks, *clocks = &system_clocks;

void cube_clock_set_source(const struct cube_clock_source *source) {
	clocks = source ? source : &system_clocks;
}

uint64_t cube_clock_mono(void) {
	struct timespec ts;

	if (clocks->mono) return clocks->mono();
	clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail: the clock exists, ts is ours */
	return (uint64_t)ts.tv_sec * CUBE_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t cube_clock_asleep(void) {
	struct timespec boot, mono;

	if (clocks->asleep) return clocks->asleep();
	/* In this order: what passes between the two calls does not count as sleep. */
	if (clock_gettime(CLOCK_BOOTTIME, &boot) < 0) return 0;
	clock_gettime(CLOCK_MONOTONIC, &mono);
	int64_t ns =
		(boot.tv_sec - mono.tv_sec) * (int64_t)CUBE_NS_PER_S + boot.tv_nsec - mono.tv_nsec;
	return ns > 0 ? (uint64_t)ns : 0;
}

int64_t cube_clock_wall(void) {
	struct timespec ts;

	if (clocks->wall) return clocks->wall();
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * (int64_t)CUBE_NS_PER_S + ts.tv_nsec;
}

static char *put_digits(char *p, unsigned value, unsigned width, char after) {
	for (unsigned i = width; i-- > 0; value /= 10) p[i] = (char)('0' + value % 10);
	p[width] = after;
	return p + width + 1;
}

/* Civil date of a day count, by eras of 400 years that start on 1 March: leap days come last.
 * int64 nanoseconds reach from 1677 to 2262, so all counts from year 0 on are positive. */
static char *put_date(char *p, int64_t days_since_1970) {
	unsigned z = (unsigned)(days_since_1970 + 719468);
	unsigned era = z / 146097, doe = z % 146097;
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;
	unsigned year = era * 400 + yoe + (month <= 2);

	p = put_digits(p, year, 4, '-');
	p = put_digits(p, month, 2, '-');
	return put_digits(p, doy - (153 * mp + 2) / 5 + 1, 2, 'T');
}

char *cube_clock_rfc3339(int64_t wall_ns, char *buf) {
	int64_t ms = wall_ns / 1000000, days;
	unsigned of_day;
	char *p;

	if (wall_ns % 1000000 < 0) ms--; /* round down, also before 1970 */
	days = ms / 86400000;
	if (ms % 86400000 < 0) days--;
	of_day = (unsigned)(ms - days * 86400000);

	p = put_date(buf, days);
	p = put_digits(p, of_day / 3600000, 2, ':');
	p = put_digits(p, of_day / 60000 % 60, 2, ':');
	p = put_digits(p, of_day / 1000 % 60, 2, '.');
	p = put_digits(p, of_day % 1000, 3, 'Z');
	*p = '\0';
	return buf;
}
