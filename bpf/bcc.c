// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/*
 * The bcc dialect of the same programs. bpf/fold.py folds it and what it includes into one text,
 * because bcc rewrites the main file only. The loader compiles one attach type at a time and names
 * its hooks (ATTACH_<type>, HOOK_<program>), since bcc attaches every trampoline that it compiles.
 */
#include "drift.bpf.h"
#include "tcp/accept.bpf.h"
#include "tcp/request.bpf.h"
#include "tcp/close.bpf.h"
#include "udp/datagrams.bpf.h"

/* bcc knows a program by its linkage, not by its section. */
#define SEC(name)
#ifdef ATTACH_kprobe
#include "attach/kprobe.bpf.h"
#endif
#ifdef ATTACH_tracepoint
#include "attach/tracepoint.bpf.h"
#endif
#ifdef ATTACH_unix
#include "attach/unix.bpf.h"
#endif
#undef SEC

/*
 * Trampolines and iterators it knows by names of its own, which differ between its versions. From
 * the stubs of a file fold.py makes the former.
 */
#ifdef PLACED_BY_BTF
#define SEC(name) static __always_inline
#include "tcp/members.bpf.h"
#include "udp/receivers.bpf.h"
BPF_ITER(tcp)
{
	return iter_members(ctx);
}
BPF_ITER(udp)
{
	return iter_receivers(ctx);
}
#ifdef ATTACH_fentry
#include "attach/fentry.bpf.h"
TRAMPOLINES("attach/fentry.bpf.h")
#endif
#ifdef ATTACH_unix
#include "attach/unixfentry.bpf.h"
TRAMPOLINES("attach/unixfentry.bpf.h")
#endif
#endif
