/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Every map, and the functions that touch it, so that the logic names none. How a map is declared
 * and called is the dialect's: core.h has macros for it; bcc refuses macros for calls, so fold.py
 * writes those that bcc knows.
 */
#ifndef ACCEPTTRACE_MAPS_H
#define ACCEPTTRACE_MAPS_H

#include "core.h"

MAP_HASH(pids, __u32, __u8, MAX_PIDS);
MAP_HASH(acceptors, struct acceptor_key, struct acceptor, MAX_ACCEPTORS);
MAP_ARRAY(slots, __u32, struct acceptor, MAX_SLOTS);
MAP_HASH(slot_owners, __u32, struct acceptor_key, MAX_SLOTS);

/* Never written: the first value of an acceptor is too large for the BPF stack. */
MAP_ARRAY(blank, __u32, struct acceptor, 1);
MAP_HASH(errors, struct error_key, struct tally, MAX_ERRORS);
MAP_ARRAY(listeners, __u32, struct listener, MAX_PLACES);
MAP_HASH(places, __u32, __u32, MAX_PLACES);
MAP_HASH(more_listeners, __u32, struct listener, MAX_LISTENERS);
MAP_HASH(crews, struct acceptor_key, __u32, MAX_CREWS);
MAP_HASH(localities, struct acceptor_key, struct locality, MAX_LOCALITIES);
MAP_HASH(orders, struct order_key, struct order, MAX_ORDERS);
MAP_HASH(shares, struct share_key, struct share, MAX_SHARES);

/* Of the rows that were taken; only user space writes it. */
MAP_HASH(freed, struct share_key, __u64, MAX_SHARES);
MAP_ARRAY(losses, __u32, __u64, LOSS_MAX);
MAP_HASH(migrations, struct migration_key, struct migration, MAX_MIGRATIONS);
MAP_HASH(peers, struct peer, __u32, MAX_PEERS);
MAP_HASH(ports, struct port_key, struct tally, MAX_PORTS);

/* Threads, as PID << 32 | TID, that are in an accept of io_uring. */
MAP_HASH(rings, __u64, __u8, MAX_RINGS);

/* Kprobes, and kernels without __inet_accept, fill it. Threads that are long gone make room. */
MAP_LRU_HASH(calls, __u64, struct call, MAX_CALLS);
MAP_LRU_HASH(closings, __u64, struct closing, MAX_CLOSINGS);
MAP_PERCPU_ARRAY(scratches, __u32, struct scratch, 1);
MAP_HASH(receivers, __u32, struct receiver, MAX_RECEIVERS);

/* Connections in the queues of AF_UNIX (kernel pointer of the child) → when they came, in us. */
MAP_LRU_HASH(unix_queued, __u64, __u64, MAX_UNIX_QUEUED);
MAP_LRU_HASH(unix_calls, __u64, struct unix_call, MAX_CALLS);
MAP_HASH(readers, struct reader_key, struct reader, MAX_READERS);

static __always_inline bool pid_wanted(__u32 pid)
{
	return LOOKUP(pids, &pid);
}

static __always_inline struct acceptor *slot_at(__u32 place)
{
	return LOOKUP(slots, &place);
}

/*
 * What changes a map returns an int in old kernels, though its type says long: the upper half is
 * whatever it is. So here it becomes an int at once. See drift.bpf.h.
 */
static __always_inline int slot_take(__u32 place, struct acceptor_key *key)
{
	return INSERT(slot_owners, &place, key);
}

static __always_inline struct acceptor *hashed_get(struct acceptor_key *key)
{
	return LOOKUP(acceptors, key);
}

static __always_inline struct locality *locality_get(struct acceptor_key *key)
{
	return LOOKUP(localities, key);
}

static __always_inline int locality_add(struct acceptor_key *key, struct locality *first)
{
	return INSERT(localities, key, first);
}

/* NULL where there is no room. */
static __always_inline struct order *order_of(struct order_key *key)
{
	struct order *found = LOOKUP(orders, key);
	__u32 zero = 0;
	void *first;

	if (found)
		return found;
	first = LOOKUP(blank, &zero);
	if (first)
		INSERT(orders, key, first);
	return LOOKUP(orders, key);
}

static __always_inline int hashed_add(struct acceptor_key *key)
{
	__u32 zero = 0;
	struct acceptor *first = LOOKUP(blank, &zero);

	return first ? INSERT(acceptors, key, first) : -EEXIST;
}

/* How many threads of a crew have rows; NULL where there is no room to count them. */
static __always_inline __u32 *crew_of(struct acceptor_key *key)
{
	__u32 *found = LOOKUP(crews, key), none = 0;

	if (found)
		return found;
	INSERT(crews, key, &none);
	return LOOKUP(crews, key);
}

static __always_inline struct share *share_get(struct share_key *key)
{
	return LOOKUP(shares, key);
}

static __always_inline int share_add(struct share_key *key)
{
	struct share first = {};

	return INSERT(shares, key, &first);
}

static __always_inline __u64 freed_of(struct share_key *key)
{
	__u64 *found = LOOKUP(freed, key);

	return found ? *found : 0;
}

static __always_inline struct tally *error_get(struct error_key *key)
{
	return LOOKUP(errors, key);
}

static __always_inline int error_add(struct error_key *key, struct tally *first)
{
	return INSERT(errors, key, first);
}

static __always_inline struct listener *listener_at(__u32 place)
{
	return LOOKUP(listeners, &place);
}

static __always_inline struct listener *listener_beyond(__u32 inode)
{
	return LOOKUP(more_listeners, &inode);
}

/* All zeros: any row begins so, and an acceptor is the largest. */
static __always_inline int listener_add(__u32 inode)
{
	__u32 zero = 0;
	void *first = LOOKUP(blank, &zero);

	return first ? INSERT(more_listeners, &inode, first) : -EEXIST;
}

static __always_inline int place_take(__u32 place, __u32 inode)
{
	return INSERT(places, &place, &inode);
}

static __always_inline __u32 *place_holder(__u32 place)
{
	return LOOKUP(places, &place);
}

static __always_inline void lost(__u32 what)
{
	__u64 *count = LOOKUP(losses, &what);

	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline struct migration *migration_get(struct migration_key *key)
{
	return LOOKUP(migrations, key);
}

static __always_inline int migration_add(struct migration_key *key, __u32 owner)
{
	struct migration first = {.owner = owner};

	return INSERT(migrations, key, &first);
}

static __always_inline bool peer_is_known(struct peer *peer)
{
	return LOOKUP(peers, peer);
}

static __always_inline int peer_add(struct peer *peer, __u32 owner)
{
	return INSERT(peers, peer, &owner);
}

static __always_inline struct tally *port_get(struct port_key *key)
{
	return LOOKUP(ports, key);
}

static __always_inline int port_add(struct port_key *key, __u32 owner)
{
	struct tally first = {.owner = owner};

	return INSERT(ports, key, &first);
}

static __always_inline bool ring_is(__u64 thread)
{
	return LOOKUP(rings, &thread);
}

static __always_inline void ring_add(__u64 thread)
{
	__u8 yes = 1;

	PUT(rings, &thread, &yes);
}

static __always_inline void ring_remove(__u64 thread)
{
	DELETE(rings, &thread);
}

static __always_inline struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return LOOKUP(scratches, &zero);
}

static __always_inline struct call *call_get(__u64 thread)
{
	return LOOKUP(calls, &thread);
}

static __always_inline void call_put(__u64 thread, struct call *call)
{
	PUT(calls, &thread, call);
}

static __always_inline struct closing *closing_get(__u64 thread)
{
	return LOOKUP(closings, &thread);
}

static __always_inline void closing_put(__u64 thread, struct closing *closing)
{
	PUT(closings, &thread, closing);
}

static __always_inline struct unix_call *unix_call_get(__u64 thread)
{
	return LOOKUP(unix_calls, &thread);
}

static __always_inline void unix_call_put(__u64 thread, struct unix_call *call)
{
	PUT(unix_calls, &thread, call);
}

static __always_inline __u64 *unix_queued_get(__u64 child)
{
	return LOOKUP(unix_queued, &child);
}

static __always_inline void unix_queued_put(__u64 child, __u64 us)
{
	PUT(unix_queued, &child, &us);
}

static __always_inline void unix_queued_forget(__u64 child)
{
	DELETE(unix_queued, &child);
}

static __always_inline struct receiver *receiver_get(__u32 inode)
{
	return LOOKUP(receivers, &inode);
}

static __always_inline struct reader *reader_get(struct reader_key *key)
{
	return LOOKUP(readers, key);
}

static __always_inline int reader_add(struct reader_key *key, struct reader *first)
{
	return INSERT(readers, key, first);
}

static __always_inline int receiver_add(__u32 inode, struct receiver *first)
{
	return INSERT(receivers, &inode, first);
}

#endif
