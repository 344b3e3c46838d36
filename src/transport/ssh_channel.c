/* One command over the session: its channel from open to end. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "ssh_priv.h"

enum {
	OPEN_RETRIES = 8,
	PACKET = 32768,
	FLUSH_AT = 128 * 1024,
	WRITE_MAX = 32 * 1024,
	DIRECT_MIN = 4 * 1024
};
static const uint64_t RETRY_NS = 5 * CUBE_NS_PER_MS;

/* ---- starting ---------------------------------------------------------------------------- */

/* sshd forgets a closed session in a later turn of its own loop: where MaxSessions is 1 the next
 * one may come too early. */
static bool try_again(struct ssh_conn *c) {
	if (!c->had_channel || c->retries >= OPEN_RETRIES) return false;
	cube_timer_after(c->timer, RETRY_NS << c->retries++);
	return true;
}

static bool open_channel(struct ssh_conn *c) {
	if (cube_timer_armed(c->timer)) return false;
	c->channel = libssh2_channel_open_ex(c->session, "session", 7, SSH_WINDOW, PACKET, NULL, 0);
	if (c->channel) {
		c->state = SSH_EXEC;
		c->had_channel = true;
		return true;
	}
	int rc = libssh2_session_last_errno(c->session);
	if (rc == LIBSSH2_ERROR_EAGAIN) return false;
	if (rc != LIBSSH2_ERROR_CHANNEL_FAILURE || !try_again(c))
		cube_ssh_link_fail(c, "opening a session on");
	return false;
}

static bool start_command(struct ssh_conn *c) {
	int rc = libssh2_channel_process_startup(c->channel, "exec", 4, c->line,
						 (unsigned)strlen(c->line));
	if (rc == LIBSSH2_ERROR_EAGAIN) return false;
	if (rc < 0) {
		cube_ssh_link_fail(c, "starting a command on");
		return false;
	}
	c->state = SSH_RUN;
	return true;
}

/* ---- stdin ------------------------------------------------------------------------------- */

/* How many of n bytes libssh2 took, or its error. Without window it answers "again" and the next
 * readiness, the peer's window adjustment, brings us back; reading goes on meanwhile. */
static ssize_t encrypt(struct ssh_conn *c, const uint8_t *bytes, size_t n) {
	size_t done = 0;
	while (done < n && cube_buf_len(&c->out) < SSH_OUT_DATA) {
		size_t piece = n - done < WRITE_MAX ? n - done : WRITE_MAX;
		ssize_t rc =
			libssh2_channel_write_ex(c->channel, 0, (const char *)bytes + done, piece);
		if (rc == LIBSSH2_ERROR_EAGAIN || rc == 0) break;
		if (rc < 0) return done ? (ssize_t)done : rc;
		done += (size_t)rc;
		if (cube_buf_len(&c->out) >= FLUSH_AT) cube_ssh_link_flush(c);
	}
	return (ssize_t)done;
}

static bool write_input(struct ssh_conn *c) {
	if (!cube_buf_len(&c->input)) return true;
	ssize_t n = encrypt(c, cube_buf_data(&c->input), cube_buf_len(&c->input));
	if (n >= 0) {
		cube_buf_consume(&c->input, (size_t)n);
	} else if (n == LIBSSH2_ERROR_CHANNEL_CLOSED || n == LIBSSH2_ERROR_CHANNEL_EOF_SENT) {
		cube_buf_clear(&c->input); /* the command is over */
	} else {
		cube_ssh_link_fail(c, NULL);
		return false;
	}
	return true;
}

/* Bulk is not queued where it can be sent: that is a copy less. An error comes again, in the pump.
 */
size_t cube_ssh_channel_write(struct ssh_conn *c, const void *bytes, size_t n) {
	if (c->state != SSH_RUN || cube_buf_len(&c->input) || n < DIRECT_MIN) return 0;
	ssize_t done = encrypt(c, bytes, n);
	return done > 0 ? (size_t)done : 0;
}

static bool end_input(struct ssh_conn *c) {
	if (!c->input_ended || c->eof_sent || cube_buf_len(&c->input)) return true;
	int rc = libssh2_channel_send_eof(c->channel);
	if (rc == LIBSSH2_ERROR_EAGAIN) return true;
	c->eof_sent = true; /* a channel that is closed already needs none */
	return true;
}

static void tell_drained(struct ssh_conn *c) {
	if (!c->above_low || cube_buf_len(&c->input) > CUBE_INPUT_LOW) return;
	if (!cube_buf_len(&c->input)) cube_buf_clear(&c->input);
	c->above_low = false;
	if (c->events->on_drained) c->events->on_drained(c->arg);
}

/* ---- stdout and stderr ------------------------------------------------------------------- */

/* False when the connection is over. */
static bool read_stream(struct ssh_conn *c, int stream) {
	for (;;) {
		size_t room = stream ? SSH_PLAIN : cube_outlet_room(&c->outlet);
		if (room > SSH_PLAIN) room = SSH_PLAIN;
		if (!room) return true;
		ssize_t n =
			libssh2_channel_read_ex(c->channel, stream, (char *)c->ssh->plain, room);
		if (n == LIBSSH2_ERROR_EAGAIN || n == 0) return true;
		if (n < 0) {
			cube_ssh_link_fail(c, NULL);
			return false;
		}
		if (stream) {
			if (c->events->on_err) c->events->on_err(c->arg, c->ssh->plain, (size_t)n);
		} else if (cube_outlet_push(&c->outlet, c->ssh->plain, (size_t)n) < 0) {
			struct cube_err err;
			cube_fail(&err, CUBE_ESYS, "no memory for output of %s", cube_ssh_where(c));
			cube_ssh_fail(c, &err);
		}
		if (cube_ssh_over(c)) return false;
	}
}

static int signal_number(const char *name) {
	static const struct {
		const char *name;
		int number;
	} SIGNALS[] = {{"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"FPE", SIGFPE},   {"HUP", SIGHUP},
		       {"ILL", SIGILL},   {"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE},
		       {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV}, {"TERM", SIGTERM}, {"USR1", SIGUSR1},
		       {"USR2", SIGUSR2}};
	for (size_t i = 0; i < sizeof SIGNALS / sizeof SIGNALS[0]; i++)
		if (!strcmp(SIGNALS[i].name, name)) return SIGNALS[i].number;
	return 0;
}

/* libssh2 says 0 also where the server sent no status: what must be sure travels in the frames
 * of our own protocol. */
static int exit_status(struct ssh_conn *c) {
	char *name = NULL;
	libssh2_channel_get_exit_signal(c->channel, &name, NULL, NULL, NULL, NULL, NULL);
	if (!name) return libssh2_channel_get_exit_status(c->channel);
	int number = signal_number(name);
	libssh2_free(c->session, name);
	return number ? 128 + number : -1;
}

static bool run(struct ssh_conn *c) {
	if (!write_input(c) || !end_input(c)) return false;
	if (!read_stream(c, 0) || !read_stream(c, SSH_EXTENDED_DATA_STDERR)) return false;
	/* End of file is said before the exit status comes: only the close ends it all. */
	if (libssh2_channel_eof(c->channel) == 1 && libssh2_channel_wait_closed(c->channel) == 0) {
		c->status = exit_status(c);
		c->state = SSH_CLOSE;
		return true;
	}
	tell_drained(c);
	return false;
}

/* ---- the end ----------------------------------------------------------------------------- */

static void finish(struct ssh_conn *c) {
	cube_timer_disarm(c->timer);
	cube_outlet_drop(&c->outlet);
	c->state = SSH_IDLE;
	c->events->on_end(c->arg, c->status);
	cube_ssh_kick(c); /* the link may have ended too */
}

void cube_ssh_channel_check_end(struct ssh_conn *c) {
	if (c->state != SSH_FLUSH) return;
	if (!cube_outlet_held(&c->outlet)) finish(c);
	else cube_timer_after(c->timer, CUBE_OUTLET_GRACE_NS);
}

static bool close_channel(struct ssh_conn *c) {
	if (libssh2_channel_free(c->channel) == LIBSSH2_ERROR_EAGAIN) return false;
	c->channel = NULL;
	cube_buf_clear(&c->input);
	c->state = SSH_FLUSH;
	cube_ssh_channel_check_end(c);
	return true;
}

void cube_ssh_channel_timer(struct ssh_conn *c) {
	if (c->state == SSH_FLUSH) finish(c);
	else cube_ssh_kick(c);
}

bool cube_ssh_channel_pump(struct ssh_conn *c) {
	switch (c->state) {
	case SSH_CHANNEL: return open_channel(c);
	case SSH_EXEC: return start_command(c);
	case SSH_RUN: return run(c);
	case SSH_CLOSE: return close_channel(c);
	default: return false;
	}
}
