/* The hosts file (hosts.example documents it for users):
 *
 *   # comment
 *   web[1-8]   user=ubuntu port=2222 key=~/.ssh/fleet slots=4 labels=gpu,zone=eu host=10.0.0.[1-8]
 *   [gpu]                     a group: the hosts named until the next [group] belong to it
 *   web[1-2] db1
 *   @rack1                    groups in groups
 *   8/deploy@web9:22          GNU parallel's sshlogin form: slots/user@host:port
 *   c1 jump=bastion transport="docker exec -i {host}"    a value with blanks is quoted
 *
 * Lines before the first group describe hosts; a line inside a group names members and may carry
 * options as well. Later options of a host override earlier ones. `host=` may itself be a range
 * of the same count. A value that begins with " or ' ends at the next one; \ before " or \ takes
 * away their meaning between "". Limits: 1 MiB, 100,000 hosts, lines of 4,096 bytes.
 */
#ifndef CUBE_HOSTS_H
#define CUBE_HOSTS_H

#include "cube/nodeset.h"

struct cube_hosts_entry {
	struct cube_host host;
	char *key;       /* identity file as written, or NULL */
	char *jump;      /* as for ssh -J, or NULL */
	char *transport; /* "ssh", "openssh" or a command template as written, or NULL */
	char *labels;    /* "gpu,zone=eu", or NULL */
	uint32_t slots;  /* 0: not given */
};

struct cube_hosts_group {
	char *name;
	char *text; /* its members, an expression a line */
};

struct cube_hosts {                 /* zero-initialise */
	struct cube_hosts_entry *v; /* file order, each name once; every host named anywhere */
	size_t len;
	struct cube_hosts_group *groups;
	size_t ngroups;
	struct cube_name_index index, group_index; /* private */
};

/* text is the file's whole content, name its path for messages ("hosts:12: ..."). */
int cube_hosts_parse(struct cube_hosts *hosts, const char *text, size_t n, const char *name,
		     struct cube_err *err);
void cube_hosts_done(struct cube_hosts *hosts);
const struct cube_hosts_entry *cube_hosts_find(const struct cube_hosts *hosts, const char *name);
/* For cube_nodeset_source.group: arg is the struct cube_hosts. Unknown group: CUBE_EUSAGE naming
 * the nearest one. */
int cube_hosts_group(void *arg, const char *name, char **ret_text, struct cube_err *err);

/* Whether this may be given to ssh -J. */
bool cube_hosts_jump_ok(const char *jump);

#endif
