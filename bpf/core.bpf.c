// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/* The CO-RE object: every attach type in one; user space loads the programs of the one it tries. */
#include "accept.bpf.h"
#include "request.bpf.h"
#include "close.bpf.h"
#include "udp.bpf.h"
#include "members.bpf.h"
#include "receivers.bpf.h"
#include "fentry.bpf.h"
#include "kprobe.bpf.h"
#include "tracepoint.bpf.h"

/* Some helpers are for GPL-compatible programs only; the dual licence above is one. */
char LICENSE[] SEC("license")
= "Dual BSD/GPL";
