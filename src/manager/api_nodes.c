/* Nodes: adding, showing, taking down, their metrics. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api_impl.h"
#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/task.h"
#include "events.h"
#include "tasks.h"

#define PAGE_SAMPLES 256

/* --- METRIC --- */

static uint64_t ticks(const struct cube_metric *m) {
	return m->cpu_user + m->cpu_system + m->cpu_iowait + m->cpu_steal + m->cpu_idle;
}

/* Counters begin again when a host boots: then there is no rate. */
static void rate(struct cube_jw *j, const char *key, uint64_t now, uint64_t before, double per) {
	if (per > 0 && now >= before) cube_jw_real(j, key, (double)(now - before) / per);
	else cube_jw_null(j, key);
}

static void percent(struct cube_jw *j, const char *key, uint32_t hundredths) {
	if (hundredths == CUBE_METRIC_NONE) cube_jw_null(j, key);
	else cube_jw_real(j, key, hundredths / 100.0);
}

static void cpu_fields(struct cube_jw *j, const struct cube_metric *m,
		       const struct cube_metric *before) {
	uint64_t all = ticks(m), all_before = ticks(before);
	double span = before->wall && all > all_before ? (double)(all - all_before) : 0;
	rate(j, "cpu", all - m->cpu_idle - m->cpu_iowait,
	     all_before - before->cpu_idle - before->cpu_iowait, span);
	rate(j, "steal", m->cpu_steal, before->cpu_steal, span);
	rate(j, "iowait", m->cpu_iowait, before->cpu_iowait, span);
	cube_jw_open(j, "load", '[');
	cube_jw_real(j, NULL, m->load1 / 100.0);
	cube_jw_real(j, NULL, m->load5 / 100.0);
	cube_jw_real(j, NULL, m->load15 / 100.0);
	cube_jw_close(j, ']');
}

void cube_api_metric_json(struct cube_jw *j, const char *key, const struct cube_metric *m,
			  const struct cube_metric *before) {
	double s = before->wall ? (double)(m->wall - before->wall) / 1e9 : 0;
	cube_jw_open(j, key, '{');
	cube_jw_time(j, "time", m->wall);
	cpu_fields(j, m, before);
	cube_jw_u64(j, "memory_total", m->mem_total);
	cube_jw_u64(j, "memory_available", m->mem_available);
	cube_jw_u64(j, "swap_total", m->swap_total);
	cube_jw_u64(j, "swap_free", m->swap_free);
	cube_jw_u64(j, "disk_total", m->disk_total);
	cube_jw_u64(j, "disk_free", m->disk_free);
	rate(j, "disk_read_rate", m->disk_read, before->disk_read, s);
	rate(j, "disk_write_rate", m->disk_written, before->disk_written, s);
	rate(j, "net_receive_rate", m->net_received, before->net_received, s);
	rate(j, "net_send_rate", m->net_sent, before->net_sent, s);
	cube_jw_u64(j, "running", m->running);
	cube_jw_open(j, "pressure", '{');
	percent(j, "cpu", m->psi_cpu);
	percent(j, "memory", m->psi_mem);
	percent(j, "io", m->psi_io);
	cube_jw_close(j, '}');
	cube_jw_u64(j, "uptime", m->uptime_s);
	cube_jw_close(j, '}');
}

/* --- NODE --- */

static void facts_json(struct cube_jw *j, const struct cube_mnode *node) {
	if (!node->has_facts) {
		cube_jw_null(j, "facts");
		return;
	}
	cube_jw_open(j, "facts", '{');
	cube_jw_str(j, "hostname", node->facts.hostname);
	cube_jw_str(j, "kernel", node->facts.kernel);
	cube_jw_str(j, "machine", node->facts.machine);
	cube_jw_u64(j, "cpus", node->facts.cpus);
	cube_jw_u64(j, "memory", node->facts.memory);
	cube_jw_close(j, '}');
}

static void counts_json(struct cube_jw *j, struct cube_mnode *node) {
	uint64_t running = 0, queued = 0;
	cube_list_each (&node->attempts, task, struct cube_task, queue) {
		if (task->row.state == CUBE_TASK_RUNNING) running++;
		else queued++;
	}
	cube_list_each (&node->bound, task, struct cube_task, queue) queued += task != NULL;
	cube_jw_u64(j, "slots", node->slots);
	cube_jw_u64(j, "running", running);
	cube_jw_u64(j, "queued", queued);
}

static void node_json(struct cube_jw *j, struct cube_mnode *node) {
	cube_jw_open(j, NULL, '{');
	cube_jw_u64(j, "id", node->id);
	cube_jw_str(j, "name", node->name);
	cube_jw_str(j, "host", node->host ? node->host : node->name);
	cube_jw_str(j, "user", node->user);
	if (node->port) cube_jw_u64(j, "port", node->port);
	else cube_jw_null(j, "port");
	cube_jw_str(j, "labels", node->labels);
	cube_jw_bool(j, "local", node->local);
	cube_jw_str(j, "state", cube_node_state_name(node->state));
	cube_jw_str(j, "reason", node->reason && *node->reason ? node->reason : NULL);
	cube_jw_str(j, "step", node->step);
	if (node->progress >= 0) cube_jw_real(j, "progress", node->progress);
	else cube_jw_null(j, "progress");
	counts_json(j, node);
	cube_jw_time(j, "added", node->added);
	cube_jw_time(j, "seen", node->seen);
	if (node->join_took) cube_jw_real(j, "join_seconds", (double)node->join_took / 1e9);
	else cube_jw_null(j, "join_seconds");
	facts_json(j, node);
	if (node->metric.wall)
		cube_api_metric_json(j, "metrics", &node->metric, &node->metric_before);
	else cube_jw_null(j, "metrics");
	cube_jw_close(j, '}');
}

void cube_api_nodes_get(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_jw j;
	struct cube_buf out;
	cube_api_begin(api, &j, &out);
	cube_jw_open(&j, NULL, '{');
	cube_jw_open(&j, "nodes", '[');
	cube_list_each (cube_nodes_list(api->m->nodes), node, struct cube_mnode, link) {
		node_json(&j, node);
	}
	cube_jw_close(&j, ']');
	cube_jw_close(&j, '}');
	cube_reply_json(req, 200, &j);
}

static struct cube_mnode *find_node(struct cube_api *api, struct cube_request *req) {
	const char *name = cube_request_segment(req, "name");
	struct cube_mnode *node = cube_nodes_find(api->m->nodes, name);
	struct cube_err err;
	if (node) return node;
	cube_fail(&err, CUBE_ENOTFOUND, "there is no node '%.80s'", name);
	cube_reply_error(req, &err);
	return NULL;
}

void cube_api_node_show(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_mnode *node = find_node(api, req);
	struct cube_jw j;
	struct cube_buf out;
	if (!node) return;
	cube_api_begin(api, &j, &out);
	node_json(&j, node);
	cube_reply_json(req, 200, &j);
}

/* --- POST /v1/nodes --- */

struct join {
	json_t *nodes;
	const char *ssh_config;
	uint64_t connect_timeout_ns;
	bool strict;
};
static const struct cube_field join_fields[] = {
	{"nodes", CUBE_FIELD_ARRAY, .required = true, .at = offsetof(struct join, nodes)},
	{"ssh_config", CUBE_FIELD_STRING, .at = offsetof(struct join, ssh_config)},
	{"connect_timeout", CUBE_FIELD_SECONDS, .min = 0, .max = 86400,
	 .at = offsetof(struct join, connect_timeout_ns)},
	{"strict_host_keys", CUBE_FIELD_BOOL, .at = offsetof(struct join, strict)},
};

struct one {
	const char *name, *host, *user, *key, *labels;
	uint64_t port, slots;
	bool local;
};
static const struct cube_field one_fields[] = {
	{"name", CUBE_FIELD_STRING, .required = true, .at = offsetof(struct one, name)},
	{"host", CUBE_FIELD_STRING, .at = offsetof(struct one, host)},
	{"user", CUBE_FIELD_STRING, .at = offsetof(struct one, user)},
	{"port", CUBE_FIELD_INTEGER, .max = 65535, .at = offsetof(struct one, port)},
	{"key", CUBE_FIELD_STRING, .at = offsetof(struct one, key)},
	{"slots", CUBE_FIELD_INTEGER, .max = 65536, .at = offsetof(struct one, slots)},
	{"labels", CUBE_FIELD_STRING, .at = offsetof(struct one, labels)},
	{"local", CUBE_FIELD_BOOL, .at = offsetof(struct one, local)},
};

static int read_one(const struct join *join, const json_t *v, struct cube_node_request *ret,
		    struct cube_err *err) {
	struct one o = {0};
	int rc = cube_fields_read(v, one_fields, sizeof one_fields / sizeof one_fields[0], &o, err);
	if (rc) {
		struct cube_err why = *err;
		return cube_fail(err, rc, "nodes.%.220s", why.msg);
	}
	*ret = (struct cube_node_request){
		.name = o.name,
		.host = o.host,
		.user = o.user,
		.identity = o.key,
		.labels = o.labels,
		.ssh_config = join->ssh_config,
		.port = (uint16_t)o.port,
		.slots = (uint32_t)o.slots,
		.local = o.local,
		.strict_host_keys = join->strict,
		.connect_timeout_ns = join->connect_timeout_ns,
	};
	return 0;
}

/* Reads everything before anything is added. */
static int read_join(const json_t *body, struct join *join, struct cube_node_request **ret,
		     struct cube_err *err) {
	size_t i;
	json_t *v;
	join->connect_timeout_ns = 10 * CUBE_NS_PER_S;
	int rc = cube_fields_read(body, join_fields, sizeof join_fields / sizeof join_fields[0],
				  join, err);
	if (rc) return rc;
	*ret = cube_realloc_array(NULL, json_array_size(join->nodes) + 1, sizeof **ret);
	json_array_foreach(join->nodes, i, v) {
		rc = read_one(join, v, &(*ret)[i], err);
		if (rc) return rc;
	}
	return 0;
}

static int add_nodes(struct cube_api *api, const struct cube_node_request *requests, size_t n,
		     struct cube_jw *nodes, struct cube_jw *added, struct cube_err *err) {
	cube_jw_open(nodes, NULL, '[');
	cube_jw_open(added, NULL, '[');
	for (size_t i = 0; i < n; i++) {
		struct cube_mnode *node;
		bool is_new;
		int rc = cube_nodes_add(api->m->nodes, &requests[i], &node, &is_new, err);
		if (rc) return rc;
		node_json(nodes, node);
		if (is_new) cube_jw_str(added, NULL, node->name);
	}
	cube_jw_close(nodes, ']');
	cube_jw_close(added, ']');
	return 0;
}

static void reply_join(struct cube_api *api, struct cube_request *req, struct cube_buf *nodes,
		       struct cube_buf *added, uint64_t event) {
	struct cube_jw j;
	struct cube_buf out;
	cube_api_begin(api, &j, &out);
	cube_jw_open(&j, NULL, '{');
	cube_jw_raw(&j, "nodes", cube_buf_str(nodes));
	cube_jw_raw(&j, "added", cube_buf_str(added));
	cube_jw_u64(&j, "event", event);
	cube_jw_close(&j, '}');
	cube_reply_json(req, 202, &j);
}

void cube_api_nodes_post(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct join join = {0};
	struct cube_node_request *requests = NULL;
	struct cube_buf nodes, added;
	struct cube_err err;
	json_t *body = NULL;
	cube_buf_init(&nodes, CUBE_REPLY_MAX);
	cube_buf_init(&added, CUBE_REPLY_MAX);
	struct cube_jw nj = {.out = &nodes}, aj = {.out = &added};
	uint64_t event = cube_events_last(api->m->events);
	int rc = cube_body_json(req, &body, &err);
	if (!rc) rc = read_join(body, &join, &requests, &err);
	if (!rc) rc = add_nodes(api, requests, json_array_size(join.nodes), &nj, &aj, &err);
	if (!rc && (nj.bad || aj.bad))
		rc = cube_fail(&err, CUBE_ETOOBIG, "nodes: too many at once");
	if (rc) cube_reply_error(req, &err);
	else reply_join(api, req, &nodes, &added, event);
	cube_buf_done(&nodes);
	cube_buf_done(&added);
	free(requests);
	json_decref(body);
}

/* --- DELETE --- */

struct leave {
	json_t *nodes;
};
static const struct cube_field leave_fields[] = {
	{"nodes", CUBE_FIELD_ARRAY, .at = offsetof(struct leave, nodes)},
};

static int check_names(struct cube_api *api, const json_t *names, struct cube_err *err) {
	size_t i;
	json_t *v;
	json_array_foreach(names, i, v) {
		const char *name = json_string_value(v);
		if (!name) return cube_fail(err, CUBE_EUSAGE, "nodes: must be an array of names");
		if (!cube_nodes_find(api->m->nodes, name))
			return cube_fail(err, CUBE_ENOTFOUND, "nodes: there is no node '%.80s'",
					 name);
	}
	return 0;
}

static void leave_one(struct cube_api *api, struct cube_jw *j, const char *name, bool purge) {
	struct cube_mnode *node = cube_nodes_find(api->m->nodes, name);
	if (!node) return; /* named twice */
	cube_jw_str(j, NULL, name);
	cube_nodes_leave(api->m->nodes, node, purge);
}

static void reply_leave(struct cube_api *api, struct cube_request *req, const json_t *names) {
	struct cube_jw j;
	struct cube_buf out;
	bool purge = cube_query_flag(req, "purge");
	cube_api_begin(api, &j, &out);
	uint64_t event = cube_events_last(api->m->events);
	size_t i;
	json_t *v;
	cube_jw_open(&j, NULL, '{');
	cube_jw_open(&j, "nodes", '[');
	json_array_foreach(names, i, v) leave_one(api, &j, json_string_value(v), purge);
	cube_jw_close(&j, ']');
	cube_jw_u64(&j, "event", event);
	cube_jw_close(&j, '}');
	cube_manager_commit(api->m);
	cube_reply_json(req, 202, &j);
}

void cube_api_node_delete(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_mnode *node = find_node(api, req);
	if (!node) return;
	json_t *names = json_array();
	json_array_append_new(names, json_stringn_nocheck(node->name, strlen(node->name)));
	reply_leave(api, req, names);
	json_decref(names);
}

void cube_api_nodes_delete(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct leave leave = {0};
	struct cube_err err;
	json_t *body = NULL, *all = json_array();
	int rc = cube_body_json(req, &body, &err);
	if (!rc) rc = cube_fields_read(body, leave_fields, 1, &leave, &err);
	if (!rc) rc = check_names(api, leave.nodes, &err);
	cube_list_each (cube_nodes_list(api->m->nodes), node, struct cube_mnode, link) {
		json_array_append_new(all, json_stringn_nocheck(node->name, strlen(node->name)));
	}
	if (rc) cube_reply_error(req, &err);
	else reply_leave(api, req, leave.nodes ? leave.nodes : all);
	json_decref(all);
	json_decref(body);
}

/* --- GET /v1/nodes/{name}/metrics --- */

struct history {
	struct cube_pages pages;
	uint32_t node;
	int64_t since, at; /* shown from since on; at: the newest sample that was read */
	struct cube_metric before;
	bool begun, comma;
	unsigned n; /* samples on this page */
};

static int add_sample(void *arg, const struct cube_metric *m) {
	struct history *h = arg;
	if (m->wall > h->since) {
		struct cube_jw j = {.out = &h->pages.out, .comma = h->comma};
		cube_api_metric_json(&j, NULL, m, &h->before);
		h->comma = j.comma;
	}
	h->before = *m;
	h->at = m->wall;
	return ++h->n == PAGE_SAMPLES;
}

static int history_fill(struct cube_pages *p) {
	struct history *h = cube_container(p, struct history, pages);
	struct cube_store *s = p->api->m->store;
	cube_manager_commit(p->api->m);
	if (!h->begun) cube_buf_addstr(&p->out, "{\"metrics\":[");
	h->begun = true;
	h->n = 0;
	int rc = s->ops->metric_list(s, h->node, h->at, add_sample, h, NULL);
	if (rc < 0) p->broken = true;
	if (rc > 0) return 1;
	cube_buf_addstr(&p->out, "]}\n");
	return -1;
}

static void history_free(struct cube_pages *p) {
	free(cube_container(p, struct history, pages));
}

/* "2026-11-22T08:00:00.5Z", or with an offset "+01:00". */
static int parse_time(const char *s, int64_t *ret, struct cube_err *err) {
	struct tm tm = {0};
	double fraction = 0;
	int zone = 0;
	const char *p = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	if (p && *p == '.') {
		double unit = 0.1;
		for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10) fraction += unit * (*p - '0');
	}
	if (p &&
	    (*p == '+' || *p == '-' || *p == ' ')) { /* a '+' that was not escaped is a blank */
		struct tm off = {0};
		const char *end = strptime(p + 1, "%H:%M", &off);
		zone = (off.tm_hour * 60 + off.tm_min) * 60 * (*p == '-' ? -1 : 1);
		p = end;
	} else if (p && (*p == 'Z' || *p == 'z')) {
		p++;
	} else {
		p = NULL;
	}
	if (!p || *p)
		return cube_fail(err, CUBE_EUSAGE,
				 "since: '%.40s' is no time like 2026-11-22T08:00:00Z", s);
	*ret = ((int64_t)timegm(&tm) - zone) * 1000000000 + (int64_t)(fraction * 1e9);
	return 0;
}

void cube_api_node_metrics(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_mnode *node = find_node(api, req);
	const char *since = cube_request_query(req, "since");
	struct cube_err err;
	int64_t from = 0;
	if (!node) return;
	if (since && parse_time(since, &from, &err)) {
		cube_reply_error(req, &err);
		return;
	}
	struct history *h = cube_alloc(sizeof *h);
	h->pages.fill = history_fill;
	h->pages.free = history_free;
	h->node = node->id;
	h->since = from;
	/* A sample's rates need the one before it. */
	h->at = from > 70 * (int64_t)CUBE_NS_PER_S ? from - 70 * (int64_t)CUBE_NS_PER_S : 0;
	cube_pages_reply(api, req, CUBE_JSON_TYPE, &h->pages);
}
