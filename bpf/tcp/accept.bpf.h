/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Who took a connection from which listener, how long it had waited, and who found nothing. */
#ifndef ACCEPTTRACE_ACCEPT_H
#define ACCEPTTRACE_ACCEPT_H

#include "pidns.bpf.h"
#include "socket.bpf.h"
#include "tcp/event.bpf.h"
#include "tcp/syscall.bpf.h"

/* Threads of the kernel always accept in one way; others may change it with every call. */
static __always_inline __u32 only_way_of(struct task_struct *task)
{
	unsigned int flags = BPF_CORE_READ(task, flags);

	if (flags & PF_KTHREAD)
		return VIA_KERNEL;
	return flags & PF_IO_WORKER ? VIA_IO_URING : 0;
}

static __always_inline __u32 way_now(struct settings *want, __u32 only)
{
	if (only)
		return only;
	if (want->rings == RINGS_UNUSED)
		return VIA_SYSCALL;
	if (want->rings == RINGS_IN_USE)
		return ring_is(bpf_get_current_pid_tgid()) ? VIA_IO_URING : VIA_SYSCALL;
	if (want->rings == RINGS_UNHOOKED)
		return in_accept_syscall() ? VIA_SYSCALL : VIA_IO_URING;
	return 0;
}

/* io_uring looks into the queue before it waits: that it finds nothing is not seen. */
static __always_inline bool is_by_ring(void)
{
	struct settings *want = settings_get();

	return want && way_now(want, 0) == VIA_IO_URING;
}

/* Between these two, what the current thread accepts comes through io_uring. */
static __always_inline void ring_begins(void)
{
	struct settings *want = settings_get();

	ring_add(bpf_get_current_pid_tgid());
	if (want && !want->rings)
		want->rings = RINGS_IN_USE;
}

static __always_inline void ring_ends(void)
{
	ring_remove(bpf_get_current_pid_tgid());
}

static __always_inline void acceptor_introduce(struct acceptor *acceptor, struct task_struct *task)
{
	__u64 thread = current_pid();

	acceptor->only_via = only_way_of(task);
	if (!thread)
		return; /* its row is that of many processes, of which none has a PID here */
	acceptor->pid = thread >> 32;
	acceptor->tid = thread;
	acceptor->process_start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	bpf_get_current_comm(acceptor->comm, sizeof(acceptor->comm));
}

/*
 * The settings, if they let the current process on this listener through, else NULL. Whether it is
 * one of TCP is asked where a row is made.
 */
static __always_inline struct settings *wanted(enum access how, struct sock *listener)
{
	struct settings *want = settings_get();

	if (!want || !socket_wanted(how, want, listener))
		return NULL;
	if (!want->any_pid && !pid_wanted(current_pid() >> 32))
		return NULL;
	return want;
}

/* The current thread: when it started, and how often it went to sleep since. */
struct task {
	__u64 start_ns;
	__u64 slept;
	__u32 tid;
};

static __always_inline struct task task_now(enum access how)
{
	struct task_struct *running;
	struct task task;

	if (IS_DIRECT(how) && HAS_TASK_POINTERS) {
		running = CURRENT_TASK();
		task.start_ns = running->start_boottime;
		task.slept = running->nvcsw;
		task.tid = running->pid;
	} else {
		running = (void *)bpf_get_current_task();
		task.start_ns = BPF_CORE_READ(running, start_boottime);
		task.slept = BPF_CORE_READ(running, nvcsw);
		task.tid = (__u32)bpf_get_current_pid_tgid();
	}
	return task;
}

static __always_inline __u32 slot_of(struct acceptor_key *key, __u32 nth)
{
	return (key->tid + key->inode + nth) % MAX_SLOTS;
}

static __always_inline bool is_of(struct acceptor *acceptor, struct acceptor_key *key)
{
	return acceptor->who.tid == key->tid && acceptor->who.inode == key->inode &&
	       acceptor->who.start_ns == key->start_ns;
}

static __noinline struct acceptor *acceptor_elsewhere(struct acceptor_key *key)
{
	struct acceptor *acceptor;

	for (__u32 i = 1; i < SLOT_PROBES; i++) {
		acceptor = slot_at(slot_of(key, i));
		if (!acceptor || is_of(acceptor, key))
			return acceptor;
	}
	return hashed_get(key);
}

static __always_inline struct acceptor *acceptor_get(struct acceptor_key *key)
{
	struct acceptor *first = slot_at(slot_of(key, 0));

	return first && is_of(first, key) ? first : acceptor_elsewhere(key);
}

static __always_inline bool is_crew(struct acceptor_key *key)
{
	return key->tid & CREW;
}

/* Of all processes that have no PID in the tracer's namespace. */
static __always_inline bool is_of_outsiders(struct acceptor_key *key)
{
	return key->tid == CREW;
}

/* A crew has no slot: several threads may meet for it at once, which only a hash settles. */
static __always_inline struct acceptor *slot_find(struct acceptor_key *key)
{
	for (__u32 i = 0; i < SLOT_PROBES && !is_crew(key); i++) {
		if (!slot_take(slot_of(key, i), key))
			return slot_at(slot_of(key, i));
	}
	return NULL;
}

/* A row for a thread seen for the first time, or for a crew; NULL where there is no room. */
static __always_inline struct acceptor *acceptor_add(struct acceptor_key *key, __u32 owner)
{
	struct acceptor *acceptor;
	bool made = true;

	if (!share_take(owner, SHARED_ACCEPTORS))
		return NULL;
	acceptor = slot_find(key);
	if (!acceptor) {
		made = !hashed_add(key);
		acceptor = hashed_get(key);
	}
	if (!acceptor || !made)
		share_return(owner, SHARED_ACCEPTORS);
	if (!acceptor)
		return NULL;
	acceptor_introduce(acceptor, (void *)bpf_get_current_task());
	acceptor->owner = owner;
	acceptor->who = *key;
	return acceptor;
}

/* All threads of the current process that have no row on this listener. */
static __always_inline struct acceptor_key crew_now(__u32 inode)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct acceptor_key key = {};

	key.inode = inode;
	key.tid = current_pid() >> 32 | CREW;
	if (!is_of_outsiders(&key))
		key.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	return key;
}

/*
 * A thread without a row: gives it one, or that of its crew where its process has many already (a
 * thread for each connection) or no PID; `key` says which. NULL where there is no room for either.
 */
static __noinline struct acceptor *acceptor_meet(struct acceptor_key *key, __u32 owner)
{
	struct acceptor_key crew = crew_now(key->inode);
	__u32 *threads = crew_of(&crew);
	struct acceptor *acceptor = NULL;

	if (is_of_outsiders(&crew) || (threads && *threads >= CREW_ROWS)) {
		*key = crew;
		acceptor = hashed_get(key);
	}
	if (acceptor)
		return acceptor;
	acceptor = acceptor_add(key, owner);
	if (!acceptor && !is_crew(key)) {
		*key = crew; /* no room for this one either, if it has none by now */
		return hashed_get(key);
	}
	if (acceptor && threads && !is_crew(key))
		__sync_fetch_and_add(threads, 1);
	return acceptor;
}

/* The row of the current thread on a listener, and its key; NULL where it has none yet. */
static __always_inline struct acceptor *acceptor_known(__u32 inode, struct task *task,
						       struct acceptor_key *key)
{
	key->inode = inode;
	key->tid = task->tid;
	key->start_ns = task->start_ns;
	return acceptor_get(key);
}

/*
 * The same, or a new row: its own or its crew's, as `key` says. Only on a listener that has a row;
 * NULL where there is no room for one of them, or the filters leave this thread out.
 */
static __always_inline struct acceptor *acceptor_of(struct sock *sk, __u32 inode, struct task *task,
						    struct acceptor_key *key)
{
	struct acceptor *acceptor;
	struct listener *listener;

	if (!wanted(PROBED, sk))
		return NULL;
	acceptor = acceptor_known(inode, task, key);
	if (acceptor || !has_rows(sk))
		return acceptor;
	listener = listener_get(inode);
	if (!listener)
		listener = listener_met(sk, inode, 0);
	return listener ? acceptor_meet(key, listener->owner) : NULL;
}

static __always_inline __u32 wait_bucket(__u64 us)
{
	__u32 value = us, rest = value, exponent = 0;

	if (us < 8)
		return us;
	if (us >> 32)
		return WAIT_BUCKETS - 1;
	if (rest > 0xffff) {
		rest >>= 16;
		exponent = 16;
	}
	if (rest > 0xff) {
		rest >>= 8;
		exponent += 8;
	}
	if (rest > 0xf) {
		rest >>= 4;
		exponent += 4;
	}
	if (rest > 0x3) {
		rest >>= 2;
		exponent += 2;
	}
	exponent += rest >> 1;
	return (exponent - 2) * 8 + (value >> (exponent - 3) & 7);
}

/* AF_UNIX stores nothing: a hook in connect() did. Without it no wait is looked at. */
static __always_inline bool unix_ready_us(struct sock *child, __u64 *ready)
{
	__u64 *queued = unix_queued_get((__u64)child);

	if (queued)
		*ready = *queued;
	return queued;
}

/*
 * The kernel stored in the child when it became ready: tcp_init_buffer_space() sets
 * rcvq_space.time, and the application's first read is the next to change it. 0: accepted before
 * it was established (SMP, Fast Open), so it did not wait. An MPTCP socket has no such field.
 */
static __always_inline bool ready_us(enum access how, struct sock *child, __u64 *ready)
{
	if (IS_DIRECT(how))
		return read_ready(child, ready);
	if (child && BPF_CORE_READ(child, sk_protocol) == IPPROTO_TCP)
		return !BPF_CORE_READ_INTO(ready, (struct tcp_sock *)child, rcvq_space.time);
	return child && is_of_unix(PROBED, child) && unix_ready_us(child, ready);
}

/* How long a queued child has waited by now, since tracing began. */
static __always_inline __u64 waited_by(struct sock *child, __u64 now)
{
	struct settings *want = settings_get();
	__u64 since;

	if (!want || !ready_us(PROBED, child, &since) || !since)
		return 0;
	if (since < want->began_us)
		since = want->began_us;
	return now > since ? now - since : 0;
}

/* `shared`: by several threads, that is by a crew. */
static __always_inline void count(bool shared, __u64 *counter, __u64 value)
{
	if (shared)
		add(counter, value);
	else
		*counter += value;
}

/* By the hash that a reuseport group chooses by: few values are few clients that come again. */
static __always_inline void client_seen(enum access how, struct acceptor *acceptor,
					struct sock *child)
{
	__u32 slot = READ(how, child, __sk_common.skc_hash) % CLIENT_SLOTS;

	CHECK_AND_USE_AS_ONE(slot);
	if (slot < CLIENT_SLOTS)
		acceptor->clients[slot] = 1;
}

static __always_inline void waited(enum access how, bool shared, struct acceptor *acceptor,
				   struct sock *child, __u64 began, __u64 now)
{
	__u64 ready, us;
	__u32 bucket;

	if (!ready_us(how, child, &ready)) {
		count(shared, &acceptor->wait_unknown, 1);
		return;
	}
	if (!ready || ready > now)
		ready = now;
	us = now - ready;
	bucket = wait_bucket(us);
	CHECK_AND_USE_AS_ONE(bucket);
	if (bucket < WAIT_BUCKETS)
		count(shared, &acceptor->wait_us[bucket], 1);
	if (us > acceptor->wait_max_us)
		acceptor->wait_max_us = us;
	count(shared, &acceptor->waited_us, ready > began ? us : now - began);
	acceptor->ready_us = ready;
	client_seen(how, acceptor, child);
}

/* Out of line, as it is rare. Without room nothing is known of this acceptor. */
static __noinline void look_at_cpus(struct acceptor *acceptor, struct sock *child)
{
	struct acceptor_key key = acceptor->who;
	struct locality *found = locality_get(&key), first = {};

	if (!found && child) {
		locality_add(&key, &first);
		found = locality_get(&key);
	}
	if (!found || BPF_CORE_READ(child, sk_protocol) != IPPROTO_TCP)
		return;
	add(&found->accepts, 1);
	if (BPF_CORE_READ(child, __sk_common.skc_incoming_cpu) == (int)bpf_get_smp_processor_id())
		add(&found->local, 1);
}

/* A counter as it is now: other CPUs write it meanwhile. */
static __always_inline __u64 now_in(__u64 *counter)
{
	return *(volatile __u64 *)counter;
}

VERIFIED_ONCE __u32 run_bucket(__u64 length)
{
	__u32 rest = length >> RUN_BUCKETS ? 0xffff : length, bucket = 0;

	if (rest > 0xff) {
		rest >>= 8;
		bucket = 8;
	}
	if (rest > 0xf) {
		rest >>= 4;
		bucket += 4;
	}
	if (rest > 0x3) {
		rest >>= 2;
		bucket += 2;
	}
	return bucket + (rest >> 1);
}

/* One at a time in each order, so without atomics. */
static __always_inline void follow(struct order *order, struct acceptor *acceptor, __u64 who)
{
	__u64 raced = now_in(&order->raced);
	__u64 before = raced == order->raced_before ? order->last : 0;
	__u32 bucket;

	order->raced_before = raced;
	order->last = who;
	order->inode = acceptor->who.inode;
	acceptor->placed += before != 0;
	if (before == who) {
		acceptor->again++;
		order->run++;
		return;
	}
	bucket = run_bucket(order->run);
	CHECK_AND_USE_AS_ONE(bucket);
	if (before && bucket < RUN_BUCKETS)
		order->runs[bucket]++;
	order->run = 1;
	if (!before)
		return;
	acceptor->steady += acceptor->before == before;
	acceptor->before = before;
}

/*
 * After whom it accepts: in the order in which this hook runs, after the kernel took the connection
 * from the queue. `left` is read first: so there are no more CPUs here than the difference, and
 * who is alone stays alone, as those that come later see it. Who has no PID has no place. Out of
 * line, as it is rare.
 */
static __noinline void look_at_order(struct acceptor *acceptor, struct sock *sk)
{
	struct sock_reuseport *group = BPF_CORE_READ(sk, sk_reuseport_cb);
	struct order_key key = {.id = acceptor->who.inode};
	__u64 left, who = key.id;
	struct order *order;

	if (group) {
		key.id = BPF_CORE_READ(group, reuseport_id);
		key.port = port_number(PROBED, sk);
	} else {
		who = (__u64)acceptor->pid << 32 | (__u32)acceptor->process_start_ns;
	}
	order = order_of(&key);
	if (!order)
		return;
	add(&order->entered, 1);
	left = now_in(&order->left);
	if (who && now_in(&order->entered) - left == 1)
		follow(order, acceptor, who);
	else
		add(&order->raced, 1);
	add(&order->left, 1);
}

/*
 * As an event. In other objects than that of the events it is none, and nothing of it is there.
 * `now` 0: waiting times are not looked at.
 */
static __always_inline void told(enum access how, struct sock *listener, struct sock *child,
				 __u32 inode, __u64 now)
{
#ifdef EVENTS
	__u64 ready;

	if (!now || !ready_us(how, child, &ready))
		event_accept(listener, child, inode, WAIT_UNKNOWN);
	else
		event_accept(listener, child, inode, ready && ready < now ? now - ready : 0);
#endif
}

static __always_inline void took(enum access how, bool shared, struct acceptor *acceptor,
				 struct settings *want, struct sock *listener, struct sock *child)
{
	__u64 now;

	count(shared, &acceptor->accepts, 1);
	if (want->unusual) {
		if (want->unusual & WITH_CPUS)
			look_at_cpus(acceptor, child);
		if (want->unusual & WITH_ORDER)
			look_at_order(acceptor, listener);
		if (want->unusual & WITHOUT_WAITS) {
			told(how, listener, child, acceptor->who.inode, 0);
			return;
		}
	}
	now = now_us();
	count(shared, &acceptor->left_us, now);
	waited(how, shared, acceptor, child, want->began_us, now);
	told(how, listener, child, acceptor->who.inode, now);
}

static __always_inline void took_as_crew(struct acceptor *acceptor, struct settings *want,
					 struct sock *listener, struct sock *child)
{
	acceptor->via |= way_now(want, only_way_of((void *)bpf_get_current_task()));
	took(PROBED, true, acceptor, want, listener, child);
}

/* By a thread without a row. */
static __always_inline void took_unnamed(struct listener *listener, struct settings *want,
					 struct sock *sk, struct sock *child)
{
	__u64 now;

	add(&listener->uncounted, 1);
	if (want->unusual & WITHOUT_WAITS) {
		told(PROBED, sk, child, listener->inode, 0);
		return;
	}
	now = now_us();
	add(&listener->left_us, now);
	add(&listener->waited_us, waited_by(child, now));
	told(PROBED, sk, child, listener->inode, now);
}

/* A thread without a row of its own took a child. NULL: it still has none, but all is counted. */
static __noinline struct acceptor *took_first(struct sock *sk, struct sock *child,
					      struct acceptor_key *key)
{
	struct listener *listener = listener_get(key->inode);
	struct settings *want = settings_get();
	struct acceptor *acceptor;

	if (!has_rows(sk))
		return NULL;
	if (!key->inode) {
		lost(LOSS_UNATTRIBUTED);
		return NULL;
	}
	if (!listener)
		listener = listener_meet(sk, key->inode, 1);
	if (!listener)
		lost_for(owner_of(sk), SHARED_LISTENERS, LOSS_LISTENERS_FULL);
	if (!listener || !want)
		return NULL;
	acceptor = acceptor_meet(key, listener->owner);
	if (acceptor && !is_crew(key))
		return acceptor;
	if (acceptor)
		took_as_crew(acceptor, want, sk, child);
	else
		took_unnamed(listener, want, sk, child);
	return NULL;
}

/* The current thread has no row in its first slot. NULL: all is counted. */
static __noinline struct acceptor *took_elsewhere(struct sock *sk, struct sock *child, __u32 inode,
						  __u32 tid, __u64 start_ns)
{
	struct acceptor_key key = {.start_ns = start_ns, .inode = inode, .tid = tid};
	struct acceptor *acceptor = acceptor_elsewhere(&key);

	return acceptor ? acceptor : took_first(sk, child, &key);
}

/* `want`: what wanted() says of this listener; asked first, because others' accepts pay for it. */
static __always_inline void accepted(enum access how, struct settings *want, struct sock *listener,
				     __u32 inode, struct sock *child)
{
	struct acceptor *acceptor;
	struct task task;

	if (!want)
		return;
	task = task_now(how);
	acceptor = slot_at((task.tid + inode) % MAX_SLOTS);
	if (!acceptor || acceptor->who.tid != task.tid || acceptor->who.inode != inode ||
	    acceptor->who.start_ns != task.start_ns)
		acceptor = took_elsewhere(listener, child, inode, task.tid, task.start_ns);
	if (!acceptor)
		return;
	if (!IS_DIRECT(how))
		acceptor->pending = PENDING_NONE;
	acceptor->via |= way_now(want, acceptor->only_via);
	acceptor->served = task.slept;
	took(how, false, acceptor, want, listener, child);
}

/*
 * Whether an accept() that finds nothing now was a wake-up for nothing: the thread woke since its
 * last accept() on this listener. The EAGAIN that ends a drain is not.
 */
static __always_inline bool woken_for_nothing(struct acceptor *acceptor, __u64 slept)
{
	return slept != acceptor->served && slept != acceptor->idled;
}

static __always_inline void found_nothing(struct acceptor *acceptor, bool shared, __u64 slept,
					  bool waits)
{
	count(shared, &acceptor->empty, 1);
	if (shared)
		return;
	acceptor->wasted += !waits && woken_for_nothing(acceptor, slept);
	acceptor->idled = slept;
}

/* Failures other than EAGAIN, by errno. */
static __always_inline void failed_with(struct error_key *key, __u32 owner)
{
	struct tally *tally = error_get(key), first = {.owner = owner};

	if (!tally && share_take(owner, SHARED_ERRORS)) {
		if (error_add(key, &first))
			share_return(owner, SHARED_ERRORS);
		tally = error_get(key);
	}
	if (tally)
		add(&tally->count, 1);
	else
		lost_for(owner, SHARED_ERRORS, LOSS_ERRORS_FULL);
}

/* Without a connection that waits, a call without a free descriptor keeps nobody waiting. */
static __always_inline bool keeps_waiting(struct sock *listener, __u32 error)
{
	return (error == EMFILE || error == ENFILE) && BPF_CORE_READ(listener, sk_ack_backlog);
}

/* The same of an AF_UNIX listener. */
static __always_inline bool unix_keeps_waiting(struct sock *listener, __u32 error)
{
	return (error == EMFILE || error == ENFILE) && is_of_unix(PROBED, listener) &&
	       unix_queue_of(PROBED, listener);
}

/* `error` is positive; `waits`: the call may sleep, so what woke it was its own time limit. */
static __always_inline void failed(struct sock *listener, __u32 inode, __u32 error, bool waits)
{
	struct task task = task_now(PROBED);
	struct error_key key = {.error = error};
	struct acceptor *acceptor = acceptor_of(listener, inode, &task, &key.acceptor);

	if (!acceptor) {
		if (error != EAGAIN && wanted(PROBED, listener) && has_rows(listener))
			lost_for(owner_of(listener), SHARED_ACCEPTORS, LOSS_ERRORS_FULL);
		return;
	}
	if (error == EAGAIN) {
		found_nothing(acceptor, is_crew(&key.acceptor), task.slept, waits);
		return;
	}
	count(is_crew(&key.acceptor), &acceptor->failed, 1);
	event_failed(listener, inode, error);
	if (keeps_waiting(listener, error) || unix_keeps_waiting(listener, error))
		count(is_crew(&key.acceptor), &acceptor->refused, 1);
	failed_with(&key, acceptor->owner);
}

/*
 * For hooks that see only the entry of accept: a call that cannot sleep and took nothing until the
 * next one began has returned EAGAIN. User space adds the one still pending. Of a crew nobody knows
 * which call is the next.
 */
static __always_inline void entered(struct sock *listener, __u32 inode, bool cannot_sleep)
{
	struct task task = task_now(PROBED);
	struct acceptor_key key = {};
	struct acceptor *acceptor = acceptor_of(listener, inode, &task, &key);

	if (!acceptor || is_crew(&key))
		return;
	if (acceptor->pending != PENDING_NONE) {
		acceptor->empty++;
		acceptor->wasted += acceptor->pending == PENDING_WASTED;
		acceptor->idled = acceptor->entered;
	}
	acceptor->entered = task.slept;
	if (!cannot_sleep)
		acceptor->pending = PENDING_NONE;
	else if (woken_for_nothing(acceptor, task.slept))
		acceptor->pending = PENDING_WASTED;
	else
		acceptor->pending = PENDING_EMPTY;
}

#endif
