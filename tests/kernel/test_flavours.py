"""What a flavour of a kernel takes away, and that the tool says so.

Collected only in the machines of vm/, where the row is known; the row chooses its tests.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.probe import privileges

from .conftest import ACCEPTTRACE, EXPECTED, ROW, Tracing, Way, doctor
from .test_udp import udp_session

LIBBPF = ("--loader", "libbpf")
ALL_TYPES = ("fentry", "kprobe", "tracepoint")
CONNECTIONS = 1000


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*ACCEPTTRACE, *arguments), capture_output=True, text=True, check=False)


def finding(name: str) -> dict[str, Any]:
    return next(item for item in doctor()[1]["findings"] if item["name"] == name)


def reasons() -> dict[str, str | None]:
    """Why libbpf cannot use an attach type, by attach type; None: it works."""
    ways = doctor()[1]["ways"]
    return {way["attach"]: way["reason"] for way in ways if way["loader"] == "libbpf"}


def refusal(*arguments: str) -> str:
    """The message of a start that must be refused: status 77, what is wrong, and what to do."""
    done = call("-p", "1", *LIBBPF, *arguments)
    said = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (77, "")
    assert len(said) == 2, said
    assert said[0].startswith("accepttrace: ")
    assert said[1].startswith("  next: ")
    return said[0]


def test_doctor_offers_just_the_expected_types() -> None:
    status, report = doctor()
    found = reasons()
    assert set(found) == set(ALL_TYPES)
    assert {attach for attach, reason in found.items() if reason is None} == set(EXPECTED)
    assert status == (0 if report["chosen"] else 77)


def test_auto_passes_over_what_is_silent() -> None:
    done = call("-p", "1", "-d", "0.1", "-o", "jsonl", *LIBBPF)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[0])["attach"] == EXPECTED[0]


def test_a_silent_hook_is_named() -> None:
    silent = [attach for attach in ALL_TYPES if attach not in EXPECTED]
    for attach in silent:
        message = refusal("--attach", attach)
        assert "attached to __inet_accept but is silent" in message
        way = next(w for w in doctor()[1]["ways"] if w["attach"] == attach)
        assert "attached to __inet_accept but is silent" in way["reason"]
        assert ("ftrace_enabled" if ROW == "ftrace-off" else "kprobes/enabled") in way["advice"]


def test_udp_is_traced_by_the_same_types() -> None:
    for attach in EXPECTED:
        with udp_session(Way(attach, "libbpf")) as session:
            assert session.plan.attach == attach
    for attach in set(ALL_TYPES) - set(EXPECTED):
        done = call("--udp", "-p", "1", "-d", "0.1", "-o", "jsonl", "--attach", attach, *LIBBPF)
        assert done.returncode == 77, (attach, done.stderr)
        if ROW in ("kprobes-off", "ftrace-off"):
            assert "fexit_select_sock" in done.stderr or "kprobe_select_sock" in done.stderr
            assert "attached to reuseport_select_sock but is silent" in done.stderr


def test_missing_type_information_is_reported() -> None:
    assert not Path("/sys/kernel/btf/vmlinux").exists()
    assert "BTF" in refusal()
    assert finding("BTF")["state"] == "missing"
    assert "CONFIG_DEBUG_INFO_BTF" in finding("BTF")["advice"]


def test_bcc_traces_by_headers_alone() -> None:
    done = call("--attach", "tracepoint", "-o", "jsonl", "-d", "0.2")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[0])["loader"] == "bcc"


def test_lockdown_is_reported() -> None:
    assert f"[{ROW}]" in Path("/sys/kernel/security/lockdown").read_text()
    assert finding("lockdown")["text"].startswith(ROW)


def test_confidentiality_is_the_reason_given() -> None:
    assert finding("lockdown")["state"] == "missing"
    assert "integrity" in finding("lockdown")["advice"]
    for attach in ("auto", *ALL_TYPES):
        assert "lockdown" in refusal("--attach", attach)


def test_four_capabilities_are_all_there_is() -> None:
    assert os.geteuid() != 0
    assert Path("/proc/sys/kernel/unprivileged_bpf_disabled").read_text().strip() == "2"
    wanted = privileges.TO_TRACE | privileges.TO_SEE_HOLDERS
    effective = Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0]
    assert int(effective, 16).bit_count() == len(wanted)
    assert privileges.held() == wanted
    assert finding("privileges")["state"] == "good"


def test_what_keeps_kprobes_away_is_reported() -> None:
    way = next(w for w in doctor()[1]["ways"] if w["attach"] == "kprobe")
    assert "perf_event_paranoid" in way["advice"]
    assert "EACCES" in refusal("--attach", "kprobe")


def test_what_preemption_costs_is_counted(tracing: Tracing) -> None:
    with Server("shared", workers=8) as server:
        account = tracing.of(server.port)
        before = account.snapshot().books
        run_load(server.addresses, CONNECTIONS, concurrency=16)
        server.stop()
        books = account.snapshot().books
    assert sum(count.accepts for count in server.counts()) == CONNECTIONS
    lost = CONNECTIONS - books.accepts
    assert books.losses.recursion_misses is not None
    assert before.losses.recursion_misses is not None
    assert 0 <= lost <= books.losses.recursion_misses - before.losses.recursion_misses
    assert books.balanced == (books.losses.recursion_misses == 0)
    if tracing.plan.attach == "kprobe":
        assert lost == 0


def test_the_kernel_is_fully_preemptible() -> None:
    assert "PREEMPT_RT" in os.uname().version.split()


def test_cgroups_of_the_first_version_are_named_and_filtered() -> None:
    top = Path("/sys/fs/cgroup/pids")
    for name in ("web", "other"):
        (top / name).mkdir(exist_ok=True)
    with Server("epoll", workers=2) as server:
        for name, pid in zip(("web", "other"), server.pids, strict=True):
            (top / name / "cgroup.procs").write_text(str(pid))
        done = call("-p", str(server.port), "--cgroup", "/web", *LIBBPF, "-d", "0.1", "-o", "jsonl")
        rows = json.loads(done.stdout.splitlines()[-1])["acceptors"]
        assert (done.returncode, done.stderr) == (0, "")
        assert [(row["pid"], row["cgroup"]) for row in rows] == [(server.pids[0], "/web")]
    for name in ("web", "other"):
        (top / name).rmdir()
