/* The messages of PROTOCOL.md: frames to structs and back. No I/O, no allocation.
 *
 * cube_msg_decode takes the first frame of a byte run. Slices, and the lists inside START, point
 * into those bytes and live as long as they do. Encoders append one frame to a buffer, whole
 * or not at all.
 */
#ifndef CUBE_MSG_H
#define CUBE_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/err.h"
#include "cube/metric.h"
#include "cube/wire.h"

#define CUBE_PROTO_MAGIC   0x45425543u
#define CUBE_PROTO_VERSION 1
#define CUBE_FRAME_MAX     ((1u << 20) + 64) /* the length field's limit */
#define CUBE_DATA_MAX      (256u << 10)      /* payload of LOG, STDIN, PUSH_DATA, STREAM_DATA */
#define CUBE_WINDOW_MAX    (8u << 20)        /* bytes granted on one fd of a stream */
#define CUBE_WORDS_MAX     65536u
#define CUBE_FILES_MAX     64u
#define CUBE_PATH_LEN      4096
#define CUBE_NAME_LEN      256

enum cube_msg_type {
	CUBE_MSG_HELLO = 1, /* manager to worker */
	CUBE_MSG_START,
	CUBE_MSG_SIGNAL,
	CUBE_MSG_STOP,
	CUBE_MSG_STDIN,
	CUBE_MSG_ACK,
	CUBE_MSG_FORGET,
	CUBE_MSG_PUSH,
	CUBE_MSG_PUSH_DATA,
	CUBE_MSG_PING,
	CUBE_MSG_SHUTDOWN,
	CUBE_MSG_OPEN,
	CUBE_MSG_STREAM_INPUT,  /* STREAM_DATA of fd 0 */
	CUBE_MSG_STREAM_WINDOW, /* of fd 1 and 2 */
	CUBE_MSG_STREAM_RESIZE,
	CUBE_MSG_STREAM_SIGNAL,
	CUBE_MSG_STREAM_CLOSE,
	CUBE_MSG_WORKER_HELLO = 65, /* worker to manager */
	CUBE_MSG_ATTEMPT,
	CUBE_MSG_READY,
	CUBE_MSG_STARTED,
	CUBE_MSG_EXIT,
	CUBE_MSG_LOG,
	CUBE_MSG_STDIN_ACK,
	CUBE_MSG_PUSH_DONE,
	CUBE_MSG_METRIC,
	CUBE_MSG_PONG,
	CUBE_MSG_ERROR,
	CUBE_MSG_STREAM_OUTPUT, /* STREAM_DATA of fd 1 and 2 */
	CUBE_MSG_STREAM_GRANT,  /* STREAM_WINDOW of fd 0 */
	CUBE_MSG_STREAM_CLOSED,
};

enum cube_stream_id { CUBE_STDIN = 0, CUBE_STDOUT = 1, CUBE_STDERR = 2 };
enum cube_attempt_state { CUBE_ATTEMPT_QUEUED = 1, CUBE_ATTEMPT_RUNNING, CUBE_ATTEMPT_FINISHED };
enum cube_exit_how {
	CUBE_EXIT_EXITED,
	CUBE_EXIT_SIGNALED,
	CUBE_EXIT_NOT_STARTED,
	CUBE_EXIT_TIMEOUT,
	CUBE_EXIT_STOPPED,
	CUBE_EXIT_LOST,
};
enum cube_proto_error {
	CUBE_PROTO_ERR_VERSION = 1,
	CUBE_PROTO_ERR_BUILD,
	CUBE_PROTO_ERR_IDENTITY,
	CUBE_PROTO_ERR_MALFORMED,
	CUBE_PROTO_ERR_REPLACED,
};
/* Bits of HELLO's features, and all that this build has (PROTOCOL.md section 8). */
#define CUBE_FEATURE_EPOCH UINT64_C(1)
#define CUBE_FEATURES      CUBE_FEATURE_EPOCH

#define CUBE_START_STDIN 1u /* flags of START */
#define CUBE_START_LOGIN 2u
#define CUBE_OPEN_PTY    1u /* flags of OPEN */
#define CUBE_OPEN_LOGIN  2u
#define CUBE_OPEN_OWN    4u

/* A list inside a decoded message; walk it with the two functions below. */
struct cube_msg_list {
	uint32_t count;
	struct cube_slice raw;
};
struct cube_msg_file {
	uint8_t sha256[32];
	char name[CUBE_NAME_LEN]; /* a plain file name: no '/', not "", "." or ".." (checked) */
	uint32_t mode;
};

struct cube_msg {
	enum cube_msg_type type;
	uint64_t task; /* of every message about an attempt; of one about a stream, its id */
	uint32_t attempt;
	uint64_t epoch; /* of the same, and of HELLO; 0: none */
	union {
		struct {
			uint32_t magic, node, slots;
			uint16_t version;
			uint64_t cluster, features;
			char build[65], node_name[CUBE_NAME_LEN];
		} hello;
		struct {
			struct cube_msg_list argv, env, files;
			struct cube_slice dir; /* checked: no NUL, < CUBE_PATH_LEN */
			uint64_t timeout_ms;
			uint32_t grace_ms;
			uint8_t flags;
		} start;
		struct {
			int32_t signo;
		} signal;
		struct {
			uint32_t grace_ms;
		} stop;
		struct { /* STDIN, LOG (stream), PUSH_DATA (sha256) */
			uint8_t stream, eof;
			uint64_t offset;
			struct cube_slice bytes;
			uint8_t sha256[32];
		} data;
		struct { /* ACK (stream), STDIN_ACK */
			uint8_t stream;
			uint64_t offset;
		} ack;
		struct { /* PUSH (size), PUSH_DONE (ok, message) */
			uint8_t sha256[32];
			uint64_t size;
			uint8_t ok;
			char message[240];
		} push;
		struct { /* PING, PONG (wall) */
			uint64_t token;
			int64_t wall;
		} ping;
		struct {
			uint8_t purge;
		} shutdown;
		struct {
			uint32_t magic, node, pid, cpus;
			uint16_t version;
			uint64_t cluster, boot, memory, features;
			int64_t wall;
			char build[65], hostname[CUBE_NAME_LEN], sysname[65], release[65],
				machine[65];
			char notice[240]; /* what the user should know about this host, or "" */
		} worker_hello;
		struct {
			uint8_t state;
			uint64_t out_begin, out_end, err_begin, err_end;
		} known; /* ATTEMPT */
		struct {
			uint32_t pid;
			int64_t wall;
		} started;
		struct {
			uint8_t how;
			int32_t value;
			uint64_t out_end, err_end, user_us, sys_us, max_rss;
			int64_t started, finished;
			char message[240];
		} exit;
		struct cube_metric metric;
		struct {
			struct cube_msg_list argv, env;
			struct cube_slice dir; /* checked as START's */
			uint16_t rows, cols;   /* also of RESIZE */
			uint8_t flags;
		} open;
		struct { /* STREAM_DATA and STREAM_WINDOW of both directions; fd is checked */
			struct cube_slice bytes;
			uint32_t window;
			uint8_t fd;
		} stream;
		struct {
			uint8_t how; /* enum cube_exit_how */
			int32_t value;
			char message[240];
		} closed;
		struct {
			uint8_t code;
			char message[240];
		} error;
	};
};

/* Decodes the frame at the front of bytes. 0: *ret is filled and *ret_used bytes were used;
 * CUBE_AGAIN: not a whole frame yet; CUBE_EPROTO: refuse the peer. stream (1 or 2 in LOG and ACK),
 * state and how are then known values and no word of START and OPEN holds a NUL; argv may be empty,
 * and magic, version and the error code are left to the session to judge. */
int cube_msg_decode(const uint8_t *bytes, size_t n, struct cube_msg *ret, size_t *ret_used,
		    struct cube_err *err);

/* Appends one frame made of msg's fields (all types but START and OPEN, whose lists come by the
 * next calls); later fields at its end that are 0 or empty are left out. Text fields that fill
 * their array without a NUL are cut. Returns as cube_buf_add; also CUBE_ETOOBIG over a limit and
 * CUBE_EINTERNAL for a value that no peer would take. */
int cube_msg_encode(struct cube_buf *out, const struct cube_msg *msg);

struct cube_msg_start {
	uint64_t task, epoch;
	uint32_t attempt;
	const char *const *argv, *const *env; /* NULL-terminated; NULL for none */
	const char *dir;                      /* "" for the default */
	uint64_t timeout_ms;
	uint32_t grace_ms;
	uint8_t flags;
	const struct cube_msg_file *files;
	uint32_t nfiles;
};
/* Returns as cube_msg_encode, and CUBE_EUSAGE for a file name that is not plain. */
int cube_msg_encode_start(struct cube_buf *out, const struct cube_msg_start *start);

struct cube_msg_open {
	uint64_t stream;
	const char *const *argv, *const *env; /* NULL-terminated; NULL for none */
	const char *dir;                      /* "" for the default */
	uint8_t flags;
	uint16_t rows, cols;
};
/* Returns as cube_msg_encode. */
int cube_msg_encode_open(struct cube_buf *out, const struct cube_msg_open *open);

/* Only the head and the tail of a LOG frame whose n payload bytes come between them separately, so
 * that a spool can be sent with writev and no copy. Returns the tail's length: 0 where there is no
 * epoch. */
#define CUBE_LOG_HEAD 30
#define CUBE_LOG_TAIL 8
struct cube_msg_log_id {
	uint64_t task, epoch;
	uint32_t attempt;
	uint8_t stream;
};
size_t cube_msg_log_ends(uint8_t head[CUBE_LOG_HEAD], uint8_t tail[CUBE_LOG_TAIL],
			 const struct cube_msg_log_id *id, uint64_t offset, uint32_t n);

/* The same for STREAM_DATA: type is STREAM_INPUT or STREAM_OUTPUT. */
#define CUBE_STREAM_HEAD 18
/* What a frame with n bytes of data uses up of what was granted; an end of file: nothing. */
#define CUBE_STREAM_COST 32u
static inline uint32_t cube_msg_stream_cost(size_t n) {
	return n ? (uint32_t)n + CUBE_STREAM_COST : 0;
}
/* How much data may be sent for a grant. */
static inline uint32_t cube_msg_stream_room(uint32_t granted) {
	return granted > CUBE_STREAM_COST ? granted - CUBE_STREAM_COST : 0;
}
void cube_msg_stream_head(uint8_t head[CUBE_STREAM_HEAD], enum cube_msg_type type, uint64_t stream,
			  uint8_t fd, uint32_t n);
/* All messages about streams begin with its id; in an encoded frame it lies here (8 bytes). Who
 * relays a frame changes it in place. */
#define CUBE_STREAM_ID_AT 5
void cube_msg_set_stream(uint8_t *frame, uint64_t stream);

/* Walk a list: *pos starts at 0; false at the end. decode has checked the list whole. */
bool cube_msg_next_bytes(const struct cube_msg_list *list, size_t *pos, struct cube_slice *ret);
bool cube_msg_next_file(const struct cube_msg_list *list, size_t *pos, struct cube_msg_file *ret);

const char *cube_msg_name(int type); /* "START"; "?" for an unknown one */

#endif
