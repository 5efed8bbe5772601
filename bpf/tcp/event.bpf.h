/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Each connection as an event in a ring buffer, for `accepttrace events` alone: in any other object
 * nothing of this is there.
 */
#ifndef ACCEPTTRACE_EVENT_H
#define ACCEPTTRACE_EVENT_H

#include "pidns.bpf.h"
#include "socket.bpf.h"
#include "unix/event.bpf.h"

#ifdef EVENTS

MAP_RINGBUF(events, EVENTS_BYTES);
MAP_ARRAY(event_wishes, __u32, struct event_wish, 1);
MAP_PERCPU_ARRAY(event_counts, __u32, struct event_count, 1);
MAP_PERCPU_LRU_HASH(samples, __u32, struct sample, MAX_SAMPLED);

static __always_inline struct event_count *event_count_get(void)
{
	__u32 zero = 0;

	return LOOKUP(event_counts, &zero);
}

static __always_inline struct event_wish *event_wish_get(__u32 kind)
{
	__u32 zero = 0;
	struct event_wish *wish = LOOKUP(event_wishes, &zero);

	return wish && wish->kinds & 1 << kind ? wish : NULL;
}

/* What the system call that is returning on this CPU returned: until event_fd_forget(). */
static __always_inline void event_fd_is(__u32 fd)
{
	struct event_count *count = event_count_get();

	if (count)
		count->fd = (__u64)fd + 1;
}

static __always_inline void event_fd_forget(void)
{
	struct event_count *count = event_count_get();

	if (count)
		count->fd = 0;
}

/* The address of the peer as one of IPv6, in parts of 32 bits. */
static __always_inline void as_ipv6(struct event *event, __u32 parts[4])
{
	__u32 *address = (__u32 *)event->peer;

	for (__u32 i = 0; i < 4; i++)
		parts[i] = address[i];
	if (event->family == AF_INET) {
		parts[3] = address[0];
		parts[2] = __builtin_bswap32(0xffff);
		parts[1] = parts[0] = 0;
	}
}

static __always_inline bool event_wanted(struct event_wish *wish, struct event *event)
{
	__u32 *peer = (__u32 *)wish->peer, *mask = (__u32 *)wish->mask, parts[4], differs = 0;

	if (wish->slower_us && event->kind == EVENT_ACCEPT &&
	    (event->wait_us < 0 || (__u64)event->wait_us < wish->slower_us))
		return false;
	as_ipv6(event, parts);
	for (__u32 i = 0; i < 4; i++)
		differs |= (parts[i] ^ peer[i]) & mask[i];
	return !differs;
}

static __always_inline bool event_sampled(struct event_wish *wish, __u32 inode)
{
	struct sample *sample, first = {};
	__u32 one_of = wish->sample, place;

	if (one_of <= 1)
		return true;
	sample = LOOKUP(samples, &inode);
	if (!sample) {
		INSERT(samples, &inode, &first);
		sample = LOOKUP(samples, &inode);
	}
	if (!sample)
		return false;
	if (!sample->place)
		sample->chosen = bpf_get_prandom_u32() % one_of;
	place = sample->place;
	sample->place = place + 1 >= one_of ? 0 : place + 1;
	return place == sample->chosen;
}

/* The reader is woken once as so much waits, not with every event from then on. */
static __always_inline __u64 event_wakes(void)
{
	__u64 waiting = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

	if (waiting >= EVENTS_WAKE && waiting < EVENTS_WAKE + 4 * sizeof(struct event))
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

static __noinline void event_write(struct event_wish *wish, struct event *event)
{
	struct event_count *count = event_count_get();

	if (!count)
		return;
	if (event->kind == EVENT_ACCEPT)
		count->accepts++;
	if (!event_wanted(wish, event))
		count->left_out++;
	else if (!event_sampled(wish, event->inode))
		count->not_sampled++;
	else if (bpf_ringbuf_output(&events, event, sizeof(*event), event_wakes()))
		count->lost++;
	else
		count->written++;
}

static __always_inline void event_begin(struct event *event, __u32 kind, struct sock *listener,
					__u32 inode)
{
	struct sock_reuseport *group = BPF_CORE_READ(listener, sk_reuseport_cb);

	event->time_ns = bpf_ktime_get_ns();
	event->kind = kind;
	event->inode = inode;
	event->netns = netns_of(PROBED, listener);
	event->queue = queue_of(listener);
	event->group = group ? (__s32)BPF_CORE_READ(group, reuseport_id) : GROUP_NONE;
	event->wait_us = WAIT_UNKNOWN;
	event->result = RESULT_UNKNOWN;
	event->received_cpu = CPU_UNKNOWN;
	event->cpu = bpf_get_smp_processor_id();
	event->connections = 1;
}

static __always_inline void event_of_listener(struct event *event, struct sock *listener)
{
	event->family = BPF_CORE_READ(listener, __sk_common.skc_family);
	if (event->family == AF_UNIX) {
		unix_name_note(listener, event->inode);
		return;
	}
	event->local_port = port_number(PROBED, listener);
	address_read(listener, event->local);
}

static __always_inline void event_of_child(struct event *event, struct sock *child)
{
	event->family = BPF_CORE_READ(child, __sk_common.skc_family);
	if (event->family == AF_UNIX) {
		unix_name_note(child, event->inode);
		unix_peer_read((void *)event->peer, child);
		return;
	}
	event->local_port = port_number(PROBED, child);
	event->peer_port = __builtin_bswap16(BPF_CORE_READ(child, __sk_common.skc_dport));
	address_read(child, event->local);
	if (event->family == AF_INET6)
		bpf_probe_read_kernel(event->peer, 16, &child->__sk_common.skc_v6_daddr);
	else
		bpf_probe_read_kernel(event->peer, 4, &child->__sk_common.skc_daddr);
}

static __always_inline void event_of_task(struct event *event)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 thread = current_pid();

	event->pid = thread >> 32;
	event->tid = thread;
	event->process_start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	bpf_get_current_comm(event->comm, sizeof(event->comm));
}

/* A connection that was counted as accepted; `wait_us`: WAIT_UNKNOWN where it cannot be read. */
static __noinline void event_accept(struct sock *listener, struct sock *child, __u32 inode,
				    __s64 wait_us)
{
	struct event_wish *wish = event_wish_get(EVENT_ACCEPT);
	struct event_count *count = event_count_get();
	struct event event = {};

	if (!wish || !count)
		return;
	event_begin(&event, EVENT_ACCEPT, listener, inode);
	event_of_task(&event);
	event_of_child(&event, child);
	event.wait_us = wait_us;
	if (count->fd)
		event.result = count->fd - 1;
	if (BPF_CORE_READ(child, sk_protocol) == IPPROTO_TCP)
		event.received_cpu = BPF_CORE_READ(child, __sk_common.skc_incoming_cpu);
	event_write(wish, &event);
}

/* `error` is positive. */
static __noinline void event_failed(struct sock *listener, __u32 inode, __u32 error)
{
	struct event_wish *wish = event_wish_get(EVENT_FAILED);
	struct event event = {};

	if (!wish)
		return;
	event_begin(&event, EVENT_FAILED, listener, inode);
	event_of_task(&event);
	event_of_listener(&event, listener);
	event.result = -(__s32)error;
	event_write(wish, &event);
}

/* So many connections, reset with their listener; `child`: the one that it is, or NULL. */
static __noinline void event_reset(struct sock *listener, __u32 inode, struct sock *child,
				   __u32 connections)
{
	struct event_wish *wish = event_wish_get(EVENT_RESET);
	struct event event = {};

	if (!wish)
		return;
	event_begin(&event, EVENT_RESET, listener, inode);
	event_of_listener(&event, listener);
	if (child)
		event_of_child(&event, child);
	event.connections = connections;
	event_write(wish, &event);
}

static __noinline void event_dropped(struct sock *listener, struct peer *peer)
{
	struct event_wish *wish = event_wish_get(EVENT_DROPPED);
	struct event event = {};

	if (!wish)
		return;
	event_begin(&event, EVENT_DROPPED, listener, peer->inode);
	event_of_listener(&event, listener);
	event.peer_port = __builtin_bswap16(peer->port);
	if (event.family == AF_INET6 && peer->family == AF_INET) {
		event.peer[10] = event.peer[11] = 0xff;
		__builtin_memcpy(event.peer + 12, peer->address, 4);
	} else {
		__builtin_memcpy(event.peer, peer->address, 16);
	}
	event_write(wish, &event);
}

/* The current process did not get into the full queue of a listener of AF_UNIX. */
static __noinline void event_refused(struct sock *listener, __u32 inode)
{
	struct event_wish *wish = event_wish_get(EVENT_DROPPED);
	struct unix_peer *peer;
	struct event event = {};

	if (!wish)
		return;
	event_begin(&event, EVENT_DROPPED, listener, inode);
	event_of_listener(&event, listener);
	peer = (void *)event.peer;
	peer->pid = current_pid() >> 32;
	peer->uid = (__u32)bpf_get_current_uid_gid();
	event_write(wish, &event);
}

#else

static __always_inline void event_fd_is(__u32 fd)
{
}

static __always_inline void event_fd_forget(void)
{
}

static __always_inline void event_accept(struct sock *listener, struct sock *child, __u32 inode,
					 __s64 wait_us)
{
}

static __always_inline void event_failed(struct sock *listener, __u32 inode, __u32 error)
{
}

static __always_inline void event_reset(struct sock *listener, __u32 inode, struct sock *child,
					__u32 connections)
{
}

static __always_inline void event_dropped(struct sock *listener, struct peer *peer)
{
}

static __always_inline void event_refused(struct sock *listener, __u32 inode)
{
}

#endif

#endif
