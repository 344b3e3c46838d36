/* Servers that hang up before the key exchange is done, and trying them again.
 *
 * sshd drops connections at random while too many others are logging in (MaxStartups): a reset, an
 * end of file before or right after the greeting, in newer ones the words "Exceeded MaxStartups",
 * from 9.8 on "Not allowed at this time", which it also says for PerSourcePenalties.
 * Nobody is to see that unless it goes on for as long as connecting may take.
 */
#include <string.h>

#include "cube/id.h"
#include "ssh_priv.h"

enum { DROPS_MAX = 30, DROPS_SILENT_PROXY = 4, DOUBLINGS = 5 };
static const uint64_t PAUSE_NS = 60 * CUBE_NS_PER_MS;

/* What a proxy (OpenSSH, mostly) says when the server it goes through, or the one it goes to, did
 * the same to it. */
static bool proxy_was_dropped(const char *says) {
	static const char *const WORDS[] = {"kex_exchange_identification", "Exceeded MaxStartups",
					    "banner exchange", "Connection reset by peer",
					    "Connection closed by"};
	for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++)
		if (strstr(says, WORDS[i])) return true;
	return false;
}

static bool is_not_now(const struct ssh_conn *c) {
	return !strncmp(c->hello, "Not allowed at this time", 24);
}

static bool was_dropped(struct ssh_conn *c) {
	const char *says = c->dial ? cube_dial_proxy_says(c->dial) : NULL;
	if (c->state != SSH_KEX || !c->link_eof || c->bye[0]) return false;
	if (says && (c->received || !proxy_was_dropped(says))) return false;
	if (!c->received) return true;
	return !strncmp(c->hello, "SSH-", 4) || !strncmp(c->hello, "Exceeded MaxStartups", 20) ||
	       is_not_now(c);
}

static void note_drop(struct ssh_conn *c) {
	const char *says = cube_dial_proxy_says(c->dial);
	const char *when =
		strncmp(c->hello, "SSH-", 4) ? "before its greeting" : "after its greeting";
	c->drops++;
	if (says)
		cube_fail(&c->dropped, CUBE_ECONNECT, "connecting to %s: %.120s", cube_ssh_where(c),
			  says);
	else if (is_not_now(c))
		cube_fail(&c->dropped, CUBE_ECONNECT,
			  "%s refuses logins for now (too many at once or failed ones before, see "
			  "MaxStartups and PerSourcePenalties in sshd_config)",
			  cube_ssh_where(c));
	else
		cube_fail(
			&c->dropped, CUBE_ECONNECT,
			"%s closed the connection %s (too many logins at once, see MaxStartups in "
			"sshd_config, or a firewall)",
			cube_ssh_where(c), when);
	c->dropped.sys = c->link_sys;
}

void cube_ssh_again_failed(struct ssh_conn *c) {
	struct cube_err err = c->dropped;
	cube_wrap(&err, "tried %u time%s in %g s", c->drops, c->drops == 1 ? "" : "s",
		  (double)c->timeout_ns / (double)CUBE_NS_PER_S);
	cube_ssh_fail(c, &err);
}

static void forget_link(struct ssh_conn *c) {
	cube_ssh_link_stop(c);
	cube_dial_dropped(c->dial);
	cube_dial_free(c->dial);
	c->dial = NULL;
	cube_buf_clear(&c->in);
	cube_buf_clear(&c->out);
	c->fed_len = 0;
	c->received = 0;
	c->hello[0] = '\0';
	c->link_sys = 0;
	c->link_eof = false;
	c->state = SSH_DIAL;
}

uint64_t cube_ssh_again_pause(unsigned drops, bool silent_proxy) {
	if (drops >= (silent_proxy ? DROPS_SILENT_PROXY : DROPS_MAX)) return 0;
	uint64_t pause = PAUSE_NS << (drops < DOUBLINGS ? drops : DOUBLINGS);
	return pause / 2 + cube_id_u64() % pause;
}

bool cube_ssh_again(struct ssh_conn *c) {
	bool silent_proxy;
	if (!was_dropped(c)) return false;
	silent_proxy = c->config.proxycommand && !cube_dial_proxy_says(c->dial);
	note_drop(c);
	uint64_t pause = cube_ssh_again_pause(c->drops, silent_proxy);
	if (!pause) {
		cube_ssh_again_failed(c);
		return true;
	}
	forget_link(c);
	cube_timer_after(c->again, pause);
	return true;
}
