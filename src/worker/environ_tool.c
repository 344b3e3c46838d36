/* environ [MARK]: this process's environment, each entry ended by a NUL; with a mark before and
 * behind it, ended by a NUL too. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools.h"

static char *put(char *at, const char *text) {
	size_t n = strlen(text) + 1;

	memcpy(at, text, n);
	return at + n;
}

int environ_main(int argc, char **argv) {
	const char *mark = argc > 0 ? argv[0] : NULL;
	size_t n = mark ? 2 * (strlen(mark) + 1) : 0;
	char *text, *at;

	for (char **e = environ; *e; e++) n += strlen(*e) + 1;
	text = malloc(n + 1);
	if (!text) return 1;
	at = mark ? put(text, mark) : text;
	for (char **e = environ; *e; e++) at = put(at, *e);
	if (mark) put(at, mark);
	for (at = text; n;) {
		ssize_t done = write(1, at, n);

		if (done < 0 && errno == EINTR) continue;
		if (done < 0) break;
		at += done;
		n -= (size_t)done;
	}
	free(text);
	return n > 0;
}
