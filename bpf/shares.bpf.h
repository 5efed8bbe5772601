/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The owner of a new row, and whether there is room for it: one owner cannot take the room of all.
 * Only needed when a row is made.
 */
#ifndef ACCEPTTRACE_SHARES_H
#define ACCEPTTRACE_SHARES_H

#include "drift.bpf.h"
#include "maps.h"

static __noinline __u32 owner_of(struct sock *sk)
{
	struct net *net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	__u32 uid = BPF_CORE_READ(sk, sk_uid.val);

	if (BPF_CORE_READ(net, user_ns, level))
		return OWNER_GUESTS;
	return uid < OWNER_RANGES ? uid : OWNER_RANGES + (uid >> 16);
}

static __always_inline __u32 room_of(__u32 map)
{
	switch (map) {
	case SHARED_LISTENERS:
		return MAX_PLACES + MAX_LISTENERS;
	case SHARED_ACCEPTORS:
		return MAX_SLOTS + MAX_ACCEPTORS;
	case SHARED_ERRORS:
		return MAX_ERRORS;
	case SHARED_MIGRATIONS:
		return MAX_MIGRATIONS;
	case SHARED_PEERS:
		return MAX_PEERS;
	case SHARED_PORTS:
		return MAX_PORTS;
	case SHARED_READERS:
		return MAX_READERS;
	default:
		return MAX_RECEIVERS;
	}
}

/* Not looked for first: each branch here is verified once for every call above it. */
static __always_inline struct share *share_of(struct share_key *key)
{
	share_add(key);
	return share_get(key);
}

static __always_inline __u64 held(struct share_key *key, struct share *share)
{
	return share->taken - freed_of(key);
}

/*
 * Besides a fixed part, nobody but root may hold more rows than are free: so the next one
 * finds room, however many owners there are.
 */
VERIFIED_ONCE bool share_is_used_up(__u32 owner, __u32 map)
{
	struct share_key key = {.owner = owner, .map = map}, all = {.owner = OWNER_ALL, .map = map};
	struct share *mine, *sum;
	__u64 rows, taken, most;

	if (owner == OWNER_ROOT)
		return false;
	mine = share_of(&key);
	sum = share_of(&all);
	if (!mine || !sum)
		return true;
	rows = held(&key, mine);
	taken = held(&all, sum);
	most = room_of(map) / (owner == OWNER_GUESTS ? GUESTS_SHARE : SHARE);
	return rows >= most || rows + taken >= room_of(map);
}

static __always_inline void share_change(__u32 owner, __u32 map, __u64 rows)
{
	struct share_key key = {.owner = owner, .map = map};
	struct share *share = share_of(&key);

	if (share)
		__sync_fetch_and_add(&share->taken, rows);
}

/* One more row; false where its owner has used up its share. */
VERIFIED_ONCE bool share_take(__u32 owner, __u32 map)
{
	if (share_is_used_up(owner, map))
		return false;
	share_change(owner, map, 1);
	share_change(OWNER_ALL, map, 1);
	return true;
}

/* The row was not made after all. */
VERIFIED_ONCE int share_return(__u32 owner, __u32 map)
{
	share_change(owner, map, -1);
	share_change(OWNER_ALL, map, -1);
	return 0;
}

/* Something was not counted for want of a row: a loss, of its owner alone or as `loss`. */
VERIFIED_ONCE int lost_for(__u32 owner, __u32 map, __u32 loss)
{
	struct share_key key = {.owner = owner, .map = map};
	struct share *share = share_is_used_up(owner, map) ? share_get(&key) : NULL;

	if (share)
		__sync_fetch_and_add(&share->refused, 1);
	else
		lost(loss);
	return 0;
}

#endif
