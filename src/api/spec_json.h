/* Task specs and bytes between JSON and structs (API.md). jansson. */
#ifndef CUBE_SPEC_JSON_H
#define CUBE_SPEC_JSON_H

#include <jansson.h>

#include "cube/err.h"
#include "cube/spec.h"

/* Reads the spec's fields (argv, env, dir, timeout, grace, name, stdin, files) out of an object and
 * checks them; other keys are left to the caller. Message begins with the field's name. */
int cube_spec_from_json(struct cube_spec *spec, const json_t *object, struct cube_err *err);
/* A new reference; the same fields, so that from_json gives the same spec. */
json_t *cube_spec_to_json(const struct cube_spec *spec);

/* A string, or {"base64": ...} where the bytes are not UTF-8. */
json_t *cube_bytes_to_json(const void *bytes, size_t n);
/* The bytes as a fresh C string (no NUL inside); field names the field in the message. */
int cube_bytes_from_json(const json_t *value, const char *field, char **ret, struct cube_err *err);

#endif
