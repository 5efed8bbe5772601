/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Probe registers → the logic. Entry-side where a call may sleep: a kretprobe on inet_csk_accept
 * runs out of instances and sees one in six accepts of a blocking prefork server.
 */
#include "graft.bpf.h"

SEC("kprobe/__inet_accept")
int kprobe_inet_accept(struct pt_regs *ctx)
{
	struct socket *socket = ARGUMENT1(ctx);
	struct sock *listener = BPF_CORE_READ(socket, sk);

	if (traced(PROBED, listener))
		accepted(listener, inode_of(listener), ARGUMENT3(ctx));
	return 0;
}

SEC("kprobe/inet_csk_accept")
int kprobe_csk_accept(struct pt_regs *ctx)
{
	struct sock *listener = ARGUMENT1(ctx);

	if (BPF_CORE_READ(listener, __sk_common.skc_state) == TCP_LISTEN &&
	    traced(PROBED, listener))
		entered(listener, inode_of(listener), accept_cannot_sleep(ARGUMENT2(ctx)));
	return 0;
}

SEC("kprobe/inet_csk_accept")
int kprobe_csk_accept_called(struct pt_regs *ctx)
{
	called(ARGUMENT1(ctx));
	return 0;
}

SEC("kprobe/security_sock_graft")
int kprobe_sock_graft(struct pt_regs *ctx)
{
	grafted(ARGUMENT1(ctx));
	return 0;
}

/* The return alone does not know the packet; selection never sleeps, so the CPU ties them. */
SEC("kprobe/reuseport_select_sock")
int kprobe_select_sock(struct pt_regs *ctx)
{
	__u64 *syn = selecting_get();

	if (syn)
		*syn = asks_for_connection(ARGUMENT1(ctx), ARGUMENT3(ctx));
	return 0;
}

SEC("kretprobe/reuseport_select_sock")
int kretprobe_select_sock(struct pt_regs *ctx)
{
	__u64 *syn = selecting_get();

	if (syn && *syn) {
		*syn = 0;
		selected(RETURNED(ctx));
	}
	return 0;
}
