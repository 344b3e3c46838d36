#include "waiting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "watch.h"

#define ALL_ENDED 1
#define PAGE      1000u
#define COME_BACK 5

static bool ended(const json_t *task) {
	const char *state = cube_json_str(task, "state", "");
	return strcmp(state, "completed") == 0 || strcmp(state, "failed") == 0;
}

static void note(struct cube_waiting *w, json_t *task) {
	char key[24];
	snprintf(key, sizeof key, "%llu", (unsigned long long)cube_json_num(task, "id", 0));
	json_object_set_new(w->tasks, key, ended(task) ? json_incref(task) : json_null());
}

static int add_task(struct cube_waiting *w, struct cube_cli *cli, uint64_t id,
		    struct cube_err *err) {
	json_t *task = NULL;
	cube_autofree char *path = cube_strf("/v1/tasks/%llu", (unsigned long long)id);
	int rc = cube_client_json(cli->client, "GET", path, NULL, &task, err);
	if (!rc) note(w, task);
	json_decref(task);
	return rc;
}

static int add_job(struct cube_waiting *w, struct cube_cli *cli, uint64_t id,
		   struct cube_err *err) {
	uint64_t after = 0;
	size_t all = 0;
	for (;;) {
		json_t *reply = NULL, *task;
		size_t i, n = 0;
		cube_autofree char *path =
			cube_strf("/v1/tasks?job=%llu&limit=%u&after=%llu", (unsigned long long)id,
				  PAGE, (unsigned long long)after);
		int rc = cube_client_json(cli->client, "GET", path, NULL, &reply, err);
		json_array_foreach(json_object_get(reply, "tasks"), i, task) {
			after = (uint64_t)cube_json_num(task, "id", 0);
			note(w, task);
			n++;
		}
		json_decref(reply);
		all += n;
		if (rc) return rc;
		if (all == 0)
			return cube_fail(err, CUBE_ENOTFOUND, "there is no job %llu",
					 (unsigned long long)id);
		if (n < PAGE) return 0;
	}
}

int cube_waiting_init(struct cube_waiting *w, struct cube_cli *cli, char *const *words, size_t n,
		      struct cube_err *err) {
	int rc = 0;
	w->tasks = json_object();
	w->unknown = json_array();
	for (size_t i = 0; !rc && i < n; i++) {
		struct cube_ref ref;
		rc = cube_ref_parse(words[i], &ref, err);
		if (!rc)
			rc = ref.job ? add_job(w, cli, ref.id, err) : add_task(w, cli, ref.id, err);
		if (rc == CUBE_ENOTFOUND) {
			json_array_append_new(w->unknown, json_string(words[i]));
			rc = 0;
		}
	}
	if (rc) cube_waiting_done(w);
	return rc;
}

void cube_waiting_done(struct cube_waiting *w) {
	json_decref(w->tasks);
	json_decref(w->unknown);
	w->tasks = w->unknown = NULL;
}

static size_t running(const struct cube_waiting *w) {
	size_t n = 0;
	const char *id;
	json_t *task;
	json_object_foreach(w->tasks, id, task) n += json_is_null(task);
	return n;
}

struct waiting_run {
	struct cube_waiting *w;
	struct cube_cli *cli;
	size_t left;
	int rc;
	struct cube_err err;
};

static int on_event(void *arg, const char *event, const json_t *data) {
	struct waiting_run *r = arg;
	char key[24];
	uint64_t id = (uint64_t)cube_json_num(data, "task", 0);
	const char *now = cube_json_str(data, "new", "");
	if (strcmp(event, "task") != 0) return 0;
	if (strcmp(now, "completed") != 0 && strcmp(now, "failed") != 0) return 0;
	snprintf(key, sizeof key, "%llu", (unsigned long long)id);
	if (!json_is_null(json_object_get(r->w->tasks, key))) return 0;
	r->rc = add_task(r->w, r->cli, id, &r->err);
	if (r->rc) return r->rc;
	if (!json_is_null(json_object_get(r->w->tasks, key))) r->left--;
	return r->left == 0 ? ALL_ENDED : 0;
}

/* What ended between the first look and the event number asked since. */
static int look_again(struct waiting_run *r, struct cube_err *err) {
	const char *id;
	void *next;
	json_t *task;
	int rc = 0;
	json_object_foreach_safe(r->w->tasks, next, id, task) {
		if (!rc && json_is_null(task))
			rc = add_task(r->w, r->cli, strtoull(id, NULL, 10), err);
	}
	r->left = running(r->w);
	return rc;
}

static int wait_once(struct cube_waiting *w, struct cube_cli *cli, struct cube_err *err) {
	struct waiting_run r = {.w = w, .cli = cli};
	struct cube_watch watch;
	int64_t after = 0;
	if (running(w) == 0) return 0;
	int rc = cube_watch_now(cli, &after, err);
	if (!rc) rc = look_again(&r, err);
	if (rc || r.left == 0) return rc;
	cube_watch_start(&watch, cli, after, true, on_event, &r);
	rc = cube_watch_wait(&watch, cli, err);
	cube_watch_stop(&watch);
	if (rc == ALL_ENDED) return 0;
	if (r.rc) return *err = r.err, r.rc;
	return rc ? rc : cube_fail(err, CUBE_ECONNECT, "the manager went away; the tasks go on");
}

int cube_waiting_wait(struct cube_waiting *w, struct cube_cli *cli, struct cube_err *err) {
	int rc = wait_once(w, cli, err);
	for (int tries = 0; rc == CUBE_ECONNECT && tries < COME_BACK; tries++) {
		poll(NULL, 0, 100 * tries); /* it may be just leaving */
		if (cube_client_start_manager(&cli->paths, err) == 0) rc = wait_once(w, cli, err);
	}
	return rc;
}
