"""What people call a process: `nginx: worker` and `gunicorn` instead of `nginx` and `python3`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

# Servers that write what they do into their command line. First match wins.
TITLES: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"nginx: master process", "nginx: master"),
        (r"nginx: worker process is shutting down", "nginx: worker (leaving)"),
        (r"nginx: worker process", "nginx: worker"),
        (r"nginx: cache (manager|loader) process", r"nginx: cache \1"),
        (r"gunicorn: (master|worker)\b", r"gunicorn: \1"),
        (r"php-fpm: (master)\b", r"php-fpm: \1"),
        (r"php-fpm: pool (\S+)", r"php-fpm: pool \1"),
        (r"puma: cluster worker \d+", "puma: worker"),
        (r"puma (\d\S*) ", "puma"),
        (r"(unicorn|rainbows)(?:_rails)? (master|worker)\b", r"\1: \2"),
        (r"Passenger (core|watchdog)\b", r"passenger: \1"),
        (r"(lighttpd|starman|starlet) (master|worker)\b", r"\1: \2"),
        (r"postgres: (?:\S+: )?(\w+)", r"postgres: \1"),
        (r"sshd: (?:/\S+ )?\S* ?\[listener\]", "sshd: listener"),
    )
)

# Interpreters: the script is the name. The options that take their value as the next word.
INTERPRETERS: Final[tuple[tuple[re.Pattern[str], frozenset[str]], ...]] = tuple(
    (re.compile(pattern), frozenset(options.split()))
    for pattern, options in (
        (r"python[\d.]*|pypy[\d.]*", "-W -X"),
        (r"node(js)?|bun|deno", "-r --require --import --loader --conditions -C --env-file"),
        (r"ruby[\d.]*|jruby", "-I -r -E -W -C"),
        (r"perl[\d.]*", "-I"),
        (r"php[\d.]*", "-c -d -z"),
        (r"java", "-cp -classpath --class-path -p --module-path --add-modules --add-opens"),
        (r"bash|sh|dash", "-o -O"),
    )
)
MODULE: Final = {"-m", "--module", "-jar"}
INLINE: Final = {"-c", "-e", "-E", "-p", "-r", "--eval", "--print"}
SUFFIX: Final = re.compile(r"\.(py|pyc|pyz|js|mjs|cjs|ts|rb|pl|php|jar|sh)$")


def worker_name(comm: str, cmdline: Sequence[str]) -> str:
    """The recognisable name of a process; `comm` where nothing better is known.

    `comm` is the kernel's name (15 bytes), `cmdline` the words of /proc/PID/cmdline: one word with
    spaces where a server has set its title.
    """
    words = [word for word in cmdline if word]
    if not words:
        return comm
    if _renamed(comm, words):
        return comm
    return _from_title(words) or _from_script(words) or comm


def _renamed(comm: str, words: Sequence[str]) -> bool:
    """A process of an interpreter that gave itself a name: neither the interpreter nor a word."""
    if not _is_interpreter(_base(words[0]).lstrip("-")) or comm in ("", "MainThread"):
        return False
    return not _is_interpreter(comm) and all(_base(word)[:15] != comm for word in words)


def _is_interpreter(program: str) -> bool:
    return any(pattern.fullmatch(program) for pattern, _ in INTERPRETERS)


def _from_title(words: Sequence[str]) -> str | None:
    # A title begins the line; arguments of an ordinary command must not be taken for one.
    text = " ".join(words)
    for pattern, name in TITLES:
        found = pattern.match(text)
        if found:
            return found.expand(name)
    return None


def _from_script(words: Sequence[str]) -> str | None:
    program = _base(words[0]).lstrip("-")
    for pattern, takes_value in INTERPRETERS:
        if pattern.fullmatch(program):
            return _script(program, words[1:], takes_value)
    return None


def _script(program: str, words: Sequence[str], takes_value: frozenset[str]) -> str | None:
    rest = iter(words)
    for word in rest:
        if word in MODULE:
            return _module(program, next(rest, ""))
        if word in takes_value:
            next(rest, None)
        elif word in INLINE:
            return None
        elif not word.startswith("-"):
            if (program, word) in {("bun", "run"), ("deno", "run")}:
                continue
            return _module(program, word) if program == "java" else _script_name(word)
    return None


def _module(program: str, word: str) -> str | None:
    """`-m uvicorn` → uvicorn; java: `-jar /opt/app.jar` → app.jar, org.example.Main → Main."""
    if SUFFIX.search(word):
        return _script_name(word)
    if program == "java":
        return _script_name(word.rsplit(".", 1)[-1])
    return word.removesuffix(".__main__") or None


def _script_name(word: str) -> str | None:
    """/srv/app/manage.py → manage.py: the suffix stays, as people know the file by it."""
    return _base(word) or None


def _base(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]
