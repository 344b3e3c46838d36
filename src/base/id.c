#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "cube/id.h"

static _Noreturn void no_randomness(void) {
	static const char line[] = "cube: the kernel gives no random numbers\n";
	ssize_t n = write(STDERR_FILENO, line, sizeof line - 1);

	(void)n;
	abort();
}

/* For kernels before 3.17, and sandboxes that forbid getrandom. */
static void read_urandom(uint8_t *p, size_t n) {
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

	if (fd < 0) no_randomness();
	while (n > 0) {
		ssize_t r = read(fd, p, n);

		if (r < 0 && errno == EINTR) continue;
		if (r <= 0) no_randomness();
		p += r;
		n -= (size_t)r;
	}
	close(fd);
}

void cube_id_random(void *bytes, size_t n) {
	uint8_t *p = bytes;

	while (n > 0) {
		ssize_t r = getrandom(p, n, 0);

		if (r < 0 && errno == EINTR) continue;
		if (r <= 0) {
			read_urandom(p, n);
			return;
		}
		p += r;
		n -= (size_t)r;
	}
}

uint64_t cube_id_u64(void) {
	uint64_t id;

	do cube_id_random(&id, sizeof id);
	while (id == 0);
	return id;
}

char *cube_id_hex(uint64_t id, char hex[CUBE_ID_HEX]) {
	for (unsigned i = 16; i-- > 0; id >>= 4) hex[i] = "0123456789abcdef"[id & 15];
	hex[16] = '\0';
	return hex;
}

int cube_id_unhex(const char *hex, uint64_t *ret) {
	uint64_t id = 0;

	for (unsigned i = 0; i < 16; i++) {
		char c = hex[i];

		if (c >= '0' && c <= '9') id = id << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f') id = id << 4 | (uint64_t)(c - 'a' + 10);
		else return -1;
	}
	if (hex[16] != '\0') return -1;
	*ret = id;
	return 0;
}
