/* What OpenSSH's configuration says about a host, as `ssh -G` prints it. Private to this folder.
 *
 * Where OpenSSH's client is not installed the built-in defaults are used: the target's own words,
 * ~/.ssh/id_{ed25519,ecdsa,rsa} and ~/.ssh/known_hosts. */
#ifndef CUBE_TRANSPORT_SSH_CONFIG_H
#define CUBE_TRANSPORT_SSH_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"
#include "cube/loop.h"
#include "cube/mem.h"

struct cube_ssh_config {
	char *hostname, *user;
	char *hostkeyalias;  /* NULL: none, here and below */
	char *identityagent; /* a path; "none"; NULL is $SSH_AUTH_SOCK */
	char *proxycommand, *proxyjump;
	uint16_t port;
	uint32_t connect_timeout_s; /* 0: not set */
	bool identities_only;
	bool strict;                                 /* refuse hosts never seen */
	bool hash_hosts;                             /* new names are written hashed */
	bool batch;                                  /* nobody is to be asked */
	bool no_publickey, no_keyboard, no_password; /* ways to log in that are forbidden */
	bool gssapi;                                 /* wanted where the server offers it */
	char *preferred;                             /* "publickey,password": only those */
	char *pkcs11;                                /* a library with keys */
	struct cube_strv certificates;               /* CertificateFile */
	struct cube_strv identities;                 /* ~ expanded; may not exist */
	struct cube_strv user_hosts, global_hosts;   /* known_hosts files */
};

/* Takes the output of `ssh -G` (n bytes; unknown words are skipped). Zero *ret first. */
int cube_ssh_config_parse(const char *text, size_t n, struct cube_ssh_config *ret,
			  struct cube_err *err);
void cube_ssh_config_done(struct cube_ssh_config *c);
void cube_ssh_config_copy(struct cube_ssh_config *to, const struct cube_ssh_config *from);

struct cube_ssh_question { /* borrowed during the call */
	const char *host;
	const char *user, *file; /* NULL: not given */
	const char *jump;        /* ssh -J, as user and file */
	uint16_t port;           /* 0: not given */
};
/* The defaults without OpenSSH. */
void cube_ssh_config_default(const struct cube_ssh_question *q, struct cube_ssh_config *ret);
/* $HOME, or the home of the password database; fresh. */
char *cube_ssh_home(void);
/* OpenSSH takes the home of the password database only: is $HOME another one? */
bool cube_ssh_home_moved(void);
/* CUBE_EUSAGE for names that must not get into a command line; user may be NULL. */
int cube_ssh_check_names(const char *host, const char *user, struct cube_err *err);
/* OpenSSH takes the home of the password database only. Where $HOME is another folder with a
 * .ssh/config of its own, this is its path (fresh), to be given with -F; else NULL. */
char *cube_ssh_moved_config(void);

/* The asker: runs `ssh -G`, at most 8 at once, and remembers the answers as long as the
 * configuration files keep their times. */
struct cube_ssh_configs;
struct cube_ssh_lookup;
typedef void cube_ssh_config_fn(void *arg, const struct cube_ssh_config *config,
				const struct cube_err *err);
void cube_ssh_configs_new(struct cube_loop *loop, struct cube_ssh_configs **ret);
void cube_ssh_configs_free(struct cube_ssh_configs *cs); /* no lookup may be under way */
/* fn runs once, never inside the call; config (or err) is borrowed there, the handle over. */
struct cube_ssh_lookup *cube_ssh_configs_ask(struct cube_ssh_configs *cs,
					     const struct cube_ssh_question *q,
					     cube_ssh_config_fn *fn, void *arg);
void cube_ssh_lookup_cancel(struct cube_ssh_lookup *l); /* NULL is fine */

#endif
