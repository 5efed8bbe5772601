/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* What kernel.h gives, from the kernel's own headers: for bcc where the kernel shows no BTF. */
#ifndef ACCEPTTRACE_HEADERS_H
#define ACCEPTTRACE_HEADERS_H

#define PLACED_BY_HEADERS
#include <linux/fs.h>
#include <linux/fdtable.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/tcp.h>
#include <linux/user_namespace.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <net/tcp.h>
/* Headers cannot be asked, only told by version; for the commits see drift.bpf.h. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define HAS_proto_accept_arg_flags 1
#else
#define HAS_proto_accept_arg_flags 0
struct proto_accept_arg {
	int flags;
};
#endif
#define HAS_netns_ipv4_sysctl_tcp_migrate_req (LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0))
#define HAS_inet_sock_inet_flags (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0))
#define HAS_sock_sk_ino (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0))

#endif
