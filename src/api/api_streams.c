/* POST /v1/nodes/{name}/streams: the connection becomes a stream to the node. */
#include <strings.h>
#include <unistd.h>

#include "api_impl.h"
#include "cube/streams.h"

static void on_over(void *arg) {
	cube_upgraded_close(arg);
}

/* The node may be gone by now. */
static void begin(void *arg, struct cube_request *req, struct cube_upgraded *up, int fd,
		  const void *early, size_t n) {
	struct cube_api *api = arg;
	struct cube_node *node =
		cube_fleet_find(api->parts.fleet, cube_request_segment(req, "name"));
	if (node) {
		cube_streams_begin(api->parts.work, node, fd, early, n, on_over, up);
		return;
	}
	close(fd);
	cube_upgraded_close(up);
}

void cube_api_node_stream(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_err err;
	const char *wanted = cube_request_header(req, "Upgrade");
	struct cube_node *node = cube_api_node_find(api, req);
	if (!node) return;
	int rc = 0;
	if (!wanted || strcasecmp(wanted, CUBE_STREAM_PROTOCOL) != 0)
		rc = cube_fail(&err, CUBE_EUSAGE, "needs Upgrade: " CUBE_STREAM_PROTOCOL);
	if (!rc) rc = cube_streams_check(node, &err);
	if (rc) cube_reply_error(req, &err);
	else cube_reply_upgrade(req, CUBE_STREAM_PROTOCOL, begin, api);
}
