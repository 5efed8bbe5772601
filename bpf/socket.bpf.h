/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* What a listening socket is, and whether the filters let it through. */
#ifndef ACCEPTTRACE_SOCKET_H
#define ACCEPTTRACE_SOCKET_H

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

static __always_inline bool listener_wanted(enum access how, struct settings *want, struct sock *sk)
{
	if (!is_tcp(READ(how, sk, sk_protocol)))
		return false;
	if (!want->any_port) {
		__u16 port = READ(how, sk, __sk_common.skc_num);

		if (!(want->ports[port >> 6] >> (port & 63) & 1))
			return false;
	}
	if (want->family && want->family != READ(how, sk, __sk_common.skc_family))
		return false;
	return !want->netns_count || netns_wanted(want, netns_of(how, sk));
}

/* The inode number that /proc/PID/fd and `ss -e` show. 0: the socket has none (any more). */
static __always_inline __u32 inode_of(struct sock *sk)
{
	struct socket_alloc *alloc = (struct socket_alloc *)BPF_CORE_READ(sk, sk_socket);

	return alloc ? BPF_CORE_READ(alloc, vfs_inode.i_ino) : 0;
}

/* A row of its own for a listener seen for the first time. */
static __always_inline struct listener *listener_meet(struct sock *sk, __u32 inode)
{
	struct listener first = {};

	first.netns = netns_of(PROBED, sk);
	first.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	first.port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (first.family == AF_INET6)
		bpf_probe_read_kernel(first.address, sizeof(first.address),
				      &sk->__sk_common.skc_v6_rcv_saddr);
	else
		bpf_probe_read_kernel(first.address, 4, &sk->__sk_common.skc_rcv_saddr);
	listener_add(inode, &first);
	return listener_get(inode);
}

#endif
