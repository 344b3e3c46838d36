#include <stdio.h>

#include "commands.h"
#include "cube/msg.h"
#include "cube/images.h"
#include "render.h"

struct args {
	struct cube_common common;
	const char *output;
};

static const struct cube_option options[] = {
	CUBE_OUTPUT_ROW(offsetof(struct args, output)),
	{0},
};

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	json_t *workers = json_object();
	const char *machine;
	for (unsigned i = 0; (machine = cube_worker_machine(i)); i++) {
		unsigned long size;
		char hash[65];
		cube_worker_image(machine, &size, hash);
		json_object_set_new(
			workers, machine,
			json_pack("{s:I,s:s}", "size", (json_int_t)size, "sha256", hash));
	}
	json_t *all = json_pack("{s:s,s:s*,s:i,s:o}", "version", CUBE_VERSION, "commit",
				*CUBE_COMMIT ? CUBE_COMMIT : NULL, "protocol", CUBE_PROTO_VERSION,
				"workers", workers);
	int code = cube_render_object(a->output, all);
	json_decref(all);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_version = {
	.name = "version",
	.usage = "[OPTIONS]",
	.help = "the version of cube and of the workers inside it",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.no_words = true,
	.run = run,
};
