"""What each verdict, pattern, loss and column means, why it happens, and what people do about it.

`accepttrace explain` and docs/explain.md are made of it. A column's meaning stands in the tables
of columns. Sources of what is said of the kernel and of servers: ip-sysctl.rst, socket(7), tcp(7),
epoll_ctl(2), listen(2), and the manuals and change logs of the servers named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from accepttrace.model.who.diagnosis import ADVICE
from accepttrace.views.columns import tcp, udp
from accepttrace.views.columns.column import Column
from accepttrace.views.losses import LOST, NOT_LOST, OVERFLOW, SHARED, Cause

NEAR: Final = 5  # words, where none is the one asked for
Kind = Literal["verdict", "pattern", "loss", "missed", "who", "question", "remedy", "column", "udp"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A word as it is shown, and what there is to know of it.

    `why`: why it happens; of a remedy, where it helps. `do`: what people do about it; of a remedy,
    what it costs. Both may be empty. `names`: what else it is found by.
    """

    word: str
    kind: Kind
    means: str
    why: str = ""
    do: str = ""
    names: tuple[str, ...] = ()


class Note(NamedTuple):
    """What there is to add to the meaning of a column or a loss."""

    why: str = ""
    do: str = ""
    means: str = ""  # where no column says it
    word: str = ""  # the same
    names: tuple[str, ...] = ()


VERDICTS: Final = (
    Explanation(
        "FAIR",
        "verdict",
        "Nobody stands out: no worker of a shared socket, and no socket of a reuseport group, took"
        " 1.2 times its share by more than chance explains.",
        "A worker's share is that of the time in which it could take connections: who came later,"
        " has left or only holds the socket does not distort it.",
        "Nothing, about accepts. Fair accepts need not be fair load: OPEN and CPU show a worker"
        " whose connections last longer or cost more (see LONG-LIVED CONNECTIONS), WAIT one that"
        " is slow to accept.",
    ),
    Explanation(
        "UNEVEN",
        "verdict",
        "A worker took at least 1.2 times its share, or less than its share by as much. In a"
        " reuseport group it is said only if chance hardly ever does that, however often one"
        " looks. The line names who stands out most.",
        "On a shared socket the kernel does not take turns among epoll waiters (see LIFO), or a"
        " worker comes back late. In a group the hash repeats its draw for clients that use a"
        " source port again (the line says so); a program draws by its own rule (see SELECTOR).",
        "First see whether it hurts, by WAIT, QUEUE, OPEN and CPU: at low load it need not. Else a"
        " socket for each worker (REUSEPORT), or a server that deals out what it accepted"
        " (DISPATCH). In a group look for clients behind one proxy, and at WAIT of the worker"
        " named.",
    ),
    Explanation(
        "TOO FEW",
        "verdict",
        "Too few connections came to tell an uneven split from chance. The line has the number"
        " that shows a worker with twice its share.",
        "Few draws are uneven by nature: of 16 connections on 8 sockets one socket gets 4 or more"
        " 4 times in 5. Requests on a connection that is kept alive are no new connections.",
        "Watch longer, or make new connections. If clients keep theirs for hours, OPEN says more"
        " than accepts do (see LONG-LIVED CONNECTIONS).",
    ),
    Explanation(
        "ROUND ROBIN",
        "verdict",
        "The split is more even than chance would make it: somebody takes turns. As a pattern"
        " (--patterns): at least half of the accepts came after the same other worker as the last"
        " time that this one came after another, 1.2 times as many as chance would make, and nobody"
        " took 1.2 times its share.",
        "Threads that sleep in accept() are woken in the order in which they began to wait. In a"
        " reuseport group a BPF program may choose by turns, or the clients' addresses follow a"
        " pattern, as those of a load generator do.",
        "Nothing: by number it is the most even split. It counts connections, not work. On a"
        " shared socket a busy worker misses its turns; a program in a group may go on choosing"
        " one, whose clients then wait in its queue.",
    ),
    Explanation(
        "IDLE WORKERS",
        "verdict",
        "Some workers that wait for connections took none, while the others share evenly.",
        "There are more workers than the load needs, and the kernel wakes the same ones again (see"
        " LIFO); those at the end of the line get something only when all others are busy. Or a"
        " program chooses others (see SELECTOR).",
        "At low load nothing: they are the reserve, and cost memory. If WAIT or QUEUE is high"
        " meanwhile, they do not help where they should: `accepttrace who` says who waits, and in"
        " which system call.",
    ),
    Explanation(
        "UNEVEN OPEN",
        "verdict",
        "Accepts are even, but the connections that are open now are not.",
        "Connections live long (HTTP/2, gRPC, WebSockets, pools), and those of one worker ended"
        " less often; or it was there before the others were, and kept what it had.",
        "Load follows what is open, not what is accepted. See LONG-LIVED CONNECTIONS.",
    ),
    Explanation(
        "ONE ACCEPTOR",
        "verdict",
        "One process accepts all connections here.",
        "Many servers work so: PostgreSQL accepts in one process and forks, Node's cluster accepts"
        " in the primary and hands connections to its workers. Who accepts is then not who serves:"
        " OPEN shows who holds the connections. Where several wait on a shared socket, one is"
        " woken first each time, and is quick enough (see LIFO). Where workers take a lock before"
        " they accept, the one that has it takes all, and nobody else waits on the socket (see"
        " ACCEPT_MUTEX).",
        "Where it is the design, nothing, unless that process has used up its CPU: then more"
        " sockets spread the accepting (see REUSEPORT).",
    ),
    Explanation(
        "STUCK",
        "verdict",
        "Connections wait in a queue, the first for a second or more, and nobody took any in the"
        " last interval. The line has the length, the limit and who holds the socket.",
        "Its worker hangs, is stopped, or is busy with one long task; it has no free file"
        " descriptor (NO FD); or nobody serves it: a process that inherited the socket keeps it"
        " open after its worker has ended. In a reuseport group the kernel goes on choosing it.",
        "Find the holder (`accepttrace who`) and what it does (`strace -p`, /proc/PID/stack). Make"
        " it accept, or end it: the last close() resets those that wait, unless they can be moved"
        " (see TCP_MIGRATE_REQ). Close listening sockets in processes that do not serve them.",
    ),
    Explanation(
        "INCOMPLETE",
        "verdict",
        "No verdict: the tracer lost events, the books of a listener do not balance, or more than"
        " 5 % were accepted in a way that this attach type does not see. The counts are lower"
        " bounds.",
        "The header says what was lost: MAP FULL, PROBE MISS, RECURSION MISS, UNATTRIBUTED. Books"
        " that do not balance are shown below the table, with the amounts, and what was accepted"
        " unseen is in the summary, with who waits in io_uring.",
        "Trace less (--port, --pid), or by another attach type: `accepttrace doctor` says which"
        " there are, --attach chooses one. A verdict on counts that are known to be wrong would be"
        " worse than none.",
    ),
)

PATTERNS: Final = (
    Explanation(
        "LIFO",
        "pattern",
        "The worker that took the last connection tends to take the next one too, so a few take"
        " nearly all while load is light. --patterns says it where one worker on a shared socket"
        " took 90 % or more; who waited last is not measured.",
        "Processes that wait in one epoll set: the last to begin waiting is woken first. Those with"
        " sets of their own and EPOLLEXCLUSIVE: the first to have registered, if it is idle."
        " Without that flag all wake, and the quickest wins. Under load, when the first ones are"
        " busy, others get their part.",
        "Often nothing: short requests at low load do not suffer. It does harm where connections"
        " last: they pile up on one worker, with their memory. Then REUSEPORT or DISPATCH; fewer"
        " workers; blocking accept(), which goes by turns.",
        ("epoll order",),
    ),
    Explanation(
        "BURSTY",
        "pattern",
        "The totals may be even, but accepts come in runs: one worker takes several in a row, then"
        " another does. It is said where runs are 1.2 times as long on average as independent draws"
        " with the same shares make them, and chance does not explain it, however often one looks.",
        "A worker that is woken may take all that wait (nginx: multi_accept on). nginx since 1.21.6"
        " goes to the end of the line only every 16 accepts. Clients may come in bursts"
        " themselves.",
        "Nothing, while WAIT p99 is low. A run puts that many clients on one worker at a time: if"
        " they wait for each other, accept one at a time (multi_accept off, the default), or let"
        " the hash draw for each connection (REUSEPORT).",
        ("runs",),
    ),
    Explanation(
        "ANOTHER PATTERN",
        "pattern",
        "The order of accepts is not that of independent draws, but none of the named ones: some"
        " workers take turns and others seldom get one, or there are fewer repeats than by chance.",
        "A worker that has just taken a connection is busy with it, so the next one goes to"
        " another; with two that are quicker than the rest these two alternate.",
        "As for LIFO, if some get too much. The JSON has who took how many, and after whom"
        " (turns).",
        ("other",),
    ),
    Explanation(
        "NO PATTERN",
        "pattern",
        "The order of accepts is that of independent draws with these shares, or differs from it by"
        " too little for a word.",
        "The hash of a reuseport group draws so. On a shared socket it means that who comes next"
        " does not depend on who came last. The order is that in which accept() ends in each"
        " worker: on several CPUs at a time it may differ from that in which the queue was emptied."
        " Accepts that end at the very same time have no place in it; they are counted (raced).",
        "Nothing. Where the line says that no pattern is named, it says why: too few connections,"
        " or accepts that were not seen.",
        ("none", "raced"),
    ),
)

REMEDIES: Final = (
    Explanation(
        "REUSEPORT",
        "remedy",
        "Each worker has a listening socket of its own (SO_REUSEPORT); a hash of the client's"
        " address and port chooses. nginx: `listen 80 reuseport`; HAProxy: shards by-thread;"
        " Apache: ListenCoresBucketsRatio (one for several workers); gunicorn: --reuse-port.",
        "Many short connections: as even as chance allows, and no common queue to contend for.",
        "The hash does not know who is busy: the clients of a slow worker wait while others are"
        " idle, and the longest waits grow. Few connections spread badly (see TOO FEW). A socket"
        " that closes resets its queue (see TCP_MIGRATE_REQ). A server that sets the option and"
        " then forks, as older gunicorn, has one socket: `accepttrace who` shows it.",
        ("SO_REUSEPORT", "shards", "sharding"),
    ),
    Explanation(
        "EPOLLEXCLUSIVE",
        "remedy",
        "A flag of epoll_ctl(2), since Linux 4.5: a new connection wakes one waiter or a few, not"
        " all. Without it, and with poll() and select(), all workers wake for each connection, and"
        " all but one find nothing: the thundering herd (see WASTED).",
        "Many workers at low load, where the herd costs CPU. nginx uses it since 1.11.3.",
        "Those that registered first get most (see LIFO). nginx since 1.21.6 registers anew every"
        " 16 accepts, so that its totals are even (see BURSTY).",
        ("thundering herd", "herd", "epoll"),
    ),
    Explanation(
        "ACCEPT_MUTEX",
        "remedy",
        "Workers hold a lock while they accept. nginx: accept_mutex on (off by default since"
        " 1.11.3); uWSGI: --thunder-lock; Apache has a mutex of its own.",
        "No thundering herd, on any kernel.",
        "It does not make the split even: nginx gave it up as the default because one worker often"
        " took all connections. An nginx worker that finds it held tries again within"
        " accept_mutex_delay (500 ms), and those that wait for it are idle meanwhile. Sockets with"
        " reuseport do not use it.",
        ("mutex", "thunder-lock"),
    ),
    Explanation(
        "DISPATCH",
        "remedy",
        "The server accepts, and then chooses who gets the connection. Envoy: exact_balance in"
        " connection_balance_config; HAProxy: tune.listener.multi-queue (on: the least loaded"
        " thread; fair: by turns); Node's cluster: by turns, from the primary (the default).",
        "Few connections that last, as of HTTP/2 and gRPC, where neither the hash nor the order of"
        " waiting is even. Envoy counts open connections, not accepts.",
        "Work for each connection: Envoy holds a lock, and gives up some throughput of accepts."
        " accepttrace counts who accepts; who serves shows in OPEN, if it is another process.",
        ("exact_balance", "multi-queue", "tune.listener.multi-queue"),
    ),
    Explanation(
        "LONG-LIVED CONNECTIONS",
        "remedy",
        "A connection stays where it was accepted. If it lasts (keep-alive, HTTP/2, gRPC,"
        " WebSocket, database pools), even accepts may leave uneven OPEN and CPU, and a worker that"
        " started late has few. Limits on its life make clients come again: nginx"
        " keepalive_requests and keepalive_time, Envoy max_connection_duration, gRPC servers"
        " MAX_CONNECTION_AGE.",
        "Even accepts with uneven OPEN; new workers and new machines get their part.",
        "New handshakes, of TLS too; clients must be able to connect again. A limit on their number"
        " (HAProxy maxconn) leaves those above it in the accept queue, where they wait.",
        ("keepalive", "connection limits", "keepalive_requests"),
    ),
    Explanation(
        "BACKLOG",
        "remedy",
        "How many connections may wait to be accepted, and one more: what the server gave to"
        " listen(), at most net.core.somaxconn (4096 since Linux 5.4, 128 before). nginx asks for"
        " 511, uWSGI for 100 (--listen), gunicorn for 2048 (--backlog). Each socket of a reuseport"
        " group has its own.",
        "Bursts, and short pauses of the workers: nothing is dropped.",
        "It is no cure for overload: then it fills too, and everybody waits for as long as it takes"
        " to empty; clients that gave up are accepted all the same. somaxconn is looked at when the"
        " server calls listen(): restart it after a change.",
        ("somaxconn", "accept queue", "listen"),
    ),
    Explanation(
        "TCP_MIGRATE_REQ",
        "remedy",
        "net.ipv4.tcp_migrate_req=1 (since Linux 5.14, off by default): when a listener of a"
        " reuseport group closes, its queue and its half-open handshakes move to another socket of"
        " the group, at random, instead of being reset.",
        "Reloads with fewer workers, and workers that end: they count in IN and OUT, not in RESET.",
        "The sockets of a group should have the same options, else applications may break (the"
        " kernel's documentation). The last socket of a group has nowhere to move its queue. A BPF"
        " program of the group may choose the new socket, also without the setting.",
        ("net.ipv4.tcp_migrate_req", "migration"),
    ),
    Explanation(
        "TCP_ABORT_ON_OVERFLOW",
        "remedy",
        "net.ipv4.tcp_abort_on_overflow=1 (off by default): a final ACK that meets a full accept"
        " queue is answered with a reset instead of being ignored.",
        "Clients learn at once that they are not connected, and may go elsewhere.",
        "After a short burst they would have got in with the next ACK. The kernel's documentation:"
        " only if the server cannot be made to accept faster, for it can harm clients.",
        ("net.ipv4.tcp_abort_on_overflow",),
    ),
)

MISSED: Final = (
    Explanation(
        "EVENT",
        "missed",
        "Events that did not reach the tracer because their buffer was full.",
        "They come faster than they are read.",
        "Trace less: --port, --pid.",
        ("events_lost",),
    ),
    Explanation(
        "MAP FULL",
        "missed",
        "Counts for which a BPF map had no room.",
        "Maps have a fixed size, so that tracing cannot use up the kernel's memory. There are more"
        " sockets, threads or clients than that.",
        "Trace less: --port, --pid; or less of each connection: --detail accepts.",
    ),
    Explanation(
        "PROBE MISS",
        "missed",
        "Calls of a traced function for which the kernel did not run the probe.",
        "No kprobe runs while another does on that CPU, nor while somebody reads or writes a BPF"
        " map there by a system call; another tracer may be one.",
        "--attach fentry, where `accepttrace doctor` says that it works; end other tracers.",
        ("probe_misses",),
    ),
    Explanation(
        "RECURSION MISS",
        "missed",
        "Calls that the kernel passed over because the same program had been interrupted on that"
        " CPU.",
        "A trampoline or raw tracepoint does not run twice on a CPU. Kernels that preempt"
        " themselves (PREEMPT_RT; x86 from 7.0 on) interrupt it in the middle.",
        "--attach auto takes kprobes for what runs in processes there.",
        ("recursion_misses",),
    ),
    Explanation(
        "UNATTRIBUTED",
        "missed",
        "Accepts of which it is not known through which listener they came.",
        "A socket of the kernel itself has no inode. With the attach type `tracepoint` a descriptor"
        " was closed or used anew while its thread slept in accept(), and several listeners share"
        " the port.",
        "Another attach type, if `accepttrace doctor` has one.",
    ),
    Explanation(
        "SHARE USED UP",
        "missed",
        "Events of a user that were not counted, since that user's share of a BPF map was used up.",
        "Each user but root, and sockets in network namespaces that users made, have a part of"
        " each map, so that nobody can blind the tracer to the others.",
        "Look at what that user opens: it is nobody else's loss. A filter that leaves it out ends"
        " the message.",
        ("over_share",),
    ),
)

_FULL: Final = (
    "Clients come faster than the workers accept: a burst, or too few or too slow workers, or"
    " none that accepts (see STUCK)."
)
_ON_CLOSE: Final = (
    "A worker ended, a server stopped, or a reload left fewer workers. In a reuseport group each"
    " socket has a queue of its own, so it happens while the server goes on."
)
_COOKIE: Final = Cause("cookie", SHARED["cookie"][1])
# By the field of a Cause; those that are columns too have their meaning there.
LOSSES: Final[Mapping[str, Note]] = {
    "overflow_syn": Note(
        f"{_FULL} The client sends its SYN again, first after about a second, and sees a slow"
        " connect.",
        "Make the workers accept faster, or add some; for bursts a longer queue (see BACKLOG)."
        " Which sockets: `--by socket`.",
    ),
    "overflow_ack": Note(
        f"{_FULL} There was room when the handshake began. The client may send already; if the"
        " server is to speak first, it waits.",
        "As for SYNDROP. The kernel sends the SYN-ACK again, and the client gets in if there is"
        " room by then; or it is reset at once (see TCP_ABORT_ON_OVERFLOW).",
    ),
    "overflow_aborted": Note(
        "net.ipv4.tcp_abort_on_overflow is set, and the accept queue was full.",
        "As for ACKDROP; see TCP_ABORT_ON_OVERFLOW for what the setting is good for.",
    ),
    "overflow_peers": Note(
        "A client that is dropped tries again, so that packets are more than clients.",
        "Of a few clients with many packets: these suffer. See SYNDROP.",
    ),
    "dropped_syn_queue": Note(
        "Many SYNs whose last ACK does not come: a SYN flood, or clients that cannot be answered;"
        " or the backlog is small, since it limits half-open ones too.",
        "net.ipv4.tcp_syncookies=1, the default, answers them without remembering them (see"
        " COOKIES). If they are real clients: BACKLOG, net.ipv4.tcp_max_syn_backlog.",
        "SYNs that were dropped because too many handshakes were half-open, and SYN cookies are"
        " off.",
        "TOO MANY HALF-OPEN",
        ("syn flood", "tcp_max_syn_backlog"),
    ),
    "dropped_other": Note(
        "No memory, no route to the client, or a security module that refused it.",
        "`nstat -az`, `dmesg` and `perf trace -e skb:kfree_skb` may say more.",
        "Attempts that the kernel gave up, and no counter says why: ListenDrops less the causes"
        " that are known.",
        "CAUSE NOT KNOWN",
    ),
    "lost_on_close": Note(
        _ON_CLOSE,
        "Set tcp_migrate_req (see TCP_MIGRATE_REQ). Or do not close listeners: hand them to the"
        " next process, as nginx does at a reload with as many workers, HAProxy with expose-fd, and"
        " systemd's socket units. To accept what waits before closing makes the gap smaller.",
        names=("connections reset when the listener closed",),
    ),
    "migration_failed": Note(
        "tcp_migrate_req, or a program, was to move them, and no other socket of the group took"
        " them.",
        "As for RESET; see TCP_MIGRATE_REQ.",
        "Of the connections that were reset on close, those that the kernel tried to move to"
        " another socket of the group.",
        "FAILED TO MOVE",
    ),
    "half_open_lost": Note(
        _ON_CLOSE,
        "As for RESET: tcp_migrate_req moves them too.",
        "Handshakes that had begun at a listener, and were not finished when it closed. The"
        " client's final ACK finds no socket.",
        "CUT OFF ON CLOSE",
    ),
    "dropped_overflow": Note(
        f"{_FULL} This attach type does not see which of the two it was.",
        "As for SYNDROP.",
        "SYNs and final ACKs dropped because the queue was full, by the kernel's own counter"
        " (ListenOverflows).",
        "QUEUE FULL",
        ("ListenOverflows", "overflow"),
    ),
    "deferred": Note(
        "The server set TCP_DEFER_ACCEPT, as Apache does. It saves waking a worker for a client"
        " that sends nothing.",
        "Nothing, unless the server is to speak first: then both wait for the other, until the time"
        " given with the option is over. Such a server should not set it.",
        "Final ACKs without data, which the kernel did not let end the handshake: the connection is"
        " accepted when data come. No loss.",
        "TCP_DEFER_ACCEPT",
    ),
    "refused_accepts": Note(
        "The process has as many files open as it may (EMFILE), or the machine has (ENFILE): too"
        " many connections, or a leak. The connection stays in the queue, and a worker that tries"
        " again at once burns CPU.",
        "Raise the limit (systemd LimitNOFILE=, nginx worker_rlimit_nofile, fs.file-max), close"
        " idle connections sooner, or find the leak (ls -l /proc/PID/fd).",
        names=("EMFILE", "ENFILE"),
    ),
    "drops": Note(
        "It counts whatever the listener did not take: a final ACK at a full queue twice, each bare"
        " ACK under TCP_DEFER_ACCEPT, SYNs sent again. It is no count of clients.",
        "Read SYNDROP, ACKDROP and RESET instead.",
        names=("sk_drops",),
    ),
    "cookie": Note(
        "The cookie is too old, or was never given: stray or forged ACKs, or clients that were slow"
        " to answer while cookies were sent (see COOKIES).",
        "A few are harmless. Many, while COOKIES grows too: see there.",
        "Final ACKs for handshakes that the kernel does not remember and that have no good SYN"
        " cookie (SyncookiesFailed). They are reset.",
        "NO GOOD SYN COOKIE",
        ("SyncookiesFailed",),
    ),
}

_WAIT: Final = Note(
    "It runs from the end of the handshake to accept(). A connection waits while all workers are"
    " busy, or have no CPU; in a reuseport group, while its one worker is.",
    "Less work between two accepts, or more workers. If one socket of a group stands out, so does"
    " its worker: the others cannot help it (see REUSEPORT).",
)
_MEDIAN: Final = _WAIT._replace(names=("wait",))
_MOVED: Final = Note(
    "A listener of the group closed while connections waited in its queue.",
    "Nothing: none was lost. See TCP_MIGRATE_REQ.",
)
COLUMNS: Final[Mapping[str, Note]] = {
    "fair_ratio": Note(
        "1 is an even split over the time in which a worker could take connections. Chance alone"
        " spreads it: over 8 sockets the largest reaches 1.68 after 100 connections 1 time in 20,"
        " and 1.07 after 10,000.",
        "Read the verdict, which counts that in, before you act on it.",
    ),
    "recent_ratio": Note("As xFAIR: the fewer connections, the wider chance spreads it."),
    "open_connections": Note(
        "A worker may accept its share and hold more: its clients stay longer.",
        "See LONG-LIVED CONNECTIONS.",
    ),
    "cpu": Note(
        "Accepts count connections, not work. Near 100 % a process with one thread has no more to"
        " give, and its clients wait.",
        "Compare with OPEN and SHARE: even accepts with uneven CPU are clients that cost more.",
    ),
    "selector": Note(
        "hash: by the client's address and port. cbpf, ebpf: a program that the server gave to the"
        " group; what a classic one returns follows, where its few instructions show it (cpu"
        " modulo 4). incoming_cpu: the socket whose SO_INCOMING_CPU is the CPU that got the packet."
        " Only the hash is even by chance.",
        "With the others the shares follow the program, or how the network card spreads packets"
        " over CPUs: UNEVEN may be meant.",
    ),
    "selected": Note(
        "The kernel chooses the socket when the client's SYN comes, before anybody accepts: a"
        " worker that is slow or stuck goes on being chosen.",
        "Much more than ACCEPTS: look at QUEUE, SYNDROP, RESET, and at clients that do not end"
        " their handshakes.",
    ),
    "unseen": Note(
        "The attach type `tracepoint` does not see io_uring, threads of the kernel and 32-bit"
        " programs accept.",
        "Another attach type, if `accepttrace doctor` has one.",
    ),
    "queue": Note(
        "Workers are busy, or none accepts. A queue that is full drops who comes next.",
        "See BACKLOG and STUCK; LONGEST and MEAN have what happened between two looks.",
    ),
    "capacity": Note("Linux lets in one more than the backlog.", "See BACKLOG."),
    "oldest_wait_us": Note(
        "WAIT is counted when a connection is accepted, so a queue that nobody empties does not"
        " show in it.",
        "Of a second or more, while nobody accepts: see STUCK.",
    ),
    "wait_p50_us": _MEDIAN,
    "wait_p90_us": _WAIT,
    "wait_p99_us": _WAIT,
    "wait_max_us": _WAIT,
    "empty_accepts": Note(
        "A program that accepts until nothing is left ends each burst with one: that is no waste."
        " Woken for nothing is WASTED.",
    ),
    "wasted_wakeups": Note(
        "Several workers were woken for one connection: the thundering herd.",
        "It costs CPU, no connections. See EPOLLEXCLUSIVE, REUSEPORT and ACCEPT_MUTEX.",
    ),
    "cookies_sent": Note(
        "The queue of half-open handshakes was full: a SYN flood, many new clients at once, or a"
        " small backlog. Until the final ACK comes the kernel remembers nothing of the client.",
        "It is meant for floods, not for load, says the kernel's documentation. If these are real"
        " clients: BACKLOG, net.ipv4.tcp_max_syn_backlog.",
        names=("SYN cookies", "tcp_syncookies"),
    ),
    "dropped_overflow": Note(
        "Workers are busy, or none accepts, or the backlog is small. A client that does not block"
        " (nginx before php-fpm, libpq) is refused at once; one that blocks sleeps: see BLOCKED.",
        "As for SYNDROP: more workers, or a larger backlog (php-fpm listen.backlog, gunicorn"
        " --backlog) up to net.core.somaxconn.",
        names=("connections refused (queue full)", "EAGAIN of connect()"),
    ),
    "blocked": Note(
        "None of them is lost by that, but WAIT does not count the time: it begins when a"
        " connection comes into the queue.",
        "See REFUSED.",
        names=("connect() calls that slept until the queue had room",),
    ),
    "migrated_in": _MOVED,
    "migrated_out": _MOVED,
}
UDP: Final[Mapping[str, Note]] = {
    "dropped": Note(
        "Datagrams come faster than the owner reads, or in larger bursts than the buffer holds.",
        "A larger buffer (SO_RCVBUF, at most net.core.rmem_max) for bursts; more sockets, or"
        " reading several at a time (recvmmsg), for more load.",
    ),
}


QUESTIONS: Final = (
    Explanation(
        "WHO GETS IT",
        "question",
        "`accepttrace who --to ADDRESS:PORT`: the socket or the group to which the kernel gives a"
        " new connection, and why not to the others on the port.",
        "Sockets bound to the very address come before those bound to any. Then one bound to the"
        " device comes first, then one of IPv4 before a dual-stack one, then the last that began to"
        " listen; SO_INCOMING_CPU weighs as much as a device. The first with SO_REUSEPORT ends the"
        " search for its whole group. A BPF program (sk_lookup) runs before all this, rules of"
        " netfilter before that: both are named, and neither is predicted.",
        "If it is the wrong one: close the older or more specific socket, or bind to an address."
        " Which member of a group the hash chooses cannot be predicted: its key is secret.",
        ("--to", "lookup", "sk_lookup", "connection refused", "ECONNREFUSED"),
    ),
    Explanation(
        "ADDRESS ALREADY IN USE",
        "question",
        "`accepttrace who --why PORT`: who is in the way of a bind() to that port (EADDRINUSE), by"
        " which rule, and with which options it would work, each tried.",
        "Two sockets may have one port if their devices or addresses differ; any address covers all"
        " of its family, and IPv4 too unless IPV6_V6ONLY is set. Else both need SO_REUSEPORT and"
        " the same user, or both SO_REUSEADDR and the first must not listen: that is for what a"
        " server left behind, connections and TIME-WAIT, which have it from their listener.",
        "End what is in the way, or set the option that the answer names. SO_REUSEADDR must have"
        " been set before the restart already. It is tried in this cgroup: BPF programs and"
        " security modules may refuse a service what they allow here.",
        ("--why", "EADDRINUSE", "address in use", "bind"),
    ),
)


def everything() -> Iterator[Explanation]:
    """All words, by kind."""
    yield from VERDICTS
    yield from PATTERNS
    columns = {one.key: one for one in tcp.TABLE.columns}
    for cause in (*LOST, *NOT_LOST, _COOKIE):
        yield _loss(cause, columns.pop(cause.field, None))
    yield _loss(OVERFLOW, None)  # the column is that of UNIX sockets alone
    yield from MISSED
    for word, advice in ADVICE.items():
        yield Explanation(word, "who", *advice)
    yield from QUESTIONS
    yield from REMEDIES
    for key, column in columns.items():
        yield _column(column, "column", COLUMNS.get(key, Note()))
    for one in udp.TABLE.columns:
        yield _column(one, "udp", UDP.get(one.key, Note()))


def _loss(cause: Cause, column: Column[Any] | None) -> Explanation:
    """It is found by the words of a sentence about it, too."""
    note = LOSSES[cause.field]
    note = note._replace(names=(*note.names, cause.words))
    if column is not None:
        return _column(column, "loss", note)
    names = (cause.field, *note.names)
    return Explanation(note.word, "loss", note.means, note.why, note.do, names)


def _column(column: Column[Any], kind: Kind, note: Note) -> Explanation:
    """`wait p99` finds `wait_p99_us`."""
    names = (column.key, column.key.removesuffix("_us"), *note.names)
    return Explanation(column.title, kind, _sentence(column.help), note.why, note.do, names)


def _sentence(help: str) -> str:
    first = help.partition(" ")[0]
    return (help[0].upper() + help[1:] if first.isalpha() and first.islower() else help) + "."


def find(word: str) -> list[Explanation]:
    """All that this word may mean, without regard to case, spaces, dashes and underscores."""
    asked = _plain(word)
    return [one for one in everything() if asked in map(_plain, (one.word, *one.names))]


def near(word: str) -> list[str]:
    """Words that are like it, the nearest first; at most NEAR."""
    from difflib import get_close_matches

    asked = _plain(word)
    known: dict[str, str] = {}
    for one in everything():
        for name in (one.word, *one.names):
            known.setdefault(_plain(name), one.word)
    parts = [name for name in known if len(asked) > 2 and asked in name]
    like = [*get_close_matches(asked, known, n=NEAR), *parts]
    return list(dict.fromkeys(known[name] for name in like))[:NEAR]


def _plain(word: str) -> str:
    return word.casefold().translate({ord(char): None for char in " -_"})
