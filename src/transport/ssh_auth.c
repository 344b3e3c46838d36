/* Logging in: the agent's keys, then key files.
 *
 * libssh2's agent calls block on the agent's socket: one local round trip for the list of keys
 * and one for a signature, each bounded in ssh_link.c. The server's side is never waited for.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/text.h"
#include "ssh_priv.h"

/* sshd's MaxAuthTries is 6 by default and counts every key: one is kept for a key file. */
enum { AGENT_TRIES = 5, AGENT_TRIES_ALONE = 6, FILE_MAX = 64 * 1024 };

enum phase { ASK, AGENT, FILES };

struct key_file {
	char *path;
	char *pub; /* base64 of path.pub, or NULL */
	bool exists, offered;
};

struct ssh_auth {
	struct ssh_conn *c;
	enum phase phase;
	bool trying; /* a key is at the server */
	char *methods;
	LIBSSH2_AGENT *agent;
	struct libssh2_agent_publickey *identity;
	unsigned agent_tried;
	bool agent_others; /* second round: keys that no key file is configured for */
	struct key_file *files;
	size_t nfiles, file;
	bool rsa_tried;
	struct cube_buf notes; /* "~/.ssh/id_ed25519, ~/.ssh/id_rsa (needs a passphrase)" */
};

/* ---- key files --------------------------------------------------------------------------- */

static char *read_text(const char *path) {
	struct stat st;
	cube_autofree char *text = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) return NULL;
	ssize_t n = -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		text = cube_alloc(FILE_MAX + 1);
		n = read(fd, text, FILE_MAX);
	}
	close(fd);
	return n < 0 ? NULL : cube_strndup(text, (size_t)n);
}

/* Second word of "ssh-ed25519 AAAA... comment". */
static char *public_key(const char *path) {
	cube_autofree char *file = cube_strf("%s.pub", path);
	cube_autofree char *text = read_text(file);
	if (!text) return NULL;
	const char *key = text + strcspn(text, " ");
	key += strspn(key, " ");
	size_t n = strcspn(key, " \r\n");
	return n ? cube_strndup(key, n) : NULL;
}

static bool needs_passphrase(const char *text) {
	static const char OPENSSH[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
	/* base64 of "openssh-key-v1", the length 4 and "none", the cipher of open keys */
	static const char OPEN[] = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
	const char *body = strstr(text, OPENSSH);
	if (!body) return strstr(text, "ENCRYPTED") != NULL;
	body += sizeof OPENSSH - 1;
	body += strspn(body, "\r\n");
	return strncmp(body, OPEN, sizeof OPEN - 1) != 0;
}

static void add_file(struct ssh_auth *a, const char *path) {
	a->files = cube_realloc_array(a->files, a->nfiles + 1, sizeof *a->files);
	a->files[a->nfiles++] = (struct key_file){
		.path = cube_strdup(path),
		.pub = public_key(path),
		.exists = access(path, F_OK) == 0,
	};
}

static char *shown_path(const char *path) {
	cube_autofree char *home = cube_ssh_home();
	size_t n = strlen(home);
	bool ours = n > 1 && !strncmp(path, home, n) && path[n] == '/';
	return ours ? cube_strf("~%s", path + n) : cube_strdup(path);
}

static void note_file(struct ssh_auth *a, const char *path, const char *trouble) {
	cube_autofree char *shown = shown_path(path);
	if (cube_buf_len(&a->notes)) cube_buf_addstr(&a->notes, ", ");
	if (trouble) cube_buf_printf(&a->notes, "%s (%s)", shown, trouble);
	else cube_buf_addstr(&a->notes, shown);
}

static bool only_files(const struct ssh_auth *a) {
	return a->c->identity || a->c->config.identities_only;
}

static unsigned usable_files(const struct ssh_auth *a) {
	unsigned n = 0;
	for (size_t i = 0; i < a->nfiles; i++) n += a->files[i].exists && !a->files[i].offered;
	return n;
}

/* ---- results ----------------------------------------------------------------------------- */

static int denied(struct ssh_auth *a) {
	struct ssh_conn *c = a->c;
	struct cube_err err;
	char agent[48] = "";
	bool hint = a->rsa_tried && !libssh2_version(0x010b00);
	if (a->agent_tried)
		snprintf(agent, sizeof agent, "agent (%u key%s)%s", a->agent_tried,
			 a->agent_tried == 1 ? "" : "s", cube_buf_len(&a->notes) ? ", " : "");
	const char *notes = cube_buf_str(&a->notes);
	bool nothing = !*agent && !*notes;
	cube_fail(&err, CUBE_EAUTH, "%s as %s: permission denied (%s%s; %s%s%.*s)%s",
		  cube_ssh_where(c), c->config.user, c->bye[0] ? c->bye : "server accepts ",
		  c->bye[0] ? "" : a->methods, nothing ? "no keys to try" : "tried ", agent,
		  hint ? 60 : 120, notes, hint ? "; RSA keys need libssh2 1.11, use ed25519" : "");
	cube_ssh_fail(c, &err);
	return CUBE_EAUTH;
}

/* After a key was refused: 0 goes on with the next one. */
static int refused(struct ssh_auth *a, int rc) {
	switch (rc) {
	case LIBSSH2_ERROR_SOCKET_DISCONNECT:
	case LIBSSH2_ERROR_SOCKET_SEND:
	case LIBSSH2_ERROR_SOCKET_RECV:
		if (a->c->bye[0]) return denied(a); /* "Too many authentication failures" */
		cube_ssh_link_fail(a->c, NULL);
		return CUBE_ECONNECT;
	default: return 0;
	}
}

/* ---- the agent --------------------------------------------------------------------------- */

static const char *agent_path(const struct ssh_conn *c) {
	const char *path =
		c->config.identityagent ? c->config.identityagent : getenv("SSH_AUTH_SOCK");
	if (!path || !*path || !strcmp(path, "none")) return NULL;
	return strlen(path) < 100 ? path : NULL; /* what a unix socket's address holds */
}

static void open_agent(struct ssh_auth *a) {
	const char *path = agent_path(a->c);
	if (!path) return;
	a->agent = libssh2_agent_init(a->c->session);
	if (!a->agent) return;
	libssh2_agent_set_identity_path(a->agent, path);
	if (libssh2_agent_connect(a->agent) == 0 && libssh2_agent_list_identities(a->agent) == 0)
		return;
	libssh2_agent_free(a->agent);
	a->agent = NULL;
}

static bool is_rsa(const unsigned char *blob, size_t n) {
	return n > 11 && !memcmp(blob, "\0\0\0\7ssh-rsa", 11);
}

/* The key file this agent key belongs to, or NULL. */
static struct key_file *file_of(struct ssh_auth *a, const struct libssh2_agent_publickey *key) {
	struct key_file *found = NULL;
	struct cube_buf text;
	cube_buf_init(&text, FILE_MAX);
	cube_text_base64(&text, key->blob, key->blob_len);
	for (size_t i = 0; i < a->nfiles && !found; i++)
		if (a->files[i].pub && !strcmp(a->files[i].pub, cube_buf_str(&text)))
			found = &a->files[i];
	cube_buf_done(&text);
	return found;
}

/* The configured keys first, as ssh does; the agent's other ones then, unless forbidden. */
static bool next_agent_key(struct ssh_auth *a) {
	struct libssh2_agent_publickey *key;
	unsigned max = usable_files(a) ? AGENT_TRIES : AGENT_TRIES_ALONE;
	for (;;) {
		if (a->agent_tried >= max) return false;
		if (libssh2_agent_get_identity(a->agent, &key, a->identity) == 0) {
			struct key_file *file = file_of(a, key);
			a->identity = key;
			if ((file != NULL) == a->agent_others) continue;
			if (file) file->offered = true;
			a->rsa_tried |= is_rsa(key->blob, key->blob_len);
			a->agent_tried++;
			return true;
		}
		a->identity = NULL;
		if (a->agent_others || only_files(a)) return false;
		a->agent_others = true;
	}
}

static int try_agent(struct ssh_auth *a) {
	for (;;) {
		if (!a->trying && (!a->agent || !next_agent_key(a))) {
			a->phase = FILES;
			return CUBE_AGAIN;
		}
		a->trying = true;
		int rc = libssh2_agent_userauth(a->agent, a->c->config.user, a->identity);
		if (rc == LIBSSH2_ERROR_EAGAIN) return CUBE_AGAIN;
		a->trying = false;
		if (rc == 0) return 0;
		rc = refused(a, rc);
		if (rc < 0) return rc;
	}
}

/* ---- trying files ------------------------------------------------------------------------ */

/* False where the file is not worth a try; says why when somebody asked for it by name. */
static bool worth_trying(struct ssh_auth *a, const struct key_file *f) {
	cube_autofree char *text = f->exists && !f->offered ? read_text(f->path) : NULL;
	if (f->offered) return false;
	if (!text) {
		if (a->c->identity)
			note_file(a, f->path, f->exists ? "cannot be read" : "no such file");
		return false;
	}
	if (needs_passphrase(text)) {
		note_file(a, f->path, "needs a passphrase: ssh-add it");
		return false;
	}
	/* "AAAAB3NzaC1yc2E": the blob of an RSA key; no other type starts so */
	a->rsa_tried |=
		strstr(text, "BEGIN RSA") || (f->pub && !strncmp(f->pub, "AAAAB3NzaC1yc2E", 15));
	return true;
}

static int try_file(struct ssh_auth *a, const struct key_file *f) {
	const char *user = a->c->config.user;
	int rc = libssh2_userauth_publickey_fromfile_ex(a->c->session, user, (unsigned)strlen(user),
							NULL, f->path, NULL);
	if (rc == LIBSSH2_ERROR_EAGAIN) return CUBE_AGAIN;
	a->trying = false;
	if (rc == 0) return 0;
	note_file(a, f->path, rc == LIBSSH2_ERROR_FILE ? "not a key libssh2 can read" : NULL);
	rc = refused(a, rc);
	if (rc == 0) a->file++;
	return rc < 0 ? rc : CUBE_AGAIN;
}

static int try_files(struct ssh_auth *a) {
	while (a->file < a->nfiles) {
		const struct key_file *f = &a->files[a->file];
		if (!a->trying && !worth_trying(a, f)) {
			a->file++;
			continue;
		}
		a->trying = true;
		int rc = try_file(a, f);
		if (rc != CUBE_AGAIN || a->trying) return rc;
	}
	return denied(a);
}

/* ---- the whole --------------------------------------------------------------------------- */

static struct ssh_auth *auth_new(struct ssh_conn *c) {
	struct ssh_auth *a = cube_alloc(sizeof *a);
	a->c = c;
	cube_buf_init(&a->notes, 4096);
	if (c->identity) add_file(a, c->identity);
	else
		for (size_t i = 0; i < c->config.identities.len; i++)
			add_file(a, c->config.identities.v[i]);
	return a;
}

void cube_ssh_auth_free(struct ssh_auth *a) {
	if (!a) return;
	if (a->agent) {
		libssh2_agent_disconnect(a->agent);
		libssh2_agent_free(a->agent);
	}
	for (size_t i = 0; i < a->nfiles; i++) {
		free(a->files[i].path);
		free(a->files[i].pub);
	}
	free(a->files);
	free(a->methods);
	cube_buf_done(&a->notes);
	free(a);
}

/* A banner is one packet, of which libssh2 takes 40000 bytes and sshd sends up to 256 KiB. */
static int banner_too_large(struct ssh_auth *a) {
	struct cube_err err;
	cube_fail(&err, CUBE_ELIBRARY, "%s: its banner is larger than libssh2 takes (40000 bytes)",
		  cube_ssh_where(a->c));
	cube_ssh_fail(a->c, &err);
	return CUBE_ELIBRARY;
}

/* Asks by the method "none" what the server accepts; it may let us in at once. */
static int ask(struct ssh_auth *a) {
	struct ssh_conn *c = a->c;
	const char *user = c->config.user;
	const char *list = libssh2_userauth_list(c->session, user, (unsigned)strlen(user));
	if (!list && libssh2_userauth_authenticated(c->session)) return 0;
	if (!list && libssh2_session_last_errno(c->session) == LIBSSH2_ERROR_EAGAIN)
		return CUBE_AGAIN;
	if (!list && libssh2_session_last_errno(c->session) == LIBSSH2_ERROR_OUT_OF_BOUNDARY)
		return banner_too_large(a);
	if (!list) {
		cube_ssh_link_fail(c, NULL);
		return CUBE_ECONNECT;
	}
	a->methods = cube_strf("%.80s", list);
	if (!strstr(a->methods, "publickey")) return denied(a);
	open_agent(a);
	a->phase = AGENT;
	return CUBE_AGAIN;
}

int cube_ssh_auth_pump(struct ssh_conn *c) {
	if (!c->auth) c->auth = auth_new(c);
	struct ssh_auth *a = c->auth;
	int rc = CUBE_AGAIN;
	if (a->phase == ASK) rc = ask(a);
	if (rc == CUBE_AGAIN && a->phase == AGENT) rc = try_agent(a);
	if (rc == CUBE_AGAIN && a->phase == FILES) rc = try_files(a);
	if (rc != 0) return rc; /* after a failure the link, and `a` with it, is gone */
	cube_ssh_auth_free(a);
	c->auth = NULL;
	return 0;
}
