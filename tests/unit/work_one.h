/* One node and one task that it was sent: for tests of what is said of a task. */
#ifndef WORK_ONE_H
#define WORK_ONE_H

#include "work_fleet.h"

static struct cube_node *n1;
static uint64_t id; /* of a task that n1 was sent */

static inline void begin_with(int sqlite, const char *spec) {
	begin(sqlite);
	n1 = node_ready("n1", 4);
	id = add(spec, 1);
	turn();
	ck_assert_uint_eq(last_of(n1, CUBE_MSG_START)->task, id);
	heard_all(n1);
}

static inline void run_it(void) {
	say_ok(n1, about(id, CUBE_MSG_STARTED));
	turn();
	ck_assert_uint_eq(task(id)->row.state, CUBE_TASK_RUNNING);
	heard_all(n1);
}

/* A new link, over which the worker lists the task, or does not. */
static inline void come_back(bool known, bool new_boot) {
	link_up(n1);
	struct cube_msg m = about(id, CUBE_MSG_ATTEMPT);
	m.known.state = CUBE_ATTEMPT_RUNNING;
	m.known.out_end = task(id)->row.out_end;
	if (known) say_ok(n1, m);
	link_ready(n1, new_boot);
	turn();
}

/* A content that is to be had here, for tasks whose spec is "file". */
static inline void file_here(const char *text) {
	char hex[CUBE_SHA256_HEX];
	struct cube_file_in *in;
	struct cube_sha256 h;
	cube_sha256_init(&h);
	cube_sha256_update(&h, text, strlen(text));
	cube_sha256_final(&h, w.file.sha256);
	snprintf(w.file.name, sizeof w.file.name, "data");
	cube_sha256_hex(w.file.sha256, hex);
	ck_assert_int_eq(cube_file_in_begin(w.files, hex, &in, NULL), 0);
	ck_assert_int_eq(cube_file_in_add(in, text, strlen(text), NULL), 0);
	ck_assert_int_eq(cube_file_in_commit(in, NULL), 0);
}

#endif
