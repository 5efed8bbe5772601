// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/* The CO-RE object: every attach type in one; user space loads the programs of the one it tries. */
#include "tcp/accept.bpf.h"
#include "tcp/request.bpf.h"
#include "tcp/close.bpf.h"
#include "udp/datagrams.bpf.h"
#include "tcp/members.bpf.h"
#include "udp/receivers.bpf.h"
#include "attach/fentry.bpf.h"
#include "attach/kprobe.bpf.h"
#include "attach/tracepoint.bpf.h"
#include "attach/unix.bpf.h"
#include "attach/unixfentry.bpf.h"

/* Some helpers are for GPL-compatible programs only; the dual licence above is one. */
char LICENSE[] SEC("license")
= "Dual BSD/GPL";
