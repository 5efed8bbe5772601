/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Which system call a task is in, by the registers that it entered the kernel with. */
#ifndef ACCEPTTRACE_SYSCALL_H
#define ACCEPTTRACE_SYSCALL_H

#include "drift.bpf.h"

static __always_inline bool is_accept(int number)
{
	return number == NR_accept4 || number == NR_accept;
}

/* They lie at the end of its stack in the kernel. */
static __always_inline struct pt_regs *syscall_registers(struct task_struct *task)
{
	void *stack = BPF_CORE_READ(task, stack);

	return stack + KERNEL_STACK - SIZE_OF(pt_regs);
}

/* A 32-bit program has other numbers: it is taken to be in one. */
static __always_inline bool in_accept_syscall(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct pt_regs *regs = syscall_registers(task);

	return is_compat(task) || is_accept(SYSCALL_NUMBER(regs));
}

#endif
