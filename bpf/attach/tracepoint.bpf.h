/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The end of accept() and accept4(), and the life of sockets → the logic, for kernels without
 * trampolines and kprobes. The end of receive calls (since 6.3), for all.
 */
#ifndef ACCEPTTRACE_TRACEPOINT_H
#define ACCEPTTRACE_TRACEPOINT_H

#include "tcp/descriptor.bpf.h"
#include "tcp/states.bpf.h"
#include "udp/reads.bpf.h"

static __always_inline void accept_returned(struct pt_regs *regs, long returned)
{
	struct file *file = file_of(SYSCALL_FD(regs));
	struct sock *listener = sock_of(file), *child = sock_of(file_of(returned));

	if (came_from(listener, child))
		accepted(PROBED, wanted(PROBED, listener), listener,
			 BPF_CORE_READ(file, f_inode, i_ino), child);
	else if (child && is_inet(child))
		child_strayed(child);
}

SEC("raw_tp/sys_exit")
int raw_tp_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)ctx->args[0];
	long returned = ctx->args[1];

	if (!is_accept(SYSCALL_NUMBER(regs)) || is_compat((void *)bpf_get_current_task()))
		return 0;
	if (returned >= 0) {
		event_fd_is(returned);
		accept_returned(regs, returned);
		event_fd_forget();
	} else {
		accept_failed(SYSCALL_FD(regs), -returned);
	}
	return 0;
}

SEC("raw_tp/inet_sock_set_state")
int raw_tp_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (void *)ctx->args[0];
	__u32 what = NOTHING;

	/* The listener may end before its copy has a state of its own. A client's is SYN_SENT. */
	if ((ctx->args[1] == TCP_LISTEN || ctx->args[1] == TCP_CLOSE) &&
	    ctx->args[2] == TCP_SYN_RECV)
		what = 0;
	else if (ctx->args[1] == TCP_LISTEN && ctx->args[2] == TCP_CLOSE)
		listener_closed(sk);
	else if (ctx->args[2] == TCP_CLOSE && !BPF_CORE_READ(sk, sk_socket))
		what = child_ended(sk, ctx->args[1]);
	if (what != NOTHING)
		count_at_port(sk, what);
	return 0;
}

SEC("raw_tp/sock_recv_length")
int raw_tp_recv_length(struct bpf_raw_tracepoint_args *ctx)
{
	received((void *)ctx->args[0], ctx->args[1], ctx->args[2]);
	return 0;
}

#endif
