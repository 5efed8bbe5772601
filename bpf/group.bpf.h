/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* What a member of a SO_REUSEPORT group says of the group and of its selector. */
#ifndef ACCEPTTRACE_GROUP_H
#define ACCEPTTRACE_GROUP_H

#include "socket.bpf.h"

/* What it does can be seen from its instructions, if they are few. */
static __always_inline void classic_read(struct bpf_prog *program, struct member *member)
{
	struct sock_fprog_kern *given = BPF_CORE_READ(program, orig_prog);
	__u64 *code;

	if (!given)
		return;
	code = (__u64 *)BPF_CORE_READ(given, filter);
	member->instructions = BPF_CORE_READ(given, len);
	for (__u32 i = 0; i < CLASSIC_READ; i++) {
		if (i < member->instructions)
			bpf_probe_read_kernel(&member->classic[i], sizeof(*code), code + i);
	}
}

static __always_inline void selector_read(struct sock_reuseport *group, struct member *member)
{
	struct bpf_prog *program = BPF_CORE_READ(group, prog);
	struct bpf_prog_aux *more;

	if (!program)
		return;
	if (BPF_CORE_READ(program, type) == BPF_PROG_TYPE_UNSPEC) {
		member->program = PROGRAM_CLASSIC;
		classic_read(program, member);
		return;
	}
	member->program = PROGRAM_EXTENDED;
	more = BPF_CORE_READ(program, aux);
	member->program_id = BPF_CORE_READ(more, id);
	bpf_probe_read_kernel(member->program_name, sizeof(member->program_name), &more->name);
}

/*
 * False where the socket is in no group. Not inlined, so that the type of its result stands in the
 * BTF of the object and can be checked.
 */
static __noinline bool member_read(struct sock *sk, struct member *member)
{
	struct sock_reuseport *group = BPF_CORE_READ(sk, sk_reuseport_cb);

	if (!group)
		return false;
	member->inode = inode_of(PROBED, sk);
	member->group = BPF_CORE_READ(group, reuseport_id);
	member->size = BPF_CORE_READ(group, num_socks);
	selector_read(group, member);
	member->incoming_cpu = incoming_cpu_members(group);
	return true;
}

#endif
