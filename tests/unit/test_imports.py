"""The import rules of the architecture, over every module of the repository but the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import accepttrace

PACKAGE = Path(accepttrace.__file__).parent
ROOT = Path(__file__).parents[2]
MODULES = sorted(PACKAGE.rglob("*.py"))
NEUTRAL = {"config", "errors", ""}  # "": the package itself, for its version

# What each folder may use of the package, itself and NEUTRAL excepted. None: everything.
MAY_USE: dict[str, set[str] | None] = {
    "facts": set(),
    "probe": {"facts"},
    "sockets": {"facts", "probe"},
    "model": {"facts"},
    "views": {"facts", "model"},
    "store": {"facts"},
    "run": {"facts", "probe", "sockets", "model", "views", "store"},
    "lab": set(),
    "cli": None,
}
# What stands beside the package, and what it must not import: tests import it, not the reverse.
BESIDE = {"vm": {"tests", "bench", "accepttrace"}, "bench": {"tests"}, "bpf": {"tests"}}
# Modules that only some rooms may import: folders, or single files.
OWNERS = {
    "ctypes": ("probe/", "sockets/diag/", "sockets/helper.py"),
    "struct": ("probe/", "sockets/diag/"),
    "bcc": ("probe/load/", "probe/diagnosis.py"),
    "rich": ("views/svg.py",),
    "msgspec": ("store/",),
    "prometheus_client": ("run/export/exposition.py",),
    "yaml": ("run/export/webconfig.py",),
    "bcrypt": ("run/export/webconfig.py",),
    "click": ("cli/", "__main__.py"),
}


def imported(source: str, package: str = "accepttrace") -> Iterator[str]:
    """Dotted names of all that a module imports, wherever in it, for types or not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module or ''}" if node.level else node.module or ""
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(folder: str, place: str, source: str) -> list[str]:
    """What a module in `folder` imports against the rules."""
    found: list[str] = []
    for name in imported(source):
        top, _, rest = name.partition(".")
        owners = OWNERS.get(top)
        if owners is not None and not place.startswith(owners):
            found.append(f"{place}: {top} belongs to {' and '.join(owners)}")
        part = rest.partition(".")[0]
        if top != "accepttrace" or part in NEUTRAL or not (PACKAGE / part).is_dir():
            continue
        allowed = MAY_USE.get(folder)
        if folder in MAY_USE and allowed is not None and part not in {folder, *allowed}:
            found.append(f"{place}: {folder} must not know {part}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_keeps_the_rules(path: Path) -> None:
    place = path.relative_to(PACKAGE)
    folder = place.parts[0] if len(place.parts) > 1 else ""
    assert violations(folder, str(place), path.read_text(encoding="utf-8")) == []


def outside(folder: str, source: str) -> list[str]:
    """What a module in a folder beside the package imports against the rules."""
    tops = {name.partition(".")[0] for name in imported(source, folder)}
    return sorted(tops & BESIDE[folder])


@pytest.mark.parametrize("folder", BESIDE)
def test_what_stands_beside_the_package_keeps_the_rules(folder: str) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))
    assert modules
    assert {str(path): outside(folder, path.read_text(encoding="utf-8")) for path in modules} == {
        str(path): [] for path in modules
    }


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("bench", "from tests.kernel.clients import listen"),
        ("bench", "def f():\n    import tests.unit"),
        ("vm", "from tests import kernel"),
        ("vm", "from bench.cost import table"),
        ("vm", "import accepttrace"),
    ],
)
def test_the_rules_beside_the_package_catch_what_breaks_them(folder: str, source: str) -> None:
    assert outside(folder, source)


def test_every_folder_has_its_rule() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(MAY_USE)


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("model", "from accepttrace.sockets import inventory"),
        ("model", "from accepttrace import cli"),
        ("model", "def f():\n    import accepttrace.probe.session"),
        ("views", "from accepttrace.sockets.names import worker_name"),
        ("views", "from accepttrace.cli.options import take_filters"),
        ("sockets", "from accepttrace.views import text"),
        ("sockets", "import ctypes.util"),
        ("run", "from accepttrace.cli.options import take_filters"),
        ("run", "import click"),
        ("views", "from accepttrace.run.pace import Pace"),
        ("cli", "import struct"),
        ("cli", "from rich.console import Console"),
        ("views", "import rich.table"),
        ("views", "import click"),
        ("lab", "import accepttrace.facts.records"),
        ("facts", "from accepttrace.model.snapshot import Meta"),
        ("probe", "from accepttrace.model.histogram import add"),
        ("sockets", "from accepttrace.model.snapshot import Snapshot"),
    ],
)
def test_the_rules_catch_what_breaks_them(folder: str, source: str) -> None:
    assert violations(folder, f"{folder}/new.py", source)


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("model", "from accepttrace.config import Filters\nimport errno"),
        ("views", "from accepttrace.model.snapshot import Snapshot"),
        ("probe", "import ctypes, struct\nfrom accepttrace.errors import UnsupportedError"),
        ("cli", "import click\nfrom accepttrace.probe.session import Session"),
    ],
)
def test_the_rules_allow_what_they_should(folder: str, source: str) -> None:
    assert violations(folder, f"{folder}/new.py", source) == []
