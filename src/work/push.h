/* Files on their way to a node: one at a time, between the control frames. */
#ifndef CUBE_PUSH_H
#define CUBE_PUSH_H

#include "seat.h"

/* START frames that need a content not yet there wait behind it: gives the buffer to append such a
 * frame to (the outbox where nothing has to be waited for). */
struct cube_buf *cube_push_need(struct cube_node *node, const struct cube_msg_file *files,
				uint32_t nfiles, struct cube_err *err);
/* Where a frame goes that must not overtake such a START. */
struct cube_buf *cube_push_behind(struct cube_node *node, const struct cube_msg_file *files,
				  uint32_t nfiles);
size_t cube_push_waiting(const struct cube_node *node); /* bytes of frames behind files */
/* Whether a content is one of the files. */
bool cube_push_among(const uint8_t *sha256, const struct cube_msg_file *files, uint32_t nfiles);
/* The worker has lost these: they are sent again when they are needed next. */
void cube_push_forget(struct cube_node *node, const struct cube_msg_file *files, uint32_t nfiles);
void cube_push_reset(struct cube_node *node, bool forget_all); /* link gone; or another daemon */

/* As a receiver of the fleet's. */
int cube_push_message(void *arg, struct cube_node *node, const struct cube_msg *msg,
		      struct cube_err *err);
bool cube_push_pump(void *arg, struct cube_node *node);

#endif
