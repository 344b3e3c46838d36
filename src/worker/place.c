#include "place.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/mem.h"
#include "cube/spawn.h"
#include "self.h"

enum { FIXED = 3, PER_FILE = 3, MODE_LEN = 8 };

/* Words for the three of each file: its hash, "0644" or "c0644" where it has to be checked, and
 * its name. One block: the pointers, then the text. */
static const char **make_argv(struct place *p, const char *folder, const struct cube_msg_list *list,
			      const char *program) {
	size_t words = FIXED + PER_FILE * (size_t)list->count + 1,
	       text = list->count * (CUBE_SHA256_HEX + MODE_LEN + sizeof(struct cube_msg_file));
	const char **argv = malloc(words * sizeof *argv + text), **at = argv + FIXED;
	char *to = argv ? (char *)(argv + words) : NULL;
	struct cube_msg_file file;
	size_t pos = 0;

	if (!argv) return NULL;
	memcpy(argv, (const char *[]){program, "place", folder}, FIXED * sizeof *argv);
	while (cube_msg_next_file(list, &pos, &file)) {
		bool check = !files_known(p->f, file.sha256, &p->seen[p->nseen]);

		if (check) p->nseen++;
		*at++ = to;
		cube_sha256_hex(file.sha256, to);
		*at++ = to += CUBE_SHA256_HEX;
		to += 1 + cube_format(to, MODE_LEN, "%s%o", check ? "c" : "", file.mode & 0777u);
		*at++ = to;
		to += 1 + cube_format(to, sizeof file.name, "%s", file.name);
	}
	*at = NULL;
	return argv;
}

/* "<errno> <text>", or nothing. */
static void read_answer(struct place *p, int status, struct cube_err *err) {
	char text[sizeof err->msg];
	ssize_t n = read(p->fd, text, sizeof text - 1);
	char *why;

	text[n > 0 ? n : 0] = '\0';
	why = strchr(text, ' ');
	if (why) {
		*why++ = '\0';
		cube_fail(err, CUBE_EEXEC, "%s", why);
		err->sys = (int)strtol(text, NULL, 10);
		return;
	}
	cube_fail(err, CUBE_EEXEC, "placing its files ended with %s %d",
		  WIFSIGNALED(status) ? "signal" : "status",
		  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	err->sys = EIO;
}

static void forget(struct place *p) {
	if (p->pid) close(p->fd);
	free(p->seen);
	p->seen = NULL;
	p->pid = 0;
}

static void on_child(void *arg, int status, const struct rusage *usage) {
	struct place *p = arg;
	struct cube_err err;

	if (status) read_answer(p, status, &err);
	for (uint32_t i = 0; !status && i < p->nseen; i++) files_note(p->f, &p->seen[i]);
	forget(p);
	p->done(p->arg, status ? &err : NULL);
}

/* With the node's cookie: it ends with the node, whatever happens to us. */
static int start(struct place *p, const char *const *argv, const char *file, struct cube_err *err) {
	const char *envp[] = {p->f->node_cookie, NULL};
	struct cube_spawn s = {
		.argv = argv, .file = file, .envp = envp, .in = -1, .err = -1, .mortal = true};
	int fds[2], rc = cube_pipe(fds, err);

	if (rc < 0) return rc;
	s.out = fds[1];
	rc = cube_spawn(&s, &p->pid, err);
	close(fds[1]);
	if (rc == 0) {
		p->fd = fds[0];
		rc = cube_loop_on_child(p->f->loop, p->pid, on_child, p, err);
		if (rc == 0) return 0;
		kill(p->pid, SIGKILL);
	}
	close(fds[0]);
	p->pid = 0;
	return rc;
}

int place_start(struct place *p, struct files *f, const char *folder,
		const struct cube_msg_list *list, struct cube_err *err) {
	char proc[SELF_PROC];
	const char *file = self_runnable(f->self, proc), **argv = NULL;
	int rc;

	p->f = f;
	p->nseen = 0;
	p->pid = 0;
	p->seen = malloc(list->count * sizeof *p->seen);
	if (p->seen) argv = make_argv(p, folder, list, f->self);
	rc = argv ? start(p, argv, file, err) : cube_fail_sys(err, ENOMEM, "START");
	free(argv);
	if (rc < 0) forget(p);
	return rc;
}

void place_kill(struct place *p) {
	if (p->pid) kill(p->pid, SIGKILL);
}

void place_release(struct place *p) {
	place_kill(p);
	if (p->pid) cube_loop_forget_child(p->f->loop, p->pid);
	forget(p);
}
