/* Copying files and folders over a byte stream in each direction: a sender turns paths into bytes,
 * a receiver turns the bytes into files. src/copy/FORMAT.md is what travels between them.
 *
 * Sans-IO as to the wire: the owner carries the bytes. The work on files is done inside, blocking,
 * a bounded piece (at most 256 KiB) a call, so one thread can drive many copies.
 *
 * What comes out: regular files, folders (always with all that is in them) and symbolic links as
 * links; a path that was named is followed if it is a link. Permission bits (0777) and mtimes (ns)
 * are kept; owners, set-id bits and holes' edges are not promised. Other kinds of files are told
 * as problems. A file appears under its name only when it is whole: until then it is
 * ".NAME.<16 hex digits>.cube-part" beside it, which stays when a file over CUBE_COPY_RESUMES bytes
 * was cut off, and is taken up by the next copy of the same version of that file.
 *
 * A receiver trusts no sender: names are single components, nothing is opened through a link,
 * so nothing is made outside the destination; and where it says which paths it asked for, nothing
 * else is made in the destination either. A sender trusts no receiver.
 *
 * Problems with one entry do not stop the rest; no space, a read-only file system and a destination
 * that cannot be do. Both ends learn of all of them: `problem` is called for one's own and for
 * the peer's.
 */
#ifndef CUBE_COPY_H
#define CUBE_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/err.h"
#include "cube/wire.h"

#define CUBE_COPY_RESUMES (1u << 20)
#define CUBE_COPY_DEPTH   128 /* folders in folders */

/* path and message are valid during the call and come partly from the peer: escape them. It frees
 * neither end: the one that calls is in use. */
typedef void cube_copy_problem_fn(void *arg, const char *path, const char *message);

struct cube_copy_counts {
	uint64_t files;                    /* whole, links included */
	uint64_t bytes;                    /* of contents dealt with, what was there before too */
	uint64_t moved;                    /* of these, sent or received as bytes */
	uint64_t problems;                 /* own and the peer's */
	uint64_t total_files, total_bytes; /* what it will come to; 0 where not known */
};

/* ---- sending ------------------------------------------------------------------------------ */

struct cube_sender;
struct cube_sender_config {
	const char *const *paths; /* n of them; borrowed */
	size_t n;
	bool again; /* goes on after a cut: big files that are there already are left alone */
	uint64_t total_files, total_bytes; /* from cube_copy_measure, or 0 */
	cube_copy_problem_fn *problem;     /* may be NULL */
	void *arg;
};

struct cube_sender *cube_sender_new(const struct cube_sender_config *config);
void cube_sender_free(struct cube_sender *s); /* NULL is fine */

/* Bytes for the receiver. 0: these (n at most 384 KiB; n 0: busy, call again), valid until the next
 * call, to be dropped by cube_sender_sent; CUBE_AGAIN: nothing until the receiver has been heard,
 * or it is over. */
int cube_sender_next(struct cube_sender *s, struct cube_slice *ret);
void cube_sender_sent(struct cube_sender *s, size_t n);
/* Bytes from the receiver: all are taken. 0 or CUBE_EPROTO. */
int cube_sender_feed(struct cube_sender *s, const void *bytes, size_t n, struct cube_err *err);
/* The receiver has said its last word; before that an end of its stream means a cut. */
bool cube_sender_done(const struct cube_sender *s);
const struct cube_copy_counts *cube_sender_counts(const struct cube_sender *s);

/* Files and bytes below the paths; 0 and 0 where that are more than 20,000 entries. */
void cube_copy_measure(const char *const *paths, size_t n, uint64_t *ret_files,
		       uint64_t *ret_bytes);

/* ---- receiving ---------------------------------------------------------------------------- */

struct cube_receiver;
struct cube_receiver_config {
	const char *dest; /* as for cp: an existing folder gets the files, else it is the new name;
			   * "" is "." */
	bool folder;      /* dest has to be a folder: there are several sources */
	bool make;        /* with folder: make it where it is not there */
	bool wait;        /* for another copy of the same file to end; else that is a problem */
	const char *const *asked; /* paths there, n of them, borrowed: the sender may send what has
				   * one of their names, and what is in it; NULL: anything */
	size_t nasked;
	cube_copy_problem_fn *problem; /* may be NULL */
	/* A part that stays when the copy is cut off is made: name, in the folder dir. May be NULL
	 */
	void (*part)(void *arg, int dir, const char *name);
	void *arg;
};

struct cube_receiver *cube_receiver_new(const struct cube_receiver_config *config);
/* Also in the middle: what may be resumed stays, other parts go. NULL is fine. */
void cube_receiver_free(struct cube_receiver *r);

/* Bytes from the sender; *ret_used may be less than n while it is busy or its output waits. May be
 * called with n 0 to go on with what is busy. 0 or CUBE_EPROTO. */
int cube_receiver_feed(struct cube_receiver *r, const void *bytes, size_t n, size_t *ret_used,
		       struct cube_err *err);
bool cube_receiver_busy(const struct cube_receiver *r); /* has work without further bytes */
/* Bytes for the sender; consume what was sent. */
struct cube_buf *cube_receiver_out(struct cube_receiver *r);
/* All that came is on its place; send what is in the output, and it is over. */
bool cube_receiver_done(const struct cube_receiver *r);
const struct cube_copy_counts *cube_receiver_counts(const struct cube_receiver *r);

/* Removes a part that nobody will take up: only where it is one, ours, and not being written. */
void cube_part_remove(const char *path);

#endif
