/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * How many connections of some ports each process holds, whoever accepted them: each counts once a
 * process, however many descriptors it has there. Nothing is written for them, only counted.
 */
#ifndef ACCEPTTRACE_OPENED_H
#define ACCEPTTRACE_OPENED_H

#include "holders/asked.bpf.h"

static __always_inline bool is_open(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_ESTABLISHED &&
	       is_of_tcp(BPF_CORE_READ(sk, sk_protocol));
}

/* Whether anything but one descriptor, and this pass, may have the file. */
static __always_inline bool has_more(struct file *file)
{
	if (bpf_core_field_exists(((struct file___count *)0)->f_count))
		return BPF_CORE_READ((struct file___count *)file, f_count.counter) > 2;
	return BPF_CORE_READ((struct file___ref *)file, f_ref.refcnt.counter) > 1;
}

/* Whether this pass has counted it for this process. Without room nothing is known. */
static __always_inline bool counted_before(struct visit *visit, __u32 inode)
{
	struct counted_key key = {inode, visit->tgid};
	__u32 *pass = bpf_map_lookup_elem(&counted, &key), now = visit->here->pass_number;

	if (!pass) {
		visit->here->counted++;
		if (bpf_map_update_elem(&counted, &key, &now, BPF_ANY))
			visit->here->uncounted++;
		return false;
	}
	if (*pass == now)
		return true;
	*pass = now;
	return false;
}

static __always_inline void count_open(struct visit *visit, struct open_key *key)
{
	struct open_count *known = bpf_map_lookup_elem(&opened, key);
	struct open_count first = {1, visit->here->pass_number};

	if (!known) {
		if (bpf_map_update_elem(&opened, key, &first, BPF_ANY))
			visit->here->uncounted++;
	} else if (known->pass_number != first.pass_number) {
		*known = first;
	} else {
		known->connections++;
	}
}

/* The threads of a process that share no table, or whose leader has ended, come one by one. */
static __always_inline void connection_met(struct visit *visit, struct sock *sk, __u32 inode)
{
	__u32 zero = 0;
	struct asked *asks = bpf_map_lookup_elem(&asked, &zero);
	__u16 port = BPF_CORE_READ(sk, __sk_common.skc_num);
	struct open_key key = {.tgid = visit->tgid, .port = port};

	if (!asks || !(asks->open_ports[port >> 6] >> (port & 63) & 1))
		return;
	if ((has_more(visit->file) || visit->task->pid != (int)visit->tgid) &&
	    counted_before(visit, inode))
		return;
	key.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	key.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	count_open(visit, &key);
}

#endif
