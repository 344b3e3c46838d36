/* The routes of API.md, and what is too small for a file of its own. */
#include "cube/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api_impl.h"
#include "cube/mem.h"
#include "cube/events.h"

#define BODY_MAX   (16u << 20)
#define PROMPT_MAX (64u << 10)

static void healthz(void *arg, struct cube_request *req) {
	cube_reply(req, 200, CUBE_TEXT_TYPE, "ok\n", 3);
}

static void info(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_manager *m = api->m;
	struct cube_err err;
	uint64_t job = 0, task = 0;
	uint32_t node = 0;
	char cluster[17];
	cube_turn_commit(&m->turn);
	if (m->store->ops->last_ids(m->store, &job, &task, &node, &err)) {
		cube_reply_error(req, &err);
		return;
	}
	snprintf(cluster, sizeof cluster, "%016" PRIx64, m->cluster);
	json_t *o = json_object();
	json_object_set_new(o, "version", json_string(CUBE_VERSION));
	json_object_set_new(o, "pid", json_integer(getpid()));
	json_object_set_new(o, "cluster", json_string(cluster));
	json_object_set_new(o, "name", cube_jv_text(m->paths.cluster));
	json_object_set_new(o, "socket", cube_jv_text(m->paths.socket));
	json_object_set_new(o, "state_dir", cube_jv_text(m->paths.state));
	json_object_set_new(o, "started", cube_jv_time(m->started));
	json_object_set_new(o, "nodes", json_integer(cube_nodes_count(m->nodes)));
	json_object_set_new(o, "tasks", cube_jv_u64(task));
	json_object_set_new(o, "event", cube_jv_u64(cube_events_committed(m->events)));
	cube_reply_json(req, 200, o);
}

static void shut_down(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	cube_turn_commit(&api->m->turn);
	cube_reply(req, 202, CUBE_JSON_TYPE, "{}\n", 3);
	cube_manager_stop(api->m);
}

static const struct cube_route routes[] = {
	{"GET", "/healthz", healthz, 0},
	{"GET", "/metrics", cube_api_metrics_get, 0},
	{"GET", "/v1/info", info, 0},
	{"POST", "/v1/shutdown", shut_down, BODY_MAX},
	{"POST", "/v1/tasks", cube_api_tasks_post, BODY_MAX},
	{"GET", "/v1/tasks", cube_api_tasks_get, 0},
	{"GET", "/v1/tasks/{id}", cube_api_task_show, 0},
	{"DELETE", "/v1/tasks/{id}", cube_api_task_delete, BODY_MAX},
	{"POST", "/v1/tasks/{id}/signal", cube_api_task_signal, BODY_MAX},
	{"POST", "/v1/tasks/{id}/stdin", cube_api_task_stdin, SIZE_MAX, .follows = CUBE_FOLLOWS,
	 .patient = true},
	{"GET", "/v1/tasks/{id}/logs", cube_api_task_logs, 0, .follows = CUBE_FOLLOWS},
	{"DELETE", "/v1/jobs/{id}", cube_api_job_delete, BODY_MAX},
	{"POST", "/v1/jobs/{id}/signal", cube_api_job_signal, BODY_MAX},
	{"GET", "/v1/jobs/{id}/logs", cube_api_job_logs, 0, .follows = CUBE_FOLLOWS},
	{"POST", "/v1/nodes", cube_api_nodes_post, BODY_MAX},
	{"GET", "/v1/nodes", cube_api_nodes_get, 0},
	{"DELETE", "/v1/nodes", cube_api_nodes_delete, BODY_MAX},
	{"GET", "/v1/nodes/{name}", cube_api_node_show, 0},
	{"DELETE", "/v1/nodes/{name}", cube_api_node_delete, BODY_MAX},
	{"GET", "/v1/nodes/{name}/metrics", cube_api_node_metrics, 0},
	{"POST", "/v1/doctor", cube_api_doctor_post, BODY_MAX},
	{"POST", "/v1/nodes/{name}/streams", cube_api_node_stream, 0, .follows = CUBE_FOLLOWS},
	{"GET", "/v1/events", cube_api_events_get, 0, .follows = CUBE_FOLLOWS_ENDLESS},
	{"GET", "/v1/prompts", cube_api_prompts_get, 0},
	{"POST", "/v1/prompts/{id}", cube_api_prompt_post, PROMPT_MAX, .secret = true},
	{"POST", "/v1/login", cube_api_login_post, BODY_MAX},
	{"PUT", "/v1/environment", cube_api_environment_put, PROMPT_MAX},
	{"HEAD", "/v1/files/{sha256}", cube_api_file_head, 0},
	{"PUT", "/v1/files/{sha256}", cube_api_file_put, SIZE_MAX},
};

static void refuse(void *arg, struct cube_request *req) {
	struct cube_err err;
	switch (cube_request_refusal(req)) {
	case 405:
		cube_fail(&err, CUBE_EUSAGE, "%.16s is not possible with %.120s",
			  cube_request_method(req), cube_request_path(req));
		break;
	case 413:
		cube_fail(&err, CUBE_ETOOBIG, "the body of %.16s %.120s is longer than it may be",
			  cube_request_method(req), cube_request_path(req));
		break;
	case 503:
		cube_fail(&err, CUBE_ECONFLICT,
			  "too many clients follow or send something already; try again when some "
			  "of them have ended");
		break;
	default:
		cube_fail(&err, CUBE_ENOTFOUND, "there is nothing at %.120s",
			  cube_request_path(req));
	}
	cube_reply_error(req, &err);
}

int cube_api_new(struct cube_manager *m, struct cube_api **ret, struct cube_err *err) {
	*ret = cube_alloc(sizeof **ret);
	(*ret)->m = m;
	return 0;
}

void cube_api_free(struct cube_api *api) {
	if (!api) return;
	for (size_t i = 0; i < CUBE_API_JOBS_CACHED; i++) {
		json_decref(api->jobs[i].name);
		json_decref(api->jobs[i].command);
	}
	free(api);
}

int cube_api_serve(struct cube_api *api, int listen_fd, struct cube_err *err) {
	return cube_httpd_new(api->m->loop, listen_fd, routes, sizeof routes / sizeof routes[0],
			      refuse, api, &api->m->httpd, err);
}

/* --- answers of any length --- */

static ssize_t pages_pull(void *arg, uint8_t *space, size_t n) {
	struct cube_pages *p = arg;
	for (;;) {
		size_t have = cube_buf_len(&p->out);
		if (have) {
			if (have > n) have = n;
			memcpy(space, cube_buf_data(&p->out), have);
			cube_buf_consume(&p->out, have);
			return (ssize_t)have;
		}
		if (p->ended) return -1;
		size_t got = p->direct ? p->direct(p, space, n) : 0;
		if (got) return (ssize_t)got;
		if (p->broken) return -2;
		int rc = p->fill(p);
		if (rc < 0) p->ended = true;
		else if (rc == 0 && !cube_buf_len(&p->out)) return 0;
	}
}

static void pages_free(void *arg) {
	struct cube_pages *p = arg;
	cube_buf_done(&p->out);
	p->free(p);
}

void cube_pages_reply(struct cube_api *api, struct cube_request *req, const char *content_type,
		      struct cube_pages *p) {
	static const struct cube_reply_source source = {pages_pull, pages_free};
	p->api = api;
	cube_buf_init(&p->out, CUBE_REPLY_MAX);
	p->rs = cube_reply_begin(req, 200, content_type, &source, p);
}

void cube_pages_wake(struct cube_pages *p) {
	cube_reply_wake(p->rs);
}

void cube_pages_json(struct cube_pages *p, json_t *taken) {
	if (cube_json_add(&p->out, taken)) p->broken = true;
}

void cube_pages_element(struct cube_pages *p, json_t *taken) {
	if (p->elements && cube_buf_addstr(&p->out, ",")) p->broken = true;
	p->elements = true;
	cube_pages_json(p, taken);
}
