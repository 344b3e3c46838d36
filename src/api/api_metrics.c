/* GET /metrics: Prometheus' text format, version 0.0.4. */
#include <inttypes.h>
#include <string.h>

#include "api_impl.h"
#include "cube/clock.h"
#include "cube/task.h"
#include "cube/work.h"

#define COUNT_NS (5 * CUBE_NS_PER_S)

static void family(struct cube_buf *out, const char *name, const char *type, const char *help) {
	cube_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void label(struct cube_buf *out, const char *s) {
	for (; *s; s++) {
		if (*s == '\\' || *s == '"') cube_buf_printf(out, "\\%c", *s);
		else if (*s == '\n') cube_buf_addstr(out, "\\n");
		else cube_buf_add(out, s, 1);
	}
}

static void sample(struct cube_buf *out, const char *name, const char *key, const char *value,
		   double v) {
	cube_buf_printf(out, "%s{%s=\"", name, key);
	label(out, value);
	cube_buf_printf(out, "\"} %.15g\n", v);
}

/* --- nodes and tasks by state --- */

static void nodes_by_state(struct cube_api *api, struct cube_buf *out) {
	unsigned counts[CUBE_NODE_STATES];
	cube_fleet_states(api->parts.fleet, counts);
	family(out, "cube_nodes", "gauge", "Nodes by state.");
	for (int i = 0; i < CUBE_NODE_STATES; i++)
		sample(out, "cube_nodes", "state", cube_node_state_name(i), counts[i]);
}

static void count_active(void *arg, struct cube_task *task) {
	uint64_t *counts = arg;
	if (task->row.state < CUBE_TASK_STATES) counts[task->row.state]++;
}

static int count_row(void *arg, const struct cube_task_row *row) {
	++*(uint64_t *)arg;
	return 0;
}

/* Failed ones are few and have an index; what is neither active nor failed is completed. */
static void tasks_by_state(struct cube_api *api, struct cube_buf *out) {
	struct cube_store *s = api->parts.turn->store;
	uint64_t counts[CUBE_TASK_STATES] = {0}, job, last = 0,
		 now = cube_loop_now(api->parts.turn->loop);
	uint32_t node;
	if (!api->failed_at || now - api->failed_at > COUNT_NS) {
		struct cube_task_filter filter = {.states = 1u << CUBE_TASK_FAILED};
		api->failed_tasks = 0;
		s->ops->task_list(s, &filter, count_row, &api->failed_tasks, NULL);
		api->failed_at = now;
	}
	s->ops->last_ids(s, &job, &last, &node, NULL);
	cube_work_each(api->parts.work, count_active, counts);
	counts[CUBE_TASK_FAILED] = api->failed_tasks;
	uint64_t known = 0;
	for (int i = 0; i < CUBE_TASK_STATES; i++)
		if (i != CUBE_TASK_COMPLETED) known += counts[i];
	counts[CUBE_TASK_COMPLETED] = last > known ? last - known : 0;
	family(out, "cube_tasks", "gauge", "Tasks by state.");
	for (int i = 0; i < CUBE_TASK_STATES; i++)
		sample(out, "cube_tasks", "state", cube_task_state_name(i), (double)counts[i]);
}

/* --- the hosts --- */

enum unit { COUNT, HUNDREDTHS, TICKS };
static const struct gauge {
	const char *name, *type, *help;
	size_t at;
	uint8_t size;
	enum unit unit;
} gauges[] = {
#define G(name, type, help, field, unit)                               \
	{                                                              \
		name, type, help, offsetof(struct cube_metric, field), \
			sizeof(((struct cube_metric *)0)->field), unit \
	}
	G("cube_node_cpu_user_seconds_total", "counter", "CPU time in user mode.", cpu_user, TICKS),
	G("cube_node_cpu_system_seconds_total", "counter", "CPU time in the kernel.", cpu_system,
	  TICKS),
	G("cube_node_cpu_iowait_seconds_total", "counter", "CPU time waiting for disks.",
	  cpu_iowait, TICKS),
	G("cube_node_cpu_steal_seconds_total", "counter", "CPU time taken by the hypervisor.",
	  cpu_steal, TICKS),
	G("cube_node_cpu_idle_seconds_total", "counter", "CPU time unused.", cpu_idle, TICKS),
	G("cube_node_load1", "gauge", "Load average of one minute.", load1, HUNDREDTHS),
	G("cube_node_load5", "gauge", "Load average of five minutes.", load5, HUNDREDTHS),
	G("cube_node_load15", "gauge", "Load average of fifteen minutes.", load15, HUNDREDTHS),
	G("cube_node_memory_bytes", "gauge", "Memory in all.", mem_total, COUNT),
	G("cube_node_memory_available_bytes", "gauge", "Memory that could be used.", mem_available,
	  COUNT),
	G("cube_node_swap_bytes", "gauge", "Swap in all.", swap_total, COUNT),
	G("cube_node_swap_free_bytes", "gauge", "Swap not used.", swap_free, COUNT),
	G("cube_node_disk_bytes", "gauge", "Size of the file system cube uses.", disk_total, COUNT),
	G("cube_node_disk_free_bytes", "gauge", "Room on it.", disk_free, COUNT),
	G("cube_node_disk_read_bytes_total", "counter", "Bytes read from disks.", disk_read, COUNT),
	G("cube_node_disk_written_bytes_total", "counter", "Bytes written to disks.", disk_written,
	  COUNT),
	G("cube_node_network_receive_bytes_total", "counter", "Bytes received.", net_received,
	  COUNT),
	G("cube_node_network_transmit_bytes_total", "counter", "Bytes sent.", net_sent, COUNT),
	G("cube_node_running_tasks", "gauge", "Tasks that run there now.", running, COUNT),
	G("cube_node_pressure_cpu_percent", "gauge", "Time in which work waited for a CPU.",
	  psi_cpu, HUNDREDTHS),
	G("cube_node_pressure_memory_percent", "gauge", "Time in which work waited for memory.",
	  psi_mem, HUNDREDTHS),
	G("cube_node_pressure_io_percent", "gauge", "Time in which work waited for disks.", psi_io,
	  HUNDREDTHS),
	G("cube_node_uptime_seconds", "gauge", "Since the host's boot.", uptime_s, COUNT),
#undef G
};

static uint64_t figure(const struct gauge *g, const struct cube_metric *m) {
	uint64_t wide = 0;
	uint32_t narrow;
	if (g->size == sizeof wide) {
		memcpy(&wide, (const char *)m + g->at, sizeof wide);
		return wide;
	}
	memcpy(&narrow, (const char *)m + g->at, sizeof narrow);
	return narrow == CUBE_METRIC_NONE ? UINT64_MAX : narrow;
}

static void hosts(struct cube_api *api, struct cube_buf *out) {
	for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
		const struct gauge *g = &gauges[i];
		family(out, g->name, g->type, g->help);
		cube_list_each (cube_fleet_list(api->parts.fleet), node, struct cube_node, hook) {
			uint64_t v = figure(g, &node->metric);
			if (!node->metric.wall || v == UINT64_MAX) continue;
			sample(out, g->name, "node", node->name,
			       g->unit == COUNT ? (double)v : (double)v / 100);
		}
	}
}

void cube_api_metrics_get(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_buf out;
	cube_buf_init(&out, CUBE_REPLY_MAX);
	nodes_by_state(api, &out);
	tasks_by_state(api, &out);
	hosts(api, &out);
	cube_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", cube_buf_data(&out),
		   cube_buf_len(&out));
	cube_buf_done(&out);
}
