/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* An inventory of UDP sockets: their reuseport groups and queues, which no system call shows. */
#ifndef ACCEPTTRACE_RECEIVERS_H
#define ACCEPTTRACE_RECEIVERS_H

#include "group.bpf.h"

/* Not inlined, so that the type of its result stands in the BTF of the object. */
static __noinline void udp_member_read(struct udp_sock *udp, struct udp_member *found)
{
	struct sock *sk = (struct sock *)udp;

	found->member.inode = inode_of(PROBED, sk);
	found->queue =
		BPF_CORE_READ(sk, sk_receive_queue.qlen) + BPF_CORE_READ(udp, reader_queue.qlen);
	found->in_kernel = is_of_kernel(sk);
	member_read(sk, &found->member);
}

SEC("iter/udp")
int iter_receivers(struct bpf_iter__udp *ctx)
{
	struct udp_sock *udp = ctx->udp_sk;
	struct udp_member found = {};

	if (udp) {
		udp_member_read(udp, &found);
		bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	}
	return 0;
}

#endif
