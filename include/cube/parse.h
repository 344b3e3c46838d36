/* Strict readers for numbers, sizes and durations: the whole text must be one value.
 * All return 0 or CUBE_EUSAGE with a message that quotes the text and says what is accepted.
 */
#ifndef CUBE_PARSE_H
#define CUBE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"

/* Decimal digits only, min <= value <= max. */
int cube_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret, struct cube_err *err);

/* "90s" "10m" "1h30m" "250ms" "1.5s" "2d"; a bare number is seconds. Result in nanoseconds,
 * at most 10 years. */
int cube_parse_duration(const char *s, uint64_t *ret_ns, struct cube_err *err);

/* "64m" "4g" "512k" "100" (bytes), "1.5g", optional trailing "b"/"ib"; powers of 1024, either case.
 */
int cube_parse_size(const char *s, uint64_t *ret_bytes, struct cube_err *err);

/* Short text for people: "0 s" "350 ms" "1.2 s" "3m 20s" "2h 05m" "3d 4h"; "12 B" "3.4 KB" "1.2 GB"
 * (1024-based). Into buf (32 bytes are enough), returns buf. */
char *cube_format_duration(uint64_t ns, char *buf, size_t size);
char *cube_format_size(uint64_t bytes, char *buf, size_t size);

/* The candidate (NULL-terminated list) nearest to word by edit distance, or NULL where none is
 * near enough to be a likely slip (distance <= 1 + strlen/4; swapped neighbours count one). For
 * "did you mean". */
const char *cube_parse_nearest(const char *word, const char *const *candidates);

#endif
