/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The CO-RE dialect: maps and the few functions that touch them, so that the logic names no map.
 */
#ifndef ACCEPTTRACE_CORE_H
#define ACCEPTTRACE_CORE_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/*
 * How kernel memory may be read. Trampolines get BTF pointers, which plain loads may follow;
 * everything else needs bpf_probe_read_kernel. Always a constant: the other half is compiled out.
 */
enum access { DIRECT, PROBED };
#define IS_DIRECT(how) ((how) == DIRECT)
#define READ(how, pointer, field)                                                                  \
	((how) == DIRECT ? (pointer)->field : BPF_CORE_READ(pointer, field))
/* The inode of a socket's file, by plain loads; 0 where it has no file. */
#define READ_FILE_INODE(socket) ((__u32)(socket)->file->f_inode->i_ino)
/* bpf_get_current_task_btf() came with 5.11. */
#define HAS_TASK_POINTERS                                                                          \
	bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)
#define CURRENT_TASK() bpf_get_current_task_btf()
#define READ_BIT(pointer, field) BPF_CORE_READ_BITFIELD_PROBED(pointer, field)
#define HAS_FIELD(record, field) bpf_core_field_exists(((struct record *)0)->field)
#define SIZE_OF(record) bpf_core_type_size(struct record)
#define CHECK_AND_USE_AS_ONE(index)

/* By a plain load: the helper also tells whether it is a TCP socket. */
static __always_inline bool read_ready(struct sock *child, __u64 *ready)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(child);

	if (!tcp)
		return false;
	*ready = tcp->rcvq_space.time;
	return true;
}

/* Global data, which plain loads reach: a look-up in a map would take fifteen instructions. */
struct settings settings SEC(".data");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PIDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u8);
} pids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ACCEPTORS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct acceptor_key);
	__type(value, struct acceptor);
} acceptors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_SEATS);
	__type(key, __u32);
	__type(value, struct acceptor);
} seats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SEATS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct acceptor_key);
} sitters SEC(".maps");

/* Never written: the first value of an acceptor is too large for the BPF stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct acceptor);
} blank SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ERRORS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct error_key);
	__type(value, struct tally);
} errors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_PLACES);
	__type(key, __u32);
	__type(value, struct listener);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PLACES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_LISTENERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct listener);
} more_listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CREWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct acceptor_key);
	__type(value, __u32);
} crews SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SHARES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct share_key);
	__type(value, struct share);
} shares SEC(".maps");

/* Of the rows that were taken; only user space writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SHARES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct share_key);
	__type(value, __u64);
} freed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOSS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_MIGRATIONS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct migration_key);
	__type(value, struct migration);
} migrations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PEERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct peer);
	__type(value, __u32);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PORTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct port_key);
	__type(value, struct tally);
} ports SEC(".maps");

/* Threads, as PID << 32 | TID, that are in an accept of io_uring. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_RINGS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u8);
} rings SEC(".maps");

/* Kprobes, and kernels without __inet_accept, fill it. Threads that are long gone make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CALLS);
	__type(key, __u64);
	__type(value, struct call);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CLOSINGS);
	__type(key, __u64);
	__type(value, struct closing);
} closings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_RECEIVERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct receiver);
} receivers SEC(".maps");

static __always_inline struct settings *settings_get(void)
{
	return &settings;
}

static __always_inline bool pid_wanted(__u32 pid)
{
	return bpf_map_lookup_elem(&pids, &pid);
}

static __always_inline struct acceptor *seat_at(__u32 place)
{
	return bpf_map_lookup_elem(&seats, &place);
}

/*
 * What changes a map returns an int before 6.4, though its type says long: the upper half is
 * whatever it is. So here it becomes an int at once.
 */
static __always_inline int seat_take(__u32 place, struct acceptor_key *key)
{
	return bpf_map_update_elem(&sitters, &place, key, BPF_NOEXIST);
}

static __always_inline struct acceptor *standing_get(struct acceptor_key *key)
{
	return bpf_map_lookup_elem(&acceptors, key);
}

static __always_inline int standing_add(struct acceptor_key *key)
{
	__u32 zero = 0;
	struct acceptor *first = bpf_map_lookup_elem(&blank, &zero);

	return first ? bpf_map_update_elem(&acceptors, key, first, BPF_NOEXIST) : -EEXIST;
}

/* How many threads of a crew have rows; NULL where there is no room to count them. */
static __always_inline __u32 *crew_of(struct acceptor_key *key)
{
	__u32 *found = bpf_map_lookup_elem(&crews, key), none = 0;

	if (found)
		return found;
	bpf_map_update_elem(&crews, key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&crews, key);
}

static __always_inline struct share *share_get(struct share_key *key)
{
	return bpf_map_lookup_elem(&shares, key);
}

static __always_inline int share_add(struct share_key *key)
{
	struct share first = {};

	return bpf_map_update_elem(&shares, key, &first, BPF_NOEXIST);
}

static __always_inline __u64 freed_of(struct share_key *key)
{
	__u64 *found = bpf_map_lookup_elem(&freed, key);

	return found ? *found : 0;
}

static __always_inline struct tally *error_get(struct error_key *key)
{
	return bpf_map_lookup_elem(&errors, key);
}

static __always_inline int error_add(struct error_key *key, struct tally *first)
{
	return bpf_map_update_elem(&errors, key, first, BPF_NOEXIST);
}

static __always_inline struct listener *listener_at(__u32 place)
{
	return bpf_map_lookup_elem(&listeners, &place);
}

static __always_inline struct listener *listener_beyond(__u32 inode)
{
	return bpf_map_lookup_elem(&more_listeners, &inode);
}

/* All zeros: any row begins so, and an acceptor is the largest. */
static __always_inline int listener_add(__u32 inode)
{
	__u32 zero = 0;
	void *first = bpf_map_lookup_elem(&blank, &zero);

	return first ? bpf_map_update_elem(&more_listeners, &inode, first, BPF_NOEXIST) : -EEXIST;
}

static __always_inline int place_take(__u32 place, __u32 inode)
{
	return bpf_map_update_elem(&places, &place, &inode, BPF_NOEXIST);
}

static __always_inline __u32 *place_holder(__u32 place)
{
	return bpf_map_lookup_elem(&places, &place);
}

static __always_inline void lost(__u32 what)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &what);

	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline struct migration *migration_get(struct migration_key *key)
{
	return bpf_map_lookup_elem(&migrations, key);
}

static __always_inline int migration_add(struct migration_key *key, __u32 owner)
{
	struct migration first = {.owner = owner};

	return bpf_map_update_elem(&migrations, key, &first, BPF_NOEXIST);
}

static __always_inline bool peer_is_known(struct peer *peer)
{
	return bpf_map_lookup_elem(&peers, peer);
}

static __always_inline int peer_add(struct peer *peer, __u32 owner)
{
	return bpf_map_update_elem(&peers, peer, &owner, BPF_NOEXIST);
}

static __always_inline struct tally *port_get(struct port_key *key)
{
	return bpf_map_lookup_elem(&ports, key);
}

static __always_inline int port_add(struct port_key *key, __u32 owner)
{
	struct tally first = {.owner = owner};

	return bpf_map_update_elem(&ports, key, &first, BPF_NOEXIST);
}

static __always_inline bool ring_is(__u64 thread)
{
	return bpf_map_lookup_elem(&rings, &thread);
}

static __always_inline void ring_add(__u64 thread)
{
	__u8 yes = 1;

	bpf_map_update_elem(&rings, &thread, &yes, BPF_ANY);
}

static __always_inline void ring_remove(__u64 thread)
{
	bpf_map_delete_elem(&rings, &thread);
}

static __always_inline struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratches, &zero);
}

static __always_inline struct call *call_get(__u64 thread)
{
	return bpf_map_lookup_elem(&calls, &thread);
}

static __always_inline void call_put(__u64 thread, struct call *call)
{
	bpf_map_update_elem(&calls, &thread, call, BPF_ANY);
}

static __always_inline struct closing *closing_get(__u64 thread)
{
	return bpf_map_lookup_elem(&closings, &thread);
}

static __always_inline void closing_put(__u64 thread, struct closing *closing)
{
	bpf_map_update_elem(&closings, &thread, closing, BPF_ANY);
}

static __always_inline struct receiver *receiver_get(__u32 inode)
{
	return bpf_map_lookup_elem(&receivers, &inode);
}

static __always_inline int receiver_add(__u32 inode, struct receiver *first)
{
	return bpf_map_update_elem(&receivers, &inode, first, BPF_NOEXIST);
}

#endif
