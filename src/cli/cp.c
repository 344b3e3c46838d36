/* Driving the copies of `cube cp`. */
#include "cp.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/text.h"
#include "select.h"

enum {
	WINDOW = 4 << 20, /* may be under way to us, a host */
	TURN = 2 << 20,   /* goes to one host before the others have theirs */
	PROBLEMS = 1000,  /* told of one host */
	VAIN = 5,         /* rounds that moved nothing before the host is given up */
	LOOK_MS = 200,    /* at the states of nodes that are waited for */
};

struct cube_cp_operand cube_cp_operand(const char *word) {
	struct cube_cp_operand o = {NULL, word};
	size_t depth = 0, n;
	for (const char *p = word; *p && *p != '/'; p++) {
		if (*p == '[') depth++;
		if (*p == ']' && depth) depth--;
		if (*p != ':' || depth || p == word) continue;
		n = strspn(p + 1, "0123456789");
		if (n && p[1 + n] == ':') p += 1 + n;
		o.hosts = cube_strndup(word, (size_t)(p - word));
		o.path = p + 1;
		break;
	}
	return o;
}

struct cube_cp_host *cube_cp_add(struct cube_cp *cp, const char *node, const char *dest) {
	cp->hosts = cube_realloc_array(cp->hosts, cp->n + 1, sizeof *cp->hosts);
	struct cube_cp_host *h = &cp->hosts[cp->n++];
	*h = (struct cube_cp_host){.node = cube_strdup(node), .dest = cube_strdup(dest)};
	h->problems = json_object();
	cube_buf_init(&h->held, 2 * WINDOW);
	cube_buf_init(&h->said, 4096);
	return h;
}

struct cube_copy_counts cube_cp_counts(const struct cube_cp_host *h) {
	struct cube_copy_counts c = h->sender     ? *cube_sender_counts(h->sender)
				    : h->receiver ? *cube_receiver_counts(h->receiver)
						  : h->counts;
	c.moved += h->moved;
	return c;
}

/* ---- a round ------------------------------------------------------------------------------ */

static void hang_up(struct cube_cp_host *h) {
	h->counts = cube_cp_counts(h);
	h->counts.moved -= h->moved;
	cube_rstream_free(h->stream);
	cube_sender_free(h->sender);
	cube_receiver_free(h->receiver);
	h->stream = NULL;
	h->sender = NULL;
	h->receiver = NULL;
	h->busy = false;
	cube_buf_clear(&h->held);
}

static void finish(struct cube_cp_host *h, enum cube_cp_state state) {
	hang_up(h);
	h->state = state;
	h->ended = cube_clock_mono();
}

static void fail(struct cube_cp_host *h, const char *why) {
	free(h->failure);
	h->failure = cube_strdup(why);
	finish(h, CUBE_CP_FAILED);
}

static void on_problem(void *arg, const char *path, const char *message) {
	struct cube_cp_host *h = arg;
	struct cube_buf text;
	if (json_object_size(h->problems) >= PROBLEMS) {
		h->unsaid++;
		return;
	}
	cube_buf_init(&text, 64u << 10);
	if (cube_text_escape(&text, path, strlen(path)) == 0 && cube_buf_addstr(&text, ": ") == 0 &&
	    cube_text_escape(&text, message, strlen(message)) == 0)
		json_object_set_new(h->problems, cube_buf_str(&text), json_null());
	cube_buf_done(&text);
}

/* Hands bytes to the receiver; what it does not take is held. */
static int give(struct cube_cp_host *h, const uint8_t *bytes, size_t n, struct cube_err *err) {
	size_t used = 0;
	int rc = 0;
	if (cube_buf_len(&h->held) == 0) {
		rc = cube_receiver_feed(h->receiver, bytes, n, &used, err);
		if (rc) return rc;
		cube_rstream_grant(h->stream, 1, used);
	}
	if (used < n && cube_buf_add(&h->held, bytes + used, n - used))
		rc = cube_fail(err, CUBE_EPROTO, "more came than was granted");
	return rc;
}

static int on_data(void *arg, int fd, const uint8_t *bytes, size_t n, struct cube_err *err) {
	struct cube_cp_host *h = arg;
	int rc = 0;
	if (fd == 2) {
		size_t room = cube_buf_room(&h->said);
		cube_buf_add(&h->said, bytes, n < room ? n : room);
		cube_rstream_grant(h->stream, 2, n);
	} else if (n > 0 && h->sender) {
		rc = cube_sender_feed(h->sender, bytes, n, err);
		cube_rstream_grant(h->stream, 1, n);
	} else if (n > 0) {
		rc = give(h, bytes, n, err);
	}
	return rc;
}

static void begin(struct cube_cp_host *h) {
	static const struct cube_rstream_ops ops = {on_data};
	struct cube_cp *cp = h->cp;
	struct cube_strv argv = {0};
	struct cube_err err;
	bool again = h->rounds > 0;
	cube_strv_add(&argv, cp->up ? "put" : "get");
	if (cp->up && cp->folder) cube_strv_add(&argv, "-d");
	if (!cp->up && again) cube_strv_add(&argv, "-a");
	if (cp->up) cube_strv_add(&argv, h->dest);
	for (size_t i = 0; i < h->paths.len; i++) cube_strv_add(&argv, h->paths.v[i]);
	struct cube_rstream_open open = {
		.node = h->node,
		.argv = (const char *const *)cube_strv_argv(&argv),
		.flags = CUBE_OPEN_OWN,
		.window = cp->up ? 64u << 10 : WINDOW,
	};
	int rc = cube_rstream_open(cp->cli->client, &open, &ops, h, &h->stream, &err);
	cube_strv_done(&argv);
	/* Not ready, or the manager is away: its state says whether to wait. */
	if (rc == CUBE_ECONFLICT || rc == CUBE_ECONNECT) {
		if (h->state != CUBE_CP_WAITING) h->since = cube_clock_mono();
		h->state = CUBE_CP_WAITING;
		return;
	}
	if (rc) {
		fail(h, rc == CUBE_ENOTFOUND ? "no such node" : err.msg);
		return;
	}
	struct cube_sender_config sending = {.paths = cp->paths,
					     .n = cp->npaths,
					     .again = again,
					     .total_files = cp->total_files,
					     .total_bytes = cp->total_bytes,
					     .problem = on_problem,
					     .arg = h};
	struct cube_receiver_config receiving = {.dest = h->dest,
						 .folder = cp->folder,
						 .make = cp->make,
						 .asked = (const char *const *)h->paths.v,
						 .nasked = h->paths.len,
						 .problem = on_problem,
						 .arg = h};
	if (cp->up) h->sender = cube_sender_new(&sending);
	else h->receiver = cube_receiver_new(&receiving);
	json_object_clear(h->problems);
	h->unsaid = 0;
	cube_buf_clear(&h->said);
	if (!h->begun) h->begun = cube_clock_mono();
	h->rounds++;
	h->busy = true;
	h->state = CUBE_CP_RUNNING;
}

/* The link to the node or the manager. */
static void link_broke(struct cube_cp_host *h) {
	uint64_t moved = cube_cp_counts(h).moved;
	h->vain = moved > h->moved ? 0 : h->vain + 1;
	hang_up(h);
	h->moved = moved;
	h->counts.moved = 0;
	if (h->vain >= VAIN) {
		fail(h, "the link breaks each time; the same command goes on where it was");
		return;
	}
	h->since = cube_clock_mono();
	h->state = CUBE_CP_WAITING;
	h->cp->looked = 0;
}

/* The link broke, or the process ended before its time. */
static void cut_off(struct cube_cp_host *h) {
	struct cube_rstream_outcome o = cube_rstream_result(h->stream);
	if (o.how == CUBE_EXIT_LOST) {
		link_broke(h);
		return;
	}
	cube_autofree char *why = o.message && *o.message ? cube_strdup(o.message)
				  : cube_buf_len(&h->said)
					  ? cube_strdup(cube_buf_str(&h->said))
					  : cube_strf("the copy there ended with %d", o.value);
	why[strcspn(why, "\n")] = '\0';
	fail(h, why);
}

static void pump_up(struct cube_cp_host *h) {
	struct cube_slice out;
	size_t sent = 0, n = 1;
	h->busy = false;
	while (n > 0 && !h->busy && cube_rstream_room(h->stream) > 0 &&
	       cube_sender_next(h->sender, &out) == 0) {
		n = cube_rstream_stream(h->stream, out.p, out.n);
		if (n > 0) cube_sender_sent(h->sender, n);
		sent += n;
		h->busy = out.n == 0 || sent >= TURN;
	}
}

static int pump_down(struct cube_cp_host *h, struct cube_err *err) {
	struct cube_buf *out = cube_receiver_out(h->receiver);
	size_t used = 0, n;
	int rc = 0;
	if (cube_receiver_busy(h->receiver) || cube_buf_len(&h->held)) {
		rc = cube_receiver_feed(h->receiver, cube_buf_data(&h->held),
					cube_buf_len(&h->held), &used, err);
		if (rc) return rc;
		cube_buf_consume(&h->held, used);
		cube_rstream_grant(h->stream, 1, used);
	}
	while ((n = cube_buf_len(out)) > 0 && cube_rstream_room(h->stream) > 0) {
		if (n > cube_rstream_room(h->stream)) n = cube_rstream_room(h->stream);
		if (n > CUBE_DATA_MAX) n = CUBE_DATA_MAX;
		cube_rstream_write(h->stream, cube_buf_data(out), n);
		cube_buf_consume(out, n);
	}
	h->busy = cube_receiver_busy(h->receiver) || used > 0;
	return 0;
}

/* Gets on with what is ready. */
static void step(struct cube_cp_host *h, bool ready) {
	struct cube_err err;
	int rc = ready ? cube_rstream_step(h->stream, &err) : 0;
	if (rc == CUBE_ECONNECT) {
		link_broke(h);
		return;
	}
	if (rc == 0 && h->sender) pump_up(h);
	else if (rc == 0) rc = pump_down(h, &err);
	if (rc) {
		fail(h, err.msg);
		return;
	}
	bool done = h->sender ? cube_sender_done(h->sender)
			      : cube_receiver_done(h->receiver) &&
					cube_buf_len(cube_receiver_out(h->receiver)) == 0;
	if (done) finish(h, CUBE_CP_DONE);
	else if (cube_rstream_closed(h->stream) && !h->busy) cut_off(h);
}

/* ---- all of them -------------------------------------------------------------------------- */

static const json_t *state_of(const json_t *nodes, const char *name) {
	size_t i;
	json_t *node;
	json_array_foreach((json_t *)nodes, i, node) {
		if (strcmp(cube_json_str(node, "name", ""), name) == 0) return node;
	}
	return NULL;
}

static void look_at(struct cube_cp_host *h, const json_t *node) {
	const char *state = cube_json_str(node, "state", "gone");
	uint64_t waited = cube_clock_mono() - h->since;
	if (strcmp(state, "ready") == 0) {
		begin(h);
	} else if (!node || strcmp(state, "gone") == 0 || strcmp(state, "leaving") == 0) {
		fail(h, "is no node any more");
	} else if (strcmp(state, "failed") == 0 || strcmp(state, "needs-login") == 0) {
		cube_autofree char *why =
			cube_strf("%s: %s", state, cube_json_str(node, "reason", ""));
		fail(h, why);
	} else if (waited >= h->cp->wait) {
		cube_autofree char *why =
			cube_strf("still %s after %llu s; the same command goes on where it was",
				  state, (unsigned long long)(h->cp->wait / CUBE_NS_PER_S));
		fail(h, why);
	}
}

static void tell_waiting(struct cube_cp *cp) {
	json_t *names = json_array();
	for (size_t i = 0; i < cp->n; i++) {
		struct cube_cp_host *h = &cp->hosts[i];
		if (h->state == CUBE_CP_WAITING && h->since > cp->looked && h->rounds)
			json_array_append_new(names, json_string(h->node));
	}
	if (json_array_size(names)) {
		cube_autofree char *folded = cube_fold_names(names);
		if (cp->hide) cp->hide(cp->arg);
		cube_cli_say("%s: the link broke; waiting for it, at most %llu s", folded,
			     (unsigned long long)(cp->wait / CUBE_NS_PER_S));
	}
	json_decref(names);
}

/* Hosts that have said nothing for long: nobody waits in silence. */
static void tell_silent(struct cube_cp *cp) {
	json_t *names = json_array();
	for (size_t i = 0; i < cp->n; i++) {
		struct cube_cp_host *h = &cp->hosts[i];
		if (h->state == CUBE_CP_RUNNING &&
		    cube_rstream_silent(h->stream, cp->silence, h->busy))
			json_array_append_new(names, json_string(h->node));
	}
	if (json_array_size(names)) {
		cube_autofree char *folded = cube_fold_names(names);
		if (cp->hide) cp->hide(cp->arg);
		cube_rstream_say_silent(folded, cp->silence);
	}
	json_decref(names);
}

/* A manager that went away is started again, and reaches the nodes again. */
static int get_nodes(struct cube_cli *cli, json_t **ret, struct cube_err *err) {
	int rc = cube_client_json(cli->client, "GET", "/v1/nodes", NULL, ret, err);
	if (rc != CUBE_ECONNECT) return rc;
	rc = cube_client_start_manager(&cli->paths, err);
	return rc ? rc : cube_client_json(cli->client, "GET", "/v1/nodes", NULL, ret, err);
}

/* Those that wait for their nodes. */
static void look(struct cube_cp *cp) {
	uint64_t now = cube_clock_mono();
	json_t *reply = NULL;
	struct cube_err err;
	size_t waiting = 0;
	for (size_t i = 0; i < cp->n; i++) waiting += cp->hosts[i].state == CUBE_CP_WAITING;
	if (!waiting || now - cp->looked < LOOK_MS * CUBE_NS_PER_MS) return;
	tell_waiting(cp);
	cp->looked = now;
	int rc = get_nodes(cp->cli, &reply, &err);
	for (size_t i = 0; i < cp->n; i++) {
		struct cube_cp_host *h = &cp->hosts[i];
		if (h->state != CUBE_CP_WAITING) continue;
		if (rc) fail(h, err.msg);
		else look_at(h, state_of(json_object_get(reply, "nodes"), h->node));
	}
	json_decref(reply);
}

static size_t start_queued(struct cube_cp *cp) {
	size_t left = 0, running = 0;
	for (size_t i = 0; i < cp->n; i++) running += cp->hosts[i].state == CUBE_CP_RUNNING;
	for (size_t i = 0; i < cp->n; i++) {
		struct cube_cp_host *h = &cp->hosts[i];
		h->cp = cp;
		if (h->state == CUBE_CP_QUEUED && running < cp->fanout) {
			begin(h);
			running++;
		}
		left += h->state < CUBE_CP_DONE;
	}
	return left;
}

bool cube_cp_turn(struct cube_cp *cp, int wake_fd, int timeout_ms) {
	look(cp);
	size_t left = start_queued(cp), n = 1;
	if (!left) return false;
	struct pollfd *fds = cube_realloc_array(NULL, cp->n + 1, sizeof *fds);
	fds[0] = (struct pollfd){.fd = wake_fd, .events = POLLIN};
	for (size_t i = 0; i < cp->n; i++) {
		const struct cube_cp_host *h = &cp->hosts[i];
		if (h->state != CUBE_CP_RUNNING) continue;
		if (h->busy) timeout_ms = 0;
		fds[n++] = (struct pollfd){.fd = cube_rstream_fd(h->stream),
					   .events = cube_rstream_events(h->stream)};
	}
	poll(fds, n, timeout_ms);
	n = 1;
	for (size_t i = 0; i < cp->n; i++) {
		struct cube_cp_host *h = &cp->hosts[i];
		if (h->state != CUBE_CP_RUNNING) continue;
		bool ready = fds[n++].revents != 0;
		if (ready || h->busy) step(h, ready);
	}
	free(fds);
	tell_silent(cp);
	return true;
}

void cube_cp_done(struct cube_cp *cp) {
	for (size_t i = 0; i < cp->n; i++) {
		struct cube_cp_host *h = &cp->hosts[i];
		hang_up(h);
		free(h->node);
		free(h->dest);
		free(h->failure);
		cube_strv_done(&h->paths);
		cube_buf_done(&h->held);
		cube_buf_done(&h->said);
		json_decref(h->problems);
	}
	free(cp->hosts);
	cp->hosts = NULL;
	cp->n = 0;
}
