/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* What becomes of the queue when a listener closes: reset, or moved to another of its group. */
#ifndef ACCEPTTRACE_CLOSE_H
#define ACCEPTTRACE_CLOSE_H

#include "tcp/accept.bpf.h"
#include "tcp/request.bpf.h"

/*
 * What is half-open now will be reset, with the ACK that it ends with. Those that move to another
 * listener then are in the map `migrations`.
 */
static __always_inline void stopped(struct sock *sk)
{
	__u32 half_open = half_open_at(sk);
	struct listener *listener = half_open ? listener_of(PROBED, sk) : listener_known(sk);

	if (!listener)
		return;
	listener->drops = drops_of(sk);
	listener->cut_off += half_open;
	add(&listener->stops, 1);
}

/*
 * A child that nobody accepted is reset, at the listener that it was with or was to move to. If it
 * never got into the queue, because that closed in between, its client was connected all the same.
 */
static __always_inline void forgotten(struct sock *sk, struct request_sock *request,
				      struct sock *child)
{
	bool was_queued = BPF_CORE_READ(request, sk) == child;
	struct listener *listener =
		has_tcp(PROBED, sk) ? listener_after(PROBED, sk, was_queued) : NULL;
	struct scratch *scratch = scratch_get();
	__u64 now;

	if (!listener || !scratch)
		return;
	if (!was_queued && !came_directly(request, child))
		arrived(PROBED, listener, sk);
	now = now_us();
	add(&listener->lost, 1);
	event_reset(sk, inode_of(PROBED, sk), child, 1);
	add(&listener->left_us, now);
	add(&listener->waited_us, waited_by(child, now));
	if (scratch->moved == (__u64)child) {
		scratch->moved = 0;
		add(&listener->migration_failed, 1);
	}
}

static __noinline struct migration *migration_of(struct migration_key *key, __u32 owner)
{
	struct migration *migration = migration_get(key);

	if (migration || !share_take(owner, SHARED_MIGRATIONS))
		return migration;
	if (migration_add(key, owner))
		share_return(owner, SHARED_MIGRATIONS);
	return migration_get(key);
}

static __always_inline void moved(struct listener *from, struct listener *to, struct sock *child)
{
	__u64 now = now_us(), waited = waited_by(child, now);

	if (from) {
		add(&from->migrated_out, 1);
		add(&from->left_us, now);
		add(&from->waited_us, waited);
	}
	if (to) {
		add(&to->migrated_in, 1);
		add(&to->came_us, now);
		add(&to->carried_us, waited);
	}
}

/* `migrating`: a queued child, or a request that is half open. `to`: NULL where there is no other.
 */
static __always_inline void migrated(struct sock *from, struct sock *migrating, struct sock *to)
{
	bool half_open = BPF_CORE_READ(migrating, __sk_common.skc_state) == TCP_NEW_SYN_RECV;
	struct settings *want = settings_get();
	struct scratch *scratch = scratch_get();
	struct migration_key key = {};
	struct migration *migration;
	struct listener *old;
	__u32 owner;

	if (scratch && !half_open)
		scratch->moved = to ? (__u64)migrating : 0;
	if (!want || !listener_wanted(PROBED, want, to ? to : from))
		return;
	key.from_inode = inode_of(PROBED, from);
	old = key.from_inode ? listener_get(key.from_inode) : NULL;
	if (!to) {
		if (old && !half_open && migrates(from))
			add(&old->migration_failed, 1);
		return;
	}
	key.to_inode = inode_of(PROBED, to);
	owner = owner_of(to);
	migration = migration_of(&key, owner);
	if (!migration)
		lost_for(owner, SHARED_MIGRATIONS, LOSS_MIGRATIONS_FULL);
	else
		add(half_open ? &migration->requests : &migration->connections, 1);
	if (!half_open)
		moved(key.from_inode ? listener_after(PROBED, from, 1) : NULL,
		      listener_of(PROBED, to), migrating);
}

#endif
