"""Packages that only some commands need: extras of this one."""

from __future__ import annotations

from importlib.util import find_spec

from accepttrace.errors import UnsupportedError


def need(what: str, module: str, package: str, extra: str, instead: str = "") -> None:
    """UnsupportedError where the module of this package of an extra is not installed.

    `what`: who needs it, with the verb. `instead`: what does without.
    """
    if find_spec(module) is None:
        raise UnsupportedError(
            f"{what} the Python package {package}, which is not installed",
            f"install it: pip install 'accepttrace[{extra}]'{instead}",
        )


def need_msgspec() -> None:
    """UnsupportedError where recordings cannot be written or read."""
    need("recordings need", "msgspec", "msgspec", "record")
