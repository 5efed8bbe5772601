/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* An inventory of listeners: what no system call shows of them, the socket iterator writes. */
#ifndef ACCEPTTRACE_MEMBERS_H
#define ACCEPTTRACE_MEMBERS_H

#include "group.bpf.h"
#include "tcp/accept.bpf.h"

static __always_inline struct request_sock *head_of(struct inet_connection_sock *listener)
{
	return BPF_CORE_READ(listener, icsk_accept_queue.rskq_accept_head);
}

/* The queue may move while this reads it: the answer stands if its head is still the same. */
static __always_inline __u64 oldest_wait(struct inet_connection_sock *listener)
{
	struct request_sock *head = head_of(listener);
	__u64 since, now;

	if (!head || !ready_us(PROBED, BPF_CORE_READ(head, sk), &since) || !since ||
	    head_of(listener) != head)
		return 0;
	now = bpf_ktime_get_ns() / 1000;
	return now > since ? now - since : 1;
}

enum { READ_AT_ONCE = 16 }; /* a group has room for 128, or for twice as many, and so on */

/* Its place in the group, from 1 on; 0: not found. Members move as others leave. */
VERIFIED_ONCE __u32 place_of_member(__u64 group, __u64 sk, __u32 size)
{
	struct sock_reuseport *all = (void *)group;
	__u64 some[READ_AT_ONCE] = {};

	for (__u32 first = 0; first < PLACES_READ && first < size; first += READ_AT_ONCE) {
		bpf_probe_read_kernel(some, sizeof(some), &all->socks[0] + first);
#pragma unroll
		for (__u32 i = 0; i < READ_AT_ONCE; i++)
			if (some[i] == sk)
				return first + i < size ? first + i + 1 : 0;
	}
	return 0;
}

static __always_inline __u32 place_in_group(struct sock *sk)
{
	struct sock_reuseport *group = BPF_CORE_READ(sk, sk_reuseport_cb);
	__u64 address = 0;

	if (!group)
		return 0;
	bpf_probe_read_kernel(&address, sizeof(address), &sk); /* as a number */
	return place_of_member((__u64)group, address, BPF_CORE_READ(group, num_socks));
}

static __always_inline __u32 setting_of(bool is_set)
{
	return is_set ? SET : NOT_SET;
}

/* What its program has set. */
static __always_inline void options_read(struct sock *sk, struct tcp_member *found)
{
	struct inet_connection_sock *listener = (struct inet_connection_sock *)sk;

	if (READS_BITS)
		found->reuseport = setting_of(READ_BIT((struct sock_common *)sk, skc_reuseport));
	found->defers = BPF_CORE_READ(listener, icsk_accept_queue.rskq_defer_accept) != 0;
	found->mptcp = is_mptcp(sk);
	found->fast_open = BPF_CORE_READ(listener, icsk_accept_queue.fastopenq.max_qlen);
	found->incoming_cpu = BPF_CORE_READ(sk, __sk_common.skc_incoming_cpu);
}

/* Not inlined, as member_read(). */
static __noinline void tcp_member_read(struct sock *sk, struct tcp_member *found)
{
	struct inet_connection_sock *listener = (struct inet_connection_sock *)sk;

	found->member.inode = inode_of(PROBED, sk);
	found->half_open = half_open_at(sk);
	found->oldest_us = oldest_wait(listener);
	options_read(sk, found);
	if (READS_PLACES)
		found->place = place_in_group(sk);
	member_read(sk, &found->member);
	found->in_kernel = is_of_kernel(sk);
}

/*
 * Listeners come first. Whoever is asked to show a socket again (1) gives the reader what it wrote,
 * then EAGAIN: so the many established ones are never walked.
 */
SEC("iter/tcp")
int iter_members(struct bpf_iter__tcp *ctx)
{
	struct sock *sk = (void *)ctx->sk_common;
	struct tcp_member found = {};

	if (!sk)
		return 0;
	if (BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN)
		return 1;
	tcp_member_read(sk, &found);
	bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

#endif
