"""The one error class that reaches a person, with the exit status it ends in."""

from __future__ import annotations

from typing import Final

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NO_VERDICT: Final = 3
EXIT_BAD_VERDICT: Final = 4
EXIT_UNSUPPORTED: Final = 77


class AcceptTraceError(Exception):
    """What failed and why (`message`), what to do next (`hint`), and the exit status.

    `detail` holds the long story (a libbpf or verifier log); it is shown only with `-v`.
    """

    exit_code: int = EXIT_FAILED

    def __init__(self, message: str, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class UsageError(AcceptTraceError):
    """The command line asks for something that does not exist or cannot be."""

    exit_code = EXIT_USAGE


class UnsupportedError(AcceptTraceError):
    """This kernel or these privileges cannot do it.

    `code`: the errno (positive) of who refused it; 0: none. `silent`: hooks attached, and nothing
    came of them.
    """

    exit_code = EXIT_UNSUPPORTED

    def __init__(
        self, message: str, hint: str = "", detail: str = "", code: int = 0, silent: bool = False
    ) -> None:
        super().__init__(message, hint, detail)
        self.code = code
        self.silent = silent
