/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Every kernel field that accepttrace reads, and no other: the audit list. Only names and types
 * matter here. libbpf relocates the offsets at load (CO-RE); bcc cannot, so probe/load/offsets.py
 * reads the FIELDs of this text, looks each one up in the kernel's BTF and defines
 * AT_<struct>_<field>.
 */
#ifndef ACCEPTTRACE_KERNEL_H
#define ACCEPTTRACE_KERNEL_H

#ifdef PLACED_BY_BTF
/* Every field at its own offset, whatever lies between: a union of padded fields. */
#define BEGIN union {
#define END }
#define FIELD(record, type, name)                                                                  \
	_Static_assert(AT_##record##_##name % _Alignof(type) == 0, #record "." #name);             \
	struct {                                                                                   \
		char before_##name[AT_##record##_##name];                                          \
		type name;                                                                         \
	}
#define FIELD_IN(record, within, type, name)                                                       \
	struct {                                                                                   \
		char before_##within[AT_##record##_##within##_##name];                             \
		struct {                                                                           \
			type name;                                                                 \
		} within;                                                                          \
	}
#else
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#define BEGIN
#define END
#define FIELD(record, type, name) type name
#define FIELD_IN(record, within, type, name)                                                       \
	struct {                                                                                   \
		type name;                                                                         \
	} within
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif
/* Not in every supported kernel: ask HAS_FIELD before use. For what made it, see drift.bpf.h. */
#define FIELD_OR_NOT(record, type, name) FIELD(record, type, name)

/* Who */
struct file;
struct fdtable {
	BEGIN;
	FIELD(fdtable, unsigned int, max_fds);
	FIELD(fdtable, struct file **, fd);
	END;
};
struct files_struct {
	BEGIN;
	FIELD(files_struct, struct fdtable *, fdt);
	END;
};
struct thread_info {
	BEGIN;
	FIELD(thread_info, unsigned long, flags);
#if defined(__TARGET_ARCH_x86)
	FIELD(thread_info, __u32, status);
#endif
	END;
};
typedef unsigned long signal_words[1];
typedef struct {
	BEGIN;
	FIELD(sigset_t, signal_words, sig);
	END;
} sigset_t;
struct sigpending {
	BEGIN;
	FIELD(sigpending, sigset_t, signal);
	END;
};
struct signal_struct {
	BEGIN;
	FIELD(signal_struct, struct sigpending, shared_pending);
	END;
};
struct sigaction {
	BEGIN;
	FIELD(sigaction, void *, sa_handler);
	FIELD(sigaction, unsigned long, sa_flags);
	END;
};
struct k_sigaction {
	BEGIN;
	FIELD(k_sigaction, struct sigaction, sa);
	END;
};
typedef struct k_sigaction signal_actions[1]; /* of 64 */
struct sighand_struct {
	BEGIN;
	FIELD(sighand_struct, signal_actions, action);
	END;
};
struct pid;
struct task_struct {
	BEGIN;
	FIELD(task_struct, struct thread_info, thread_info);
	FIELD(task_struct, void *, stack);
	FIELD(task_struct, __u64, start_boottime);
	FIELD(task_struct, struct task_struct *, group_leader);
	FIELD(task_struct, struct files_struct *, files);
	FIELD(task_struct, unsigned int, flags);
	FIELD(task_struct, sigset_t, blocked);
	FIELD(task_struct, struct sigpending, pending);
	FIELD(task_struct, struct signal_struct *, signal);
	FIELD(task_struct, struct sighand_struct *, sighand);
	FIELD(task_struct, int, pid); /* of the thread: its TID */
	FIELD(task_struct, struct pid *, thread_pid);
	FIELD(task_struct, unsigned long, nvcsw); /* how often it went to sleep */
	END;
};

/* By which numbers */
struct ns_common {
	BEGIN;
	FIELD(ns_common, unsigned int, inum);
	END;
};
struct pid_namespace {
	BEGIN;
	FIELD(pid_namespace, struct ns_common, ns);
	END;
};
struct upid {
	BEGIN;
	FIELD(upid, int, nr);
	FIELD(upid, struct pid_namespace *, ns);
	END;
};
typedef struct upid pid_numbers[1]; /* one for each namespace, from the initial one on */
struct pid {
	BEGIN;
	FIELD(pid, unsigned int, level); /* of the last */
	FIELD(pid, pid_numbers, numbers);
	END;
};

/* Through what */
struct inode {
	BEGIN;
	FIELD(inode, __u16, i_mode);
	FIELD(inode, unsigned long, i_ino);
	END;
};
struct file {
	BEGIN;
	FIELD(file, unsigned int, f_flags);
	FIELD(file, struct inode *, f_inode);
	FIELD(file, void *, private_data);
	END;
};
struct sock;
struct socket {
	BEGIN;
	FIELD(socket, struct file *, file);
	FIELD(socket, struct sock *, sk);
	END;
};
struct socket_alloc {
	BEGIN;
	FIELD(socket_alloc, struct inode, vfs_inode);
	END;
};

/* The sockets */
struct netns_ipv4 {
	BEGIN;
	FIELD(netns_ipv4, __u8, sysctl_tcp_abort_on_overflow); /* or an int: see drift.bpf.h */
	FIELD_OR_NOT(netns_ipv4, __u8, sysctl_tcp_migrate_req);
	END;
};
struct user_namespace {
	BEGIN;
	FIELD(user_namespace, int, level); /* 0: the initial one */
	END;
};
typedef void *program_arrays[2];
struct netns_bpf {
	BEGIN;
	FIELD(netns_bpf, program_arrays, run_array);
	END;
};
struct net {
	BEGIN;
	FIELD(net, struct netns_bpf, bpf);
	FIELD(net, struct ns_common, ns);
	FIELD(net, struct user_namespace *, user_ns);
	FIELD(net, struct netns_ipv4, ipv4);
	END;
};
typedef struct {
	BEGIN;
	FIELD(possible_net_t, struct net *, net);
	END;
} possible_net_t;
typedef struct {
	BEGIN;
	FIELD(atomic_t, int, counter);
	END;
} atomic_t;
struct in6_addr {
	__u8 network_order[16];
};
struct sock_common {
	BEGIN;
	FIELD(sock_common, __u32, skc_rcv_saddr);
	FIELD(sock_common, __u16, skc_num);
	FIELD(sock_common, unsigned short, skc_family);
	FIELD(sock_common, volatile unsigned char, skc_state);
	FIELD(sock_common, unsigned int, skc_hash); /* of both addresses and ports */
	FIELD(sock_common, unsigned long, skc_flags);
#ifndef PLACED_BY_BTF
	__u8 skc_reuseport : 1;
#endif
	FIELD(sock_common, possible_net_t, skc_net);
	FIELD(sock_common, int, skc_incoming_cpu); /* of the last packet */
	FIELD(sock_common, struct in6_addr, skc_v6_rcv_saddr);
	FIELD(sock_common, struct sock *, skc_listener); /* of a request: none, if it is not kept */
	FIELD(sock_common, __u32, skc_daddr);
	FIELD(sock_common, struct in6_addr, skc_v6_daddr);
	FIELD(sock_common, __u16, skc_dport); /* in network order */
	END;
};
typedef char program_name[16];
struct bpf_prog_aux {
	BEGIN;
	FIELD(bpf_prog_aux, __u32, id);
	FIELD(bpf_prog_aux, program_name, name);
	END;
};
struct sock_filter; /* an instruction of classic BPF, as linux/filter.h has it */
struct sock_fprog_kern {
	BEGIN;
	FIELD(sock_fprog_kern, __u16, len);
	FIELD(sock_fprog_kern, struct sock_filter *, filter);
	END;
};
struct bpf_prog {
	BEGIN;
	FIELD(bpf_prog, enum bpf_prog_type, type);
	FIELD(bpf_prog, enum bpf_attach_type, expected_attach_type);
	FIELD(bpf_prog, struct bpf_prog_aux *, aux);
	FIELD(bpf_prog, struct sock_fprog_kern *, orig_prog); /* of classic BPF, as it was given */
	END;
};
struct cred {
	BEGIN;
	FIELD_IN(cred, euid, __u32, val); /* as SO_PEERCRED shows it */
	END;
};
struct sock;
typedef struct sock *socket_list[1]; /* of num_socks */
struct sock_reuseport {
	BEGIN;
	FIELD(sock_reuseport, __u16, num_socks);
	FIELD_OR_NOT(sock_reuseport, __u16, incoming_cpu);
	FIELD(sock_reuseport, unsigned int, reuseport_id);
	FIELD(sock_reuseport, struct bpf_prog *, prog);
	FIELD(sock_reuseport, socket_list, socks);
	END;
};
struct sock {
	BEGIN;
	FIELD(sock, struct sock_common, __sk_common);
	FIELD(sock, __u16, sk_protocol);
	FIELD(sock, __u16, sk_type);
	FIELD(sock, __u8, sk_shutdown);
	FIELD(sock, struct socket *, sk_socket);
	FIELD(sock, struct sock_reuseport *, sk_reuseport_cb);
	FIELD(sock, __u32, sk_ack_backlog); /* the accept queue */
	FIELD(sock, __u32, sk_max_ack_backlog);
	FIELD(sock, atomic_t, sk_drops);
	FIELD(sock, int, sk_err);
	FIELD_IN(sock, sk_uid, __u32, val);
	FIELD_OR_NOT(sock, unsigned long, sk_ino);
	FIELD_IN(sock, sk_receive_queue, __u32, qlen);
	FIELD(sock, struct pid *, sk_peer_pid); /* AF_UNIX: who connected, as to SO_PEERCRED */
	FIELD(sock, const struct cred *, sk_peer_cred);
	END;
};
struct super_block {
	BEGIN;
	FIELD(super_block, __u32, s_dev);
	END;
};
struct dentry {
	BEGIN;
	FIELD(dentry, struct inode *, d_inode);
	FIELD(dentry, struct super_block *, d_sb);
	END;
};
typedef char unix_path[108];
struct sockaddr_un {
	BEGIN;
	FIELD(sockaddr_un, unix_path, sun_path);
	END;
};
typedef struct sockaddr_un unix_addresses[1];
struct unix_address {
	BEGIN;
	FIELD(unix_address, int, len); /* of the family and the name */
	FIELD(unix_address, unix_addresses, name);
	END;
};
struct unix_sock {
	BEGIN;
	FIELD(unix_sock, struct unix_address *, addr); /* of a child: its listener's, shared */
	FIELD_IN(unix_sock, path, struct dentry *, dentry); /* NULL: of an abstract name */
	END;
};
struct inet_sock {
	BEGIN;
	FIELD(inet_sock, __u16, inet_sport);
	FIELD_OR_NOT(inet_sock, unsigned long, inet_flags); /* before there were these: */
#ifndef PLACED_BY_BTF
	__u8 transparent : 1;
#endif
	END;
};
typedef char ulp_name[16];
struct tcp_ulp_ops {
	BEGIN;
	FIELD(tcp_ulp_ops, ulp_name, name);
	END;
};
struct request_sock;
struct request_sock_queue {
	BEGIN;
	FIELD(request_sock_queue, __u8, rskq_defer_accept);
	FIELD(request_sock_queue, atomic_t, qlen); /* half-open */
	FIELD(request_sock_queue, struct request_sock *, rskq_accept_head);
	FIELD_IN(request_sock_queue, fastopenq, int, max_qlen); /* TCP_FASTOPEN; 0: not set */
	END;
};
struct inet_connection_sock {
	BEGIN;
	FIELD(inet_connection_sock, struct request_sock_queue, icsk_accept_queue);
	FIELD(inet_connection_sock, const struct tcp_ulp_ops *, icsk_ulp_ops);
	END;
};
struct request_sock {
	BEGIN;
	FIELD(request_sock, struct sock_common, __req_common);
	FIELD(request_sock, struct sock *, sk); /* the child, once it is queued */
	END;
};
struct tcp_sock {
	BEGIN;
	FIELD(tcp_sock, struct request_sock *, fastopen_rsk);
	FIELD_IN(tcp_sock, rcvq_space, __u64, time); /* µs, CLOCK_MONOTONIC */
	END;
};
struct udp_sock {
	BEGIN;
	FIELD_IN(udp_sock, reader_queue, __u32, qlen); /* what a reader took over from the queue */
	END;
};
struct proto_accept_arg {
	BEGIN;
	FIELD_OR_NOT(proto_accept_arg, int, flags);
	FIELD_OR_NOT(proto_accept_arg, int, err);
	END;
};

/* Packets: those that ask for a connection or complete one, and UDP's */
struct sk_buff {
	BEGIN;
	FIELD(sk_buff, struct sock *, sk);
	FIELD(sk_buff, struct sk_buff *, next);
	FIELD(sk_buff, unsigned int, len);
	FIELD(sk_buff, __u16, protocol);
	FIELD(sk_buff, __u16, network_header);
	FIELD(sk_buff, __u16, transport_header);
	FIELD(sk_buff, unsigned char *, head);
	FIELD(sk_buff, __u32, end); /* from `head` to struct skb_shared_info */
	END;
};
struct skb_shared_info {
	BEGIN;
	FIELD(skb_shared_info, unsigned short, gso_size);
	END;
};

/* Hook arguments */
struct bpf_iter_meta {
	BEGIN;
	FIELD(bpf_iter_meta, struct seq_file *, seq);
	END;
};
struct bpf_iter__tcp {
	BEGIN;
	FIELD(bpf_iter__tcp, struct bpf_iter_meta *, meta);
	FIELD(bpf_iter__tcp, struct sock_common *, sk_common);
	END;
};
struct bpf_iter__udp {
	BEGIN;
	FIELD(bpf_iter__udp, struct bpf_iter_meta *, meta);
	FIELD(bpf_iter__udp, struct udp_sock *, udp_sk);
	END;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	BEGIN;
	FIELD(pt_regs, unsigned long, r8);
	FIELD(pt_regs, unsigned long, cx);
	FIELD(pt_regs, unsigned long, dx);
	FIELD(pt_regs, unsigned long, si);
	FIELD(pt_regs, unsigned long, di);
	FIELD(pt_regs, unsigned long, ax);
	FIELD(pt_regs, unsigned long, orig_ax);
	END;
};
#elif defined(__TARGET_ARCH_arm64)
typedef __u64 general_registers[31];
struct user_pt_regs {
	BEGIN;
	FIELD(user_pt_regs, general_registers, regs);
	END;
};
struct pt_regs {
	BEGIN;
	FIELD(pt_regs, struct user_pt_regs, user_regs);
	FIELD(pt_regs, __u64, orig_x0);
	FIELD(pt_regs, int, syscallno);
	END;
};
#endif

#ifndef PLACED_BY_BTF
#pragma clang attribute pop
#endif

enum {
	AF_UNIX = 1,
	AF_INET = 2,
	AF_INET6 = 10,
	SOCK_DGRAM = 2,
	MSG_PEEK = 2,
	MSG_ERRQUEUE = 0x2000,
	RCV_SHUTDOWN = 1,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_MPTCP = 262,
	TCP_ESTABLISHED = 1,
	TCP_SYN_RECV = 3,
	TCP_FIN_WAIT1 = 4,
	TCP_CLOSE = 7,
	TCP_LISTEN = 10,
	TCP_NEW_SYN_RECV = 12,
	ETH_P_IP = 0x0800,
	SELECT_OR_MIGRATE = 40, /* BPF_SK_REUSEPORT_SELECT_OR_MIGRATE */
	EINTR = 4,
	EAGAIN = 11,
	EEXIST = 17,
	ENFILE = 23,
	EMFILE = 24,
	MAX_ERRNO = 4095,
	ERESTARTSYS = 512,
	ERESTART_RESTARTBLOCK = 516,
	SIG_IGN = 1, /* and 0 for the default, which runs nothing of the process either */
	SA_RESTART = 0x10000000,
	NETNS_BPF_SK_LOOKUP = 1,
	INET_FLAGS_TRANSPARENT = 15,
	O_NONBLOCK = 04000,
	S_IFMT = 0170000,
	S_IFSOCK = 0140000,
	PF_IO_WORKER = 0x10,
	PF_KTHREAD = 0x200000,
	TS_COMPAT = 2, /* x86 */
	TIF_32BIT = 22, /* arm64 */
};

#endif
