/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Who took a connection from which AF_UNIX listener, and who found nothing. */
#ifndef ACCEPTTRACE_UNIX_ACCEPT_H
#define ACCEPTTRACE_UNIX_ACCEPT_H

#include "tcp/graft.bpf.h"

static __always_inline struct unix_address *unix_address_of(struct sock *sk)
{
	return BPF_CORE_READ((struct unix_sock *)sk, addr);
}

/*
 * The descriptor may name another socket by the time the call ends, as with TCP: then it is not
 * known whose connection it was.
 */
static __always_inline void unix_accept_returned(__u32 fd, __u32 returned)
{
	struct sock *child = sock_of(file_of(returned));
	struct file *file = file_of(fd);
	struct sock *listener = sock_of(file);
	struct settings *want;

	if (!child || !is_of_unix(PROBED, child))
		return;
	if (!is_unix_listener(PROBED, listener) ||
	    unix_address_of(child) != unix_address_of(listener)) {
		lost(LOSS_UNATTRIBUTED);
		return;
	}
	want = wanted(PROBED, listener);
	accepted(PROBED, want, listener, BPF_CORE_READ(file, f_inode, i_ino), child);
}

/*
 * unix_accept() frees the packet that a child was queued by. It does so after its sleep, so threads
 * that slept there when it was attached are seen, too. Nothing else of a listener is freed so.
 */
static __always_inline void unix_taken(enum access how, struct sock *listener,
				       struct sk_buff *packet)
{
	struct sock *child;

	if (!is_unix_listener(how, listener))
		return;
	child = READ(how, packet, sk);
	accepted(PROBED, wanted(how, listener), listener, inode_of(how, listener), child);
	unix_queued_forget((__u64)child);
}

/* For hooks that see only the entry of calls. */
static __always_inline void unix_accept_entered(struct sock *listener, bool cannot_sleep)
{
	if (!is_unix_listener(PROBED, listener))
		return;
	called(listener);
	if (!is_by_ring())
		entered(listener, inode_of(PROBED, listener), cannot_sleep);
}

#endif
