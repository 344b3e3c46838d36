#include "wake.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/id.h"
#include "cube/log.h"
#include "cube/mem.h"

#define RETRY_MAX_NS (30 * CUBE_NS_PER_S)
#define NUDGE_MIN_NS (10 * CUBE_NS_PER_S)
#define SETTLE_NS    (300 * CUBE_NS_PER_MS) /* a network comes up in several steps */
#define SPREAD_NS    (500 * CUBE_NS_PER_MS)
#define DOUBT_NS     (8 * CUBE_NS_PER_S)
#define SLEPT_NS     (2 * CUBE_NS_PER_S)
#define RENEWED_CS   200 /* hundredths of a second after the address came */

struct cube_wake {
	struct cube_fleet *fleet;
	int fd; /* netlink, or -1 */
	struct cube_io *io;
	struct cube_timer *settle;
	uint64_t asleep; /* how long this machine has slept in all, as seen last */
	uint64_t nudged; /* loop time, 0: never */
	bool links;      /* that time links were doubted too */
};

/* Hosts that were lost together do not all come at once. */
void cube_node_retry_later(struct cube_node *node) {
	uint64_t pause = CUBE_NS_PER_S << (node->link->retries < 5 ? node->link->retries : 5);
	if (node->link->retries < 31) node->link->retries++;
	if (pause > RETRY_MAX_NS) pause = RETRY_MAX_NS;
	cube_timer_after(node->link->timer, pause * 3 / 4 + cube_id_u64() % (pause / 4));
}

/* One that refuses us, as by another host key, has no timer and waits for its user. */
static void try_soon(struct cube_node *node) {
	if (node->state != CUBE_NODE_LOST || node->link->transport ||
	    !cube_timer_armed(node->link->timer))
		return;
	node->link->retries = 0;
	cube_timer_after(node->link->timer, cube_id_u64() % SPREAD_NS);
}

static void doubt(struct cube_node *node) {
	uint64_t now = cube_loop_now(node->fleet->is.turn->loop);
	if (node->state != CUBE_NODE_READY) return;
	node->link->doubted = now;
	cube_timer_after(node->link->timer, DOUBT_NS);
	cube_node_send(node, &(struct cube_msg){.type = CUBE_MSG_PING, .ping.token = now});
}

/* A login that needs a person is not given up in haste. */
bool cube_node_is_deaf(struct cube_node *node) {
	uint64_t doubted = node->link->doubted;
	if (!doubted || cube_loop_now(node->fleet->is.turn->loop) - doubted < DOUBT_NS)
		return false;
	node->link->doubted = 0;
	return !node->link->by_person && !node->link->by_jump && node->link->heard <= doubted;
}

static void nudge(struct cube_wake *w, bool links) {
	uint64_t now = cube_loop_now(w->fleet->is.turn->loop);
	bool more = links && !w->links; /* a host that is back is no reason to overlook a network */
	if (w->nudged && now - w->nudged < NUDGE_MIN_NS && !more) return;
	w->nudged = now;
	w->links = links;
	cube_list_each (&w->fleet->list, node, struct cube_node, hook) {
		try_soon(node);
		if (links) doubt(node);
	}
}

void cube_wake_back(struct cube_wake *w) {
	nudge(w, false);
}

void cube_wake_check(struct cube_wake *w) {
	uint64_t asleep = cube_clock_asleep();
	if (asleep > w->asleep + SLEPT_NS) {
		cube_info("this machine slept for %llu s",
			  (unsigned long long)((asleep - w->asleep) / CUBE_NS_PER_S));
		nudge(w, true);
	}
	w->asleep = asleep;
}

/* ---- the network -------------------------------------------------------------------------- */

/* A lease that is renewed, or a router that advertises itself, tells of an old address again. */
static bool is_renewal(const struct nlmsghdr *h) {
	unsigned left = (unsigned)IFA_PAYLOAD(h);
	struct ifa_cacheinfo info;
	for (const struct rtattr *r = IFA_RTA((const struct ifaddrmsg *)NLMSG_DATA(h));
	     RTA_OK(r, left); r = RTA_NEXT(r, left)) {
		if (r->rta_type != IFA_CACHEINFO || RTA_PAYLOAD(r) < sizeof info) continue;
		memcpy(&info, RTA_DATA(r), sizeof info);
		return info.tstamp - info.cstamp > RENEWED_CS;
	}
	return false;
}

/* Containers come and go all the time; what opens a way is an address of more than this link, or a
 * way to everywhere. */
static bool opens_a_way(const struct nlmsghdr *h) {
	if (h->nlmsg_type == RTM_NEWADDR &&
	    h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifaddrmsg))) {
		const struct ifaddrmsg *a = NLMSG_DATA(h);
		return a->ifa_scope == RT_SCOPE_UNIVERSE && !is_renewal(h);
	}
	if (h->nlmsg_type == RTM_NEWROUTE && h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct rtmsg))) {
		const struct rtmsg *r = NLMSG_DATA(h);
		return r->rtm_dst_len == 0 && r->rtm_type == RTN_UNICAST;
	}
	return false;
}

static void on_netlink(void *arg, uint32_t events) {
	struct cube_wake *w = arg;
	_Alignas(struct nlmsghdr) char bytes[16384];
	ssize_t n;
	while ((n = recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
		unsigned left = (unsigned)n;
		for (const struct nlmsghdr *h = (const void *)bytes; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left))
			if (opens_a_way(h)) cube_timer_after(w->settle, SETTLE_NS);
	}
	if (n < 0 && errno == ENOBUFS) cube_timer_after(w->settle, SETTLE_NS); /* some are lost */
}

static void on_settled(void *arg) {
	cube_info("a new address or default route: all hosts are tried");
	nudge(arg, true);
}

static void watch_network(struct cube_wake *w) {
	struct sockaddr_nl at = {.nl_family = AF_NETLINK,
				 .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
					      RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE};
	struct cube_err err;
	w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (w->fd < 0) return;
	if (bind(w->fd, (const struct sockaddr *)&at, sizeof at) == 0 &&
	    cube_io_add(w->fleet->is.turn->loop, w->fd, EPOLLIN, on_netlink, w, &w->io, &err) == 0)
		return;
	close(w->fd);
	w->fd = -1;
}

void cube_wake_new(struct cube_fleet *fleet, struct cube_wake **ret) {
	struct cube_wake *w = cube_alloc(sizeof *w);
	w->fleet = fleet;
	w->asleep = cube_clock_asleep();
	w->settle = cube_timer_add(fleet->is.turn->loop, on_settled, w);
	watch_network(w);
	*ret = w;
}

void cube_wake_free(struct cube_wake *w) {
	if (!w) return;
	cube_io_del(w->io);
	if (w->fd >= 0) close(w->fd);
	cube_timer_del(w->settle);
	free(w);
}
