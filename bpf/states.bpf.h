/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* What changes of socket states alone tell of arrivals and of queues that were closed. */
#ifndef ACCEPTTRACE_STATES_H
#define ACCEPTTRACE_STATES_H

#include "socket.bpf.h"

static __noinline struct tally *port_met(struct port_key *key, __u32 owner)
{
	if (!share_take(owner, SHARED_PORTS))
		return NULL;
	if (port_add(key, owner))
		share_return(owner, SHARED_PORTS);
	return port_get(key);
}

/* The child knows the port, but not the socket, that it came to. */
static __always_inline void child_made(struct sock *child)
{
	struct settings *want = settings_get();
	struct port_key key = {};
	struct tally *tally;
	__u32 owner;

	if (!want || !listener_wanted(PROBED, want, child))
		return;
	key.netns = netns_of(PROBED, child);
	key.port = BPF_CORE_READ(child, __sk_common.skc_num);
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

/* What waits now is reset, unless it may migrate: then nobody tells. */
static __always_inline void listener_closed(struct sock *sk)
{
	struct settings *want = settings_get();
	__u32 queue = BPF_CORE_READ(sk, sk_ack_backlog), drops = drops_of(sk);
	__u32 half_open = half_open_at(sk);
	bool matters = queue || drops || half_open;
	struct listener *listener = matters ? listener_of(PROBED, sk) : listener_known(sk);
	bool may_move;

	if (!listener || !want)
		return;
	may_move = !want->never_migrates && (migrates(sk) || selector_migrates(sk));
	listener->drops = drops;
	listener->cut_off += half_open;
	if (half_open && may_move)
		listener->cut_off |= CUT_OFF_UNKNOWN;
	add(&listener->stops, 1);
	if (!queue)
		return;
	if (may_move)
		add(&listener->stakes_unknown, 1);
	else
		add(&listener->lost, queue);
}

#endif
