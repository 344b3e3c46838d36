/* A spec out of any JSON: refused with a message, or the same again after being written and read.
 */
#include <stdlib.h>
#include <string.h>

#include "../../src/api/spec_json.h"

static int same(const char *a, const char *b) {
	return a && b ? !strcmp(a, b) : a == b;
}

static int same_list(const struct cube_strv *a, const struct cube_strv *b) {
	if (a->len != b->len) return 0;
	for (size_t i = 0; i < a->len; i++)
		if (strcmp(a->v[i], b->v[i]) != 0) return 0;
	return 1;
}

static int same_spec(const struct cube_spec *a, const struct cube_spec *b) {
	return same(a->name, b->name) && same(a->dir, b->dir) && same_list(&a->argv, &b->argv) &&
	       same_list(&a->env, &b->env) && a->timeout_ms == b->timeout_ms &&
	       a->grace_ms == b->grace_ms && a->has_stdin == b->has_stdin &&
	       a->nfiles == b->nfiles &&
	       (!a->nfiles || !memcmp(a->files, b->files, a->nfiles * sizeof *a->files));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct cube_spec spec = {0}, again = {0};
	struct cube_err err = {0};
	json_t *in = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
	if (!in) return 0;
	int rc = cube_spec_from_json(&spec, in, &err);
	json_decref(in);
	if (rc) {
		if (rc > 0 || rc != err.code || !*err.msg || spec.argv.v) abort();
		return 0;
	}
	json_t *out = cube_spec_to_json(&spec);
	char *text = out ? json_dumps(out, JSON_COMPACT) : NULL;
	json_t *back = text ? json_loads(text, 0, NULL) : NULL;
	if (!back || cube_spec_from_json(&again, back, &err) || !same_spec(&spec, &again)) abort();
	free(text);
	json_decref(out);
	json_decref(back);
	cube_spec_done(&spec);
	cube_spec_done(&again);
	return 0;
}
