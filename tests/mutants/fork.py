"""Pytest in forked children: what it imports of others is ready, what it tests is read anew."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from traceback import print_exc

import pytest

# Neither pytest's cache nor the plugin that is installed with accepttrace: not that one is tried.
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:accepttrace")
READY = ("click.testing", "hypothesis", "jsonschema", "mpmath", "pyte", "rich.console")
OURS = ("accepttrace", "bench", "bpf", "tests", "vm")  # imported from the tree, by each child
MEMORY = 2 << 30


def make_ready() -> None:
    """Import once what every child needs."""
    for name in READY:
        import_module(name)


def passes(
    tree: Path, tests: Sequence[str], output: Path, silence_s: float | None, may_cache: bool = False
) -> bool:
    """Whether the tests of the tree pass; ends what they leave running.

    `tests` is as on pytest's command line. TimeoutError if for `silence_s` no test has ended.
    """
    child = os.fork()
    if child == 0:
        try:
            _become_alone(output)
            _enter(tree, may_cache)
            status = int(pytest.main(["-x", "-q", *WITHOUT, *tests]))
        except BaseException:
            print_exc()
            status = 1
        sys.stdout.flush()
        os._exit(status)
    try:
        if not _ends(child, output, silence_s):
            raise TimeoutError(f"{silence_s} s")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    return status == 0


def _become_alone(output: Path) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name, descriptor in (("/dev/null", 0), (str(output), 1)):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, descriptor)
        os.close(file)
    os.dup2(1, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)


def _enter(tree: Path, may_cache: bool) -> None:
    os.chdir(tree)
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.path[:0] = [str(tree), str(tree / "tracer")]
    os.environ["PYTHONPATH"] = str(tree / "tracer")
    sys.dont_write_bytecode = not may_cache
    if not may_cache:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def _ends(child: int, output: Path, silence_s: float | None) -> bool:
    """Whether it ends before it is silent for that long: pytest writes a dot for each test."""
    descriptor, size = os.pidfd_open(child), 0
    try:
        while not select.select([descriptor], [], [], silence_s)[0]:
            before, size = size, os.stat(output).st_size
            if size == before:
                return False
        return True
    finally:
        os.close(descriptor)
