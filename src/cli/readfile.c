#include "readfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cube/buf.h"

static int read_all(int fd, const char *path, struct cube_buf *text, struct cube_err *err) {
	for (;;) {
		uint8_t *space;
		size_t room = cube_buf_room(text), want = room < 65536 ? room : 65536;
		if (want == 0)
			return cube_fail(err, CUBE_ETOOBIG, "%.160s: longer than %zu bytes", path,
					 cube_buf_len(text) - 1);
		int rc = cube_buf_reserve(text, want, &space);
		if (rc) return cube_fail(err, rc, "%.160s: no memory", path);
		ssize_t n = read(fd, space, want);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return cube_fail_sys(err, errno, "%.160s", path);
		if (n == 0) return 0;
		cube_buf_commit(text, (size_t)n);
	}
}

int cube_read_file(const char *path, size_t max, char **ret_text, size_t *ret_n,
		   struct cube_err *err) {
	bool input = strcmp(path, "-") == 0;
	int fd = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return cube_fail_sys(err, errno, "%.160s", path);
	struct cube_buf text;
	cube_buf_init(&text, max + 1); /* one more, to see that it is too long */
	int rc = read_all(fd, input ? "standard input" : path, &text, err);
	if (!input) close(fd);
	if (!rc) *ret_text = cube_buf_take(&text, ret_n);
	cube_buf_done(&text);
	return rc;
}
