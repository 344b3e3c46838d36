#include "cube/builds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cross.h"
#include "cube/clock.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/paths.h"
#include "cube/images.h"
#include "cube/sha256.h"
#include "cube/spawn.h"

#define TICK_NS    (5 * CUBE_NS_PER_S)
#define LIMIT_NS   (600 * CUBE_NS_PER_S)
#define IMAGE_MAX  (16u << 20)
#define OUTPUT_MAX 65536 /* of the compiler, looked at for the first error */

enum { SOURCES_HEX = 16 }; /* digits of the sources' hash in a name */

struct built {
	struct cube_list entry;
	struct cube_image image;
};

struct build { /* under way */
	struct cube_list entry;
	struct cube_builds *b;
	struct cube_list waits;
	struct cube_timer *tick;
	char machine[33];
	char *dir; /* <cache>/workers/build.XXXXXX */
	uint64_t began;
	pid_t pid;
};

struct cube_builds {
	struct cube_loop *loop;
	char *dir; /* <cache>/workers, or NULL */
	char sources[SOURCES_HEX + 1];
	struct cube_list built, builds;
	struct cube_image *embedded;
	size_t nembedded;
};

/* ---- the cache ---------------------------------------------------------------------------- */

static void hash(const void *bytes, size_t n, char hex[CUBE_SHA256_HEX]) {
	uint8_t digest[CUBE_SHA256_LEN];
	cube_sha256_of(bytes, n, digest);
	cube_sha256_hex(digest, hex);
}

/* A file that is ours, or its first `max` bytes, with a NUL behind; NULL where it is not ours. */
static uint8_t *read_file(const char *path, size_t max, size_t *ret_size) {
	struct stat st;
	uint8_t *bytes = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0) return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid()) {
		size_t n = 0, size = (size_t)st.st_size < max ? (size_t)st.st_size : max;
		ssize_t got;
		bytes = cube_alloc(size + 1);
		while (n < size && (got = read(fd, bytes + n, size - n)) > 0) n += (size_t)got;
		*ret_size = n;
	}
	close(fd);
	return bytes;
}

static const struct cube_image *keep(struct cube_builds *b, const char *machine, uint8_t *bytes,
				     size_t size, const char *sha256) {
	struct built *built = cube_alloc(sizeof *built);
	built->image.bytes = bytes;
	built->image.size = size;
	snprintf(built->image.machine, sizeof built->image.machine, "%s", machine);
	snprintf(built->image.sha256, sizeof built->image.sha256, "%s", sha256);
	cube_list_append(&b->built, &built->entry);
	return &built->image;
}

/* <machine>-<sources>-<sha256>; the machine itself may hold a '-'. */
static void take_cached(struct cube_builds *b, const char *name) {
	char machine[33], sha256[CUBE_SHA256_HEX];
	size_t n = strlen(name), tail = 1 + SOURCES_HEX + 1 + 64, size = 0;
	if (n <= tail || n - tail >= sizeof machine) return;
	snprintf(machine, sizeof machine, "%.*s", (int)(n - tail), name);
	const char *at = name + n - tail;
	if (*at != '-' || strncmp(at + 1, b->sources, SOURCES_HEX) || at[1 + SOURCES_HEX] != '-')
		return;
	if (!cube_cross_machine_ok(machine) || cube_builds_find(b, machine)) return;
	cube_autofree char *path = cube_strf("%s/%s", b->dir, name);
	uint8_t *bytes = read_file(path, IMAGE_MAX, &size);
	if (!bytes) return;
	hash(bytes, size, sha256);
	if (strcmp(sha256, at + 2 + SOURCES_HEX) == 0 &&
	    cube_cross_check(machine, bytes, size, NULL) == 0)
		keep(b, machine, bytes, size, sha256);
	else free(bytes);
}

static void load_cache(struct cube_builds *b) {
	DIR *dir = opendir(b->dir);
	if (!dir) return;
	for (struct dirent *e; (e = readdir(dir));) take_cached(b, e->d_name);
	closedir(dir);
}

void cube_builds_new(struct cube_loop *loop, const char *cache, struct cube_builds **ret) {
	struct cube_builds *b = cube_alloc(sizeof *b);
	char hex[CUBE_SHA256_HEX];
	unsigned long size;
	const void *sources = cube_worker_sources(&size);
	b->loop = loop;
	cube_list_init(&b->built);
	cube_list_init(&b->builds);
	while (cube_worker_machine((unsigned)b->nembedded)) b->nembedded++;
	b->embedded = cube_realloc_array(NULL, b->nembedded + 1, sizeof *b->embedded);
	for (unsigned i = 0; i < b->nembedded; i++) {
		struct cube_image *image = &b->embedded[i];
		*image = (struct cube_image){0};
		snprintf(image->machine, sizeof image->machine, "%s", cube_worker_machine(i));
		image->bytes = cube_worker_image(image->machine, &image->size, image->sha256);
	}
	hash(sources, size, hex);
	snprintf(b->sources, sizeof b->sources, "%.*s", SOURCES_HEX, hex);
	if (cache) {
		b->dir = cube_strf("%s/workers", cache);
		load_cache(b);
	}
	*ret = b;
}

const struct cube_image *cube_builds_at(const struct cube_builds *b, size_t i) {
	if (i < b->nembedded) return &b->embedded[i];
	i -= b->nembedded;
	cube_list_each (&b->built, built, struct built, entry) {
		if (i-- == 0) return &built->image;
	}
	return NULL;
}

const struct cube_image *cube_builds_find(const struct cube_builds *b, const char *machine) {
	const struct cube_image *image;
	for (size_t i = 0; (image = cube_builds_at(b, i)); i++)
		if (!strcmp(image->machine, machine)) return image;
	return NULL;
}

/* ---- the sources -------------------------------------------------------------------------- */

static int write_source(const char *dir, const char *name, const char *bytes, size_t n,
			struct cube_err *err) {
	cube_autofree char *path = cube_strf("%s/%s", dir, name);
	char *slash = strrchr(path, '/');
	*slash = 0;
	int rc = cube_paths_make(path, err);
	*slash = '/';
	if (rc) return rc;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) return cube_fail_sys(err, errno, "cannot make %.160s", path);
	ssize_t got = write(fd, bytes, n);
	if (got != (ssize_t)n)
		rc = cube_fail_sys(err, got < 0 ? errno : ENOSPC, "writing %.160s", path);
	close(fd);
	return rc;
}

/* The archive is "F <name> <size>\n<bytes>" for each file (Makefile). */
static int unpack(const char *dir, struct cube_err *err) {
	unsigned long size;
	const char *at = cube_worker_sources(&size), *end = at + size;
	int rc = 0;
	while (!rc && at < end) {
		char name[256];
		unsigned long n;
		int head = 0;
		if (sscanf(at, "F %255s %lu%n", name, &n, &head) != 2 || at[head] != '\n' ||
		    n > (unsigned long)(end - at - head - 1))
			return cube_fail(err, CUBE_EINTERNAL, "the worker's sources are damaged");
		at += head + 1;
		rc = write_source(dir, name, at, n, err);
		at += n;
	}
	return rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	return remove(path);
}

/* ---- a build ------------------------------------------------------------------------------ */

static void build_free(struct build *build) {
	cube_list_remove(&build->entry);
	cube_timer_del(build->tick);
	if (build->pid) {
		cube_loop_forget_child(build->b->loop, build->pid);
		kill(-build->pid, SIGKILL);
	}
	if (build->dir) nftw(build->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(build->dir);
	free(build);
}

/* First: waiters may ask for something new. */
static void finish(struct build *build, const struct cube_image *image,
		   const struct cube_err *err) {
	struct cube_list waits;
	cube_list_init(&waits);
	cube_list_each (&build->waits, wait, struct cube_builds_wait, entry) {
		cube_list_remove(&wait->entry);
		cube_list_append(&waits, &wait->entry);
	}
	build_free(build);
	while (!cube_list_empty(&waits)) {
		struct cube_builds_wait *wait =
			cube_container(waits.next, struct cube_builds_wait, entry);
		cube_list_remove(&wait->entry);
		wait->fn(wait->arg, image, err);
	}
}

/* The first line that tells of an error, else the last one. */
static void complaint(const char *text, char *ret, size_t size) {
	const char *last = "", *line = text;
	for (; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t n = strcspn(line, "\n");
		if (n && memmem(line, n, "error", 5)) {
			last = line;
			break;
		}
		if (n) last = line;
	}
	snprintf(ret, size, "%.*s", (int)strcspn(last, "\n"), last);
}

/* The compiler's output stays as <cache>/workers/<machine>.log. */
static void fail_build(struct build *build, const char *what) {
	struct cube_err err;
	char line[120] = "";
	size_t n = 0;
	cube_autofree char *from = cube_strf("%s/log", build->dir);
	cube_autofree char *log = cube_strf("%s/%s.log", build->b->dir, build->machine);
	cube_autofree char *text = (char *)read_file(from, OUTPUT_MAX, &n);
	if (text) complaint(text, line, sizeof line);
	if (rename(from, log) < 0) cube_warn("%s is not kept: %s", log, strerror(errno));
	cube_error("building the worker for %s: %s: %s", build->machine, what,
		   text ? text : "no output");
	cube_fail(&err, CUBE_EEXEC, "building its worker: %s%s%s (all of it: %.90s)", what,
		  *line ? ": " : "", line, log);
	finish(build, NULL, &err);
}

static void on_compiled(void *arg, int status, const struct rusage *usage) {
	struct build *build = arg;
	struct cube_builds *b = build->b;
	struct cube_err err;
	char sha256[CUBE_SHA256_HEX], what[80];
	size_t size = 0;
	build->pid = 0;
	if (status) {
		snprintf(what, sizeof what, "the compiler ended with status %d",
			 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
		fail_build(build, what);
		return;
	}
	cube_autofree char *made = cube_strf("%s/cube-worker", build->dir);
	uint8_t *bytes = read_file(made, IMAGE_MAX, &size);
	int rc = bytes && size < IMAGE_MAX
			 ? cube_cross_check(build->machine, bytes, size, &err)
			 : cube_fail(&err, CUBE_EEXEC,
				     "the compiler made no program of a sane size");
	if (rc) {
		free(bytes);
		fail_build(build, err.msg);
		return;
	}
	hash(bytes, size, sha256);
	cube_autofree char *kept =
		cube_strf("%s/%s-%s-%s", b->dir, build->machine, b->sources, sha256);
	if (rename(made, kept) < 0) cube_warn("%s is not kept: %s", kept, strerror(errno));
	cube_info("built the worker for %s in %.1f s: %zu bytes", build->machine,
		  (double)(cube_loop_now(b->loop) - build->began) / 1e9, size);
	finish(build, keep(b, build->machine, bytes, size, sha256), NULL);
}

static void on_tick(void *arg) {
	struct build *build = arg;
	if (cube_loop_now(build->b->loop) - build->began > LIMIT_NS) {
		fail_build(build, "the compiler takes over 10 minutes");
		return;
	}
	cube_timer_after(build->tick, TICK_NS);
	cube_list_each (&build->waits, wait, struct cube_builds_wait, entry) {
		wait->fn(wait->arg, NULL, NULL);
	}
}

static int compile(struct build *build, const char *compiler, struct cube_err *err) {
	cube_autofree char *line =
		cube_strf("exec >log 2>&1; exec %s " CUBE_WORKER_FLAGS
			  " -DCUBE_VERSION='\"" CUBE_VERSION "\"' src/*/*.c -o cube-worker",
			  compiler);
	const char *argv[] = {"/bin/sh", "-c", line, NULL};
	struct cube_spawn spawn = {.argv = argv,
				   .dir = build->dir,
				   .in = -1,
				   .out = -1,
				   .err = -1,
				   .session = true,
				   .mortal = true,
				   .niceness = 5};
	int rc = cube_spawn(&spawn, &build->pid, err);
	return rc ? rc : cube_loop_on_child(build->b->loop, build->pid, on_compiled, build, err);
}

static int start(struct cube_builds *b, const char *machine, const char *compiler,
		 struct build **ret, struct cube_err *err) {
	int rc = cube_paths_make(b->dir, err);
	if (rc) return rc;
	char *dir = cube_strf("%s/build.XXXXXX", b->dir);
	if (!mkdtemp(dir)) {
		rc = cube_fail_sys(err, errno, "cannot make a folder in %.160s", b->dir);
		free(dir);
		return rc;
	}
	struct build *build = cube_alloc(sizeof *build);
	build->b = b;
	build->dir = dir;
	build->began = cube_loop_now(b->loop);
	build->tick = cube_timer_add(b->loop, on_tick, build);
	cube_list_init(&build->waits);
	snprintf(build->machine, sizeof build->machine, "%s", machine);
	cube_list_append(&b->builds, &build->entry);
	rc = unpack(dir, err);
	if (!rc) rc = compile(build, compiler, err);
	if (rc) {
		build_free(build);
		return rc;
	}
	cube_info("building the worker for %s with %s", machine, compiler);
	cube_timer_after(build->tick, TICK_NS);
	*ret = build;
	return 0;
}

int cube_builds_make(struct cube_builds *b, const char *machine, struct cube_builds_wait *wait,
		     struct cube_err *err) {
	struct build *build = NULL;
	cube_autofree char *compiler = NULL;
	if (!b->dir || !cube_cross_machine_ok(machine))
		return cube_fail(err, CUBE_ENOTFOUND, "none can be built here");
	cube_list_each (&b->builds, under_way, struct build, entry) {
		if (!strcmp(under_way->machine, machine)) build = under_way;
	}
	int rc = build ? 0 : cube_cross_compiler(machine, &compiler, err);
	if (!rc && !build) rc = start(b, machine, compiler, &build, err);
	if (rc) return rc;
	cube_list_append(&build->waits, &wait->entry);
	return 0;
}

void cube_builds_cancel(struct cube_builds_wait *wait) {
	cube_list_remove(&wait->entry);
}

void cube_builds_free(struct cube_builds *b) {
	if (!b) return;
	cube_list_each (&b->builds, build, struct build, entry) build_free(build);
	cube_list_each (&b->built, built, struct built, entry) {
		free((void *)built->image.bytes);
		free(built);
	}
	free(b->embedded);
	free(b->dir);
	free(b);
}
