#include "taskopts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/sha256.h"
#include "cube/spec.h"
#include "readfile.h"

#define ENV_FILE_MAX (1u << 20)
#define PUSH_MAX     (4ull << 30)

#define AT(member) offsetof(struct cube_task_options, member)
const struct cube_option cube_task_option_rows[] = {
	{"env", NULL, 'e', CUBE_OPT_LIST, AT(env), "K=V",
	 "environment; K alone takes the value here"},
	{"env-file", NULL, 0, CUBE_OPT_LIST, AT(env_file), "FILE", "K=V lines"},
	{"workdir", NULL, 'C', CUBE_OPT_STRING, AT(dir), "DIR",
	 "folder to run in; else the home, or the scratch folder where files are pushed"},
	{"push", NULL, 0, CUBE_OPT_LIST, AT(push), "FILE",
	 "put FILE into the task's scratch folder; sent once per host and content"},
	{"timeout", NULL, 0, CUBE_OPT_DURATION, AT(timeout), "TIME",
	 "stop it after this: 90s 10m 1h30m"},
	{"grace", NULL, 0, CUBE_OPT_DURATION, AT(grace), "TIME",
	 "between TERM and KILL when it is stopped (10s where not given)"},
	{"name", NULL, 0, CUBE_OPT_STRING, AT(name), "NAME", "for people, in `cube ps`"},
	{"login", NULL, 0, CUBE_OPT_FLAG, AT(login), NULL,
	 "with the environment that the user's login shell has there"},
	{0},
};

const struct cube_option cube_print_option_rows[] = {
	{"no-prefix", NULL, 'N', CUBE_OPT_FLAG, offsetof(struct cube_print_options, no_prefix),
	 NULL, "no `host: ` before the lines"},
	{"fold", NULL, 'b', CUBE_OPT_FLAG, offsetof(struct cube_print_options, fold), NULL,
	 "print equal outputs once, at the end, under the folded names of their hosts"},
	{0},
};

int cube_env_word(struct cube_strv *env, const char *word, struct cube_err *err) {
	if (!strchr(word, '=') && *word) {
		const char *value = getenv(word);
		if (!value)
			return cube_fail(err, CUBE_EUSAGE, "--env: %.80s is not set here", word);
		cube_autofree char *both = cube_strf("%s=%s", word, value);
		return cube_env_word(env, both, err);
	}
	int rc = cube_spec_check_env(word, err);
	if (rc) return cube_wrap(err, "--env");
	cube_strv_add(env, word);
	return 0;
}

/* Files first, then the words: later ones win. */
static int collect_env(const struct cube_task_options *o, struct cube_strv *env,
		       struct cube_err *err) {
	int rc = 0;
	for (size_t i = 0; !rc && i < o->env_file.len; i++) {
		cube_autofree char *text = NULL;
		size_t n;
		rc = cube_read_file(o->env_file.v[i], ENV_FILE_MAX, &text, &n, err);
		if (!rc) rc = cube_spec_parse_env_file(env, text, n, o->env_file.v[i], err);
		if (rc) cube_wrap(err, "--env-file");
	}
	for (size_t i = 0; !rc && i < o->env.len; i++) rc = cube_env_word(env, o->env.v[i], err);
	return rc;
}

static json_t *env_json(const struct cube_strv *env) {
	json_t *object = json_object();
	for (size_t i = 0; i < env->len; i++) {
		const char *eq = strchr(env->v[i], '=');
		cube_autofree char *key = cube_strndup(env->v[i], (size_t)(eq - env->v[i]));
		json_object_set_new(object, key, cube_json_bytes(eq + 1, strlen(eq + 1)));
	}
	return object;
}

static int hash_file(int fd, char hex[CUBE_SHA256_HEX], uint64_t *ret_size, struct cube_err *err) {
	enum { BLOCK = 1 << 18 };
	cube_autofree uint8_t *block = cube_alloc(BLOCK);
	uint8_t digest[CUBE_SHA256_LEN];
	struct cube_sha256 s;
	uint64_t size = 0;
	cube_sha256_init(&s);
	for (;;) {
		ssize_t n = pread(fd, block, BLOCK, (off_t)size);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return cube_fail_sys(err, errno, "reading");
		if (n == 0) break;
		cube_sha256_update(&s, block, (size_t)n);
		size += (uint64_t)n;
		if (size > PUSH_MAX) return cube_fail(err, CUBE_ETOOBIG, "larger than 4 GiB");
	}
	cube_sha256_final(&s, digest);
	cube_sha256_hex(digest, hex);
	*ret_size = size;
	return 0;
}

static int push_open(struct cube_cli *cli, int fd, const char *path, json_t *files,
		     struct cube_err *err) {
	char hex[CUBE_SHA256_HEX];
	uint64_t size = 0;
	struct stat st;
	if (fstat(fd, &st) < 0) return cube_fail_sys(err, errno, "stat");
	if (!S_ISREG(st.st_mode)) return cube_fail(err, CUBE_EUSAGE, "is no regular file");
	int rc = hash_file(fd, hex, &size, err);
	if (rc) return rc;
	cube_autofree char *url = cube_strf("/v1/files/%s", hex);
	rc = cube_client_json(cli->client, "HEAD", url, NULL, NULL, err);
	if (rc == CUBE_ENOTFOUND) rc = cube_client_put(cli->client, url, fd, size, err);
	if (rc) return rc;
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	json_array_append_new(files, json_pack("{s:s,s:s,s:i}", "sha256", hex, "name", name, "mode",
					       (int)(st.st_mode & 0777)));
	return 0;
}

static int push(struct cube_cli *cli, const struct cube_strv *list, json_t *files,
		struct cube_err *err) {
	for (size_t i = 0; i < list->len; i++) {
		int fd = open(list->v[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		int rc = fd < 0 ? cube_fail_sys(err, errno, "open")
				: push_open(cli, fd, list->v[i], files, err);
		if (fd >= 0) close(fd);
		if (rc) return cube_wrap(err, "--push %.100s", list->v[i]);
	}
	return 0;
}

int cube_task_body(struct cube_cli *cli, const struct cube_task_options *o, char *const *words,
		   size_t n, json_t **ret_body, struct cube_err *err) {
	struct cube_strv env = {0};
	json_t *body = json_object(), *argv = json_array(), *files = json_array();
	int rc = collect_env(o, &env, err);
	if (!rc) rc = push(cli, &o->push, files, err);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(argv, cube_json_bytes(words[i], strlen(words[i])));
	json_object_set_new(body, "argv", argv);
	if (env.len) json_object_set_new(body, "env", env_json(&env));
	if (o->dir) json_object_set_new(body, "dir", cube_json_bytes(o->dir, strlen(o->dir)));
	if (!rc) rc = cube_json_set_text(body, "name", o->name, err);
	if (o->timeout != CUBE_OPT_UNSET)
		json_object_set_new(body, "timeout", json_real((double)o->timeout / 1e9));
	if (o->grace != CUBE_OPT_UNSET)
		json_object_set_new(body, "grace", json_real((double)o->grace / 1e9));
	if (o->login) json_object_set_new(body, "login", json_true());
	if (json_array_size(files)) json_object_set(body, "files", files);
	json_decref(files);
	cube_strv_done(&env);
	if (rc) json_decref(body);
	else *ret_body = body;
	return rc;
}
