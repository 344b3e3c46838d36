/* What all ssh connections of a process share: see ssh_shared.h. */
#include <stdlib.h>
#include <libssh2.h>

#include "cube/hangup.h"
#include "cube/mem.h"
#include "cube/ssh_config.h"
#include "jump.h"
#include "limit.h"
#include "resolve.h"
#include "sockets.h"
#include "ssh_carrier.h"
#include "ssh_cipher.h"
#include "ssh_shared.h"

int cube_ssh_new(struct cube_loop *loop, const char *cache_dir, struct cube_ssh **ret,
		 struct cube_err *err) {
	/* Counted inside libssh2, so one pair of calls a context is one pair in all. */
	if (libssh2_init(0)) return cube_fail(err, CUBE_EINTERNAL, "libssh2 does not start");
	struct cube_ssh *ssh = cube_alloc(sizeof *ssh);
	ssh->loop = loop;
	int rc = cube_resolver_new(loop, &ssh->resolver, err);
	if (rc < 0) {
		free(ssh);
		libssh2_exit();
		return rc;
	}
	cube_ssh_configs_new(loop, cache_dir, &ssh->configs);
	cube_limit_new(loop, &ssh->limit);
	cube_list_init(&ssh->dying);
	cube_jumps_new(ssh, cube_ssh_carrier_new, &ssh->jumps);
	ssh->sockets = cube_sockets_new(NULL);
	ssh->feed = cube_alloc(SSH_FEED);
	ssh->plain = cube_alloc(SSH_PLAIN);
	ssh->cipher = cube_ssh_cipher_load();
	*ret = ssh;
	return 0;
}

void cube_ssh_sockets(struct cube_ssh *ssh, const char *dir) {
	cube_sockets_free(ssh->sockets);
	ssh->sockets = cube_sockets_new(dir);
}

void cube_ssh_free(struct cube_ssh *ssh) {
	if (!ssh) return;
	cube_jumps_free(ssh->jumps);
	cube_hang_up_all(&ssh->dying);
	cube_sockets_free(ssh->sockets);
	cube_resolver_free(ssh->resolver);
	cube_ssh_configs_free(ssh->configs);
	cube_limit_free(ssh->limit);
	free(ssh->feed);
	free(ssh->plain);
	cube_ssh_cipher_unload(ssh->cipher);
	free(ssh);
	libssh2_exit();
}
