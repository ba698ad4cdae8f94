"""What a rival is."""

import importlib.util
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

from .works import Data, Fit, Minimize, Model


class CannotDo(Exception):
    """Why a rival has no figure for a line; not a failure."""


class Training(NamedTuple):
    """The same work by a rival."""

    run: Callable[[int], Any]  # so many epochs, from the start
    # The distance that a weight may have from gdfast's, relative to the largest; None where the rows come in another
    # order: then the objective must be as low as gdfast's, but for `rivals.__main__.SLACK`.
    within: float | None = 1e-6
    model: Callable[[Any], Model] = lambda result: result  # of what `run` returns


class Rival:
    """A rival: what it is called, what it needs, and how it does the work. A method that is not there says so."""

    name: str
    package: str  # as pip knows it
    most_steps: float = float(
        "inf"
    )  # in a call, which would take too long with more: it gets fewer rows
    drawn = False  # in the curves over features and rows

    def why_not(self) -> str | None:
        """Why it cannot take part; None if it can."""
        if self.package == "python" or importlib.util.find_spec(self.module) is not None:
            return None
        return f"{self.package} is not installed"

    @property
    def module(self) -> str:
        """What is imported."""
        return self.package

    def version(self) -> str:
        return metadata.version(self.package)

    def rows(self, work: Fit) -> float:
        """How many rows it is given at most."""
        if work.batch_size is None:
            return work.rows
        return self.most_steps / work.epochs * work.batch_size

    def fit(self, work: Fit, data: Data) -> Training:
        """Prepare training; what it does before is not timed."""
        raise CannotDo("it has no linear models")

    def minimize(self, work: Minimize) -> Callable[[], Model]:
        """Prepare gradient descent on a function."""
        raise CannotDo("it minimises no functions")


def check(can: bool, reason: str) -> None:
    """Raise `CannotDo` if it cannot."""
    if not can:
        raise CannotDo(reason)
