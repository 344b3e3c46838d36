/* The frames of a range of tasks: output and states, as API.md "Logs" tells. */
#ifndef CUBE_API_FRAMES_H
#define CUBE_API_FRAMES_H

#include "api_impl.h"

/* tail: UINT64_MAX for everything. */
void cube_api_reply_frames(struct cube_api *api, struct cube_request *req, uint64_t first,
			   uint64_t last, bool follow, uint64_t tail);

#endif
