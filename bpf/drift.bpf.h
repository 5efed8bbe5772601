/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Every difference between kernels that the logic meets, each with the kernel commit that made it.
 */
#ifndef ACCEPTTRACE_DRIFT_H
#define ACCEPTTRACE_DRIFT_H

/* 92ef0fd55ac8 ("net: change proto and proto_ops accept type"), 6.10: (sk, flags, err, kern) became
 * (sk, arg). Trampolines choose by the parameter count in BTF, see fentry.bpf.h. */
static __always_inline bool accept_cannot_sleep(void *flags_or_arg)
{
	if (HAS_FIELD(proto_accept_arg, flags))
		return BPF_CORE_READ((struct proto_accept_arg *)flags_or_arg, flags) & O_NONBLOCK;
	return (unsigned long)flags_or_arg & O_NONBLOCK;
}

#ifndef PLACED_BY_HEADERS /* nobody asks: without BTF there is no iterator either */
/* In 6.1 but not in 5.10: SO_INCOMING_CPU takes part in the selection. */
static __always_inline __u32 incoming_cpu_members(struct sock_reuseport *group)
{
	if (HAS_FIELD(sock_reuseport, incoming_cpu))
		return BPF_CORE_READ(group, incoming_cpu);
	return 0;
}
#endif

/* THREAD_SIZE of x86-64 and arm64 without KASAN: the registers of a system call lie at its end.
 * bpf_task_pt_regs() would tell, but came with 5.15; only older kernels are asked (graft.bpf.h). */
enum { KERNEL_STACK = 16384 };

/* Syscall numbers and registers at sys_exit. A 32-bit task on a 64-bit kernel has other numbers. */
#if defined(__TARGET_ARCH_x86)
enum { NR_accept = 43, NR_accept4 = 288 };
#define SYSCALL_NUMBER(at) ((int)BPF_CORE_READ(at, orig_ax))
#define SYSCALL_FD(at) ((__u32)BPF_CORE_READ(at, di))
#define ARGUMENT1(at) ((void *)(at)->di)
#define ARGUMENT2(at) ((void *)(at)->si)
#define ARGUMENT3(at) ((void *)(at)->dx)
#define RETURNED(at) ((void *)(at)->ax)

static __always_inline bool is_compat(struct task_struct *task)
{
	return BPF_CORE_READ(task, thread_info.status) & TS_COMPAT;
}
#elif defined(__TARGET_ARCH_arm64)
enum { NR_accept = 202, NR_accept4 = 242 };
#define SYSCALL_NUMBER(at) BPF_CORE_READ(at, syscallno)
#define SYSCALL_FD(at) ((__u32)BPF_CORE_READ(at, orig_x0))
#define ARGUMENT1(at) ((void *)(at)->user_regs.regs[0])
#define ARGUMENT2(at) ((void *)(at)->user_regs.regs[1])
#define ARGUMENT3(at) ((void *)(at)->user_regs.regs[2])
#define RETURNED(at) ((void *)(at)->user_regs.regs[0])

static __always_inline bool is_compat(struct task_struct *task)
{
	return BPF_CORE_READ(task, thread_info.flags) >> TIF_32BIT & 1;
}
#else
#error "no register names for this architecture"
#endif

#endif
