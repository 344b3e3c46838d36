/* The work as a whole: what is made and ended with it, and its rows ahead of a commit. */
#include "cube/work.h"

#include <stdlib.h>

#include "cube/mem.h"
#include "cube/task.h"
#include "cube/uses.h"
#include "streams.h"
#include "work_impl.h"

/* The changed rows, ahead of a commit. */
static void persist(void *arg) {
	struct cube_work *t = arg;
	struct cube_err err;
	cube_list_each (&t->changed, task, struct cube_task, changes) {
		if (!task->row_changed) continue;
		struct cube_store *s = cube_turn_tx(t->is.turn);
		struct cube_task_row row = task->row;
		row.reason = task->reason ? task->reason : "";
		cube_turn_must(t->is.turn, s->ops->task_put(s, &row, &err), &err);
		task->row_changed = false;
	}
}

/* Only to have another turn. */
static void nothing(void *arg) {}

int cube_work_new(const struct cube_work_parts *parts, struct cube_work **ret,
		  struct cube_err *err) {
	uint32_t node;
	uint64_t job = 0, task = 0;
	struct cube_work *t = cube_alloc(sizeof *t);
	struct cube_store *s = parts->turn->store;
	t->is = *parts;
	cube_list_init(&t->waiting);
	cube_list_init(&t->ending);
	t->again = cube_timer_add(parts->turn->loop, nothing, t);
	cube_list_init(&t->changed);
	cube_list_init(&t->uses);
	cube_list_init(&t->streams_over);
	int rc = s->ops->last_ids(s, &job, &task, &node, err);
	if (!rc) rc = cube_ids_open(parts->folder, parts->cluster, job, task, &t->ids, err);
	if (rc) {
		cube_work_free(t);
		return rc;
	}
	t->hook = (struct cube_turn_hook){.before = persist, .arg = t};
	cube_turn_hook_add(parts->turn, &t->hook);
	cube_seats_listen(t);
	*ret = t;
	return 0;
}

void cube_work_free(struct cube_work *t) {
	if (!t) return;
	cube_streams_free(t);
	cube_uses_free(t);
	cube_timer_del(t->again);
	cube_turn_hook_remove(&t->hook);
	cube_tasks_free(t);
	cube_ids_close(t->ids);
	cube_subscribers_free(&t->subscribers);
	cube_map_free(&t->tasks);
	cube_map_free(&t->jobs);
	free(t);
}
