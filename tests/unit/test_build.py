"""What a build says where it cannot be done, and what is handed out of it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = runpy.run_path(str(ROOT / "vagrant" / "packages.py"))


def test_without_a_compiler_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hatchling")
    hook: Any = runpy.run_path(str(ROOT / "bpf" / "hatch_build.py"))["BpfBuildHook"]
    (tmp_path / "make").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit) as caught:
        hook.initialize(object(), "standard", {})
    (line,) = str(caught.value).splitlines()
    assert "without clang, llvm-strip: apt-get install make clang llvm libbpf-dev" in line


def test_the_notes_of_a_release_are_its_part_of_the_changelog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PACKAGES["notes"].__globals__, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n- new\n\n"
        "## [1.2.0] - 2026-01-01\n### Added\n- one\n\n## 1.1\n- two\n"
    )
    assert PACKAGES["notes"]("1.2.0") == "# accepttrace 1.2.0\n\n### Added\n- one\n"
    assert PACKAGES["notes"]("1.1") == "# accepttrace 1.1\n\n- two\n"
    assert PACKAGES["notes"]("2.0") == "# accepttrace 2.0\n\n- new\n"


@pytest.mark.parametrize("url", ["", "https://example.org/a/accepttrace/"])
def test_the_readme_of_the_package_links_to_the_repository_where_it_is_known(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hatchling")
    monkeypatch.setenv("REPOSITORY_URL", url)
    hook: Any = runpy.run_path(str(ROOT / "docs" / "hatch_readme.py"))["ReadmeHook"]
    metadata: dict[str, Any] = {"version": "1.2"}
    hook(str(ROOT), {}).update(metadata)
    links = re.findall(r"\]\(([^)]*)\)", metadata["readme"]["text"])
    own = re.findall(r"\]\(([^)]*)\)", (ROOT / "README.md").read_text())
    assert len(links) == len(own) > 20
    if not url:
        assert (links, metadata["urls"]) == (own, {})
        return
    where = url.rstrip("/")
    assert f"{where}/raw/v1.2/docs/live.svg" in links
    assert f"{where}/blob/v1.2/docs/install.md" in links
    assert all(link.startswith("https://") for link in links)
    assert metadata["urls"]["Homepage"] == where
