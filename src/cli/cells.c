/* Table cells: ages, durations, sizes, percentages. */
#include <string.h>
#include <time.h>

#include "cli.h"
#include "cube/clock.h"
#include "cube/parse.h"
#include "render.h"

double cube_time_parse(const char *s) {
	struct tm tm = {0};
	if (!s) return -1;
	const char *rest = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest) return -1;
	double fraction = 0, unit = 0.1;
	if (*rest == '.') {
		for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
			fraction += (*rest - '0') * unit;
	}
	return strcmp(rest, "Z") == 0 ? (double)timegm(&tm) + fraction : -1;
}

int cube_cell_duration(double seconds, bool plain, struct cube_buf *out) {
	char text[32];
	if (seconds < 0 || seconds > 1e9) return 0;
	if (plain) return cube_buf_printf(out, "%.3f", seconds);
	return cube_buf_addstr(out,
			       cube_format_duration((uint64_t)(seconds * 1e9), text, sizeof text));
}

int cube_cell_age(const json_t *row, const char *key, bool plain, struct cube_buf *out) {
	const char *time = json_string_value(json_object_get(row, key));
	if (!time) return 0;
	if (plain) return cube_buf_addstr(out, time);
	double at = cube_time_parse(time), now = (double)cube_clock_wall() / 1e9;
	double age = at < 0 ? -1 : now > at ? now - at : 0;
	if (age >= 1) age = (double)(uint64_t)age; /* whole seconds are enough for an age */
	return cube_cell_duration(age, false, out);
}

int cube_cell_size(double bytes, bool plain, struct cube_buf *out) {
	char text[32];
	if (bytes < 0 || bytes > 1e18) return 0;
	if (plain) return cube_buf_printf(out, "%.0f", bytes);
	return cube_buf_addstr(out, cube_format_size((uint64_t)bytes, text, sizeof text));
}

int cube_cell_percent(double fraction, bool plain, struct cube_buf *out) {
	if (!(fraction >= 0 && fraction <= 1000)) return 0;
	if (plain) return cube_buf_printf(out, "%.4f", fraction);
	return cube_buf_printf(out, "%.0f%%", fraction * 100);
}

int cube_cell_text(const json_t *row, const char *key, struct cube_buf *out) {
	return cube_buf_addstr(out, cube_json_str(row, key, ""));
}

int cube_cell_value(const json_t *row, const char *key, struct cube_buf *out) {
	return json_is_integer(json_object_get(row, key)) ? cube_cell_int(row, key, out)
							  : cube_cell_text(row, key, out);
}

int cube_cell_int(const json_t *row, const char *key, struct cube_buf *out) {
	json_t *v = json_object_get(row, key);
	if (!json_is_integer(v)) return 0;
	return cube_buf_printf(out, "%lld", (long long)json_integer_value(v));
}
