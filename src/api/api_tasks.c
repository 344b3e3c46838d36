/* Tasks: adding, showing, ending, signals. */
#include <stdlib.h>
#include <string.h>

#include "api_impl.h"
#include "cube/mem.h"
#include "cube/sha256.h"
#include "cube/spec.h"
#include "cube/task.h"
#include "cube/files.h"
#include "spec_json.h"
#include "cube/work.h"

#define COUNT_MAX 1000000
#define KEY_MAX   128

/* --- POST /v1/tasks --- */

struct post {
	json_t *spec[9]; /* looked at by cube_spec_from_json */
	uint64_t count;
	bool all, counted; /* counted: so many were asked for */
	json_t *nodes;
	uint32_t *ids;
	size_t nids;
	struct cube_work_request request;
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
	SPEC_FIELD("login", 8),
	{"count", CUBE_FIELD_INTEGER, .min = 1, .max = COUNT_MAX,
	 .at = offsetof(struct post, count)},
	{"all", CUBE_FIELD_BOOL, .at = offsetof(struct post, all)},
	{"nodes", CUBE_FIELD_ARRAY, .at = offsetof(struct post, nodes)},
};

/* Named nodes are each meant, as by pdsh, unless so many tasks are asked for. */
static int find_nodes(struct cube_api *api, struct post *p, struct cube_err *err) {
	struct cube_fleet *nodes = api->parts.fleet;
	size_t n = p->nodes ? json_array_size(p->nodes) : cube_fleet_count(nodes), i;
	json_t *v;
	p->ids = cube_realloc_array(NULL, n + 1, sizeof *p->ids);
	cube_autofree char *named = p->nodes ? cube_alloc(cube_fleet_last_id(nodes) + 1) : NULL;
	json_array_foreach(p->nodes, i, v) {
		const char *name = json_string_value(v);
		if (!name) return cube_fail(err, CUBE_EUSAGE, "nodes: must be an array of names");
		struct cube_node *node = cube_fleet_find(nodes, name);
		if (!node)
			return cube_fail(err, CUBE_ENOTFOUND,
					 "nodes: there is no node '%.80s'; `cube nodes` lists them",
					 name);
		if (!named[node->id]) p->ids[p->nids++] = node->id;
		named[node->id] = 1;
	}
	if (p->nids > 1 && !p->counted) p->all = true;
	if (p->nodes && !p->nids) return cube_fail(err, CUBE_EUSAGE, "nodes: is empty");
	if (!p->all || p->nodes) return 0;
	cube_list_each (cube_fleet_list(nodes), node, struct cube_node, hook) {
		if (node->state != CUBE_NODE_LEAVING) p->ids[p->nids++] = node->id;
	}
	return 0;
}

static int check_files(struct cube_api *api, const struct cube_spec *spec, struct cube_err *err) {
	char hex[CUBE_SHA256_HEX];
	for (uint32_t i = 0; i < spec->nfiles; i++) {
		cube_sha256_hex(spec->files[i].sha256, hex);
		if (!cube_files_has(api->parts.files, hex))
			return cube_fail(err, CUBE_ECONFLICT,
					 "files: content %s is not here; send it first", hex);
	}
	return 0;
}

static void make_text(struct post *p) {
	json_t *spec = cube_spec_to_json(&p->request.spec);
	if (p->nodes) json_object_set(spec, "nodes", p->nodes);
	if (p->all) json_object_set_new(spec, "all", json_true());
	if (p->counted) json_object_set_new(spec, "count", json_integer((json_int_t)p->count));
	p->text = json_dumps(spec, JSON_COMPACT);
	json_decref(spec);
}

static int read_post(struct post *p, const json_t *body, struct cube_err *err) {
	p->count = 1;
	int rc = cube_fields_read(body, post_fields, sizeof post_fields / sizeof post_fields[0], p,
				  err);
	if (!rc) rc = cube_spec_from_json(&p->request.spec, body, err);
	p->counted = json_object_get(body, "count");
	if (!rc && p->all && p->counted)
		rc = cube_fail(err, CUBE_EUSAGE, "count: not together with all");
	if (!rc) make_text(p);
	return rc;
}

/* --- requests that may be made twice --- */

struct submitted { /* what the answer tells */
	uint64_t job, first;
	uint32_t count;
};

struct earlier {
	const char *text; /* of the request at hand */
	struct submitted is;
	bool same;
};

static int take_earlier(void *arg, const struct cube_job_row *row) {
	struct earlier *e = arg;
	e->is.job = row->id;
	e->same = strcmp(row->spec, e->text) == 0;
	return 0;
}

static int read_key(struct cube_request *req, const char **ret, struct cube_err *err) {
	const char *key = cube_request_header(req, "Idempotency-Key");
	*ret = key ? key : "";
	if (!key) return 0;
	size_t n = strlen(key);
	for (size_t i = 0; i < n; i++)
		if (key[i] <= ' ' || key[i] >= 127) n = KEY_MAX + 1;
	if (n >= 1 && n <= KEY_MAX) return 0;
	return cube_fail(err, CUBE_EUSAGE, "Idempotency-Key: 1 to %d printable characters of ASCII",
			 KEY_MAX);
}

/* Whether a job was made of this request: 1 and which, 0, or CUBE_ECONFLICT where that was another
 * request by the same key. Nothing else about the request is looked at again: its nodes and files
 * may be gone meanwhile. */
static int find_earlier(struct cube_api *api, const struct post *p, struct submitted *ret,
			struct cube_err *err) {
	struct cube_store *s = api->parts.turn->store;
	struct earlier e = {.text = p->text};
	uint64_t last;
	if (!*p->request.request) return 0;
	int rc = s->ops->job_find(s, p->request.request, take_earlier, &e, err);
	if (rc == CUBE_ENOTFOUND) return 0;
	if (!rc && !e.same)
		rc = cube_fail(err, CUBE_ECONFLICT,
			       "Idempotency-Key: was used for another request, job %llu",
			       (unsigned long long)e.is.job);
	if (!rc) rc = cube_api_job_range(api, e.is.job, &e.is.first, &last, err);
	if (rc) return rc;
	e.is.count = (uint32_t)(last - e.is.first + 1);
	*ret = e.is;
	return 1;
}

static int submit(struct cube_api *api, struct post *p, struct submitted *ret,
		  struct cube_err *err) {
	int rc = check_files(api, &p->request.spec, err);
	if (!rc) rc = find_nodes(api, p, err);
	if (rc) return rc;
	p->request.spec_json = p->text;
	p->request.count = (uint32_t)p->count;
	p->request.all = p->all;
	p->request.nodes = p->ids;
	p->request.nnodes = p->nids;
	return cube_work_add(api->parts.work, &p->request, &ret->job, &ret->first, &ret->count,
			     err);
}

void cube_api_tasks_post(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct post p = {0};
	struct submitted is;
	struct cube_err err;
	json_t *body = NULL;
	int rc = cube_body_json(req, &body, &err);
	if (!rc) rc = read_key(req, &p.request.request, &err);
	if (!rc) rc = read_post(&p, body, &err);
	if (!rc) rc = find_earlier(api, &p, &is, &err);
	bool again = rc > 0;
	if (!rc) rc = submit(api, &p, &is, &err);
	if (rc < 0) cube_reply_error(req, &err);
	else
		cube_reply_json(req, again ? 200 : 201,
				json_pack("{s:o, s:o, s:o}", "job", cube_jv_u64(is.job), "first",
					  cube_jv_u64(is.first), "count", cube_jv_u64(is.count)));
	cube_spec_done(&p.request.spec);
	free(p.ids);
	free(p.text);
	json_decref(body);
}

/* --- one task --- */

static int add_spec(void *arg, const struct cube_job_row *row) {
	json_object_set_new(arg, "spec", json_loads(row->spec, 0, NULL));
	return 0;
}

void cube_api_task_show(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_store *s = api->parts.turn->store;
	struct cube_task_row row;
	struct cube_err err;
	uint64_t id;
	int rc = cube_segment_id(req, "id", "task", &id, &err);
	if (!rc) rc = cube_api_task_get(api, id, &row, &err);
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	json_t *o = cube_api_task_json(api, &row);
	s->ops->job_get(s, row.job, add_spec, o, NULL);
	free((char *)row.reason);
	cube_reply_json(req, 200, o);
}

/* --- stops and signals --- */

int cube_api_read_stop(struct cube_request *req, struct cube_api_order *ret, struct cube_err *err) {
	const char *v = cube_request_query(req, "grace");
	*ret = (struct cube_api_order){.grace_ms = UINT32_MAX};
	if (!v) return 0;
	char *end;
	double s = strtod(v, &end);
	if (end == v || *end || !(s >= 0 && s <= 4000000))
		return cube_fail(err, CUBE_EUSAGE, "grace: must be a number of 0..4000000 seconds");
	ret->grace_ms = (uint32_t)(s * 1000);
	return 0;
}

struct signal_body {
	const char *signal;
};
static const struct cube_field signal_fields[] = {
	{"signal", CUBE_FIELD_STRING, .required = true, .at = offsetof(struct signal_body, signal)},
};

int cube_api_read_signal(struct cube_request *req, struct cube_api_order *ret,
			 struct cube_err *err) {
	json_t *body;
	struct signal_body b = {0};
	int rc = cube_body_json(req, &body, err);
	if (rc) return rc;
	rc = cube_fields_read(body, signal_fields, 1, &b, err);
	int signo = rc ? 0 : cube_spec_signal(b.signal);
	if (!rc && signo <= 0)
		rc = cube_fail(err, CUBE_EUSAGE, "signal: '%.40s' is no signal", b.signal);
	if (!rc) *ret = (struct cube_api_order){.signo = signo};
	json_decref(body);
	return rc;
}

int cube_api_order(struct cube_api *api, uint64_t id, const struct cube_api_order *order,
		   bool *ret_waits, struct cube_err *err) {
	struct cube_task *task = cube_work_find(api->parts.work, id);
	*ret_waits = false;
	if (!task || cube_task_final(task->row.state)) return 0;
	if (!order->signo) {
		cube_work_stop(api->parts.work, task, order->grace_ms);
		return 1;
	}
	if (task->row.state == CUBE_TASK_PENDING) return 0;
	int rc = cube_work_signal(api->parts.work, task, order->signo, ret_waits, err);
	return rc ? rc : 1;
}

/* Of a request about one task: what is asked, and the task's row, without its reason. */
static int read_order(struct cube_api *api, struct cube_request *req, cube_api_order_fn *read,
		      struct cube_api_order *ret, struct cube_task_row *ret_row,
		      struct cube_err *err) {
	int rc = read(req, ret, err);
	return rc ? rc : cube_api_named_task(api, req, ret_row, err);
}

void cube_api_task_delete(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_api_order order;
	struct cube_task_row row;
	struct cube_err err;
	bool stops = false, waits;
	int rc = read_order(api, req, cube_api_read_stop, &order, &row, &err);
	if (!rc) {
		stops = cube_api_order(api, row.id, &order, &waits, &err) > 0;
		rc = cube_api_task_get(api, row.id, &row, &err);
	}
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	cube_reply_json(req, stops ? 202 : 200, cube_api_task_json(api, &row));
	free((char *)row.reason);
}

void cube_api_task_signal(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_api_order order;
	struct cube_task_row row;
	struct cube_err err;
	bool waits = false;
	int rc = read_order(api, req, cube_api_read_signal, &order, &row, &err);
	int done = rc ? rc : cube_api_order(api, row.id, &order, &waits, &err);
	if (done < 0) rc = done;
	if (!done)
		rc = cube_fail(&err, CUBE_ECONFLICT, "task %llu is not running but %s",
			       (unsigned long long)row.id, cube_task_state_name(row.state));
	if (rc) cube_reply_error(req, &err);
	else
		cube_reply_json(req, 202,
				json_pack("{s:o, s:i, s:i}", "task", cube_jv_u64(row.id), "tasks",
					  1, "waiting", waits));
}
