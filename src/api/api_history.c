/* METRIC, and GET /v1/nodes/{name}/metrics. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api_impl.h"
#include "cube/clock.h"
#include "cube/mem.h"

#define PAGE_SAMPLES 256

/* --- METRIC --- */

static uint64_t ticks(const struct cube_metric *m) {
	return m->cpu_user + m->cpu_system + m->cpu_iowait + m->cpu_steal + m->cpu_idle;
}

/* Counters begin again when a host boots: then there is no rate. */
static json_t *rate(uint64_t now, uint64_t before, double per) {
	return per > 0 && now >= before ? cube_jv_real((double)(now - before) / per) : json_null();
}

static json_t *percent(uint32_t hundredths) {
	return hundredths == CUBE_METRIC_NONE ? json_null() : cube_jv_real(hundredths / 100.0);
}

static void add_cpu(json_t *o, const struct cube_metric *m, const struct cube_metric *before) {
	uint64_t all = ticks(m), all_before = ticks(before);
	double span = before->wall && all > all_before ? (double)(all - all_before) : 0;
	json_object_set_new(o, "cpu",
			    rate(all - m->cpu_idle - m->cpu_iowait,
				 all_before - before->cpu_idle - before->cpu_iowait, span));
	json_object_set_new(o, "steal", rate(m->cpu_steal, before->cpu_steal, span));
	json_object_set_new(o, "iowait", rate(m->cpu_iowait, before->cpu_iowait, span));
	json_object_set_new(
		o, "load",
		json_pack("[f, f, f]", m->load1 / 100.0, m->load5 / 100.0, m->load15 / 100.0));
}

static void add_io(json_t *o, const struct cube_metric *m, const struct cube_metric *before) {
	double s = before->wall ? (double)(m->wall - before->wall) / 1e9 : 0;
	json_object_set_new(o, "disk_read_rate", rate(m->disk_read, before->disk_read, s));
	json_object_set_new(o, "disk_write_rate", rate(m->disk_written, before->disk_written, s));
	json_object_set_new(o, "net_receive_rate", rate(m->net_received, before->net_received, s));
	json_object_set_new(o, "net_send_rate", rate(m->net_sent, before->net_sent, s));
}

json_t *cube_api_metric_json(const struct cube_metric *m, const struct cube_metric *before) {
	json_t *o = json_object();
	json_object_set_new(o, "time", cube_jv_time(m->wall));
	add_cpu(o, m, before);
	json_object_set_new(o, "memory_total", cube_jv_u64(m->mem_total));
	json_object_set_new(o, "memory_available", cube_jv_u64(m->mem_available));
	json_object_set_new(o, "swap_total", cube_jv_u64(m->swap_total));
	json_object_set_new(o, "swap_free", cube_jv_u64(m->swap_free));
	json_object_set_new(o, "disk_total", cube_jv_u64(m->disk_total));
	json_object_set_new(o, "disk_free", cube_jv_u64(m->disk_free));
	add_io(o, m, before);
	json_object_set_new(o, "running", cube_jv_u64(m->running));
	json_object_set_new(o, "pressure",
			    json_pack("{s:o, s:o, s:o}", "cpu", percent(m->psi_cpu), "memory",
				      percent(m->psi_mem), "io", percent(m->psi_io)));
	json_object_set_new(o, "uptime", cube_jv_u64(m->uptime_s));
	return o;
}

/* --- the history --- */

struct history {
	struct cube_pages pages;
	uint32_t node;
	int64_t since, at; /* shown from since on; at: the newest sample that was read */
	struct cube_metric before;
	bool begun;
	unsigned n; /* samples on this page */
};

static int add_sample(void *arg, const struct cube_metric *m) {
	struct history *h = arg;
	if (m->wall > h->since) cube_pages_element(&h->pages, cube_api_metric_json(m, &h->before));
	h->before = *m;
	h->at = m->wall;
	return ++h->n == PAGE_SAMPLES;
}

static int history_fill(struct cube_pages *p) {
	struct history *h = cube_container(p, struct history, pages);
	struct cube_store *s = p->api->parts.turn->store;
	if (!h->begun) cube_buf_addstr(&p->out, "{\"metrics\":[");
	h->begun = true;
	h->n = 0;
	int rc = s->ops->metric_list(s, h->node, h->at, add_sample, h, NULL);
	if (rc < 0) p->broken = true;
	if (rc > 0 || p->broken) return 1;
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
	struct cube_node *node = cube_api_node_find(api, req);
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
