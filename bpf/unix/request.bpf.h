/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * From connect() to the queue of an AF_UNIX listener, and what becomes of that when it closes. All
 * of it runs in the process that connects, or that closes the listener last.
 */
#ifndef ACCEPTTRACE_UNIX_REQUEST_H
#define ACCEPTTRACE_UNIX_REQUEST_H

#include "tcp/descriptor.bpf.h"

static __always_inline struct unix_call *unix_call_now(void)
{
	return unix_call_get(bpf_get_current_pid_tgid());
}

/* `known`: that of this thread, if it has one. `listener` NULL: none that is traced. */
static __always_inline void unix_call_is(struct unix_call *known, struct sock *sk,
					 struct listener *listener)
{
	struct unix_call call = {};

	if (listener) {
		call.listener = (__u64)sk;
		call.inode = listener->inode;
	}
	if (known)
		*known = call;
	else if (listener)
		unix_call_put(bpf_get_current_pid_tgid(), &call);
}

/*
 * A name was looked up. Who slept for want of room looks it up again, and is still in the same call
 * then.
 */
static __always_inline void unix_found(struct sock *sk)
{
	struct listener *listener = is_unix_listener(DIRECT, sk) ? listener_of(DIRECT, sk) : NULL;
	struct unix_call *call = unix_call_now();

	if (!call || !listener || !call->slept || call->listener != (__u64)sk)
		unix_call_is(call, sk, listener);
}

static __always_inline void unix_blocked(struct sock *sk)
{
	struct unix_call *call = unix_call_now();
	struct listener *listener;

	if (!call || call->listener != (__u64)sk || call->slept)
		return;
	call->slept = 1;
	listener = listener_get(call->inode);
	if (listener)
		add(&listener->blocked, 1);
}

/* connect() ends with EAGAIN: of AF_UNIX that is for want of room alone. */
static __always_inline void unix_refused(__u32 fd)
{
	struct unix_call *call = unix_call_now();
	struct sock *client = sock_of(file_of(fd));
	struct listener *listener;

	if (!call || !call->listener || !client || !is_of_unix(PROBED, client))
		return;
	listener = listener_get(call->inode);
	if (!listener)
		return;
	add(&listener->overflow_syn, 1);
	event_refused((struct sock *)call->listener, call->inode);
	call->listener = 0;
}

/* All is checked and permitted: `child` is about to be queued. */
static __always_inline void unix_arrived(enum access how, struct sock *sk, struct sock *child)
{
	struct listener *listener = listener_of(how, sk);
	__u32 queue = unix_queue_of(how, sk) + 1;
	__u64 now = now_us();

	unix_call_is(unix_call_now(), NULL, NULL);
	if (!listener)
		return;
	unix_queued_put((__u64)child, now);
	add(&listener->arrived, 1);
	add(&listener->came_us, now);
	if (queue > listener->queue_max)
		listener->queue_max = queue;
}

/* The same in two steps, for hooks that do not know the arguments when all is permitted. */
static __always_inline void unix_queueing(struct sock *sk, struct sock *child)
{
	struct unix_call *call;

	unix_call_is(unix_call_now(), sk, listener_of(PROBED, sk));
	call = unix_call_now();
	if (call)
		call->child = (__u64)child;
}

static __always_inline void unix_queueing_ended(void)
{
	struct unix_call *call = unix_call_now();

	if (call && call->listener && call->child)
		unix_arrived(PROBED, (struct sock *)call->listener, (struct sock *)call->child);
}

/* The last reference to a listener goes. */
static __always_inline void unix_stopped(struct sock *sk)
{
	struct listener *listener = queue_of(sk) ? listener_of(PROBED, sk) : listener_known(sk);

	unix_call_is(unix_call_now(), sk, listener);
	if (listener)
		add(&listener->stops, 1);
}

/* A connection goes with the queue that it was in. */
static __always_inline void unix_reset(struct sock *child)
{
	struct unix_call *call = unix_call_now();
	struct settings *want = settings_get();
	struct listener *listener;
	__u64 now, since;

	if (!call || !call->listener || !want)
		return;
	listener = listener_get(call->inode);
	if (!listener)
		return;
	now = now_us();
	if (!unix_ready_us(child, &since) || since < want->began_us)
		since = want->began_us; /* it was there when tracing began */
	add(&listener->lost, 1);
	add(&listener->left_us, now);
	add(&listener->waited_us, now > since ? now - since : 0);
	unix_queued_forget((__u64)child);
	event_reset((struct sock *)call->listener, call->inode, child, 1);
}

/* `queued`: it was never accepted. */
static __always_inline void unix_released(enum access how, struct sock *sk, bool queued)
{
	if (queued)
		unix_reset(sk);
	else if (is_unix_listener(how, sk))
		unix_stopped(sk);
}

#endif
