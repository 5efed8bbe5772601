"""bcc on this machine: there, missing, or another program of that name. Imported when used."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from accepttrace.errors import UnsupportedError

_PACKAGES = "python3-bpfcc (Debian, Ubuntu), python3-bcc (Fedora, AlmaLinux) or python-bcc (Arch)"
_VERSION = re.compile(r"""__version__\s*=\s*['"]([^'"]+)""")


def version() -> str:
    """Version of the installed bcc, without importing it (that takes long); "" where not known.

    Raises `UnsupportedError` where it is missing, or another program called bcc is in its place:
    the `bcc` of PyPI is about crystal lattices.
    """
    folder = _folder()
    try:
        found = _VERSION.search(Path(folder, "version.py").read_text())
    except OSError:
        return ""
    return found.group(1) if found else ""


def load() -> ModuleType:
    """The module `bcc`. Raises `UnsupportedError` as `version` does, or where it cannot start."""
    folder = _folder()
    try:
        import bcc
    except Exception as error:  # of any kind: it loads a C library and reads the kernel's symbols
        message = f"bcc of {folder} does not start: {error}"
        raise UnsupportedError(message, _advice()) from None
    if not hasattr(bcc, "BPF"):
        raise _stranger(folder)
    return bcc  # type: ignore[no-any-return]


def _folder() -> Path:
    spec = find_spec("bcc")
    if spec is None:
        raise UnsupportedError(f"bcc is not installed for {sys.executable}", _advice())
    places = list(spec.submodule_search_locations or ())
    folder = Path(places[0] if places else str(spec.origin))
    if not Path(folder, "libbcc.py").is_file():
        raise _stranger(folder)
    return folder


def _stranger(found: Path) -> UnsupportedError:
    return UnsupportedError(
        f"{found} is another program called bcc, not the BPF Compiler Collection",
        f"remove it (`{sys.executable} -m pip uninstall bcc`), then {_advice()}",
    )


def _advice() -> str:
    advice = f"install {_PACKAGES}"
    if sys.prefix != sys.base_prefix:
        advice += "; a virtual environment sees it if made with --system-site-packages"
    return advice
