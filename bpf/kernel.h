/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Every kernel field that accepttrace reads, and no other: the audit list. Offsets are relocated at
 * load (CO-RE), so only names and types matter here.
 */
#ifndef ACCEPTTRACE_KERNEL_H
#define ACCEPTTRACE_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Who */
struct file;
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct thread_info {
	unsigned long flags;
	__u32 status;
};
struct task_struct {
	struct thread_info thread_info;
	int tgid;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct files_struct *files;
};

/* Through what */
struct inode {
	__u16 i_mode;
	unsigned long i_ino;
};
struct file {
	struct inode *f_inode;
	void *private_data;
};
struct sock;
struct socket {
	struct file *file;
	struct sock *sk;
};
struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

/* The sockets */
struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};
struct sock_common {
	__u32 skc_rcv_saddr;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_rcv_saddr;
};
struct bpf_prog {
	enum bpf_prog_type type;
};
struct sock_reuseport {
	__u16 num_socks;
	__u16 incoming_cpu; /* since 6.1 */
	unsigned int reuseport_id;
	struct bpf_prog *prog;
};
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	struct socket *sk_socket;
	struct sock_reuseport *sk_reuseport_cb;
};
struct tcp_sock {
	struct {
		__u64 time; /* µs, CLOCK_MONOTONIC */
	} rcvq_space;
};
struct proto_accept_arg { /* since 6.10 */
	int flags;
	int err;
};

/* The packet that asks for a connection */
struct sk_buff {
	__u16 transport_header;
	unsigned char *head;
};

/* Hook arguments */
struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r8, cx, dx, si, di, ax, orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31];
};
struct pt_regs {
	struct user_pt_regs user_regs;
	__u64 orig_x0;
	int syscallno;
};
#endif

#pragma clang attribute pop

enum {
	AF_INET = 2,
	AF_INET6 = 10,
	IPPROTO_TCP = 6,
	IPPROTO_MPTCP = 262,
	TCP_LISTEN = 10,
	EAGAIN = 11,
	O_NONBLOCK = 04000,
	S_IFMT = 0170000,
	S_IFSOCK = 0140000,
};

#endif
