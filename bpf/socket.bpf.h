/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* What a listening socket is, and whether the filters let it through. */
#ifndef ACCEPTTRACE_SOCKET_H
#define ACCEPTTRACE_SOCKET_H

#include "shares.bpf.h"

static __always_inline bool is_tcp(__u16 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
}

static __always_inline bool netns_wanted(struct settings *want, __u32 netns)
{
	for (__u32 i = 0; i < MAX_NETNS; i++) {
		if (i >= want->netns_count)
			break;
		if (want->netns[i] == netns)
			return true;
	}
	return false;
}

static __always_inline __u32 netns_of(enum access how, struct sock *sk)
{
	struct net *net = READ(how, sk, __sk_common.skc_net.net);

	return READ(how, net, ns.inum);
}

/*
 * In host order. A socket that closes may have given its number back, but keeps it as the source;
 * where plain loads are possible none does.
 */
static __always_inline __u16 port_number(enum access how, struct sock *sk)
{
	__u16 port = READ(how, sk, __sk_common.skc_num);

	if (IS_DIRECT(how) || port)
		return port;
	return __builtin_bswap16(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

/* The bit skc_ipv6only. All supported kernels have it here, and bcc cannot place bits. */
static __always_inline bool is_v6only(struct sock *sk)
{
	__u8 state_and_bits[2] = {};

	bpf_probe_read_kernel(state_and_bits, 2, (const void *)&sk->__sk_common.skc_state);
	return state_and_bits[1] >> 5 & 1;
}

/* Bound to any address of IPv6, or to one that stands for an address of IPv4. */
static __always_inline bool is_open_to_ipv4(struct sock *sk)
{
	__u32 address[4] = {};

	bpf_probe_read_kernel(address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	return !address[0] && !address[1] &&
	       ((!address[2] && !address[3]) || address[2] == __builtin_bswap32(0xffff));
}

/* Whether clients of a family reach it. Only user space distinguishes IPv6 from mapped IPv4. */
static __always_inline bool serves(enum access how, struct sock *sk, __u32 family)
{
	__u16 own = READ(how, sk, __sk_common.skc_family);

	if (family == own)
		return true;
	return family == AF_INET && own == AF_INET6 && is_open_to_ipv4(sk) && !is_v6only(sk);
}

static __always_inline bool socket_wanted(enum access how, struct settings *want, struct sock *sk)
{
	__u64 port = port_number(how, sk);

	/* Not every verifier knows the range of swapped bytes, and the compiler knows it well. */
	asm volatile("" : "+r"(port));
	if (!want->ports[port & 0xffff])
		return false;
	if (want->any_place)
		return true;
	if (want->family && !serves(how, sk, want->family))
		return false;
	return !want->netns_count || netns_wanted(want, netns_of(how, sk));
}

static __always_inline bool has_tcp(enum access how, struct sock *sk)
{
	return is_tcp(READ(how, sk, sk_protocol));
}

static __always_inline bool is_of_unix(enum access how, struct sock *sk)
{
	return READ(how, sk, __sk_common.skc_family) == AF_UNIX;
}

/* AF_UNIX has the connections among its packets. */
static __always_inline __u32 unix_queue_of(enum access how, struct sock *listener)
{
	return READ(how, listener, sk_receive_queue.qlen);
}

static __always_inline __u32 queue_of(struct sock *listener)
{
	return is_of_unix(PROBED, listener) ? unix_queue_of(PROBED, listener)
					    : BPF_CORE_READ(listener, sk_ack_backlog);
}

/* Whether its accepts are counted in rows of their own. */
static __always_inline bool has_rows(struct sock *sk)
{
	return has_tcp(PROBED, sk) || is_of_unix(PROBED, sk);
}

static __always_inline bool listener_wanted(enum access how, struct settings *want, struct sock *sk)
{
	return has_tcp(how, sk) && socket_wanted(how, want, sk);
}

/*
 * The inode number that /proc/PID/fd and `ss -e` show. 0: there is none (any more). Plain loads may
 * not step from a socket to the inode around it, but through its file; without one (sockets of the
 * kernel, subflows of MPTCP) they must be probed.
 */
static __always_inline __u32 inode_of_socket(enum access how, struct socket *socket)
{
	struct socket_alloc *alloc = (struct socket_alloc *)socket;
	__u32 inode = IS_DIRECT(how) ? READ_FILE_INODE(socket) : 0;

	return inode || !socket ? inode : BPF_CORE_READ(alloc, vfs_inode.i_ino);
}

static __always_inline __u32 inode_of(enum access how, struct sock *sk)
{
	__u32 inode;

	if (inode_in_sock(how, sk, &inode))
		return inode;
	return inode_of_socket(how, READ(how, sk, sk_socket));
}

static __always_inline bool is_mptcp(struct sock *sk)
{
	const struct tcp_ulp_ops *ulp =
		BPF_CORE_READ((struct inet_connection_sock *)sk, icsk_ulp_ops);
	char name[5] = {};

	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP)
		return true;
	if (!ulp)
		return false;
	bpf_probe_read_kernel(name, sizeof(name), &ulp->name);
	return !((name[0] ^ 'm') | (name[1] ^ 'p') | (name[2] ^ 't'));
}

/*
 * Whatever processes made has a file, as long as it is open. In 5.10 what MPTCP listens on has a
 * socket of its own, without one, behind that of the process.
 */
static __always_inline bool is_of_kernel(struct sock *sk)
{
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);

	if (!socket || BPF_CORE_READ(socket, file))
		return false;
	return !is_mptcp(sk) || BPF_CORE_READ(socket, sk) != sk;
}

/* The local address, in network order; `address` holds zeros. */
static __always_inline void address_read(struct sock *sk, __u8 address[16])
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		bpf_probe_read_kernel(address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	else
		bpf_probe_read_kernel(address, 4, &sk->__sk_common.skc_rcv_saddr);
}

static __always_inline __u32 place_of(__u32 inode, __u32 nth)
{
	return (inode + nth) % MAX_PLACES;
}

/* Rows are deleted, so a free place does not say that the next ones are free. */
static __noinline struct listener *listener_elsewhere(__u32 inode)
{
	struct listener *listener;

	for (__u32 i = 1; i < PLACE_PROBES; i++) {
		listener = listener_at(place_of(inode, i));
		if (!listener || listener->inode == inode)
			return listener;
	}
	return listener_beyond(inode);
}

/* NULL where it has no row, or none that is described already. */
static __always_inline struct listener *listener_get(__u32 inode)
{
	struct listener *first = listener_at(place_of(inode, 0));

	if (!inode)
		return NULL;
	return first && first->inode == inode ? first : listener_elsewhere(inode);
}

static __always_inline void listener_describe(struct listener *listener, struct sock *sk,
					      __u32 inode, __u32 owner, __s32 uncounted)
{
	listener->owner = owner;
	listener->queue_start = queue_of(sk) + uncounted;
	listener->netns = netns_of(PROBED, sk);
	listener->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (listener->family != AF_UNIX) {
		listener->port = port_number(PROBED, sk);
		listener->mptcp = is_mptcp(sk);
		address_read(sk, listener->address);
	}
	listener->inode = inode;
}

/* A free place; `found`: another CPU was faster. NULL where all are taken. */
static __always_inline struct listener *listener_placed(__u32 inode, bool *found)
{
	__u32 place, *holder;

	for (__u32 i = 0; i < PLACE_PROBES; i++) {
		place = place_of(inode, i);
		if (!place_take(place, inode))
			return listener_at(place);
		holder = place_holder(place);
		if (holder && *holder == inode) {
			*found = true;
			return listener_at(place);
		}
	}
	return NULL;
}

/*
 * A row of its own for a listener seen for the first time; NULL where there is no room for it.
 * `uncounted`: connections that have left the queue, less those that came, and will be counted now.
 */
static __noinline struct listener *listener_meet(struct sock *sk, __u32 inode, __s32 uncounted)
{
	__u32 owner = owner_of(sk);
	struct listener *listener;
	bool found = false;

	if (!share_take(owner, SHARED_LISTENERS))
		return NULL;
	listener = listener_placed(inode, &found);
	if (!listener) {
		found = listener_add(inode);
		listener = listener_beyond(inode);
	}
	if (!listener || found)
		share_return(owner, SHARED_LISTENERS);
	else
		listener_describe(listener, sk, inode, owner, uncounted);
	return listener;
}

/* The same; where there is no room that is counted, once for all that happens but accepts. */
static __always_inline struct listener *listener_met(struct sock *sk, __u32 inode, __s32 uncounted)
{
	struct listener *listener;

	if (!inode) {
		lost(LOSS_UNATTRIBUTED);
		return NULL;
	}
	listener = listener_meet(sk, inode, uncounted);
	if (!listener)
		lost_for(owner_of(sk), SHARED_LISTENERS, LOSS_ROWLESS);
	return listener;
}

static __always_inline __u32 half_open_at(struct sock *sk)
{
	return BPF_CORE_READ((struct inet_connection_sock *)sk, icsk_accept_queue.qlen.counter);
}

/* What it dropped, for whatever reason: it is closing, and cannot be asked later. */
static __always_inline __u32 drops_of(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_drops.counter);
}

/*
 * The counters of a TCP listener; NULL where it is not traced, and, counted, where there is no room
 * for them. The port is asked first, so that the traffic of others costs little. `uncounted`: see
 * listener_meet().
 */
static __always_inline struct listener *listener_after(enum access how, struct sock *sk,
						       __s32 uncounted)
{
	struct settings *want = settings_get();
	struct listener *listener;
	__u32 inode;

	if (!want || !socket_wanted(how, want, sk))
		return NULL;
	inode = inode_of(how, sk);
	listener = listener_get(inode);
	return listener ? listener : listener_met(sk, inode, uncounted);
}

static __always_inline struct listener *listener_of(enum access how, struct sock *sk)
{
	return listener_after(how, sk, 0);
}

/* A listener that is closing: without a row nothing of it was counted. */
static __always_inline struct listener *listener_known(struct sock *sk)
{
	return listener_get(inode_of(PROBED, sk));
}

static __always_inline void add(__u64 *counter, __u64 value)
{
#ifdef EVENTS /* a sum that the compiler knows to be 0 became an atomic `or`, unknown before 5.12  \
	       */
	asm volatile("" : "+r"(value));
#endif
	__sync_fetch_and_add(counter, value);
}

static __always_inline __u64 now_us(void)
{
	return bpf_ktime_get_ns() / 1000;
}

#endif
