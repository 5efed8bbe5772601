/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Every difference between kernels that the logic meets, each with the kernel commit that made it.
 */
#ifndef ACCEPTTRACE_DRIFT_H
#define ACCEPTTRACE_DRIFT_H

#include "core.h"

/* 92ef0fd55ac8 ("net: change proto and proto_ops accept type"), 6.10: (sk, flags, err, kern) became
 * (sk, arg). Trampolines choose by the parameter count in BTF, see fentry.bpf.h. */
static __always_inline bool accept_cannot_sleep(void *flags_or_arg)
{
	if (HAS_FIELD(proto_accept_arg, flags))
		return BPF_CORE_READ((struct proto_accept_arg *)flags_or_arg, flags) & O_NONBLOCK;
	return (unsigned long)flags_or_arg & O_NONBLOCK;
}

/* In 6.18 but not in 6.12: the socket itself knows its inode number. */
static __always_inline bool inode_in_sock(enum access how, struct sock *sk, __u32 *inode)
{
#if defined(PLACED_BY_HEADERS) && !HAS_sock_sk_ino
	return false;
#else
	if (!HAS_FIELD(sock, sk_ino))
		return false;
	*inode = READ(how, sk, sk_ino);
	return true;
#endif
}

/* In 6.1 but not in 5.10: a closing listener may hand its queue to another of its group. */
static __always_inline bool migrates(struct sock *sk)
{
#if defined(PLACED_BY_HEADERS) && !HAS_netns_ipv4_sysctl_tcp_migrate_req
	return false;
#else
	struct net *net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	__u8 on = 0;

	if (HAS_FIELD(netns_ipv4, sysctl_tcp_migrate_req))
		bpf_probe_read_kernel(&on, sizeof(on), &net->ipv4.sysctl_tcp_migrate_req);
	return on;
#endif
}

/* Since the same kernels a selector may ask for that too. Headers alone do not show it: maybe. */
static __always_inline bool selector_migrates(struct sock *sk)
{
	struct sock_reuseport *group = BPF_CORE_READ(sk, sk_reuseport_cb);
#if defined(PLACED_BY_HEADERS)
	return group != NULL;
#else
	struct bpf_prog *program = group ? BPF_CORE_READ(group, prog) : NULL;

	return program && BPF_CORE_READ(program, expected_attach_type) == SELECT_OR_MIGRATE;
#endif
}

/*
 * Whether connections to other ports than its own may come to a listener: by IP_TRANSPARENT, or a
 * BPF program of type sk_lookup. c274af224269 ("inet: introduce inet->inet_flags"), 6.6: flags
 * became bits of a word.
 */
static __always_inline bool serves_other_ports(struct sock *sk)
{
	struct net *net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	struct inet_sock *inet = (struct inet_sock *)sk;

	if (BPF_CORE_READ(net, bpf.run_array[NETNS_BPF_SK_LOOKUP]))
		return true;
#if !defined(PLACED_BY_HEADERS) || HAS_inet_sock_inet_flags
	if (HAS_FIELD(inet_sock, inet_flags))
		return BPF_CORE_READ(inet, inet_flags) >> INET_FLAGS_TRANSPARENT & 1;
#endif
	return READ_BIT(inet, transparent);
}

/* An int in 5.10, a byte in 6.1: 0 or 1 in the first byte of either. */
static __always_inline bool aborts_on_overflow(struct sock *sk)
{
	struct net *net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	__u8 on = 0;

	bpf_probe_read_kernel(&on, sizeof(on), &net->ipv4.sysctl_tcp_abort_on_overflow);
	return on;
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
 * bpf_task_pt_regs() would tell, but came with 5.15. Kernels with FRED (CONFIG_X86_FRED) keep room
 * behind them: there the proof finds that the way of an accept is not told so (session.py). */
enum { KERNEL_STACK = 16384 };

/* Syscall numbers and registers at sys_exit. A 32-bit task on a 64-bit kernel has other numbers. */
#if defined(__TARGET_ARCH_x86)
enum { NR_accept = 43, NR_accept4 = 288 };
#define SYSCALL_NUMBER(at) ((int)BPF_CORE_READ(at, orig_ax))
#define SYSCALL_FD(at) ((__u32)BPF_CORE_READ(at, di))
#define ARGUMENT1(at) ((void *)(at)->di)
#define ARGUMENT2(at) ((void *)(at)->si)
#define ARGUMENT3(at) ((void *)(at)->dx)
#define ARGUMENT4(at) ((void *)(at)->cx)
#define ARGUMENT5(at) ((void *)(at)->r8)
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
#define ARGUMENT4(at) ((void *)(at)->user_regs.regs[3])
#define ARGUMENT5(at) ((void *)(at)->user_regs.regs[4])
#define RETURNED(at) ((void *)(at)->user_regs.regs[0])

static __always_inline bool is_compat(struct task_struct *task)
{
	return BPF_CORE_READ(task, thread_info.flags) >> TIF_32BIT & 1;
}
#else
#error "no register names for this architecture"
#endif

#endif
