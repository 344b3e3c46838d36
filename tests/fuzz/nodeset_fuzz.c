/* Host expressions with groups and files of the fuzzer's own; what parses folds to the same names.
 */
#include "cube/nodeset.h"

#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Every group and file is what follows the first NUL. */
static int rest(void *arg, const char *name, char **ret, struct cube_err *err) {
	*ret = cube_strdup(arg);
	return 0;
}

static void check_fold(const struct cube_nodeset *set) {
	const char **names = cube_realloc_array(NULL, set->len, sizeof *names);
	struct cube_nodeset again = {0};
	struct cube_buf out;

	for (size_t i = 0; i < set->len; i++) names[i] = set->v[i].name;
	cube_buf_init(&out, 64 << 20);
	if (cube_nodeset_fold(names, set->len, &out) != 0) abort();
	if (cube_nodeset_parse(&again, cube_buf_str(&out), NULL, NULL) != 0) abort();
	if (again.len != set->len) abort();
	for (size_t i = 0; i < set->len; i++)
		if (!cube_nodeset_has(&again, set->v[i].name)) abort();
	cube_nodeset_done(&again);
	cube_buf_done(&out);
	free(names);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	struct cube_nodeset set = {0};
	struct cube_err err;
	char *expr = cube_alloc(n + 2);

	if (n) memcpy(expr, bytes, n);
	struct cube_nodeset_source source = {
		.group = rest, .file = rest, .arg = expr + strlen(expr) + 1};
	if (cube_nodeset_parse(&set, expr, &source, &err) == 0) {
		if (set.len < 2000) check_fold(&set);
	} else if (set.len != 0 || err.code >= 0) {
		abort();
	}
	cube_nodeset_done(&set);
	free(expr);
	return 0;
}
