/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Which sockets are asked for. */
#ifndef ACCEPTTRACE_ASKED_H
#define ACCEPTTRACE_ASKED_H

#include "holders/pass.bpf.h"
#include "holders/waits.h"
#include <bpf/bpf_core_read.h>

static __always_inline bool is_of_ip(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return family == AF_INET || family == AF_INET6;
}

static __always_inline bool is_of_unix(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX;
}

static __always_inline bool is_of_tcp(__u16 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
}

static __always_inline bool listens(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN; /* as of UNIX sockets */
}

static __always_inline bool is_asked(struct sock *sk)
{
	__u32 zero = 0;
	struct asked *asks = bpf_map_lookup_elem(&asked, &zero);
	__u16 port, protocol;

	if (!asks)
		return false;
	if (asks->family == AF_UNIX)
		return is_of_unix(sk) && listens(sk);
	if (!is_of_ip(sk))
		return false;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (asks->protocol == IPPROTO_TCP) {
		if (!is_of_tcp(protocol) || !listens(sk))
			return false;
	} else if (protocol != asks->protocol) {
		return false;
	}
	port = BPF_CORE_READ(sk, __sk_common.skc_num);
	return port && (asks->any_port || asks->ports[port >> 6] >> (port & 63) & 1);
}

#endif
