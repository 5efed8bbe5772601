/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Trampoline arguments → the logic of AF_UNIX. */
#ifndef ACCEPTTRACE_UNIX_FENTRY_H
#define ACCEPTTRACE_UNIX_FENTRY_H

#include "unix/accept.bpf.h"

SEC("fentry/skb_free_datagram")
int fentry_unix_taken(__u64 *ctx)
{
	unix_taken((void *)ctx[0], (void *)ctx[1]);
	return 0;
}

SEC("fentry/security_unix_stream_connect")
int fentry_unix_connect(__u64 *ctx)
{
	unix_queued_now((void *)ctx[1], (void *)ctx[2]);
	return 0;
}

/* Around all that may refuse: also when the caller has no descriptor left. */
SEC("fexit/__sys_accept4")
int fexit_unix_sys_accept4(__u64 *ctx)
{
	int returned = ctx[4];

	if (returned < 0)
		call_failed(ctx[0], -returned, true);
	return 0;
}

#endif
