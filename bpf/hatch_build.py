"""Compiles the BPF objects when the package is built: clang is needed then, and never again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BpfBuildHook(BuildHookInterface[Any]):
    """Runs bpf/Makefile; the wheel carries one object per architecture."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        missing = [tool for tool in ("make", "clang", "llvm-strip") if not shutil.which(tool)]
        if missing:
            raise SystemExit(
                f"accepttrace: the BPF objects cannot be built without {', '.join(missing)}:"
                " apt-get install make clang llvm libbpf-dev, or install the wheel, which has them"
            )
        subprocess.run(["make", "-C", str(Path(self.root, "bpf"))], check=True)
