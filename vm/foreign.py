"""A machine of another architecture than the host's: its QEMU, and an initramfs that starts it.

virtme-ng would run the host's programs in the guest. Here the guest has a userland of its own,
which guest.sh then treats as it treats the host's root elsewhere; the checkout is shared beside it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vm import userland
from vm.kernels import Kernel

HERE = Path(__file__).parent
# One thread, for the reason in accelerator.py. Pointers are authenticated by a cheap algorithm,
# because the architected one is emulated at each call and return.
QEMU = {
    "arm64": (
        *("qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"),
        *("-accel", "tcg,thread=single,tb-size=256"),
    )
}
CONSOLE = {"arm64": "ttyAMA0"}
# What it takes to mount a share; a kernel has some of them built in.
MODULES = ("virtio_pci", "9pnet_virtio", "9p")


def command_there(command: Sequence[str]) -> list[str]:
    """A host's command with the guest's own Python: no virtual environment of the host runs."""
    is_python = Path(command[0]).name.startswith("python")
    return [userland.PYTHON if is_python else command[0], *command[1:]]


def environment(checkout: Path) -> dict[str, str]:
    """What Python needs there: the package, which nobody installed, and leave to keep byte code."""
    return {"PYTHONPATH": str(checkout / "tracer"), "PYTHONDONTWRITEBYTECODE": ""}


def command(
    kernel: Kernel, folder: Path, share: str, options: Sequence[str], memory_mib: int, cpus: int
) -> Iterator[str]:
    """QEMU and its arguments; `folder` is `share` in the guest, `options` are the kernel's."""
    # At the same places as on the host; the second may lie in the first.
    beside = (Path.cwd(), kernel.root.resolve())
    image = folder / "initramfs"
    image.write_bytes(b"".join(_archive(_contents(kernel, share, beside))))
    yield from (*QEMU[kernel.arch], "-m", f"{memory_mib}M", "-smp", str(cpus))
    yield from ("-nodefaults", "-no-reboot", "-display", "none", "-serial", "chardev:console")
    yield from ("-chardev", f"file,id=console,append=on,path={folder / 'console.log'}")
    yield from ("-kernel", str(kernel.image), "-initrd", str(image))
    yield from ("-append", " ".join((f"console={CONSOLE[kernel.arch]}", *options)))
    yield from _exported("share", folder.resolve(), "security_model=none")
    for number, path in enumerate(beside):
        yield from _exported(f"beside{number}", path, "security_model=none,readonly=on")
    root = userland.fetch(kernel.arch)
    yield from _exported("host", root, "security_model=none,readonly=on")


def _exported(tag: str, path: Path, how: str) -> Iterator[str]:
    yield from ("-fsdev", f"local,id={tag},path={path},multidevs=remap,{how}")
    yield from ("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}")


def _contents(kernel: Kernel, share: str, beside: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Path and data of each file: busybox, the modules in their order, and what to run."""
    yield "init", (HERE / "init.sh").read_bytes()
    yield "guest.sh", (HERE / "guest.sh").read_bytes()
    yield "bin/busybox", (userland.fetch(kernel.arch) / "bin" / "busybox").read_bytes()
    for number, module in enumerate(_modules(kernel)):
        yield f"modules/{number:02}.ko", module.read_bytes()
    folders = shlex.join(map(str, beside))
    settings = f"share={shlex.quote(share)}\nkernel={kernel.root.resolve()}\nset -- {folders}\n"
    yield "settings.sh", settings.encode()


def _modules(kernel: Kernel) -> list[Path]:
    """Files of MODULES and of all that they need, in the order of loading."""
    call = ["modprobe", "-d", str(kernel.root), "-S", kernel.release, "-C", "/var/empty", "-a"]
    done = subprocess.run(
        [*call, "--show-depends", *MODULES], capture_output=True, text=True, check=True
    )
    lines = (line.split() for line in done.stdout.splitlines())
    found = (line[1] for line in lines if line[0] == "insmod")
    return [Path(path) for path in dict.fromkeys(found)]


def _archive(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The files, executable, with their folders, as the kernel unpacks them: cpio, "newc"."""
    folders: set[str] = {"dev", "proc", "run", "sys"}
    yield from (_entry(folder, b"", 0o040755) for folder in sorted(folders))
    for name, data in files:
        folder = os.path.dirname(name)
        if folder and folder not in folders:
            folders.add(folder)
            yield _entry(folder, b"", 0o040755)
        yield _entry(name, data, 0o100755)
    yield _entry("TRAILER!!!", b"", 0)


def _entry(name: str, data: bytes, mode: int) -> bytes:
    path = name.encode() + b"\0"
    # inode, mode, uid, gid, links, time, size, device (2), special device (2), name, checksum
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
