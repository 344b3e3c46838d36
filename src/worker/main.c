/* cube-worker: what cube puts on a host. Called by the manager's bootstrap script; `serve` is for
 * people who want to see it run. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/id.h"
#include "cube/list.h"
#include "cube/log.h"
#include "cube/msg.h"
#include "cube/parse.h"
#include "daemon.h"
#include "folder.h"
#include "install.h"
#include "tools.h"

static const char USAGE[] = "usage: cube-worker version\n"
			    "       cube-worker serve DIR CLUSTER NODE [NAME]\n"
			    "       cube-worker install SHA256 NONCE\n"
			    "       cube-worker attach SHA256 NONCE CLUSTER NODE [PLACE]\n";

static int usage(void) {
	(void)cube_print(STDERR_FILENO, "%s", USAGE);
	for (const struct tool *t = worker_tools; t->name; t++)
		(void)cube_print(STDERR_FILENO, "       cube-worker %s %s\n", t->name, t->usage);
	return 2;
}

static int fail(const struct cube_err *err) {
	(void)cube_print(STDERR_FILENO, "cube-worker: %s\n", err->msg);
	return 1;
}

static int version(const char *argv0) {
	struct self self;
	struct cube_err err;

	if (self_find(&self, argv0, &err) < 0) return fail(&err);
	return cube_print(STDOUT_FILENO, "cube-worker %s\nbuild %s\nprotocol %d\n", CUBE_VERSION,
			  self.hex, CUBE_PROTO_VERSION) < 0;
}

struct serving {
	struct daemon_options options;
	int turn; /* the lock on the folder that attach processes stand in line for */
};

static void on_ready(const struct daemon_options *o) {
	struct serving *s = cube_container(o, struct serving, options);

	close(s->turn);
	(void)cube_print(STDOUT_FILENO, "listening on %s/sock\n", o->folder);
}

static int serve(int argc, char **argv) {
	struct self self;
	struct serving s = {.options = {.self = &self, .ready_fd = -1, .ready = on_ready}};
	char folder[SELF_PATH];
	struct cube_err err;
	uint64_t node;
	int rc;

	if (cube_id_unhex(argv[3], &s.options.cluster) < 0) {
		cube_fail(&err, CUBE_EUSAGE, "%s: a cluster is 16 hex digits", argv[3]);
		return fail(&err);
	}
	rc = cube_parse_u64(argv[4], 0, UINT32_MAX, &node, &err);
	if (rc == 0) rc = self_find(&self, argv[0], &err);
	if (rc == 0) rc = folder_enter(argv[2], &err);
	if (rc == 0 && !folder_name(folder, sizeof folder))
		rc = cube_fail_sys(&err, errno, "getcwd");
	if (rc < 0) return fail(&err);
	s.options.node = (uint32_t)node;
	s.options.folder = folder;
	s.options.name = argc > 5 ? argv[5] : "";
	s.turn = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (flock(s.turn, LOCK_EX) < 0 && errno == EINTR) {}
	cube_log_set_level(CUBE_LOG_INFO);
	return daemon_run(&s.options);
}

int main(int argc, char **argv) {
	const char *command = argc > 1 ? argv[1] : "";

	if (strcmp(command, "install") == 0 && argc == 4)
		return install_main(argv[0], argv[2], argv[3]);
	if (strcmp(command, "attach") == 0 && (argc == 6 || argc == 7))
		return attach_main(argv[0], argv[2], argv[3], argv[4], argv[5], argv[6]);
	if (strcmp(command, "serve") == 0 && (argc == 5 || argc == 6)) return serve(argc, argv);
	if (strcmp(command, "version") == 0 && argc == 2) return version(argv[0]);
	for (const struct tool *t = worker_tools; t->name; t++)
		if (strcmp(command, t->name) == 0 && argc - 2 >= t->min && argc - 2 <= t->max)
			return t->run(argc - 2, argv + 2);
	return usage();
}
