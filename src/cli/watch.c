#include "watch.h"

#include <stdio.h>
#include <string.h>

static int take(void *arg, const void *bytes, size_t n) {
	struct cube_watch *w = arg;
	return cube_sse_feed(&w->sse, bytes, n, w->fn, w->arg);
}

static void start(struct cube_watch *w, struct cube_cli *cli, int64_t after, const char *how,
		  cube_sse_fn *fn, void *arg) {
	cube_sse_init(&w->sse);
	w->fn = fn;
	w->arg = arg;
	cube_autofree char *path = cube_strf("/v1/events?after=%lld%s", (long long)after, how);
	w->transfer = cube_client_get(cli->client, path, take, w);
}

void cube_watch_start(struct cube_watch *w, struct cube_cli *cli, int64_t after, bool follow,
		      cube_sse_fn *fn, void *arg) {
	start(w, cli, after, follow ? "&follow=1" : "", fn, arg);
}

void cube_watch_start_asking(struct cube_watch *w, struct cube_cli *cli, int64_t after,
			     cube_sse_fn *fn, void *arg) {
	start(w, cli, after, "&follow=1&prompts=1", fn, arg);
}

void cube_watch_stop(struct cube_watch *w) {
	cube_transfer_free(w->transfer);
	w->transfer = NULL;
	cube_sse_done(&w->sse);
}

int cube_watch_transfer(const struct cube_transfer *t, struct cube_cli *cli, struct cube_err *err) {
	static const int stops[] = {SIGINT, SIGTERM, 0};
	struct cube_signals signals;
	int rc = 0, signo = 0;
	cube_signals_open(&signals, stops);
	while (!cube_transfer_ended(t) && !signo) {
		struct pollfd p = {.fd = signals.fd, .events = POLLIN};
		cube_client_turn(cli->client, &p, 1, -1);
		signo = cube_signals_next(&signals);
		if (signo == SIGINT) cube_client_interrupted(cli->client);
	}
	cube_signals_close(&signals);
	if (cube_transfer_ended(t)) {
		rc = cube_transfer_result(t, err);
	} else {
		rc = cube_fail(err, CUBE_ECANCELED, "interrupted");
		if (err) err->sys = signo;
	}
	return rc;
}

int cube_watch_wait(struct cube_watch *w, struct cube_cli *cli, struct cube_err *err) {
	return cube_watch_transfer(w->transfer, cli, err);
}

int cube_watch_now(struct cube_cli *cli, int64_t *ret_after, struct cube_err *err) {
	json_t *info = NULL;
	int rc = cube_client_json(cli->client, "GET", "/v1/info", NULL, &info, err);
	if (!rc) *ret_after = (int64_t)cube_json_num(info, "event", 0);
	json_decref(info);
	return rc;
}
