"""What people call a process: `nginx: worker` and `gunicorn` instead of `nginx` and `python3`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from accepttrace.facts.matching import cut

NAME_LENGTH: Final = 64  # characters: a title may be as long as its owner wants

# Servers that write what they do into their command line. First match wins.
TITLES: Final = (
    (r"(nginx|angie): master process", r"\1: master"),
    (r"(nginx|angie): worker process is shutting down", r"\1: worker (leaving)"),
    (r"(nginx|angie): worker process", r"\1: worker"),
    (r"(nginx|angie): cache (manager|loader) process", r"\1: cache \2"),
    (r"gunicorn: (master|worker)\b", r"gunicorn: \1"),
    (r"php-fpm: master\b", "php-fpm: master"),
    (r"php-fpm: pool (\S+)", r"php-fpm: pool \1"),
    (r"puma: cluster worker \d+", "puma: worker"),
    (r"puma \d", "puma"),
    (r"(unicorn|rainbows)(?:_rails)? (master|worker)\b", r"\1: \2"),
    (r"Passenger (\w+)", r"passenger: \1"),
    (r"(lighttpd|starman|starlet) (master|worker)\b", r"\1: \2"),
    (r"uWSGI (\w+)", r"uwsgi: \1"),
    (r"\((wsgi:[^)]+)\)", r"\1"),
    (r"\((squid-\w+)\)", r"\1"),
    (r"postgres: (?:\S+: )?(\w+)", r"postgres: \1"),
    (r"PM2 v\S+: (God Daemon)", r"PM2: \1"),
    (r"sshd: (?:/\S+ )?\S* ?\[listener\]", "sshd: listener"),
    (r"(\S+) \(v[\d.]+\)", r"\1"),
)
# Java classes that people know by another name.
CLASSES: Final = {
    "org.apache.catalina.startup.Bootstrap": "tomcat",
    "org.apache.zookeeper.server.quorum.QuorumPeerMain": "zookeeper",
}
SCRIPT: Final = r"\.(py|pyc|pyz|js|mjs|cjs|ts|rb|ru|pl|psgi|php|phar|jar|war|sh|java|dll|exs?)$"
# A worker that Python started anew: its program is that of its parent.
SPAWNED: Final = r"from (multiprocessing|billiard)\.\w+ import"
NEVER: Final = r"(?!)"


class Interpreter(NamedTuple):
    """A program that runs another one, by whose name people know it. Words are parted by blanks."""

    program: str  # pattern of its file name
    values: str = ""  # options whose value is the next word
    names: str = ""  # options whose value is the name
    code: str = ""  # options whose value is a program without a name
    letters: str = ""  # options of one letter that may stand before another one: -Im
    verbs: str = ""  # words that may stand before the script
    needs: str = ""  # pattern of its scripts: other words are passed over


INTERPRETERS: Final = (
    Interpreter(
        r"(python|pypy)[\d.]*t?",
        "-W -X --check-hash-based-pycs --jit",
        "-m",
        "-c",
        "bBdEiIOPqRsSuvx",
    ),
    Interpreter(
        r"node(js)?|bun|deno",
        "-r --require --import --loader --experimental-loader -C --conditions --env-file"
        " --env-file-if-exists --title --input-type --watch-path --preload --config --port --host",
        code="-e -p -pe --eval --print",
        verbs="run serve",
    ),
    Interpreter(r"(j|truffle)?ruby[\d.]*", "-I -r -E -C", code="-e", letters="wvadlnpsSU"),
    Interpreter(r"perl[\d.]*", "-I", code="-e -E", letters="wTtUWXnpals"),
    Interpreter(
        r"php[\d.]*(-cgi|-zts)?[\d.]*", "-c -d -z -S -t -b", "-f --file", "-r --run -B -R -E"
    ),
    Interpreter(
        r"java",
        "-cp -classpath --class-path -p --module-path --add-modules --add-opens --add-exports"
        " --add-reads --limit-modules --upgrade-module-path --patch-module --source"
        " --enable-native-access",
        "-jar -m --module",
    ),
    Interpreter(
        r"dotnet",
        "--depsfile --runtimeconfig --fx-version --roll-forward --additionalprobingpath",
        needs=r".*\.(dll|exe)$",
    ),
    Interpreter(r"beam(\.smp)?", names="-sname -name", needs=NEVER),
    Interpreter(r"(ba|da|k|z)?sh", "-o -O +o +O --rcfile", code="-c -s", letters="eufxvlmna"),
    Interpreter(r"ld-(linux|musl)[\w.-]*", "--library-path --preload --inhibit-rpath --argv0"),
    Interpreter(r"busybox|toybox|mono(-sgen)?|lua[\d.]*|luajit|tclsh[\d.]*|julia|Rscript|escript"),
)


def worker_name(comm: str, cmdline: Sequence[str]) -> str:
    """The recognisable name of a process, at most NAME_LENGTH long; else `comm`.

    `comm` is the kernel's name (15 bytes), `cmdline` the words of /proc/PID/cmdline: one word with
    spaces where a server has set its title.
    """
    words = [word for word in cmdline if word]
    name = comm
    if words:
        name = _from_title(words) or _from_program(comm, words) or comm or _base(words[0])
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"


def is_spawned(cmdline: Sequence[str]) -> bool:
    """Whether Python's multiprocessing started it anew: then its parent's name is its own."""
    return any(re.match(SPAWNED, word) for word in cmdline[:8])


def _from_title(words: Sequence[str]) -> str | None:
    # A title begins the line; arguments of an ordinary command must not be taken for one.
    if not set(words[0]) & set(": ("):
        return None
    text = " ".join(words)
    for pattern, name in TITLES:
        found = re.match(pattern, text)
        if found:
            return found.expand(name)
    return None


def _from_program(comm: str, words: Sequence[str]) -> str | None:
    if len(words) == 1 and " " in words[0]:
        return _from_line(comm, words[0])
    interpreter = _interpreter(words[0])
    if interpreter is None or _renamed(comm, words):
        return _uncut(comm, words[0])
    return _script(interpreter, words[1:]) or (_base(words[0]) if comm == "MainThread" else None)


def _from_line(comm: str, line: str) -> str | None:
    """Of a title: it may be a command line, as pm2 sets it, or any other text."""
    program, *words = line.split()
    interpreter = _interpreter(program)
    if interpreter and any("/" in word or re.search(SCRIPT, word) for word in words):
        return _script(interpreter, words)
    return _uncut(comm, line)


def _uncut(comm: str, word: str) -> str | None:
    """The program or title that the kernel cut to `comm`."""
    first = re.split(r"[\s:]", word)[0]
    found = (text for text in (_base(first), _base(word), word) if cut(text) == comm)
    return next(found, "").strip() or None


def _renamed(comm: str, words: Sequence[str]) -> bool:
    """A process of an interpreter that gave itself a name: neither the interpreter nor a word."""
    if comm in ("", "MainThread") or _interpreter(comm):
        return False
    return all(cut(_base(word)) != comm for word in words)


def _interpreter(path: str) -> Interpreter | None:
    program = _base(path).lstrip("-")
    return next((one for one in INTERPRETERS if re.fullmatch(one.program, program)), None)


def _script(interpreter: Interpreter, words: Sequence[str]) -> str | None:
    """The name in what follows an interpreter."""
    values, names, code, verbs = (
        frozenset(text.split()) for text in interpreter[1:4] + interpreter[5:6]
    )
    rest = iter(words)
    for word in rest:
        option, attached = _option(interpreter, word)
        if option in names:
            return _named(interpreter, attached or next(rest, ""))
        if option in code or word == "-":
            return None
        if option in values:
            if not attached:
                next(rest, None)
        elif word == "--" and not interpreter.needs:
            return _named(interpreter, next(rest, ""))
        elif _is_script(interpreter, word) and word not in verbs:
            return _named(interpreter, word)
    return None


def _is_script(interpreter: Interpreter, word: str) -> bool:
    # A number, or an address, is the value of an option that is not known here.
    if word.startswith(("-", "+", "@")) or re.fullmatch(r"[\d.:]+", word):
        return False
    return bool(re.match(interpreter.needs, word))


def _option(interpreter: Interpreter, word: str) -> tuple[str, str]:
    """`-Im` → (`-m`, ``), `-mhttp.server` → (`-m`, `http.server`); others stay as they are."""
    if not interpreter.letters or not word.startswith("-") or word.startswith("--"):
        return word, ""
    letters = word[1:].lstrip(interpreter.letters)
    return f"-{letters[:1]}", letters[1:]


def _named(interpreter: Interpreter, word: str) -> str | None:
    """/srv/manage.py → manage.py: the suffix stays, as people know the file by it."""
    if _base(word) == "__main__.py":
        return _base(word.removesuffix("__main__.py")) or _base(word)
    if re.search(SCRIPT, word):
        return _base(word)
    if interpreter.program == "java":
        return CLASSES.get(word) or re.split(r"[./]", word)[-1] or None
    if interpreter.needs == NEVER:
        return word.partition("@")[0] or None
    return _base(word).removesuffix(".__main__").strip(".") or None


def _base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
