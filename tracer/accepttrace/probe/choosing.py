"""Choose an attach type by trying: load, attach, prove, or say why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from accepttrace.config import Config
from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.probe import lockdown, pidns, privileges
from accepttrace.probe.load import loaders
from accepttrace.probe.plans import Plan
from accepttrace.probe.selftest import LoopbackError
from accepttrace.probe.tracer import Tracer

T = TypeVar("T", bound=Tracer)
Kind = Callable[[loaders.Attached], T]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attach type that was tried. `error` is None for the one that works."""

    attach: str
    loader: str
    error: AcceptTraceError | None


def first(config: Config, plans: Iterable[Plan], kind: Kind[T]) -> T:
    """The first plan that can be proved, with the filters set.

    Raises `UnsupportedError` that says why each of them failed.
    """
    pidns.seen_from()  # what is wrong with it no attach type would mend
    loader = loaders.choose(config.loader)
    attempts: list[Attempt] = []
    for plan in plans:
        if config.attach not in ("auto", plan.attach):
            continue
        tracer = attempt(plan, loader, attempts, kind)
        if tracer is not None:
            tracer.filter(config.filters)
            return tracer
        if isinstance(attempts[-1].error, LoopbackError):
            raise attempts[-1].error
    raise _nothing_works(attempts)


def attempt(plan: Plan, loader: loaders.Name, attempts: list[Attempt], kind: Kind[T]) -> T | None:
    """Load, attach and prove one plan; the outcome is appended to `attempts`."""
    try:
        tracer = kind(loaders.load(loader, plan))
        try:
            tracer.prove()
        except BaseException:
            tracer.close()
            raise
    except LoopbackError as error:  # which no other attach type would mend
        attempts.append(Attempt(plan.attach, loader, error))
        return None
    except UnsupportedError as error:
        if plan.fallback is not None:
            return attempt(plan.fallback, loader, attempts, kind)
        attempts.append(Attempt(plan.attach, loader, error))
        return None
    attempts.append(Attempt(plan.attach, loader, None))
    return tracer


def _nothing_works(attempts: list[Attempt]) -> UnsupportedError:
    reasons = "; ".join(f"{a.attach}: {a.error.message}" for a in attempts if a.error)
    detail = "\n".join(a.error.detail for a in attempts if a.error)
    if not privileges.may_trace():
        return UnsupportedError("no permission to trace", privileges.ADVICE, f"{reasons}\n{detail}")
    if lockdown.forbids_tracing():
        message = "kernel lockdown (confidentiality) forbids BPF to read kernel memory"
        return UnsupportedError(message, lockdown.ADVICE, f"{reasons}\n{detail}")
    return UnsupportedError(
        f"this kernel cannot be traced ({reasons})", "see `accepttrace doctor`", detail
    )
