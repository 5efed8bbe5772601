"""Which accelerator QEMU may use: only one that was seen to boot a kernel.

/dev/kvm may open and still not run a standard kernel (nested paravirtual hosts): the guest
hangs at entry and burns a core. So the first caller of each boot of the machine lets it boot
a bare kernel within a time limit; without a root file system that ends in a panic, the proof.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from vm.kernels import CACHE, Kernel, locked

VARIABLE = "ACCEPTTRACE_VM_ACCELERATOR"  # tcg or kvm: no proof is asked for
LIMIT_S = 15.0
PROOF = b"Unable to mount root fs"
# One thread: before QEMU 8.1 a processor can run code that another one is just patching, and
# attaching probes does nothing but patch code ("int3" oopses, hangs: seen within seconds on 7.2).
# No 5-level page tables: emulated page walks are shorter without.
TCG = ("-accel", "tcg,thread=single,tb-size=256", "-cpu", "max,la57=off")
KVM = ("-accel", "kvm", "-cpu", "host")
# The guest's clocks then count instructions: 1 ns is one. Idle time takes none, and is soon over.
COUNTING = (*TCG, "-icount", "shift=0,sleep=off")


def arguments(kernel: Kernel, cache: Path = CACHE) -> tuple[str, ...]:
    """QEMU's arguments for the best accelerator that works here."""
    return KVM if _name(kernel, cache) == "kvm" else TCG


def _name(kernel: Kernel, cache: Path) -> str:
    forced = os.environ.get(VARIABLE)
    if forced:
        return forced
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = cache / f"accelerator.{boot}"
    with locked(cache / "accelerator.lock"):
        if not known.exists():
            usable = os.access("/dev/kvm", os.R_OK | os.W_OK) and _boots(kernel)
            known.write_text("kvm" if usable else "tcg")
    return known.read_text()


def _boots(kernel: Kernel) -> bool:
    machine = ("-m", "256M", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio")
    boot = ("-kernel", str(kernel.image), "-append", "console=ttyS0 quiet panic=-1")
    try:
        done = subprocess.run(
            ["qemu-system-x86_64", *KVM, *machine, *boot],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return PROOF in done.stdout
