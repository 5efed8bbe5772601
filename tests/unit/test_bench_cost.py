"""The arithmetic and the tables of the cost benchmark; what it measures is measured elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cost import report, table, where
from bench.cost.results import Result, Run, figures
from bench.cost.subjects import LOOPS, UNIX_LOOPS, subjects
from bench.cost.tracer import reason

FUNCTIONS = """\
ffffffff81000000 T entry
ffffffff81000100 t helper
ffffffff81000180 d data
ffffffffc0000000 t bpf_prog_1_count\t[bpf]
"""


def result(traced: float, refresh: int = 0, error: str = "") -> Result:
    """Untraced connections of 1000 instructions, and 1200 with the rest of the machine."""

    def runs(number: int, cost: float) -> dict[str, Run]:
        blocks = [cost + 200 + 10 * step for step in (-2, -1, 0, 1, 2)]
        return {loop: Run(number, 50, cost, blocks) for loop in LOOPS}

    return Result(
        *("accepttrace", "fentry libbpf"),
        before=runs(0, 990),
        traced={} if error else runs(2, traced),
        after={} if error else runs(4, 1010),
        refresh=refresh,
        error=error,
    )


def test_added_is_what_lies_above_the_mean_of_both_neighbours() -> None:
    found = figures(result(1300), "plain")
    assert (found.base, found.path, found.path_percent) == (1000, 300, 30)
    assert (found.block_base, found.low, found.middle, found.high) == (1200, 285, 300, 315)
    assert (found.refreshes, found.total, found.percent) == (0, 300, 25)


def test_refreshes_are_shared_among_the_connections_of_an_interval() -> None:
    # 10 s are 10e9 instructions: 8,333,333 connections of 1200.
    found = figures(result(1300, refresh=50_000_000), "reuseport")
    assert found.refreshes == pytest.approx(6)
    assert found.total == pytest.approx(306)


def test_a_table_has_a_line_for_each_subject_and_the_reason_of_one_that_failed() -> None:
    measured = table.Measured("6.1", "6.1.0", [result(1300), result(0, error="prints nothing")])
    text = table.text(measured).splitlines()
    assert sum("+300" in line for line in text) == len(LOOPS)
    assert sum(line.endswith("prints nothing") for line in text) == len(LOOPS)
    rows = [line for line in table.markdown([measured]).splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {len(table.HEAD) + 1}


def test_what_is_measured_over_unix_sockets_stands_in_a_table_of_its_own() -> None:
    of_tcp, of_unix = result(1400), replace(result(1300), name="of UNIX")
    for runs in (of_unix.before, of_unix.traced, of_unix.after):
        runs[UNIX_LOOPS[0]] = runs.pop("plain")
        del runs["reuseport"]
    lines = table.text(table.Measured("6.1", "6.1.0", [of_tcp, of_unix])).splitlines()
    assert [line.split("  ")[0] for line in lines if "+" in line or line.endswith("listener")] == [
        *("plain listener", of_tcp.name, "reuseport listener", of_tcp.name),
        *("unix listener", "of UNIX"),
    ]


def test_the_report_has_every_part() -> None:
    measured = [table.Measured("6.1", "6.1.0", [result(1300)])]
    made = report.markdown(measured, [("6.1.0", "all\n")], "make it", {"bcc": "1", "bpftrace": "2"})
    assert "Made by `make it`" in made
    assert "{" not in made
    assert made.index("## Linux 6.1.0") < made.index("## Where") < made.index("```\nall\n```")


def test_the_report_tells_what_the_hooks_cost_if_they_do_nothing() -> None:
    empty = [replace(result(1000 + n), name=name) for n, name in ((10, "fentry"), (30, "fexit"))]
    named = [replace(each, name=f"an empty {each.name}") for each in empty]
    versions = {"bcc": "1", "bpftrace": "2"}
    made = report.markdown([table.Measured("6.1", "6.1.0", named)], [], "make it", versions)
    assert "80 (8.00 %) on 6.1.0." in made


def test_the_report_tells_what_the_filter_leaves_out_beside_what_it_lets_in() -> None:
    both = [
        replace(result(1300), name="fentry libbpf full"),
        replace(result(1100), name="fentry libbpf full, another port"),
        replace(result(1200), name="kprobe libbpf full"),
        replace(result(0, error="refused"), name="kprobe libbpf full, another port"),
    ]
    versions = {"bcc": "1", "bpftrace": "2"}
    made = report.markdown([table.Measured("6.1", "6.1.0", both)], [], "make it", versions)
    rows = [line for line in made.splitlines() if line.startswith("| 6.1.0")]
    assert rows == ["| 6.1.0 | `fentry` | +300 (30.00 %) | +100 (10.00 %) |"]
    assert "leaves out" not in report.markdown(
        [table.Measured("6.1", "6.1.0", both[2:])], [], "make it", versions
    )


def test_the_report_tells_what_it_costs_to_look_more_closely() -> None:
    found = [
        replace(result(1000 + added), name=f"fentry libbpf full{end}")
        for end, added in (("", 300), (", locality", 400), (", patterns", 450))
    ]
    versions = {"bcc": "1", "bpftrace": "2"}
    made = report.markdown([table.Measured("6.1", "6.1.0", found)], [], "make it", versions)
    rows = [line for line in made.splitlines() if line.startswith("| 6.1.0")]
    assert rows == ["| 6.1.0 | `fentry` | +300 (30.00 %) | +400 (40.00 %) | +450 (45.00 %) |"]


def test_instructions_go_to_the_function_that_holds_them(tmp_path: Path) -> None:
    (tmp_path / where.symbols_file("fentry libbpf")).write_text(FUNCTIONS)
    for number in (0, 2):
        (tmp_path / f"profile.{number}").write_text(f"ffffffff81000104 5 50\n400000 {number} 50\n")
    with (tmp_path / "profile.2").open("a") as file:
        file.write("ffffffff81000190 1 100\nffffffffc0000010 20 50\n")
    lines = where.text([result(1300)], tmp_path, loops=("plain",)).splitlines()
    found = {line.split(maxsplit=3)[3]: [float(n) for n in line.split()[:3]] for line in lines[2:]}
    assert found == {
        "bpf_prog_1_count": [20, 0, 20],
        "2 others": [4, 5, 9],  # of user space 2, of the helper 2: data is no function
        "all": [24, 5, 29],
    }


def test_every_way_to_count_is_a_subject_of_its_own() -> None:
    names = [subject.name for subject in subjects(["accepts", "full"])]
    assert len(set(names)) == len(names)
    assert "kprobe bcc full" in names
    assert "tracepoint libbpf" in [subject.name for subject in subjects([])]


@pytest.mark.parametrize(
    ("said", "reason_given"),
    [
        ("", "without a word"),
        ("warm\nfile.h:1: error: no member\n1 error generated.\n", "file.h:1: error: no member"),
        ("Traceback\nException: Failed\n\n", "Exception: Failed"),
    ],
)
def test_the_reason_is_the_line_that_says_most(said: str, reason_given: str) -> None:
    assert reason(said) == reason_given
