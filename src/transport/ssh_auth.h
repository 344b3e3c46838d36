/* Logging in, shared by the ssh_auth*.c files: a list of ways, tried in OpenSSH's order.
 *
 *   ssh_auth.c        the order
 *   ssh_auth_agent.c  the agent's keys
 *   ssh_auth_keys.c   key files
 *   ssh_auth_kbd.c    the server's own questions
 *   ssh_auth_ask.c    questions to a person; passwords
 *   ssh_auth_say.c    what the server offers, and what is said when no way is left
 *
 * Each calls only those below it.
 *
 * Whatever was asked is tried once: an answer that the server refuses ends the login, since
 * another try may lock the account or send another message to a telephone. Only a passphrase,
 * which no server sees, is asked again. */
#ifndef CUBE_TRANSPORT_SSH_AUTH_H
#define CUBE_TRANSPORT_SSH_AUTH_H

#include "ssh_agent.h"
#include "ssh_priv.h"

/* What a way says besides 0 (logged in), CUBE_AGAIN and failures that were reported. */
enum { AUTH_NEXT = 2 };

struct key_file {
	char *path;
	char *pub;     /* base64, of path.pub or of the file itself; NULL: not known */
	char type[64]; /* "ssh-ed25519"; "": not known */
	bool exists, offered, locked;
};

struct ssh_auth {
	struct ssh_conn *c;
	size_t way; /* index into the ways */
	char *methods;
	char *partial; /* what the server still wants after a key it took: "keyboard-interactive" */
	/* keys */
	bool looked; /* for the agent and for what we cannot use */
	bool trying; /* a key is at the server */
	struct cube_agent *agent;
	size_t agent_next;                      /* index of its next key */
	const struct cube_agent_key *agent_key; /* that is tried */
	enum { AGENT_OFFER, AGENT_SIGN, AGENT_LOGIN } agent_step;
	struct cube_buf to_sign; /* for that key */
	unsigned agent_tried;
	bool agent_others; /* second round: keys that no key file is configured for */
	struct key_file *files;
	size_t nfiles, file;
	unsigned keys_refused;
	enum { LOCK_PROBE, LOCK_ASK, LOCK_OPEN } lock; /* of an encrypted file */
	unsigned wrong;                                /* passphrases for it */
	uint64_t mark;         /* c->collected before a key file was opened */
	struct cube_buf notes; /* "~/.ssh/id_ed25519, ~/.ssh/id_rsa (no such file)" */
	char reason[100];      /* why the ssh program could do better, or "" */
	char need[160];        /* what a person could have given: "needs a password" */
	/* the question that is open, or was answered */
	enum { NOT_ASKED, ASKING, ANSWERED, NO_ANSWER } asked;
	unsigned answers_len;
	char *answers[CUBE_ASK_PROMPTS];
	bool expired; /* the password */
	/* keyboard-interactive */
	struct kbd *kbd;
	char login[200]; /* CUBE_FACT_LOGIN */
};

/* A person was asked, or a server that asks itself was told to begin: who knows whom it called. Not
 * to be done again unasked. */
static inline bool cube_ssh_auth_asked(const struct ssh_auth *a) {
	return a && (a->asked != NOT_ASKED || a->kbd);
}

/* ssh_auth_say.c */
bool cube_auth_in_list(const char *list, const char *word); /* "a,b" or "a b"; NULL: in none */
bool cube_auth_offered(const struct ssh_auth *a,
		       const char *method); /* by the server, and allowed */
int cube_auth_denied(struct ssh_auth *a);
/* After a way failed with libssh2's rc: AUTH_NEXT, or the link is gone and that was reported. */
int cube_auth_refused(struct ssh_auth *a, int rc);
/* Ends the login with CUBE_ELOGIN: "host port 22 as user: " and the text. */
int cube_auth_needs_login(struct ssh_auth *a, const char *text);
/* Remembers the first reason why the ssh program could log in where we cannot. */
void cube_auth_reason(struct ssh_auth *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ssh_auth_agent.c */
int cube_auth_agent(struct ssh_auth *a);
int cube_auth_agent_rest(struct ssh_auth *a);
void cube_auth_agent_done(struct ssh_auth *a);

/* ssh_auth_keys.c */
void cube_auth_keys_init(struct ssh_auth *a);
void cube_auth_keys_done(struct ssh_auth *a);
int cube_auth_files(struct ssh_auth *a);
/* For the agent's keys: whether one of this type is worth showing to the server, the key file that
 * belongs to one (or NULL), and whether files are to be tried at all. */
/* PubkeyAcceptedAlgorithms or RequiredRSASize are against it. blob: its public half; may be NULL.
 */
bool cube_auth_forbidden(const struct ssh_auth *a, const char *type, const void *blob, size_t n);
bool cube_auth_usable_type(struct ssh_auth *a, const char *type);
struct key_file *cube_auth_file_of(struct ssh_auth *a, const uint8_t *blob, size_t n);
bool cube_auth_only_files(const struct ssh_auth *a);
bool cube_auth_has_files(const struct ssh_auth *a);
void cube_auth_note_others(struct ssh_auth *a); /* keys that only the ssh program can use */
int cube_auth_key_refused(struct ssh_auth *a, int rc);
int cube_auth_locked(struct ssh_auth *a); /* encrypted files */

/* ssh_auth_ask.c */
bool cube_auth_may_ask(const struct ssh_auth *a);
/* Puts one question; CUBE_AGAIN until a->asked is ANSWERED or NO_ANSWER. */
int cube_auth_ask(struct ssh_auth *a, const struct cube_ask *ask);
void cube_auth_forget(struct ssh_auth *a); /* wipes the answers; nothing is asked then */
int cube_auth_password(struct ssh_auth *a);

/* ssh_auth_kbd.c */
int cube_auth_keyboard(struct ssh_auth *a);
void cube_auth_keyboard_done(struct ssh_auth *a);

#endif
