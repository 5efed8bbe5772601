"""What `doctor` says of a machine, in words and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from accepttrace.facts.diagnosis import Diagnosis, Finding, Way
from accepttrace.views import doctor

FENTRY = Way("fentry", "libbpf", "refused", "boot another kernel", (), (), "line 1\n\tline 2\n")
KPROBE = Way("kprobe", "libbpf", None, "", ("accepts",), ("errno", "EAGAIN"))
TRACEPOINT = Way("tracepoint", "libbpf", None, "", ("accepts",), ())
BCC = Way("fentry", "bcc", "bcc is missing", "install it", (), ())
FINDINGS = (
    Finding("kernel", "good", "6.1"),
    Finding("BTF", "missing", "no BTF to be seen", "use another kernel"),
)


def test_each_way_is_told_with_its_reason_and_what_it_does_not_see() -> None:
    found = Diagnosis(FINDINGS, (FENTRY, KPROBE, TRACEPOINT, BCC, replace(BCC, attach="kprobe")))
    assert doctor.text(found) == (
        "kernel        ok      6.1\n"
        "BTF           MISSING no BTF to be seen\n"
        "                      next: use another kernel\n"
        "\n"
        "With libbpf:\n"
        "fentry        no      refused\n"
        "                      next: boot another kernel\n"
        "kprobe        works   attached, and proved by loopback connections\n"
        "                      not seen: errno; EAGAIN\n"
        "tracepoint    works   attached, and proved by loopback connections\n"
        "                      not seen: nothing\n"
        "\n"
        "With bcc:\n"
        "any           no      bcc is missing\n"
        "                      next: install it\n"
        "\n"
        "accepttrace will use kprobe (libbpf)."
    )


def test_the_long_story_is_for_those_who_ask() -> None:
    found = Diagnosis((), (FENTRY, KPROBE))
    assert "line 1" not in doctor.text(found)
    shown = doctor.text(found, verbose=True).splitlines()
    assert [line for line in shown if "line " in line] == [
        " " * 22 + "line 1",
        " " * 22 + "        line 2",
    ]


def test_only_the_loader_that_comes_first_is_chosen_by_itself() -> None:
    works = Way("kprobe", "bcc", None, "", ("accepts",), ())
    for ways, chosen in (
        ((FENTRY, KPROBE, works), KPROBE),
        ((FENTRY, works), None),
        ((works, KPROBE), works),
        ((replace(works, reason="no"), KPROBE), None),
    ):
        found = Diagnosis((), ways)
        assert found.chosen is chosen
        picked = json.loads(doctor.as_json(found))["chosen"]
        assert picked == (chosen and {"attach": chosen.attach, "loader": chosen.loader})
    assert doctor.text(Diagnosis((), (FENTRY,))).endswith("(`accepttrace who` still can).")


def test_lines_fit_the_window() -> None:
    lines = doctor.text(Diagnosis(FINDINGS, (FENTRY, KPROBE)), width=50).splitlines()
    assert max(map(len, lines[:-1])) <= 50


def test_text_is_80_cells_wide_unless_another_width_is_asked_for() -> None:
    long = Diagnosis((Finding("kernel", "good", f"{'x' * 50} {'y' * 8}"),), (FENTRY,))
    assert doctor.text(long) == doctor.text(long, 80) != doctor.text(long, 81)
