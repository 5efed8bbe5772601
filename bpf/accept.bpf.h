/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Who took a connection from which listener, how long it had waited, and who found nothing. */
#ifndef ACCEPTTRACE_ACCEPT_H
#define ACCEPTTRACE_ACCEPT_H

#include "socket.bpf.h"
#include "syscall.bpf.h"

/* Threads of the kernel accept in one way for ever; others may change it with every call. */
static __always_inline __u32 only_way_of(struct task_struct *task)
{
	unsigned int flags = BPF_CORE_READ(task, flags);

	if (flags & PF_KTHREAD)
		return VIA_KERNEL;
	return flags & PF_IO_WORKER ? VIA_IO_URING : 0;
}

static __always_inline __u32 way_now(struct settings *want, struct acceptor *acceptor)
{
	if (acceptor->only_via)
		return acceptor->only_via;
	if (want->rings == RINGS_UNUSED)
		return VIA_SYSCALL;
	if (want->rings == RINGS_IN_USE)
		return ring_is(bpf_get_current_pid_tgid()) ? VIA_IO_URING : VIA_SYSCALL;
	if (want->rings == RINGS_UNHOOKED)
		return in_accept_syscall() ? VIA_SYSCALL : VIA_IO_URING;
	return 0;
}

/* Between these two, what the current thread accepts comes through io_uring. */
static __always_inline void ring_begins(void)
{
	struct settings *want = settings_get();

	ring_add(bpf_get_current_pid_tgid());
	if (want && !want->rings)
		want->rings = RINGS_IN_USE;
}

static __always_inline void ring_ends(void)
{
	ring_remove(bpf_get_current_pid_tgid());
}

static __always_inline void acceptor_introduce(struct acceptor *acceptor, struct task_struct *task)
{
	acceptor->pid = bpf_get_current_pid_tgid() >> 32;
	acceptor->only_via = only_way_of(task);
	acceptor->cgroup_id = bpf_get_current_cgroup_id();
	acceptor->process_start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	bpf_get_current_comm(acceptor->comm, sizeof(acceptor->comm));
}

static __always_inline bool traced(enum access how, struct sock *listener)
{
	struct settings *want = settings_get();

	if (!want || !listener_wanted(how, want, listener))
		return false;
	return want->any_pid || pid_wanted(bpf_get_current_pid_tgid() >> 32);
}

static __always_inline __u32 seat_of(struct acceptor_key *key, __u32 nth)
{
	return (key->tid + key->inode + nth) % MAX_SEATS;
}

static __always_inline struct acceptor *acceptor_get(struct acceptor_key *key)
{
	struct acceptor *acceptor;

	for (__u32 i = 0; i < SEAT_PROBES; i++) {
		acceptor = seat_at(seat_of(key, i));
		if (!acceptor || !acceptor->who.tid)
			return NULL;
		if (acceptor->who.tid == key->tid && acceptor->who.inode == key->inode &&
		    acceptor->who.start_ns == key->start_ns)
			return acceptor;
	}
	return standing_get(key);
}

/* A row of its own for a thread seen for the first time; NULL where there is no room. */
static __always_inline struct acceptor *acceptor_add(struct acceptor_key *key)
{
	struct acceptor *acceptor;

	for (__u32 i = 0; i < SEAT_PROBES; i++) {
		if (!seat_take(seat_of(key, i), key))
			continue;
		acceptor = seat_at(seat_of(key, i));
		if (acceptor)
			acceptor->who = *key;
		return acceptor;
	}
	acceptor = standing_add(key);
	if (acceptor)
		acceptor->who = *key;
	return acceptor;
}

/*
 * The counters of the current thread on this listener; fills `key`. NULL where it is not traced:
 * that is asked only of those who have no row yet. `uncounted`: see listener_meet().
 */
static __always_inline struct acceptor *acceptor_of(struct sock *sk, __u32 inode, __u64 start_ns,
						    struct acceptor_key *key, __s32 uncounted)
{
	struct acceptor *acceptor;

	key->inode = inode;
	key->tid = (__u32)bpf_get_current_pid_tgid();
	key->start_ns = start_ns;
	acceptor = acceptor_get(key);
	if (acceptor || !traced(PROBED, sk))
		return acceptor;
	if (!inode) {
		lost(LOSS_UNATTRIBUTED);
		return NULL;
	}
	acceptor = acceptor_add(key);
	if (!acceptor) {
		lost(LOSS_ACCEPTORS_FULL);
		return NULL;
	}
	acceptor_introduce(acceptor, (void *)bpf_get_current_task());
	if (!listener_get(inode) && !listener_meet(sk, inode, uncounted))
		lost(LOSS_LISTENERS_FULL);
	return acceptor;
}

/* The current thread: when it started, and how often it went to sleep since. */
struct task {
	__u64 start_ns;
	__u64 slept;
};

static __always_inline struct task task_now(enum access how)
{
	struct task_struct *running;
	struct task task;

	if (IS_DIRECT(how) && HAS_TASK_POINTERS) {
		running = CURRENT_TASK();
		task.start_ns = running->start_boottime;
		task.slept = running->nvcsw;
	} else {
		running = (void *)bpf_get_current_task();
		task.start_ns = BPF_CORE_READ(running, start_boottime);
		task.slept = BPF_CORE_READ(running, nvcsw);
	}
	return task;
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
static __always_inline bool ready_us(enum access how, struct sock *child, __u64 *ready)
{
	if (IS_DIRECT(how))
		return read_ready(child, ready);
	return child && BPF_CORE_READ(child, sk_protocol) == IPPROTO_TCP &&
	       !BPF_CORE_READ_INTO(ready, (struct tcp_sock *)child, rcvq_space.time);
}

static __always_inline void waited(enum access how, struct acceptor *acceptor, struct sock *child,
				   __u64 began, __u64 now)
{
	__u64 ready, us;
	__u32 bucket;

	if (!ready_us(how, child, &ready)) {
		acceptor->wait_unknown++;
		return;
	}
	if (!ready || ready > now)
		ready = now;
	us = now - ready;
	bucket = wait_bucket(us);
	CHECK_AND_USE_AS_ONE(bucket);
	if (bucket < WAIT_BUCKETS)
		acceptor->wait_us[bucket]++;
	if (us > acceptor->wait_max_us)
		acceptor->wait_max_us = us;
	acceptor->waited_us += ready > began ? us : now - began;
	acceptor->ready_us = ready;
}

static __always_inline void accepted(enum access how, struct sock *listener, __u32 inode,
				     struct sock *child)
{
	struct settings *want = settings_get();
	struct task task = task_now(how);
	struct acceptor_key key = {};
	struct acceptor *acceptor = acceptor_of(listener, inode, task.start_ns, &key, 1);
	__u64 now;

	if (!acceptor || !want)
		return;
	acceptor->accepts++;
	acceptor->pending = PENDING_NONE;
	acceptor->via |= way_now(want, acceptor);
	acceptor->served = task.slept;
	if (want->without_waits)
		return;
	now = now_us();
	acceptor->left_us += now;
	waited(how, acceptor, child, want->began_us, now);
}

/*
 * Whether an accept() that finds nothing now was a wake-up for nothing: the thread woke since its
 * last accept() on this listener. The EAGAIN that ends a drain is not.
 */
static __always_inline bool woken_for_nothing(struct acceptor *acceptor, __u64 slept)
{
	return slept != acceptor->served && slept != acceptor->idled;
}

/* `error` is positive; `waits`: the call may sleep, so what woke it was its own time limit. */
static __always_inline void failed(struct sock *listener, __u32 inode, __u32 error, bool waits)
{
	struct task task = task_now(PROBED);
	struct error_key key = {};
	struct acceptor *acceptor = acceptor_of(listener, inode, task.start_ns, &key.acceptor, 0);
	__u64 *count;

	if (!acceptor)
		return;
	if (error == EAGAIN) {
		acceptor->empty++;
		acceptor->wasted += !waits && woken_for_nothing(acceptor, task.slept);
		acceptor->idled = task.slept;
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
	struct task task = task_now(PROBED);
	struct acceptor_key key = {};
	struct acceptor *acceptor = acceptor_of(listener, inode, task.start_ns, &key, 0);

	if (!acceptor)
		return;
	if (acceptor->pending != PENDING_NONE) {
		acceptor->empty++;
		acceptor->wasted += acceptor->pending == PENDING_WASTED;
		acceptor->idled = acceptor->entered;
	}
	acceptor->entered = task.slept;
	if (!cannot_sleep)
		acceptor->pending = PENDING_NONE;
	else if (woken_for_nothing(acceptor, task.slept))
		acceptor->pending = PENDING_WASTED;
	else
		acceptor->pending = PENDING_EMPTY;
}

#endif
