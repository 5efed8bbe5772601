/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Probe registers, and the end of accept() and accept4(), → the logic of AF_UNIX. Not the end of
 * unix_accept(), which is not seen of threads that slept in it when it was attached.
 */
#ifndef ACCEPTTRACE_UNIX_ATTACH_H
#define ACCEPTTRACE_UNIX_ATTACH_H

#include "unix/accept.bpf.h"
#include "unix/request.bpf.h"

SEC("raw_tp/sys_exit")
int raw_tp_unix_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)ctx->args[0];
	long returned = ctx->args[1];

	if (!is_accept(SYSCALL_NUMBER(regs)) || is_compat((void *)bpf_get_current_task()))
		return 0;
	if (returned >= 0) {
		event_fd_is(returned);
		unix_accept_returned(SYSCALL_FD(regs), returned);
		event_fd_forget();
	} else {
		call_failed(SYSCALL_FD(regs), -returned, true);
	}
	return 0;
}

SEC("kprobe/skb_free_datagram")
int kprobe_unix_taken(struct pt_regs *ctx)
{
	unix_taken(PROBED, ARGUMENT1(ctx), ARGUMENT2(ctx));
	return 0;
}

SEC("kprobe/unix_accept")
int kprobe_unix_accept(struct pt_regs *ctx)
{
	struct socket *socket = ARGUMENT1(ctx);

	unix_accept_entered(BPF_CORE_READ(socket, sk), accept_cannot_sleep(ARGUMENT3(ctx)));
	return 0;
}

/* A return alone does not know the arguments. */
SEC("kprobe/security_unix_stream_connect")
int kprobe_unix_connect(struct pt_regs *ctx)
{
	unix_queueing(ARGUMENT2(ctx), ARGUMENT3(ctx));
	return 0;
}

/* It does not sleep, for the queue is locked. */
SEC("kretprobe/security_unix_stream_connect")
int kretprobe_unix_connect(struct pt_regs *ctx)
{
	if (!(int)(__u64)RETURNED(ctx))
		unix_queueing_ended();
	return 0;
}

SEC("kprobe/unix_release_sock")
int kprobe_unix_release(struct pt_regs *ctx)
{
	unix_released(PROBED, ARGUMENT1(ctx), (int)(__u64)ARGUMENT2(ctx));
	return 0;
}

SEC("kprobe/__sys_accept4")
int kprobe_unix_sys_accept4(struct pt_regs *ctx)
{
	call_begins((__u64)ARGUMENT1(ctx), true);
	return 0;
}

#endif
