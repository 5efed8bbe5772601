"""What bash, zsh and fish offer, asked in the real shells."""

from __future__ import annotations

import os
import pty
import runpy
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from accepttrace.cli import cli
from accepttrace.views.columns.tcp import TABLE
from accepttrace.views.columns.udp import TABLE as OF_UDP

PACKAGES = runpy.run_path(str(Path(__file__).parents[2] / "vagrant" / "packages.py"))
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
LIMIT_S = 30.0


def offered(line: str) -> list[str]:
    """What click answers when a shell asks about this line, which ends where the cursor is."""
    words = line.split()
    place = len(words) - (not line.endswith(" "))
    asked = {
        "_ACCEPTTRACE_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(place),
    }
    done = CliRunner().invoke(cli, prog_name="accepttrace", env=asked)
    return [each.partition(",")[2] for each in done.output.split()]


def test_the_first_word_is_a_command_or_what_the_default_one_takes() -> None:
    assert offered("accepttrace wh") == ["who"]
    assert offered("accepttrace --so") == ["--sort"]
    assert offered("accepttrace --vers") == ["--version"]
    assert set(cli.commands) <= set(offered("accepttrace "))
    assert len(set(offered("accepttrace --"))) == len(offered("accepttrace --"))


def test_options_of_the_command_and_what_they_take() -> None:
    assert offered("accepttrace check 80 --attach f") == ["fentry"]
    assert offered("accepttrace --sort acc") == ["accepts"]
    assert offered("accepttrace top --columns pid,listener_i") == ["pid,listener_inode"]
    assert offered("accepttrace --sort ") == list(TABLE.keys())
    assert offered("accepttrace --udp --sort ") == list(OF_UDP.keys())


def test_ports_are_those_that_have_a_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as bound:
        port = str(listener.getsockname()[1])
        bound.bind(("127.0.0.1", 0))
        assert port in offered("accepttrace -p ")
        assert offered(f"accepttrace who {port}") == [port]
        assert offered(f"accepttrace events -p 80,{port}") == [f"80,{port}"]
        assert offered(f"accepttrace {bound.getsockname()[1]}") == []
    assert offered(f"accepttrace check {port}") == []


def test_bash_completes(tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(PACKAGES["completion"]("bash"))
    asked = (
        f"source {script}; COMP_WORDS=(accepttrace check 80 --max-q); COMP_CWORD=3;"
        " _accepttrace_completion accepttrace; printf '%s\\n' \"${COMPREPLY[@]}\"; complete -p"
    )
    command = ("bash", "--norc", "-c", asked)
    environment = {**os.environ, "PATH": PATH}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_S)
    assert done.stdout.splitlines()[0] == "--max-queue"
    assert "-F _accepttrace_completion accepttrace" in done.stdout


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes(tmp_path: Path) -> None:
    (tmp_path / "_accepttrace").write_text(PACKAGES["completion"]("zsh"))
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(PATH=PATH, HOME=str(tmp_path), TERM="dumb", PS1="% ")
        os.execvp("zsh", ("zsh", "-f", "-i"))
    try:
        os.write(fd, f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -D -u\n".encode())
        os.write(fd, b"accepttrace check 80 --max-q\t")
        shown = b""
        deadline = time.monotonic() + LIMIT_S
        while b"--max-queue" not in shown and time.monotonic() < deadline:
            if select.select([fd], [], [], 0.1)[0]:
                shown += os.read(fd, 65536)
        assert b"--max-queue" in shown
    finally:
        os.close(fd)
        os.waitpid(pid, 0)


def test_fish_has_a_script_of_its_own() -> None:
    assert "complete --no-files --command accepttrace" in PACKAGES["completion"]("fish")
