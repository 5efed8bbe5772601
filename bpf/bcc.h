/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The bcc dialect: what core.h gives for CO-RE, under the same names. bcc rewrites map calls in
 * functions but refuses them in macros, so here too every map has its static inline functions.
 * It knows no relocations: the offsets come from the kernel's BTF (kernel.h) or from its headers.
 */
#ifndef ACCEPTTRACE_BCC_H
#define ACCEPTTRACE_BCC_H

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#undef __noinline
#define __noinline __always_inline /* it relocates no calls */

#define READ_ONE(pointer, field)                                                                   \
	({                                                                                         \
		typeof((pointer)->field) field_value;                                              \
		bpf_probe_read_kernel((void *)&field_value, sizeof(field_value),                   \
				      (const void *)&(pointer)->field);                            \
		field_value;                                                                       \
	})
#define READ_TWO(pointer, first, field)                                                            \
	({                                                                                         \
		typeof((pointer)->first) first_value = READ_ONE(pointer, first);                   \
		READ_ONE(first_value, field);                                                      \
	})
#define READ_NTH(one, two, NAME, ...) NAME
#undef BPF_CORE_READ
#define BPF_CORE_READ(pointer, ...) READ_NTH(__VA_ARGS__, READ_TWO, READ_ONE)(pointer, __VA_ARGS__)
#undef BPF_CORE_READ_INTO
#define BPF_CORE_READ_INTO(into, pointer, field)                                                   \
	bpf_probe_read_kernel(into, sizeof(*(into)), (const void *)&(pointer)->field)

/* Always probed: whether bcc's rewriter leaves a plain load alone depends on its version. */
enum access { DIRECT, PROBED };
#define IS_DIRECT(how) 0
#undef READ /* linux/kernel.h */
#define READ(how, pointer, field) ((void)(how), BPF_CORE_READ(pointer, field))
#ifdef PLACED_BY_BTF
#define SIZE_OF(record) SIZE_##record
#else
#define SIZE_OF(record) sizeof(struct record)
#endif
#define READ_FILE_INODE(socket) 0
#define HAS_TASK_POINTERS 0
#define CURRENT_TASK() ((struct task_struct *)0)
#define READ_BIT(pointer, field) 1 /* it knows no bit fields: maybe */
#define HAS_FIELD(record, field) HAS_##record##_##field

/*
 * bcc compiles for the oldest instruction set, without 32-bit registers: unless told, the compiler
 * checks one extension of an index and uses another, which the verifier cannot tie together.
 */
#define CHECK_AND_USE_AS_ONE(index) asm volatile("" : "+r"(index))

static __always_inline bool read_ready(struct sock *child, __u64 *ready)
{
	return false; /* never called: nothing is read directly */
}

BPF_F_TABLE("array", __u32, struct settings, settings, 1, 0);
BPF_F_TABLE("hash", __u32, __u8, pids, MAX_PIDS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct acceptor_key, struct acceptor, acceptors, MAX_ACCEPTORS,
	    BPF_F_NO_PREALLOC);
BPF_F_TABLE("array", __u32, struct acceptor, seats, MAX_SEATS, 0);
BPF_F_TABLE("hash", __u32, struct acceptor_key, sitters, MAX_SEATS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("array", __u32, struct acceptor, blank, 1, 0);
BPF_F_TABLE("hash", struct acceptor_key, __u32, crews, MAX_CREWS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct share_key, struct share, shares, MAX_SHARES, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct share_key, __u64, freed, MAX_SHARES, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct error_key, struct tally, errors, MAX_ERRORS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("array", __u32, struct listener, listeners, MAX_PLACES, 0);
BPF_F_TABLE("hash", __u32, __u32, places, MAX_PLACES, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", __u32, struct listener, more_listeners, MAX_LISTENERS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("array", __u32, __u64, losses, LOSS_MAX, 0);
BPF_F_TABLE("lru_hash", __u64, struct call, calls, MAX_CALLS, 0);
BPF_F_TABLE("lru_hash", __u64, struct closing, closings, MAX_CLOSINGS, 0);
BPF_F_TABLE("hash", struct migration_key, struct migration, migrations, MAX_MIGRATIONS,
	    BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct peer, __u32, peers, MAX_PEERS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct port_key, struct tally, ports, MAX_PORTS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", __u64, __u8, rings, MAX_RINGS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("percpu_array", __u32, struct scratch, scratches, 1, 0);
BPF_F_TABLE("hash", __u32, struct receiver, receivers, MAX_RECEIVERS, BPF_F_NO_PREALLOC);

static __always_inline struct settings *settings_get(void)
{
	__u32 zero = 0;

	return settings.lookup(&zero);
}

static __always_inline bool pid_wanted(__u32 pid)
{
	return pids.lookup(&pid) != NULL;
}

static __always_inline struct acceptor *seat_at(__u32 place)
{
	return seats.lookup(&place);
}

static __always_inline int seat_take(__u32 place, struct acceptor_key *key)
{
	return sitters.insert(&place, key);
}

static __always_inline struct acceptor *standing_get(struct acceptor_key *key)
{
	return acceptors.lookup(key);
}

static __always_inline int standing_add(struct acceptor_key *key)
{
	__u32 zero = 0;
	struct acceptor *first = blank.lookup(&zero);

	if (!first)
		return -EEXIST;
	return acceptors.insert(key, first);
}

static __always_inline __u32 *crew_of(struct acceptor_key *key)
{
	__u32 *found = crews.lookup(key), none = 0;

	if (found)
		return found;
	crews.insert(key, &none);
	return crews.lookup(key);
}

static __always_inline struct share *share_get(struct share_key *key)
{
	return shares.lookup(key);
}

static __always_inline int share_add(struct share_key *key)
{
	struct share first = {};

	return shares.insert(key, &first);
}

static __always_inline __u64 freed_of(struct share_key *key)
{
	__u64 *found = freed.lookup(key);

	return found ? *found : 0;
}

static __always_inline struct tally *error_get(struct error_key *key)
{
	return errors.lookup(key);
}

static __always_inline int error_add(struct error_key *key, struct tally *first)
{
	return errors.insert(key, first);
}

static __always_inline struct listener *listener_at(__u32 place)
{
	return listeners.lookup(&place);
}

static __always_inline struct listener *listener_beyond(__u32 inode)
{
	return more_listeners.lookup(&inode);
}

static __always_inline int listener_add(__u32 inode)
{
	__u32 zero = 0;
	struct acceptor *first = blank.lookup(&zero);

	if (!first)
		return -EEXIST;
	return more_listeners.insert(&inode, (struct listener *)first);
}

static __always_inline int place_take(__u32 place, __u32 inode)
{
	return places.insert(&place, &inode);
}

static __always_inline __u32 *place_holder(__u32 place)
{
	return places.lookup(&place);
}

static __always_inline void lost(__u32 what)
{
	__u64 *count = losses.lookup(&what);

	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline struct migration *migration_get(struct migration_key *key)
{
	return migrations.lookup(key);
}

static __always_inline int migration_add(struct migration_key *key, __u32 owner)
{
	struct migration first = {.owner = owner};

	return migrations.insert(key, &first);
}

static __always_inline bool peer_is_known(struct peer *peer)
{
	return peers.lookup(peer) != NULL;
}

static __always_inline int peer_add(struct peer *peer, __u32 owner)
{
	return peers.insert(peer, &owner);
}

static __always_inline struct tally *port_get(struct port_key *key)
{
	return ports.lookup(key);
}

static __always_inline int port_add(struct port_key *key, __u32 owner)
{
	struct tally first = {.owner = owner};

	return ports.insert(key, &first);
}

static __always_inline bool ring_is(__u64 thread)
{
	return rings.lookup(&thread) != NULL;
}

static __always_inline void ring_add(__u64 thread)
{
	__u8 yes = 1;

	rings.update(&thread, &yes);
}

static __always_inline void ring_remove(__u64 thread)
{
	rings.delete(&thread);
}

static __always_inline struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return scratches.lookup(&zero);
}

static __always_inline struct call *call_get(__u64 thread)
{
	return calls.lookup(&thread);
}

static __always_inline void call_put(__u64 thread, struct call *call)
{
	calls.update(&thread, call);
}

static __always_inline struct closing *closing_get(__u64 thread)
{
	return closings.lookup(&thread);
}

static __always_inline void closing_put(__u64 thread, struct closing *closing)
{
	closings.update(&thread, closing);
}

static __always_inline struct receiver *receiver_get(__u32 inode)
{
	return receivers.lookup(&inode);
}

static __always_inline int receiver_add(__u32 inode, struct receiver *first)
{
	return receivers.insert(&inode, first);
}

#endif
