/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The contract between the kernel side and user space: map keys, map values, enums.
 * Fixed-width types, explicit padding, largest first. tracer/accepttrace/probe/wire.py mirrors it;
 * tests/contract compares the two through the BTF of the built object.
 */
#ifndef ACCEPTTRACE_H
#define ACCEPTTRACE_H

#include <linux/types.h>

enum {
	WAIT_BUCKETS = 240, /* µs: 0..7 exact, then 8 sub-buckets an octave up to 2^32 */
	PORTS = 65536,
	MAX_NETNS = 16,
	MAX_ACCEPTORS = 15360, /* beyond those with a slot */
	CLIENT_SLOTS = 128, /* a power of two */
	MAX_SLOTS = 1024, /* a power of two */
	SLOT_PROBES = 4, /* slots that an acceptor may have */
	MAX_LISTENERS = 12288, /* beyond those with a place */
	MAX_PLACES = 4096, /* a power of two */
	PLACE_PROBES = 4, /* places that a listener may have */
	MAX_LOCALITIES = 16384,
	MAX_ORDERS = 16384,
	RUN_BUCKETS = 16, /* a run of n is in bucket log2(n), longer ones in the last */
	MAX_CREWS = 16384,
	CREW_ROWS = 256, /* threads of a process with rows of their own, on one listener */
	MAX_SHARES = 8192,
	SHARE = 4, /* what part of a map an owner may take: one of so many */
	GUESTS_SHARE =
		16, /* ... all namespaces of users together, where rows cost nothing to make */
	MAX_ERRORS = 4096,
	MAX_PIDS = 4096,
	MAX_CALLS = 65536,
	MAX_CLOSINGS = 4096,
	MAX_MIGRATIONS = 4096,
	MAX_PEERS = 65536,
	MAX_PORTS = 16384,
	PORT_STRAYS = 1 << 16,
	PORT_UNMADE = 1 << 17,
	PORT_LATE = 1 << 18,
	MAX_RINGS = 16384,
	MAX_RECEIVERS = 16384,
	MAX_READERS = 16384,
	EVENTS_BYTES = 8 << 20, /* the ring buffer; a power of two, and whole pages of any size */
	EVENTS_WAKE = EVENTS_BYTES / 4, /* the reader comes every 50 ms, and when so much waits */
	MAX_SAMPLED = 16384,
	MAX_UNIX_NAMES = 16384,
	MAX_UNIX_QUEUED =
		16384, /* beyond, the wait of the one that was queued first is not known */
	UNIX_PATH = 108, /* of sun_path */
};

/* Where something was not counted: index into the map `losses`. */
enum loss {
	LOSS_LISTENERS_FULL, /* accepts from listeners without a row */
	LOSS_ERRORS_FULL, /* failures without a row in `errors` or `acceptors` */
	LOSS_UNATTRIBUTED, /* a listening socket without an inode, an accept without a listener */
	LOSS_MIGRATIONS_FULL, /* migrations without a row in `migrations` */
	LOSS_PEERS_FULL, /* clients that met a full queue, without a row in `peers` */
	LOSS_PORTS_FULL, /* arrivals without a row in `ports` */
	LOSS_RECEIVERS_FULL, /* selections and datagrams without a row in `receivers` */
	LOSS_READERS_FULL, /* packets read by processes without a row in `readers` */
	LOSS_ROWLESS, /* what else happened on listeners without a row */
	LOSS_MAX,
};

/*
 * Whose a row is. Root may fill the maps; others only in part, so that none of them can keep the
 * rows from the rest. Users that a user namespace may have by the thousand (subordinate IDs) count
 * as one for each 65,536.
 */
enum owner {
	OWNER_ROOT,
	OWNER_RANGES = 65536, /* below: the user ID itself; from here on: and a range of IDs */
	OWNER_GUESTS = 0xfffffffe, /* sockets in network namespaces that a user made */
	OWNER_ALL = 0xffffffff, /* the sum */
};

/* The maps whose rows have owners. */
enum shared {
	SHARED_LISTENERS,
	SHARED_ACCEPTORS,
	SHARED_ERRORS,
	SHARED_MIGRATIONS,
	SHARED_PEERS,
	SHARED_PORTS,
	SHARED_RECEIVERS,
	SHARED_READERS,
	SHARED_MAX,
};

struct share_key {
	__u32 owner;
	__u32 map; /* enum shared */
};

/* Map `shares`. The map `freed`, same key, has how many rows user space deleted since. */
struct share {
	__u64 taken; /* rows */
	__u64 refused; /* what was not counted because the share was used up */
};

/* How accepts through io_uring are distinguished from others. */
enum rings {
	RINGS_UNUSED, /* by a hook that was not hit yet */
	RINGS_IN_USE, /* by the hook, which says so here when it is hit first */
	RINGS_UNHOOKED, /* there is no place for a hook: by the system call that the thread is in */
	RINGS_UNKNOWN, /* nor can that be found here */
};

/* What is looked at, other than by default. One load tells whether anything is. */
enum unusual {
	WITHOUT_WAITS = 1, /* not at waiting times */
	WITH_CPUS = 2, /* at the CPUs that receive and accept: map `localities` */
	WITH_ORDER = 4, /* at who accepts after whom: map `orders` */
};

/* The filters: global data, with bcc the one entry of the map `settings`. Written by user space,
 * before and after the self-test. */
struct settings {
	__u64 began_us; /* when these filters were set, CLOCK_MONOTONIC */
	__u32 any_place; /* of any family in any network namespace */
	__u32 any_pid; /* 0: only those in the map `pids` */
	__u32 unusual; /* bits of enum unusual */
	__u32 rings; /* enum rings */
	__u32 never_migrates; /* this kernel never moves a queue to another listener */
	__u32 family; /* of the clients that it serves; 0: any */
	__u32 netns_count; /* 0: any */
	__u32 netns[MAX_NETNS]; /* inode numbers of network namespaces */
	__u32 pidns; /* from which PIDs are seen: inode number; 0: the initial one */
	__u8 ports[PORTS]; /* of the listener: whether it is wanted */
};

/*
 * One thread on one listener. The start time distinguishes a reused TID. Or a crew: all
 * threads of a process that have no row of their own, because it has so many; then `tid` is its PID
 * as seen from `pidns`, and CREW, and the start time that of the process. All processes without a
 * PID there are one crew, of PID 0 and start 0.
 */
struct acceptor_key {
	__u64 start_ns; /* of the thread, CLOCK_BOOTTIME */
	__u32 inode; /* of the listener */
	__u32 tid; /* in the initial PID namespace: the kernel reads it there at no cost */
};

enum { CREW = 1U << 31 };

/*
 * Maps `slots` and `acceptors`. The first is an array, where a row is found with a tenth of the
 * instructions that a hash takes; the map `slot_owners` (slot → key) has the key that took each.
 * What finds no slot has a row in the second. Written only by the thread of its key, so without
 * atomics; but for a crew's. The map `crews` (key of the crew → __u32) says how many of its threads
 * have rows.
 */
struct acceptor {
	__u64 accepts;
	__u64 empty; /* EAGAIN */
	__u64 failed; /* any other errno; which: map `errors` */
	__u64 refused; /* calls without a free descriptor, while a connection waited */
	__u64 wasted; /* of the empty: the first since the thread last woke, and nothing taken since
		       */
	__u32 pending; /* kprobe only: a call that cannot sleep took nothing yet: enum pending */
	__u32 tid; /* as `pid`; of a crew: of the thread that it met first */
	__u64 left_us; /* sum of the times of its accepts, CLOCK_MONOTONIC, modulo 2^64 */
	__u64 waited_us; /* sum of the waits that ended with them, since began_us */
	__u64 ready_us; /* when the connection that it took last became ready to be taken */
	__u64 served; /* how often the thread had slept when it last took a connection */
	__u64 idled; /* ... when it last found nothing */
	__u32 only_via; /* of a thread that always accepts in the same way, else 0 */
	__u32 owner; /* of the listener: enum owner */
	__u64 entered; /* kprobe only: ... when it last entered accept() */
	__u64 wait_unknown; /* accepts whose waiting time could not be read */
	__u64 placed; /* accepts of which it is known who took the one before: see struct order */
	__u64 again; /* of those, after itself */
	__u64 steady; /* ... after another, and that was the same other as the last time */
	__u64 before; /* that other */
	__u64 wait_max_us;
	__u64 process_start_ns; /* of the thread group leader, CLOCK_BOOTTIME */
	__u32 pid; /* as seen from `pidns`; 0: it has none there */
	__u32 via; /* how it accepted: bits of enum via */
	char comm[16];
	struct acceptor_key who; /* `tid` 0: a free slot */
	__u64 wait_us[WAIT_BUCKETS];
	__u8 clients[CLIENT_SLOTS]; /* 1: a client (address, port) with such a hash was accepted */
};

/* Map `localities`, keyed as `acceptors`: of the accepts of a row, or a crew. */
struct locality {
	__u64 accepts; /* those that were looked at */
	__u64 local; /* on the CPU that received the last packet */
};

/*
 * Map `orders`: who took the last connection of those who share them, a process on a socket or a
 * socket in a reuseport group. Of several CPUs that come at the same time, none or one goes on;
 * what the others took has no place in the order, and nobody is known to have come next to it.
 */
struct order_key {
	__u32 id; /* inode of the listener, or reuseport_id */
	__u16 port; /* of a group; 0: no group */
	__u16 pad;
};

struct order {
	__u64 entered; /* CPUs; those that `left` are gone */
	__u64 left;
	__u64 raced; /* accepts without a place */
	__u64 raced_before; /* ... when `last` was stored */
	__u64 last; /* who took it: PID and start of the process, or inode; 0: nobody */
	__u64 run; /* what it took in a row until now */
	__u64 runs[RUN_BUCKETS]; /* that another ended, by length */
	__u32 inode; /* of the listener that it was taken from */
	__u32 pad;
};

/* How a connection was accepted. */
enum via { VIA_SYSCALL = 1, VIA_IO_URING = 2, VIA_KERNEL = 4 };

/* If a call took nothing: an EAGAIN, which may also have been a wake-up for nothing. */
enum pending { PENDING_NONE, PENDING_EMPTY, PENDING_WASTED };

/* Map `errors`: failures other than EAGAIN, by errno. */
struct error_key {
	struct acceptor_key acceptor;
	__u32 error; /* positive errno */
	__u32 pad;
};

/* What a row of the maps `errors` and `ports` counts. */
struct tally {
	__u64 count;
	__u32 owner;
	__u32 pad;
};

/* Map `calls`, keyed by PID << 32 | TID: the accept() that a thread is in, or was in last. */
struct call {
	__u64 listener; /* kernel pointer, never shown; 0: it did not get as far as the queue */
	__u64 thread; /* as the key, but as seen from `pidns`; 0: it has no PID there */
	__u32 fd;
	__u32 state; /* enum call_state */
};

enum call_state {
	CALL_UNKNOWN, /* whether there is a system call, with that descriptor */
	CALL_BEGAN, /* there is */
	CALL_AWAITED, /* and a connection waited when it began */
};

/*
 * Maps `listeners` and `more_listeners`. The first is an array, where a row is found with a tenth
 * of the instructions that a hash takes. A listener has the place inode % MAX_PLACES or one of the
 * next, whichever the map `places` (place → inode) says was taken for it; or, where all of them are
 * taken, a row in the second, by inode. Every counter is atomic: softirqs of all CPUs write it.
 */
struct listener {
	__u64 requests; /* SYNs steered here */
	__u64 cookies_sent; /* of those, answered with a cookie: the ACK will be steered anew */
	__u64 cookies_back; /* ACKs with a good cookie, steered here */
	__u64 arrived; /* children made, on their way into the queue */
	__u64 overflow_syn; /* SYNs, or calls of connect() to AF_UNIX, that met a full queue */
	__u64 overflow_ack; /* final ACKs that met one */
	__u64 overflow_aborted; /* of those, answered with a reset */
	__u64 overflow_peers; /* clients (address, port) behind both */
	__u64 lost; /* queued children reset, as the listener closed */
	__u64 migration_failed; /* of those, meant to move to another listener */
	__u64 migrated_out; /* queued children */
	__u64 migrated_in;
	__u64 came_us; /* sum of the times of `arrived` and `migrated_in`, modulo 2^64 */
	__u64 left_us; /* sum of the times of `lost` and `migrated_out` */
	__u64 waited_us; /* sum of the waits of those, since began_us */
	__u64 carried_us; /* ... of `migrated_in`, until they came */
	__u64 queue_max;
	__u64 stops; /* times it ended to listen */
	__u64 stakes_unknown; /* of those, with a queue that may have been lost or moved */
	__u64 uncounted; /* accepts by threads that have no row; in `left_us` and `waited_us` too */
	__u8 address[16]; /* network order; IPv4 in the first four */
	__u32 netns;
	__u16 family;
	__u16 port;
	__u32 mptcp;
	__u32 inode; /* 0: free, or not yet described */
	__s32 queue_start; /* the queue when nothing was counted yet */
	__u32 drops; /* sk_drops when it last ended to listen */
	__u32 owner;
	__u32 cut_off; /* handshakes that were half-open then; see CUT_OFF_UNKNOWN */
	__u64 blocked; /* AF_UNIX: calls of connect() that slept until the queue had room */
};

/* Map `unix_calls`, keyed by PID << 32 | TID: the listener that a thread connects to, or closes. */
struct unix_call {
	__u64 listener; /* kernel pointer; 0: none that is traced */
	__u64 child; /* kprobe only: about to be queued */
	__u32 inode;
	__u32 slept; /* for want of room in the queue */
};

/*
 * Map `closings` (tracepoint only), keyed by PID << 32 | TID: the listener that a thread closes, or
 * closed last. The kernel reports its new state before it stores it: what is queued in between is
 * reset with the rest.
 */
struct closing {
	__u64 listener; /* kernel pointer; 0: what becomes of its queue is not known */
	__u32 counted; /* of its queue, in `lost` */
	__u32 seen; /* of those, children that were seen to be reset */
	__u32 netns; /* of the listener, as its port: a thread may close other sockets later */
	__u32 port;
};

/* In `cut_off`: they may have moved to another listener, which is not known. */
enum { CUT_OFF_UNKNOWN = 1U << 31 };

/* Map `migrations`: from one listener to another (inodes; 0: it has none any more). */
struct migration_key {
	__u32 from_inode;
	__u32 to_inode;
};

struct migration {
	__u64 connections; /* queued */
	__u64 requests; /* half-open */
	__u32 owner;
	__u32 pad;
};

/* Map `peers` (→ owner): a client that met the full queue of a listener. */
struct peer {
	__u32 inode;
	__u16 port;
	__u16 family;
	__u8 address[16];
};

/*
 * Map `ports` (tracepoint only): children made, whichever listener of the port made them. Under
 * port | PORT_STRAYS: those accepted through a descriptor that named another socket when the call
 * ended. Under port | PORT_UNMADE: those that were reset before they were queued, as their listener
 * ended to listen. Under port | PORT_LATE: those queued while it did so, that their client reset
 * at once: they may be among the `lost` or not.
 */
struct port_key {
	__u32 netns;
	__u32 port;
};

/* What hooks on one CPU pass to each other; softirqs do not interrupt one another. */
struct scratch {
	__u64 listener; /* kernel pointers: of the SYN or final ACK that is being handled */
	__u64 packet; /* kprobe only: that ACK */
	__u64 stolen; /* kprobe only: where the kernel says that another CPU made the child */
	__u64 from; /* kprobe only: the listener from which a child or request */
	__u64 migrating; /* is about to move */
	__u64 moved; /* the child that migrated last */
	__u64 receiver; /* kprobe only: the UDP socket to whose queue */
	__u32 datagrams; /* so many are being added */
	__u32 steering; /* kprobe only: a UDP packet is being given a socket */
};

/* What chooses in a reuseport group, if not the hash: cBPF or eBPF. */
enum program { PROGRAM_NONE, PROGRAM_CLASSIC, PROGRAM_EXTENDED };

enum { CLASSIC_READ = 3 }; /* instructions: load, change, return */

/* What the socket iterators write of a reuseport group. */
struct member {
	__u32 inode;
	__u32 group; /* reuseport_id */
	__u32 size; /* sockets in the group that can be selected */
	__u32 program; /* 0: none, 1: classic BPF, 2: eBPF */
	__u32 incoming_cpu; /* members that set SO_INCOMING_CPU */
	__u32 program_id;
	char program_name[16];
	__u64 instructions; /* of classic BPF */
	__u64 classic[CLASSIC_READ]; /* the first of them: struct sock_filter */
};

/* Map `receivers`, keyed by inode: UDP sockets. Every counter is atomic. */
struct receiver {
	__u64 selected; /* packets that reuseport selection steered here */
	__u64 offered; /* datagrams that came to the queue */
	__u64 dropped; /* of those, not taken: the queue was full */
	__u8 address[16]; /* network order; IPv4 in the first four */
	__u32 netns;
	__u16 family;
	__u16 port;
	__u32 owner;
	__u32 pad;
};

/* Map `readers`: what one process read from one UDP socket. */
struct reader_key {
	__u64 start_ns; /* of the process, CLOCK_BOOTTIME */
	__u32 inode; /* of the socket */
	__u32 pid; /* in the initial PID namespace */
};

struct reader {
	__u64 packets; /* atomic: its threads share the row */
	__u32 owner; /* of the socket: enum owner */
	__u32 pid; /* as seen from `pidns`; 0: it has none there */
	char comm[16];
};

/* `accepttrace events` only, whose programs are an object of their own (events.bpf.c). */
enum event_kind {
	EVENT_ACCEPT,
	EVENT_FAILED, /* a call of accept() */
	EVENT_RESET, /* queued connections, with their listener */
	EVENT_DROPPED, /* a SYN, a final ACK, or a connect() to AF_UNIX, that met a full queue */
};

/* In an event: a value that is not known. */
enum { WAIT_UNKNOWN = -1, CPU_UNKNOWN = -1, GROUP_NONE = -1, RESULT_UNKNOWN = -4096 };

/* What the ring buffer `events` has of each. What is not known of a kind is 0. */
struct event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 process_start_ns; /* of the thread group leader, CLOCK_BOOTTIME */
	__s64 wait_us;
	__u32 pid;
	__u32 tid;
	__u32 inode; /* of the listener */
	__u32 netns;
	__u32 queue; /* of the listener, when the event was written */
	__s32 group; /* reuseport_id of the listener */
	__s32 result; /* a descriptor, or the negative errno */
	__u32 connections; /* that this is about */
	__u16 kind; /* enum event_kind */
	__u16 family;
	__u16 local_port; /* host order, both */
	__u16 peer_port;
	__s16 cpu;
	__s16 received_cpu; /* that handled the last packet */
	__u32 pad;
	char comm[16];
	__u8 local[16]; /* network order; IPv4 in the first four */
	__u8 peer[16]; /* likewise; AF_UNIX: struct unix_peer */
};

/* Who connected, and when that was known to the kernel: at connect(), as to SO_PEERCRED. */
struct unix_peer {
	__u32 pid; /* as seen from `pidns`; 0: it has none there */
	__u32 uid; /* in the initial user namespace */
	__u32 pad[2];
};

/* Map `unix_names`, by inode: a listener of AF_UNIX of which there was an event. */
struct unix_name {
	__u32 file_inode; /* the lower half, as unix_diag has it; 0: it is no file */
	__u32 device;
	__u32 length; /* of the name; 0: it is not there yet */
	char name[UNIX_PATH]; /* a first byte 0: an abstract one */
};

/* The one entry of the map `event_wishes`: what is written to the ring buffer. */
struct event_wish {
	__u64 slower_us; /* accepts that waited so long at least; 0: any */
	__u32 kinds; /* bits: 1 << enum event_kind */
	__u32 sample; /* one of so many of each listener; 0, 1: all */
	__u8 peer[16]; /* IPv6, or IPv4 as mapped to it */
	__u8 mask[16];
};

/* Map `event_counts`, by CPU: of the kinds that are wished for. */
struct event_count {
	__u64 accepts; /* as the maps count them */
	__u64 left_out; /* of all events, by `slower_us` and `peer` */
	__u64 not_sampled;
	__u64 lost; /* the ring buffer was full */
	__u64 written;
	__u64 fd; /* of the system call that returns on this CPU, plus 1; 0: not known */
};

/* Map `samples`, by inode and CPU. One of each block is written, which one is random: were it every
 * Nth, workers that take turns would be seen alone or never. */
struct sample {
	__u32 place; /* of the next event in its block */
	__u32 chosen;
};

enum setting { NOT_KNOWN, NOT_SET, SET };

enum { PLACES_READ = 512 }; /* of a group: members beyond have no place */

/* What the socket iterator writes for each listening socket; `size` 0: it is in no group. */
struct tcp_member {
	struct member member;
	__u32 half_open; /* handshakes that are not finished */
	__u32 defers; /* TCP_DEFER_ACCEPT is set */
	__u64 oldest_us; /* wait of the head of the accept queue; 0: not known, or none */
	__u32 reuseport; /* enum setting: SO_REUSEPORT is set */
	__u32 mptcp;
	__u32 fast_open; /* TCP_FASTOPEN: how many may wait for their final ACK */
	__s32 incoming_cpu; /* SO_INCOMING_CPU; -1: not set */
	__u32 place; /* in the group, from 1 on, as selectors count; 0: not found */
	__u32 in_kernel; /* made by the kernel: no process has a descriptor of it */
};

/* What the socket iterator writes for each UDP socket; outside of a group only the inode is set. */
struct udp_member {
	struct member member;
	__u32 queue; /* packets */
	__u32 in_kernel; /* as above */
};

_Static_assert(sizeof(struct acceptor_key) == 16, "acceptor_key");
_Static_assert(sizeof(struct acceptor) == 200 + 8 * WAIT_BUCKETS + CLIENT_SLOTS, "acceptor");
_Static_assert(sizeof(struct order) == 56 + 8 * RUN_BUCKETS, "order");
_Static_assert(sizeof(struct error_key) == 24, "error_key");
_Static_assert(sizeof(struct listener) == 216, "listener");
_Static_assert(sizeof(struct event) == 120, "event");
_Static_assert(sizeof(struct unix_call) == 24, "unix_call");
_Static_assert(sizeof(struct unix_peer) == 16, "unix_peer");
_Static_assert(sizeof(struct unix_name) == 120, "unix_name");
_Static_assert(sizeof(struct event_wish) == 48, "event_wish");
_Static_assert(sizeof(struct event_count) == 48, "event_count");
_Static_assert(sizeof(struct peer) == 24, "peer");
_Static_assert(sizeof(struct member) == 72, "member");
_Static_assert(sizeof(struct tcp_member) == 112, "tcp_member");
_Static_assert(sizeof(struct receiver) == 56, "receiver");
_Static_assert(sizeof(struct reader_key) == 16, "reader_key");
_Static_assert(sizeof(struct reader) == 32, "reader");
_Static_assert(sizeof(struct udp_member) == 80, "udp_member");
_Static_assert(sizeof(struct settings) == PORTS + 8 + 4 * MAX_NETNS + 32, "settings");

#endif
