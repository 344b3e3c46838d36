#include "waiting.h"

#include <stdlib.h>

#include "watch.h"

#define COME_BACK  5
#define ANSWER_MAX (1u << 20)

static int take(void *arg, const void *bytes, size_t n) {
	return cube_buf_add(arg, bytes, n);
}

static int wait_once(struct cube_cli *cli, const char *path, json_t **ret, struct cube_err *err) {
	struct cube_buf answer;
	cube_buf_init(&answer, ANSWER_MAX);
	struct cube_transfer *t = cube_client_get(cli->client, path, take, &answer);
	int rc = cube_watch_transfer(t, cli, err);
	cube_transfer_free(t);
	json_t *is =
		json_loadb((const char *)cube_buf_data(&answer), cube_buf_len(&answer), 0, NULL);
	cube_buf_done(&answer);
	if (!rc && !is)
		rc = cube_fail(err, CUBE_ECONNECT, "the manager went away; the tasks go on");
	if (!rc && ret) *ret = json_incref(is);
	json_decref(is);
	return rc;
}

int cube_wait_for(struct cube_cli *cli, const struct cube_ref *ref, json_t **ret,
		  struct cube_err *err) {
	cube_autofree char *path = cube_strf("/v1/%s/%llu/wait", ref->job ? "jobs" : "tasks",
					     (unsigned long long)ref->id);
	int rc = wait_once(cli, path, ret, err);
	for (int tries = 0; rc == CUBE_ECONNECT && tries < COME_BACK; tries++) {
		poll(NULL, 0, 100 * tries); /* it may be just leaving */
		if (cube_client_start_manager(&cli->paths, err) == 0)
			rc = wait_once(cli, path, ret, err);
	}
	return rc;
}
