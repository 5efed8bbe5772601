/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The CO-RE dialect: how kernel memory is read, and how maps (maps.h) are declared and called.
 */
#ifndef ACCEPTTRACE_CORE_H
#define ACCEPTTRACE_CORE_H

#include "kernel.h"
#include "accepttrace.h"
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
/* Whether the kernel has bpf_get_current_task_btf(): see drift.bpf.h. */
#define HAS_TASK_POINTERS                                                                          \
	bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)
#define CURRENT_TASK() bpf_get_current_task_btf()
#define READ_BIT(pointer, field) BPF_CORE_READ_BITFIELD_PROBED(pointer, field)
#define READS_BITS 1
#define READS_PLACES 1
#define READS_NUMBERS 1
#define HAS_FIELD(record, field) bpf_core_field_exists(((struct record *)0)->field)
#define SIZE_OF(record) bpf_core_type_size(struct record)
#define CHECK_AND_USE_AS_ONE(index)
/*
 * A global function: the verifier walks it once for each program, and not on every path to it. For
 * what branches much and runs seldom. Its parameters are numbers, as kernels before 5.12 take no
 * pointers (commit not looked up), and its result is any number to the verifier.
 */
#define VERIFIED_ONCE __noinline

/* By a plain load: the helper also checks that it is a TCP socket. */
static __always_inline bool read_ready(struct sock *child, __u64 *ready)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(child);

	if (!tcp)
		return false;
	*ready = tcp->rcvq_space.time;
	return true;
}

#ifndef HOLDERS /* which has none */
/* Global data, which plain loads reach: a look-up in a map would take fifteen instructions. */
struct settings settings SEC(".data");

static __always_inline struct settings *settings_get(void)
{
	return &settings;
}
#endif

#define MAP(kind, flags, name, key_type, value_type, entries)                                      \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##kind);                                                 \
		__uint(max_entries, entries);                                                      \
		__uint(map_flags, flags);                                                          \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")
#define MAP_HASH(...) MAP(HASH, BPF_F_NO_PREALLOC, __VA_ARGS__)
#define MAP_LRU_HASH(...) MAP(LRU_HASH, 0, __VA_ARGS__)
#define MAP_ARRAY(...) MAP(ARRAY, 0, __VA_ARGS__)
#define MAP_PERCPU_ARRAY(...) MAP(PERCPU_ARRAY, 0, __VA_ARGS__)
#define MAP_PERCPU_LRU_HASH(...) MAP(LRU_PERCPU_HASH, 0, __VA_ARGS__)
#define MAP_RINGBUF(name, bytes)                                                                   \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                \
		__uint(max_entries, bytes);                                                        \
	} name SEC(".maps")
#define LOOKUP(map, key) bpf_map_lookup_elem(&map, key)
#define INSERT(map, key, value) bpf_map_update_elem(&map, key, value, BPF_NOEXIST)
#define PUT(map, key, value) bpf_map_update_elem(&map, key, value, BPF_ANY)
#define DELETE(map, key) bpf_map_delete_elem(&map, key)

#endif
