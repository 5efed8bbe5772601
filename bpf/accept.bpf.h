/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Who took a connection from which listener, how long it had waited, and who found nothing. */
#ifndef ACCEPTTRACE_ACCEPT_H
#define ACCEPTTRACE_ACCEPT_H

#include "socket.bpf.h"

static __always_inline void acceptor_introduce(struct acceptor *acceptor, struct task_struct *task)
{
	acceptor->pid = bpf_get_current_pid_tgid() >> 32;
	acceptor->cgroup_id = bpf_get_current_cgroup_id();
	acceptor->process_start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	bpf_get_current_comm(acceptor->comm, sizeof(acceptor->comm));
}

/* The counters of the current thread on this listener; fills `key`. */
static __always_inline struct acceptor *acceptor_of(struct sock *sk, __u32 inode,
						    struct acceptor_key *key)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct acceptor *acceptor;

	if (!inode) {
		lost(LOSS_UNATTRIBUTED);
		return NULL;
	}
	key->inode = inode;
	key->tid = (__u32)bpf_get_current_pid_tgid();
	key->start_ns = BPF_CORE_READ(task, start_boottime);
	acceptor = acceptor_get(key);
	if (acceptor)
		return acceptor;
	acceptor = acceptor_add(key);
	if (!acceptor) {
		lost(LOSS_ACCEPTORS_FULL);
		return NULL;
	}
	acceptor_introduce(acceptor, task);
	if (!listener_get(inode) && !listener_meet(sk, inode))
		lost(LOSS_LISTENERS_FULL);
	return acceptor;
}

static __always_inline bool traced(enum access how, struct sock *listener)
{
	struct settings *want = settings_get();

	if (!want || !listener_wanted(how, want, listener))
		return false;
	return want->any_pid || pid_wanted(bpf_get_current_pid_tgid() >> 32);
}

static __always_inline __u32 wait_bucket(__u64 us)
{
	__u32 value = us, exponent, step;

	if (us < 8)
		return us;
	if (us >> 32)
		return WAIT_BUCKETS - 1;
	exponent = (value > 0xffff) << 4;
	step = (value >> exponent > 0xff) << 3;
	exponent |= step;
	step = (value >> exponent > 0xf) << 2;
	exponent |= step;
	step = (value >> exponent > 0x3) << 1;
	exponent |= step;
	exponent |= value >> exponent >> 1;
	return (exponent - 2) * 8 + (value >> (exponent - 3) & 7);
}

/*
 * The kernel stored in the child when it became ready: tcp_init_buffer_space() sets
 * rcvq_space.time, and the application's first read is the next to change it. 0: accepted before
 * it was established (SMP, Fast Open), so it did not wait. An MPTCP socket has no such field.
 */
static __always_inline void waited(struct acceptor *acceptor, struct sock *child)
{
	__u64 now = bpf_ktime_get_ns() / 1000, ready, us;
	__u32 bucket;

	if (!child || BPF_CORE_READ(child, sk_protocol) != IPPROTO_TCP ||
	    BPF_CORE_READ_INTO(&ready, (struct tcp_sock *)child, rcvq_space.time)) {
		acceptor->wait_unknown++;
		return;
	}
	us = ready && now > ready ? now - ready : 0;
	bucket = wait_bucket(us);
	CHECK_AND_USE_AS_ONE(bucket);
	if (bucket < WAIT_BUCKETS)
		acceptor->wait_us[bucket]++;
	if (us > acceptor->wait_max_us)
		acceptor->wait_max_us = us;
}

static __always_inline void accepted(struct sock *listener, __u32 inode, struct sock *child)
{
	struct acceptor_key key = {};
	struct acceptor *acceptor = acceptor_of(listener, inode, &key);

	if (!acceptor)
		return;
	acceptor->accepts++;
	acceptor->pending = 0;
	waited(acceptor, child);
}

/* `error` is positive. */
static __always_inline void failed(struct sock *listener, __u32 inode, __u32 error)
{
	struct error_key key = {};
	struct acceptor *acceptor = acceptor_of(listener, inode, &key.acceptor);
	__u64 *count;

	if (!acceptor)
		return;
	if (error == EAGAIN) {
		acceptor->empty++;
		return;
	}
	acceptor->failed++;
	key.error = error;
	count = error_get(&key);
	if (count)
		(*count)++;
	else if (!error_add(&key))
		lost(LOSS_ERRORS_FULL);
}

/*
 * For hooks that see only the entry of accept: a call that cannot sleep and took nothing until the
 * next one began has returned EAGAIN. User space adds the one still pending.
 */
static __always_inline void entered(struct sock *listener, __u32 inode, bool cannot_sleep)
{
	struct acceptor_key key = {};
	struct acceptor *acceptor = acceptor_of(listener, inode, &key);

	if (!acceptor)
		return;
	acceptor->empty += acceptor->pending;
	acceptor->pending = cannot_sleep;
}

#endif
