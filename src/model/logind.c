#include "cube/format.h"
#include "cube/logind.h"

#include <string.h>
#include <strings.h>

static bool is_yes(const char *s) {
	return !strcasecmp(s, "yes") || !strcasecmp(s, "true") || !strcasecmp(s, "on") ||
	       !strcmp(s, "1") || !strcasecmp(s, "y") || !strcasecmp(s, "t");
}

static void assign(struct cube_logind *l, const char *key, const char *value) {
	if (!strcmp(key, "KillUserProcesses")) l->kill = is_yes(value);
	if (!strcmp(key, "KillExcludeUsers")) {
		l->has_exclude = true;
		cube_format(l->exclude, sizeof l->exclude, "%s", value);
	}
	if (!strcmp(key, "KillOnlyUsers")) cube_format(l->only, sizeof l->only, "%s", value);
}

static void read_line(struct cube_logind *l, char *line, bool *in_login) {
	line += strspn(line, " \t");
	size_t n = strlen(line);
	while (n && strchr(" \t\r", line[n - 1])) line[--n] = 0;
	if (*line == '[') *in_login = !strcmp(line, "[Login]");
	char *eq = strchr(line, '=');
	if (!*in_login || !eq || strchr("#;", *line)) return;
	char *end = eq;
	while (end > line && strchr(" \t", end[-1])) end--;
	*end = 0;
	assign(l, line, eq + 1 + strspn(eq + 1, " \t"));
}

void cube_logind_read(struct cube_logind *l, const char *text) {
	bool in_login = false;
	char line[1024];
	while (*text) {
		size_t n = strcspn(text, "\n");
		cube_format(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : sizeof line - 1),
			    text);
		read_line(l, line, &in_login);
		text += n + (text[n] == '\n');
	}
}

static bool listed(const char *list, const char *user) {
	size_t n = strlen(user);
	for (; *list; list += strcspn(list, " \t")) {
		list += strspn(list, " \t");
		if (!strncmp(list, user, n) && strchr(" \t", list[n])) return true;
	}
	return false;
}

bool cube_logind_kills(const struct cube_logind *l, const char *user) {
	if (!l->kill || listed(l->has_exclude ? l->exclude : "root", user)) return false;
	return !*l->only || listed(l->only, user);
}

/* "0::/user.slice/user-1000.slice/session-3.scope" */
bool cube_logind_is_session(const char *cgroup) {
	static const char SESSION[] = "/session-";
	const char *at = strchr(cgroup, '/');
	while (at && strncmp(at, SESSION, sizeof SESSION - 1) != 0) at = strchr(at + 1, '/');
	return at && strncmp(at + strcspn(at, ".\n"), ".scope", 6) == 0;
}
