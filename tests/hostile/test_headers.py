"""Kernel headers for bcc come from nowhere that others can write to."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from accepttrace.errors import UnsupportedError
from accepttrace.probe.load import headers

MADE = "include/linux/kconfig.h"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel without installed headers, with an archive of its own."""
    (tmp_path / MADE).parent.mkdir(parents=True)
    (tmp_path / MADE).write_text("/* the kernel's own */\n")
    archive = tmp_path / "kheaders.tar.xz"
    with tarfile.open(archive, "w:xz") as packed:
        packed.add(tmp_path / "include", "include")
    monkeypatch.setattr(headers, "_ARCHIVE", archive)
    monkeypatch.setattr(headers, "_MODULES", tmp_path / "no-modules")
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)
    return archive


def test_the_archive_is_unpacked_where_nobody_else_can_write(archive: Path) -> None:
    assert headers.found() == archive
    with headers.real():
        folder = Path(os.environ["BCC_KERNEL_SOURCE"])
        assert (folder / MADE).read_text() == "/* the kernel's own */\n"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.stat().st_uid == os.geteuid()
    assert not folder.exists()
    assert "BCC_KERNEL_SOURCE" not in os.environ


def test_a_broken_archive_is_reported_in_a_line(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(UnsupportedError, match="cannot unpack") as caught, headers.real():
        pass
    assert "\n" not in caught.value.message
    assert "BCC_KERNEL_SOURCE" not in os.environ


def test_headers_that_are_installed_are_used_as_they_are(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(archive.parent))
    with headers.real():
        assert os.environ["BCC_KERNEL_SOURCE"] == str(archive.parent)
