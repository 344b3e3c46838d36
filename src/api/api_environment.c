/* PUT /v1/environment: what the newest command has of its login session. */
#include <string.h>

#include "api_impl.h"
#include "cube/log.h"
#include "cube/userenv.h"

static int check(const json_t *body, struct cube_err *err) {
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)body, name, value) {
		bool known = false;
		for (size_t i = 0; cube_userenv_name(i); i++)
			known |= !strcmp(name, cube_userenv_name(i));
		if (!known) return cube_fail(err, CUBE_EUSAGE, "%.80s: unknown field", name);
		if (!json_is_null(value) &&
		    (!json_is_string(value) || json_string_length(value) >= CUBE_SESSION_VALUE))
			return cube_fail(err, CUBE_EUSAGE,
					 "%.80s: a string of less than %d bytes, or null", name,
					 CUBE_SESSION_VALUE);
	}
	return 0;
}

void cube_api_environment_put(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_err err;
	const char *name;
	json_t *body = NULL, *value;
	int rc = cube_body_json(req, &body, &err);
	if (!rc) rc = check(body, &err);
	if (rc) {
		cube_reply_error(req, &err);
		json_decref(body);
		return;
	}
	json_object_foreach(body, name, value) {
		if (cube_userenv_set(api->parts.userenv, name, json_string_value(value)))
			cube_info("%s is now %s", name,
				  json_is_null(value) ? "unset" : json_string_value(value));
	}
	json_decref(body);
	cube_reply(req, 200, CUBE_JSON_TYPE, "{}\n", 3);
}
