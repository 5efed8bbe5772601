/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * What becomes of a system call that a signal interrupts: it ends with ERESTARTSYS inside the
 * kernel, which then starts it anew, unless a handler runs that did not ask for that: then user
 * space sees EINTR. Of several signals the first with a handler decides, and those sent to the
 * thread come before those sent to the process (kernel: dequeue_signal(), handle_signal()).
 */
#ifndef ACCEPTTRACE_SIGNAL_H
#define ACCEPTTRACE_SIGNAL_H

#include "drift.bpf.h"

enum { SIGNALS = 64 };
enum answer { UNANSWERED, RESTARTS, ENDS };

VERIFIED_ONCE enum answer answer_to(__u64 all, __u32 nth)
{
	struct sighand_struct *handlers = (void *)all;
	void *action = (void *)&handlers->action + nth * SIZE_OF(k_sigaction);
	struct sigaction *found = &((struct k_sigaction *)action)->sa;

	if ((unsigned long)BPF_CORE_READ(found, sa_handler) <= (unsigned long)SIG_IGN)
		return UNANSWERED;
	return BPF_CORE_READ(found, sa_flags) & SA_RESTART ? RESTARTS : ENDS;
}

VERIFIED_ONCE enum answer answer_to_any(__u64 task, __u64 pending)
{
	__u64 handlers = (__u64)BPF_CORE_READ((struct task_struct *)task, sighand);
	enum answer answer;

	for (__u32 nth = 0; nth < SIGNALS; nth++) {
		if (!(pending >> nth & 1))
			continue;
		answer = answer_to(handlers, nth);
		if (answer)
			return answer;
	}
	return UNANSWERED;
}

/* Whether the call of the current thread, which was interrupted, ends with EINTR. */
static __always_inline bool interrupted_for_good(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 open = ~BPF_CORE_READ(task, blocked.sig[0]);
	__u64 own = BPF_CORE_READ(task, pending.signal.sig[0]) & open;
	__u64 shared = BPF_CORE_READ(task, signal, shared_pending.signal.sig[0]) & open;
	enum answer answer = answer_to_any((__u64)task, own);

	if (!answer)
		answer = answer_to_any((__u64)task, shared);
	return answer == ENDS;
}

#endif
