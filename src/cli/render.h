/* Listings: tables for people; json, jsonl and csv for programs, whose keys are stable. */
#ifndef CUBE_CLI_RENDER_H
#define CUBE_CLI_RENDER_H

#include <jansson.h>
#include <stdbool.h>

#include "cube/buf.h"
#include "options.h"

#define CUBE_RENDER_MAX (256u << 20)

struct cube_listing { /* options of the commands that list */
	const char *output;
	bool no_headers;
};
extern const struct cube_option cube_listing_options[];
/* The option row -o of what has all forms. */
#define CUBE_OUTPUT_ROW(at)                                                                     \
	{                                                                                       \
		"output", NULL, 'o', CUBE_OPT_STRING, at, "FORMAT",                             \
			"table, wide, json, jsonl or csv", "table", "table|wide|json|jsonl|csv" \
	}
#define CUBE_LISTING_GROUP(type) \
	{ "Listing", cube_listing_options, offsetof(type, list) }

struct cube_column {
	const char *title; /* "NAME"; a column without title ends the list */
	const char *key;   /* the csv header */
	bool right;        /* aligned */
	bool wide;         /* only with -o wide, and in csv */
	uint8_t shrinks;   /* may be cut to this width to fit the terminal, further only where all
			    * that can be spared was left out; 0: never */
	uint8_t drop;      /* left out where that is not enough, 1 first; 0: never */
	/* Appends the cell. plain: for a program (csv), else for a person. */
	int (*cell)(const json_t *row, bool plain, struct cube_buf *out);
};

/* Prints array (borrowed) on stdout as list says; name is the listing's member in JSON:
 * {"version": 1, "<name>": [...]}. Returns an exit code. */
int cube_render_list(const struct cube_listing *list, const struct cube_column *columns,
		     const char *name, const json_t *array);
/* Only this member of each row, one a line (-q). */
int cube_render_values(const json_t *array, const char *key);
/* One object: indented JSON, one line for jsonl, key,value lines for csv; else "key value" lines.
 */
int cube_render_object(const char *output, const json_t *object);

/* The parts, for tests and for `cube top`. width 0: unlimited. */
struct cube_render_style {
	size_t width;
	bool wide, headers, bold; /* bold: escape codes for the headers */
};
int cube_render_table(const struct cube_render_style *style, const struct cube_column *columns,
		      const json_t *array, struct cube_buf *out);
int cube_render_csv(bool headers, const struct cube_column *columns, const json_t *array,
		    struct cube_buf *out);
/* JSON whose text is safe on a terminal as well: no DEL and no C1 control comes out bare. */
int cube_render_json(const json_t *json, size_t flags, struct cube_buf *out);
/* Appends at most width columns of text, "…" at the end of what was cut. */
int cube_render_cut(const char *text, size_t width, struct cube_buf *out);
/* Appends text, well-formed as escaped text is, in lines of at most width columns that end where a
 * word does, all but the first indented; a word that is longer has a line of its own. */
int cube_render_wrap(const char *text, size_t width, size_t indent, struct cube_buf *out);

/* Columns and rows of the terminal on fd; false where it is none. $COLUMNS and $LINES go first. */
bool cube_render_terminal(int fd, size_t *ret_columns, size_t *ret_rows);
bool cube_render_live(int fd); /* a terminal on which the cursor can be moved: TERM set, not dumb */
bool cube_render_colour(int fd); /* that, and NO_COLOR unset */
/* Writes all to stdout; an exit code: 0, 141 where nobody reads any more, or 125. */
int cube_render_print(struct cube_buf *out);

/* Cells that several listings share. */
int cube_cell_age(const json_t *row, const char *key, bool plain, struct cube_buf *out);
int cube_cell_duration(double seconds, bool plain, struct cube_buf *out);
int cube_cell_size(double bytes, bool plain, struct cube_buf *out);
int cube_cell_percent(double fraction, bool plain, struct cube_buf *out);
int cube_cell_text(const json_t *row, const char *key, struct cube_buf *out);
int cube_cell_int(const json_t *row, const char *key, struct cube_buf *out);
int cube_cell_value(const json_t *row, const char *key, struct cube_buf *out); /* of either */
/* Seconds since 1970 of "2026-11-22T07:54:39.123Z"; -1 where it is none. */
double cube_time_parse(const char *rfc3339);

#endif
