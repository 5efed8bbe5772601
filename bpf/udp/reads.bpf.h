/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Which process read how many packets from a UDP socket. */
#ifndef ACCEPTTRACE_READS_H
#define ACCEPTTRACE_READS_H

#include "pidns.bpf.h"
#include "udp/datagrams.bpf.h"

/* A row for a process that reads a socket for the first time; a missing one is counted. */
static __noinline struct reader *reader_meet(struct reader_key *key, __u32 owner)
{
	struct reader first = {.owner = owner, .pid = current_pid() >> 32}, *reader;

	bpf_get_current_comm(first.comm, sizeof(first.comm));
	if (share_take(owner, SHARED_READERS) && reader_add(key, &first))
		share_return(owner, SHARED_READERS);
	reader = reader_get(key);
	if (!reader)
		lost_for(owner, SHARED_READERS, LOSS_READERS_FULL);
	return reader;
}

/* Whether a call took a packet: not an error, not the end of input, nothing only peeked at. */
static __always_inline bool took_packet(struct sock *sk, int length, int flags)
{
	if (length < 0 || flags & (MSG_PEEK | MSG_ERRQUEUE))
		return false;
	return length || !(BPF_CORE_READ(sk, sk_shutdown) & RCV_SHUTDOWN);
}

/* A raw socket may have the protocol UDP, too. */
static __always_inline bool is_udp(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_protocol) == IPPROTO_UDP &&
	       BPF_CORE_READ(sk, sk_type) == SOCK_DGRAM;
}

/* By the current process. */
static __always_inline void packet_read(struct sock *sk)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct reader_key key = {};
	struct receiver *receiver;
	struct reader *reader;

	receiver = wanted_receiver(PROBED, sk);
	if (!receiver)
		return;
	key.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	key.inode = inode_of(PROBED, sk);
	key.pid = bpf_get_current_pid_tgid() >> 32;
	reader = reader_get(&key);
	if (!reader)
		reader = reader_meet(&key, receiver->owner);
	if (reader)
		add(&reader->packets, 1);
}

/* At the end of a receive call. */
static __always_inline void received(struct sock *sk, int length, int flags)
{
	if (is_udp(sk) && took_packet(sk, length, flags))
		packet_read(sk);
}

/*
 * Where a receive call is done with a packet that it has copied. The length is negated if it only
 * peeked; that of an empty packet cannot be, but such a one is still in the queue (unless another
 * call took it in between), and what was taken never is.
 */
static __always_inline void consumed(struct sock *sk, struct sk_buff *skb, int length)
{
	bool peeked = length < 0 || (!length && BPF_CORE_READ(skb, next));

	if (is_udp(sk) && !peeked)
		packet_read(sk);
}

#endif
