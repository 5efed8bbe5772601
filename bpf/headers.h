/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* What kernel.h gives, from the kernel's own headers: for bcc where the kernel shows no BTF. */
#ifndef ACCEPTTRACE_HEADERS_H
#define ACCEPTTRACE_HEADERS_H

#define PLACED_BY_HEADERS
#include <linux/fs.h>
#include <linux/fdtable.h>
#include <linux/pid_namespace.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/tcp.h>
#include <linux/user_namespace.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <net/tcp.h>
#ifdef ATTACH_unix
#include <net/af_unix.h>
#endif
/* HAS_<record>_<field> come from probe/load/offsets.py, which reads them from these headers. */
#if !HAS_proto_accept_arg_flags
struct proto_accept_arg {
	int flags;
};
#endif

#endif
