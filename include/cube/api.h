/* The HTTP API of API.md on top of httpd: routes, JSON, streams of logs and events. */
#ifndef CUBE_API_H
#define CUBE_API_H

#include "cube/manager.h"

int cube_api_new(struct cube_manager *m, struct cube_api **ret, struct cube_err *err);
void cube_api_free(struct cube_api *api); /* after the httpd */
/* Makes m->httpd serve the listening fd (taken). */
int cube_api_serve(struct cube_api *api, int listen_fd, struct cube_err *err);

#endif
