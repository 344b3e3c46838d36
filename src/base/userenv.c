/* The environment's array is ours, with places for all the names at its end, so that a change is
 * one pointer stored: setenv(3) would move the array under a thread that reads it (the resolver's).
 * A text such a thread may stand on is never freed, but kept and used again; there are as many as
 * the user had sessions. */
#include "cube/userenv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/mem.h"

static const char *const NAMES[] = {
	"SSH_AUTH_SOCK", "SSH_SK_PROVIDER", "KRB5CCNAME", "KRB5_CONFIG",
	"DISPLAY",       "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS",
};
enum { COUNT = sizeof NAMES / sizeof NAMES[0] };

struct cube_userenv {
	char **before, **array;
	size_t fixed; /* entries that are none of ours; then those that are set, and NULLs */
	struct cube_strv kept; /* every text there was */
};

const char *cube_userenv_name(size_t i) {
	return i < COUNT ? NAMES[i] : NULL;
}

static bool is_of(const char *entry, const char *name) {
	size_t n = strlen(name);
	return !strncmp(entry, name, n) && entry[n] == '=';
}

static const char *name_of(const char *entry) {
	for (size_t i = 0; i < COUNT; i++)
		if (is_of(entry, NAMES[i])) return NAMES[i];
	return NULL;
}

static char *keep(struct cube_userenv *s, const char *text) {
	for (size_t i = 0; i < s->kept.len; i++)
		if (!strcmp(s->kept.v[i], text)) return s->kept.v[i];
	cube_strv_add(&s->kept, text);
	return s->kept.v[s->kept.len - 1];
}

static void store(char **place, char *text) {
	__atomic_store_n(place, text, __ATOMIC_RELEASE);
}

struct cube_userenv *cube_userenv_new(void) {
	struct cube_userenv *s = cube_alloc(sizeof *s);
	size_t n = 0, ours = 0;
	while (environ && environ[n]) n++;
	s->before = environ;
	s->array = cube_realloc_array(NULL, n + COUNT + 1, sizeof *s->array);
	memset(s->array, 0, (n + COUNT + 1) * sizeof *s->array);
	for (size_t i = 0; i < n; i++)
		if (!name_of(s->before[i])) s->array[s->fixed++] = s->before[i];
	for (size_t k = 0; k < COUNT; k++) {
		const char *value = getenv(NAMES[k]);
		cube_autofree char *text = value ? cube_strf("%s=%s", NAMES[k], value) : NULL;
		if (text) s->array[s->fixed + ours++] = keep(s, text);
	}
	environ = s->array;
	return s;
}

void cube_userenv_free(struct cube_userenv *s) {
	if (!s) return;
	environ = s->before;
	cube_strv_done(&s->kept);
	free(s->array);
	free(s);
}

/* The last one takes the place of one that goes. */
static bool unset(char **place, char **last) {
	if (!*place) return false;
	store(place, *last);
	store(last, NULL);
	return true;
}

bool cube_userenv_set(struct cube_userenv *s, const char *name, const char *value) {
	char **place = s->array + s->fixed, **end;
	bool known = false;
	for (size_t i = 0; i < COUNT; i++) known |= !strcmp(name, NAMES[i]);
	if (!known || (value && strlen(value) >= CUBE_SESSION_VALUE)) return false;
	while (*place && !is_of(*place, name)) place++;
	for (end = place; *end;) end++;
	if (!value) return unset(place, end > place ? end - 1 : place);
	cube_autofree char *text = cube_strf("%s=%s", name, value);
	if (*place && !strcmp(*place, text)) return false;
	store(place, keep(s, text));
	return true;
}
