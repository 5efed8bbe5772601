/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* From a file descriptor of a task to its socket. */
#ifndef ACCEPTTRACE_DESCRIPTOR_H
#define ACCEPTTRACE_DESCRIPTOR_H

#include "tcp/accept.bpf.h"
#include "tcp/signal.bpf.h"

/*
 * The descriptors of the current thread; `room`: for so many. By plain loads where that is
 * possible: some attach types look here in every accept().
 */
static __always_inline struct file **descriptors_now(__u32 *room)
{
	struct task_struct *task;
	struct fdtable *table;

	if (HAS_TASK_POINTERS) {
		table = CURRENT_TASK()->files->fdt;
		*room = table->max_fds;
		return table->fd;
	}
	task = (void *)bpf_get_current_task();
	table = BPF_CORE_READ(task, files, fdt);
	*room = BPF_CORE_READ(table, max_fds);
	return BPF_CORE_READ(table, fd);
}

static __always_inline struct file *file_of(__u32 fd)
{
	__u32 room = 0;
	struct file **files = descriptors_now(&room), *file = NULL;

	if (fd < room)
		bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return file;
}

static __always_inline struct sock *sock_of(struct file *file)
{
	struct socket *socket;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

static __always_inline bool is_inet(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return family == AF_INET || family == AF_INET6;
}

/*
 * Whether a child came from this socket. A descriptor may be closed or given to another socket
 * while a thread sleeps in accept(), so what it names after that may be anything.
 */
static __always_inline bool came_from(struct sock *listener, struct sock *child)
{
	if (!listener || !is_inet(listener) ||
	    BPF_CORE_READ(listener, __sk_common.skc_state) != TCP_LISTEN)
		return false;
	return !child || port_number(PROBED, child) == port_number(PROBED, listener) ||
	       serves_other_ports(listener);
}

static __always_inline bool is_unix_listener(enum access how, struct sock *sk)
{
	return sk && is_of_unix(how, sk) && READ(how, sk, __sk_common.skc_state) == TCP_LISTEN;
}

static __always_inline bool is_inet_listener(struct sock *sk)
{
	return sk && is_inet(sk) && BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN;
}

/* `of_unix`: which of the two families it is asked for. */
static __always_inline bool is_listener(struct sock *sk, bool of_unix)
{
	return of_unix ? is_unix_listener(PROBED, sk) : is_inet_listener(sk);
}

static __always_inline void refused(__u32 fd, bool of_unix)
{
	struct task task = task_now(PROBED);
	struct file *file = file_of(fd);
	struct sock *listener = sock_of(file);
	struct acceptor_key key = {};
	struct acceptor *acceptor;

	if (!is_listener(listener, of_unix))
		return;
	acceptor = acceptor_of(listener, BPF_CORE_READ(file, f_inode, i_ino), &task, &key);
	if (acceptor)
		count(is_crew(&key), &acceptor->refused, 1);
}

static __always_inline void call_failed(__u32 fd, __u32 error, bool of_unix)
{
	struct sock *listener;
	struct file *file;

	if (error >= ERESTARTSYS && error <= ERESTART_RESTARTBLOCK) {
		if (!interrupted_for_good())
			return;
		error = EINTR;
	}
	file = file_of(fd);
	listener = sock_of(file);
	if (is_listener(listener, of_unix))
		failed(listener, BPF_CORE_READ(file, f_inode, i_ino), error,
		       !(BPF_CORE_READ(file, f_flags) & O_NONBLOCK));
}

/* A call of accept() that took nothing. `error` is positive; EMFILE and ENFILE come here too. */
static __noinline void accept_failed(__u32 fd, __u32 error)
{
	call_failed(fd, error, false);
}

static __always_inline __u32 call_state(__u32 fd, bool of_unix)
{
	struct sock *listener = sock_of(file_of(fd));
	bool waits;

	if (!listener)
		return CALL_BEGAN;
	waits = of_unix ? unix_keeps_waiting(listener, EMFILE) : keeps_waiting(listener, EMFILE);
	return waits ? CALL_AWAITED : CALL_BEGAN;
}

/*
 * For hooks that see only the entry of calls: one that never got as far as the queue when the next
 * one begins was refused before, for want of a descriptor. User space adds the one still pending.
 */
static __always_inline void call_begins(__u32 fd, bool of_unix)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct call *call = call_get(thread), first = {};

	if (!call) {
		first.thread = current_pid();
		first.fd = fd;
		first.state = call_state(fd, of_unix);
		call_put(thread, &first);
		return;
	}
	if (call->state == CALL_AWAITED && !call->listener)
		refused(call->fd, of_unix);
	call->listener = 0;
	call->fd = fd;
	call->state = call_state(fd, of_unix);
}

#endif
