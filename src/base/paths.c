#include "cube/format.h"
#include "cube/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/mem.h"

static bool cluster_ok(const char *s) {
	size_t n = strlen(s);
	if (n < 1 || n > 63 || s[0] == '.' || s[0] == '-') return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static const char *env_path(const char *name) {
	const char *v = getenv(name);
	return v && v[0] == '/' ? v : NULL; /* XDG: relative values are to be ignored */
}

static int find_state(struct cube_paths *p, struct cube_err *err) {
	const char *own = env_path("CUBE_STATE_DIR"), *xdg = env_path("XDG_STATE_HOME");
	const char *home = env_path("HOME");
	int n;
	if (own) n = cube_format(p->state, sizeof p->state, "%s/%s", own, p->cluster);
	else if (xdg) n = cube_format(p->state, sizeof p->state, "%s/cube/%s", xdg, p->cluster);
	else if (home)
		n = cube_format(p->state, sizeof p->state, "%s/.local/state/cube/%s", home,
				p->cluster);
	else
		return cube_fail(err, CUBE_EUSAGE,
				 "no place for cube's state: set HOME or CUBE_STATE_DIR");
	if ((size_t)n >= sizeof p->state)
		return cube_fail(err, CUBE_ETOOBIG, "state path is too long");
	return 0;
}

int cube_paths_find(const char *cluster, struct cube_paths *ret, struct cube_err *err) {
	struct cube_paths p = {0};
	if (!cluster) cluster = getenv("CUBE_CLUSTER");
	if (!cluster || !*cluster) cluster = "default";
	if (!cluster_ok(cluster))
		return cube_fail(
			err, CUBE_EUSAGE,
			"cluster '%.80s': a name is 1 to 63 letters, digits, '.', '_' or '-'",
			cluster);
	memcpy(p.cluster, cluster, strlen(cluster) + 1);
	int rc = find_state(&p, err);
	if (rc) return rc;
	int n = cube_format(p.socket, sizeof p.socket, "%s/sock", p.state);
	if ((size_t)n >= sizeof p.socket)
		return cube_fail(err, CUBE_ETOOBIG, "socket path is too long");
	*ret = p;
	return 0;
}

char *cube_paths_cache(void) {
	const char *xdg = env_path("XDG_CACHE_HOME"), *home = env_path("HOME");
	if (xdg) return cube_strf("%s/cube", xdg);
	return home ? cube_strf("%s/.cache/cube", home) : NULL;
}

char *cube_paths_program(const char *name) {
	const char *path = getenv("PATH");
	if (!path || !*path) path = "/usr/local/bin:/usr/bin:/bin";
	while (*path) {
		struct stat st;
		size_t n = strcspn(path, ":");
		char *full = cube_strf("%.*s/%s", (int)n, path, name);
		if (n && access(full, X_OK) == 0 && stat(full, &st) == 0 && S_ISREG(st.st_mode))
			return full;
		free(full);
		path += n + (path[n] == ':');
	}
	return NULL;
}

int cube_paths_make(const char *dir, struct cube_err *err) {
	char path[4096];
	size_t n = strlen(dir);
	if (n == 0 || n >= sizeof path)
		return cube_fail(err, CUBE_ETOOBIG, "folder name is too long");
	memcpy(path, dir, n + 1);
	for (char *p = path + 1;; p++) {
		if (*p != '/' && *p) continue;
		char keep = *p;
		*p = 0;
		if (mkdir(path, 0700) < 0 && errno != EEXIST) {
			struct stat st;
			if (errno != EROFS || stat(path, &st) < 0)
				return cube_fail_sys(err, errno, "cannot make folder %s", path);
		}
		*p = keep;
		if (!keep) return 0;
	}
}

int cube_paths_own(const char *dir, struct cube_err *err) {
	struct stat st;
	int rc = cube_paths_make(dir, err);
	if (rc) return rc;
	if (stat(dir, &st) < 0) return cube_fail_sys(err, errno, "cannot look at %.160s", dir);
	if (st.st_uid == geteuid()) return 0;
	return cube_fail(err, CUBE_EUSAGE,
			 "%.120s belongs to another user (%u): be that one, or set HOME or "
			 "CUBE_STATE_DIR",
			 dir, (unsigned)st.st_uid);
}
