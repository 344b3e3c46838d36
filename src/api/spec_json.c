#include "spec_json.h"

#include "cube/api.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cube/sha256.h"
#include "cube/text.h"

#define SECONDS_MAX 315360000.0 /* ten years */
#define GRACE_MAX   4000000.0
#define BYTES_MAX   (16u << 20)

json_t *cube_bytes_to_json(const void *bytes, size_t n) {
	if (cube_text_is_utf8(bytes, n)) return json_stringn(bytes, n);
	struct cube_buf b;
	cube_buf_init(&b, n * 2 + 8);
	json_t *v = NULL;
	if (cube_text_base64(&b, bytes, n) == 0)
		v = json_pack("{s:s%}", "base64", (const char *)cube_buf_data(&b),
			      cube_buf_len(&b));
	cube_buf_done(&b);
	return v;
}

static int from_base64(const char *text, size_t n, const char *field, char **ret,
		       struct cube_err *err) {
	struct cube_buf b;
	struct cube_err why;
	cube_buf_init(&b, BYTES_MAX);
	int rc = cube_text_unbase64(&b, text, n, &why);
	if (rc) {
		cube_fail(err, rc, "%s: %s", field, why.msg);
	} else if (memchr(cube_buf_data(&b), 0, cube_buf_len(&b))) {
		rc = cube_fail(err, CUBE_EUSAGE, "%s: holds a NUL byte", field);
	} else {
		*ret = cube_strndup((const char *)cube_buf_data(&b), cube_buf_len(&b));
	}
	cube_buf_done(&b);
	return rc;
}

int cube_bytes_from_json(const json_t *value, const char *field, char **ret, struct cube_err *err) {
	if (json_is_string(value)) {
		if (memchr(json_string_value(value), 0, json_string_length(value)))
			return cube_fail(err, CUBE_EUSAGE, "%s: holds a NUL byte", field);
		*ret = cube_strndup(json_string_value(value), json_string_length(value));
		return 0;
	}
	const json_t *b = json_object_get(value, "base64");
	if (json_is_string(b) && json_object_size(value) == 1)
		return from_base64(json_string_value(b), json_string_length(b), field, ret, err);
	return cube_fail(err, CUBE_EUSAGE, "%s: must be a string or {\"base64\": \"...\"}", field);
}

/* --- reading --- */

/* The field's value; NULL where it is absent or null. */
static const json_t *get(const json_t *object, const char *field) {
	const json_t *v = json_object_get(object, field);
	return json_is_null(v) ? NULL : v;
}

static int read_argv(struct cube_spec *spec, const json_t *v, struct cube_err *err) {
	if (!json_is_array(v))
		return cube_fail(err, CUBE_EUSAGE, "argv: must be an array of strings");
	for (size_t i = 0; i < json_array_size(v); i++) {
		char *word;
		int rc = cube_bytes_from_json(json_array_get(v, i), "argv", &word, err);
		if (rc) return rc;
		cube_strv_add(&spec->argv, word);
		free(word);
	}
	return 0;
}

static int read_env(struct cube_spec *spec, const json_t *v, struct cube_err *err) {
	if (!v) return 0;
	if (!json_is_object(v))
		return cube_fail(err, CUBE_EUSAGE, "env: must be an object of names and values");
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)v, key, value) {
		char *text;
		int rc = cube_bytes_from_json(value, "env", &text, err);
		if (rc) return rc;
		/* With '=' in the key the entry would read as another variable. */
		if (strchr(key, '='))
			rc = cube_fail(err, CUBE_EUSAGE, "env: '%.64s' is no name", key);
		if (!rc) {
			char *entry = cube_strf("%s=%s", key, text);
			cube_strv_add(&spec->env, entry);
			free(entry);
		}
		free(text);
		if (rc) return rc;
	}
	return 0;
}

static int read_seconds(const json_t *v, const char *field, double max, double *ret,
			struct cube_err *err) {
	if (!v) return 0;
	double s = json_is_number(v) ? json_number_value(v) : -1;
	if (!(s >= 0 && s <= max))
		return cube_fail(err, CUBE_EUSAGE, "%s: must be a number of 0..%.0f seconds", field,
				 max);
	/* Something short must not become nothing, which means something else. */
	*ret = s > 0 && s < 0.001 ? 1 : round(s * 1000);
	return 0;
}

static int read_file(struct cube_msg_file *file, const json_t *v, struct cube_err *err) {
	const json_t *sha256 = get(v, "sha256"), *name = get(v, "name"), *mode = get(v, "mode");
	const char *key;
	json_t *value;
	if (!json_is_object(v))
		return cube_fail(err, CUBE_EUSAGE, "files: must be an array of objects");
	json_object_foreach((json_t *)v, key, value) {
		if (strcmp(key, "sha256") && strcmp(key, "name") && strcmp(key, "mode"))
			return cube_fail(err, CUBE_EUSAGE, "files.%.64s: unknown field", key);
	}
	if (!json_is_string(sha256) || cube_sha256_unhex(json_string_value(sha256), file->sha256))
		return cube_fail(err, CUBE_EUSAGE,
				 "files.sha256: must be 64 lower-case hex digits");
	size_t n = json_string_length(name);
	if (!json_is_string(name) || n == 0 || n >= sizeof file->name ||
	    memchr(json_string_value(name), 0, n))
		return cube_fail(err, CUBE_EUSAGE, "files.name: must be a file name of 1..%d bytes",
				 CUBE_NAME_LEN - 1);
	memcpy(file->name, json_string_value(name), n);
	json_int_t m = mode ? json_integer_value(mode) : 0644;
	if ((mode && !json_is_integer(mode)) || m < 0 || m > 07777)
		return cube_fail(err, CUBE_EUSAGE, "files.mode: must be an integer of 0..%d",
				 07777);
	file->mode = (uint32_t)m;
	return 0;
}

static int read_files(struct cube_spec *spec, const json_t *v, struct cube_err *err) {
	size_t n = json_array_size(v);
	if (!v) return 0;
	if (!json_is_array(v))
		return cube_fail(err, CUBE_EUSAGE, "files: must be an array of objects");
	if (n > CUBE_FILES_MAX)
		return cube_fail(err, CUBE_EUSAGE, "files: at most %u are possible",
				 CUBE_FILES_MAX);
	if (n) spec->files = cube_alloc(n * sizeof *spec->files);
	for (; spec->nfiles < n; spec->nfiles++) {
		int rc =
			read_file(&spec->files[spec->nfiles], json_array_get(v, spec->nfiles), err);
		if (rc) return rc;
	}
	return 0;
}

static int read_rest(struct cube_spec *spec, const json_t *object, struct cube_err *err) {
	const json_t *dir = get(object, "dir"), *name = get(object, "name"),
		     *in = get(object, "stdin"), *login = get(object, "login");
	double timeout = 0, grace = CUBE_GRACE_MS;
	int rc = read_seconds(get(object, "timeout"), "timeout", SECONDS_MAX, &timeout, err);
	if (!rc) rc = read_seconds(get(object, "grace"), "grace", GRACE_MAX, &grace, err);
	if (!rc && dir) rc = cube_bytes_from_json(dir, "dir", &spec->dir, err);
	if (rc) return rc;
	spec->timeout_ms = (uint64_t)timeout;
	spec->grace_ms = (uint32_t)grace;
	if (name && !json_is_string(name))
		return cube_fail(err, CUBE_EUSAGE, "name: must be a string");
	if (name && strlen(json_string_value(name)) != json_string_length(name))
		return cube_fail(err, CUBE_EUSAGE, "name: holds a NUL byte");
	if (name) spec->name = cube_strdup(json_string_value(name));
	if (in && !json_is_boolean(in))
		return cube_fail(err, CUBE_EUSAGE, "stdin: must be true or false");
	spec->has_stdin = json_is_true(in);
	if (login && !json_is_boolean(login))
		return cube_fail(err, CUBE_EUSAGE, "login: must be true or false");
	spec->login = json_is_true(login);
	return 0;
}

int cube_spec_from_json(struct cube_spec *spec, const json_t *object, struct cube_err *err) {
	struct cube_spec s = {0};
	int rc = 0;
	if (!json_is_object(object))
		return cube_fail(err, CUBE_EUSAGE, "a JSON object is expected");
	if (!get(object, "argv")) return cube_fail(err, CUBE_EUSAGE, "argv: is required");
	rc = read_argv(&s, get(object, "argv"), err);
	if (!rc) rc = read_env(&s, get(object, "env"), err);
	if (!rc) rc = read_files(&s, get(object, "files"), err);
	if (!rc) rc = read_rest(&s, object, err);
	if (!rc) rc = cube_spec_check(&s, err);
	if (rc) cube_spec_done(&s);
	else *spec = s;
	return rc;
}

/* --- writing --- */

static json_t *seconds(uint64_t ms) {
	if (ms % 1000 == 0) return json_integer((json_int_t)(ms / 1000));
	return json_real((double)ms / 1000);
}

static json_t *env_to_json(const struct cube_strv *env) {
	json_t *o = json_object();
	for (size_t i = 0; i < env->len; i++) {
		const char *eq = strchr(env->v[i], '=');
		if (!eq) continue;
		char *key = cube_strndup(env->v[i], (size_t)(eq - env->v[i]));
		json_object_set_new(o, key, cube_bytes_to_json(eq + 1, strlen(eq + 1)));
		free(key);
	}
	return o;
}

static json_t *files_to_json(const struct cube_spec *spec) {
	json_t *a = json_array();
	char hex[CUBE_SHA256_HEX];
	for (uint32_t i = 0; i < spec->nfiles; i++) {
		const struct cube_msg_file *f = &spec->files[i];
		cube_sha256_hex(f->sha256, hex);
		json_t *o = json_pack("{s:s}", "sha256", hex);
		json_object_set_new(o, "name", cube_bytes_to_json(f->name, strlen(f->name)));
		json_object_set_new(o, "mode", json_integer(f->mode));
		json_array_append_new(a, o);
	}
	return a;
}

json_t *cube_spec_to_json(const struct cube_spec *spec) {
	json_t *o = json_object(), *argv = json_array();
	for (size_t i = 0; i < spec->argv.len; i++)
		json_array_append_new(argv,
				      cube_bytes_to_json(spec->argv.v[i], strlen(spec->argv.v[i])));
	json_object_set_new(o, "argv", argv);
	if (spec->env.len) json_object_set_new(o, "env", env_to_json(&spec->env));
	if (spec->dir)
		json_object_set_new(o, "dir", cube_bytes_to_json(spec->dir, strlen(spec->dir)));
	if (spec->timeout_ms) json_object_set_new(o, "timeout", seconds(spec->timeout_ms));
	json_object_set_new(o, "grace", seconds(spec->grace_ms));
	if (spec->name) json_object_set_new(o, "name", json_string(spec->name));
	if (spec->has_stdin) json_object_set_new(o, "stdin", json_true());
	if (spec->login) json_object_set_new(o, "login", json_true());
	if (spec->nfiles) json_object_set_new(o, "files", files_to_json(spec));
	return o;
}

int cube_api_spec_read(const char *text, struct cube_spec *ret, struct cube_strv *ret_nodes,
		       struct cube_err *err) {
	json_t *o = json_loads(text, 0, NULL), *name;
	size_t i;
	int rc = cube_spec_from_json(ret, o, err);
	if (!json_is_true(json_object_get(o, "all")))
		json_array_foreach(json_object_get(o, "nodes"), i, name) cube_strv_add(
			ret_nodes, json_is_string(name) ? json_string_value(name) : "");
	json_decref(o);
	return rc;
}
