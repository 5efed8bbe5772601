/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Which member of a SO_REUSEPORT group the kernel chose for a new connection. */
#ifndef ACCEPTTRACE_SELECTION_H
#define ACCEPTTRACE_SELECTION_H

#include "socket.bpf.h"

enum { TCP_FLAGS = 13, FLAG_SYN = 0x02, FLAG_ACK = 0x10 };

/*
 * Only a SYN asks for a connection. The same function also runs for stray ACKs and RSTs, for
 * look-ups without any packet (sock_diag, BPF helpers: skb is NULL), and for UDP.
 */
static __always_inline bool asks_for_connection(struct sock *sk, struct sk_buff *skb)
{
	__u8 flags = 0;

	if (!skb || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return false;
	bpf_probe_read_kernel(&flags, sizeof(flags),
			      BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header) +
				      TCP_FLAGS);
	return (flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN;
}

/* `chosen`: NULL where there is no group yet, an ERR_PTR where an eBPF selector dropped the SYN. */
static __always_inline void selected(struct sock *chosen)
{
	struct settings *want = settings_get();
	struct listener *listener;
	__u32 inode;

	if (!chosen || (unsigned long)chosen >= (unsigned long)-MAX_ERRNO || !want)
		return;
	if (!listener_wanted(PROBED, want, chosen))
		return;
	inode = inode_of(chosen);
	if (!inode) {
		lost(LOSS_UNATTRIBUTED);
		return;
	}
	listener = listener_get(inode);
	if (!listener)
		listener = listener_meet(chosen, inode);
	if (listener)
		__sync_fetch_and_add(&listener->selected, 1);
	else
		lost(LOSS_SELECTED_FULL);
}

#endif
