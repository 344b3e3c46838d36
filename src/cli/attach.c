#include "attach.h"

int cube_submission_make(struct cube_cli *cli, const json_t *body, struct cube_submission *ret,
			 struct cube_err *err) {
	json_t *reply = NULL;
	int rc = cube_client_post_once(cli->client, "/v1/tasks", body, &cli->paths, &reply, err);
	if (!rc) {
		ret->id = (uint64_t)cube_json_num(reply, "job", 0);
		ret->first = (uint64_t)cube_json_num(reply, "first", 0);
		ret->count = (uint64_t)cube_json_num(reply, "count", 0);
	}
	json_decref(reply);
	return rc;
}

struct cube_output_config cube_submission_output(const struct cube_submission *job,
						 const struct cube_print_options *print) {
	return (struct cube_output_config){.raw = job->count == 1 && !print->fold,
					   .prefix = !print->no_prefix,
					   .fold = print->fold};
}

int cube_submission_attach(struct cube_cli *cli, const struct cube_submission *job,
			   const struct cube_print_options *print, bool input,
			   void (*before)(void *arg, bool whole), void *arg,
			   struct cube_follow_result *ret, struct cube_err *err) {
	struct cube_follow_config config = {.ref = {.job = true, .id = job->id},
					    .first = job->first,
					    .count = job->count,
					    .follow = true,
					    .attached = true,
					    .input = input,
					    .tail = CUBE_OPT_UNSET,
					    .output = cube_submission_output(job, print),
					    .before = before,
					    .arg = arg};
	return cube_follow(cli, &config, ret, err);
}

void cube_submission_stop(struct cube_cli *cli, const struct cube_submission *job) {
	cube_autofree char *path = cube_strf("/v1/jobs/%llu", (unsigned long long)job->id);
	cube_client_json(cli->client, "DELETE", path, NULL, NULL, NULL);
}

void cube_submission_left(const struct cube_submission *job) {
	unsigned long long id = job->count == 1 ? job->first : job->id;
	const char *kind = job->count == 1 ? "" : "job:";
	cube_cli_say(
		"the work goes on; come back with `cube logs -f %s%llu`, end it with `cube stop "
		"%s%llu`",
		kind, id, kind, id);
}
