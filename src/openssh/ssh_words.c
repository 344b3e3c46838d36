/* The %-words and ${NAME} that `ssh -G` prints as they were written. */
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/known_hash.h"
#include "cube/ssh_config.h"

enum { EXPANDED_MAX = 16 * 1024 };

struct words {
	const struct cube_ssh_config *config;
	const char *host; /* as written */
	bool jump;        /* in ProxyJump, which knows some of them only */
};

static int add_local(struct cube_buf *out, char what) {
	char name[HOST_NAME_MAX + 1] = "";
	if (what == 'i') return cube_buf_printf(out, "%lu", (unsigned long)getuid());
	if (what == 'u') {
		struct passwd *pw = getpwuid(getuid());
		return cube_buf_addstr(out, pw ? pw->pw_name : "");
	}
	if (what == 'd') {
		cube_autofree char *home = cube_ssh_home();
		return cube_buf_addstr(out, home);
	}
	gethostname(name, sizeof name - 1);
	if (what == 'L') name[strcspn(name, ".")] = 0;
	return cube_buf_addstr(out, name);
}

/* SHA-1 of the local host's name, and of host, port, user and jump host. */
static int add_hash(struct cube_buf *out, const struct cube_ssh_config *c) {
	char name[HOST_NAME_MAX + 1] = "";
	uint8_t sum[CUBE_SHA1_LEN];
	int rc = 0;
	if (c->hash) return cube_buf_addstr(out, c->hash);
	gethostname(name, sizeof name - 1);
	cube_autofree char *all = cube_strf("%s%s%u%s%s", name, c->hostname, c->port, c->user,
					    c->proxyjump ? c->proxyjump : "");
	cube_known_sha1(all, strlen(all), sum);
	for (int i = 0; i < CUBE_SHA1_LEN && rc == 0; i++)
		rc = cube_buf_printf(out, "%02x", sum[i]);
	return rc;
}

static int add_word(struct cube_buf *out, const struct words *w, char what) {
	const struct cube_ssh_config *c = w->config;
	if (strchr(w->jump ? "" : "iudlL", what)) return add_local(out, what);
	switch (what) {
	case '%': return cube_buf_addstr(out, "%");
	case 'h': return cube_buf_addstr(out, c->hostname);
	case 'C': return w->jump ? cube_buf_addstr(out, "%C") : add_hash(out, c);
	case 'n': return cube_buf_addstr(out, w->host);
	case 'p': return cube_buf_printf(out, "%u", c->port);
	case 'r': return cube_buf_addstr(out, c->user);
	case 'j': return cube_buf_addstr(out, c->proxyjump ? c->proxyjump : "");
	case 'k': return cube_buf_addstr(out, c->hostkeyalias ? c->hostkeyalias : w->host);
	default: return cube_buf_printf(out, "%%%c", what);
	}
}

/* "${NAME}" at p: its length, or 0 where it is none. */
static size_t environment(const char *p, const char **ret_value) {
	const char *end = p[0] == '$' && p[1] == '{' ? strchr(p, '}') : NULL;
	if (!end) return 0;
	cube_autofree char *name = cube_strndup(p + 2, (size_t)(end - p - 2));
	*ret_value = getenv(name);
	return (size_t)(end - p + 1);
}

static char *expand(const char *text, const struct words *w) {
	struct cube_buf out;
	const char *value = NULL;
	int rc = 0;
	if (!strpbrk(text, "%$")) return cube_strdup(text);
	cube_buf_init(&out, EXPANDED_MAX);
	while (*text && rc == 0) {
		size_t n = w->jump ? 0 : environment(text, &value);
		if (n) {
			rc = cube_buf_addstr(&out, value ? value : "");
			text += n;
		} else if (*text == '%' && text[1]) {
			rc = add_word(&out, w, text[1]);
			text += 2;
		} else {
			rc = cube_buf_add(&out, text++, 1);
		}
	}
	char *full = rc == 0 ? cube_buf_take(&out, NULL) : NULL;
	cube_buf_done(&out);
	return full ? full : cube_strdup("");
}

char *cube_ssh_config_hostname(const char *name, const char *host) {
	struct cube_ssh_config c = {.hostname = (char *)host};
	struct words w = {.config = &c, .host = host, .jump = true};
	struct cube_buf out;
	int rc = 0;
	cube_buf_init(&out, EXPANDED_MAX);
	for (; *name && rc == 0; name++) {
		bool word = *name == '%' && (name[1] == 'h' || name[1] == '%');
		rc = word ? add_word(&out, &w, *++name) : cube_buf_add(&out, name, 1);
	}
	char *full = rc == 0 ? cube_buf_take(&out, NULL) : NULL;
	cube_buf_done(&out);
	return full ? full : cube_strdup(host);
}

static void expand_list(struct cube_strv *list, const struct words *w) {
	for (size_t i = 0; i < list->len; i++) {
		char *full = expand(list->v[i], w);
		free(list->v[i]);
		list->v[i] = full;
	}
}

void cube_ssh_config_expand_rest(struct cube_ssh_config *c, const char *host) {
	struct words w = {.config = c, .host = host};
	expand_list(&c->user_hosts, &w);
	if (!c->identityagent) return;
	char *full = expand(c->identityagent, &w);
	free(c->identityagent);
	c->identityagent = full;
}

void cube_ssh_config_expand(struct cube_ssh_config *c, const char *host) {
	struct words w = {.config = c, .host = host};
	expand_list(&c->identities, &w);
	expand_list(&c->certificates, &w);
	if (!c->proxyjump) return;
	w.jump = true;
	char *full = expand(c->proxyjump, &w);
	free(c->proxyjump);
	c->proxyjump = full;
}
