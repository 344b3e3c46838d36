/* TASK, and the row it is made of. */
#include <stdlib.h>
#include <string.h>

#include "api_impl.h"
#include "cube/mem.h"
#include "cube/spec.h"
#include "cube/task.h"
#include "cube/text.h"
#include "spec_json.h"

#define COMMAND_MAX 512

/* --- what it has of its job --- */

/* argv as a shell would take it, cut. */
static json_t *command_of(const char *spec_json) {
	struct cube_buf b;
	json_t *o = json_loads(spec_json, 0, NULL), *v;
	size_t i;
	cube_buf_init(&b, 8u << 20);
	json_array_foreach(json_object_get(o, "argv"), i, v) {
		char *word;
		if (cube_buf_len(&b) > COMMAND_MAX || cube_bytes_from_json(v, "argv", &word, NULL))
			break;
		if (i) cube_buf_addstr(&b, " ");
		cube_text_shell_quote(&b, word);
		free(word);
	}
	json_decref(o);
	if (cube_buf_len(&b) > COMMAND_MAX) {
		size_t n = COMMAND_MAX - 3;
		while (n && (cube_buf_data(&b)[n] & 0xc0) == 0x80) n--; /* not inside a character */
		cube_buf_truncate(&b, n);
		cube_buf_addstr(&b, "...");
	}
	json_t *text = cube_jv_textn((const char *)cube_buf_data(&b), cube_buf_len(&b));
	cube_buf_done(&b);
	return text;
}

static int take_job(void *arg, const struct cube_job_row *row) {
	struct cube_api_job *job = arg;
	job->name = cube_jv_optional(row->name);
	job->command = command_of(row->spec);
	return 0;
}

static const struct cube_api_job *find_job(struct cube_api *api, uint64_t id) {
	struct cube_api_job *job = &api->jobs[id % CUBE_API_JOBS_CACHED];
	if (job->id == id) return job;
	json_decref(job->name);
	json_decref(job->command);
	*job = (struct cube_api_job){0};
	struct cube_store *s = api->parts.turn->store;
	if (s->ops->job_get(s, id, take_job, job, NULL) == 0) job->id = id;
	return job;
}

/* --- TASK --- */

static json_t *usage_json(const struct cube_task_row *row) {
	return json_pack("{s:o, s:o, s:o, s:o}", "wall",
			 cube_jv_real((double)(row->finished - row->started) / 1e9), "user",
			 cube_jv_real((double)row->user_us / 1e6), "sys",
			 cube_jv_real((double)row->sys_us / 1e6), "max_rss",
			 cube_jv_u64(row->max_rss));
}

static void add_end(json_t *o, const struct cube_task_row *row) {
	bool signaled = row->how == CUBE_EXIT_SIGNALED || row->how == CUBE_EXIT_TIMEOUT ||
			row->how == CUBE_EXIT_STOPPED;
	json_object_set_new(o, "how", json_string(cube_task_how_name(row->how)));
	if (row->how == CUBE_EXIT_EXITED) json_object_set_new(o, "code", json_integer(row->value));
	if (signaled && row->value > 0)
		json_object_set_new(o, "signal", cube_jv_text(cube_spec_signal_name(row->value)));
	json_object_set_new(o, "exit_code",
			    json_integer(cube_task_exit_code(row->how, row->value)));
	if (row->started) json_object_set_new(o, "usage", usage_json(row));
}

static bool is_unknown(struct cube_api *api, const struct cube_task_row *row) {
	if (cube_task_final(row->state) || row->state == CUBE_TASK_PENDING) return false;
	struct cube_node *node = cube_fleet_by_id(api->parts.fleet, row->node);
	return node && (node->state == CUBE_NODE_LOST || node->state == CUBE_NODE_NEEDS_LOGIN ||
			node->state == CUBE_NODE_FAILED);
}

json_t *cube_api_task_json(struct cube_api *api, const struct cube_task_row *row) {
	const struct cube_api_job *job = find_job(api, row->job);
	const char *node = cube_fleet_name(api->parts.fleet, row->node);
	json_t *o = json_object();
	json_object_set_new(o, "id", cube_jv_u64(row->id));
	json_object_set_new(o, "job", cube_jv_u64(row->job));
	json_object_set_new(o, "index", cube_jv_u64(row->index));
	json_object_set_new(o, "name", job->name ? json_incref(job->name) : json_null());
	json_object_set_new(o, "state", json_string(cube_task_state_name(row->state)));
	json_object_set_new(o, "reason", cube_jv_optional(row->reason));
	json_object_set_new(o, "node", cube_jv_optional(node));
	json_object_set_new(o, "attempt", cube_jv_u64(row->attempt));
	json_object_set_new(o, "command",
			    job->command ? json_incref(job->command) : json_string(""));
	json_object_set_new(o, "created", cube_jv_time(row->created));
	json_object_set_new(o, "started", cube_jv_time(row->started));
	json_object_set_new(o, "finished", cube_jv_time(row->finished));
	if (cube_task_final(row->state)) add_end(o, row);
	json_object_set_new(o, "stdout_bytes", cube_jv_u64(row->out_end));
	json_object_set_new(o, "stderr_bytes", cube_jv_u64(row->err_end));
	json_object_set_new(o, "unknown", json_boolean(is_unknown(api, row)));
	return o;
}

/* --- the row --- */

static int take_row(void *arg, const struct cube_task_row *row) {
	struct cube_task_row *to = arg;
	*to = *row;
	to->reason = cube_strdup(row->reason);
	return 0;
}

int cube_api_task_get(struct cube_api *api, uint64_t id, struct cube_task_row *ret,
		      struct cube_err *err) {
	struct cube_store *s = api->parts.turn->store;
	const char *reason;
	const struct cube_task_row *now = cube_work_row(api->parts.work, id, &reason);
	if (now) {
		*ret = *now;
		ret->reason = cube_strdup(reason);
		return 0;
	}
	int rc = s->ops->task_get(s, id, take_row, ret, err);
	if (rc == CUBE_ENOTFOUND)
		cube_fail(err, rc, "there is no task %llu; `cube ps -a` lists them",
			  (unsigned long long)id);
	return rc;
}

int cube_api_named_task(struct cube_api *api, struct cube_request *req, struct cube_task_row *ret,
			struct cube_err *err) {
	uint64_t id;
	int rc = cube_segment_id(req, "id", "task", &id, err);
	if (!rc) rc = cube_api_task_get(api, id, ret, err);
	if (rc) return rc;
	free((char *)ret->reason);
	ret->reason = NULL;
	return 0;
}
