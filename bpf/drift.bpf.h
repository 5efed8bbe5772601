/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Every difference between kernels that the logic meets, each with the kernel commit that made it
 * and the first release that has it. Distributions backport, so the code asks for the field or the
 * parameter itself, and never for the version.
 *
 * What needs no code here, because a hook or a declaration elsewhere is the whole of it:
 *
 * 711bdd5141d8 ("inet: factor out locked section of inet_accept() in a new helper"), 6.5 and stable
 * 6.1: __inet_accept. Where it is missing, graft.bpf.h counts.
 *
 * efce3d1fdff5 ("tcp: Don't initialise tp->tsoffset in tcp_get_cookie_sock()."), 6.8: one parameter
 * less. e34100c2ecbb ("tcp: add a drop_reason pointer to tcp_check_req()"), 6.15: one more. There
 * is a program for each; user space loads the one whose number of parameters BTF confirms.
 *
 * d7ba4cc900bf ("bpf: return long from bpf_map_ops funcs"), 6.4: what changes a map returned an int
 * before, though the helper's type says long. See maps.h.
 *
 * 3ca1032ab7ab ("bpf: Implement get_current_task_btf and RET_PTR_TO_BTF_ID"), 5.11: see
 * HAS_TASK_POINTERS.
 *
 * Of the inventory of holders: e6f2dd0f8067 ("bpf: Add bpf_loop helper"), 5.17: before, the kernel
 * unrolled every loop to verify it. cfd86ef7e8e7 ("anon_inode: use a proper mode internally"),
 * 6.16: an epoll set looks like a regular file. b6f58a3f4aa8 ("io_uring: move struct io_kiocb from
 * task_struct to io_uring_task"), 6.13. 90ee6ed776c0 ("fs: port files to file_ref"), 6.13: the
 * count of references to a file begins at 0. And 6.0 renamed io_poll_iocb to io_poll (commit not
 * looked up).
 */
#ifndef ACCEPTTRACE_DRIFT_H
#define ACCEPTTRACE_DRIFT_H

#include "core.h"

/* 92ef0fd55ac8 ("net: change proto and proto_ops accept type"), 6.10: (sk, flags, err, kern) became
 * (sk, arg). */
static __always_inline bool accept_cannot_sleep(void *flags_or_arg)
{
	if (HAS_FIELD(proto_accept_arg, flags))
		return BPF_CORE_READ((struct proto_accept_arg *)flags_or_arg, flags) & O_NONBLOCK;
	return (unsigned long)flags_or_arg & O_NONBLOCK;
}

/* 5d6b58c932ec ("net: lockless sock_i_ino()"), 6.17: the socket itself knows its inode number. */
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

/* f9ac779f881c ("net: Introduce net.ipv4.tcp_migrate_req."), 5.14: a closing listener may hand its
 * queue to another of its group. Stable 5.10 has the setting too, but nothing that heeds it. */
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

/* d5e4ddaeb6ab ("bpf: Support socket migration by eBPF."), 5.14: a selector may ask for that too.
 * Headers alone do not show whether it does: maybe. */
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

/* 4ecc1baf362c ("tcp: convert elligible sysctls to u8"), 5.13 and stable 5.10: an int became a
 * byte; 0 or 1 in the first byte of either. */
static __always_inline bool aborts_on_overflow(struct sock *sk)
{
	struct net *net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	__u8 on = 0;

	bpf_probe_read_kernel(&on, sizeof(on), &net->ipv4.sysctl_tcp_abort_on_overflow);
	return on;
}

#ifndef PLACED_BY_HEADERS /* only the iterator asks, which needs BTF */
/* b261eda84ec1 ("soreuseport: Fix socket selection for SO_INCOMING_CPU."), 6.2 and stable 6.1: that
 * option takes part in the selection. */
static __always_inline __u32 incoming_cpu_members(struct sock_reuseport *group)
{
	if (HAS_FIELD(sock_reuseport, incoming_cpu))
		return BPF_CORE_READ(group, incoming_cpu);
	return 0;
}
#endif

/*
 * THREAD_SIZE of x86-64 and arm64 without KASAN: the registers of a system call lie at its end.
 * dd6e10fbd9fb ("bpf: Add bpf_task_pt_regs() helper"), 5.15, would find them; 5.10 and what bcc
 * loads have no such helper. 65c9cc9e2c14 ("x86/fred: Reserve space for the FRED stack frame"),
 * 6.9: with CONFIG_X86_FRED there is room behind them, so that they are not found. The proof
 * notices that (session.py), and the way of an accept is then unknown.
 */
enum { KERNEL_STACK = 16384 };

/* Syscall numbers and registers at sys_exit. A 32-bit task on a 64-bit kernel has other numbers. */
enum { NR_pidfd_getfd = 438 }; /* newer calls have one number everywhere */
#if defined(__TARGET_ARCH_x86)
enum { NR_accept = 43, NR_accept4 = 288, NR_recvmsg = 47, NR_recvmmsg = 299 };
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
enum { NR_accept = 202, NR_accept4 = 242, NR_recvmsg = 212, NR_recvmmsg = 243 };
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
