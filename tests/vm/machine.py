"""One virtual machine: boot a kernel on the host's root file system, run a command, power off.

The guest writes only into memory and into the shared folder, where it also leaves the
command's status: a machine that leaves none is lost, whatever its console says.
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
from dataclasses import dataclass
from pathlib import Path

from tests.vm import foreign
from tests.vm.accelerator import arguments
from tests.vm.kernels import Kernel

GUEST_SCRIPT = Path(__file__).with_name("guest.sh")
GUEST_SHARE = "/run/accepttrace"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POWEROFF_S = 20.0  # granted after the status is there
LEFT_BEHIND_S = 60  # after its time limit a guest ends even if this process died before
KERNEL_ARGS = (
    "oops=panic",
    "panic=-1",
    "loglevel=5",
    "tsc=reliable",  # else a busy host makes the guest fall back to HPET, slow and jumpy
)
_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended. `status` is the command's, None if the machine was lost."""

    status: int | None
    reason: str  # why it was lost, else empty
    seconds: float  # from start to power-off
    boot_seconds: float | None  # the guest's uptime when it began with the command
    folder: Path  # console.log, output.log and whatever the command left in the share

    @property
    def lost(self) -> bool:
        return self.status is None

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def output(self) -> str:
        """stdout and stderr of the command."""
        return _read(self.folder / "output.log")


def run(
    kernel: Kernel,
    command: Sequence[str],
    *,
    folder: Path,
    timeout_s: float = 900.0,
    memory_mib: int = 1536,
    cpus: int = 2,
    env: Mapping[str, str] | None = None,
    kernel_args: Sequence[str] = (),
    setup: str = "",
) -> Result:
    """Boot, run `command` in the current directory as root, and wait for the end.

    `folder` is emptied and shared with the guest as $ACCEPTTRACE_VM_SHARE; logs stay there.
    Raises OSError if virtme-ng or QEMU cannot be started at all.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "command.sh").write_text(_script(command, env or {}, setup))
    call = [
        *("timeout", "--signal=KILL", f"{timeout_s + LEFT_BEHIND_S:.0f}"),
        *_emulator(kernel, folder, (*KERNEL_ARGS, *kernel_args), memory_mib, cpus),
    ]
    started = time.monotonic()
    reason = _boot(call, folder, timeout_s)
    status = _read(folder / "status").strip()
    booted = _read(folder / "booted").strip()
    return Result(
        status=int(status) if status else None,
        reason="" if status else _read(folder / "failed").strip() or reason,
        seconds=time.monotonic() - started,
        boot_seconds=float(booted) if booted else None,
        folder=folder,
    )


def end_all() -> None:
    """End every machine that runs now; their `run` returns a lost result."""
    for guest in list(_running):
        if guest.poll() is None:
            os.killpg(guest.pid, signal.SIGKILL)


def _script(command: Sequence[str], env: Mapping[str, str], setup: str) -> str:
    variables = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **env}
    variables["ACCEPTTRACE_VM_SHARE"] = GUEST_SHARE
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    lines = [*exports, f"cd {shlex.quote(os.getcwd())} || exit 1"]
    if setup:
        lines += ["set -e", setup]
    return "\n".join([*lines, f"exec {shlex.join(command)}"]) + "\n"


def _emulator(
    kernel: Kernel, folder: Path, options: Sequence[str], memory_mib: int, cpus: int
) -> Iterator[str]:
    if kernel.arch in foreign.QEMU:
        yield from foreign.command(kernel, folder, GUEST_SHARE, options, memory_mib, cpus)
        return
    yield from _virtme(kernel, folder, memory_mib, cpus)
    yield from (f"--kopt={option}" for option in options)
    yield from (f"--qemu-opt={argument}" for argument in _qemu(kernel))


def _virtme(kernel: Kernel, folder: Path, memory_mib: int, cpus: int) -> Iterator[str]:
    beside = Path(sys.executable).with_name("virtme-run")
    yield str(beside if beside.exists() else "virtme-run")
    yield from ("--kimg", str(kernel.image), "--mods", "auto")
    # Debian 12 has no virtiofsd that virtme-ng accepts; 9p works everywhere.
    yield from ("--disable-kvm", "--force-9p", "--show-boot-console")
    yield from ("--memory", f"{memory_mib}M", "--cpus", str(cpus))
    yield f"--rwdir={GUEST_SHARE.removeprefix('/')}={folder.resolve()}"
    yield from ("--script-sh", shlex.join(["/bin/sh", str(GUEST_SCRIPT), str(kernel.root)]))


def _qemu(kernel: Kernel) -> Iterator[str]:
    yield from arguments(kernel)
    yield from ("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap")
    yield from ("-device", "virtio-9p-pci,fsdev=host,mount_tag=host")


def _boot(call: Sequence[str], folder: Path, timeout_s: float) -> str:
    """Run to power-off, status + grace, or the time limit; returns why a status may lack."""
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
        return _wait(guest, folder / "status", time.monotonic() + timeout_s, timeout_s)
    finally:
        _end(guest)


def _wait(guest: subprocess.Popen[bytes], status: Path, deadline: float, limit_s: float) -> str:
    answered = False
    while time.monotonic() < deadline:
        try:
            guest.wait(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            if not answered and status.exists():
                answered, deadline = True, min(deadline, time.monotonic() + POWEROFF_S)
    else:
        return f"no status within {limit_s:.0f} s"
    console = _read(status.with_name("console.log"))
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
