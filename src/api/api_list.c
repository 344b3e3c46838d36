/* GET /v1/tasks: rows a page at a time, so that a million of them are no memory. */
#include <stdlib.h>
#include <string.h>

#include "api_impl.h"
#include "cube/mem.h"
#include "cube/task.h"

#define PAGE 512u

struct listing {
	struct cube_pages pages;
	struct cube_task_filter filter;
	char *name;
	bool begun, newest;
	uint64_t before; /* newest: only ids below are still to come */
	uint64_t floor;  /* newest: none up to this */
	uint64_t left;   /* rows that may still be given */
	struct cube_task_row rows[PAGE];
	size_t nrows;
};

static int collect(void *arg, const struct cube_task_row *row) {
	struct listing *l = arg;
	if (l->newest && row->id >= l->before) return 1;
	struct cube_task_row *to = &l->rows[l->nrows++];
	*to = *row;
	to->reason = cube_strdup(row->reason);
	return l->nrows == PAGE;
}

static void write_rows(struct listing *l) {
	for (size_t i = 0; i < l->nrows; i++) {
		struct cube_task_row *row = &l->rows[l->newest ? l->nrows - 1 - i : i];
		if (l->left) {
			cube_pages_element(&l->pages, cube_api_task_json(l->pages.api, row));
			l->left--;
		}
		free((char *)row->reason);
	}
	l->nrows = 0;
}

/* The next page's rows, in rising order; false when there are no more. */
static bool next_rows(struct listing *l) {
	struct cube_store *s = l->pages.api->parts.turn->store;
	if (l->newest) {
		if (l->before <= l->floor + 1) return false;
		uint64_t low = l->before > PAGE ? l->before - 1 - PAGE : 0;
		l->filter.after = low > l->floor ? low : l->floor;
	}
	l->filter.limit = PAGE;
	int rc = s->ops->task_list(s, &l->filter, collect, l, NULL);
	if (rc < 0) l->pages.broken = true;
	if (l->newest) l->before = l->filter.after + 1;
	else if (l->nrows) l->filter.after = l->rows[l->nrows - 1].id;
	return l->newest || l->nrows > 0;
}

static int fill(struct cube_pages *p) {
	struct listing *l = cube_container(p, struct listing, pages);
	if (!l->begun) cube_buf_addstr(&p->out, "{\"tasks\":[");
	l->begun = true;
	/* Empty stretches of ids are passed over here, but not for ever in one turn's time. */
	for (int i = 0; i < 64 && l->left && !p->broken && cube_buf_len(&p->out) < 65536; i++) {
		if (!next_rows(l)) l->left = 0;
		write_rows(l);
	}
	if (p->broken) return 1;
	if (l->left) {
		if (!cube_buf_len(&p->out)) cube_buf_addstr(&p->out, "\n");
		return 1;
	}
	cube_buf_addstr(&p->out, "]}\n");
	return -1;
}

static void release(struct cube_pages *p) {
	struct listing *l = cube_container(p, struct listing, pages);
	free(l->name);
	free(l);
}

/* "running,failed" -> bits. */
static int parse_states(const char *text, uint32_t *ret, struct cube_err *err) {
	while (text && *text) {
		char word[16];
		size_t n = strcspn(text, ",");
		enum cube_task_state state;
		if (n < sizeof word) memcpy(word, text, n);
		word[n < sizeof word ? n : 0] = 0;
		if (cube_task_state_parse(word, &state))
			return cube_fail(err, CUBE_EUSAGE,
					 "state: '%.*s' is none of pending, scheduled, "
					 "running, completed, failed",
					 (int)(n < 40 ? n : 40), text);
		*ret |= 1u << state;
		text += n + (text[n] == ',');
	}
	return 0;
}

static int read_query(struct cube_api *api, struct cube_request *req, struct listing *l,
		      struct cube_err *err) {
	uint64_t limit = UINT64_MAX, none = 0;
	int rc = cube_query_u64(req, "job", INT64_MAX, &l->filter.job, err);
	if (!rc) rc = cube_query_u64(req, "after", INT64_MAX, &l->filter.after, err);
	if (!rc) rc = cube_query_u64(req, "limit", UINT32_MAX, &limit, err);
	if (!rc) rc = parse_states(cube_request_query(req, "state"), &l->filter.states, err);
	if (rc) return rc;
	const char *node = cube_request_query(req, "node");
	uint32_t last_node;
	uint64_t last_task;
	rc = api->parts.turn->store->ops->last_ids(api->parts.turn->store, &none, &last_task,
						   &last_node, err);
	if (rc) return rc;
	for (uint32_t id = 1; node && *node && id <= last_node; id++) { /* gone ones too */
		if (strcmp(cube_fleet_name(api->parts.fleet, id), node) == 0) l->filter.node = id;
	}
	if (node && *node && !l->filter.node)
		return cube_fail(err, CUBE_ENOTFOUND,
				 "there is no node '%.80s'; `cube nodes` lists them", node);
	l->name = cube_strdup(cube_request_query(req, "name"));
	l->filter.name = l->name;
	l->left = limit;
	l->newest = cube_query_flag(req, "newest");
	l->floor = l->filter.after;
	l->before = last_task + 1;
	return 0;
}

void cube_api_tasks_get(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_err err;
	struct listing *l = cube_alloc(sizeof *l);
	l->pages.fill = fill;
	l->pages.free = release;
	if (read_query(api, req, l, &err)) {
		cube_reply_error(req, &err);
		release(&l->pages);
		return;
	}
	cube_pages_reply(api, req, CUBE_JSON_TYPE, &l->pages);
}
