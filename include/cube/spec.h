/* What a task is to do: the spec that travels from CLI to worker, and its checks. */
#ifndef CUBE_SPEC_H
#define CUBE_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/err.h"
#include "cube/mem.h"
#include "cube/msg.h"

#define CUBE_GRACE_MS 10000u

struct cube_spec {             /* zero-initialise; owns its strings */
	char *name;            /* NULL or 1..255 bytes */
	struct cube_strv argv; /* at least one word; any bytes but NUL */
	struct cube_strv env;  /* "K=V", K a POSIX name; later ones win */
	char *dir;             /* NULL: home, or the scratch folder where files are pushed */
	uint64_t timeout_ms;   /* 0: none */
	uint32_t grace_ms;
	bool has_stdin;
	bool login; /* with the environment of the user's login shell */
	struct cube_msg_file *files;
	uint32_t nfiles;
};

void cube_spec_done(struct cube_spec *spec);
/* 0, or CUBE_EUSAGE/CUBE_ETOOBIG whose message begins with the field's name ("argv: ..."). */
int cube_spec_check(const struct cube_spec *spec, struct cube_err *err);
/* Checks one "K=V" (or K alone: error); used for -e and for each line of an env file. */
int cube_spec_check_env(const char *entry, struct cube_err *err);
/* An env file: K=V lines, # comments, empty lines, CRLF tolerated; appended to env. Messages
 * carry name:line. */
int cube_spec_parse_env_file(struct cube_strv *env, const char *text, size_t n, const char *name,
			     struct cube_err *err);
/* A signal's number from "INT", "SIGINT" or "2"; 0 where unknown; and its name without SIG. */
int cube_spec_signal(const char *name);
const char *cube_spec_signal_name(int signo); /* "KILL"; "?" for an unknown one */

#endif
