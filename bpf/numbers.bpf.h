/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The numbers of a process: one in its own PID namespace and one in each above it, up to the
 * initial one. The helper bpf_get_ns_current_pid_tgid() knows only processes whose own namespace is
 * the one asked for, so those in namespaces below it would have no PID; and it knows only the
 * current one.
 */
#ifndef ACCEPTTRACE_NUMBERS_H
#define ACCEPTTRACE_NUMBERS_H

#include "core.h"

enum { PID_NAMESPACES = 33 }; /* that one process can be in: MAX_PID_NS_LEVEL + 1 */

/* 0: it is not in that namespace. */
VERIFIED_ONCE __u32 number_in(__u32 pidns, __u64 of_task)
{
	struct pid *pid = (void *)of_task;
	void *numbers = &pid->numbers;
	__u32 level = BPF_CORE_READ(pid, level);

	for (__u32 i = 0; i < PID_NAMESPACES && i <= level; i++) {
		struct upid *number = numbers + i * SIZE_OF(upid);
		struct pid_namespace *space = BPF_CORE_READ(number, ns);

		if (BPF_CORE_READ(space, ns.inum) == pidns)
			return BPF_CORE_READ(number, nr);
	}
	return 0;
}

/* PID << 32 | TID of a thread in a PID namespace; 0: it is not in it. */
static __always_inline __u64 thread_in(__u32 pidns, struct task_struct *thread)
{
	struct task_struct *leader = BPF_CORE_READ(thread, group_leader);
	__u64 pid = number_in(pidns, (__u64)BPF_CORE_READ(leader, thread_pid));

	return pid << 32 | number_in(pidns, (__u64)BPF_CORE_READ(thread, thread_pid));
}

#endif
