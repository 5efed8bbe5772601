/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The end of accept() and accept4() → the logic of AF_UNIX. On all kernels: unlike the end of
 * unix_accept(), it is also seen of threads that slept in the call when it was attached.
 */
#ifndef ACCEPTTRACE_UNIX_ATTACH_H
#define ACCEPTTRACE_UNIX_ATTACH_H

#include "unix/accept.bpf.h"

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

#endif
