/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Who waits on a socket: its wait queue, read without the lock, so that what is read is checked.
 * What an entry is part of shows in its neighbours: each kind remembers file and queue elsewhere.
 */
#ifndef ACCEPTTRACE_WAITERS_H
#define ACCEPTTRACE_WAITERS_H

#include "holders/pass.bpf.h"
#include "holders/waits.h"
#include <bpf/bpf_core_read.h>

#define OUTER(entry, type, field) ((type *)((char *)(entry) - FIELD_AT(type, field)))
#define FIELD_AT(type, field) bpf_core_field_offset(((type *)0)->field)

struct walk {
	struct seq_file *seq;
	struct file *file;
	struct wait_queue_head *queue;
	struct list_head *next;
	__u32 failed; /* the buffer is full: all of it is to be written again */
};

static __always_inline __u32 tgid_of(struct task_struct *task)
{
	return BPF_CORE_READ((struct task_struct___id *)task, tgid);
}

/* A thread that waits for itself keeps the entry on its own stack. */
static __always_inline bool on_stack_of(struct task_struct *task, void *entry)
{
	__u64 stack = (__u64)BPF_CORE_READ((struct task_struct___id *)task, stack);

	return stack && (__u64)entry > stack && (__u64)entry - stack < STACK_BYTES;
}

static __always_inline bool polls(struct walk *walk, struct wait_queue_entry *entry,
				  struct pair *pair)
{
	struct poll_table_entry *poll = OUTER(entry, struct poll_table_entry, wait);
	__u32 all = EPOLLRDNORM | EPOLLRDBAND | EPOLLPRI; /* as select() asks, never poll() */
	struct poll_wqueues *table;
	__u32 key;

	if (BPF_CORE_READ(poll, filp) != walk->file ||
	    BPF_CORE_READ(poll, wait_address) != walk->queue)
		return false;
	key = BPF_CORE_READ(poll, key);
	table = BPF_CORE_READ(entry, private);
	pair->what = (key & all) == all ? WAITS_SELECT : WAITS_POLL;
	if (!(key & (EPOLLIN | EPOLLRDNORM)))
		pair->what |= WAITS_NO_INPUT;
	pair->which = tgid_of(BPF_CORE_READ(table, polling_task));
	return true;
}

static __always_inline bool watches(struct walk *walk, struct wait_queue_entry *entry,
				    struct pair *pair)
{
	struct eppoll_entry *poll = OUTER(entry, struct eppoll_entry, wait);
	struct epitem *item;
	__u32 events;

	if (BPF_CORE_READ(poll, whead) != walk->queue)
		return false;
	item = BPF_CORE_READ(poll, base);
	if (BPF_CORE_READ(item, ffd.file) != walk->file)
		return false;
	events = BPF_CORE_READ(item, event.events);
	pair->what = WAITS_EPOLL;
	/* A one-shot entry that has fired: its owner is about to arm it again. */
	if (!(events & (EPOLLIN | EPOLLRDNORM | EPOLLONESHOT)))
		pair->what |= WAITS_NO_INPUT;
	pair->which = epoll_named((__u64)BPF_CORE_READ(item, ep), &pair->what);
	return true;
}

static __always_inline struct task_struct *task_of_request(__u64 private)
{
	struct io_kiocb *request = (void *)(private & ~3ULL);

	if (bpf_core_field_exists(request->tctx))
		return BPF_CORE_READ(request, tctx, task);
	return BPF_CORE_READ((struct io_kiocb___task *)request, task);
}

static __always_inline bool is_ring_entry(struct walk *walk, struct wait_queue_entry *entry)
{
	if (bpf_core_type_exists(struct io_poll)) {
		struct io_poll *poll = OUTER(entry, struct io_poll, wait);

		return BPF_CORE_READ(poll, file) == walk->file &&
		       BPF_CORE_READ(poll, head) == walk->queue;
	}
	if (bpf_core_type_exists(struct io_poll_iocb)) {
		struct io_poll_iocb *poll = OUTER(entry, struct io_poll_iocb, wait);

		return BPF_CORE_READ(poll, file) == walk->file &&
		       BPF_CORE_READ(poll, head) == walk->queue;
	}
	return false;
}

static __always_inline void waiter_read(struct walk *walk, struct wait_queue_entry *entry,
					struct pair *pair)
{
	struct task_struct *task = BPF_CORE_READ(entry, private);

	if (task && on_stack_of(task, entry)) {
		pair->what = WAITS_CALL;
		pair->which = tgid_of(task);
	} else if (is_ring_entry(walk, entry)) {
		pair->what = WAITS_URING;
		pair->which = tgid_of(task_of_request((__u64)task));
	} else if (!polls(walk, entry, pair) && !watches(walk, entry, pair)) {
		pair->what = WAITS_OTHER;
	}
	if (BPF_CORE_READ(entry, flags) & WQ_FLAG_EXCLUSIVE)
		pair->what |= WAITS_EXCLUSIVE;
}

static __always_inline bool is_over(struct walk *walk)
{
	return !walk->next || walk->next == &walk->queue->head;
}

/* One entry; not 0: there is no other. */
static __always_inline long waiter_next(struct walk *walk)
{
	struct list_head *here = walk->next;
	struct pair pair = {};

	if (is_over(walk))
		return 1;
	waiter_read(walk, OUTER(here, struct wait_queue_entry, entry), &pair);
	walk->next = BPF_CORE_READ(here, next);
	walk->failed = bpf_seq_write(walk->seq, &pair, sizeof(pair)) != 0;
	return walk->failed;
}

static long waiter_step(__u32 index, void *walk)
{
	return waiter_next(walk);
}

/* Kernels without bpf_loop() unroll every loop to verify it. */
enum loops { BY_HELPER, UNROLLED };

/* False: the buffer is full. */
static __always_inline bool waiters_write(struct walk *walk, enum loops loops)
{
	struct pair more = {.what = WAITS_MORE};

	if (loops == BY_HELPER)
		bpf_loop(MAX_WAITERS, waiter_step, walk, 0);
	else
		for (int i = 0; i < MAX_WAITERS_UNROLLED; i++)
			if (waiter_next(walk))
				break;
	if (!walk->failed && !is_over(walk))
		walk->failed = bpf_seq_write(walk->seq, &more, sizeof(more)) != 0;
	return !walk->failed;
}

#endif
