/* What ssh would do without a configuration: for machines that have no OpenSSH. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cube/ssh_config.h"
#include "ssh_keywords.h"

struct settings {
	struct cube_ssh_config *config;
	bool seen[CUBE_SSH_KEYS_MAX];
};

static bool *seen(struct settings *s, const char *key) {
	return &s->seen[cube_ssh_config_key(key, strlen(key))];
}

/* Of the two ways through another host the first one named is taken; as in ssh, no jump leaves the
 * command, and no command takes the jump along. */
static void see(struct settings *s, int key, bool none) {
	bool *jump = seen(s, "proxyjump"), *command = seen(s, "proxycommand");
	s->seen[key] = true;
	if (&s->seen[key] == command) *jump = true;
	if (&s->seen[key] == jump && !none) *command = true;
}

/* "Key=Value" of -o: as in ssh the first one counts, but that there may be several key files. What
 * only the ssh program can do is refused. */
static int apply(struct settings *s, const char *option, struct cube_err *err) {
	const char *value = strchr(option, '=');
	int key = value ? cube_ssh_config_key(option, (size_t)(value - option)) : -1;
	size_t named = strcspn(option, "=");
	const struct cube_ssh_keyword *known = cube_ssh_keyword_find(option, named);
	if (value && key < 0 && known &&
	    !cube_ssh_keyword_needs(known, value + 1, strlen(value + 1)))
		return 0;
	if (value && key < 0)
		return cube_fail(err, CUBE_EUSAGE,
				 "-o %.*s needs OpenSSH's ssh, which is not installed",
				 named > 40 ? 40 : (int)named, option);
	if (key < 0) return 0;
	if (strchr("+-^", value[1]) && value[1])
		return cube_fail(err, CUBE_EUSAGE,
				 "-o %.80s: + - and ^ need OpenSSH's ssh, which is not installed",
				 option);
	size_t n = strlen(++value);
	if (n > 1 && value[0] == '"' && value[n - 1] == '"') value++, n -= 2;
	bool list = &s->seen[key] == seen(s, "identityfile") ||
		    &s->seen[key] == seen(s, "certificatefile");
	if (!n || (s->seen[key] && !list)) return 0;
	see(s, key, !strcasecmp(value, "none"));
	int rc = cube_ssh_config_set(s->config, key, value, n, err);
	return rc < 0 ? cube_wrap(err, "-o %.40s", option) : 0;
}

static int apply_all(struct settings *s, const struct cube_ssh_question *q, struct cube_err *err) {
	int rc = 0;
	*seen(s, "user") = q->user != NULL;
	*seen(s, "port") = q->port != 0;
	if (q->jump) see(s, cube_ssh_config_key("proxyjump", 9), !strcasecmp(q->jump, "none"));
	for (size_t i = 0; rc == 0 && q->options && i < q->options->len; i++)
		rc = apply(s, q->options->v[i], err);
	return rc;
}

static void add_key_files(struct cube_ssh_config *c, const char *home) {
	static const char *const FILES[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
	for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++) {
		cube_autofree char *path = cube_strf("%s/.ssh/%s", home, FILES[i]);
		cube_strv_add(&c->identities, path);
	}
}

static void add_rest(struct settings *s, const char *host) {
	struct cube_ssh_config *c = s->config;
	cube_autofree char *home = cube_ssh_home();
	cube_autofree char *hosts = cube_strf("%s/.ssh/known_hosts", home);
	struct passwd *pw = c->user ? NULL : getpwuid(getuid());
	const char *user = pw ? pw->pw_name : getenv("USER");
	char *name = c->hostname;
	c->hostname = cube_ssh_config_hostname(name ? name : "%h", host);
	free(name);
	if (!c->user) c->user = cube_strdup(user ? user : "root");
	if (!c->port) c->port = 22;
	if (!*seen(s, "identityfile")) add_key_files(c, home);
	if (!*seen(s, "userknownhostsfile")) cube_strv_add(&c->user_hosts, hosts);
	if (!*seen(s, "globalknownhostsfile"))
		cube_strv_add(&c->global_hosts, "/etc/ssh/ssh_known_hosts");
}

int cube_ssh_config_default(const struct cube_ssh_question *q, struct cube_ssh_config *ret,
			    struct cube_err *err) {
	struct cube_ssh_config c = {.user = cube_strdup(q->user), .port = q->port};
	struct settings s = {.config = &c};
	if (q->jump && strcasecmp(q->jump, "none") != 0) c.proxyjump = cube_strdup(q->jump);
	int rc = apply_all(&s, q, err);
	if (rc < 0) {
		cube_ssh_config_done(&c);
		return rc;
	}
	add_rest(&s, q->host);
	*ret = c;
	return 0;
}
