// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/*
 * The bcc dialect of the same programs. bpf/fold.py folds it and what it includes into one text,
 * because bcc rewrites the main file only. The loader compiles one attach type at a time and names
 * its hooks (ATTACH_<type>, HOOK_<program>), since bcc attaches every trampoline that it compiles.
 */
#ifdef PLACED_BY_BTF
#include "kernel.h"
#else
#define PLACED_BY_HEADERS
#include <linux/fs.h>
#include <linux/fdtable.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/tcp.h>
#include <net/net_namespace.h>
#include <net/sock.h>
/* Headers cannot be asked, only told by version; for the commits see drift.bpf.h. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define HAS_proto_accept_arg_flags 1
#else
#define HAS_proto_accept_arg_flags 0
struct proto_accept_arg {
	int flags;
};
#endif
#endif
#include "accepttrace.h"
#include "bcc.h"
#include "drift.bpf.h"
#include "accept.bpf.h"
#include "selection.bpf.h"

/* bcc knows a program by its linkage, not by its section. */
#define SEC(name)
#ifdef ATTACH_kprobe
#include "kprobe.bpf.h"
#endif
#ifdef ATTACH_tracepoint
#include "tracepoint.bpf.h"
#endif
#undef SEC

/* Trampolines and iterators it knows by names of its own, which differ between its versions. */
#ifdef PLACED_BY_BTF
#define SEC(name) static __always_inline
#include "members.bpf.h"
BPF_ITER(tcp)
{
	return iter_members(ctx);
}
#ifdef ATTACH_fentry
#include "fentry.bpf.h"
#ifdef HOOK_fentry_inet_accept
KFUNC_PROBE(__inet_accept, void *socket)
{
	return fentry_inet_accept(ctx);
}
#endif
#ifdef HOOK_fentry_csk_accept
KFUNC_PROBE(inet_csk_accept, void *sk)
{
	return fentry_csk_accept(ctx);
}
#endif
#ifdef HOOK_fentry_sock_graft
KFUNC_PROBE(security_sock_graft, void *sk)
{
	return fentry_sock_graft(ctx);
}
#endif
KRETFUNC_PROBE(inet_csk_accept, void *sk)
{
#ifdef HOOK_fexit_csk_accept_2
	return fexit_csk_accept_2(ctx);
#else
	return fexit_csk_accept_4(ctx);
#endif
}
KRETFUNC_PROBE(reuseport_select_sock, void *sk)
{
	return fexit_select_sock(ctx);
}
#endif
#endif
