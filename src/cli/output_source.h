/* One stream of one task, shared by output.c and fold.c. */
#ifndef CUBE_CLI_OUTPUT_SOURCE_H
#define CUBE_CLI_OUTPUT_SOURCE_H

#include "output.h"

struct cube_output_source {
	struct cube_lines lines;
	struct cube_output *output;
	int fd;
	char *node;
	char begun[40], time[40]; /* of the unfinished line, and of the bytes now fed */
	bool ended;
	bool waiting;         /* in the held list */
	struct cube_buf held; /* arrived while another one had an open line */
	struct cube_output_source *next;
	bool gathering;
	struct cube_buf gathered;
};

int cube_output_write(struct cube_output *o, int fd, const void *bytes, size_t n); /* buffered */
int cube_output_print(struct cube_output_source *s, const void *bytes, size_t n);
int cube_output_fold(struct cube_output *o);

#endif
