/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* The end of accept() and accept4() → the logic, for kernels without trampolines and kprobes. */
#include "descriptor.bpf.h"

static __always_inline void accept_returned(struct pt_regs *regs, long returned)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct file *file = file_of(task, SYSCALL_FD(regs));
	struct sock *listener = sock_of(file);
	__u32 inode;

	if (!listener || is_compat(task) || !is_inet(listener) || !traced(PROBED, listener))
		return;
	inode = BPF_CORE_READ(file, f_inode, i_ino);
	if (returned >= 0)
		accepted(listener, inode, sock_of(file_of(task, returned)));
	else if (BPF_CORE_READ(listener, __sk_common.skc_state) == TCP_LISTEN)
		failed(listener, inode, -returned);
}

SEC("raw_tp/sys_exit")
int raw_tp_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)ctx->args[0];

	if (is_accept(SYSCALL_NUMBER(regs)))
		accept_returned(regs, ctx->args[1]);
	return 0;
}
