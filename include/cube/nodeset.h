/* Host expressions as in pdsh and ClusterShell, and their folding for print.
 *
 *   web[1-8,10] web[01-16] r[1-2]n[1-4]   ranges, zero padding kept, several in one name (product,
 *                                         rightmost fastest); [1-9/2] steps by 2
 *   a,b c          union: comma or blank;  a!b difference, a&b intersection, a^b symmetric
 *                  difference, left to right as in ClusterShell (operators without blanks)
 *   @group         the members of a group          @* all groups' members
 *   ^file          one expression a line; # comments; "-" reads standard input
 *   user@host:port [2001:db8::1]:22                user and port of a name or a range:
 * u@web[1-3]:2222 localhost*3    three nodes on this machine: localhost-1 .. localhost-3;
 * `localhost` alone is one local node; ssh to this machine is written 127.0.0.1 or user@localhost
 *
 * Limits: 100,000 hosts, names of 255 bytes, nesting of groups and files 16. Host names are
 * letters, digits and ._- (and : in brackets); anything else is refused with its column. */
#ifndef CUBE_NODESET_H
#define CUBE_NODESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/err.h"

struct cube_host {
	char *name; /* unique in the set: "web3", "web3:2222" where a port was given, "localhost-2"
		     */
	char *host; /* what to connect to: "web3"; "" for a local node */
	char *user; /* NULL where none was given */
	uint16_t port; /* 0 where none was given */
	bool local;
};

struct cube_name_index { /* private: finds names fast */
	uint32_t *slot;
	size_t cap, used;
};

struct cube_nodeset { /* zero-initialise; order of first mention; no name twice */
	struct cube_host *v;
	size_t len;
	struct cube_name_index index; /* private */
};

/* Where groups and files come from; a NULL function refuses them. Text is malloc'd, freed here.
 * group: the members as expressions, one or more a line, "*" asks for all. file: the whole text. */
struct cube_nodeset_source {
	int (*group)(void *arg, const char *name, char **ret_text, struct cube_err *err);
	int (*file)(void *arg, const char *path, char **ret_text, struct cube_err *err);
	void *arg;
};

/* Appends the hosts of expr to set (names already there are kept once). CUBE_EUSAGE or CUBE_ETOOBIG
 * on failure, message with the faulty part; set is then unchanged. */
int cube_nodeset_parse(struct cube_nodeset *set, const char *expr,
		       const struct cube_nodeset_source *source, struct cube_err *err);
void cube_nodeset_done(struct cube_nodeset *set);
bool cube_nodeset_has(const struct cube_nodeset *set, const char *name);
void cube_nodeset_remove(struct cube_nodeset *set, const struct cube_nodeset *those);
void cube_nodeset_keep(struct cube_nodeset *set, const struct cube_nodeset *those);

/* Appends names folded: "db1,web[1-2,4]". Ranges over the last differing number, padding kept,
 * sorted by prefix then number; names without numbers as they are. Parsing the result
 * gives the same names. */
int cube_nodeset_fold(const char *const *names, size_t n, struct cube_buf *out);

#endif
