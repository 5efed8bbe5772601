"""A snapshot, with the totals of a run of months, as metrics: one table says which there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Final, Literal, NamedTuple

from accepttrace.facts.records import Losses
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.totals import (
    BOUNDS_US,
    ELSEWHERE,
    Belongs,
    Listening,
    Member,
    Naming,
    Site,
    Totals,
    Worker,
)
from accepttrace.model.verdict import WORDS, Word
from accepttrace.views.text import clean, clip

Kind = Literal["counter", "gauge", "histogram", "summary"]
Labels = tuple[str, ...]
NAME_CELLS: Final = 80  # of a worker's name
OF_LISTENER: Final = ("netns", "local_address", "local_port")
PART: Final[Mapping[Naming, tuple[str, ...]]] = {"name": (), "slot": ("slot",), "pid": ("pid",)}


@dataclass(frozen=True, slots=True)
class Metric:
    """One name; counters are written with `_total`. `labels`: beside those of `about`.

    `about`: what each series of it is about.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    about: Literal["worker", "listener", "tracer"] = "tracer"

    def label_names(self, naming: Naming) -> tuple[str, ...]:
        """All of them, in the order in which values stand in a sample."""
        own = {
            "worker": (*OF_LISTENER, "worker", *PART[naming]),
            "listener": OF_LISTENER,
            "tracer": (),
        }
        return (*own[self.about], *self.labels)

    @property
    def written(self) -> tuple[str, ...]:
        """The names of its series."""
        endings = {
            "counter": ("_total",),
            "gauge": ("",),
            "histogram": ("_bucket", "_count", "_sum"),
            "summary": ("_count", "_sum"),
        }
        return tuple(self.name + ending for ending in endings[self.kind])


def _of_worker(name: str, kind: Kind, help: str, *labels: str) -> Metric:
    return Metric(f"accepttrace_{name}", kind, help, labels, "worker")


def _of_listener(name: str, kind: Kind, help: str, *labels: str) -> Metric:
    return Metric(f"accepttrace_{name}", kind, help, labels, "listener")


def _of_tracer(name: str, kind: Kind, help: str, *labels: str) -> Metric:
    return Metric(f"accepttrace_{name}", kind, help, labels)


ACCEPTS: Final = _of_worker("accepts", "counter", "Connections accepted, by worker.")
OPEN: Final = _of_worker(
    *("open_connections", "gauge"),
    "Established connections of the listener's port that the worker holds, whoever accepted them.",
)
WORKER_PID: Final = _of_worker(
    *("worker_pid", "gauge"), "Process id of the worker that has this slot now."
)
WORKER_INFO: Final = _of_worker(
    *("worker_info", "gauge"),
    "1; labels say where the worker runs now: systemd unit, container, pod. Empty: in none.",
    *("unit", "container", "namespace", "pod"),
)
ACCEPTED: Final = _of_listener(
    *("listener_accepts", "counter"), "Connections accepted from the listener, by whomever."
)
WAIT: Final = _of_listener(
    *("accept_queue_wait_seconds", "histogram"),
    "Time that accepted connections had waited in the accept queue.",
)
ARRIVED: Final = _of_listener(
    *("connections", "counter"), "Connections established, whether or not they were accepted."
)
QUEUE: Final = _of_listener(
    *("accept_queue_length", "gauge"), "Connections that wait to be accepted now."
)
LIMIT: Final = _of_listener(
    *("accept_queue_limit", "gauge"), "Backlog of the listening sockets; each queue holds one more."
)
FULL: Final = _of_listener(
    *("accept_queues_full", "gauge"), "Listening sockets whose accept queue holds no more."
)
OLDEST: Final = _of_listener(
    *("accept_queue_oldest_wait_seconds", "gauge"),
    "How long the connection that waits longest has waited so far.",
)
SOCKETS: Final = _of_listener("listening_sockets", "gauge", "Listening sockets that are open.")
GROUP: Final = _of_listener(
    *("reuseport_group_size", "gauge"), "Sockets in SO_REUSEPORT groups at this address."
)
MEMBERS: Final = _of_listener(
    *("sharing_members", "gauge"),
    "Workers or sockets that share the connections here, as the verdict counts them.",
)
VERDICT: Final = _of_listener(
    *("verdict", "gauge"),
    "1 for what the split of connections is called over the window, 0 for all other words.",
    "verdict",
)
DROPS: Final = _of_listener(
    *("listen_drops", "counter"),
    "Attempts to connect that the kernel dropped, by reason; clients may try again.",
    "reason",
)
LOST: Final = _of_listener(
    *("connections_lost", "counter"),
    "Connections and handshakes that ended with their listener, unaccepted.",
    "reason",
)
MIGRATED: Final = _of_listener(
    *("connections_migrated", "counter"),
    "Queued connections that the kernel moved to or from other sockets of the group.",
    "direction",
)
REFUSED: Final = _of_listener(
    *("accepts_refused", "counter"),
    "Calls of accept() without a free file descriptor while a connection waited.",
)
SHARED_DROPS: Final = _of_tracer(
    *("namespace_drops", "counter"),
    "Attempts to connect dropped at one of several listeners, the kernel does not say which.",
    *("netns", "reason"),
)
EVENTS_LOST: Final = _of_tracer(
    *("events_lost", "counter"),
    "What the tracer itself missed, by stage; where it is not 0, counts are lower bounds.",
    "stage",
)
UNREAD: Final = _of_tracer(
    *("unread", "gauge"), "Processes and namespaces that could not be read at the last refresh."
)
REFRESHES: Final = _of_tracer(
    *("refresh_duration_seconds", "summary"), "Time that it took to read and sum up everything."
)
REFRESHED: Final = _of_tracer(
    *("last_refresh_timestamp_seconds", "gauge"), "When everything was read last, Unix time."
)
PROGRAM_RUNS: Final = _of_tracer(
    *("program_runs", "counter"),
    "How often a BPF program of the tracer ran, while kernel.bpf_stats_enabled was 1.",
    "program",
)
PROGRAM_TIME: Final = _of_tracer(
    *("program_seconds", "counter"),
    "Time that its runs took, while kernel.bpf_stats_enabled was 1.",
    "program",
)
OMITTED: Final = _of_tracer(
    *("omitted", "gauge"),
    "Listeners and workers that were left out, to keep to the limit of series.",
    "about",
)
BUILD: Final = _of_tracer(
    *("build_info", "gauge"),
    "Version of the tracer, and how it is attached to the kernel.",
    *("version", "attach", "loader"),
)

METRICS: Final = (
    *(ACCEPTS, OPEN, WORKER_PID, WORKER_INFO),
    *(ACCEPTED, WAIT, ARRIVED, QUEUE, LIMIT, FULL, OLDEST, SOCKETS, GROUP, MEMBERS, VERDICT),
    *(DROPS, LOST, MIGRATED, REFUSED, SHARED_DROPS),
    *(EVENTS_LOST, UNREAD, REFRESHES, REFRESHED, PROGRAM_RUNS, PROGRAM_TIME, OMITTED, BUILD),
)
DROP_REASONS: Final = {
    "overflow_syn": "queue_full_syn",
    "overflow_ack": "queue_full_ack",
    "dropped_overflow": "queue_full",  # where these two are not known apart
    "dropped_syn_queue": "syn_queue_full",
    "dropped_other": "other",
}
LOSS_REASONS: Final = {"lost_on_close": "listener_closed", "half_open_lost": "handshake_cut_off"}
SHARED_REASONS: Final = {
    "overflow": "queue_full",
    "syn_queue": "syn_queue_full",
    "other": "other",
    "cookie": "bad_syn_cookie",
}
DIRECTIONS: Final = {"migrated_in": "in", "migrated_out": "out"}
STAGES: Final[Mapping[str, Callable[[Losses], int | None]]] = {
    "event": lambda losses: losses.events_lost,
    "map_full": lambda losses: losses.map_full,
    "probe_miss": lambda losses: losses.probe_misses,
    "recursion_miss": lambda losses: losses.recursion_misses,
    "unattributed": lambda losses: losses.unattributed,
    "over_share": lambda losses: losses.over_share,
}


def markdown() -> str:
    """docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Made from the table in `tracer/accepttrace/views/metrics.py` by `make docs`; what serves"
        " them, and what to do with them, is in [exporter.md](exporter.md). What is not known has"
        " no series, never 0.",
        "",
        f"Labels of a listener: {_listed(OF_LISTENER)}. Of a worker these, `worker` (what the"
        " process calls itself), and `slot` or `pid`, as `--workers` asks for. Never a client.",
        "",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
        *map(_row, METRICS),
        "",
        "What the process costs is in `process_cpu_seconds_total`, `process_resident_memory_bytes`"
        " and the other `process_…` that all exporters have.",
        "",
    ]
    return "\n".join(lines)


def _row(metric: Metric) -> str:
    about = () if metric.about == "tracer" else (f"those of a {metric.about}",)
    labels = ", ".join((*about, *(f"`{name}`" for name in metric.labels)))
    ending = "_total" if metric.kind == "counter" else ""
    return f"| `{metric.name}{ending}` | {metric.kind} | {labels} | {metric.help} |"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


class Histogram(NamedTuple):
    """`buckets`: upper bounds (s, the last one "+Inf") with how many were at most so long."""

    buckets: tuple[tuple[str, int], ...]
    sum: float


class Summary(NamedTuple):
    """How many, and all of them added up."""

    number: int
    sum: float


class Sample(NamedTuple):
    """One series, or all of a histogram or summary."""

    metric: Metric
    labels: Labels
    value: float | Histogram | Summary

    @property
    def series(self) -> int:
        """How many it is written as."""
        if isinstance(self.value, Histogram):
            return len(self.value.buckets) + 2
        return 2 if isinstance(self.value, Summary) else 1


class Own(NamedTuple):
    """What the tracer says of itself. `at_s`: Unix time of the last refresh.

    `programs`: by BPF program, how often it ran and for how long (s), where the kernel measures it.
    """

    refreshes: int
    refreshing_s: float
    at_s: float
    programs: Mapping[str, tuple[int, float]]


def samples(snapshot: Snapshot, totals: Totals, own: Own, most: int) -> list[Sample]:
    """All series, not more than `most` of those about listeners and workers.

    Where they are too many, those stay that were there first: whoever comes later, and makes as
    many as it likes, takes nothing away from them.
    """
    kept, omitted = _within(_piles(snapshot, totals), most)
    left_out = (Sample(OMITTED, (about,), number) for about, number in omitted.items())
    return [*kept, *_of_run(snapshot, totals, own), *left_out]


class _Pile(NamedTuple):
    """What stands or falls together: all of one listener, or of one worker."""

    since_s: float
    about: Literal["listener", "worker"]
    make: Callable[[], list[Sample]]


def _within(piles: Iterable[_Pile], most: int) -> tuple[list[Sample], dict[str, int]]:
    """As many whole piles as there is room for, in their order; and how many are left, which are
    not made."""
    kept: list[Sample] = []
    omitted = {"listener": 0, "worker": 0}
    room = most
    for pile in piles:
        made = pile.make() if room >= 0 else []
        room -= sum(sample.series for sample in made)
        if room >= 0:
            kept += made
        else:
            omitted[pile.about] += 1
    return kept, omitted


def _piles(snapshot: Snapshot, totals: Totals) -> list[_Pile]:
    """The oldest first."""
    verdicts = _verdicts(snapshot)
    piles = [
        _Pile(known.since_s, "listener", partial(_of_site, site, totals, verdicts))
        for site, known in totals.sites.items()
        if totals.shows(site)
    ]
    workers: dict[Labels, list[Worker]] = {}
    for member, worker in totals.workers.items():
        workers.setdefault(_worker_labels(member, totals.naming), []).append(worker)
    piles += [
        _Pile(those[0].since_s, "worker", partial(_of_workers, labels, those, totals.naming))
        for labels, those in workers.items()
    ]
    return sorted(piles, key=attrgetter("since_s"))


def _of_site(site: Site, totals: Totals, verdicts: Mapping[Site, Sequence[Sample]]) -> list[Sample]:
    return [
        *_of_listening(site, totals),
        *_of_sockets(site, totals.sites[site]),
        *verdicts.get(site, ()),
    ]


def _of_workers(labels: Labels, those: Sequence[Worker], naming: Naming) -> list[Sample]:
    """As a rule one; names may differ in what is not shown of them."""
    found = [Sample(ACCEPTS, labels, sum(worker.accepts for worker in those))]
    held = [w.open_connections for w in those if w.open_connections is not None]
    if held:
        found.append(Sample(OPEN, labels, sum(held)))
    pids = [worker.pid for worker in those if worker.pid is not None]
    if naming == "slot" and len(pids) == 1:
        found.append(Sample(WORKER_PID, labels, pids[0]))
    (belongs, *others) = {worker.belongs for worker in those}
    if any(belongs) and not others:
        found.append(Sample(WORKER_INFO, (*labels, *_places(belongs)), 1))
    return found


def _places(belongs: Belongs) -> Labels:
    """Unit, container, namespace, pod. A pod without a known name goes by its uid."""
    namespace, _, pod = (belongs.pod or "").rpartition("/")
    return tuple(map(clean, (belongs.unit or "", belongs.container or "", namespace, pod)))


def _of_listening(site: Site, totals: Totals) -> Iterator[Sample]:
    """Counters of one address, that never go back."""
    where = _site_labels(site)
    known = {
        name: steady.values[site]
        for name, steady in totals.counters.items()
        if site in steady.values and site not in steady.unknown
    }
    if known.keys() & {"overflow_syn", "overflow_ack"}:
        known.pop("dropped_overflow", None)
    yield Sample(ACCEPTED, where, totals.sites[site].accepts)
    if "arrived" in known:
        yield Sample(ARRIVED, where, known["arrived"])
    if "refused_accepts" in known:
        yield Sample(REFUSED, where, known["refused_accepts"])
    for metric, words in ((DROPS, DROP_REASONS), (LOST, LOSS_REASONS), (MIGRATED, DIRECTIONS)):
        for name, word in words.items():
            if name in known:
                yield Sample(metric, (*where, word), known[name])
    waits = totals.wait_counts(site)
    if waits:
        yield Sample(WAIT, where, _histogram(waits, totals.waited_us.values.get(site, 0)))


def _histogram(octaves: list[int], sum_us: int) -> Histogram:
    running, buckets = 0, []
    for bound, number in zip((*BOUNDS_US, None), octaves, strict=True):
        running += number
        buckets.append(("+Inf" if bound is None else str(bound / 1e6), running))
    return Histogram(tuple(buckets), sum_us / 1e6)


def _of_sockets(site: Site, listening: Listening) -> Iterator[Sample]:
    """What is so now, of the sockets that are open."""
    rows, where = listening.rows, _site_labels(site)
    if not rows or site == ELSEWHERE:
        return
    times = [row.folded or 1 for row in rows]
    for metric, values in (
        (QUEUE, [row.queue for row in rows]),
        (LIMIT, [row.backlog for row in rows]),
    ):
        known = [
            value * number for value, number in zip(values, times, strict=True) if value is not None
        ]
        if len(known) == len(values):
            yield Sample(metric, where, sum(known))
    if all(row.queue is not None and row.capacity is not None for row in rows):
        yield Sample(FULL, where, sum(row.queue_full_s is not None for row in rows))
    oldest = [row.oldest_wait_us if row.queue else 0 for row in rows]
    if None not in oldest:
        yield Sample(OLDEST, where, max(us or 0 for us in oldest) / 1e6)
    yield Sample(SOCKETS, where, sum(times))
    sizes = {row.group: row.group_size for row in rows if row.group is not None}
    if sizes:
        yield Sample(GROUP, where, sum(size or 0 for size in sizes.values()))


def _verdicts(snapshot: Snapshot) -> dict[Site, list[Sample]]:
    """The gravest at each address."""
    found: dict[Site, list[Sample]] = {}
    for verdict in snapshot.verdicts:
        site = Site(verdict.netns, verdict.local_address, verdict.local_port)
        if verdict.local_address is not None and site not in found:
            where = _site_labels(site)
            found[site] = [
                Sample(MEMBERS, where, verdict.finding.members),
                *(
                    Sample(VERDICT, (*where, _word(word)), float(word == verdict.finding.word))
                    for word in WORDS
                ),
            ]
    return found


def _word(word: Word) -> str:
    return word.lower().replace(" ", "_")


def _of_run(snapshot: Snapshot, totals: Totals, own: Own) -> Iterator[Sample]:
    for (netns, cause), packets in totals.namespace_drops.items():
        yield Sample(SHARED_DROPS, (str(netns), SHARED_REASONS[cause]), packets)
    for stage, number in STAGES.items():
        lost = number(snapshot.books.losses)
        if lost is not None:
            yield Sample(EVENTS_LOST, (stage,), lost)
    meta = snapshot.meta
    yield Sample(UNREAD, (), len(snapshot.unread))
    yield Sample(REFRESHES, (), Summary(own.refreshes, own.refreshing_s))
    yield Sample(REFRESHED, (), own.at_s)
    for program, (runs, seconds) in own.programs.items():
        yield Sample(PROGRAM_RUNS, (program,), runs)
        yield Sample(PROGRAM_TIME, (program,), seconds)
    yield Sample(BUILD, (meta.version, meta.attach, meta.loader), 1)


def _site_labels(site: Site) -> Labels:
    if site == ELSEWHERE:
        return "other", "other", "other"
    return str(site.netns), clean(site.address or ""), str(site.port)


def _worker_labels(member: Member, naming: Naming) -> Labels:
    part = (member.part or "other",) if PART[naming] else ()
    return (*_site_labels(member.site), label(member.name), *part)


def label(name: str) -> str:
    """A name that others chose, harmless and not too long."""
    return clip(clean(name), NAME_CELLS)
