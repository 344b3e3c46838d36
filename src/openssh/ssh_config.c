/* Reading what `ssh -G` prints: see ssh_config.h. */
#include <ctype.h>
#include <fnmatch.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/parse.h"
#include "cube/ssh_config.h"
#include "ssh_keywords.h"

enum { IDENTITIES_MAX = 32, FILES_MAX = 16, UNKNOWN_MAX = 64 };

static const char *passwd_home(void) {
	struct passwd *pw = getpwuid(getuid());
	return pw && pw->pw_dir ? pw->pw_dir : "/";
}

char *cube_ssh_home(void) {
	const char *home = getenv("HOME");
	return cube_strdup(home && *home == '/' ? home : passwd_home());
}

bool cube_ssh_home_moved(void) {
	cube_autofree char *home = cube_ssh_home();
	return strcmp(home, passwd_home()) != 0;
}

char *cube_ssh_moved_config(void) {
	if (!cube_ssh_home_moved()) return NULL;
	cube_autofree char *home = cube_ssh_home();
	char *path = cube_strf("%s/.ssh/config", home);
	if (access(path, R_OK) == 0) return path;
	free(path);
	return NULL;
}

static char *expand_home(const char *path, size_t n) {
	if (n < 2 || path[0] != '~' || path[1] != '/') return cube_strndup(path, n);
	cube_autofree char *home = cube_ssh_home();
	return cube_strf("%s%.*s", home, (int)(n - 1), path + 1);
}

/* OpenSSH expands ~ by the password database. A $HOME of one's own moves the default files, so
 * that a sandboxed cube leaves the real ones alone. */
static char *moved_home(const char *path, size_t n) {
	static const char *const DEFAULTS[] = {"/.ssh/known_hosts", "/.ssh/known_hosts2"};
	const char *old = passwd_home();
	size_t len = strlen(old);
	if (n > len && !memcmp(path, old, len)) {
		for (size_t i = 0; i < 2; i++) {
			if (n - len != strlen(DEFAULTS[i]) ||
			    memcmp(path + len, DEFAULTS[i], n - len))
				continue;
			cube_autofree char *home = cube_ssh_home();
			return cube_strf("%s%s", home, DEFAULTS[i]);
		}
	}
	return expand_home(path, n);
}

/* Names go into command lines (%h of a proxy command, ssh's own arguments): the same rule as in
 * OpenSSH since 9.6. */
static bool safe_name(const char *s) {
	if (!*s || *s == '-' || strlen(s) > 255) return false;
	for (; *s; s++)
		if (strchr("'`\"$\\;&<>|(){}*?!#~", *s) || isspace((unsigned char)*s) ||
		    iscntrl((unsigned char)*s))
			return false;
	return true;
}

int cube_ssh_check_names(const char *host, const char *user, struct cube_err *err) {
	if (!safe_name(host)) return cube_fail(err, CUBE_EUSAGE, "not a host name: '%.80s'", host);
	if (user && !safe_name(user))
		return cube_fail(err, CUBE_EUSAGE, "not a user name: '%.80s'", user);
	return 0;
}

/* ---- one line ---------------------------------------------------------------------------- */

struct word {
	const char *s;
	size_t n;
};

static bool is(struct word w, const char *s) {
	return w.n == strlen(s) && !strncasecmp(w.s, s, w.n);
}

static void set_string(char **to, struct word w) {
	free(*to);
	*to = is(w, "none") ? NULL : cube_strndup(w.s, w.n);
}

static int set_number(const char *key, struct word w, uint64_t max, uint64_t *ret,
		      struct cube_err *err) {
	cube_autofree char *s = cube_strndup(w.s, w.n);
	int rc = cube_parse_u64(s, 0, max, ret, err);
	return rc < 0 ? cube_wrap(err, "ssh -G, %s", key) : 0;
}

/* Files are separated by blanks; ssh -G does not quote them. */
static void set_files(struct cube_strv *to, struct word w) {
	cube_strv_done(to);
	while (w.n && to->len < FILES_MAX) {
		const char *blank = memchr(w.s, ' ', w.n);
		size_t n = blank ? (size_t)(blank - w.s) : w.n;
		if (n && !is((struct word){w.s, n}, "none")) {
			cube_autofree char *path = moved_home(w.s, n);
			cube_strv_add(to, path);
		}
		w.s += blank ? n + 1 : n;
		w.n -= blank ? n + 1 : n;
	}
}

static void add_identity(struct cube_strv *to, struct word w) {
	if (to->len >= IDENTITIES_MAX || is(w, "none")) return;
	cube_autofree char *path = expand_home(w.s, w.n);
	cube_strv_add(to, path);
}

static void set_agent(struct cube_ssh_config *c, struct word w) {
	free(c->identityagent);
	c->identityagent = NULL;
	if (is(w, "SSH_AUTH_SOCK")) return;
	if (w.n > 1 && w.s[0] == '$') {
		cube_autofree char *name = cube_strndup(w.s + 1, w.n - 1);
		c->identityagent = cube_strdup(getenv(name));
		if (!c->identityagent) c->identityagent = cube_strdup("none");
		return;
	}
	c->identityagent = expand_home(w.s, w.n);
}

/* See CUBE_SSH_CONFIG_HASH; a command of the user's is of no interest. */
static void set_hash(struct cube_ssh_config *c, struct word w) {
	bool good = w.n == 40;
	for (size_t i = 0; good && i < w.n; i++) good = isxdigit((unsigned char)w.s[i]);
	free(c->hash);
	c->hash = good ? cube_strndup(w.s, w.n) : NULL;
}

static bool yes(struct word w) {
	return is(w, "yes") || is(w, "true");
}

/* ---- the keys ---------------------------------------------------------------------------- */

struct key {
	const char *name;
	int (*set)(struct cube_ssh_config *c, struct word w, struct cube_err *err);
};

#define KEY_SETTER(name, statement)                                                             \
	static int set_##name(struct cube_ssh_config *c, struct word w, struct cube_err *err) { \
		statement;                                                                      \
		return 0;                                                                       \
	}
KEY_SETTER(hostname, set_string(&c->hostname, w))
KEY_SETTER(user, set_string(&c->user, w))
KEY_SETTER(hostkeyalias, set_string(&c->hostkeyalias, w))
KEY_SETTER(proxycommand, set_string(&c->proxycommand, w))
KEY_SETTER(proxyjump, set_string(&c->proxyjump, w))
KEY_SETTER(identityagent, set_agent(c, w))
KEY_SETTER(identityfile, add_identity(&c->identities, w))
KEY_SETTER(identitiesonly, c->identities_only = yes(w))
KEY_SETTER(stricthostkeychecking, c->strict = yes(w))
KEY_SETTER(hashknownhosts, c->hash_hosts = yes(w))
KEY_SETTER(userknownhostsfile, set_files(&c->user_hosts, w))
KEY_SETTER(globalknownhostsfile, set_files(&c->global_hosts, w))

static int set_port(struct cube_ssh_config *c, struct word w, struct cube_err *err) {
	uint64_t n;
	int rc = set_number("port", w, UINT16_MAX, &n, err);
	if (rc == 0) c->port = (uint16_t)n;
	return rc;
}

static int set_connecttimeout(struct cube_ssh_config *c, struct word w, struct cube_err *err) {
	uint64_t n;
	if (is(w, "none")) return 0;
	int rc = set_number("connecttimeout", w, 86400, &n, err);
	if (rc == 0) c->connect_timeout_s = (uint32_t)n;
	return rc;
}

static int set_requiredrsasize(struct cube_ssh_config *c, struct word w, struct cube_err *err) {
	uint64_t n;
	int rc = set_number("requiredrsasize", w, 1 << 20, &n, err);
	if (rc == 0) c->rsa_bits = (uint32_t)n;
	return rc;
}

static bool no(struct word w) {
	return is(w, "no") || is(w, "false");
}

/* How to log in. */
KEY_SETTER(batchmode, c->batch = yes(w))
KEY_SETTER(pubkeyauthentication, c->no_publickey = no(w))
KEY_SETTER(kbdinteractiveauthentication, c->no_keyboard = no(w))
KEY_SETTER(passwordauthentication, c->no_password = no(w))
KEY_SETTER(gssapiauthentication, c->gssapi = yes(w))
KEY_SETTER(preferredauthentications, set_string(&c->preferred, w))
KEY_SETTER(controlpath, set_string(&c->controlpath, w))
KEY_SETTER(logverbose, c->logverbose = true)
KEY_SETTER(pkcs11provider, set_string(&c->pkcs11, w))
KEY_SETTER(remotecommand, set_hash(c, w))
KEY_SETTER(ciphers, set_string(&c->ciphers, w))
KEY_SETTER(macs, set_string(&c->macs, w))
KEY_SETTER(kexalgorithms, set_string(&c->kex, w))
KEY_SETTER(hostkeyalgorithms, set_string(&c->host_keys, w))
KEY_SETTER(pubkeyacceptedalgorithms, set_string(&c->public_keys, w))
KEY_SETTER(addressfamily, c->family = is(w, "inet") ? AF_INET : is(w, "inet6") ? AF_INET6 : 0)
KEY_SETTER(sessiontype, c->session_type = true)
KEY_SETTER(stdinnull, (void)c)
KEY_SETTER(forkafterauthentication, (void)c)
KEY_SETTER(certificatefile, add_identity(&c->certificates, w))

#define KEY(name) \
	{ #name, set_##name }
static const struct key KEYS[] = {
	KEY(hostname),
	KEY(user),
	KEY(port),
	KEY(connecttimeout),
	KEY(hostkeyalias),
	KEY(proxycommand),
	KEY(proxyjump),
	KEY(identityagent),
	KEY(identityfile),
	KEY(identitiesonly),
	KEY(userknownhostsfile),
	KEY(globalknownhostsfile),
	KEY(stricthostkeychecking),
	KEY(hashknownhosts),
	KEY(batchmode),
	KEY(pubkeyauthentication),
	KEY(kbdinteractiveauthentication),
	KEY(passwordauthentication),
	KEY(gssapiauthentication),
	KEY(preferredauthentications),
	KEY(pkcs11provider),
	KEY(controlpath),
	KEY(logverbose),
	KEY(certificatefile),
	KEY(ciphers),
	KEY(macs),
	KEY(kexalgorithms),
	KEY(hostkeyalgorithms),
	KEY(pubkeyacceptedalgorithms),
	KEY(requiredrsasize),
	KEY(addressfamily),
	KEY(sessiontype),
	KEY(stdinnull),
	KEY(forkafterauthentication),
	KEY(remotecommand),
};
enum { NKEYS = sizeof KEYS / sizeof KEYS[0] };
_Static_assert((int)NKEYS <= CUBE_SSH_KEYS_MAX, "CUBE_SSH_KEYS_MAX");

int cube_ssh_config_key(const char *name, size_t n) {
	for (size_t i = 0; i < NKEYS; i++)
		if (is((struct word){name, n}, KEYS[i].name)) return (int)i;
	return -1;
}

int cube_ssh_config_set(struct cube_ssh_config *c, int key, const char *value, size_t n,
			struct cube_err *err) {
	return KEYS[key].set(c, (struct word){value, n}, err);
}

char *cube_ssh_config_format(void) {
	const struct cube_ssh_keyword *k;
	char *all = cube_strdup("2");
	for (size_t i = 0; (k = cube_ssh_keyword_at(i)) != NULL; i++) {
		if (k->use == CUBE_SSH_NOTHING) continue;
		char *more = cube_strf("%s %s%s", all, k->name, k->text ? k->text : "");
		free(all);
		all = more;
	}
	return all;
}

bool cube_ssh_config_allows(const char *list, const char *name) {
	for (size_t n; list && *list; list += n + (list[n] == ',')) {
		n = strcspn(list, ",");
		cube_autofree char *pattern = cube_strndup(list, n);
		if (fnmatch(pattern, name, 0) == 0) return true;
	}
	return !list;
}

/* ---- the whole --------------------------------------------------------------------------- */

static struct word trimmed(const char *s, size_t n) {
	while (n && (*s == ' ' || *s == '\t')) s++, n--;
	while (n && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r')) n--;
	return (struct word){s, n};
}

struct line {
	struct word name, value;
	int key;                              /* one that is read, or -1 */
	const struct cube_ssh_keyword *known; /* NULL: of an OpenSSH newer than we know */
};

/* The next line of the text; false where it says nothing to us. */
static bool next_line(const char **text, size_t *n, struct line *ret) {
	const char *at = *text, *nl = memchr(at, '\n', *n);
	size_t len = nl ? (size_t)(nl - at) : *n;
	const char *blank = memchr(at, ' ', len);
	*text += nl ? len + 1 : len;
	*n -= nl ? len + 1 : len;
	if (!blank) return false;
	ret->name = (struct word){at, (size_t)(blank - at)};
	ret->value = trimmed(blank, len - ret->name.n);
	if (!ret->name.n || !ret->value.n || memchr(at, '\0', len)) return false;
	ret->key = cube_ssh_config_key(ret->name.s, ret->name.n);
	ret->known = cube_ssh_keyword_find(ret->name.s, ret->name.n);
	return ret->key >= 0 || !ret->known ||
	       cube_ssh_keyword_needs(ret->known, ret->value.s, ret->value.n);
}

int cube_ssh_config_filter(const char *text, size_t n, struct cube_buf *out) {
	struct line l;
	int rc = 0;
	while (n && rc == 0)
		if (next_line(&text, &n, &l))
			rc = cube_buf_printf(out, "%.*s %.*s\n", (int)l.name.n, l.name.s,
					     (int)l.value.n, l.value.s);
	return rc;
}

static int take_line(struct cube_ssh_config *c, const struct line *l, struct cube_err *err) {
	if (l->key >= 0) return KEYS[l->key].set(c, l->value, err);
	if (!l->known) {
		cube_autofree char *name = cube_strndup(l->name.s, l->name.n);
		if (c->unknown.len < UNKNOWN_MAX) cube_strv_add(&c->unknown, name);
	} else if (!c->program) {
		c->program = cube_strf("%s needs the ssh program", l->known->name);
	}
	return 0;
}

int cube_ssh_config_parse(const char *text, size_t n, struct cube_ssh_config *ret,
			  struct cube_err *err) {
	struct cube_ssh_config c = {0};
	struct line l;
	int rc = 0;
	while (n && rc == 0)
		if (next_line(&text, &n, &l)) rc = take_line(&c, &l, err);
	if (rc == 0 && (!c.hostname || !c.user))
		rc = cube_fail(err, CUBE_EUSAGE, "ssh -G did not name a host and a user");
	if (rc < 0) {
		cube_ssh_config_done(&c);
		return rc;
	}
	if (!c.port) c.port = 22;
	*ret = c;
	return 0;
}

char *cube_ssh_config_fact(const struct cube_ssh_config *c) {
	const char *way = c->proxyjump ? " ProxyJump=" : c->proxycommand ? " ProxyCommand=" : "";
	const char *by = c->proxyjump ? c->proxyjump : c->proxycommand ? c->proxycommand : "";
	return cube_strf("User=%s HostName=%s Port=%u%s%s", c->user, c->hostname, c->port, way, by);
}

void cube_ssh_config_done(struct cube_ssh_config *c) {
	free(c->hostname);
	free(c->user);
	free(c->hostkeyalias);
	free(c->identityagent);
	free(c->proxycommand);
	free(c->proxyjump);
	free(c->preferred);
	free(c->pkcs11);
	free(c->hash);
	free(c->controlpath);
	free(c->ciphers);
	free(c->macs);
	free(c->kex);
	free(c->host_keys);
	free(c->public_keys);
	free(c->program);
	cube_strv_done(&c->unknown);
	cube_strv_done(&c->certificates);
	cube_strv_done(&c->identities);
	cube_strv_done(&c->user_hosts);
	cube_strv_done(&c->global_hosts);
	*c = (struct cube_ssh_config){0};
}

static struct cube_strv copy_strv(const struct cube_strv *from) {
	struct cube_strv to = {0};
	for (size_t i = 0; i < from->len; i++) cube_strv_add(&to, from->v[i]);
	return to;
}

void cube_ssh_config_copy(struct cube_ssh_config *to, const struct cube_ssh_config *from) {
	*to = *from;
	to->hostname = cube_strdup(from->hostname);
	to->user = cube_strdup(from->user);
	to->hostkeyalias = cube_strdup(from->hostkeyalias);
	to->identityagent = cube_strdup(from->identityagent);
	to->proxycommand = cube_strdup(from->proxycommand);
	to->proxyjump = cube_strdup(from->proxyjump);
	to->preferred = cube_strdup(from->preferred);
	to->pkcs11 = cube_strdup(from->pkcs11);
	to->hash = cube_strdup(from->hash);
	to->controlpath = cube_strdup(from->controlpath);
	to->ciphers = cube_strdup(from->ciphers);
	to->macs = cube_strdup(from->macs);
	to->kex = cube_strdup(from->kex);
	to->host_keys = cube_strdup(from->host_keys);
	to->public_keys = cube_strdup(from->public_keys);
	to->program = cube_strdup(from->program);
	to->unknown = copy_strv(&from->unknown);
	to->certificates = copy_strv(&from->certificates);
	to->identities = copy_strv(&from->identities);
	to->user_hosts = copy_strv(&from->user_hosts);
	to->global_hosts = copy_strv(&from->global_hosts);
}
