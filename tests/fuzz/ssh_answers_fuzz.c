/* A file of answers as it may be found: whatever stands in it, an answer is whole and bounded, and
 * the file takes new ones again. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/openssh/ssh_answers.h"
#include "cube/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(const char *dir) {
	struct cube_ssh_stamp stamp = {.lasting = true}; /* of zeroes */
	struct cube_ssh_answers *a = cube_ssh_answers_new(dir);
	size_t len = 0, sum = 0;
	const char *text = cube_ssh_answers_get(a, &stamp, "k1", 1, &len);
	if (text && (!len || len > CUBE_SSH_ANSWER_MAX)) abort();
	for (size_t i = 0; text && i < len; i++) sum += (uint8_t)text[i]; /* all of it is there */
	if (sum > len * 255) abort();
	cube_ssh_answers_put(a, &stamp, "new", 1, "new", 3);
	cube_ssh_answers_free(a);
	a = cube_ssh_answers_new(dir);
	text = cube_ssh_answers_get(a, &stamp, "new", 1, &len);
	if (!text || len != 3 || memcmp(text, "new", 3) != 0) abort();
	cube_ssh_answers_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	char dir[] = "/tmp/cube-fuzz.XXXXXX";
	if (n > 1 << 20 || !mkdtemp(dir)) return 0;
	cube_autofree char *name = cube_strf("%s/ssh-%032d", dir, 0);
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) abort();
	close(fd);
	if (n) check(dir);
	unlink(name);
	rmdir(dir);
	return 0;
}
