/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* The kernel fields that the inventory of holders reads besides those of kernel.h: see there. */
#ifndef ACCEPTTRACE_WAITS_H
#define ACCEPTTRACE_WAITS_H

#include "kernel.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Wait queues, and what may stand in that of a socket: each kind of entry has its own neighbours */
struct list_head {
	struct list_head *next;
};
struct wait_queue_head {
	struct list_head head;
};
struct wait_queue_entry {
	unsigned int flags;
	void *private;
	struct list_head entry;
};
struct socket_wq {
	struct wait_queue_head wait;
};
struct poll_wqueues {
	struct task_struct *polling_task;
};
struct poll_table_entry { /* poll() and select(); `private`: struct poll_wqueues */
	struct file *filp;
	__u32 key;
	struct wait_queue_entry wait;
	struct wait_queue_head *wait_address;
};
struct eventpoll {
	struct wait_queue_head wq; /* who sleeps in epoll_wait() */
};
struct epoll_filefd {
	struct file *file;
} __attribute__((packed));
struct epoll_event {
	__u32 events;
} __attribute__((packed));
struct epitem {
	struct epoll_filefd ffd;
	struct eventpoll *ep;
	struct epoll_event event;
};
struct eppoll_entry {
	struct epitem *base;
	struct wait_queue_entry wait;
	struct wait_queue_head *whead;
};
struct io_uring_task {
	struct task_struct *task;
};
struct io_kiocb {
	struct io_uring_task *tctx; /* or as below: see drift.bpf.h */
};
struct io_kiocb___task {
	struct task_struct *task;
};
struct io_poll { /* `private`: struct io_kiocb, with flags in the lowest bits */
	struct file *file;
	struct wait_queue_head *head;
	struct wait_queue_entry wait;
};
struct io_poll_iocb { /* what io_poll was called */
	struct file *file;
	struct wait_queue_head *head;
	struct wait_queue_entry wait;
};

/* Whose descriptors */
struct nsproxy {
	struct net *net_ns;
};
struct task_struct___id {
	int pid;
	int tgid;
	struct task_struct___id *group_leader;
	__u64 start_boottime;
	struct nsproxy *nsproxy;
	char comm[16];
	void *stack;
};
struct sock___wait {
	struct socket_wq *sk_wq;
};
struct long_counter { /* atomic_long_t */
	long counter;
};
struct file___count {
	struct long_counter f_count; /* or as below: see drift.bpf.h */
};
struct file___ref {
	struct {
		struct long_counter refcnt; /* one less than there are */
	} f_ref;
};
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop

enum {
	WQ_FLAG_EXCLUSIVE = 1,
	EPOLLIN = 0x1,
	EPOLLPRI = 0x2,
	EPOLLRDNORM = 0x40,
	EPOLLRDBAND = 0x80,
	EPOLLONESHOT = 1 << 30,
	STACK_BYTES = 65536, /* at least that of any kernel thread's own stack */
	S_IFREG = 0100000,
};

#endif
