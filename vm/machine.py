"""One virtual machine: boot a kernel on the host's root file system, run commands, power off.

The guest writes only into memory and into the shared folder, where it also leaves each
command's status: one that leaves none is lost, whatever the console says.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vm import foreign
from vm.accelerator import arguments
from vm.kernels import Kernel

GUEST_SCRIPT = Path(__file__).with_name("guest.sh")
GUEST_SHARE = "/run/accepttrace"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POWEROFF_S = 20.0  # granted after the last status is there
LEFT_BEHIND_S = 60  # after its time limit a guest ends even if this process died before
KERNEL_ARGS = (
    "oops=panic",
    "panic=-1",
    "loglevel=5",
    "tsc=reliable",  # else a busy host makes the guest fall back to HPET, slow and jumpy
)
_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, slots=True)
class Task:
    """One command, run as root between `setup` and `undo` (shell)."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    setup: str = ""
    undo: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How a task ended. `status` is the command's, None if the machine was lost before."""

    status: int | None
    reason: str  # why it was lost, else empty
    seconds: float | None  # from set-up to undone
    boot_seconds: float | None  # from the start of the machine to that of its first task
    folder: Path  # output.log and whatever the command left there
    console: Path  # of the machine, shared by all its tasks

    @property
    def lost(self) -> bool:
        return self.status is None

    @property
    def output(self) -> str:
        """stdout and stderr of the command."""
        return _read(self.folder / "output.log")


def run(
    kernel: Kernel,
    tasks: Sequence[Task],
    *,
    folder: Path,
    timeout_s: float = 900.0,
    memory_mib: int = 1536,
    cpus: int = 2,
    kernel_args: Sequence[str] = (),
    accelerator: Sequence[str] = (),
) -> list[Result]:
    """Boot, run `tasks` one after the other in the current directory, and wait for the end.

    `folder` is emptied and shared with the guest; logs stay there. A task finds a folder of its
    own in it as $ACCEPTTRACE_VM_SHARE. `timeout_s` is for all tasks together. A result for each.
    `accelerator` are QEMU's arguments instead of those of the best one that works here.
    Raises OSError if virtme-ng or QEMU cannot be started at all.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for task in tasks:
        (folder / task.name).mkdir(parents=True)
        (folder / task.name / "command.sh").write_text(script(task))
    (folder / "tasks").write_text("".join(f"{task.name}\n" for task in tasks))
    call = [
        *("timeout", "--signal=KILL", f"{timeout_s + LEFT_BEHIND_S:.0f}"),
        *_emulator(kernel, folder, (*KERNEL_ARGS, *kernel_args), memory_mib, cpus, accelerator),
    ]
    started = time.time()
    reason = _boot(call, folder, timeout_s)
    reason = _read(folder / "failed").strip() or reason
    return [_result(folder, task, started, reason) for task in tasks]


def _result(folder: Path, task: Task, started: float, reason: str) -> Result:
    """From the files of the task; their times are the host's, so a slow guest cannot bend them."""
    own = folder / task.name
    began, booted, ended = (
        _time(path) for path in (own / "began", folder / "booted", own / "status")
    )
    status = _read(own / "status").strip()
    if not status and began is None and booted is not None:
        reason = f"not begun: {reason}"
    return Result(
        status=int(status) if status else None,
        reason="" if status else reason,
        seconds=None if ended is None or began is None else ended - began,
        boot_seconds=None if booted is None else booted - started,
        folder=own,
        console=folder / "console.log",
    )


def _time(path: Path) -> float | None:
    return path.stat().st_mtime if path.exists() else None


def end_all() -> None:
    """End every machine that runs now; their `run` returns a lost result."""
    for guest in list(_running):
        if guest.poll() is None:
            os.killpg(guest.pid, signal.SIGKILL)


def script(task: Task) -> str:
    """The task as a shell script. Whatever fails, what was set up is undone: the next task must
    find the machine as it was."""
    variables = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **task.env}
    variables["ACCEPTTRACE_VM_SHARE"] = f"{GUEST_SHARE}/{task.name}"
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    lines = [*exports, f"cd {shlex.quote(os.getcwd())} || exit 1", "set -e"]
    lines += ["undo() {", "status=$?", "trap - EXIT", task.undo or ":", "exit $status", "}"]
    return "\n".join([*lines, "trap undo EXIT", task.setup, shlex.join(task.command)]) + "\n"


def _emulator(
    kernel: Kernel,
    folder: Path,
    options: Sequence[str],
    memory_mib: int,
    cpus: int,
    accelerator: Sequence[str],
) -> Iterator[str]:
    if kernel.arch in foreign.QEMU:
        yield from foreign.command(kernel, folder, GUEST_SHARE, options, memory_mib, cpus)
        return
    yield from _virtme(kernel, folder, memory_mib, cpus)
    yield from (f"--kopt={option}" for option in options)
    yield from (f"--qemu-opt={argument}" for argument in _qemu(accelerator or arguments(kernel)))


def _virtme(kernel: Kernel, folder: Path, memory_mib: int, cpus: int) -> Iterator[str]:
    beside = Path(sys.executable).with_name("virtme-run")
    yield str(beside if beside.exists() else "virtme-run")
    yield from ("--kimg", str(kernel.image), "--mods", "auto")
    # Debian 12 has no virtiofsd that virtme-ng accepts; 9p works everywhere.
    yield from ("--disable-kvm", "--force-9p", "--show-boot-console")
    yield from ("--memory", f"{memory_mib}M", "--cpus", str(cpus))
    yield f"--rwdir={GUEST_SHARE.removeprefix('/')}={folder.resolve()}"
    yield from ("--script-sh", shlex.join(["/bin/sh", str(GUEST_SCRIPT), str(kernel.root)]))


def _qemu(accelerator: Sequence[str]) -> Iterator[str]:
    yield from accelerator
    yield from ("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap")
    yield from ("-device", "virtio-9p-pci,fsdev=host,mount_tag=host")


def _boot(call: Sequence[str], folder: Path, timeout_s: float) -> str:
    """Run to power-off, last status + grace, or the time limit; returns why one may lack."""
    with (folder / "console.log").open("ab") as console:
        guest = subprocess.Popen(
            call,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=console,  # virtme-ng puts the guest's console there
            start_new_session=True,
        )
    _running.add(guest)
    try:
        return _wait(guest, folder / "over", time.monotonic() + timeout_s, timeout_s)
    finally:
        _end(guest)


def _wait(guest: subprocess.Popen[bytes], over: Path, deadline: float, limit_s: float) -> str:
    answered = False
    while time.monotonic() < deadline:
        try:
            guest.wait(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            if not answered and over.exists():
                answered, deadline = True, min(deadline, time.monotonic() + POWEROFF_S)
    else:
        return f"no end within {limit_s:.0f} s"
    console = _read(over.with_name("console.log"))
    panic = next((line for line in console.splitlines() if "Kernel panic" in line), "")
    return panic.partition("] ")[2] or panic or f"ended without a status ({guest.returncode})"


def _end(guest: subprocess.Popen[bytes]) -> None:
    """`timeout` leads a process group of its own, with virtme-run and QEMU: end that group."""
    if guest.poll() is None:
        os.killpg(guest.pid, signal.SIGKILL)
    guest.wait()
    _running.discard(guest)


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
