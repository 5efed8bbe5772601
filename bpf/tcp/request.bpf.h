/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * From the SYN to the accept queue: whom the kernel asked, what arrived, what met a full queue. All
 * of it runs in softirqs, where the current task has nothing to do with it.
 */
#ifndef ACCEPTTRACE_REQUEST_H
#define ACCEPTTRACE_REQUEST_H

#include "socket.bpf.h"
#include "tcp/event.bpf.h"

enum { IPV4_SOURCE = 12, IPV6_SOURCE = 8, TCP_LENGTH_AND_FLAGS = 12 }; /* offsets in headers */
enum { FLAG_SYN = 0x02, FLAG_RST = 0x04, FLAG_ACK = 0x10 };

/* The client's address and port, from the headers of its packet. */
static __always_inline void peer_read(struct sk_buff *skb, struct peer *peer)
{
	unsigned char *head = BPF_CORE_READ(skb, head);
	unsigned char *network = head + BPF_CORE_READ(skb, network_header);

	if (BPF_CORE_READ(skb, protocol) == __builtin_bswap16(ETH_P_IP)) {
		peer->family = AF_INET;
		bpf_probe_read_kernel(peer->address, 4, network + IPV4_SOURCE);
	} else {
		peer->family = AF_INET6;
		bpf_probe_read_kernel(peer->address, 16, network + IPV6_SOURCE);
	}
	bpf_probe_read_kernel(&peer->port, sizeof(peer->port),
			      head + BPF_CORE_READ(skb, transport_header));
}

/* Whether this is the first time; a client for whom there is no room is counted as lost. */
static __noinline bool peer_meet(struct peer *peer, __u32 owner)
{
	int error;

	if (peer_is_known(peer))
		return false;
	if (share_take(owner, SHARED_PEERS)) {
		error = peer_add(peer, owner);
		if (!error)
			return true;
		share_return(owner, SHARED_PEERS);
		if (error == -EEXIST) /* it is at another CPU too */
			return false;
	}
	lost_for(owner, SHARED_PEERS, LOSS_PEERS_FULL);
	return false;
}

static __always_inline void turned_away(struct listener *listener, struct sock *sk,
					struct sk_buff *skb)
{
	struct peer peer = {};

	peer.inode = inode_of(PROBED, sk);
	peer_read(skb, &peer);
	if (peer_meet(&peer, listener->owner))
		add(&listener->overflow_peers, 1);
	event_dropped(sk, &peer);
}

/* The queue holds one more than its limit. */
static __always_inline bool queue_is_full(enum access how, struct sock *sk)
{
	return READ(how, sk, sk_ack_backlog) > READ(how, sk, sk_max_ack_backlog);
}

/*
 * Only a SYN gets here, and only at the listener that it was steered to: no look-up without a
 * packet, no stray ACK, none that a selector refused.
 */
static __always_inline void requested(enum access how, struct sock *sk, struct sk_buff *skb)
{
	struct listener *listener = listener_of(how, sk);
	struct scratch *scratch;

	if (!listener)
		return;
	add(&listener->requests, 1);
	scratch = scratch_get();
	if (scratch)
		scratch->listener = (__u64)sk;
	if (queue_is_full(how, sk)) {
		add(&listener->overflow_syn, 1);
		turned_away(listener, sk, skb);
	}
}

/* The SYN that this CPU is handling gets a cookie: nothing is kept, its ACK will be steered anew.
 */
static __always_inline void cookie_sent(void)
{
	struct scratch *scratch = scratch_get();
	struct listener *listener;

	if (!scratch || !scratch->listener)
		return;
	listener = listener_of(PROBED, (struct sock *)scratch->listener);
	if (listener)
		add(&listener->cookies_sent, 1);
}

static __always_inline void arrived(enum access how, struct listener *listener, struct sock *sk)
{
	__u32 queue = READ(how, sk, sk_ack_backlog);

	add(&listener->arrived, 1);
	add(&listener->came_us, now_us());
	if (queue > listener->queue_max)
		listener->queue_max = queue;
}

/*
 * A final ACK that made nothing. The kernel ignores the bare one of TCP_DEFER_ACCEPT, and throws a
 * child away where another CPU was faster (`stolen`); a SYN again or a reset makes nothing either.
 */
static __always_inline bool met_full_queue(struct sock *sk, struct sk_buff *skb, bool stolen)
{
	struct request_sock_queue *queue = &((struct inet_connection_sock *)sk)->icsk_accept_queue;
	unsigned char *tcp = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header);
	__u8 defers = 0, header[2] = {};

	if (stolen || !queue_is_full(PROBED, sk))
		return false;
	bpf_probe_read_kernel(header, sizeof(header), tcp + TCP_LENGTH_AND_FLAGS);
	if ((header[1] & (FLAG_SYN | FLAG_RST | FLAG_ACK)) != FLAG_ACK)
		return false;
	bpf_probe_read_kernel(&defers, sizeof(defers), &queue->rskq_defer_accept);
	return !defers || BPF_CORE_READ(skb, len) > (__u32)(header[0] >> 4) * 4;
}

static __always_inline void overflowed(struct sock *sk, struct sk_buff *skb, bool stolen)
{
	struct listener *listener;

	if (BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN ||
	    !met_full_queue(sk, skb, stolen))
		return;
	listener = listener_of(PROBED, sk);
	if (!listener)
		return;
	add(&listener->overflow_ack, 1);
	if (aborts_on_overflow(sk))
		add(&listener->overflow_aborted, 1);
	turned_away(listener, sk, skb);
}

/* An ACK with a good cookie was steered anew; it made a child, or met a full queue. */
static __always_inline void cookie_came_back(struct sock *sk, struct sk_buff *skb,
					     struct sock *child)
{
	struct listener *listener = listener_of(PROBED, sk);

	if (!listener)
		return;
	add(&listener->cookies_back, 1);
	if (!child)
		overflowed(sk, skb, false);
}

/* A packet for a half-open request made a child, which is in the queue now; or none. */
static __always_inline void checked(enum access how, struct sock *sk, struct sock *child)
{
	struct listener *listener;

	if (child == sk) /* Fast Open: the child itself */
		return;
	listener = listener_after(how, sk, -1);
	if (listener)
		arrived(how, listener, sk);
}

/* With a cookie or by Fast Open the child goes into the queue without a half-open request. */
static __always_inline bool came_directly(struct request_sock *request, struct sock *child)
{
	return !BPF_CORE_READ(request, __req_common.skc_listener) ||
	       BPF_CORE_READ((struct tcp_sock *)child, fastopen_rsk);
}

/* About to be queued. Others than these were, or will be, seen elsewhere: as checked or migrated.
 */
static __always_inline void queued(struct sock *sk, struct request_sock *request,
				   struct sock *child)
{
	struct scratch *scratch = scratch_get();
	struct listener *listener;

	if (!scratch || scratch->moved == (__u64)child || !has_tcp(PROBED, sk) ||
	    !came_directly(request, child))
		return;
	listener = listener_of(PROBED, sk);
	if (listener)
		arrived(PROBED, listener, sk);
}

#endif
