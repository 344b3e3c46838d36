#include "reach.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/id.h"
#include "cube/log.h"
#include "cube/sha256.h"
#include "folder.h"

#define NAME_MAX_ 96

/* With the folder: the same node of the same cluster may be served from two places. */
static void make_name(char *name, uint64_t cluster, uint32_t node, const char *folder) {
	uint8_t digest[CUBE_SHA256_LEN];
	char hex[CUBE_ID_HEX];
	uint64_t id;

	cube_sha256_of(folder, strlen(folder), digest);
	memcpy(&id, digest, sizeof id);
	cube_format(name, NAME_MAX_, "@cube.%u.%016" PRIx64 ".%" PRIu32 ".%s", (unsigned)geteuid(),
		    cluster, node, cube_id_hex(id, hex));
}

/* ---- attach -----------------------------------------------------------------------------------
 */

/* Anybody may have taken the name: only a process of ours that can be seen is a daemon of ours. */
static bool is_ours(int fd) {
	struct ucred peer = {0};
	socklen_t n = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && peer.uid == geteuid() &&
	       peer.pid > 0;
}

static int connect_by_name(uint64_t cluster, uint32_t node, const char *folder, int *ret_sock) {
	char name[NAME_MAX_];
	int fd;

	make_name(name, cluster, node, folder);
	if (cube_connect_unix_now(name, &fd) != 0) return CUBE_ECONNECT;
	if (!is_ours(fd)) {
		close(fd);
		return CUBE_ECONNECT;
	}
	fcntl(fd, F_SETFL, 0); /* blocking */
	*ret_sock = fd;
	return 0;
}

int reach_connect(uint64_t cluster, uint32_t node, const char *folder, int *ret_sock,
		  struct cube_err *err) {
	int rc = cube_connect_unix("sock", ret_sock, err);

	if (rc != CUBE_ECONNECT) return rc;
	return connect_by_name(cluster, node, folder, ret_sock);
}

/* ---- the daemon -------------------------------------------------------------------------------
 */

/* The process is named in it, for whoever waits for the lock in vain. */
int reach_lock(struct worker *w, struct cube_err *err) {
	char pid[16];
	int fd, n, rc = cube_lock_file("lock", &fd, err);

	if (rc < 0) return rc;
	n = cube_format(pid, sizeof pid, "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) < 0)
		cube_info("the lock does not tell who has it");
	if (w->lock >= 0) close(w->lock);
	w->lock = fd;
	return 0;
}

/* What lies in the socket's place in a folder of ours is nobody's. */
static int listen_here(struct worker *w, cube_listen_fn *fn, struct cube_err *err) {
	if (w->managed) folder_remove(AT_FDCWD, "sock", 0, NULL);
	return cube_listen_unix(w->loop, "sock", fn, w, &w->listen, err);
}

int reach_open(struct worker *w, cube_listen_fn *fn, struct cube_err *err) {
	char name[NAME_MAX_];
	struct cube_err why;
	int other, rc;

	make_name(name, w->cluster, w->node, w->folder);
	if (cube_listen_unix(w->loop, name, fn, w, &w->named, &why) < 0) {
		if (connect_by_name(w->cluster, w->node, w->folder, &other) == 0) {
			close(other);
			return cube_fail(err, CUBE_ECONFLICT, "another worker has %s", name);
		}
		cube_warn("%s: by its socket only", why.msg); /* another user has it, or the like */
	}
	w->arrived = fn;
	rc = listen_here(w, fn, err);
	if (rc < 0) reach_close(w);
	return rc;
}

void reach_close(struct worker *w) {
	cube_listen_free(w->listen);
	cube_listen_free(w->named);
	w->listen = w->named = NULL;
}

/* ---- mending ----------------------------------------------------------------------------------
 */

/* 1: path is the file or folder of `here`; 0: it is not; -1: that cannot be seen just now. */
static int leads_to(const char *path, const struct stat *here) {
	struct stat st;

	if (lstat(path, &st) < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	return st.st_dev == here->st_dev && st.st_ino == here->st_ino;
}

bool reach_is_lost(const struct worker *w) {
	struct stat here;

	return stat(".", &here) == 0 && leads_to(w->folder, &here) == 0;
}

/* BASE/run/NODE with all before it, as the bootstrap makes it. */
static int enter_again(const struct worker *w, struct cube_err *err) {
	char run[SELF_PATH], base[SELF_PATH], parent[SELF_PATH], mark[SELF_PATH + 16];
	char now[SELF_PATH];
	bool moved = folder_name(now, sizeof now);
	int fd, rc;

	if (!w->managed) return folder_enter(w->folder, err);
	self_parent(memcpy(run, w->folder, sizeof run));
	self_parent(memcpy(base, run, sizeof base));
	self_parent(memcpy(parent, base, sizeof parent));
	if (mkdir(parent, 0700) == 0 && mkdir(base, 0700) == 0) {
		cube_format(mark, sizeof mark, "%s/.made-parent", base);
		fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd >= 0) close(fd);
	} else mkdir(base, 0700);
	rc = folder_enter(run, err);
	/* What was only moved comes back with all that is in it, in place of an empty one. */
	if (rc == 0 && moved && rename(now, w->folder) < 0)
		cube_info("%s stays where it was moved to", now);
	return rc < 0 ? rc : folder_enter(w->folder, err);
}

static bool has_lock(const struct worker *w) {
	struct stat mine;

	return fstat(w->lock, &mine) < 0 || leads_to("lock", &mine) != 0;
}

static int mend(struct worker *w, struct cube_err *err) {
	struct cube_listen *old = w->listen;
	int rc = 0;

	if (reach_is_lost(w)) rc = enter_again(w, err);
	if (rc == 0 && !has_lock(w)) rc = reach_lock(w, err);
	if (rc < 0 || cube_listen_is_there(old)) return rc;
	rc = listen_here(w, w->arrived, err);
	if (rc < 0) w->listen = old;
	else cube_listen_free(old);
	if (rc == 0) cube_warn("%s: its socket was gone and is there again", w->folder);
	return rc;
}

void reach_mend(struct worker *w) {
	struct cube_err err;

	if (w->closing || !w->listen) return;
	if (mend(w, &err) < 0) cube_warn("cannot listen again: %s", err.msg);
}
