"""What stands around every view: losses that clients felt, the books, what moved, the footer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.config import By
from accepttrace.facts.records import STUCK_US, Losses, Program
from accepttrace.model.grains import GRAINS
from accepttrace.model.losses import verdict
from accepttrace.model.snapshot import Migration, NamespaceLoss, SelectorChange, Snapshot
from accepttrace.views import books, histogram, table
from accepttrace.views.losses import fullness, hidden, in_words, lost_by_clients
from accepttrace.views.text import Line, plain
from tests.unit.pictures import four_workers, reuseport, seen, troubled, unbalanced

Render = Callable[[Snapshot, int, "int | None"], "list[Line]"]
RENDERS: tuple[Render, ...] = (table.render, histogram.render)


def head(shown: str) -> str:
    """What stands above the table."""
    lines = shown.splitlines()
    return "\n".join(lines[: next((n for n, one in enumerate(lines) if "ACCEPTS" in one), 6)])


def text(snapshot: Snapshot, width: int = 400, height: int | None = None) -> str:
    return plain(table.render(snapshot, width, height, footer=False))


def ledger(snapshot: Snapshot) -> str:
    """What ends a run for those who want every number."""
    return plain(table.render(snapshot, 400, None, full=True))


def line(snapshot: Snapshot, begin: str, of: Callable[..., str] = text, **options: Any) -> str:
    """The one line that begins so."""
    (found,) = [one for one in of(snapshot, **options).splitlines() if one.startswith(begin)]
    return found.removeprefix(begin).strip()


def lossy(**facts: object) -> Snapshot:
    return seen(four_workers(), {100: facts})


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"overflow_syn": 1}, "1 SYN dropped (queue full)"),
        (
            {"overflow_syn": 48, "overflow_peers": 12},
            "48 SYNs dropped from 12 clients (queue full)",
        ),
        (
            {"overflow_ack": 3, "overflow_peers": 1},
            "3 final ACKs dropped from 1 client (queue full)",
        ),
        (
            {"overflow_ack": 3, "overflow_aborted": 2},
            "3 final ACKs dropped (queue full), 2 of the ACKs answered with a reset",
        ),
        ({"lost_on_close": 203}, "203 connections reset when the listener closed"),
        (
            {"lost_on_close": 5, "migration_failed": 2},
            "5 connections reset when the listener closed (2 failed to move)",
        ),
        (
            {"overflow_syn": None, "overflow_ack": None, "dropped_overflow": 7},
            "7 SYNs or final ACKs dropped (queue full)",
        ),
        (
            {"overflow_syn": None, "overflow_ack": None, "dropped_overflow": 1},
            "1 SYN or final ACK dropped (queue full)",
        ),
        ({"half_open_lost": 1}, "1 half-open handshake cut off when the listener closed"),
        ({"dropped_syn_queue": 2}, "2 SYNs dropped (too many half-open)"),
        ({"dropped_other": 1}, "1 attempt dropped (cause not known)"),
    ],
)
def test_a_loss_is_named_by_its_cause(facts: dict[str, object], words: str) -> None:
    assert line(lossy(**facts), "lost on 0.0.0.0:80:") == words


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"drops": 9},  # where every cause is known, the kernel's own count is none
        {"drops": 2000, "deferred": 2000},
        {"refused_accepts": 12},
        {"overflow_syn": None, "lost_on_close": None, "refused_accepts": None, "drops": None},
        {"migrated_in": 5, "unseen": 3},
    ],
)
def test_without_a_loss_there_is_no_such_line(facts: dict[str, object]) -> None:
    shown = text(lossy(**facts))
    assert "lost on" not in shown
    assert "nothing lost" in shown
    assert "LOSSES" not in shown


def test_accepts_that_have_to_be_called_again_are_a_delay() -> None:
    shown = lossy(refused_accepts=12)
    assert line(shown, "delayed on 0.0.0.0:80:") == (
        "12 accept() calls without a free file descriptor (EMFILE, ENFILE)"
    )
    assert "not lost: 0 final ACKs put off until data come (TCP_DEFER_ACCEPT), 12 accept()" in (
        ledger(shown)
    )


def test_a_full_queue_is_said_in_every_width() -> None:
    shown = replace(lossy(queue=21, capacity=21, queue_full_s=10.0), elapsed_s=30.0)
    assert line(shown, "queue full on 0.0.0.0:80:") == ("21 of 21 connections wait for 10s")
    assert "queue full (21 of 21) for 10s" in head(text(shown, width=80))
    assert "queue full on 0.0.0.0:80: 21 of 21" in text(shown, width=80, height=24)
    assert "full on" not in text(lossy(queue=20, capacity=21, queue_full_s=None))
    always = lossy(queue=21, capacity=21, queue_full_s=four_workers().elapsed_s)
    assert line(always, "queue full on 0.0.0.0:80:").endswith("wait all the time")
    two = seen(reuseport((1, 1)), {200: {"queue": 5, "capacity": 5, "queue_full_s": 0.0}})
    assert line(two, "queue full on 0.0.0.0:80:") == ("5 of 5 connections wait at 1 of 2 sockets")


def of_unix(**facts: object) -> Snapshot:
    """Of a UNIX socket, by an attach type that sees all of it."""
    snapshot = lossy(**facts)
    (row,) = snapshot.listeners
    row = replace(row, family="unix", local_address="/s", overflow_syn=None, overflow_ack=None)
    return replace(
        snapshot, listeners=(row,), meta=replace(snapshot.meta, protocol="unix", filter="/s")
    )


def test_of_a_unix_socket_connections_are_refused_and_callers_sleep() -> None:
    one = of_unix(dropped_overflow=1, lost_on_close=2)
    said = "1 connection refused (queue full), 2 connections reset when the listener closed"
    assert line(one, "lost on /s:") == lost_by_clients(one) == said
    some = of_unix(dropped_overflow=5, counted={"blocked": 3})
    assert lost_by_clients(some) == "5 connections refused (queue full)"
    assert line(some, "delayed on /s:") == "3 connect() calls slept until the queue had room"
    assert "delayed" not in text(of_unix(counted={"blocked": 0}))
    none = line(of_unix(counted={"blocked": 0}), "not lost:", ledger)
    assert "0 connect() calls that slept until the queue had room" in none


def test_where_nobody_listens_no_syn_is_missed_of_unix_sockets() -> None:
    """Their causes alone, as where somebody does."""
    causes = set(hidden(replace(of_unix(), listeners=())))
    assert causes == {"connections refused (queue full)", "connections reset on close"}


def test_who_was_not_accepted_for_long_is_told_of() -> None:
    facts = {200: {"queue": 2}, 201: {"queue": 3}, 202: {"queue": 0}}
    snapshot = seen(reuseport((1, 1, 1)), facts)

    def waiting(*oldest: int | None) -> Snapshot:
        rows = zip(snapshot.listeners, (*oldest, None), strict=True)
        listeners = tuple(replace(row, oldest_wait_us=us) for row, us in rows)
        return replace(snapshot, listeners=listeners)

    begin = "waiting on 0.0.0.0:80:"
    assert line(waiting(None, STUCK_US), begin).startswith(
        "5 connections not accepted yet, the first for at least "
    )
    assert begin not in text(waiting(None, STUCK_US - 1))
    assert line(waiting(7 * STUCK_US, STUCK_US), begin).endswith("at least 7.0s (socket 200)")


def test_clients_that_have_to_send_first_are_named() -> None:
    assert line(lossy(half_open=10, defer_accept=True), "deferred on 0.0.0.0:80") == (
        "(TCP_DEFER_ACCEPT): 10 clients half-open, accepted once data come"
    )
    assert "deferred on" not in text(lossy(half_open=10, defer_accept=False))
    assert "deferred on" not in text(lossy(half_open=0, defer_accept=True))


def test_drops_without_a_known_cause_may_have_been_losses() -> None:
    shown = lossy(drops=7, dropped_unclear=7, dropped_other=None)
    assert line(shown, "perhaps lost on 0.0.0.0:80:") == "7 packets dropped, cause not known"
    assert "losses not clear: see below" in head(text(shown))
    assert "nothing lost" not in text(shown)
    assert verdict(shown) == "unclear"


@pytest.mark.parametrize(
    ("loss", "head", "words"),
    [
        (
            NamespaceLoss(9, "overflow", 48, (200, 201), sure=True),
            "lost on 0.0.0.0:80 or 0.0.0.0:81:",
            "48 SYNs or final ACKs dropped (queue full)",
        ),
        (
            NamespaceLoss(9, "syn_queue", 1, (201,), sure=False),
            "perhaps lost on 0.0.0.0:81, or elsewhere in netns 9:",
            "1 SYN dropped (too many half-open)",
        ),
        (
            NamespaceLoss(9, "cookie", 2, (200,), sure=False),
            "perhaps lost on 0.0.0.0:80, or elsewhere in netns 9:",
            "2 final ACKs without a good SYN cookie",
        ),
        (
            NamespaceLoss(9, "other", 2, (200,), sure=False),
            "perhaps lost on 0.0.0.0:80, or elsewhere in netns 9:",
            "2 attempts dropped (cause not known)",
        ),
    ],
)
def test_a_loss_of_one_of_several_names_them_all(
    loss: NamespaceLoss, head: str, words: str
) -> None:
    one, two = seen(reuseport((1, 1))).listeners
    both = (one, replace(two, local_port=81))
    snapshot = replace(seen(reuseport((1, 1))), listeners=both, namespace_losses=(loss,))
    assert line(snapshot, head) == words
    assert verdict(snapshot) == ("lost" if loss.sure else "unclear")
    assert "nothing lost" not in text(snapshot)


@pytest.mark.parametrize(
    ("packets", "sure", "words"),
    [
        (1, True, "1 SYN dropped (too many half-open)"),
        (2, True, "2 SYNs dropped (too many half-open)"),
        (1000, True, "1,000 SYNs dropped (too many half-open)"),
        (1000, False, ""),
    ],
)
def test_in_a_few_words_one_packet_is_one(packets: int, sure: bool, words: str) -> None:
    lost = (NamespaceLoss(9, "syn_queue", packets, (200,), sure),)
    assert lost_by_clients(replace(seen(four_workers()), namespace_losses=lost)) == words


def test_many_addresses_are_counted() -> None:
    snapshot = seen(reuseport((1,) * 5))
    rows = tuple(replace(row, local_port=80 + n) for n, row in enumerate(snapshot.listeners))
    loss = NamespaceLoss(9, "overflow", 2, (200, 201, 202, 203, 204), sure=True)
    snapshot = replace(snapshot, listeners=rows, namespace_losses=(loss,))
    assert line(snapshot, "lost on one of 5 addresses:").startswith("2 SYNs or final ACKs")


@pytest.mark.parametrize("render", RENDERS)
@pytest.mark.parametrize("by", GRAINS)
@pytest.mark.parametrize("height", [24, 40, None])
def test_a_loss_is_in_every_view(render: Render, by: By, height: int | None) -> None:
    shown = plain(render(troubled(by), 80, height))
    assert ("LOSSES BELOW" in head(shown)) == (height is not None)
    assert "nothing lost" not in shown
    assert "lost nothing" not in shown.replace("The tracer lost nothing", "")
    joined = " ".join(shown.split())
    assert "lost on 0.0.0.0:80: 48 SYNs and 3 final ACKs dropped from 12 clients" in joined
    assert "203 connections reset when the listener closed (3 failed to move)" in joined
    assert "12 accept() calls without a free file descriptor (EMFILE, ENFILE)" in joined
    assert "5 connections and 1 half-open request from inode 201 to inode 200" in joined


def test_sockets_of_one_address_lose_together_and_others_apart() -> None:
    snapshot = reuseport((1, 1, 1))
    facts = {
        200: {"overflow_syn": 5, "overflow_peers": 2},
        201: {"overflow_syn": 4, "overflow_peers": 1},
        202: {"overflow_syn": 3, "overflow_peers": 1},
    }
    one, two, three = seen(snapshot, facts).listeners
    other = replace(three, local_address="::1", family="ipv6", local_port=443)
    snapshot = replace(snapshot, listeners=(one, two, other))
    # One client may be behind both of the first two.
    assert line(snapshot, "lost on 0.0.0.0:80:") == (
        "9 SYNs dropped from up to 3 clients (queue full)"
    )
    assert line(snapshot, "lost on [::1]:443:") == "3 SYNs dropped from 1 client (queue full)"


def test_the_same_address_in_two_namespaces_is_kept_apart() -> None:
    facts = {200: {"lost_on_close": 1}, 201: {"lost_on_close": 2}}
    one, two = seen(reuseport((1, 1)), facts).listeners
    snapshot = replace(reuseport((1, 1)), listeners=(one, replace(two, netns=7)))
    assert line(snapshot, "lost on 0.0.0.0:80 in netns 7:").startswith("2 connections reset")


def test_the_tracers_own_losses_are_not_those_of_clients() -> None:
    both = seen(four_workers(losses=Losses(map_full=3)), {100: {"lost_on_close": 1}})
    assert "LOST by the tracer: 3 map full  LOSSES BELOW" in head(text(both))


def test_a_long_list_leaves_room_for_the_table() -> None:
    snapshot = seen(
        reuseport((1,) * 40),
        {200 + own: {"lost_on_close": own + 1} for own in range(40)},
    )
    rows = tuple(
        replace(row, local_port=8000 + number) for number, row in enumerate(snapshot.listeners)
    )
    snapshot = replace(snapshot, listeners=rows)
    lines = text(snapshot, 80, 24).splitlines()
    said = [one for one in lines if one.startswith("lost on")]
    assert len(said) == 7
    assert "… 33 more lines of this in the summary at the end" in lines
    assert sum("nginx: worker" in one for one in lines) > 8
    assert text(snapshot).count("lost on") == 40


@pytest.mark.parametrize(
    ("addresses", "height", "said", "more"),
    [(8, 24, 8, 0), (9, 24, 7, 2), (4, 12, 4, 0), (5, 12, 3, 2)],
)
def test_what_is_below_takes_a_third_of_the_window(
    addresses: int, height: int, said: int, more: int
) -> None:
    lost = {200 + own: {"lost_on_close": 1} for own in range(addresses)}
    snapshot = seen(reuseport((1,) * addresses), lost)
    rows = tuple(replace(row, local_port=8000 + (row.inode or 0)) for row in snapshot.listeners)
    lines = text(replace(snapshot, listeners=rows), 80, height).splitlines()
    assert sum(one.startswith("lost on") for one in lines) == said
    left_out = [one for one in lines if "more lines of this" in one]
    assert left_out == [f"… {more} more lines of this in the summary at the end"] * bool(more)


@pytest.mark.parametrize(
    ("snapshot", "word"),
    [
        (four_workers(), "books unchecked"),
        (seen(four_workers()), "books balanced"),
        (unbalanced(), "books UNBALANCED"),
    ],
)
def test_the_books_are_one_word_in_the_header(snapshot: Snapshot, word: str) -> None:
    for width in (80, 120):
        assert word in head(text(snapshot, width))


def test_only_books_that_balance_look_like_the_rest_of_the_header() -> None:
    styles = {books.word(snapshot.books)[1] for snapshot in (four_workers(), unbalanced())}
    assert styles == {"dim", "bold red"}
    assert books.word(seen(four_workers()).books) == ("books balanced", "")


def test_books_that_balance_are_not_spoken_of_below() -> None:
    assert "books of" not in text(seen(four_workers()))
    assert "books of" not in text(four_workers())


def test_the_amounts_are_reported_where_the_books_do_not_balance() -> None:
    assert line(unbalanced(), "books of 0.0.0.0:80 inode 100:", height=24) == (
        "200 at start + 809 arrived, but 1,000 accepted + 2 waiting + 0 lost: 7 unaccounted for"
    )


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"imbalance": -7, "migrated_out": 3},
            "0 at start + 998 arrived,"
            " but 1,000 accepted + 2 waiting + 0 lost + 3 moved out: 7 more than came",
        ),
        (
            {"imbalance": 1, "unseen": 4, "migrated_in": 2},
            "0 at start + 1,005 arrived + 2 moved in,"
            " but 1,000 accepted + 4 accepted unseen + 2 waiting + 0 lost: 1 unaccounted for",
        ),
        (
            {"imbalance": 2, "open": False, "queue": None, "lost_on_close": 9},
            "0 at start + 1,011 arrived,"
            " but 1,000 accepted + 0 waiting + 9 lost: 2 unaccounted for",
        ),
    ],
)
def test_the_sentence_of_a_book(facts: dict[str, Any], words: str) -> None:
    (row,) = seen(four_workers(), {100: {**facts, "book": "unbalanced"}}).listeners
    snapshot = replace(four_workers(), listeners=(row,))
    assert line(snapshot, "books of 0.0.0.0:80 inode 100:", height=24) == words


def test_under_load_the_amounts_bound_the_difference() -> None:
    row = replace(unbalanced().listeners[0], imbalance=5)
    assert line(replace(unbalanced(), listeners=(row,)), "books of").endswith(
        "lost: at least 5 unaccounted for"
    )


def test_a_difference_that_is_not_known_is_not_made_up() -> None:
    row = replace(unbalanced().listeners[0], arrived=None, imbalance=None)
    assert line(replace(unbalanced(), listeners=(row,)), "books of 0.0.0.0:80 inode 100:") == (
        "200 at start + n/a arrived, but 1,000 accepted + 2 waiting + 0 lost:"
        " the difference is not known"
    )


def test_the_footer_names_every_cause_also_at_zero() -> None:
    shown = ledger(seen(four_workers()))
    assert (
        "books balanced: came 0 at start + 1,002 arrived + 0 moved in, went 1,000 accepted"
        " + 0 accepted unseen + 2 waiting + 0 lost + 0 moved out\n"
        "lost by clients: 0 SYNs dropped (queue full), 0 final ACKs dropped (queue full), 0 of"
        " these ACKs answered with a reset, 0 clients that sent them, 0 SYNs dropped (too many"
        " half-open), 0 attempts dropped (cause not known), 0 connections reset on close, 0 of"
        " these failed to move, 0 half-open handshakes cut off on close\n"
        "not lost: 0 final ACKs put off until data come (TCP_DEFER_ACCEPT), 0 accept() calls"
        " without a file descriptor, 0 packets dropped in all by the kernel's own count\n"
        "lost by the tracer: 0 events, 0 map full, 0 probe misses, 0 recursion misses,"
        " 0 unattributed\n"
    ) in shown
    assert "lost by" not in text(seen(four_workers()), height=24)
    assert "lost by" not in plain(table.render(seen(four_workers()), 400, None))


def test_the_footer_says_na_where_a_cause_is_not_visible() -> None:
    footer = line(four_workers(), "lost by clients:", of=ledger)
    assert footer == (
        "n/a: SYNs dropped (queue full), final ACKs dropped (queue full), clients that sent them,"
        " SYNs dropped (too many half-open), attempts dropped (cause not known), connections reset"
        " on close, half-open handshakes cut off on close"
    )
    assert line(four_workers(), "not lost:", of=ledger) == (
        "n/a: final ACKs put off until data come (TCP_DEFER_ACCEPT), accept() calls without a file"
        " descriptor, packets dropped in all by the kernel's own count"
    )
    sums = {"overflow_syn": None, "overflow_ack": None, "dropped_overflow": 7}
    assert line(lossy(**sums), "lost by clients:", of=ledger).startswith(
        "7 SYNs or final ACKs dropped (queue full), 0 of these ACKs"
    )
    assert line(four_workers(), "books unchecked:", of=ledger) == (
        "went 1,000 accepted + 2 waiting, n/a: at start, arrived, moved in, accepted unseen,"
        " lost, moved out"
    )
    assert line(unbalanced(), "books unbalanced:", of=ledger).startswith(
        "came 200 at start + 809 arrived"
    )


def test_the_footer_knows_of_the_unseen_also_where_no_listener_can_be_blamed() -> None:
    snapshot = seen(reuseport((1, 1)), {200: {"unseen": None}, 201: {"unseen": None}})
    snapshot = replace(snapshot, books=replace(snapshot.books, unseen=7))
    assert "+ 7 accepted unseen" in line(snapshot, "books balanced:", of=ledger)


def test_the_footer_adds_up_all_listeners_and_the_unknown_makes_it_unknown() -> None:
    snapshot = seen(reuseport((1, 1)), {200: {"overflow_syn": 5}, 201: {"overflow_syn": 4}})
    assert line(snapshot, "lost by clients:", of=ledger).startswith("9 SYNs")
    snapshot = seen(reuseport((1, 1)), {200: {"overflow_syn": 5}, 201: {"overflow_syn": None}})
    assert line(snapshot, "lost by clients:", of=ledger).startswith("0 final ACKs")
    assert ", n/a: SYNs dropped (queue full)" in line(snapshot, "lost by clients:", of=ledger)


def test_moves_are_reported_also_where_the_end_is_unknown() -> None:
    moves = (Migration(5, 6, 1, 0), Migration(5, 0, 0, 2), Migration(7, 8, 0, 0))
    assert line(replace(four_workers(), migrations=moves), "moved by the kernel:") == (
        "1 connection from inode 5 to inode 6,"
        " 2 half-open requests from inode 5 to a listener that is gone"
    )
    assert "moved by" not in text(replace(four_workers(), migrations=moves[2:]))


def test_what_chose_is_reported_where_it_was_not_the_hash() -> None:
    steer, other = Program(5, "steer"), Program(6, "other")
    history = (
        SelectorChange(0.0, "hash"),
        SelectorChange(61.0, "ebpf", steer),
        SelectorChange(62.5, "ebpf", other),
        SelectorChange(65.4, "hash"),
    )
    snapshot = seen(
        reuseport((1, 1)), {200: {"selectors": history[3:]}, 201: {"selectors": history}}
    )
    assert line(snapshot, "group 7 on 0.0.0.0:80 chosen by:") == (
        "hash, ebpf 5 steer from 1m01s on, ebpf 6 other from 1m02s on, hash from 1m05s on,"
        " so shares need not be even"
    )
    hashed = replace(snapshot.listeners[0], group=6)
    both = replace(snapshot, listeners=(hashed, *snapshot.listeners))
    assert line(both, "group 7 on 0.0.0.0:80 chosen by:").startswith("hash, ebpf 5 steer")
    steady = seen(reuseport((1, 1)), {200: {"selectors": history[:1]}})
    assert "chosen by" not in text(steady)
    pinned = seen(reuseport((1, 1)), {200: {"selectors": (SelectorChange(0, "incoming_cpu"),)}})
    assert line(pinned, "group 7 on 0.0.0.0:80 chosen by:") == (
        "incoming_cpu, so shares need not be even"
    )


def test_accepts_without_a_known_listener_say_how_that_can_be() -> None:
    begin = "3 accepts from a listener that is not known:"
    snapshot = four_workers(losses=Losses(unattributed=3))
    assert line(snapshot, begin).startswith("a socket of the kernel itself has no inode, or a desc")
    by_hooks = replace(snapshot, meta=replace(snapshot.meta, attach="fentry"))
    assert line(by_hooks, begin) == "a socket of the kernel itself has no inode"


def test_who_waits_in_io_uring_is_named_for_accepts_unseen() -> None:
    snapshot = seen(four_workers(), {100: {"unseen": 12}})
    (row,) = snapshot.listeners
    first, *others = row.holders
    ring = replace(first, pid=9, name="ur\x1b", waits=True, waits_in="io_uring")
    waiting = {"unseen": 12, "holders": (ring, *others)}
    begin = "12 connections accepted unseen:"
    assert line(seen(four_workers(), {100: waiting}), begin) == (
        "ur? (pid 9), which waits in io_uring"
    )
    assert line(snapshot, begin) == "io_uring, the kernel, or a 32-bit program"


def test_who_waits_in_io_uring_elsewhere_is_not_blamed() -> None:
    """Of each listener whose accepts are all seen; the others' waiters are named by PID."""
    one, two = seen(reuseport((1, 1)), {200: {"unseen": 0}, 201: {"unseen": 3}}).listeners
    rings = [replace(one.holders[0], pid=pid, name="u", waits_in="io_uring") for pid in (9, 8, 7)]
    snapshot = seen(reuseport((1, 1)))
    snapshot = replace(snapshot, books=replace(snapshot.books, unseen=3, unseen_at_least=True))

    def named(*unseen: int | None) -> str:
        rows = (
            replace(one, unseen=unseen[0], holders=(rings[0],)),
            replace(two, unseen=unseen[1], holders=(rings[1], rings[2], rings[1])),
        )
        shown = replace(snapshot, listeners=rows)
        return line(shown, "at least 3 connections accepted unseen:")

    words = [f"u (pid {pid}), which waits in io_uring" for pid in (7, 8, 9)]
    assert named(0, 3) == ", ".join(words[:2])
    assert named(None, 3) == ", ".join(words)
    assert named(3, 0) == words[2]


def test_accepts_of_somebody_unseen_are_reported() -> None:
    assert line(lossy(unseen=12), "12 connections accepted unseen:") == (
        "io_uring, the kernel, or a 32-bit program"
    )


def test_accepts_by_workers_without_a_row_are_reported() -> None:
    """Only a tracepoint does not know for sure which socket a descriptor named."""
    snapshot = seen(four_workers())
    begin = "3 connections accepted by workers without a row:"
    assert begin not in text(snapshot)
    snapshot = replace(snapshot, books=replace(snapshot.books, uncounted=3))
    for attach, words in (
        ("fentry", "more than the tracer has room for"),
        ("uprobe", "more than the tracer has room for"),
        (
            "tracepoint",
            "more than the tracer has room for, or their descriptor was closed or used anew while"
            " they slept in accept()",
        ),
    ):
        meta = replace(snapshot.meta, attach=attach)
        assert line(replace(snapshot, meta=meta), begin) == words


def test_no_meaning_is_in_colour_alone() -> None:
    """Whatever is red says so in capitals, or says what was lost."""
    for snapshot in (troubled(), unbalanced(), four_workers(losses=Losses(map_full=1))):
        for one in table.render(snapshot, 120, 40):
            red = "".join(words for words, style in one if "red" in style)
            assert not red or red.upper() == red or red.startswith(("LOST", "books", "lost", " "))


@pytest.mark.parametrize("view", [table, histogram])
def test_between_two_intervals_no_footer_is_printed(view: Any) -> None:
    body = plain(view.render(troubled(), 120, None, footer=False))
    assert "lost on" in body
    whole = plain(view.render(troubled(), 120, None))
    assert whole.splitlines()[0] == body.splitlines()[0]
    assert "\nThe tracer lost nothing.\n" in whole
    assert "The tracer" not in body


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ({}, []),
        ({"dropped_overflow": 0, "cookie": 0, "lost_on_close": 0}, []),
        ({"overflow_syn": 2}, ["2 SYNs dropped (queue full)"]),
        (
            {"overflow_syn": 1, "overflow_ack": 1234, "overflow_aborted": 1000},
            [
                "1 SYN and 1,234 final ACKs dropped (queue full)",
                "1,000 of the ACKs answered with a reset",
            ],
        ),
        (
            {"dropped_overflow": 3, "overflow_syn": 1, "overflow_ack": 1},
            ["3 SYNs or final ACKs dropped (queue full)"],
        ),
        ({"cookie": 1}, ["1 final ACK without a good SYN cookie"]),
        ({"cookie": 1200}, ["1,200 final ACKs without a good SYN cookie"]),
        (
            {"lost_on_close": 1, "migration_failed": 0, "half_open_lost": 2},
            [
                "1 connection reset when the listener closed",
                "2 half-open handshakes cut off when the listener closed",
            ],
        ),
        (
            {"dropped_syn_queue": 1, "dropped_other": 2},
            ["1 SYN dropped (too many half-open)", "2 attempts dropped (cause not known)"],
        ),
    ],
)
def test_amounts_are_in_words(lost: dict[str, int], words: list[str]) -> None:
    assert in_words(lost) == words


def test_the_longest_wait_and_fullness_count() -> None:
    """Of several queues that are full, the one that has been so for the longest time."""
    facts: dict[int, dict[str, Any]] = {
        200: {"queue": 5, "capacity": 5, "queue_full_s": 0.9},
        201: {"queue": 7, "capacity": 8, "queue_full_s": None},
        202: {"queue": 6, "capacity": 6, "queue_full_s": 1.0},
    }
    snapshot = replace(seen(reuseport((1, 1, 1)), facts), elapsed_s=30.0)
    begin = "queue full on 0.0.0.0:80:"
    assert line(snapshot, begin) == "11 of 11 connections wait at 2 of 3 sockets for 1s"
    assert fullness(snapshot) == "2 queues full for 1s"
    first, second, _ = snapshot.listeners
    brief = replace(snapshot, listeners=(first, second))
    assert line(brief, begin) == "5 of 5 connections wait at 1 of 2 sockets"
    assert fullness(brief) == "queue full (5 of 5)"
    assert fullness(replace(brief, elapsed_s=0.9)) == "queue full (5 of 5) all the time"
    assert fullness(replace(brief, listeners=(second,))) == ""


def test_syns_and_acks_are_counted_apart_and_together() -> None:
    for syns, acks in ((3, 1), (1, 1), (2, 6)):
        words = f"{syns} SYN{'s' * (syns > 1)} and {acks} final ACK{'s' * (acks > 1)} dropped"
        lost = {"overflow_syn": syns, "overflow_ack": acks}
        assert in_words(lost) == [f"{words} (queue full)"]
        assert in_words({**lost, "dropped_overflow": syns + acks}) == [f"{words} (queue full)"]
    assert in_words({"overflow_syn": 1}) == ["1 SYN dropped (queue full)"]
    assert in_words({"overflow_ack": 2}) == ["2 final ACKs dropped (queue full)"]
