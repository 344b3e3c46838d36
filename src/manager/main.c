/* `cube manager`: builds the parts, runs the loop, takes them down in reverse order. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/id.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/program.h"
#include "cube/spawn.h"
#include "life.h"
#include "manager.h"
#include "replace.h"

struct options {
	const char *cluster;
	bool memory, replace;
	int ready_fd; /* -1: foreground */
};

struct program {
	struct cube_manager m;
	struct options o;
	int lock_fd; /* until life has it */
	struct cube_life *life;
};

static const char HELP[] =
	"Usage: cube manager [OPTIONS]\n"
	"Runs the manager in the foreground. Any cube command starts one in the background when\n"
	"there is none, so this is for a service manager and for looking at its log.\n\n"
	"  --cluster NAME   which cluster (CUBE_CLUSTER; default)\n"
	"  --store KIND     sqlite, or memory: nothing is kept (CUBE_STORE; sqlite)\n"
	"  --replace        take the place of one that runs; workers and tasks go on\n"
	"  -v, --verbose    log more; twice: everything\n"
	"  -h, --help       this text\n";

static int parse_options(int argc, char **argv, struct options *o) {
	static const struct option longs[] = {
		{"cluster", required_argument, NULL, 'c'},
		{"store", required_argument, NULL, 's'},
		{"daemon", required_argument, NULL, 'd'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"replace", no_argument, NULL, 'r'},
		{0},
	};
	const char *store = getenv("CUBE_STORE");
	int level = CUBE_LOG_INFO, c;
	optind = 1;
	while ((c = getopt_long(argc, argv, "vh", longs, NULL)) != -1) {
		switch (c) {
		case 'c': o->cluster = optarg; break;
		case 's': store = optarg; break;
		case 'd': o->ready_fd = (int)strtol(optarg, NULL, 10); break;
		case 'r': o->replace = true; break;
		case 'v': level = CUBE_LOG_DEBUG; break;
		case 'h': fputs(HELP, stdout); return 1;
		default: return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"cube manager: '%s' is not expected here; see cube manager --help\n",
			argv[optind]);
		return 2;
	}
	if (store && strcmp(store, "memory") && strcmp(store, "sqlite")) {
		fprintf(stderr, "cube manager: store '%s' is unknown: sqlite or memory\n", store);
		return 2;
	}
	o->memory = store && strcmp(store, "memory") == 0;
	cube_log_set_level((enum cube_log_level)level);
	return 0;
}

static int open_store(struct program *p, struct cube_err *err) {
	struct cube_manager *m = &p->m;
	m->epoch = cube_id_u64() >> 1;
	if (!m->epoch) m->epoch = 1;
	m->kept = !p->o.memory;
	if (p->o.memory) return cube_store_memory(&m->store, err);
	char path[sizeof m->paths.state + 16];
	snprintf(path, sizeof path, "%s/cube.db", m->paths.state);
	return cube_store_sqlite(path, &m->store, err);
}

/* At once: nothing of this turn may be told to a worker or a client now. It is a kill that the next
 * start copes with as with any other: workers hold what was not acknowledged. */
static void on_not_kept(void *arg, const struct cube_err *err) {
	cube_error("cannot keep the state: %s; tasks go on, the next command tries again",
		   err->msg);
	_exit(125);
}

static int start_turn(struct cube_manager *m, struct cube_err *err) {
	cube_turn_init(&m->turn, m->loop, m->store, on_not_kept, NULL);
	cube_autofree char *text = NULL;
	int rc = m->store->ops->meta_get(m->store, "cluster", &text, err);
	if (rc == 0 && cube_id_unhex(text, &m->cluster) == 0) return 0;
	if (rc < 0 && rc != CUBE_ENOTFOUND) return rc;
	char hex[CUBE_ID_HEX];
	m->cluster = cube_id_u64();
	struct cube_store *s = cube_turn_tx(&m->turn);
	return s->ops->meta_put(s, "cluster", cube_id_hex(m->cluster, hex), err);
}

/* The order of a turn: cube/turn.h. */
static void decide(void *arg) {
	struct cube_manager *m = arg;
	cube_work_tick(m->work);
}
static void commit(void *arg) {
	struct cube_manager *m = arg;
	cube_turn_commit(&m->turn);
}
static void flush(void *arg) {
	struct cube_manager *m = arg;
	if (m->turn.dead) return;
	cube_work_flush(m->work);
	cube_fleet_flush(m->fleet);
	cube_prompts_flush(m->prompts);
	cube_logs_flush(m->logs);
	cube_events_flush(m->events);
	cube_api_flush(m->api);
}

void cube_manager_stop(struct cube_manager *m) {
	m->stopping = true;
	cube_loop_stop(m->loop);
}

static void on_signal(void *arg, int signo) {
	cube_info("signal %d: stopping; workers and their tasks go on", signo);
	cube_manager_stop(arg);
}

static int open_ssh(struct cube_manager *m, struct cube_err *err) {
	cube_autofree char *cache = cube_paths_cache();
	cube_builds_new(m->loop, cache, &m->builds);
	int rc = cube_ssh_new(m->loop, cache, &m->ssh, err);
	if (rc) return rc;
	cube_autofree char *sockets = cube_strf("%s/ssh", m->paths.state);
	cube_ssh_sockets(m->ssh, sockets);
	return 0;
}

/* Secrets may pass through this process: no core of it, and no other process of the user's may read
 * its memory. */
static int keep_secrets(struct cube_err *err) {
	struct rlimit none = {0, 0};
	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return cube_fail_sys(err, errno, "cannot protect the manager's memory");
	return 0;
}

/* The fleet below, the work above it. */
static int start_work(struct cube_manager *m, struct cube_err *err) {
	struct cube_fleet_parts fleet = {
		.turn = &m->turn,
		.events = m->events,
		.prompts = m->prompts,
		.builds = m->builds,
		.reach = &m->reach,
		.cluster = m->cluster,
		.epoch = m->epoch,
	};
	cube_reach_init(&m->reach, m->loop, m->ssh);
	cube_fleet_new(&fleet, &m->fleet);
	struct cube_work_parts work = {
		.turn = &m->turn,
		.events = m->events,
		.fleet = m->fleet,
		.files = m->files,
		.logs = m->logs,
		.folder = m->kept ? m->paths.state : NULL,
		.cluster = m->cluster,
		.epoch = m->epoch,
		.spec_read = cube_api_spec_read,
	};
	int rc = cube_work_new(&work, &m->work, err);
	if (!rc) rc = cube_fleet_load(m->fleet, err);
	return rc ? rc : cube_work_load(m->work, err);
}

static void on_stop(void *arg) {
	cube_manager_stop(arg);
}

static void start_api(struct cube_manager *m) {
	struct cube_api_parts parts = {
		.turn = &m->turn,
		.events = m->events,
		.prompts = m->prompts,
		.fleet = m->fleet,
		.work = m->work,
		.files = m->files,
		.logs = m->logs,
		.userenv = m->userenv,
		.paths = &m->paths,
		.cluster = m->cluster,
		.started = cube_clock_wall(),
		.stop = on_stop,
		.stop_arg = m,
	};
	cube_api_new(&parts, &m->api);
}

static int build(struct program *p, struct cube_err *err) {
	struct cube_manager *m = &p->m;
	int rc;
	if ((rc = keep_secrets(err)) || (rc = cube_spawn_raise_nofile(err))) return rc;
	if ((rc = cube_paths_find(p->o.cluster, &m->paths, err)) ||
	    (rc = cube_paths_own(m->paths.state, err)) ||
	    (rc = cube_manager_lock(&m->paths, p->o.replace, &p->lock_fd, err)) ||
	    (rc = open_store(p, err)) || (rc = cube_loop_new(&m->loop, err)) ||
	    (rc = start_turn(m, err)) || (rc = open_ssh(m, err)) ||
	    (rc = cube_prompts_new(m->loop, &m->prompts, err)) ||
	    (rc = cube_events_new(&m->turn, &m->events, err)) ||
	    (rc = cube_files_new(m->paths.state, &m->files, err)) ||
	    (rc = cube_logs_new(&m->turn, m->paths.state, &m->logs, err)) ||
	    (rc = start_work(m, err)))
		return rc;
	start_api(m);
	cube_loop_forgive_stops(m->loop);
	rc = cube_life_new(m, p->lock_fd, p->o.ready_fd >= 0, &p->life, err);
	p->lock_fd = -1;
	return rc;
}

static int hook(struct program *p, struct cube_err *err) {
	struct cube_manager *m = &p->m;
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGPIPE, &ignore, NULL); /* broken links are errors of write(2), not the end */
	int rc = cube_loop_on_signal(m->loop, SIGTERM, on_signal, m, err);
	if (!rc) rc = cube_loop_on_signal(m->loop, SIGINT, on_signal, m, err);
	if (rc) return rc;
	cube_loop_before_sleep(m->loop, 5, decide, m);
	cube_loop_before_sleep(m->loop, 10, commit, m);
	cube_loop_before_sleep(m->loop, 20, flush, m);
	return 0;
}

static void take_down(struct program *p) {
	struct cube_manager *m = &p->m;
	cube_api_free(m->api);
	cube_fleet_free(m->fleet);
	cube_work_free(m->work);
	cube_prompts_free(m->prompts);
	cube_logs_free(m->logs);
	cube_files_free(m->files);
	cube_events_free(m->events);
	cube_ssh_free(m->ssh);
	cube_builds_free(m->builds);
	cube_store_free(m->store);
	if (p->lock_fd >= 0) close(p->lock_fd);
	cube_life_free(p->life);
	cube_loop_free(m->loop);
	cube_userenv_free(m->userenv);
}

/* From here on nobody watches the terminal: what there is to say goes to the log file. */
static int detach(struct program *p, struct cube_err *err) {
	char path[sizeof p->m.paths.state + 16];
	snprintf(path, sizeof path, "%s/manager.log", p->m.paths.state);
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (log < 0 || null < 0) return cube_fail_sys(err, errno, "cannot open %s", path);
	if (write(p->o.ready_fd, "", 1) < 0)
		cube_debug("the command that started this manager left");
	close(p->o.ready_fd);
	dup2(null, 0);
	dup2(null, 1);
	dup2(log, 2);
	close(null);
	close(log);
	if (chdir("/") < 0) return cube_fail_sys(err, errno, "cannot change to /");
	return 0;
}

int cube_manager_main(int argc, char **argv) {
	struct program p = {.o = {.ready_fd = -1}, .lock_fd = -1};
	int rc = parse_options(argc, argv, &p.o);
	if (rc) return rc == 1 ? 0 : rc;
	struct cube_err err = {0};
	p.m.userenv = cube_userenv_new();
	rc = build(&p, &err);
	if (!rc) rc = hook(&p, &err);
	/* A state that cannot be kept is said while somebody listens. */
	if (!rc) commit(&p.m);
	if (!rc && p.o.ready_fd >= 0) rc = detach(&p, &err);
	if (!rc) {
		cube_info("manager of cluster '%s' serves %s", p.m.paths.cluster, p.m.paths.socket);
		rc = cube_loop_run(p.m.loop, &err);
	}
	if (rc < 0) cube_error("manager: %s", err.msg);
	take_down(&p);
	return rc < 0 ? cube_err_exit(rc, false) : 0;
}
