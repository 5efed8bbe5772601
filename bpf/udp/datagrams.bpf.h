/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* To which socket of a SO_REUSEPORT group a packet was steered, and what the queue took. */
#ifndef ACCEPTTRACE_DATAGRAMS_H
#define ACCEPTTRACE_DATAGRAMS_H

#include "socket.bpf.h"

/* A row of its own for a socket seen for the first time; a missing one is counted. */
static __noinline struct receiver *receiver_meet(struct sock *sk, __u32 inode)
{
	__u32 owner = owner_of(sk);
	struct receiver first = {.owner = owner}, *receiver;

	first.netns = netns_of(PROBED, sk);
	first.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	first.port = port_number(PROBED, sk);
	address_read(sk, first.address);
	if (share_take(owner, SHARED_RECEIVERS) && receiver_add(inode, &first))
		share_return(owner, SHARED_RECEIVERS);
	receiver = receiver_get(inode);
	if (!receiver)
		lost_for(owner, SHARED_RECEIVERS, LOSS_RECEIVERS_FULL);
	return receiver;
}

/* The counters of a UDP socket that the filters let through. */
static __always_inline struct receiver *wanted_receiver(enum access how, struct sock *sk)
{
	struct settings *want = settings_get();
	struct receiver *receiver;
	__u32 inode;

	if (!want || READ(how, sk, sk_protocol) != IPPROTO_UDP || !socket_wanted(how, want, sk))
		return NULL;
	inode = inode_of(how, sk);
	if (!inode) {
		lost(LOSS_UNATTRIBUTED);
		return NULL;
	}
	receiver = receiver_get(inode);
	return receiver ? receiver : receiver_meet(sk, inode);
}

/*
 * The same function also chooses for TCP, and for look-ups without a packet: GRO, ICMP errors,
 * sock_diag, BPF helpers.
 */
static __always_inline bool is_datagram(enum access how, struct sock *sk, struct sk_buff *skb)
{
	return skb && READ(how, sk, sk_protocol) == IPPROTO_UDP;
}

/* `chosen`: NULL where there is no group yet, an ERR_PTR where an eBPF selector dropped it. */
static __always_inline void steered(struct sock *chosen)
{
	struct receiver *receiver;

	if (!chosen || (unsigned long)chosen >= (unsigned long)-MAX_ERRNO)
		return;
	receiver = wanted_receiver(PROBED, chosen);
	if (receiver)
		add(&receiver->selected, 1);
}

/* A packet may be many datagrams: sent as one (UDP_SEGMENT), or put together by GRO. */
static __always_inline __u32 datagrams_in(struct sk_buff *skb)
{
	struct skb_shared_info *shared = (void *)BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end);
	__u32 size = BPF_CORE_READ(shared, gso_size), length = BPF_CORE_READ(skb, len);

	return size ? (length + size - 1) / size : 1;
}

/* At the entry, for once it is queued another CPU may read and free it. */
static __always_inline void offered(enum access how, struct sock *sk, __u32 count)
{
	struct receiver *receiver = wanted_receiver(how, sk);

	if (receiver)
		add(&receiver->offered, count);
}

static __always_inline void dropped(enum access how, struct sock *sk, __u32 count)
{
	struct receiver *receiver = wanted_receiver(how, sk);

	if (receiver)
		add(&receiver->dropped, count);
}

#endif
