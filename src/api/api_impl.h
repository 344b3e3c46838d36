/* Shared by the files of the API. Each handler is one route of the table in api.c. */
#ifndef CUBE_API_IMPL_H
#define CUBE_API_IMPL_H

#include "cube/api.h"
#include "api_util.h"
#include "httpd.h"

#define CUBE_API_JOBS_CACHED 64

/* What a TASK needs of its job; jobs never change. */
struct cube_api_job {
	uint64_t id; /* 0: empty place */
	json_t *name, *command;
};

struct cube_api {
	struct cube_api_parts parts;
	struct cube_httpd *httpd; /* NULL: does not serve yet */
	struct cube_api_job jobs[CUBE_API_JOBS_CACHED];
	uint64_t failed_tasks; /* counted at failed_at, for /metrics */
	uint64_t failed_at;
};

/* --- answers of any length, made a page at a time --- */

struct cube_pages {
	struct cube_api *api;
	struct cube_reply_stream *rs;
	struct cube_buf out;
	bool ended;
	bool broken;   /* the answer cannot be completed: the client sees it cut off */
	bool elements; /* cube_pages_element was called */
	/* Adds to out when it is empty: 1 go on, 0 nothing now (wait for cube_pages_wake), -1 that
	 * was all. */
	int (*fill)(struct cube_pages *p);
	/* May be NULL. Before fill: puts up to n bytes right into space; 0: none, call fill. */
	size_t (*direct)(struct cube_pages *p, uint8_t *space, size_t n);
	void (*free)(struct cube_pages *p); /* frees p itself too */
};
/* p is zeroed but for the functions and what the caller adds around it. */
void cube_pages_reply(struct cube_api *api, struct cube_request *req, const char *content_type,
		      struct cube_pages *p);
void cube_pages_wake(struct cube_pages *p);
/* Adds an object's text to out, or breaks the answer. */
void cube_pages_json(struct cube_pages *p, json_t *taken);
/* The same for the next element of the answer's one long array. */
void cube_pages_element(struct cube_pages *p, json_t *taken);

/* --- tasks --- */

json_t *cube_api_task_json(struct cube_api *api, const struct cube_task_row *row); /* TASK */
/* The committed row; row->reason is then malloc'd. CUBE_ENOTFOUND. */
int cube_api_task_get(struct cube_api *api, uint64_t id, struct cube_task_row *ret,
		      struct cube_err *err);
/* The same of the task that the request's path names, without its reason. */
int cube_api_named_task(struct cube_api *api, struct cube_request *req, struct cube_task_row *ret,
			struct cube_err *err);
/* What is asked of a task, or of each task of a job. */
struct cube_api_order {
	int signo;         /* 0: stop */
	uint32_t grace_ms; /* of a stop; UINT32_MAX: the spec's */
};
typedef int cube_api_order_fn(struct cube_request *req, struct cube_api_order *ret,
			      struct cube_err *err);
cube_api_order_fn cube_api_read_stop, cube_api_read_signal;
/* 1; 0 where it does not apply: the task has ended or, for a signal, was not given to a node; or
 * CUBE_ECONFLICT, see cube_work_signal. One on its way to its host counts as given. */
int cube_api_order(struct cube_api *api, uint64_t id, const struct cube_api_order *order,
		   bool *ret_waits, struct cube_err *err);

/* --- jobs --- */

/* The tasks of a job are first..last. */
int cube_api_job_range(struct cube_api *api, uint64_t job, uint64_t *ret_first, uint64_t *ret_last,
		       struct cube_err *err);

/* --- nodes --- */

/* The body of POST /v1/nodes, checked; strings are the body's. */
struct cube_api_nodes { /* zero-initialise */
	struct cube_node_request *v;
	size_t n;
	struct cube_strv options;
	bool once;
};
int cube_api_nodes_read(struct cube_api *api, const json_t *body, struct cube_api_nodes *ret,
			struct cube_err *err);
void cube_api_nodes_done(struct cube_api_nodes *nodes);
/* The node the address names, or NULL: then the request was answered. */
struct cube_node *cube_api_node_find(struct cube_api *api, struct cube_request *req);
/* METRIC; before: the sample ahead of m, or .wall 0. */
json_t *cube_api_node_json(struct cube_node *node); /* NODE */
/* Whether all are strings that name nodes. CUBE_EUSAGE, CUBE_ENOTFOUND. */
int cube_api_check_names(struct cube_api *api, const json_t *names, struct cube_err *err);
json_t *cube_api_metric_json(const struct cube_metric *m, const struct cube_metric *before);

/* --- prompts --- */

json_t *cube_api_prompt_json(const struct cube_prompt *prompt); /* PROMPT */

/* --- routes --- */

cube_route_fn cube_api_task_wait, cube_api_job_wait;
cube_route_fn cube_api_tasks_post, cube_api_tasks_get, cube_api_task_show, cube_api_task_delete,
	cube_api_task_signal, cube_api_task_stdin;
cube_route_fn cube_api_job_delete, cube_api_job_signal;
cube_route_fn cube_api_task_logs, cube_api_job_logs;
cube_route_fn cube_api_nodes_post, cube_api_nodes_get, cube_api_node_show, cube_api_node_delete,
	cube_api_nodes_delete, cube_api_node_metrics, cube_api_node_stream;
cube_route_fn cube_api_events_get;
cube_route_fn cube_api_doctor_post;
cube_route_fn cube_api_prompts_get, cube_api_prompt_post, cube_api_login_post;
cube_route_fn cube_api_environment_put;
cube_route_fn cube_api_file_head, cube_api_file_put;
cube_route_fn cube_api_metrics_get;

#endif
