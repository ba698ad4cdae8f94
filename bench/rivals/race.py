"""A line of the report: every rival in turns, and what each has led to."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import gdfast as gd
from gdfast._cli import benchmarks

from . import limit
from .by_gdfast import Gdfast
from .rival import CannotDo, Rival, Training
from .works import Data, Fit, Line, Minimize, Model, data, objective

SLACK = 0.05  # how much higher the objective may be where the rows come in another order
NEAR = 0.01  # how near an objective is when it is reached
BACKENDS = [name for name, state in gd.backends().items() if state == "available"]


@dataclass
class Entry:
    """What a rival did on a line. The figures are in the line's unit."""

    minimum: float = float("nan")
    median: float = float("nan")
    rows: int | None = None  # that it was given, where these are fewer than the line's
    reach: float | None = (
        None  # the figure of as many epochs as it needs to gdfast's objective, where these are others
    )
    error: str = ""


@dataclass
class Outcome:
    """A line's figures."""

    line: Line
    work: Fit | Minimize
    limit: float | None = (
        None  # the figure at which memory delivers the rows, where these are not too few
    )
    entries: dict[str, Entry] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)  # rival -> why it has no figure

    @property
    def own(self) -> str:
        """The backend that the target is for: the first that did the work."""
        return next(name for name in BACKENDS if name in self.entries)

    @property
    def failed(self) -> dict[str, str]:
        """The rivals without a figure because something went wrong, and what."""
        return {name: entry.error for name, entry in self.entries.items() if entry.error}

    @property
    def errors(self) -> list[str]:
        """The same as sentences."""
        return [f"{self.line.name}: {name}: {error}" for name, error in self.failed.items()]

    @property
    def best_rival(self) -> str | None:
        """The fastest that is not gdfast."""
        others = {
            name: entry.minimum
            for name, entry in self.entries.items()
            if name not in BACKENDS and name not in self.failed
        }
        return min(others, key=others.__getitem__, default=None)


@dataclass
class _Competitor:
    rival: Rival
    work: Fit | Minimize
    training: Training
    expected: Model

    @property
    def epochs(self) -> int:
        return self.work.epochs if isinstance(self.work, Fit) else 0

    def complaint(self, result: Any, rows: Callable[[Fit], Data]) -> str:
        """What is wrong with a result; "" if nothing is."""
        got, expected, within = self.training.model(result), self.expected, self.training.within
        if within is None:
            assert isinstance(self.work, Fit)
            of = partial(objective, self.work, rows(self.work))
            if of(got) <= (1 + SLACK) * of(expected):
                return ""
            return f"the objective is {of(got):.6g}, gdfast's {of(expected):.6g}"
        weights, right = (np.append(m.coef, m.intercept) for m in (got, expected))
        off = np.abs(weights - right).max() / np.abs(right).max()
        return "" if off <= within else f"the weights differ by {off:.1e} of the largest"

    def epochs_to(self, rows: Callable[[Fit], Data]) -> int | None:
        """How many epochs it needs to come near gdfast's objective; None if more than four times as many."""
        assert isinstance(self.work, Fit)
        of = partial(objective, self.work, rows(self.work))
        goal = (1 + NEAR) * of(self.expected)
        choice = range(1, 4 * self.epochs + 1)
        run, model = self.training.run, self.training.model
        k = bisect_left(choice, True, key=lambda epochs: of(model(run(epochs))) <= goal)
        return choice[k] if k < len(choice) else None


def reference(work: Fit | Minimize, rows: Callable[[Fit], Data]) -> Model:
    """What gdfast comes to."""
    work = work._replace(jitted=False) if isinstance(work, Minimize) else work
    training = _trained(Gdfast(BACKENDS[0]), work, rows)
    model: Model = training.run(work.epochs if isinstance(work, Fit) else 0)
    return model


def _trained(rival: Rival, work: Fit | Minimize, rows: Callable[[Fit], Data]) -> Training:
    if isinstance(work, Fit):
        return rival.fit(work, rows(work))
    run = rival.minimize(work)
    return Training(lambda _: run(), within=1e-9)


@contextmanager
def threads(work: Fit | Minimize) -> Iterator[None]:
    """BLAS and OpenMP with the line's threads."""
    with threadpool_limits(work.threads if isinstance(work, Fit) else 1):
        yield


def measure(
    line: Line,
    rivals: Sequence[Rival],
    scaled: Callable[[Fit], Fit],
    rounds: int,
    warm_up: float | None = None,
) -> Outcome:
    """Race the rivals on a line."""
    rows = cache(data)
    expected = cache(partial(reference, rows=rows))
    work = scaled(line.work) if isinstance(line.work, Fit) else line.work
    outcome = Outcome(line, work)
    competitors = {}
    with threads(work):
        for rival in rivals:
            given = work.of_rows(rival.rows(work)) if isinstance(work, Fit) else work
            entry = Entry()
            if given != work:
                assert isinstance(given, Fit)
                entry.rows = given.rows
            try:
                training = _trained(rival, given, rows)
                competitor = _Competitor(rival, given, training, expected(given))
                # The first call, which may compile, before the race: one that fails must not end it.
                entry.error = competitor.complaint(training.run(competitor.epochs), rows)
            except CannotDo as reason:
                outcome.absent[rival.name] = str(reason)
                continue
            except Exception as error:  # of whatever kind: the report shows it in place of a figure
                entry.error = f"{type(error).__name__}: {error}".splitlines()[0]
            outcome.entries[rival.name] = entry
            if not entry.error:
                competitors[rival.name] = competitor
        runs: dict[str, Callable[[], Any]] = {
            name: partial(competitor.training.run, competitor.epochs)
            for name, competitor in competitors.items()
        }
        readers = {}
        if isinstance(work, Fit) and not work.published:
            readers = limit.readers(work.bytes, work.threads)
            runs |= {name: run for name, (run, _) in readers.items()}
        all_turns = benchmarks.race(runs, range(rounds), warm_up)
        if readers:
            assert isinstance(work, Fit)
            speeds = [read / min(all_turns[name].seconds) for name, (_, read) in readers.items()]
            outcome.limit = work.bytes * work.epochs / max(speeds) * line.units(work)
        for name, competitor in competitors.items():
            turns, entry = all_turns[name], outcome.entries[name]
            units = line.units(competitor.work)
            entry.minimum, entry.median = min(turns.seconds) * units, median(turns.seconds) * units
            entry.error = competitor.complaint(turns.results[-1], rows)
            if competitor.training.within is None:
                epochs = competitor.epochs_to(rows)
                if epochs not in (None, competitor.epochs):
                    entry.reach = entry.minimum * epochs / competitor.epochs
    return outcome
