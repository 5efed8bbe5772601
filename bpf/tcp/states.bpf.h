/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Arrivals, and queues that were closed, as far as changes of socket states alone show them. */
#ifndef ACCEPTTRACE_STATES_H
#define ACCEPTTRACE_STATES_H

#include "pidns.bpf.h"
#include "socket.bpf.h"
#include "tcp/event.bpf.h"

enum { NOTHING = ~0U };
enum { FLAG_DEAD = 1 << 0 }; /* SOCK_DEAD: nobody holds it any more */

static __noinline struct tally *port_met(struct port_key *key, __u32 owner)
{
	if (!share_take(owner, SHARED_PORTS))
		return NULL;
	if (port_add(key, owner))
		share_return(owner, SHARED_PORTS);
	return port_get(key);
}

/* The child knows the port, but not the socket, that it came to. */
static __always_inline void count_at_port(struct sock *child, __u32 of_what)
{
	struct settings *want = settings_get();
	struct port_key key = {};
	struct tally *tally;
	__u32 owner;

	if (!want || !listener_wanted(PROBED, want, child))
		return;
	key.netns = netns_of(PROBED, child);
	key.port = port_number(PROBED, child) | of_what;
	tally = port_get(&key);
	if (!tally) {
		owner = owner_of(child);
		tally = port_met(&key, owner);
	}
	if (tally)
		add(&tally->count, 1);
	else
		lost_for(owner, SHARED_PORTS, LOSS_PORTS_FULL);
}

/* Accepted, but the descriptor names another socket by now: user space may know which it was. */
static __always_inline void child_strayed(struct sock *child)
{
	struct settings *want = settings_get();

	if (want && (want->any_pid || pid_wanted(current_pid() >> 32)))
		count_at_port(child, PORT_STRAYS);
}

/* The row of a listener that ends; only if it `matters`, one that has none yet gets one. */
static __noinline struct listener *row_at_end(struct sock *sk, bool matters)
{
	__u32 inode = inode_of(PROBED, sk);
	struct listener *listener = listener_get(inode);

	return listener || !matters ? listener : listener_met(sk, inode, 0);
}

/* What waits now is reset, unless it may migrate: then it is not known. */
static __always_inline void listener_closed(struct sock *sk)
{
	struct settings *want = settings_get();
	__u32 queue = BPF_CORE_READ(sk, sk_ack_backlog), drops = drops_of(sk);
	__u32 half_open = half_open_at(sk);
	bool matters = queue || drops || half_open;
	struct closing closing = {.counted = queue};
	struct listener *listener;
	bool may_move;

	if (!want || !listener_wanted(PROBED, want, sk))
		return;
	may_move = !want->never_migrates && (migrates(sk) || selector_migrates(sk));
	closing.listener = may_move ? 0 : (__u64)sk;
	closing.netns = netns_of(PROBED, sk);
	closing.port = port_number(PROBED, sk);
	closing_put(bpf_get_current_pid_tgid(), &closing);
	listener = row_at_end(sk, matters);
	if (!listener)
		return;
	listener->drops = drops;
	listener->cut_off += half_open;
	if (half_open && may_move)
		listener->cut_off |= CUT_OFF_UNKNOWN;
	add(&listener->stops, 1);
	if (queue && may_move) {
		add(&listener->stakes_unknown, 1);
	} else if (queue) {
		add(&listener->lost, queue);
		event_reset(sk, inode_of(PROBED, sk), NULL, queue);
	}
}

/*
 * From the queue of a listener that closes. It came after the queue was counted, if more have left
 * and are left than were counted. Subflows of MPTCP have no process either, accepted or not.
 */
static __always_inline void child_reset(struct sock *child)
{
	struct closing *closing = closing_get(bpf_get_current_pid_tgid());
	struct listener *listener;
	struct sock *sk;
	__u32 seen;

	if (!closing || !closing->listener || closing->port != port_number(PROBED, child) ||
	    closing->netns != netns_of(PROBED, child) || is_mptcp(child))
		return;
	sk = (struct sock *)closing->listener;
	seen = ++closing->seen + BPF_CORE_READ(sk, sk_ack_backlog);
	if (seen <= closing->counted)
		return;
	listener = row_at_end(sk, true);
	if (listener) {
		add(&listener->lost, seen - closing->counted);
		event_reset(sk, inode_of(PROBED, sk), NULL, seen - closing->counted);
	}
	closing->counted = seen;
}

/*
 * A socket that no process has. If it was half-open, its listener ended to listen just before it
 * was to be queued: it is reset, and nobody can have accepted it; but one of Fast Open is queued by
 * then. What the other side or time has ended has an error. And a child that ends alone was
 * made of a listener that was ending. Returns as what it counts at its port.
 */
static __always_inline __u32 child_ended(struct sock *child, __u32 state)
{
	if (state == TCP_SYN_RECV && !BPF_CORE_READ((struct tcp_sock *)child, fastopen_rsk))
		return PORT_UNMADE;
	if (BPF_CORE_READ(child, __sk_common.skc_flags) & FLAG_DEAD)
		return NOTHING;
	if (BPF_CORE_READ(child, sk_err))
		return state == TCP_FIN_WAIT1 ? PORT_LATE : NOTHING;
	child_reset(child);
	return NOTHING;
}

#endif
