/* known_hosts files: who is known under which key. Private to this folder.
 *
 * Names match as in OpenSSH: lists, * and ? patterns, ! negation, [host]:port, hashed names and
 * @revoked. Of @cert-authority lines only their being there is told: libssh2 verifies no host
 * certificates. */
#ifndef CUBE_TRANSPORT_KNOWN_HOSTS_H
#define CUBE_TRANSPORT_KNOWN_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"
#include "cube/mem.h"

struct cube_known_line { /* one line taken apart; points into the text */
	const char *names, *type, *key;
	size_t names_len, type_len, key_len;
	bool revoked, ca;
};
/* False for blank lines, comments and what is no known_hosts line. */
bool cube_known_line_parse(const char *line, size_t n, struct cube_known_line *ret);
/* Does a plain (not hashed) list of patterns name this host? */
bool cube_known_names_match(const char *names, size_t n, const char *host);
/* The name a host has in the files: "web1", "[web1]:2222", or its alias; lower case, fresh. */
char *cube_known_name(const char *host, uint16_t port, const char *alias);

struct cube_known_entry {
	char *type, *key; /* "ssh-ed25519", base64 */
	const char *file; /* borrowed from the list of files */
	unsigned line;
	bool revoked;
};
struct cube_known { /* what the files say about one host */
	struct cube_known_entry *v;
	size_t len;
	bool ca; /* an authority may vouch for it */
};
/* Files that do not exist or cannot be read say nothing. */
void cube_known_load(const char *name, const struct cube_strv *files, struct cube_known *known);
void cube_known_done(struct cube_known *known);

enum cube_known_verdict { CUBE_KNOWN_SAME, CUBE_KNOWN_NEW, CUBE_KNOWN_CHANGED, CUBE_KNOWN_REVOKED };
/* *ret_entry is the line that contradicts (CHANGED) or revokes, else NULL. can_verify says of a
 * key type whether the host could have proven that key to us: only then is another key type
 * instead of it a contradiction. */
enum cube_known_verdict cube_known_check(const struct cube_known *known, const char *type,
					 const char *key, bool (*can_verify)(const char *type),
					 const struct cube_known_entry **ret_entry);

/* Appends one line; makes the file (0600) and its folder (0700). hashed: the name is not to be read
 * there. Several managers and ssh itself may do so at once, and a full disk leaves the file as it
 * was. */
int cube_known_append(const char *file, const char *name, bool hashed, const char *type,
		      const char *key, struct cube_err *err);

#endif
