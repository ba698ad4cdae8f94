"""Work shared between threads, by the backends in Python; csrc/threads/pool.hpp has the same."""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from typing import TypeVar

from gdfast._numerics.float_mode import standard

T = TypeVar("T")


@cache
def quota(root: Path = Path("/")) -> int | None:
    """The number of processors whose time the cgroups (as of a container) let this process use; None: no limit."""
    return max(1, math.ceil(min(limits))) if (limits := list(_quotas(root))) else None


def _quotas(root: Path) -> Iterator[float]:
    """The limits of the process's cgroups and of those around them, as numbers of processors.

    A container may see the paths of its host, or its own folder in their place: files that are not there are passed.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        group = PurePosixPath(path.lstrip("/"))
        for within in (group, *group.parents):
            if not controllers:  # version 2
                given, _, period = _text(root / "sys/fs/cgroup" / within / "cpu.max").partition(" ")
            elif "cpu" in controllers.split(","):
                folder = root / "sys/fs/cgroup/cpu" / within
                given, period = (
                    _text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")
                )
            else:
                continue
            if given.strip().isdecimal() and period.strip().isdecimal():  # else "max", or -1
                yield int(given) / int(period)


def _text(path: Path) -> str:
    """The text of a file of the system; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


_stopped: ContextVar[threading.Event | None] = ContextVar("_stopped", default=None)


@contextmanager
def stopped_by(event: threading.Event) -> Iterator[None]:
    """Within this block `check_stopped` heeds the event: Ctrl-C reaches the main thread alone."""
    token = _stopped.set(event)
    try:
        yield
    finally:
        _stopped.reset(token)


def check_stopped() -> None:
    """Raise `CancelledError` if nobody waits for what this thread does; to be called between long calls."""
    event = _stopped.get()
    if event is not None and event.is_set():
        raise CancelledError


def in_threads(work: Callable[[T], None], parts: Sequence[T], threads: int) -> None:
    """Call work on each part, on up to so many threads, the calling one included, and wait for them all.

    After an error no other part is begun.
    """
    left = deque(parts)

    def share() -> None:
        try:
            while True:
                try:
                    part = left.popleft()
                except IndexError:
                    return
                check_stopped()
                work(part)
        except BaseException:
            left.clear()
            raise

    helpers = min(threads, len(parts)) - 1
    if helpers > 0:
        _pool(os.getpid()).run(share, helpers)
    else:
        share()


class _Pool:
    """Threads that help any caller. They are daemons: the end of the interpreter waits for none of them."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[None], Callable[[], None]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        self._asked = 0  # helpers, by the calls under way

    def run(self, function: Callable[[], None], helpers: int) -> None:
        """Call the function here and in each helper that comes before it returns; wait for no others.

        Ctrl-C waits for nobody: what a helper still does goes to arrays that no one will look at.
        """
        with self._lock:
            self._asked += helpers
            self._start()
        calls: list[Future[None]] = [Future() for _ in range(helpers)]
        for call in calls:
            self._calls.put((call, function))
        interrupted = False
        try:
            function()
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            begun = [call for call in calls if not call.cancel()]
            with self._lock:
                self._asked -= helpers
            errors = [] if interrupted else [call.exception() for call in begun]
        for error in errors:
            if error is not None:
                raise error

    def _start(self) -> None:
        while self._started < self._asked:
            try:
                threading.Thread(target=self._serve, name="gdfast", daemon=True).start()
            except RuntimeError:  # the system gives no more: those there are do the work
                return
            self._started += 1

    def _serve(self) -> None:
        while True:
            call, function = self._calls.get()
            if call.set_running_or_notify_cancel():
                try:
                    standard(function)()  # each thread has a floating-point mode of its own
                except BaseException as error:
                    call.set_exception(error)
                else:
                    call.set_result(None)
            del call, function  # they hold the data


@cache
def _pool(process: int) -> _Pool:  # noqa: ARG001
    """The pool of a process: a fork leaves its parent's threads behind, and the locks in any state."""
    return _Pool()
