/* What the files of nodeset share, and hosts with them. */
#ifndef CUBE_MODEL_NODESET_INTERNAL_H
#define CUBE_MODEL_NODESET_INTERNAL_H

#include "cube/nodeset.h"

enum {
	CUBE_NODESET_HOSTS = 100000,
	CUBE_NODESET_NAME = 255,
	CUBE_NODESET_NESTING = 16,
	CUBE_NODESET_RANGES = 16,   /* in one name */
	CUBE_NODESET_WORK = 2000000 /* names looked at for one expression, however it nests */
};

struct cube_term_range {
	uint64_t lo, hi, step;
	unsigned width; /* zero-padded to that, 0: as it is */
};

struct cube_term_piece { /* literal text, then count alternatives of a number */
	const char *text;
	size_t len;
	size_t first, count; /* in ranges; count 0: none */
};

/* One host or range of hosts, borrowed from the expression. */
struct cube_term {
	const char *word;
	size_t word_len, column;
	const char *user;
	size_t user_len; /* 0: none */
	uint16_t port;   /* 0: none */
	bool local;      /* localhost, or localhost*repeat */
	bool v6;
	uint32_t repeat;
	struct cube_term_piece piece[CUBE_NODESET_RANGES + 1];
	size_t pieces;
	struct cube_term_range *ranges;
	size_t nranges;
	size_t total; /* hosts it stands for, at most CUBE_NODESET_HOSTS */
};

bool cube_term_ends(char c); /* blank, comma or operator */
bool cube_term_is_user(const char *user);

/* Reads the term at text[*at]; *at is then behind it. column is that of text[0]. The message
 * quotes the term. cube_term_done also after failure. */
int cube_term_parse(struct cube_term *t, const char *text, size_t n, size_t *at, size_t column,
		    struct cube_err *err);
void cube_term_done(struct cube_term *t);
/* Hands each host, in order, to fn, which owns it then; ends at fn's first non-zero return. */
int cube_term_each(const struct cube_term *t,
		   int (*fn)(void *arg, struct cube_host *host, struct cube_err *err), void *arg,
		   struct cube_err *err);
void cube_host_done(struct cube_host *host);

/* Says in *err which part of an expression is wrong: the word around text[from], the column of
 * text[at], and why. Returns code. */
int cube_nodeset_bad(struct cube_err *err, int code, const char *text, size_t n, size_t from,
		     size_t at, size_t column, const char *why);

/* cube_nodeset_parse with the column of expr[0] (from 1) and a budget of work shared by calls. */
int cube_nodeset_eval(struct cube_nodeset *set, const char *expr, size_t column,
		      const struct cube_nodeset_source *source, size_t *work, struct cube_err *err);

#endif
