"""Click commands: options → Config → run. One file a command, imported when it is called."""

from __future__ import annotations

import errno
import gc
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

from accepttrace import __version__
from accepttrace.cli.help import HELP_OPTIONS, write_examples
from accepttrace.errors import EXIT_FAILED, AcceptTraceError
from accepttrace.run.streams import abandon, occupy, tolerate

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {
    "top": "live table of accepts by worker (the default command)",
    "events": "one line a connection: who accepted it, after how long a wait",
    "who": "who shares a port, and how; needs no BPF",
    "check": "conditions on what a port gets; an exit status for scripts",
    "record": "keep what a run reads in a file",
    "replay": "look at a recording in every view",
    "diff": "two recordings side by side: what changed, and was it chance?",
    "report": "a recording on one page: HTML, SVG or JSON",
    "exporter": "metrics for Prometheus, served until it is ended",
    "doctor": "what this kernel and these privileges offer",
    "demo": "a real server in a sharing mode, under load, traced",
    "explain": "what a verdict, loss or column means, and what people do about it",
}
_DEFAULT = "top"
_EXAMPLES = (
    ("accepttrace 80 443", "the live table of these ports: the same as `accepttrace top 80 443`"),
    ("accepttrace who 80", "who shares the port, and how"),
    ("accepttrace check 443 -d 30s", "is the split fair? for scripts"),
    ("accepttrace explain UNEVEN", "what the word means, and what people do about it"),
)


def _is_place(text: str) -> bool:
    """A port, or a UNIX socket: no command is called so."""
    return text[:1].isdecimal() or text.startswith("@") or "/" in text


class LazyGroup(click.Group):
    """Imports a command's module only when that command runs; without a command runs `top`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"accepttrace.cli.{cmd_name}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """A reader that has seen enough is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            abandon()
            return None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {*HELP_OPTIONS, "--version", "-V"}
        is_option = bool(args) and args[0].startswith("-") and args[0] not in own
        is_asked = bool(args) or not ctx.resilient_parsing  # not by a shell, for the first word
        if is_asked and (not args or is_option or _is_place(args[0])):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Of the first word: a command, or what the default one takes."""
        default = self.get_command(ctx, _DEFAULT)
        assert default is not None
        inner = default.make_context(_DEFAULT, [], parent=ctx, resilient_parsing=True)
        found = [
            *super().shell_complete(ctx, incomplete),
            *default.shell_complete(inner, incomplete),
        ]
        return list({item.value: item for item in found}.values())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What needs no command, and what each option can be set by."""
        write_examples(formatter, _EXAMPLES)
        super().format_epilog(ctx, formatter)


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": HELP_OPTIONS,
        "auto_envvar_prefix": "ACCEPTTRACE",
    },
    epilog="Every option of a command can be set in the environment: ACCEPTTRACE_TOP_INTERVAL=5s,"
    " ACCEPTTRACE_CHECK_ATTACH=kprobe (`sudo -E` keeps them).",
)
@click.version_option(
    __version__, "-V", "--version", prog_name="accepttrace", allow_from_autoenv=False
)
def cli() -> None:
    """Which worker got each incoming TCP connection, through which listener, and was it fair?"""


def main() -> None:
    """Entry point: one clear line for an error, the exit status of its kind, no traceback."""
    said = {"verbose": False}  # by the options of the command
    gc.disable()  # a start of modules and tables: nothing of it is garbage
    try:
        occupy()
        tolerate()
        cli(standalone_mode=False, prog_name="accepttrace", obj=said)
    except AcceptTraceError as error:
        _complain(error.message, error.hint, error.detail if said["verbose"] else "")
        _exit(error.exit_code)
    except click.exceptions.Exit as done:
        _exit(done.exit_code)
    except click.Abort:
        _exit(0)
    except click.ClickException as error:
        error.show()
        _exit(error.exit_code)
    except (OSError, MemoryError) as error:
        if said["verbose"]:
            raise
        _complain(*_message(error), "")
        _exit(EXIT_FAILED)


def _exit(status: int) -> NoReturn:
    abandon()  # Python would write what is left of it once more, and wait for the reader
    sys.exit(status)


def _message(error: OSError | MemoryError) -> tuple[str, str]:
    """What failed and what to do next, of what the system refused."""
    if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
        return "there is not enough memory", "look at `ulimit -v` and the limits of the cgroup"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "there are not enough file descriptors", "raise `ulimit -n` to 256 or more"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and not error.filename:
        return f"cannot write the output: {error.strerror}", "send it to a place with room for it"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}", "run again with -v for the whole story"


def _complain(message: str, hint: str, detail: str) -> None:
    if detail:
        click.echo(detail.rstrip(), file=sys.stderr)
    click.echo(f"accepttrace: {message}", file=sys.stderr)
    if hint:
        click.echo(f"  next: {hint}", file=sys.stderr)
