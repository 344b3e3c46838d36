/* What OpenSSH's configuration says about a host, as `ssh -G` prints it.
 *
 * Where OpenSSH's client is not installed the built-in defaults are used: the target's own words,
 * ~/.ssh/id_{ed25519,ecdsa,rsa} and ~/.ssh/known_hosts. */
#ifndef CUBE_TRANSPORT_SSH_CONFIG_H
#define CUBE_TRANSPORT_SSH_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/err.h"
#include "cube/loop.h"
#include "cube/mem.h"

struct cube_ssh_config {
	char *hostname, *user;
	char *hostkeyalias;  /* NULL: none, here and below */
	char *identityagent; /* a path; "none"; NULL is $SSH_AUTH_SOCK */
	char *proxycommand, *proxyjump;
	char *controlpath; /* expanded */
	bool logverbose;   /* the ssh program has this setting, of 8.5 and newer */
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
	char *hash;                                  /* %C, as ssh says; NULL: to be computed */
	/* What may be used, ',' between: patterns as in ssh. NULL: anything */
	char *ciphers, *macs, *kex, *host_keys, *public_keys;
	uint32_t rsa_bits;                         /* at least; 0: any */
	int family;                                /* AF_INET, AF_INET6; 0: any */
	bool session_type;                         /* the ssh program has SessionType, StdinNull and
						    * ForkAfterAuthentication: of 8.7 and newer */
	char *program;                             /* why only the ssh program can do it, or NULL */
	struct cube_strv unknown;                  /* settings that are not in ssh_keywords.h */
	struct cube_strv certificates;             /* CertificateFile */
	struct cube_strv identities;               /* ~ expanded; may not exist */
	struct cube_strv user_hosts, global_hosts; /* known_hosts files */
};

/* Takes the output of `ssh -G` (n bytes). Each of its lines is read, or has no meaning for us, or
 * sets program or unknown: ssh_keywords.h. Zero *ret first. */
int cube_ssh_config_parse(const char *text, size_t n, struct cube_ssh_config *ret,
			  struct cube_err *err);
void cube_ssh_config_done(struct cube_ssh_config *c);
void cube_ssh_config_copy(struct cube_ssh_config *to, const struct cube_ssh_config *from);

/* Appends those lines of `ssh -G`'s output that cube_ssh_config_parse reads. */
int cube_ssh_config_filter(const char *text, size_t n, struct cube_buf *out);
/* One of the keys read by its name (n bytes, in any case), or -1; and a value of it. */
enum { CUBE_SSH_KEYS_MAX = 64 };
int cube_ssh_config_key(const char *name, size_t n);
int cube_ssh_config_set(struct cube_ssh_config *c, int key, const char *value, size_t n,
			struct cube_err *err);
/* Whether one of the lists above has the name. */
bool cube_ssh_config_allows(const char *list, const char *name);
/* "User=ubuntu HostName=10.0.0.1 Port=22 ProxyJump=bastion": CUBE_FACT_CONFIG's. Fresh. */
char *cube_ssh_config_fact(const struct cube_ssh_config *c);
/* Names those lines: another list needs other answers kept. Fresh. */
char *cube_ssh_config_format(void);
/* ssh_words.c. Replaces what ssh -G leaves: %h %r %p %n %d %C ... and ${NAME} in the names of key
 * files and certificates, and the words of ProxyJump. host: as the user wrote it. */
void cube_ssh_config_expand(struct cube_ssh_config *c, const char *host);
/* What it does not leave: the names of known_hosts files and of the agent. */
void cube_ssh_config_expand_rest(struct cube_ssh_config *c, const char *host);
/* Makes ssh -G say what %C is: newer ones take the jump host in. */
#define CUBE_SSH_CONFIG_HASH "RemoteCommand=%C"
/* HostName as configured, with %h and %% replaced. Fresh. */
char *cube_ssh_config_hostname(const char *name, const char *host);

struct cube_ssh_question { /* borrowed during the call */
	const char *host;
	const char *user, *file, *jump;  /* NULL: not given */
	uint16_t port;                   /* 0: not given */
	const struct cube_strv *options; /* of -o, "Key=Value"; NULL: none */
	/* With cube_ssh_configs_ask's arg, when its turn has come and the answer is not known yet:
	 * the time before it is not the host's. May be NULL. */
	void (*begun)(void *arg);
};
/* ssh_default.c. The defaults without OpenSSH, and what the question says. CUBE_EUSAGE for an
 * option's value. */
int cube_ssh_config_default(const struct cube_ssh_question *q, struct cube_ssh_config *ret,
			    struct cube_err *err);
/* $HOME, or the home of the password database; fresh. */
char *cube_ssh_home(void);
/* OpenSSH takes the home of the password database only: is $HOME another one? */
bool cube_ssh_home_moved(void);
/* CUBE_EUSAGE for names that must not get into a command line; user may be NULL. */
int cube_ssh_check_names(const char *host, const char *user, struct cube_err *err);
/* OpenSSH takes the home of the password database only. Where $HOME is another folder with a
 * .ssh/config of its own, this is its path (fresh), to be given with -F; else NULL. */
char *cube_ssh_moved_config(void);

/* The asker: runs `ssh -G`, at most 8 at once, each for 30 s and 512 MiB at most; its process group
 * ends with the question (hangup.h) and with this process (cube/spawn.h, mortal). It remembers the
 * answers as long as what they came from stays the same (ssh_stamp.h), on disk as well
 * (ssh_answers.h). */
struct cube_ssh_configs;
struct cube_ssh_lookup;
typedef void cube_ssh_config_fn(void *arg, const struct cube_ssh_config *config,
				const struct cube_err *err);
/* cache_dir: NULL keeps nothing on disk. */
void cube_ssh_configs_new(struct cube_loop *loop, const char *cache_dir,
			  struct cube_ssh_configs **ret);
void cube_ssh_configs_free(struct cube_ssh_configs *cs); /* no lookup may be under way */
/* fn runs once, never inside the call; config (or err) is borrowed there, the handle over. */
struct cube_ssh_lookup *cube_ssh_configs_ask(struct cube_ssh_configs *cs,
					     const struct cube_ssh_question *q,
					     cube_ssh_config_fn *fn, void *arg);
void cube_ssh_lookup_cancel(struct cube_ssh_lookup *l); /* NULL is fine */

#endif
