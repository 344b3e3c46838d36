/* The local transport: /bin/sh on this machine. */
#include "process.h"

static int local_argv(void *of, const char *line, struct cube_strv *argv, struct cube_err *err) {
	cube_strv_add(argv, "/bin/sh");
	cube_strv_add(argv, "-c");
	cube_strv_add(argv, line);
	return 0;
}

static const struct cube_process_kind LOCAL = {.name = "local", .argv = local_argv};

int cube_transport_local(struct cube_loop *loop, const struct cube_target *target,
			 const struct cube_transport_events *events, void *arg,
			 struct cube_transport **ret, struct cube_err *err) {
	struct cube_process_spec spec = {.kind = &LOCAL, .events = events, .arg = arg};
	struct cube_process *p = cube_process_new(loop, &spec);
	cube_process_open_soon(p);
	*ret = cube_process_transport(p);
	return 0;
}
