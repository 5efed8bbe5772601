"""Compiles the BPF objects when the package is built: clang is needed then, and never again."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BpfBuildHook(BuildHookInterface[Any]):
    """Runs bpf/Makefile; the wheel carries one object per architecture."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        subprocess.run(["make", "-C", str(Path(self.root, "bpf"))], check=True)
