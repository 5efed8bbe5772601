// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/*
 * Who holds the sockets asked for, and who waits on them: one pass over the descriptors of all
 * processes, without a system call for each. An object of its own, because `who` needs no other.
 */
#define HOLDERS
#include "holders/opened.bpf.h"
#include "holders/received.bpf.h"
#include "holders/waiters.bpf.h"

/* Whether this pass has written it already. Forgetful: two things may compete for one place. */
static __always_inline bool seen_before(__u32 pass, __u32 one, __u32 other)
{
	__u64 what = (__u64)one << 32 | other;
	__u32 place = (other * 2654435761U ^ one * 40503U) >> 8 & (MAX_SEEN - 1);
	struct seen *slot = bpf_map_lookup_elem(&seen, &place);

	if (!slot)
		return false;
	if (slot->what == what && slot->pass == pass)
		return true;
	slot->what = what;
	slot->pass = pass;
	return false;
}

static __always_inline void not_seen(__u32 one, __u32 other)
{
	__u32 place = (other * 2654435761U ^ one * 40503U) >> 8 & (MAX_SEEN - 1);
	struct seen *slot = bpf_map_lookup_elem(&seen, &place);

	if (slot)
		slot->what = 0;
}

/* Every socket is met by way of each of its holders. Without room it counts as not met at all. */
static __always_inline bool walked_before(struct progress *here, __u32 inode)
{
	__u32 *pass = bpf_map_lookup_elem(&walked, &inode), now = here->pass_number;

	if (!pass) {
		here->walked++;
		return bpf_map_update_elem(&walked, &inode, &now, BPF_ANY);
	}
	if (*pass == now)
		return true;
	*pass = now;
	return false;
}

static __always_inline void not_walked(__u32 inode)
{
	__u32 *pass = bpf_map_lookup_elem(&walked, &inode);

	if (pass)
		*pass = 0;
}

/* PID << 32 | TID as seen from the namespace of who asks. */
static __always_inline __u64 thread_seen(struct visit *visit)
{
	__u32 pidns = visit->here->pidns;

	if (pidns)
		return thread_in(pidns, (void *)visit->task);
	return (__u64)visit->tgid << 32 | (__u32)visit->task->pid;
}

static __always_inline bool begin(struct visit *visit, __u32 kind, __u32 id, __u32 netns)
{
	struct task_struct___id *leader = visit->task->group_leader;
	struct piece piece = {.mark = {~0ULL, ~0ULL}, .kind = kind, .id = id};
	struct progress *here = visit->here;
	__u32 tid = visit->task->pid;

	if (here->kind == kind && here->id == id && here->tid == tid)
		return true;
	piece.tid = tid;
	piece.netns = netns;
	if (kind != PIECE_SOCKET)
		piece.thread = thread_seen(visit);
	piece.start_ns = leader->start_boottime;
	bpf_probe_read_kernel(piece.comm, sizeof(piece.comm), &leader->comm);
	here->kind = kind;
	here->id = id;
	here->tid = tid;
	if (!bpf_seq_write(visit->seq, &piece, sizeof(piece)))
		return true;
	here->kind = 0;
	return false;
}

static __always_inline bool begin_process(struct visit *visit, __u32 kind)
{
	struct nsproxy *spaces = visit->task->nsproxy;

	return begin(visit, kind, visit->tgid, spaces ? spaces->net_ns->ns.inum : 0);
}

/*
 * The buffer is full. The kernel takes back all that was written for this descriptor, and shows it
 * again to a fresh buffer: then it must be written as if for the first time.
 */
static __always_inline void taken_back(struct visit *visit, __u32 seen_as)
{
	visit->here->kind = 0;
	visit->here->tgid = 0;
	not_seen(visit->tgid, seen_as);
}

static __always_inline void socket_met(struct visit *visit, struct sock *sk, __u32 inode,
				       enum loops loops)
{
	struct socket_wq *own = BPF_CORE_READ((struct sock___wait *)sk, sk_wq);
	struct wait_queue_head *queue = &own->wait;
	struct walk walk = {.seq = visit->seq, .file = visit->file};
	__u32 netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);

	if (walked_before(visit->here, inode))
		return;
	walk.queue = queue;
	walk.next = BPF_CORE_READ(queue, head.next);
	if (!begin(visit, PIECE_SOCKET, inode, netns) || !waiters_write(&walk, loops)) {
		taken_back(visit, inode);
		not_walked(inode);
	}
}

/* Once a pass: `seen_as` is what it is remembered by. */
static __always_inline void pair_write(struct visit *visit, __u32 kind, __u32 what, __u32 which,
				       __u32 seen_as)
{
	struct pair pair = {what, which};

	if (seen_before(visit->here->pass_number, visit->tgid, seen_as))
		return;
	if (!begin_process(visit, kind) || bpf_seq_write(visit->seq, &pair, sizeof(pair)))
		taken_back(visit, seen_as);
}

static __always_inline bool sleeps_in(struct eventpoll *set, __u32 tgid)
{
	struct list_head *head = &set->wq.head, *here = BPF_CORE_READ(head, next);

	for (int i = 0; i < MAX_SLEEPERS; i++) {
		struct wait_queue_entry *entry = OUTER(here, struct wait_queue_entry, entry);
		struct task_struct *task;

		if (!here || here == head)
			break;
		task = BPF_CORE_READ(entry, private);
		if (tgid_of(task) == tgid && on_stack_of(task, entry))
			return true;
		here = BPF_CORE_READ(here, next);
	}
	return false;
}

static __always_inline void epoll_met(struct visit *visit)
{
	__u64 set = (__u64)visit->file->private_data;
	__u32 *known = bpf_map_lookup_elem(&epolls, &set), number, asleep;

	if (!known)
		return;
	number = *known;
	asleep = sleeps_in((void *)set, visit->tgid) ? EPOLL_ASLEEP : 0;
	pair_write(visit, PIECE_EPOLLS, visit->fd | asleep, number, number | EPOLL_ASLEEP);
}

static __always_inline void file_met(struct visit *visit, enum loops loops)
{
	struct inode *inode = visit->file->f_inode;
	__u32 kind = inode->i_mode & S_IFMT;
	struct socket *socket;
	struct sock *sk;

	if (!kind || kind == S_IFREG) { /* as epoll sets look: see drift.bpf.h */
		epoll_met(visit);
		return;
	}
	if (kind != S_IFSOCK)
		return;
	socket = visit->file->private_data;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return;
	if (visit->here->counts && is_of_ip(sk) && is_open(sk)) {
		connection_met(visit, sk, inode->i_ino);
		return;
	}
	if (!is_asked(sk))
		return;
	pair_write(visit, PIECE_PROCESS, visit->fd, inode->i_ino, inode->i_ino);
	socket_met(visit, sk, inode->i_ino, loops);
}

static __always_inline int descriptor_met(struct bpf_iter__task_file *ctx, enum loops loops)
{
	struct visit visit = {.seq = ctx->meta->seq, .here = progress_get(), .fd = ctx->fd};
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (!task || !file || !visit.here)
		return 0;
	visit.task = (void *)task;
	visit.file = file;
	visit.tgid = visit.task->tgid;
	/* Every process is written, for its network namespace. */
	if (visit.here->tgid != visit.tgid) {
		if (!begin_process(&visit, PIECE_PROCESS))
			return 0; /* without room this descriptor comes again: nothing counts yet */
		visit.here->tgid = visit.tgid;
	}
	file_met(&visit, loops);
	return 0;
}

SEC("iter/task_file")
int iter_holders(struct bpf_iter__task_file *ctx)
{
	return descriptor_met(ctx, BY_HELPER);
}

SEC("iter/task_file")
int iter_holders_old(struct bpf_iter__task_file *ctx)
{
	return descriptor_met(ctx, UNROLLED);
}

char LICENSE[] SEC("license")
= "Dual BSD/GPL";
