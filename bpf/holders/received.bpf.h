/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Who is handed a socket asked for: by a message (SCM_RIGHTS), or by pidfd_getfd(). */
#ifndef ACCEPTTRACE_RECEIVED_H
#define ACCEPTTRACE_RECEIVED_H

#include "holders/asked.bpf.h"
#include "tcp/syscall.bpf.h"

/* The last ones: more than fit are told from their ancestry, as where nothing is traced. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_RECEIVED);
	__type(key, struct received_key);
	__type(value, struct received);
} received SEC(".maps");

/* A helper that libbpf 0.5 may not declare. */
static struct pt_regs *(*const regs_of)(struct task_struct *) = (void *)BPF_FUNC_task_pt_regs;

/* Wherever this kernel keeps them; before it had a helper for that there was one place. */
static __always_inline struct pt_regs *registers_now(struct task_struct *task)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return regs_of(bpf_get_current_task_btf());
	return syscall_registers(task);
}

/* Other system calls: io_uring receives in its own, seccomp hands over in any. */
static __always_inline __u32 received_by(struct task_struct *task)
{
	int number;

	if (is_compat(task))
		return RECEIVED_OTHER;
	number = SYSCALL_NUMBER(registers_now(task));
	if (number == NR_pidfd_getfd)
		return RECEIVED_GETFD;
	return number == NR_recvmsg || number == NR_recvmmsg ? RECEIVED_MESSAGE : RECEIVED_OTHER;
}

/* Before it has a descriptor here, so before any pass can find that. */
static __always_inline void file_received(struct file *file)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct___id *leader = (void *)BPF_CORE_READ(task, group_leader);
	struct received_key key = {};
	struct received what = {};
	struct socket *socket;
	struct sock *sk;

	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	if (!sk || !is_asked(sk))
		return;
	key.inode = BPF_CORE_READ(file, f_inode, i_ino);
	key.tgid = bpf_get_current_pid_tgid() >> 32;
	what.start_ns = BPF_CORE_READ(leader, start_boottime);
	what.by = received_by(task);
	bpf_map_update_elem(&received, &key, &what, BPF_ANY);
}

SEC("fentry/security_file_receive")
int fentry_file_receive(__u64 *ctx)
{
	file_received((void *)ctx[0]);
	return 0;
}

SEC("kprobe/security_file_receive")
int kprobe_file_receive(struct pt_regs *ctx)
{
	file_received(ARGUMENT1(ctx));
	return 0;
}

#endif
