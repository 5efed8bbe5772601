/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* PIDs as they are seen from the tracer's own PID namespace. */
#ifndef ACCEPTTRACE_PIDNS_H
#define ACCEPTTRACE_PIDNS_H

#include "numbers.bpf.h"

VERIFIED_ONCE __u64 current_in(__u32 pidns)
{
	return thread_in(pidns, (void *)bpf_get_current_task());
}

/* PID << 32 | TID of the current thread as seen from the tracer; 0: it has none there. */
static __always_inline __u64 current_pid(void)
{
	struct settings *want = settings_get();

	if (!READS_NUMBERS || !want || !want->pidns)
		return bpf_get_current_pid_tgid();
	return current_in(want->pidns);
}

#endif
