"""A report in a browser: it draws itself, asks nobody, and names in it do nothing."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.hostile.processes import ACCEPTTRACE
from tests.unit.test_recording import recorded

EVIL = (
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "${7*7} {{7*7}} <!--",
    "$title \\u003cb\\u003e",
)
WIDTHS = (400, 900, 1600)
# Of its own the browser asks for updates and the like.
QUIET = (
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-default-apps", "--disable-extensions"),
)
BUDGET_MS = 10_000  # of the page's own time, which passes as fast as it can


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run whose workers have these names."""
    folder = tmp_path_factory.mktemp("report")
    recorded(folder / "<b>run.gz", names=EVIL)
    for form in ("html", "svg", "json"):
        command = (*ACCEPTTRACE, "report", folder / "<b>run.gz", "-o", folder / f"report.{form}")
        subprocess.run(command, check=True)
    return folder / "report.html"


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What the browser says of a page."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("there is no chromium")
    profile = page.parent / "profile"
    settings = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}")
    return subprocess.run(
        (
            *(browser, *settings, *QUIET, "--enable-logging=stderr"),
            *(f"--virtual-time-budget={BUDGET_MS}", *options, page.as_uri()),
        ),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """On the page's console."""
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def asked(log: Path) -> set[str]:
    """What a page asked others for; what the browser asks for of its own has no origin."""
    events = (line for line in log.read_text().splitlines() if '"initiator":"' in line)
    of_page = (line for line in events if '"initiator":"not an origin"' not in line)
    return {url for line in of_page for url in re.findall(r'"url":"(https?://[^"]+)"', line)}


def test_what_a_page_asks_for_is_seen(tmp_path: Path) -> None:
    other = tmp_path / "other.html"
    other.write_text('<img src="http://127.0.0.1:9/picture">')
    browse(other, f"--log-net-log={tmp_path / 'net.json'}")
    assert asked(tmp_path / "net.json") == {"http://127.0.0.1:9/picture"}


@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_drawn_at_any_width_and_says_nothing(page: Path, width: int) -> None:
    picture = page.parent / f"{width}.png"
    done = browse(page, f"--screenshot={picture}", f"--window-size={width},1200")
    assert said(done) == []
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (width, 1200)


def test_names_do_nothing_and_nobody_is_asked(page: Path) -> None:
    log = page.parent / "net.json"
    done = browse(page, "--dump-dom", f"--log-net-log={log}")
    assert said(done) == []
    dom = done.stdout
    assert "<title>accepttrace :80</title>" in dom
    assert dom.count("<svg ") >= 3  # all charts are there
    shown = dom.partition("<script>")[0]
    assert "<img" not in shown
    assert "<b>run" not in shown
    for name in EVIL:
        assert name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in shown
    assert asked(log) == set()


def test_the_other_forms_hold_together(page: Path) -> None:
    from xml.etree import ElementTree

    svg = ElementTree.parse(page.with_suffix(".svg")).getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [one for one in svg.iter() if one.tag.endswith(("script", "img"))]
    whole = json.loads(page.with_suffix(".json").read_text())
    assert {row["name"] for row in whole["summary"]["acceptors"]} == set(EVIL)
    values = [value for one in whole["charts"][0]["layer"] for value in one["data"]["values"]]
    assert {v["worker"].partition(" ")[2] for v in values if "worker" in v} == set(EVIL)


def test_a_file_that_cannot_be_written_is_said(page: Path) -> None:
    recording = page.parent / "<b>run.gz"
    for target, why in (("/nowhere/x.html", "No such file"), ("x.pdf", "ends in none of .html")):
        command = (*ACCEPTTRACE, "report", recording, "-o", target)
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, "Traceback" in done.stderr, why in done.stderr) == (2, False, True)
