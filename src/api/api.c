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

/* Those states that some node is in. */
static json_t *node_states(struct cube_fleet *fleet) {
	unsigned counts[CUBE_NODE_STATES];
	json_t *o = json_object();
	cube_fleet_states(fleet, counts);
	for (uint8_t i = 0; i < CUBE_NODE_STATES; i++)
		if (counts[i])
			json_object_set_new(o, cube_node_state_name(i), json_integer(counts[i]));
	return o;
}

static void info(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	const struct cube_api_parts *is = &api->parts;
	struct cube_store *store = is->turn->store;
	struct cube_err err;
	uint64_t job = 0, task = 0;
	uint32_t node = 0;
	char cluster[17];
	if (store->ops->last_ids(store, &job, &task, &node, &err)) {
		cube_reply_error(req, &err);
		return;
	}
	snprintf(cluster, sizeof cluster, "%016" PRIx64, is->cluster);
	json_t *o = json_object();
	json_object_set_new(o, "version", json_string(CUBE_VERSION));
	json_object_set_new(o, "pid", json_integer(getpid()));
	json_object_set_new(o, "cluster", json_string(cluster));
	json_object_set_new(o, "name", cube_jv_text(is->paths->cluster));
	json_object_set_new(o, "socket", cube_jv_text(is->paths->socket));
	json_object_set_new(o, "state_dir", cube_jv_text(is->paths->state));
	json_object_set_new(o, "started", cube_jv_time(is->started));
	json_object_set_new(o, "nodes", json_integer(cube_fleet_count(is->fleet)));
	json_object_set_new(o, "node_states", node_states(is->fleet));
	json_object_set_new(o, "tasks", cube_jv_u64(task));
	json_object_set_new(o, "event", cube_jv_u64(cube_events_committed(is->events)));
	cube_reply_json(req, 200, o);
}

static void shut_down(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	cube_reply(req, 202, CUBE_JSON_TYPE, "{}\n", 3);
	api->parts.stop(api->parts.stop_arg);
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
	{"GET", "/v1/tasks/{id}/wait", cube_api_task_wait, 0, .follows = CUBE_FOLLOWS},
	{"GET", "/v1/jobs/{id}/wait", cube_api_job_wait, 0, .follows = CUBE_FOLLOWS},
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

void cube_api_new(const struct cube_api_parts *parts, struct cube_api **ret) {
	*ret = cube_alloc(sizeof **ret);
	(*ret)->parts = *parts;
}

void cube_api_free(struct cube_api *api) {
	if (!api) return;
	cube_httpd_free(api->httpd);
	for (size_t i = 0; i < CUBE_API_JOBS_CACHED; i++) {
		json_decref(api->jobs[i].name);
		json_decref(api->jobs[i].command);
	}
	free(api);
}

void cube_api_flush(struct cube_api *api) {
	if (api->httpd) cube_httpd_flush(api->httpd);
}

static bool may_tell(void *arg) {
	const struct cube_api *api = arg;
	return !cube_turn_open(api->parts.turn);
}

int cube_api_serve(struct cube_api *api, int listen_fd, struct cube_err *err) {
	if (api->httpd) return cube_httpd_listen(api->httpd, listen_fd, err);
	return cube_httpd_new(api->parts.turn->loop, listen_fd, routes,
			      sizeof routes / sizeof routes[0], refuse, may_tell, api, &api->httpd,
			      err);
}

bool cube_api_busy(struct cube_api *api) {
	return cube_httpd_busy(api->httpd);
}

void cube_api_catch_up(struct cube_api *api) {
	cube_httpd_catch_up(api->httpd);
}

void cube_api_finish(struct cube_api *api) {
	cube_httpd_finish(api->httpd);
}
