// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/* The CO-RE object: every attach type in one; user space loads the programs of the one it tries. */
#include "kernel.h"
#include "accepttrace.h"
#include "core.h"
#include "drift.bpf.h"
#include "accept.bpf.h"
#include "selection.bpf.h"
#include "members.bpf.h"
#include "fentry.bpf.h"
#include "kprobe.bpf.h"
#include "tracepoint.bpf.h"

SEC("iter/tcp")
int iter_members(struct bpf_iter__tcp *ctx)
{
	struct sock *sk = (void *)ctx->sk_common;
	struct member member = {};

	if (sk && BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN &&
	    member_read(sk, &member))
		bpf_seq_write(ctx->meta->seq, &member, sizeof(member));
	return 0;
}

/* Some helpers are for GPL-compatible programs only; the dual licence above is one. */
char LICENSE[] SEC("license")
= "Dual BSD/GPL";
