"""Who has a name of AF_UNIX, and whether it can be bound."""

from __future__ import annotations

from accepttrace.config import Filters
from accepttrace.facts.naming import NameUse, NameUser
from accepttrace.sockets.diag.unix import NamedSocket, SocketFile, file_at, named_sockets
from accepttrace.sockets.holding import Holding
from accepttrace.sockets.tryname import NameTrial, try_name
from accepttrace.sockets.unixinventory import AskedFor


def name_use(name: str, uid: int, netns: int | None) -> NameUse:
    """`netns`: of an abstract name; None: our own. A path is looked for in all.

    OSError if it may not be entered; AcceptTraceError and UnsupportedError where the kernel does
    not list sockets.
    """
    holding = Holding(Filters(), None)
    try:
        holding.begin(full=True)
        number = holding.own if netns is None else netns
        path = holding.path(number)
        if name.startswith("@"):
            looks = [(number, named_sockets(path))]
        else:
            looks = holding.ask(lambda _, one: named_sockets(one), everywhere=True)
        file = file_at(name)
        asked = AskedFor([name])
        asked.look()
        found = [
            (n, one)
            for n, rows in looks
            for one in rows
            if asked.match(one.sock.name, one.sock.file)
        ]
        holding.finish([one.sock.inode for _, one in found], full=True)
        users = tuple(_user(one, n, _is_there(one, name, file), holding) for n, one in found)
        outcome = try_name(NameTrial(name, uid, path))
        return NameUse(name, uid, number, outcome, users, holding.unread)
    finally:
        holding.close()


def _is_there(one: NamedSocket, name: str, file: SocketFile | None) -> bool:
    return one.sock.name == name if name.startswith("@") else one.sock.file == file


def _user(one: NamedSocket, netns: int, there: bool, holding: Holding) -> NameUser:
    sock = one.sock
    holders = holding.holders(sock.inode)
    return NameUser(one.state, one.kind, sock.inode, sock.uid, netns, there, holders)
