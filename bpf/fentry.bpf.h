/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Trampoline arguments → the logic. */
#include "graft.bpf.h"

/* Entered after the caller slept, so threads asleep in accept() at attach are counted too. */
SEC("fentry/__inet_accept")
int fentry_inet_accept(__u64 *ctx)
{
	struct socket *socket = (void *)ctx[0];
	struct sock *listener = socket->sk;

	if (traced(DIRECT, listener))
		accepted(listener, inode_of(listener), (void *)ctx[2]);
	return 0;
}

static __always_inline int csk_accept_returned(struct sock *listener, struct sock *child, int error)
{
	if (!child && traced(DIRECT, listener))
		failed(listener, inode_of(listener), -error);
	return 0;
}

/* Since 6.10; user space loads the one whose parameter count BTF confirms. */
SEC("fexit/inet_csk_accept")
int fexit_csk_accept_2(__u64 *ctx)
{
	struct proto_accept_arg *arg = (void *)ctx[1];

	return csk_accept_returned((void *)ctx[0], (void *)ctx[2], arg->err);
}

SEC("fexit/inet_csk_accept")
int fexit_csk_accept_4(__u64 *ctx)
{
	int error = 0, *where = NULL;

	/* The verifier of 5.10 refuses ctx[2], because an int is no struct. */
	bpf_probe_read_kernel(&where, sizeof(where), &ctx[2]);
	bpf_probe_read_kernel(&error, sizeof(error), where);
	return csk_accept_returned((void *)ctx[0], (void *)ctx[4], error);
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

SEC("fexit/reuseport_select_sock")
int fexit_select_sock(__u64 *ctx)
{
	if (asks_for_connection((void *)ctx[0], (void *)ctx[2]))
		selected((void *)ctx[4]);
	return 0;
}
