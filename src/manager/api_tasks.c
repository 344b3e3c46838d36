/* Tasks: adding, listing, ending, signals. */
#include <stdlib.h>
#include <string.h>

#include "api_impl.h"
#include "cube/mem.h"
#include "cube/sha256.h"
#include "cube/spec.h"
#include "cube/task.h"
#include "cube/text.h"
#include "files.h"
#include "spec_json.h"
#include "tasks.h"

#define COMMAND_MAX 512
#define COUNT_MAX   1000000
#define PAGE_ROWS   512

/* --- TASK --- */

/* argv as a shell would take it, cut. */
static char *command_of(const char *spec_json) {
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
	char *text = cube_strndup((const char *)cube_buf_data(&b), cube_buf_len(&b));
	cube_buf_done(&b);
	return text;
}

static int take_job(void *arg, const struct cube_job_row *row) {
	struct cube_api_job *job = arg;
	job->name = cube_strdup(row->name);
	job->command = command_of(row->spec);
	return 0;
}

static const struct cube_api_job *find_job(struct cube_api *api, uint64_t id) {
	struct cube_api_job *job = &api->jobs[id % CUBE_API_JOBS_CACHED];
	if (job->id == id) return job;
	free(job->name);
	free(job->command);
	*job = (struct cube_api_job){0};
	struct cube_store *s = api->m->store;
	if (s->ops->job_get(s, id, take_job, job, NULL) == 0) job->id = id;
	return job;
}

static void end_json(struct cube_jw *j, const struct cube_task_row *row) {
	bool signaled = row->how == CUBE_EXIT_SIGNALED || row->how == CUBE_EXIT_TIMEOUT ||
			row->how == CUBE_EXIT_STOPPED;
	cube_jw_str(j, "how", cube_task_how_name(row->how));
	if (row->how == CUBE_EXIT_EXITED) cube_jw_i64(j, "code", row->value);
	if (signaled && row->value > 0) cube_jw_str(j, "signal", cube_spec_signal_name(row->value));
	cube_jw_i64(j, "exit_code", cube_task_exit_code(row->how, row->value));
	if (!row->started) return;
	cube_jw_open(j, "usage", '{');
	cube_jw_real(j, "wall", (double)(row->finished - row->started) / 1e9);
	cube_jw_real(j, "user", (double)row->user_us / 1e6);
	cube_jw_real(j, "sys", (double)row->sys_us / 1e6);
	cube_jw_u64(j, "max_rss", row->max_rss);
	cube_jw_close(j, '}');
}

static bool is_lost(struct cube_api *api, const struct cube_task_row *row) {
	if (cube_task_final(row->state) || row->state == CUBE_TASK_PENDING) return false;
	struct cube_mnode *node = cube_nodes_by_id(api->m->nodes, row->node);
	return node && node->state == CUBE_NODE_LOST;
}

static void task_fields(struct cube_api *api, struct cube_jw *j, const struct cube_task_row *row) {
	const struct cube_api_job *job = find_job(api, row->job);
	cube_jw_u64(j, "id", row->id);
	cube_jw_u64(j, "job", row->job);
	cube_jw_u64(j, "index", row->index);
	cube_jw_str(j, "name", job->name && *job->name ? job->name : NULL);
	cube_jw_str(j, "state", cube_task_state_name(row->state));
	cube_jw_str(j, "reason", row->reason && *row->reason ? row->reason : NULL);
	const char *node = cube_nodes_name(api->m->nodes, row->node);
	cube_jw_str(j, "node", *node ? node : NULL);
	cube_jw_u64(j, "attempt", row->attempt);
	cube_jw_str(j, "command", job->command ? job->command : "");
	cube_jw_time(j, "created", row->created);
	cube_jw_time(j, "started", row->started);
	cube_jw_time(j, "finished", row->finished);
	if (cube_task_final(row->state)) end_json(j, row);
	cube_jw_u64(j, "stdout_bytes", row->out_end);
	cube_jw_u64(j, "stderr_bytes", row->err_end);
	cube_jw_bool(j, "lost", is_lost(api, row));
}

void cube_api_task_json(struct cube_api *api, struct cube_jw *j, const char *key,
			const struct cube_task_row *row) {
	cube_jw_open(j, key, '{');
	task_fields(api, j, row);
	cube_jw_close(j, '}');
}

static int take_row(void *arg, const struct cube_task_row *row) {
	struct cube_task_row *to = arg;
	*to = *row;
	to->reason = cube_strdup(row->reason);
	return 0;
}

int cube_api_task_get(struct cube_api *api, uint64_t id, struct cube_task_row *ret,
		      struct cube_err *err) {
	struct cube_store *s = api->m->store;
	cube_manager_commit(api->m);
	int rc = s->ops->task_get(s, id, take_row, ret, err);
	if (rc == CUBE_ENOTFOUND)
		cube_fail(err, rc, "there is no task %llu", (unsigned long long)id);
	return rc;
}

static int take_first(void *arg, const struct cube_task_row *row) {
	*(uint64_t *)arg = row->id;
	return 0;
}

static int take_count(void *arg, const struct cube_job_row *row) {
	*(uint32_t *)arg = row->tasks;
	return 0;
}

int cube_api_job_range(struct cube_api *api, uint64_t job, uint64_t *ret_first, uint64_t *ret_last,
		       struct cube_err *err) {
	struct cube_store *s = api->m->store;
	uint64_t first = 0;
	uint32_t count = 0;
	cube_manager_commit(api->m);
	int rc = s->ops->job_get(s, job, take_count, &count, err);
	struct cube_task_filter filter = {.job = job, .limit = 1};
	if (!rc) rc = s->ops->task_list(s, &filter, take_first, &first, err);
	if (rc == CUBE_ENOTFOUND || (!rc && !first))
		return cube_fail(err, CUBE_ENOTFOUND, "there is no job %llu",
				 (unsigned long long)job);
	if (rc) return rc;
	*ret_first = first;
	*ret_last = first + count - 1;
	return 0;
}

/* --- POST /v1/tasks --- */

struct post {
	json_t *spec[8]; /* looked at by cube_spec_from_json */
	uint64_t count;
	bool all;
	json_t *nodes;
	uint32_t *ids;
	size_t nids;
	struct cube_tasks_request request;
	char *text;
};

#define SPEC_FIELD(n, i) \
	{ n, CUBE_FIELD_ANY, .at = offsetof(struct post, spec[i]) }
static const struct cube_field post_fields[] = {
	SPEC_FIELD("argv", 0),
	SPEC_FIELD("env", 1),
	SPEC_FIELD("dir", 2),
	SPEC_FIELD("timeout", 3),
	SPEC_FIELD("grace", 4),
	SPEC_FIELD("name", 5),
	SPEC_FIELD("stdin", 6),
	SPEC_FIELD("files", 7),
	{"count", CUBE_FIELD_INTEGER, .min = 1, .max = COUNT_MAX,
	 .at = offsetof(struct post, count)},
	{"all", CUBE_FIELD_BOOL, .at = offsetof(struct post, all)},
	{"nodes", CUBE_FIELD_ARRAY, .at = offsetof(struct post, nodes)},
};

static int find_nodes(struct cube_api *api, struct post *p, struct cube_err *err) {
	struct cube_nodes *nodes = api->m->nodes;
	size_t n = p->nodes ? json_array_size(p->nodes) : cube_nodes_count(nodes), i;
	json_t *v;
	p->ids = cube_realloc_array(NULL, n + 1, sizeof *p->ids);
	json_array_foreach(p->nodes, i, v) {
		const char *name = json_string_value(v);
		if (!name) return cube_fail(err, CUBE_EUSAGE, "nodes: must be an array of names");
		struct cube_mnode *node = cube_nodes_find(nodes, name);
		if (!node)
			return cube_fail(err, CUBE_ENOTFOUND, "nodes: there is no node '%.80s'",
					 name);
		p->ids[p->nids++] = node->id;
	}
	if (p->nodes && !p->nids) return cube_fail(err, CUBE_EUSAGE, "nodes: is empty");
	if (!p->all || p->nodes) return 0;
	cube_list_each (cube_nodes_list(nodes), node, struct cube_mnode, link) {
		if (node->state != CUBE_NODE_LEAVING) p->ids[p->nids++] = node->id;
	}
	return 0;
}

static int check_files(struct cube_api *api, const struct cube_spec *spec, struct cube_err *err) {
	char hex[CUBE_SHA256_HEX];
	for (uint32_t i = 0; i < spec->nfiles; i++) {
		cube_sha256_hex(spec->files[i].sha256, hex);
		if (!cube_files_has(api->m->files, hex))
			return cube_fail(err, CUBE_ECONFLICT,
					 "files: content %s is not here; send it first", hex);
	}
	return 0;
}

static int read_post(struct cube_api *api, struct post *p, const json_t *body,
		     struct cube_err *err) {
	p->count = 1;
	int rc = cube_fields_read(body, post_fields, sizeof post_fields / sizeof post_fields[0], p,
				  err);
	if (!rc) rc = cube_spec_from_json(&p->request.spec, body, err);
	if (!rc && p->all && json_object_get(body, "count"))
		rc = cube_fail(err, CUBE_EUSAGE, "count: not together with all");
	if (!rc) rc = check_files(api, &p->request.spec, err);
	if (!rc) rc = find_nodes(api, p, err);
	if (rc) return rc;
	json_t *spec = cube_spec_to_json(&p->request.spec);
	if (p->nodes) json_object_set(spec, "nodes", p->nodes);
	if (p->all) json_object_set_new(spec, "all", json_true());
	if (p->count > 1) json_object_set_new(spec, "count", json_integer((json_int_t)p->count));
	p->text = json_dumps(spec, JSON_COMPACT);
	json_decref(spec);
	p->request.spec_json = p->text;
	p->request.count = (uint32_t)p->count;
	p->request.all = p->all;
	p->request.nodes = p->ids;
	p->request.nnodes = p->nids;
	return 0;
}

void cube_api_tasks_post(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct post p = {0};
	struct cube_err err;
	json_t *body = NULL;
	uint64_t job, first;
	uint32_t count;
	int rc = cube_body_json(req, &body, &err);
	if (!rc) rc = read_post(api, &p, body, &err);
	if (!rc) rc = cube_tasks_add(api->m->tasks, &p.request, &job, &first, &count, &err);
	if (rc) {
		cube_reply_error(req, &err);
	} else {
		struct cube_jw j;
		struct cube_buf out;
		cube_api_begin(api, &j, &out);
		cube_jw_open(&j, NULL, '{');
		cube_jw_u64(&j, "job", job);
		cube_jw_u64(&j, "first", first);
		cube_jw_u64(&j, "count", count);
		cube_jw_close(&j, '}');
		cube_reply_json(req, 201, &j);
	}
	cube_spec_done(&p.request.spec);
	free(p.ids);
	free(p.text);
	json_decref(body);
}

/* --- one task --- */

static int add_spec(void *arg, const struct cube_job_row *row) {
	cube_jw_raw(arg, "spec", row->spec);
	return 0;
}

void cube_api_task_show(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_task_row row;
	struct cube_err err;
	uint64_t id;
	int rc = cube_segment_id(req, "id", "task", &id, &err);
	if (!rc) rc = cube_api_task_get(api, id, &row, &err);
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	struct cube_jw j;
	struct cube_buf out;
	cube_api_begin(api, &j, &out);
	cube_jw_open(&j, NULL, '{');
	task_fields(api, &j, &row);
	api->m->store->ops->job_get(api->m->store, row.job, add_spec, &j, NULL);
	cube_jw_close(&j, '}');
	free((char *)row.reason);
	cube_reply_json(req, 200, &j);
}

static int read_grace(struct cube_request *req, uint32_t *ret, struct cube_err *err) {
	const char *v = cube_request_query(req, "grace");
	*ret = UINT32_MAX;
	if (!v) return 0;
	char *end;
	double s = strtod(v, &end);
	if (end == v || *end || !(s >= 0 && s <= 4000000))
		return cube_fail(err, CUBE_EUSAGE, "grace: must be a number of 0..4000000 seconds");
	*ret = (uint32_t)(s * 1000);
	return 0;
}

void cube_api_task_delete(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_task_row row;
	struct cube_err err;
	uint64_t id;
	uint32_t grace;
	int rc = cube_segment_id(req, "id", "task", &id, &err);
	if (!rc) rc = read_grace(req, &grace, &err);
	if (!rc) rc = cube_api_task_get(api, id, &row, &err);
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	free((char *)row.reason);
	struct cube_task *task = cube_tasks_find(api->m->tasks, id);
	bool stops = task && !cube_task_final(task->row.state);
	if (stops) cube_tasks_stop(api->m->tasks, task, grace);
	rc = cube_api_task_get(api, id, &row, &err);
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	struct cube_jw j;
	struct cube_buf out;
	cube_api_begin(api, &j, &out);
	cube_api_task_json(api, &j, NULL, &row);
	free((char *)row.reason);
	cube_reply_json(req, stops ? 202 : 200, &j);
}

/* --- signals, and whole jobs --- */

struct signal_body {
	const char *signal;
};
static const struct cube_field signal_fields[] = {
	{"signal", CUBE_FIELD_STRING, .required = true, .at = offsetof(struct signal_body, signal)},
};

static int read_signal(struct cube_request *req, int *ret, struct cube_err *err) {
	json_t *body;
	struct signal_body b = {0};
	int rc = cube_body_json(req, &body, err);
	if (rc) return rc;
	rc = cube_fields_read(body, signal_fields, 1, &b, err);
	if (!rc) {
		*ret = cube_spec_signal(b.signal);
		if (*ret <= 0)
			rc = cube_fail(err, CUBE_EUSAGE, "signal: '%.40s' is no signal", b.signal);
	}
	json_decref(body);
	return rc;
}

static void reply_count(struct cube_api *api, struct cube_request *req, int status,
			const char *what, uint64_t id, uint64_t n) {
	struct cube_jw j;
	struct cube_buf out;
	cube_api_begin(api, &j, &out);
	cube_jw_open(&j, NULL, '{');
	cube_jw_u64(&j, what, id);
	cube_jw_u64(&j, "tasks", n);
	cube_jw_close(&j, '}');
	cube_reply_json(req, status, &j);
}

void cube_api_task_signal(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_task_row row;
	struct cube_err err;
	uint64_t id;
	int signo;
	int rc = cube_segment_id(req, "id", "task", &id, &err);
	if (!rc) rc = read_signal(req, &signo, &err);
	if (!rc) rc = cube_api_task_get(api, id, &row, &err);
	struct cube_task *task = rc ? NULL : cube_tasks_find(api->m->tasks, id);
	if (!rc) free((char *)row.reason);
	if (!rc && (!task || task->row.state != CUBE_TASK_RUNNING))
		rc = cube_fail(&err, CUBE_ECONFLICT, "task %llu is not running but %s",
			       (unsigned long long)id, cube_task_state_name(row.state));
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	cube_tasks_signal(api->m->tasks, task, signo);
	reply_count(api, req, 202, "task", id, 1);
}

void cube_api_job_delete(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_err err;
	uint64_t job, first, last, n = 0;
	uint32_t grace;
	int rc = cube_segment_id(req, "id", "job", &job, &err);
	if (!rc) rc = read_grace(req, &grace, &err);
	if (!rc) rc = cube_api_job_range(api, job, &first, &last, &err);
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	for (uint64_t id = first; id <= last; id++) {
		struct cube_task *task = cube_tasks_find(api->m->tasks, id);
		if (!task || cube_task_final(task->row.state)) continue;
		cube_tasks_stop(api->m->tasks, task, grace);
		n++;
	}
	reply_count(api, req, n ? 202 : 200, "job", job, n);
}

void cube_api_job_signal(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_err err;
	uint64_t job, first, last, n = 0;
	int signo;
	int rc = cube_segment_id(req, "id", "job", &job, &err);
	if (!rc) rc = read_signal(req, &signo, &err);
	if (!rc) rc = cube_api_job_range(api, job, &first, &last, &err);
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	for (uint64_t id = first; id <= last; id++) {
		struct cube_task *task = cube_tasks_find(api->m->tasks, id);
		if (!task || task->row.state != CUBE_TASK_RUNNING) continue;
		cube_tasks_signal(api->m->tasks, task, signo);
		n++;
	}
	reply_count(api, req, 202, "job", job, n);
}
