/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Trampoline arguments → the logic. */
#ifndef ACCEPTTRACE_FENTRY_H
#define ACCEPTTRACE_FENTRY_H

#include "tcp/close.bpf.h"
#include "tcp/graft.bpf.h"
#include "tcp/request.bpf.h"
#include "udp/datagrams.bpf.h"
#include "udp/reads.bpf.h"

/* Entered after the caller slept, so threads asleep in accept() at attach are counted too. */
SEC("fentry/__inet_accept")
int fentry_inet_accept(__u64 *ctx)
{
	struct socket *socket = (void *)ctx[0];
	struct sock *listener = socket->sk;
	struct settings *want = wanted(DIRECT, listener);

	if (want)
		accepted(DIRECT, want, listener, inode_of_socket(DIRECT, socket), (void *)ctx[2]);
	return 0;
}

/* Around all that may refuse: also when the caller has no descriptor left. */
SEC("fexit/__sys_accept4")
int fexit_sys_accept4(__u64 *ctx)
{
	int returned = ctx[4];

	if (returned < 0)
		accept_failed(ctx[0], -returned);
	return 0;
}

SEC("fentry/inet_csk_accept")
int fentry_csk_accept(__u64 *ctx)
{
	called((void *)ctx[0]);
	return 0;
}

SEC("fentry/security_sock_graft")
int fentry_sock_graft(__u64 *ctx)
{
	grafted((void *)ctx[0]);
	return 0;
}

SEC("fentry/io_accept")
int fentry_io_accept(__u64 *ctx)
{
	ring_begins();
	return 0;
}

SEC("fexit/io_accept")
int fexit_io_accept(__u64 *ctx)
{
	ring_ends();
	return 0;
}

SEC("fentry/tcp_conn_request")
int fentry_conn_request(__u64 *ctx)
{
	requested(DIRECT, (void *)ctx[2], (void *)ctx[3]);
	return 0;
}

SEC("fentry/cookie_v4_init_sequence")
int fentry_cookie_v4(__u64 *ctx)
{
	cookie_sent();
	return 0;
}

SEC("fentry/cookie_v6_init_sequence")
int fentry_cookie_v6(__u64 *ctx)
{
	cookie_sent();
	return 0;
}

/* By the number of parameters: see drift.bpf.h. */
SEC("fexit/tcp_get_cookie_sock")
int fexit_cookie_sock_4(__u64 *ctx)
{
	cookie_came_back((void *)ctx[0], (void *)ctx[1], (void *)ctx[4]);
	return 0;
}

SEC("fexit/tcp_get_cookie_sock")
int fexit_cookie_sock_5(__u64 *ctx)
{
	cookie_came_back((void *)ctx[0], (void *)ctx[1], (void *)ctx[5]);
	return 0;
}

static __noinline void check_made_nothing(__u64 *ctx)
{
	bool stolen = false, *where = NULL;

	/* The verifier of 5.10 refuses ctx[4], because a bool is no struct. */
	bpf_probe_read_kernel(&where, sizeof(where), &ctx[4]);
	bpf_probe_read_kernel(&stolen, sizeof(stolen), where);
	overflowed((void *)ctx[0], (void *)ctx[1], stolen);
}

static __always_inline int check_returned(__u64 *ctx, struct sock *child)
{
	if (child)
		checked(DIRECT, (void *)ctx[0], child);
	else
		check_made_nothing(ctx);
	return 0;
}

/* By the number of parameters: see drift.bpf.h. */
SEC("fexit/tcp_check_req")
int fexit_check_req_5(__u64 *ctx)
{
	return check_returned(ctx, (void *)ctx[5]);
}

SEC("fexit/tcp_check_req")
int fexit_check_req_6(__u64 *ctx)
{
	return check_returned(ctx, (void *)ctx[6]);
}

SEC("fentry/inet_csk_reqsk_queue_add")
int fentry_queue_add(__u64 *ctx)
{
	queued((void *)ctx[0], (void *)ctx[1], (void *)ctx[2]);
	return 0;
}

SEC("fentry/inet_csk_listen_stop")
int fentry_listen_stop(__u64 *ctx)
{
	stopped((void *)ctx[0]);
	return 0;
}

SEC("fentry/inet_child_forget")
int fentry_child_forget(__u64 *ctx)
{
	forgotten((void *)ctx[0], (void *)ctx[1], (void *)ctx[2]);
	return 0;
}

SEC("fexit/reuseport_migrate_sock")
int fexit_migrate_sock(__u64 *ctx)
{
	migrated((void *)ctx[0], (void *)ctx[1], (void *)ctx[3]);
	return 0;
}

SEC("fexit/reuseport_select_sock")
int fexit_select_sock(__u64 *ctx)
{
	if (is_datagram(DIRECT, (void *)ctx[0], (void *)ctx[2]))
		steered((void *)ctx[4]);
	return 0;
}

SEC("fentry/__udp_enqueue_schedule_skb")
int fentry_udp_enqueue(__u64 *ctx)
{
	offered(DIRECT, (void *)ctx[0], datagrams_in((void *)ctx[1]));
	return 0;
}

SEC("fexit/__udp_enqueue_schedule_skb")
int fexit_udp_enqueue(__u64 *ctx)
{
	if ((int)ctx[2])
		dropped(DIRECT, (void *)ctx[0], datagrams_in((void *)ctx[1]));
	return 0;
}

/* Entered after the caller slept, and only with a packet: also for who was asleep at attach. */
SEC("fentry/skb_consume_udp")
int fentry_consume_udp(__u64 *ctx)
{
	consumed((void *)ctx[0], (void *)ctx[1], ctx[2]);
	return 0;
}

#endif
