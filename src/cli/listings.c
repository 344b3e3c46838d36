#include "listings.h"

#include <string.h>

#include "cli.h"

#define CELL(name) static int name(const json_t *row, bool plain, struct cube_buf *out)
#define TEXT_CELL(name, key)                          \
	CELL(name) {                                  \
		return cube_cell_text(row, key, out); \
	}
#define INT_CELL(name, key)                          \
	CELL(name) {                                 \
		return cube_cell_int(row, key, out); \
	}

/* ---- tasks ---- */

INT_CELL(task_id, "id")
INT_CELL(task_job, "job")
TEXT_CELL(task_name, "name")
TEXT_CELL(task_node, "node")
TEXT_CELL(task_reason, "reason")
TEXT_CELL(task_command, "command")
INT_CELL(task_attempt, "attempt")
INT_CELL(task_index, "index")

CELL(task_state) {
	if (cube_json_true(row, "unknown")) return cube_buf_addstr(out, "unknown");
	return cube_cell_text(row, "state", out);
}

CELL(task_exit) {
	const char *how = cube_json_str(row, "how", NULL);
	if (!how) return 0;
	if (plain || strcmp(how, "exited") == 0) return cube_cell_int(row, "exit_code", out);
	if (strcmp(how, "signaled") == 0)
		return cube_buf_printf(out, "SIG%s", cube_json_str(row, "signal", "?"));
	return cube_buf_addstr(out, how);
}

CELL(task_created) {
	return cube_cell_age(row, "created", plain, out);
}

/* How long it ran, or has run. */
CELL(task_time) {
	const json_t *usage = json_object_get(row, "usage");
	double wall = cube_json_num(usage, "wall", -1);
	if (wall >= 0 && *cube_json_str(row, "finished", ""))
		return cube_cell_duration(wall, plain, out);
	if (plain || *cube_json_str(row, "finished", "")) return 0;
	return cube_cell_age(row, "started", false, out);
}

CELL(task_cpu) {
	const json_t *usage = json_object_get(row, "usage");
	double user = cube_json_num(usage, "user", -1), sys = cube_json_num(usage, "sys", 0);
	return cube_cell_duration(user < 0 ? -1 : user + sys, plain, out);
}

CELL(task_memory) {
	return cube_cell_size(cube_json_num(json_object_get(row, "usage"), "max_rss", -1), plain,
			      out);
}

CELL(task_output) {
	double bytes =
		cube_json_num(row, "stdout_bytes", 0) + cube_json_num(row, "stderr_bytes", 0);
	return cube_cell_size(bytes, plain, out);
}

const struct cube_column cube_task_columns[] = {
	{"ID", "id", .right = true, .cell = task_id},
	{"JOB", "job", .right = true, .drop = 4, .cell = task_job},
	{"INDEX", "index", .right = true, .wide = true, .cell = task_index},
	{"NAME", "name", .wide = true, .cell = task_name},
	{"NODE", "node", .shrinks = 8, .cell = task_node},
	{"STATE", "state", .cell = task_state},
	{"EXIT", "exit_code", .drop = 5, .cell = task_exit},
	{"CREATED", "created", .right = true, .drop = 2, .cell = task_created},
	{"TIME", "wall_seconds", .right = true, .drop = 3, .cell = task_time},
	{"CPU", "cpu_seconds", .right = true, .wide = true, .cell = task_cpu},
	{"MEMORY", "max_rss", .right = true, .wide = true, .cell = task_memory},
	{"OUTPUT", "output_bytes", .right = true, .wide = true, .cell = task_output},
	{"TRY", "attempt", .right = true, .wide = true, .cell = task_attempt},
	{"COMMAND", "command", .shrinks = 8, .cell = task_command},
	{"REASON", "reason", .wide = true, .cell = task_reason},
	{0},
};

/* ---- nodes ---- */

static double metric(const json_t *row, const char *key) {
	return cube_json_num(json_object_get(row, "metrics"), key, -1);
}

/* Used of total, "1.2 GB/8.0 GB"; as a fraction for programs. */
static int used_cell(const json_t *row, const char *total, const char *rest, bool plain,
		     struct cube_buf *out) {
	double all = metric(row, total), left = metric(row, rest);
	if (all <= 0 || left < 0) return 0;
	if (plain) return cube_buf_printf(out, "%.4f", (all - left) / all);
	int rc = cube_cell_size(all - left, false, out);
	if (!rc) rc = cube_buf_addstr(out, "/");
	return rc ? rc : cube_cell_size(all, false, out);
}

TEXT_CELL(node_name, "name")
TEXT_CELL(node_host, "host")
TEXT_CELL(node_user, "user")
TEXT_CELL(node_transport, "transport")
TEXT_CELL(node_labels, "labels")
INT_CELL(node_slots, "slots")
INT_CELL(node_running, "running")
INT_CELL(node_queued, "queued")
CELL(node_cpu) {
	return cube_cell_percent(metric(row, "cpu"), plain, out);
}
CELL(node_steal) {
	return cube_cell_percent(metric(row, "steal"), plain, out);
}
CELL(node_iowait) {
	return cube_cell_percent(metric(row, "iowait"), plain, out);
}
CELL(node_memory) {
	return used_cell(row, "memory_total", "memory_available", plain, out);
}
CELL(node_disk) {
	return used_cell(row, "disk_total", "disk_free", plain, out);
}
CELL(node_receive) {
	return cube_cell_size(metric(row, "net_receive_rate"), plain, out);
}
CELL(node_send) {
	return cube_cell_size(metric(row, "net_send_rate"), plain, out);
}
CELL(node_uptime) {
	return cube_cell_duration(metric(row, "uptime"), plain, out);
}
CELL(node_join) {
	return cube_cell_duration(cube_json_num(row, "join_seconds", -1), plain, out);
}

CELL(node_state) {
	double pushed = cube_json_num(row, "progress", 0);
	int rc = cube_cell_text(row, "state", out);
	if (rc || plain || pushed <= 0 || strcmp(cube_json_str(row, "state", ""), "pushing") != 0)
		return rc;
	return cube_buf_printf(out, " %.0f%%", pushed * 100);
}

CELL(node_load) {
	const json_t *load = json_object_get(json_object_get(row, "metrics"), "load");
	if (!json_is_number(json_array_get(load, 0))) return 0;
	return cube_buf_printf(out, "%.2f", json_number_value(json_array_get(load, 0)));
}

CELL(node_reason) {
	const char *step = cube_json_str(row, "step", ""), *why = cube_json_str(row, "reason", "");
	if (!*why || !*step || strncmp(why, step, strlen(step)) == 0)
		return cube_buf_addstr(out, why);
	return cube_buf_printf(out, "%s: %s", step, why);
}

CELL(node_machine) {
	const json_t *facts = json_object_get(row, "facts");
	return cube_cell_text(facts, "machine", out);
}

CELL(node_kernel) {
	const json_t *facts = json_object_get(row, "facts");
	return cube_cell_text(facts, "kernel", out);
}

const struct cube_column cube_node_columns[] = {
	{"NAME", "name", .shrinks = 16, .cell = node_name},
	{"STATE", "state", .cell = node_state},
	{"SLOTS", "slots", .right = true, .drop = 5, .cell = node_slots},
	{"RUN", "running", .right = true, .drop = 8, .cell = node_running},
	{"QUEUE", "queued", .right = true, .wide = true, .cell = node_queued},
	{"CPU", "cpu", .right = true, .drop = 7, .cell = node_cpu},
	{"STEAL", "steal", .right = true, .drop = 4, .cell = node_steal},
	{"IOWAIT", "iowait", .right = true, .wide = true, .cell = node_iowait},
	{"MEMORY", "memory_used", .right = true, .drop = 6, .cell = node_memory},
	{"DISK", "disk_used", .right = true, .drop = 3, .cell = node_disk},
	{"LOAD", "load", .right = true, .drop = 2, .cell = node_load},
	{"RECV/S", "net_receive_rate", .right = true, .wide = true, .cell = node_receive},
	{"SEND/S", "net_send_rate", .right = true, .wide = true, .cell = node_send},
	{"UP", "uptime_seconds", .right = true, .drop = 1, .cell = node_uptime},
	{"JOIN", "join_seconds", .right = true, .wide = true, .cell = node_join},
	{"HOST", "host", .wide = true, .cell = node_host},
	{"USER", "user", .wide = true, .cell = node_user},
	{"TRANSPORT", "transport", .wide = true, .cell = node_transport},
	{"MACHINE", "machine", .wide = true, .cell = node_machine},
	{"KERNEL", "kernel", .wide = true, .cell = node_kernel},
	{"LABELS", "labels", .wide = true, .cell = node_labels},
	{"REASON", "reason", .shrinks = 48, .cell = node_reason},
	{0},
};
