/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The contract between the kernel side and user space: map keys, map values, enums.
 * Fixed-width types, explicit padding, largest first. tracer/accepttrace/probe/wire.py mirrors it;
 * tests/contract compares the two through the BTF of the built object.
 */
#ifndef ACCEPTTRACE_H
#define ACCEPTTRACE_H

enum {
	WAIT_BUCKETS = 240, /* µs: 0..7 exact, then 8 sub-buckets an octave up to 2^32 */
	PORT_WORDS = 1024, /* bitmap of 65,536 ports */
	MAX_NETNS = 16,
	MAX_ACCEPTORS = 16384,
	MAX_LISTENERS = 16384,
	MAX_ERRORS = 4096,
	MAX_PIDS = 4096,
	MAX_CALLS = 65536,
};

/* Where something was not counted: index into the map `losses`. */
enum loss {
	LOSS_ACCEPTORS_FULL, /* accepts and failures without a row in `acceptors` */
	LOSS_LISTENERS_FULL, /* listeners without a row in `listeners` */
	LOSS_SELECTED_FULL, /* selections without a row in `listeners` */
	LOSS_ERRORS_FULL, /* failures without a row in `errors` */
	LOSS_UNATTRIBUTED, /* a listening socket without an inode, an accept without a listener */
	LOSS_CALLS_FULL, /* calls without a row in `calls` */
	LOSS_MAX,
};

/* Map `settings`, one entry: the filters. Written by user space, before and after the self-test. */
struct settings {
	__u64 ports[PORT_WORDS];
	__u32 netns[MAX_NETNS]; /* inode numbers of network namespaces */
	__u32 netns_count; /* 0: any */
	__u32 family; /* of the listener; 0: any */
	__u32 any_port;
	__u32 any_pid; /* 0: only those in the map `pids` */
};

/* One thread on one listener. The start time tells a reused TID from the old one. */
struct acceptor_key {
	__u64 start_ns; /* of the thread, CLOCK_BOOTTIME */
	__u32 inode; /* of the listener */
	__u32 tid;
};

/* Map `acceptors`. Written only by the thread of its key, so without atomics. */
struct acceptor {
	__u64 accepts;
	__u64 empty; /* EAGAIN */
	__u64 failed; /* any other errno; which: map `errors` */
	__u64 pending; /* kprobe only: a call that cannot sleep was entered and took nothing yet */
	__u64 wait_unknown; /* accepts whose waiting time could not be read */
	__u64 wait_max_us;
	__u64 process_start_ns; /* of the thread group leader, CLOCK_BOOTTIME */
	__u64 cgroup_id; /* cgroup v2 */
	__u32 pid;
	__u32 pad;
	char comm[16];
	__u64 wait_us[WAIT_BUCKETS];
};

/* Map `errors`: failures other than EAGAIN, by errno. */
struct error_key {
	struct acceptor_key acceptor;
	__u32 error; /* positive errno */
	__u32 pad;
};

/* Map `calls`, keyed by PID << 32 | TID: the accept() that a thread is in. */
struct call {
	__u64 listener; /* kernel pointer, never shown */
};

/* Map `listeners`, keyed by inode. */
struct listener {
	__u64 selected; /* SYNs that reuseport selection steered here; atomic */
	__u8 address[16]; /* network order; IPv4 in the first four */
	__u32 netns;
	__u16 family;
	__u16 port;
};

/* What the socket iterator writes for each listening socket in a reuseport group. */
struct member {
	__u32 inode;
	__u32 group; /* reuseport_id */
	__u32 size; /* sockets in the group that can be selected */
	__u32 program; /* 0: none, 1: classic BPF, 2: eBPF */
	__u32 incoming_cpu; /* members that set SO_INCOMING_CPU */
	__u32 pad;
};

_Static_assert(sizeof(struct acceptor_key) == 16, "acceptor_key");
_Static_assert(sizeof(struct acceptor) == 88 + 8 * WAIT_BUCKETS, "acceptor");
_Static_assert(sizeof(struct error_key) == 24, "error_key");
_Static_assert(sizeof(struct listener) == 32, "listener");
_Static_assert(sizeof(struct member) == 24, "member");
_Static_assert(sizeof(struct settings) == 8 * PORT_WORDS + 4 * MAX_NETNS + 16, "settings");

#endif
