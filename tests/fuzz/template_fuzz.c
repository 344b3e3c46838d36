/* Command templates: refused, or filled with the line as one whole word. */
#include "template.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	static const char LINE[] = "exec /bin/sh -c 'a {host}'";
	struct cube_template_values values = {"h", n % 2 ? "u" : NULL, "n", 22};
	struct cube_template t = {0};
	struct cube_strv argv = {0};
	struct cube_err err;
	cube_autofree char *text = cube_strndup((const char *)bytes, n);

	if (cube_template_parse(text, &t, &err) != 0) {
		if (err.code != CUBE_EUSAGE || t.words.len) abort();
		return 0;
	}
	if (cube_template_fill(&t, &values, LINE, &argv, &err) == 0) {
		size_t lines = 0;

		for (size_t i = 0; i < argv.len; i++) lines += !strcmp(argv.v[i], LINE);
		if (lines != 1 || argv.len < t.words.len) abort();
	} else if (argv.len) {
		abort();
	}
	cube_strv_done(&argv);
	cube_template_done(&t);
	return 0;
}
