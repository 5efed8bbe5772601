/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * PIDs as they are seen from the tracer's own PID namespace.
 *
 * A process has a number in its own namespace and in each above it, up to the initial one. The
 * helper bpf_get_ns_current_pid_tgid() knows only processes whose own namespace is the one asked
 * for, so those in namespaces below it would have no PID; and it knows only the current one.
 */
#ifndef ACCEPTTRACE_PIDNS_H
#define ACCEPTTRACE_PIDNS_H

#include "core.h"

enum { PID_NAMESPACES = 33 }; /* that one process can be in: MAX_PID_NS_LEVEL + 1 */

/* 0: it is not in that namespace. */
static __always_inline __u32 number_in(__u32 pidns, struct pid *pid)
{
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
VERIFIED_ONCE __u64 thread_in(__u32 pidns, __u64 task)
{
	struct task_struct *thread = (void *)task;
	struct task_struct *leader = BPF_CORE_READ(thread, group_leader);
	__u64 pid = number_in(pidns, BPF_CORE_READ(leader, thread_pid));

	return pid << 32 | number_in(pidns, BPF_CORE_READ(thread, thread_pid));
}

/* PID << 32 | TID of the current thread as seen from the tracer; 0: it has none there. */
static __always_inline __u64 current_pid(void)
{
	struct settings *want = settings_get();

	if (!want || !want->pidns)
		return bpf_get_current_pid_tgid();
	return thread_in(want->pidns, bpf_get_current_task());
}

#endif
