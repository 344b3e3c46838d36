/* Streams as a receiver of the fleet's, and their ends. */
#ifndef CUBE_WORK_STREAMS_H
#define CUBE_WORK_STREAMS_H

#include "cube/streams.h"

int cube_streams_message(void *arg, struct cube_node *node, const struct cube_msg *msg,
			 struct cube_err *err);
bool cube_streams_pump(void *arg, struct cube_node *node);
/* The link is gone: every client is told (how 5) with the reason. */
void cube_streams_link_down(struct cube_node *node, const char *why);
/* Those that are over and whose clients still read: they are cut. */
void cube_streams_free(struct cube_work *work);

#endif
