/* Frames from a hostile peer: whatever decodes has whole lists and encodes to the same bytes. */
#include "cube/msg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(const struct cube_msg *m, const uint8_t *frame, size_t used) {
	const struct cube_msg_list *words[] = {&m->start.argv, &m->start.env};
	struct cube_msg_file file;
	struct cube_slice word;
	struct cube_buf b;
	if (m->type == CUBE_MSG_START) {
		uint32_t count = 0;
		for (int k = 0; k < 2; k++)
			for (size_t pos = 0; cube_msg_next_bytes(words[k], &pos, &word);) count++;
		for (size_t pos = 0; cube_msg_next_file(&m->start.files, &pos, &file);) count++;
		if (count != words[0]->count + words[1]->count + m->start.files.count) abort();
		return;
	}
	if (m->type == CUBE_MSG_OPEN) {
		uint32_t count = 0;
		for (size_t pos = 0; cube_msg_next_bytes(&m->open.argv, &pos, &word);) count++;
		for (size_t pos = 0; cube_msg_next_bytes(&m->open.env, &pos, &word);) count++;
		if (count != m->open.argv.count + m->open.env.count) abort();
		return;
	}
	cube_buf_init(&b, CUBE_FRAME_MAX + 4);
	if (cube_msg_encode(&b, m) != 0) abort();
	size_t len = cube_buf_len(&b);
	if (len > used || memcmp(cube_buf_data(&b) + 4, frame + 4, len - 4) != 0) abort();
	cube_buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	struct cube_msg m;
	struct cube_err err;
	size_t used;
	for (; cube_msg_decode(bytes, n, &m, &used, &err) == 0; bytes += used, n -= used)
		check(&m, bytes, used);
	return 0;
}
