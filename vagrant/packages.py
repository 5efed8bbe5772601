"""Everything that is handed out, into a folder: python vagrant/packages.py dist

The wheel with the BPF objects of all architectures, the sdist, `accepttrace.pyz` in one file, a
Debian package with manual pages and completion, and the release notes. At a commit with a tag, the
tag must be the version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipapp
from pathlib import Path
from typing import Final

from click.shell_completion import get_completion_class

ROOT: Final = Path(__file__).resolve().parents[1]
PROGRAM: Final = "accepttrace"
# Where each shell looks for what it is told to complete.
COMPLETIONS: Final = {
    "bash": f"usr/share/bash-completion/completions/{PROGRAM}",
    "zsh": f"usr/share/zsh/vendor-completions/_{PROGRAM}",
    "fish": f"usr/share/fish/vendor_completions.d/{PROGRAM}.fish",
}
ASKED: Final = f"_{PROGRAM}_completion"  # what click calls the function
# The service of the exporter, which whoever wants it enables.
UNIT: Final = f"{PROGRAM}-exporter.service"
UNITS: Final = "usr/lib/systemd/system"
CONTROL: Final = """\
Package: {program}
Version: {version}
Section: admin
Priority: optional
Architecture: all
Depends: python3 (>= 3.10), python3-click, python3-rich, libbpf1 | libbpf0
Recommends: python3-bpfcc
Suggests: python3-msgspec, python3-zstandard, python3-prometheus-client, python3-bcrypt,
 python3-yaml
Maintainer: {program} developers <{program}@localhost>
Description: which worker got each incoming connection, and was that fair
 Counts in the kernel, with eBPF, which process, thread and listening socket
 got each TCP connection, after how long a wait, what clients lost, and says
 whether the split is fair.
"""
# As dh_python3 and dh_installsystemd do: what Python compiles is removed with the package, and the
# service is neither enabled nor started. Where it runs, it goes on with the new version.
SCRIPTS: Final = {
    "postinst": f"""\
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
py3compile -p {PROGRAM}
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
deb-systemd-invoke try-restart {UNIT} || true
""",
    "prerm": f"""\
#!/bin/sh
set -e
py3clean -p {PROGRAM}
[ "$1" = remove ] && [ -d /run/systemd/system ] || exit 0
systemctl disable --now {UNIT} || true
""",
}
LAUNCHER: Final = """\
#!/usr/bin/python3
from accepttrace.cli import main

if __name__ == "__main__":
    main()
"""


def main(folder: Path) -> None:
    """Makes them all."""
    version = _version()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _run(sys.executable, "-m", "hatchling", "build", "-d", str(folder))
    (wheel,) = folder.glob("*.whl")
    with tempfile.TemporaryDirectory() as scratch:
        one_file(wheel, Path(scratch, "pyz"), folder / f"{PROGRAM}.pyz")
        debian(wheel, Path(scratch, "deb"), folder / f"{PROGRAM}_{version}_all.deb", version)
    (folder / "NOTES.md").write_text(notes(version))
    print("\n".join(sorted(path.name for path in folder.iterdir())))


def one_file(wheel: Path, tree: Path, target: Path) -> None:
    """With click and rich in it: python3 and libbpf.so.1 are all that it needs."""
    _install(wheel, tree)
    shutil.rmtree(tree / "bin", ignore_errors=True)
    zipapp.create_archive(
        tree, target, "/usr/bin/env python3", f"{PROGRAM}.cli:main", compressed=True
    )
    target.chmod(0o755)


def debian(wheel: Path, tree: Path, target: Path, version: str) -> None:
    """The package of the distribution's own Python, click, rich and libbpf."""
    _install(wheel, tree / "usr/lib/python3/dist-packages", "--no-deps")
    shutil.rmtree(tree / "usr/lib/python3/dist-packages/bin", ignore_errors=True)
    _write(tree / "usr/bin" / PROGRAM, LAUNCHER, 0o755)
    for shell, path in COMPLETIONS.items():
        _write(tree / path, completion(shell))
    manual = tree / "usr/share/man/man1"
    _run(sys.executable, str(ROOT / "docs/manual.py"), str(manual))
    _run("gzip", "-9n", *map(str, sorted(manual.iterdir())))
    _write(tree / UNITS / UNIT, (ROOT / "docs/fleet" / UNIT).read_text())
    licences = "\n".join(path.read_text() for path in sorted(ROOT.glob("LICENSE*")))
    _write(tree / f"usr/share/doc/{PROGRAM}/copyright", licences)
    _write(tree / "DEBIAN/control", CONTROL.format(program=PROGRAM, version=version))
    for name, text in SCRIPTS.items():
        _write(tree / "DEBIAN" / name, text, 0o755)
    _run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(target))


def completion(shell: str) -> str:
    """The script with which a shell asks the program."""
    from accepttrace.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source()
    if shell == "zsh" and "loadautofunc" not in script:
        # zsh loads it at the first TAB, which is to be answered, too; click does so from 8.1.4 on.
        return f'{script}\n[[ $zsh_eval_context[-1] != loadautofunc ]] || {ASKED} "$@"\n'
    return script


def notes(version: str) -> str:
    """What the changelog says of this version, or of what is not released yet."""
    sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    titles = (f"[{version}]", version, "Unreleased")
    found = (one for title in titles for one in sections if one.startswith(title))
    return f"# {PROGRAM} {version}\n\n{next(found).partition(chr(10))[2].strip()}\n"


def _version() -> str:
    """That of the package; SystemExit if a tag of this commit says otherwise."""
    from accepttrace import __version__

    asked = subprocess.run(
        ("git", "-C", str(ROOT), "tag", "--points-at", "HEAD"), capture_output=True, text=True
    )
    tags = asked.stdout.split()
    if tags and f"v{__version__}" not in tags:
        raise SystemExit(f"the tag is {tags[0]}, accepttrace/__init__.py says {__version__}")
    return __version__


def _install(wheel: Path, target: Path, *options: str) -> None:
    quiet = ("-qq", "--disable-pip-version-check", "--no-compile")
    where = ("--target", str(target), *options, str(wheel))
    _run(sys.executable, "-m", "pip", "install", *quiet, *where)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
