/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Trampoline arguments → the logic of AF_UNIX. */
#ifndef ACCEPTTRACE_UNIX_FENTRY_H
#define ACCEPTTRACE_UNIX_FENTRY_H

#include "unix/accept.bpf.h"
#include "unix/request.bpf.h"

SEC("fentry/skb_free_datagram")
int fentry_unix_taken(__u64 *ctx)
{
	unix_taken(DIRECT, (void *)ctx[0], (void *)ctx[1]);
	return 0;
}

SEC("fexit/security_unix_stream_connect")
int fexit_unix_connect(__u64 *ctx)
{
	int returned = ctx[3];

	if (!returned)
		unix_arrived(DIRECT, (void *)ctx[1], (void *)ctx[2]);
	return 0;
}

SEC("fentry/unix_release_sock")
int fentry_unix_release(__u64 *ctx)
{
	unix_released(DIRECT, (void *)ctx[0], (int)ctx[1]);
	return 0;
}

/* Before 5.17 (commit not looked up). */
SEC("fexit/unix_find_other")
int fexit_unix_find_6(__u64 *ctx)
{
	unix_found((void *)ctx[6]);
	return 0;
}

SEC("fexit/unix_find_other")
int fexit_unix_find_4(__u64 *ctx)
{
	unix_found((void *)ctx[4]);
	return 0;
}

/* With flags (commit not looked up; 6.18 has them). */
SEC("fexit/unix_find_other")
int fexit_unix_find_5(__u64 *ctx)
{
	unix_found((void *)ctx[5]);
	return 0;
}

SEC("fentry/unix_wait_for_peer")
int fentry_unix_wait(__u64 *ctx)
{
	unix_blocked((void *)ctx[0]);
	return 0;
}

/* Not that of unix_stream_connect(), which io_uring tries first without sleeping. */
SEC("fexit/__sys_connect")
int fexit_unix_sys_connect(__u64 *ctx)
{
	int returned = ctx[3];

	if (returned == -EAGAIN)
		unix_refused(ctx[0]);
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
