/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The accept() that a thread is in, remembered at its entry.
 *
 * Kernels without __inet_accept (see drift.bpf.h): nothing that runs after the sleep gets both
 * sockets. So the entry of inet_csk_accept remembers the listener of the thread, and
 * security_sock_graft, which runs after the sleep with the child, counts. A thread that slept
 * before the tracer attached has no entry: its listener is found by the descriptor in the registers
 * of its system call.
 */
#ifndef ACCEPTTRACE_GRAFT_H
#define ACCEPTTRACE_GRAFT_H

#include "tcp/descriptor.bpf.h"

static __always_inline void called(struct sock *listener)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct call *call = call_get(thread), first = {};

	if (call) {
		call->listener = (__u64)listener;
		return;
	}
	first.thread = current_pid();
	first.listener = (__u64)listener;
	call_put(thread, &first);
}

/* The listener of the accept() that the current task is in; NULL where it is not known. */
static __always_inline struct sock *listener_of_syscall(struct sock *child)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct pt_regs *regs = syscall_registers(task);
	struct sock *listener;

	if (is_compat(task) || !is_accept(SYSCALL_NUMBER(regs)))
		return NULL;
	listener = sock_of(file_of(SYSCALL_FD(regs)));
	return came_from(listener, child) ? listener : NULL;
}

static __always_inline void grafted(struct sock *child)
{
	struct sock *listener;
	struct call *call;

	if (!is_inet(child) || !is_tcp(BPF_CORE_READ(child, sk_protocol)))
		return;
	call = call_get(bpf_get_current_pid_tgid());
	listener =
		call && call->listener ? (struct sock *)call->listener : listener_of_syscall(child);
	if (!listener)
		lost(LOSS_UNATTRIBUTED);
	else
		accepted(PROBED, wanted(PROBED, listener), listener, inode_of(PROBED, listener),
			 child);
}

#endif
