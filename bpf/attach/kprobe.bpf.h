/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Probe registers → the logic. Entry-side where a call may sleep: a kretprobe on inet_csk_accept
 * runs out of instances and sees one in six accepts of a blocking prefork server.
 */
#ifndef ACCEPTTRACE_KPROBE_H
#define ACCEPTTRACE_KPROBE_H

#include "tcp/close.bpf.h"
#include "tcp/graft.bpf.h"
#include "tcp/request.bpf.h"
#include "udp/datagrams.bpf.h"

SEC("kprobe/__inet_accept")
int kprobe_inet_accept(struct pt_regs *ctx)
{
	struct socket *socket = ARGUMENT1(ctx);
	struct sock *listener = BPF_CORE_READ(socket, sk);
	struct settings *want = wanted(PROBED, listener);

	if (want)
		accepted(PROBED, want, listener, inode_of_socket(PROBED, socket), ARGUMENT3(ctx));
	return 0;
}

SEC("kprobe/inet_csk_accept")
int kprobe_csk_accept(struct pt_regs *ctx)
{
	struct sock *listener = ARGUMENT1(ctx);

	called(listener);
	if (BPF_CORE_READ(listener, __sk_common.skc_state) == TCP_LISTEN && !is_by_ring())
		entered(listener, inode_of(PROBED, listener), accept_cannot_sleep(ARGUMENT2(ctx)));
	return 0;
}

SEC("kprobe/inet_csk_accept")
int kprobe_csk_accept_called(struct pt_regs *ctx)
{
	called(ARGUMENT1(ctx));
	return 0;
}

SEC("kprobe/__sys_accept4")
int kprobe_sys_accept4(struct pt_regs *ctx)
{
	call_begins((__u64)ARGUMENT1(ctx), false);
	return 0;
}

SEC("kprobe/security_sock_graft")
int kprobe_sock_graft(struct pt_regs *ctx)
{
	grafted(ARGUMENT1(ctx));
	return 0;
}

SEC("kprobe/io_accept")
int kprobe_io_accept(struct pt_regs *ctx)
{
	ring_begins();
	return 0;
}

/* It may sleep, but only in threads of io_uring itself, which their flags show. */
SEC("kretprobe/io_accept")
int kretprobe_io_accept(struct pt_regs *ctx)
{
	ring_ends();
	return 0;
}

SEC("kprobe/tcp_conn_request")
int kprobe_conn_request(struct pt_regs *ctx)
{
	requested(PROBED, ARGUMENT3(ctx), ARGUMENT4(ctx));
	return 0;
}

SEC("kprobe/cookie_v4_init_sequence")
int kprobe_cookie_v4(struct pt_regs *ctx)
{
	cookie_sent();
	return 0;
}

SEC("kprobe/cookie_v6_init_sequence")
int kprobe_cookie_v6(struct pt_regs *ctx)
{
	cookie_sent();
	return 0;
}

/* A return alone does not know the arguments; these calls never sleep, so the CPU ties them. */
SEC("kprobe/tcp_check_req")
int kprobe_check_req(struct pt_regs *ctx)
{
	struct scratch *scratch = scratch_get();

	if (scratch) {
		scratch->listener = (__u64)ARGUMENT1(ctx);
		scratch->packet = (__u64)ARGUMENT2(ctx);
		scratch->stolen = (__u64)ARGUMENT5(ctx);
	}
	return 0;
}

SEC("kretprobe/tcp_check_req")
int kretprobe_check_req(struct pt_regs *ctx)
{
	struct scratch *scratch = scratch_get();
	struct sock *child = RETURNED(ctx), *listener;
	bool stolen = false;

	if (!scratch)
		return 0;
	listener = (void *)scratch->listener;
	if (child) {
		checked(PROBED, listener, child);
		return 0;
	}
	bpf_probe_read_kernel(&stolen, sizeof(stolen), (void *)scratch->stolen);
	overflowed(listener, (void *)scratch->packet, stolen);
	return 0;
}

SEC("kprobe/tcp_get_cookie_sock")
int kprobe_cookie_sock(struct pt_regs *ctx)
{
	struct scratch *scratch = scratch_get();

	if (scratch) {
		scratch->listener = (__u64)ARGUMENT1(ctx);
		scratch->packet = (__u64)ARGUMENT2(ctx);
	}
	return 0;
}

SEC("kretprobe/tcp_get_cookie_sock")
int kretprobe_cookie_sock(struct pt_regs *ctx)
{
	struct scratch *scratch = scratch_get();

	if (scratch)
		cookie_came_back((void *)scratch->listener, (void *)scratch->packet, RETURNED(ctx));
	return 0;
}

SEC("kprobe/inet_csk_reqsk_queue_add")
int kprobe_queue_add(struct pt_regs *ctx)
{
	queued(ARGUMENT1(ctx), ARGUMENT2(ctx), ARGUMENT3(ctx));
	return 0;
}

SEC("kprobe/inet_csk_listen_stop")
int kprobe_listen_stop(struct pt_regs *ctx)
{
	stopped(ARGUMENT1(ctx));
	return 0;
}

SEC("kprobe/inet_child_forget")
int kprobe_child_forget(struct pt_regs *ctx)
{
	forgotten(ARGUMENT1(ctx), ARGUMENT2(ctx), ARGUMENT3(ctx));
	return 0;
}

SEC("kprobe/reuseport_migrate_sock")
int kprobe_migrate_sock(struct pt_regs *ctx)
{
	struct scratch *scratch = scratch_get();

	if (scratch) {
		scratch->from = (__u64)ARGUMENT1(ctx);
		scratch->migrating = (__u64)ARGUMENT2(ctx);
	}
	return 0;
}

SEC("kretprobe/reuseport_migrate_sock")
int kretprobe_migrate_sock(struct pt_regs *ctx)
{
	struct scratch *scratch = scratch_get();

	if (scratch)
		migrated((void *)scratch->from, (void *)scratch->migrating, RETURNED(ctx));
	return 0;
}

SEC("kprobe/reuseport_select_sock")
int kprobe_select_sock(struct pt_regs *ctx)
{
	struct scratch *scratch = scratch_get();

	if (scratch)
		scratch->steering = is_datagram(PROBED, ARGUMENT1(ctx), ARGUMENT3(ctx));
	return 0;
}

SEC("kretprobe/reuseport_select_sock")
int kretprobe_select_sock(struct pt_regs *ctx)
{
	struct scratch *scratch = scratch_get();

	if (scratch && scratch->steering) {
		scratch->steering = 0;
		steered(RETURNED(ctx));
	}
	return 0;
}

SEC("kprobe/__udp_enqueue_schedule_skb")
int kprobe_udp_enqueue(struct pt_regs *ctx)
{
	struct scratch *scratch = scratch_get();
	__u32 count = datagrams_in(ARGUMENT2(ctx));

	if (scratch) {
		scratch->receiver = (__u64)ARGUMENT1(ctx);
		scratch->datagrams = count;
	}
	offered(PROBED, ARGUMENT1(ctx), count);
	return 0;
}

SEC("kretprobe/__udp_enqueue_schedule_skb")
int kretprobe_udp_enqueue(struct pt_regs *ctx)
{
	struct scratch *scratch = scratch_get();

	if (scratch && (int)(long)RETURNED(ctx) && scratch->receiver)
		dropped(PROBED, (void *)scratch->receiver, scratch->datagrams);
	if (scratch)
		scratch->receiver = 0;
	return 0;
}

#endif
