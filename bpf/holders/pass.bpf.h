/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* A pass over all descriptors: what was asked for, where it is, what it met already. */
#ifndef ACCEPTTRACE_PASS_H
#define ACCEPTTRACE_PASS_H

#include "holders/holders.h"
#include "numbers.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct asked);
} asked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct progress);
} progress SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_SEEN);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

/* Numbers of epoll sets, by the kernel's pointer, which is never shown. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_EPOLLS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} epolls SEC(".maps");

/* By inode, the pass that looked at the wait queue of a socket last. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_WALKED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} walked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_OPENED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct open_key);
	__type(value, struct open_count);
} opened SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_COUNTED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct counted_key);
	__type(value, __u32);
} counted SEC(".maps");

/* One descriptor of one process. */
struct visit {
	struct seq_file *seq;
	struct task_struct___id *task;
	struct file *file;
	struct progress *here;
	__u32 fd;
	__u32 tgid;
};

static __always_inline struct progress *progress_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&progress, &zero);
}

/* 0: there is no room for it. */
static __always_inline __u32 epoll_named(__u64 set, __u32 *what)
{
	__u32 *known = bpf_map_lookup_elem(&epolls, &set);
	struct progress *here;
	__u32 number;

	if (known)
		return *known;
	here = progress_get();
	if (!here)
		return 0;
	number = ++here->epolls;
	*what |= WAITS_NEW;
	return bpf_map_update_elem(&epolls, &set, &number, BPF_ANY) ? 0 : number;
}

#endif
