/* GET /v1/events: server-sent events. */
#include <stdlib.h>
#include <string.h>

#include "api_impl.h"
#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/parse.h"
#include "cube/events.h"

#define PAGE          256u
#define PROGRESS_MAX  (64u << 10) /* queued for a client that does not read: more is dropped */
#define KEEP_ALIVE_NS (15 * CUBE_NS_PER_S)

struct sse {
	struct cube_pages pages;
	bool follow;
	uint64_t after; /* sent so far */
	uint64_t until; /* without follow: the newest when it was asked */
	struct cube_events_watcher watcher;
	struct cube_timer *timer;
	struct cube_prompts_watcher prompts;
	bool look;      /* at the prompts */
	uint64_t shown; /* version of the newest change that was told */
	uint64_t *open; /* ids that were told */
	size_t nopen;
};

struct page {
	struct sse *sse;
	uint64_t last; /* what may be shown */
};

static int add_event(void *arg, const struct cube_event_row *row) {
	struct page *page = arg;
	struct sse *sse = page->sse;
	if (row->seq > page->last) return 1;
	struct cube_buf *out = &sse->pages.out;
	const char *node = cube_fleet_name(sse->pages.api->parts.fleet, row->node);
	cube_buf_printf(out, "id: %llu\nevent: %s\ndata: ", (unsigned long long)row->seq,
			row->kind);
	cube_pages_json(
		&sse->pages,
		json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "seq", cube_jv_u64(row->seq),
			  "time", cube_jv_time(row->wall), "kind", cube_jv_text(row->kind), "task",
			  row->task ? cube_jv_u64(row->task) : json_null(), "node",
			  cube_jv_optional(node), "old", cube_jv_optional(row->old_state), "new",
			  cube_jv_text(row->new_state), "reason", cube_jv_optional(row->reason)));
	cube_buf_addstr(out, "\n\n");
	sse->after = row->seq;
	return 0;
}

/* --- questions: each is told when it is new or changes, and when it is gone --- */

static void tell_prompt(struct sse *sse, const char *event, json_t *taken) {
	cube_buf_printf(&sse->pages.out, "event: %s\ndata: ", event);
	cube_pages_json(&sse->pages, taken);
	cube_buf_addstr(&sse->pages.out, "\n\n");
}

static void tell_prompts(struct sse *sse) {
	const struct cube_prompts *all = sse->pages.api->parts.prompts;
	const struct cube_prompt *q = NULL;
	uint64_t newest = sse->shown;
	size_t kept = 0;
	sse->look = false;
	for (size_t i = 0; i < sse->nopen; i++) {
		if (cube_prompts_find(all, sse->open[i])) sse->open[kept++] = sse->open[i];
		else
			tell_prompt(sse, "prompt-gone",
				    json_pack("{s:o}", "prompt", cube_jv_u64(sse->open[i])));
	}
	sse->nopen = kept;
	while ((q = cube_prompts_next(all, q))) {
		if (q->version <= sse->shown) continue;
		if (q->version > newest) newest = q->version;
		tell_prompt(sse, "prompt", cube_api_prompt_json(q));
		size_t i = 0;
		while (i < sse->nopen && sse->open[i] != q->id) i++;
		if (i < sse->nopen) continue;
		sse->open = cube_realloc_array(sse->open, sse->nopen + 1, sizeof *sse->open);
		sse->open[sse->nopen++] = q->id;
	}
	sse->shown = newest;
}

static void on_prompts(void *arg) {
	struct sse *sse = arg;
	sse->look = true;
	cube_pages_wake(&sse->pages);
}

static int fill(struct cube_pages *p) {
	struct sse *sse = cube_container(p, struct sse, pages);
	if (sse->look) tell_prompts(sse);
	struct cube_store *s = p->api->parts.turn->store;
	struct page page = {sse, cube_events_committed(p->api->parts.events)};
	if (!sse->follow && page.last > sse->until) page.last = sse->until;
	if (sse->after < page.last) {
		uint64_t before = sse->after;
		if (s->ops->event_list(s, sse->after, PAGE, add_event, &page, NULL) < 0)
			p->broken = true;
		if (p->broken || sse->after > before) return 1;
	}
	return sse->follow ? 0 : -1;
}

static void on_changed(void *arg) {
	struct sse *sse = arg;
	cube_pages_wake(&sse->pages);
}

static void on_progress(void *arg, uint32_t node, const char *step, double progress) {
	struct sse *sse = arg;
	struct cube_buf *out = &sse->pages.out;
	if (cube_buf_len(out) > PROGRESS_MAX) return;
	cube_buf_addstr(out, "event: progress\ndata: ");
	const char *name = cube_fleet_name(sse->pages.api->parts.fleet, node);
	cube_pages_json(&sse->pages,
			json_pack("{s:o, s:o, s:o}", "node", cube_jv_text(name), "step",
				  cube_jv_text(step), "progress",
				  progress >= 0 ? cube_jv_real(progress) : json_null()));
	cube_buf_addstr(out, "\n\n");
	cube_pages_wake(&sse->pages);
}

static void on_note(void *arg, uint32_t node, const char *text) {
	struct sse *sse = arg;
	struct cube_buf *out = &sse->pages.out;
	if (cube_buf_len(out) > PROGRESS_MAX) return;
	cube_buf_addstr(out, "event: note\ndata: ");
	const char *name = cube_fleet_name(sse->pages.api->parts.fleet, node);
	cube_pages_json(&sse->pages, json_pack("{s:o, s:o}", "node", cube_jv_text(name), "text",
					       cube_jv_text(text)));
	cube_buf_addstr(out, "\n\n");
	cube_pages_wake(&sse->pages);
}

static void on_timer(void *arg) {
	struct sse *sse = arg;
	cube_timer_after(sse->timer, KEEP_ALIVE_NS);
	if (cube_buf_len(&sse->pages.out)) return;
	cube_buf_addstr(&sse->pages.out, ":\n\n");
	cube_pages_wake(&sse->pages);
}

static void release(struct cube_pages *p) {
	struct sse *sse = cube_container(p, struct sse, pages);
	cube_events_unwatch(&sse->watcher);
	cube_prompts_unwatch(sse->pages.api->parts.prompts, &sse->prompts);
	cube_timer_del(sse->timer);
	free(sse->open);
	free(sse);
}

/* Last-Event-ID is what a client that lost its connection has seen; the address is older. */
static int read_after(struct cube_api *api, struct cube_request *req, uint64_t *ret,
		      struct cube_err *err) {
	const char *seen = cube_request_header(req, "Last-Event-ID");
	const char *after = cube_request_query(req, "after");
	*ret = 0;
	if (seen && cube_parse_u64(seen, 0, INT64_MAX, ret, NULL) == 0) return 0;
	if (!after || strcmp(after, "-1") != 0)
		return cube_query_u64(req, "after", INT64_MAX, ret, err);
	*ret = cube_events_last(api->parts.events);
	return 0;
}

void cube_api_events_get(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_err err;
	uint64_t after;
	if (read_after(api, req, &after, &err)) {
		cube_reply_error(req, &err);
		return;
	}
	struct sse *sse = cube_alloc(sizeof *sse);
	*sse = (struct sse){.pages = {.fill = fill, .free = release},
			    .follow = cube_query_flag(req, "follow"),
			    .after = after,
			    .until = cube_events_committed(api->parts.events)};
	if (sse->follow) {
		sse->watcher = (struct cube_events_watcher){.changed = on_changed,
							    .progress = on_progress,
							    .note = on_note,
							    .arg = sse};
		cube_events_watch(api->parts.events, &sse->watcher);
		sse->timer = cube_timer_add(api->parts.turn->loop, on_timer, sse);
		cube_timer_after(sse->timer, KEEP_ALIVE_NS);
	}
	if (sse->follow && cube_query_flag(req, "prompts")) {
		sse->prompts = (struct cube_prompts_watcher){.changed = on_prompts, .arg = sse};
		cube_prompts_watch(api->parts.prompts, &sse->prompts);
	}
	cube_pages_reply(api, req, "text/event-stream", &sse->pages);
	/* The head goes out at once: whoever follows knows then that nothing is missed. */
	if (sse->follow) {
		cube_buf_addstr(&sse->pages.out, ":\n\n");
		cube_events_replay(api->parts.events, &sse->watcher, after);
	}
}
