/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Who took a connection from which AF_UNIX listener, and who found nothing. */
#ifndef ACCEPTTRACE_UNIX_ACCEPT_H
#define ACCEPTTRACE_UNIX_ACCEPT_H

#include "tcp/descriptor.bpf.h"

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

	if (!child || !is_of_unix(child))
		return;
	if (!is_unix_listener(listener) || unix_address_of(child) != unix_address_of(listener)) {
		lost(LOSS_UNATTRIBUTED);
		return;
	}
	want = wanted(PROBED, listener);
	accepted(PROBED, want, listener, BPF_CORE_READ(file, f_inode, i_ino), child);
}

#endif
