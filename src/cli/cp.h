/* `cube cp`: the copies to or from all hosts of one command, driven at the same time.
 *
 * Each host has one stream to `put` or `get` of its worker and one end of a copy (cube/copy.h).
 * A link that breaks is waited for, and the copy goes on where the parts are; that and what
 * cannot be copied is one host's matter. */
#ifndef CUBE_CLI_CP_H
#define CUBE_CLI_CP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli.h"
#include "cube/copy.h"
#include "stream.h"

/* "FILE" or "HOSTS:PATH": a colon before the first slash, outside of brackets. A number between
 * two colons is the hosts' port. */
struct cube_cp_operand {
	char *hosts; /* an expression; NULL: a path here. To be freed */
	const char *path;
};
struct cube_cp_operand cube_cp_operand(const char *word);

enum cube_cp_state {
	CUBE_CP_QUEUED, /* others go first */
	CUBE_CP_RUNNING,
	CUBE_CP_WAITING, /* for its node */
	CUBE_CP_DONE,
	CUBE_CP_FAILED,
};

struct cube_cp_host {
	struct cube_cp *cp;
	char *node, *dest;
	struct cube_strv paths; /* there, to be fetched */
	enum cube_cp_state state;
	struct cube_rstream *stream;
	struct cube_sender *sender;
	struct cube_receiver *receiver;
	struct cube_buf held; /* what came and could not be used yet */
	struct cube_buf said; /* what the process wrote on stderr, cut */
	struct cube_copy_counts counts;
	uint64_t moved;        /* of the rounds before this one */
	unsigned rounds, vain; /* vain: those in a row that moved nothing */
	uint64_t since;        /* it waits */
	uint64_t begun, ended;
	json_t *problems; /* {text: null} of this round */
	unsigned unsaid;  /* problems over the limit */
	char *failure;    /* of the host as a whole */
	bool busy;        /* there is work without the peer */
};

struct cube_cp {
	struct cube_cli *cli;
	bool up;                  /* from here to the hosts */
	const char *const *paths; /* up: n of them */
	size_t npaths;
	bool folder, make; /* as in struct cube_receiver_config */
	uint64_t total_files, total_bytes;
	uint64_t wait, fanout; /* ns; hosts at once */
	uint64_t silence;      /* ns without a byte of a host: that is told; 0: not */
	struct cube_cp_host *hosts;
	size_t n;
	uint64_t looked; /* at the nodes' states */
	/* hides the progress display, since something is going to be told; may be NULL */
	void (*hide)(void *arg);
	void *arg;
};

/* The node is copied to (its `dest`), or from (paths, into dest). */
struct cube_cp_host *cube_cp_add(struct cube_cp *cp, const char *node, const char *dest);
void cube_cp_done(struct cube_cp *cp); /* stops what is under way: parts stay for the next time */

/* Starts what may start, waits at most timeout_ms and lets everything get on. wake_fd is waited for
 * too. True while something is left to do. */
bool cube_cp_turn(struct cube_cp *cp, int wake_fd, int timeout_ms);

/* The host's copy as one: counts of all rounds. */
struct cube_copy_counts cube_cp_counts(const struct cube_cp_host *h);

/* ---- showing ------------------------------------------------------------------------------ */

struct cube_cp_show { /* zero-initialise */
	bool live, shown;
	int fd;
	uint64_t begun, drawn;
	struct {
		uint64_t at, bytes;
	} sample[16];
	unsigned samples;
};
/* One line, not more often than some times a second; now: in any case. */
void cube_cp_draw(struct cube_cp_show *s, const struct cube_cp *cp, bool now);
void cube_cp_hide(void *show);
/* The line, at most width columns, without a newline. rate: bytes a second, or 0. */
int cube_cp_line(const struct cube_cp *cp, double rate, size_t width, struct cube_buf *out);
/* What it came to, as people see it: "3 files, 256.0 MB to web[1-2] in 1.2 s (213.0 MB/s)". */
int cube_cp_sum(const struct cube_cp *cp, uint64_t ns, struct cube_buf *out);
json_t *cube_cp_json(const struct cube_cp *cp);

#endif
