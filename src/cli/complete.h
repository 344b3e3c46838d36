/* Completing a command line in a shell: what may stand for the word under the cursor. */
#ifndef CUBE_CLI_COMPLETE_H
#define CUBE_CLI_COMPLETE_H

#include "cli.h"

/* What a word can be; bits. */
enum cube_word {
	CUBE_WORD_HOST = 1,     /* of the hosts file and of ssh's configuration; and nodes */
	CUBE_WORD_NODE = 2,     /* the manager's; and @groups of the hosts file */
	CUBE_WORD_TASK = 4,     /* ID and job:ID */
	CUBE_WORD_COMMAND = 8,  /* of cube */
	CUBE_WORD_PROGRAM = 16, /* the shell knows them, as it does the next two */
	CUBE_WORD_FILE = 32,
	CUBE_WORD_DIR = 64,
	CUBE_WORD_LIST = 128, /* several may be joined by , ! & */
	CUBE_WORD_PATH = 256, /* HOST:PATH: a ':' behind the name */
};

struct cube_complete {
	struct cube_cli *cli;
	const char *hosts, *ssh_config; /* files that the line names, or NULL */
	struct cube_buf out;            /* "candidate\tdescription\n" each; ":files\n" ... */
	char *lead;                     /* what of the word stays, before each candidate */
	const char *part;               /* the rest, which candidates begin with */
	const char *tail;               /* behind each candidate */
	size_t count;
};

/* Adds a candidate if it begins with what was typed. */
void cube_complete_add(struct cube_complete *c, const char *word, const char *help);
/* Candidates from files and from a manager that runs, within 300 ms. kinds: HOST, NODE, TASK. */
void cube_complete_live(struct cube_complete *c, unsigned kinds);

#endif
