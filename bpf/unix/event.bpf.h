/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* What events of AF_UNIX have of a socket: the name of the listener, and who connected. */
#ifndef ACCEPTTRACE_UNIX_EVENT_H
#define ACCEPTTRACE_UNIX_EVENT_H

#include "maps.h"
#include "pidns.bpf.h"

#ifdef EVENTS

MAP_LRU_HASH(unix_names, __u32, struct unix_name, MAX_UNIX_NAMES);

/* PID, as seen from the tracer; 0: it has none there. */
static __always_inline __u32 pid_here(struct pid *pid)
{
	struct settings *want = settings_get();
	struct upid *first = (void *)&pid->numbers;

	if (want && want->pidns)
		return number_in(want->pidns, (__u64)pid);
	return BPF_CORE_READ(first, nr);
}

static __always_inline void unix_peer_read(struct unix_peer *peer, struct sock *child)
{
	struct pid *pid = BPF_CORE_READ(child, sk_peer_pid);

	peer->pid = pid ? pid_here(pid) : 0;
	peer->uid = BPF_CORE_READ(child, sk_peer_cred, euid.val);
}

/* A row of zeros: it is written in place, for there is no room for it on the stack. */
static __always_inline struct unix_name *unix_name_add(__u32 inode)
{
	__u32 zero = 0;
	void *first = LOOKUP(blank, &zero);

	if (!first || INSERT(unix_names, &inode, first))
		return NULL;
	return LOOKUP(unix_names, &inode);
}

/* `sk`: the listener, or a child, which has the name of its listener. */
static __noinline void unix_name_note(struct sock *sk, __u32 inode)
{
	struct unix_sock *of_unix = (struct unix_sock *)sk;
	struct unix_address *address = BPF_CORE_READ(of_unix, addr);
	struct dentry *dentry = BPF_CORE_READ(of_unix, path.dentry);
	struct unix_name *name;

	if (!address || LOOKUP(unix_names, &inode))
		return;
	name = unix_name_add(inode);
	if (!name)
		return;
	if (dentry) {
		name->file_inode = BPF_CORE_READ(dentry, d_inode, i_ino);
		name->device = BPF_CORE_READ(dentry, d_sb, s_dev);
	}
	bpf_probe_read_kernel(name->name, UNIX_PATH, &address->name[0].sun_path);
	name->length = BPF_CORE_READ(address, len) - sizeof(__u16);
}

#endif

#endif
