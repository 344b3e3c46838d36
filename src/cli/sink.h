/* stdout or stderr that may be slow: what it does not take at once is held, and nothing blocks. The
 * caller bounds what it puts in. */
#ifndef CUBE_CLI_SINK_H
#define CUBE_CLI_SINK_H

#include <stdbool.h>
#include <stddef.h>

#include "cube/buf.h"

struct cube_sink {
	int fd;
	int own; /* a non-blocking descriptor of the same pipe or terminal, or -1 */
	bool sock, file, wide;
	int sys; /* errno of a failed write; what is put in then is dropped */
	struct cube_buf held;
};

void cube_sink_open(struct cube_sink *s, int fd, size_t max);
void cube_sink_close(struct cube_sink *s);
/* How much of the n bytes and of what was held went out now. */
size_t cube_sink_put(struct cube_sink *s, const void *bytes, size_t n);
size_t cube_sink_flush(struct cube_sink *s);
/* What to poll for POLLOUT: -1 while nothing is held. */
int cube_sink_fd(const struct cube_sink *s);

#endif
