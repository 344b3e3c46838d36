#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cube/spec.h"
#include "quote.h"

/* All words of a spec travel in one START frame. That leaves room for its fixed fields and files,
 * and for the variables cube itself adds to the environment. */
enum { WORD_BYTES_MAX = (1 << 20) - 64 * 1024, WORDS_MAX = CUBE_WORDS_MAX - 64 };

struct size {
	size_t words, bytes;
};

void cube_spec_done(struct cube_spec *spec) {
	if (!spec) return;
	free(spec->name);
	cube_strv_done(&spec->argv);
	cube_strv_done(&spec->env);
	free(spec->dir);
	free(spec->files);
	*spec = (struct cube_spec){0};
}

static size_t name_length(const char *entry) {
	size_t n = 0;

	while ((entry[n] >= 'A' && entry[n] <= 'Z') || (entry[n] >= 'a' && entry[n] <= 'z') ||
	       entry[n] == '_' || (n > 0 && entry[n] >= '0' && entry[n] <= '9'))
		n++;
	return n;
}

int cube_spec_check_env(const char *entry, struct cube_err *err) {
	size_t n = name_length(entry);
	struct cube_quote q;

	if (n > 0 && entry[n] == '=') return 0;
	if (n > 0 && entry[n] == '\0')
		return cube_fail(err, CUBE_EUSAGE, "%s has no value: write %.60s=VALUE",
				 cube_quote(&q, entry), entry);
	return cube_fail(err, CUBE_EUSAGE,
			 "%s is not NAME=VALUE with a name of letters, digits and _",
			 cube_quote(&q, entry));
}

/* Adds the words to *sum as they will lie in the frame. */
static int check_words(const struct cube_strv *words, const char *field, struct size *sum,
		       struct cube_err *err) {
	for (size_t i = 0; i < words->len; i++) {
		sum->bytes += 4 + strlen(words->v[i]);
		if (++sum->words > WORDS_MAX)
			return cube_fail(err, CUBE_ETOOBIG,
					 "%s: arguments and environment exceed %d words", field,
					 WORDS_MAX);
		if (sum->bytes > WORD_BYTES_MAX)
			return cube_fail(err, CUBE_ETOOBIG,
					 "%s: arguments and environment exceed %d bytes", field,
					 WORD_BYTES_MAX);
	}
	return 0;
}

static int check_name(const char *name, struct cube_err *err) {
	size_t n;

	if (!name) return 0;
	n = strlen(name);
	if (n == 0) return cube_fail(err, CUBE_EUSAGE, "name: is empty");
	if (n >= CUBE_NAME_LEN)
		return cube_fail(err, CUBE_ETOOBIG, "name: %zu bytes, at most %d are possible", n,
				 CUBE_NAME_LEN - 1);
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			struct cube_quote q;

			return cube_fail(err, CUBE_EUSAGE, "name: control characters in %s",
					 cube_quote(&q, name));
		}
	return 0;
}

static int check_dir(const char *dir, struct cube_err *err) {
	if (!dir) return 0;
	if (!*dir) return cube_fail(err, CUBE_EUSAGE, "dir: is empty");
	if (strlen(dir) >= CUBE_PATH_LEN)
		return cube_fail(err, CUBE_ETOOBIG, "dir: longer than %d bytes", CUBE_PATH_LEN - 1);
	return 0;
}

static int check_file(const struct cube_msg_file *file, struct cube_err *err) {
	struct cube_quote q;
	size_t n = strnlen(file->name, sizeof file->name);

	if (n == 0 || n == sizeof file->name || !strcmp(file->name, ".") ||
	    !strcmp(file->name, "..") || memchr(file->name, '/', n))
		return cube_fail(err, CUBE_EUSAGE, "files: %s is not a plain file name",
				 cube_quote_n(&q, file->name, n));
	if (file->mode > 07777)
		return cube_fail(err, CUBE_EUSAGE, "files: mode %" PRIo32 " of %s is over 7777",
				 file->mode, cube_quote(&q, file->name));
	return 0;
}

static int check_files(const struct cube_spec *spec, struct cube_err *err) {
	if (spec->nfiles > CUBE_FILES_MAX)
		return cube_fail(err, CUBE_ETOOBIG, "files: %" PRIu32 ", at most %u are possible",
				 spec->nfiles, CUBE_FILES_MAX);
	for (uint32_t i = 0; i < spec->nfiles; i++) {
		int r = check_file(&spec->files[i], err);

		if (r < 0) return r;
		for (uint32_t k = 0; k < i; k++) {
			struct cube_quote q;

			if (!strcmp(spec->files[k].name, spec->files[i].name))
				return cube_fail(err, CUBE_EUSAGE, "files: %s is there twice",
						 cube_quote(&q, spec->files[i].name));
		}
	}
	return 0;
}

int cube_spec_check(const struct cube_spec *spec, struct cube_err *err) {
	struct cube_err why;
	struct size sum = {0};
	int r;

	if ((r = check_name(spec->name, err)) < 0) return r;
	if (spec->argv.len == 0) return cube_fail(err, CUBE_EUSAGE, "argv: there is no command");
	if (!*spec->argv.v[0]) return cube_fail(err, CUBE_EUSAGE, "argv: the command is empty");
	if ((r = check_words(&spec->argv, "argv", &sum, err)) < 0) return r;
	if ((r = check_words(&spec->env, "env", &sum, err)) < 0) return r;
	for (size_t i = 0; i < spec->env.len; i++)
		if ((r = cube_spec_check_env(spec->env.v[i], &why)) < 0)
			return cube_fail(err, r, "env: %s", why.msg);
	if ((r = check_dir(spec->dir, err)) < 0) return r;
	return check_files(spec, err);
}

/* One line of an env file, cut to what counts; false when nothing does. */
static bool env_line(const char *p, const char *end, const char **ret, size_t *ret_len) {
	if (end > p && end[-1] == '\r') end--;
	while (p < end && (*p == ' ' || *p == '\t')) p++;
	if (p == end || *p == '#') return false;
	*ret = p;
	*ret_len = (size_t)(end - p);
	return true;
}

int cube_spec_parse_env_file(struct cube_strv *env, const char *text, size_t n, const char *name,
			     struct cube_err *err) {
	struct cube_strv found = {0};
	struct cube_err why = {0};
	const char *end;
	int r = 0;

	if (n == 0) return 0;
	end = text + n;
	if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3; /* byte order mark */
	for (size_t line = 1; text < end && r == 0; line++) {
		const char *nl = memchr(text, '\n', (size_t)(end - text)), *entry;
		size_t len;

		if (env_line(text, nl ? nl : end, &entry, &len)) {
			cube_strv_addn(&found, entry, len);
			if (memchr(entry, '\0', len))
				r = cube_fail(&why, CUBE_EUSAGE, "a NUL byte");
			else r = cube_spec_check_env(found.v[found.len - 1], &why);
			if (r < 0) cube_fail(err, r, "%s:%zu: %s", name, line, why.msg);
		}
		text = nl ? nl + 1 : end;
	}
	for (size_t i = 0; r == 0 && i < found.len; i++) cube_strv_add(env, found.v[i]);
	cube_strv_done(&found);
	return r;
}
