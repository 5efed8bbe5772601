/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* An inventory of listeners: what no system call shows of them, the socket iterator writes. */
#ifndef ACCEPTTRACE_MEMBERS_H
#define ACCEPTTRACE_MEMBERS_H

#include "socket.bpf.h"

static __always_inline void selector_read(struct sock_reuseport *group, struct member *member)
{
	struct bpf_prog *program = BPF_CORE_READ(group, prog);
	struct bpf_prog_aux *more;

	if (!program)
		return;
	if (BPF_CORE_READ(program, type) == BPF_PROG_TYPE_UNSPEC) {
		member->program = PROGRAM_CLASSIC;
		return;
	}
	member->program = PROGRAM_EXTENDED;
	more = BPF_CORE_READ(program, aux);
	member->program_id = BPF_CORE_READ(more, id);
	bpf_probe_read_kernel(member->program_name, sizeof(member->program_name), &more->name);
}

/*
 * False where the socket is in no group. Not inlined, so that the type of its result stands in the
 * BTF of the object and can be checked.
 */
static __noinline bool member_read(struct sock *sk, struct member *member)
{
	struct sock_reuseport *group = BPF_CORE_READ(sk, sk_reuseport_cb);

	if (!group)
		return false;
	member->inode = inode_of(PROBED, sk);
	member->group = BPF_CORE_READ(group, reuseport_id);
	member->size = BPF_CORE_READ(group, num_socks);
	selector_read(group, member);
	member->incoming_cpu = incoming_cpu_members(group);
	return true;
}

/* Not inlined, as member_read(). */
static __noinline void tcp_member_read(struct sock *sk, struct tcp_member *found)
{
	struct inet_connection_sock *listener = (struct inet_connection_sock *)sk;

	found->member.inode = inode_of(PROBED, sk);
	found->half_open = half_open_at(sk);
	found->defers = BPF_CORE_READ(listener, icsk_accept_queue.rskq_defer_accept) != 0;
	member_read(sk, &found->member);
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
