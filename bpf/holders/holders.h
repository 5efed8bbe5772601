/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The contract between the inventory of holders and user space, as accepttrace.h is for tracing.
 * The iterator writes pieces: a header and any number of pairs, all of one stream of bytes.
 */
#ifndef ACCEPTTRACE_HOLDERS_H
#define ACCEPTTRACE_HOLDERS_H

#include <linux/types.h>

enum {
	ASKED_PORT_WORDS = 1024, /* bitmap of 65,536 ports */
	MAX_EPOLLS = 65536, /* epoll sets that watch a socket asked for */
	MAX_WALKED = 65536, /* sockets asked for, that were met lately */
	MAX_SEEN = 4096, /* a power of two */
	MAX_WAITERS = 2048, /* of one socket: what they take must fit into a buffer of 32 KiB */
	MAX_WAITERS_UNROLLED = 256, /* ... in kernels without bpf_loop() */
	MAX_OPENED = 65536, /* processes that hold connections, by port */
	MAX_COUNTED = 65536, /* connections with several descriptors, by process */
	MAX_SLEEPERS = 8, /* of one epoll set, in epoll_wait() */
	MAX_RECEIVED = 1024, /* sockets that were handed over, by process */
};

/* Map `asked`, one entry: which sockets. */
struct asked {
	__u64 ports[ASKED_PORT_WORDS];
	__u64 open_ports[ASKED_PORT_WORDS]; /* whose connections are counted */
	__u32 any_port;
	__u16 protocol; /* IPPROTO_TCP: listening sockets; IPPROTO_UDP: bound ones */
	__u16 family; /* AF_UNIX: listening sockets of it alone, whatever else is asked; 0: of IP */
};

/* Map `progress`, one entry: where a pass over all descriptors is. Zeroed before each, but for … */
struct progress {
	__u32 pass_number; /* … its number, */
	__u32 epolls; /* … and how many sets and */
	__u32 walked; /* … sockets were ever met. */
	__u32 kind; /* of the piece that was begun last */
	__u32 id;
	__u32 tid;
	__u32 tgid; /* of the process met last */
	__u32 counts; /* whether this pass counts connections */
	__u32 counted; /* connections that ever had a row in that map */
	__u32 uncounted; /* connections without a row: no number of this pass is right */
	__u32 pidns; /* from which PIDs are seen: inode number; 0: the initial one */
};

/* Map `seen`: what this pass has written already, as far as there is room to remember. */
struct seen {
	__u64 what;
	__u32 pass;
	__u32 pad;
};

/* Map `opened`: established connections that a process holds. */
struct open_key {
	__u32 tgid;
	__u32 netns; /* of the connection */
	__u16 port; /* its local one */
	__u16 family;
};

struct open_count {
	__u32 connections;
	__u32 pass_number; /* that counted them */
};

/* Map `counted` (→ pass): a connection that several descriptors may name, by a process. */
struct counted_key {
	__u32 inode;
	__u32 tgid;
};

/* Map `received`: a socket asked for that a process was handed. */
struct received_key {
	__u32 inode;
	__u32 tgid;
};

struct received {
	__u64 start_ns; /* of the process, CLOCK_BOOTTIME */
	__u32 by;
	__u32 pad;
};

enum received_by {
	RECEIVED_MESSAGE = 1, /* SCM_RIGHTS */
	RECEIVED_GETFD, /* pidfd_getfd() */
	RECEIVED_OTHER, /* in a system call that does not tell */
};

enum piece_kind {
	PIECE_PROCESS = 1, /* id: PID; pairs: descriptor, inode */
	PIECE_EPOLLS, /* id: PID; pairs: descriptor and EPOLL_ASLEEP, number of the epoll set */
	PIECE_SOCKET, /* id: inode; pairs: how somebody waits, who */
};

/*
 * All ones, 16 bytes, mark the beginning: nothing else can look so, comm ends in a zero. PIDs and
 * TIDs here and in pairs are those of the initial PID namespace, but for `thread`.
 */
struct piece {
	__u64 mark[2];
	__u32 kind;
	__u32 id;
	__u32 tid; /* the thread whose descriptors these are */
	__u32 netns; /* its network namespace; of a socket: the socket's */
	__u64 start_ns; /* of the thread group leader, CLOCK_BOOTTIME */
	__u64 thread; /* of a process: PID << 32 | TID as seen from `pidns` */
	char comm[16]; /* of the thread group leader */
};

struct pair {
	__u32 what; /* never above 2^31 */
	__u32 which;
};

enum { EPOLL_ASLEEP = 1 << 30 }; /* this process sleeps in epoll_wait() on it */

/* How somebody waits on a socket. Who: PID; WAITS_EPOLL: the number of the set. */
enum waits {
	WAITS_CALL = 1, /* asleep in accept() or recv() */
	WAITS_POLL,
	WAITS_SELECT,
	WAITS_EPOLL,
	WAITS_URING,
	WAITS_OTHER, /* the kernel itself, or in a way that is not known */
	WAITS_MORE, /* there are more, which were not looked at */
	WAITS_KIND = 0xff,
	WAITS_EXCLUSIVE = 0x100,
	WAITS_NEW = 0x200, /* a set that was met for the first time, perhaps after its holders */
	WAITS_NO_INPUT = 0x400, /* a paused entry */
};

_Static_assert(sizeof(struct asked) == 16 * ASKED_PORT_WORDS + 8, "asked");
_Static_assert(sizeof(struct progress) == 44, "progress");
_Static_assert(sizeof(struct seen) == 16, "seen");
_Static_assert(sizeof(struct open_key) == 12, "open_key");
_Static_assert(sizeof(struct received) == 16, "received");
_Static_assert(sizeof(struct piece) == 64, "piece");
_Static_assert(sizeof(struct pair) == 8, "pair");

#endif
