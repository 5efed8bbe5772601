/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The bcc dialect: what core.h gives for CO-RE, under the same names; calls of maps: see maps.h.
 * It knows no relocations: the offsets come from the kernel's BTF (kernel.h) or from its headers.
 */
#ifndef ACCEPTTRACE_BCC_H
#define ACCEPTTRACE_BCC_H

#ifdef PLACED_BY_BTF
#include "kernel.h"
#else
#include "headers.h"
#endif
#include "accepttrace.h"

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#undef __noinline
#define __noinline __always_inline /* it relocates no calls */
#define VERIFIED_ONCE static __always_inline

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
#define READS_BITS 0
#define READS_PLACES 0 /* a loop too long for what it compiles */
#define READS_NUMBERS 0 /* as well: it calls no functions, and the verifier walks each copy */
#define HAS_FIELD(record, field) HAS_##record##_##field

/*
 * bcc compiles for the oldest instruction set, without 32-bit registers: without this the compiler
 * checks one extension of an index and uses another, which the verifier cannot tie together.
 */
#define CHECK_AND_USE_AS_ONE(index) asm volatile("" : "+r"(index))

static __always_inline bool read_ready(struct sock *child, __u64 *ready)
{
	return false; /* never called: nothing is read directly */
}

BPF_F_TABLE("array", __u32, struct settings, settings, 1, 0);
#define MAP_HASH(name, key, value, entries)                                                        \
	BPF_F_TABLE("hash", key, value, name, entries, BPF_F_NO_PREALLOC)
#define MAP_LRU_HASH(name, key, value, entries)                                                    \
	BPF_F_TABLE("lru_hash", key, value, name, entries, 0)
#define MAP_ARRAY(name, key, value, entries) BPF_F_TABLE("array", key, value, name, entries, 0)
#define MAP_PERCPU_ARRAY(name, key, value, entries)                                                \
	BPF_F_TABLE("percpu_array", key, value, name, entries, 0)

static __always_inline struct settings *settings_get(void)
{
	__u32 zero = 0;

	return settings.lookup(&zero);
}

#endif
