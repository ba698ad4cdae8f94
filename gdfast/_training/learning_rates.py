"""The rates of a run, and which are safe by the curvature of the loss on the data: in the canonical order."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gdfast._typing import Array
from gdfast._validation import check_representable, record_of
from gdfast.optimizers import Optimizer, Rate
from gdfast.schedules import ClosedLoop, Constant, OpenLoop, Schedule

# Up to so many steps it is not worth looking for the one from which their numbers stay the same.
FEW = 1 << 12
# Epochs and steps are counted in 64 bits.
LAST = 1 << 62


@dataclass
class Pace:
    """The rates of a run, and what else its optimizer's steps need."""

    optimizer: Optimizer
    schedule: Schedule
    steps_an_epoch: int
    dtype: np.dtype[Any]
    heard: Any = None  # what a schedule has made of the losses so far
    epochs_before: int = 0  # and steps: those of the runs that this one continues
    steps_before: int = 0
    skipped: int = 0  # steps that the schedule counts beside those of the optimizer

    heeds: bool = field(init=False)  # the losses change the rates
    always: Array | None = field(init=False)  # the rate, where it is one

    def __post_init__(self) -> None:
        schedule = self.schedule
        self.always = np.array([schedule.lr]) if isinstance(schedule, Constant) else None
        self.heeds = False
        if self.always is None and isinstance(schedule, ClosedLoop):
            self.heeds = True
            self.heard = schedule.start() if self.heard is None else self.heard
        first = self.rate(self.epochs_before)
        check_representable("the first rate", first, self.dtype, "the weights")

    def heed(self, loss: float) -> None:
        """Hear the loss of an epoch."""
        assert isinstance(self.schedule, ClosedLoop)
        self.heard = self.schedule.heed(self.heard, loss)

    def rates(self, first: int, end: int) -> Array:
        """The first rate of each of the epochs from `first` to before `end`; one number where all are the same."""
        if self.always is not None:
            return self.always
        if self.heeds:
            return np.array([self.heard.rate])
        schedule, epochs = self.schedule, np.arange(first, end)
        assert isinstance(schedule, OpenLoop)
        with np.errstate(all="ignore"):
            return schedule.rates(self._counted(epochs) if schedule.per == "step" else epochs)

    def _counted(self, epochs: Any) -> Any:
        """The schedule's count of steps before these epochs."""
        steps = self.steps_before + (epochs - self.epochs_before) * self.steps_an_epoch
        return self.skipped + steps

    def _epoch(self, steps: Any) -> Any:
        """The epoch of the step after so many."""
        return self.epochs_before + (steps - self.steps_before) // self.steps_an_epoch

    @np.errstate(all="ignore")
    def coming(self, steps: int, count: int) -> Array:
        """The numbers of the next `count` steps after so many. The last row is for all that follow."""
        if self.always is not None and self.optimizer.plain:
            return self.always.astype(self.dtype).reshape(1, 1)
        schedule = self.schedule
        if self.always is not None:
            rates = self.always
        elif isinstance(schedule, OpenLoop) and schedule.per == "step":
            counts = np.arange(steps, steps + count) + self.skipped
            rates = schedule.rates(counts)
        else:
            epoch = self._epoch(steps)
            rates = self.rates(epoch, self._epoch(steps + count - 1) + 1)
            if len(rates) > 1:
                rates = rates[self._epoch(np.arange(steps, steps + count)) - epoch]
        if len(rates) == 1 and count > FEW:
            count = self._unsettled(rates, steps, count)
        return self._numbers(rates, steps + 1, count)

    def _numbers(self, rates: Array, first: int, count: int) -> Array:
        """The numbers of so many steps, a row each; one row where they agree whatever the step."""
        columns = self.optimizer.numbers(rates, np.arange(first, first + count))
        numbers = np.empty((max(map(len, columns)), len(columns)), self.dtype)
        for k, column in enumerate(columns):
            numbers[:, k] = column
        return numbers

    def _unsettled(self, rate: Array, steps: int, count: int) -> int:
        """After how many of the coming steps the numbers do not change any more, as 1 - b^t does not for large t."""
        last = self._numbers(rate, steps + count, 1)
        some = 1
        while some < count and not np.array_equal(self._numbers(rate, steps + some, 1), last):
            some *= 2
        return min(some, count)

    def highest(self, epochs: int) -> float:
        """The highest rate of the next epochs, so many."""
        schedule = self.schedule
        if self.heeds:
            return float(self.heard.rate)  # they only ever fall
        if self.always is not None:
            return float(self.always[0])
        assert isinstance(schedule, OpenLoop)
        first, end = self.epochs_before, self.epochs_before + epochs
        if schedule.per == "step":
            first, end = self._counted(first), self._counted(end)
        with np.errstate(all="ignore"):
            return schedule.highest(first, min(end, LAST)) if epochs else 0.0

    def rate(self, epoch: int) -> float:
        """The first rate of an epoch."""
        return float(self.rates(epoch, epoch + 1)[0])


def check_numbers(optimizer: Optimizer, dtype: np.dtype[Any], whose: str = "params") -> None:
    """Check that float32, if that is the dtype, can hold an optimizer's numbers."""
    if dtype == np.float64:
        return
    for numbers in (vars(optimizer), optimizer.rule._asdict()):
        for name, number in numbers.items():
            if isinstance(number, float):
                check_representable(name, number, dtype, whose)


def schedule(lr: Rate) -> Schedule:
    """The schedule itself, or a constant one."""
    if isinstance(lr, str):
        raise ValueError(f'lr="{lr}" needs the curvature of data: pass a number or a schedule')
    return record_of(Constant, {"lr": lr, "per": "epoch"}) if isinstance(lr, float) else lr
