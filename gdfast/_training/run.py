"""A fit under way: epochs, what is done between them, and how they end."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gdfast import optimizers
from gdfast._backends import Backend
from gdfast._backends.problem import DIVERGED, TOL, Log, Problem, State, fresh_slots
from gdfast._backends.threads import check_stopped
from gdfast._data.arrays import check_finite
from gdfast._data.dataset import Dataset
from gdfast._data.scaling import Scaling
from gdfast._data.stream import Rows
from gdfast._data.targets import Coding
from gdfast._numerics import order
from gdfast._training import learning_rates, stable_rates
from gdfast._training.divergence import divergence_bound, model_loss
from gdfast._training.growing import Growing
from gdfast._training.stopping import Patience, stops
from gdfast._typing import Array
from gdfast.errors import DivergenceError
from gdfast.optimizers import Optimizer
from gdfast.results import FitResult, History, StopReason, frozen
from gdfast.schedules import InverseScaling, Schedule

# Epochs of few multiplications run several in one call of the backend, up to about this many; and no more than have run
# before, or than these: what a call prepares and writes down grows with the epochs run, whatever their limit is.
WORK_IN_A_CALL = 1 << 22
EPOCHS_IN_THE_FIRST_CALL = 1 << 10
Callback = Callable[[FitResult], Any]


class Continued(NamedTuple):
    """A run's state, from which the next one continues. It can be pickled."""

    targets: Coding
    names: tuple[str, ...] | None
    optimizer: Optimizer
    params: Array
    slots: Array
    total: Array
    steps: int  # of the optimizer, since its slots began
    skipped: int  # steps that only the schedule counts: those made before the slots began
    epochs: int
    schedule: Schedule | None
    heard: Any  # the state of this schedule, where it depends on the losses
    auto: InverseScaling | None  # the slowest rates that lr="auto" has found so far
    reference: float  # the loss by which divergence is judged
    sound: Array  # the latest params whose loss was not above the reference

    @classmethod
    def fresh(
        cls,
        targets: Coding,
        names: tuple[str, ...] | None,
        optimizer: Optimizer,
        params: Array,
        averaged: bool,
    ) -> "Continued":
        """The state before the first step."""
        return cls(
            targets=targets,
            names=names,
            optimizer=optimizer,
            params=params,
            slots=fresh_slots(optimizer.rule, len(params), params.dtype),
            total=np.zeros(len(params) if averaged else 0),
            steps=0,
            skipped=0,
            epochs=0,
            schedule=None,
            heard=None,
            auto=None,
            reference=0.0,
            sound=params,
        )

    def suited(
        self, optimizer: Optimizer, targets: Coding, averaged: bool, params: Array | None
    ) -> "Continued":
        """The state for a run with these options, which begins at these params, if there are any."""
        state, same_loss = self, targets.loss == self.targets.loss
        if not (same_loss and optimizer.stability == self.optimizer.stability):
            state = state._replace(auto=None)
        if not same_loss:
            state = state._replace(targets=targets, reference=0.0)
        rule = optimizer.rule
        remembers = rule.name == self.optimizer.rule.name and len(rule.initial) == len(self.slots)
        if params is None and same_loss and remembers and averaged == (len(self.total) > 0):
            return state
        return state.moved(self.params if params is None else params, optimizer, averaged)

    def moved(self, params: Array, optimizer: Optimizer, averaged: bool) -> "Continued":
        """The state with these params: what the optimizer remembers begins anew, and the schedule goes on."""
        return Continued.fresh(self.targets, self.names, optimizer, params, averaged)._replace(
            skipped=self.skipped + self.steps,
            epochs=self.epochs,
            schedule=self.schedule,
            heard=self.heard,
            auto=self.auto,
            reference=self.reference,
        )

    def state(self) -> State:
        """A copy for the next run to change."""
        params = self.params.copy()
        return State(params, self.slots.copy(), self.total.copy(), params.copy(), self.steps)


@dataclass
class Run:
    """A fit under way."""

    engine: Backend
    problem: Problem
    record: Optimizer
    pace: learning_rates.Pace
    seed: int | None  # None: the rows are not shuffled
    scaling: Scaling | None
    held_out: Dataset | None
    threads: int
    names: tuple[str, ...] | None
    targets: Coding
    state: State
    origin: Array
    traced: bool
    reference: float  # the loss by which divergence is judged
    auto: InverseScaling | None  # the slowest rates that lr="auto" has found so far
    sound: Array | None  # of a run that continues others: their latest sound params
    began: float  # when, by time.perf_counter
    done: int = 0

    sums: Array = field(init=False)  # the losses of the last epoch's blocks
    # The record of each epoch: the fields of `History`, the last two with a row for the start.
    loss: Growing = field(init=False)
    objective: Growing = field(init=False)  # the same, where there are no penalties
    val_loss: Growing = field(init=False)
    lr: Growing = field(init=False)
    grad_norm: Growing = field(init=False)
    seconds: Growing = field(init=False)
    coef: Growing = field(init=False)
    intercept: Growing = field(init=False)

    def __post_init__(self) -> None:
        dtype = self.problem.dtype
        self.sums = np.zeros(-(-len(self.problem.rows.y) // order.BLOCK), dtype)
        for name in ("loss", "val_loss", "lr", "grad_norm"):
            setattr(self, name, Growing(np.empty(0, dtype)))
        self.objective = self.loss if self.problem.penalty.free else Growing(np.empty(0, dtype))
        self.seconds = Growing(np.empty(0))
        coef, intercept = self._shaped(self._given(self.origin[None]))
        self.coef, self.intercept = Growing(coef), Growing(intercept)

    def all_epochs(
        self,
        epochs: int,
        patience: Patience,
        callback: Callback | None,
        progress: bool,
    ) -> StopReason:
        """Run the epochs, several in a call where nothing is to be done between them; say why they ended."""
        since = time.perf_counter() - self.began
        one_by_one = (
            callback is not None
            or progress
            or patience.limit is not None
            or (self.held_out is not None and len(self.state.total) > 0)
            or self.pace.heeds
        )
        work = len(self.problem.rows.y) * len(self.state.params)
        most = 1 if one_by_one else max(1, WORK_IN_A_CALL // work)
        with _bar(epochs) if progress else nullcontext() as show:
            while self.done < epochs:
                check_stopped()
                first = self.done
                steps = self.state.steps
                start = None if self.held_out is None else self.state.params.copy()
                at_once = min(most, max(first, EPOCHS_IN_THE_FIRST_CALL))
                status, params = self._advance(min(at_once, epochs - first))
                lost = status == DIVERGED and not self._new_rows_alone()
                if start is not None:
                    known = params[: self.done - first - lost]
                    if self._validated(first, known, start, steps):
                        lost = True
                    elif lost:  # with weights of which there is no loss
                        self.val_loss.put(self.done - 1, np.array([np.nan], self.problem.dtype))
                elapsed, ran = time.perf_counter() - self.began, self.done - first
                share = (elapsed - since) / ran
                self.seconds.put(first, since + share * np.arange(1.0, ran + 1))
                since = elapsed
                if lost:
                    raise self._divergence()
                if self.record.stability is None and not np.isfinite(self.state.slots).all():
                    raise self._overflow()
                if show is not None:
                    show(float(self.loss[first]))
                if self.pace.heeds:
                    self.pace.heed(self._measured(first)[0])
                spent = patience.limit is not None and patience.spent(*self._measured(first))
                if status == TOL:
                    return "tol"
                if spent:
                    return "patience"
                if callback is not None and stops(callback, self.result("running")):
                    return "callback"
        return "epochs"

    def _advance(self, epochs: int) -> tuple[int, Array]:
        """Run so many epochs, or fewer; say why they ended, and where, if they are traced, the params were."""
        done, dtype = self.done, self.problem.dtype
        first = self.pace.epochs_before + done
        if self.seed is None:
            keys = np.empty((epochs, 0), np.uint64)
        else:
            keys = order.round_keys(self.seed, range(first, first + epochs))
        rates = np.broadcast_to(self.pace.rates(first, first + epochs), epochs)
        numbers = self.pace.coming(self.state.steps, epochs * self.pace.steps_an_epoch)
        traced = epochs if self.traced or self.held_out is not None else 0
        params = np.empty((traced, len(self.state.params)), dtype)
        self.sums.fill(0)
        loss = np.empty(epochs, dtype)
        log = Log(
            loss=loss,
            objective=loss if self.problem.penalty.free else np.empty(epochs, dtype),
            grad_norm=np.empty(epochs, dtype),
            params=params,
            sums=self.sums,
        )
        ran, status = self.engine.descend(self.problem, self.state, numbers, keys, log)
        self.loss.put(done, log.loss[:ran])
        if self.objective is not self.loss:
            self.objective.put(done, log.objective[:ran])
        self.grad_norm.put(done, log.grad_norm[:ran])
        self.lr.put(done, rates[:ran].astype(dtype))
        if self.traced:
            coef, intercept = self._shaped(self._given(params[:ran]))
            self.coef.put(done + 1, coef)
            self.intercept.put(done + 1, intercept)
        self.done += ran
        return status, params

    def _params(self) -> Array:
        """The model so far, for X as it was given."""
        state = self.state
        params = state.params
        averaged = state.steps - self.problem.averages_after
        if len(state.total) and averaged > 0:
            models, total = params.copy().reshape(self.problem.outputs, -1), state.total / averaged
            trained = models.shape[1] - 1 + self.problem.fit_intercept
            models[:, :trained] = total.reshape(models.shape)[:, :trained]
            params = models.ravel()
        return self._given(params)

    def _given(self, params: Array) -> Array:
        """The models (..., size) for X as it was given."""
        return params.copy() if self.scaling is None else self.scaling.back(params)

    def _measured(self, epoch: int) -> tuple[float, Array]:
        """The validation loss or the objective, which patience looks at, and the weights at which it was measured."""
        if self.held_out is not None:
            return float(self.val_loss[epoch]), self._params()
        if self.problem.full_batch and not len(self.state.total):
            return float(self.objective[epoch]), self._given(self.state.start)
        return float(self.objective[epoch]), self._params()

    def _validated(self, first: int, traced: Array, start: Array, steps: int) -> bool:
        """Whether the validation loss is lost in one of these epochs; if so, the run goes back to it.

        Before the first of them the params were `start`, after so many steps.
        """
        assert self.held_out is not None
        averaged = len(self.state.total) > 0
        for k, params in enumerate(traced):
            model = self._params() if averaged else self._given(params)
            loss = self._loss(self.held_out, model)
            self.val_loss.put(first + k, np.array([loss]))
            if not np.isfinite(loss):
                self.done = first + k + 1
                self.state.start = traced[k - 1] if k else start
                self.state.steps = steps + (k + 1) * self.pace.steps_an_epoch
                check_finite(self.held_out.X, "validation X")
                if np.isfinite(self._loss(self.problem.rows, params)):
                    raise ValueError(
                        f"the validation loss overflows {loss.dtype} at epoch {self.done - 1}: are the validation "
                        "rows on the scale of the others?"
                    )
                return True
        return False

    def _new_rows_alone(self) -> bool:
        """Whether the loss of the last epoch is beyond the bound because the rows are others than in the runs before.

        It is if the params that were sound there are no better on these rows; the bound is then raised.
        """
        loss = float(self.loss[self.done - 1])
        if self.sound is None or not (math.isfinite(loss) and np.isfinite(self.state.params).all()):
            return False
        by_the_sound = float(self._loss(self.problem.rows, self.sound))
        if loss > divergence_bound(self.problem, by_the_sound, self.pace.highest(1)):
            return False
        self.reference = max(self.reference, by_the_sound)
        return True

    def _loss(self, rows: Rows, params: Array) -> Any:
        problem = self.problem
        return model_loss(self.engine, problem.loss, rows, problem.outputs, params, self.threads)

    def result(self, stop_reason: StopReason, params: Array | None = None) -> FitResult:
        """The result so far, by default with the latest weights."""
        params = self._params() if params is None else params
        coef, intercept = self._shaped(params)
        done, running = self.done, stop_reason == "running"

        def so_far(values: Growing, count: int = done) -> Array:
            """The first rows: where others will follow a view, else without the room for those."""
            rows = values.until(count)
            return rows if running else rows.copy()

        history = frozen(
            History,
            loss=so_far(self.loss),
            val_loss=so_far(self.val_loss),
            lr=so_far(self.lr),
            grad_norm=so_far(self.grad_norm),
            seconds=so_far(self.seconds),
            coef=so_far(self.coef, done + 1) if self.traced else None,
            intercept=so_far(self.intercept, done + 1) if self.traced else None,
            objective=so_far(self.objective),
        )
        return frozen(
            FitResult,
            coef=coef,
            intercept=float(intercept) if self.targets.single else intercept,
            history=history,
            n_epochs=done,
            n_steps=self.state.steps - self.pace.steps_before,
            converged=stop_reason == "tol",
            stop_reason=stop_reason,
            loss=self.problem.loss,
            optimizer=self.record,
            backend=self.engine.NAME,
            feature_names=self.names,
            classes=self.targets.classes,
        )

    def handed_on(self, result: FitResult) -> Continued:
        """The state from which the next run continues this one, whose result is given.

        Where the result is not the model of the last step (it is that of the best epoch, or of standardized rows),
        the next run begins at the result, with nothing remembered but the schedule.
        """
        state, last = self.state, self.done - 1
        sound = self._given(state.start if self.sound is not None else state.params)
        if not self.loss[last] <= self.reference:
            sound = self._given(self.origin) if self.sound is None else self.sound
        here = Continued(
            targets=self.targets,
            names=self.names,
            optimizer=self.record,
            params=state.params,
            slots=state.slots,
            total=state.total,
            steps=state.steps,
            skipped=self.pace.skipped,
            epochs=self.pace.epochs_before + self.done,
            schedule=self.pace.schedule,
            heard=self.pace.heard,
            auto=self.auto if self.scaling is None else None,
            reference=self.reference,
            sound=sound,
        )
        models = np.column_stack([np.atleast_2d(result.coef), np.atleast_1d(result.intercept)])
        params = models.astype(state.params.dtype).reshape(-1)
        if self.scaling is None and np.array_equal(params, self._params()):
            return here
        return here.moved(params, self.record, len(state.total) > 0)

    def _shaped(self, params: Array) -> tuple[Array, Array]:
        """Weights and intercepts, without the axis of the outputs where y has none."""
        models = params.reshape(*params.shape[:-1], self.problem.outputs, -1)
        if self.targets.single:
            models = models[..., 0, :]
        return models[..., :-1].copy(), models[..., -1].copy()

    def _divergence(self) -> Exception:
        """The error for an epoch whose loss or weights are lost: bad data, or a rate that is too large."""
        check_finite(self.problem.rows.X, "X")
        epoch = self.done - 1
        loss = float(self.loss[epoch])
        divided = optimizers.division_by_zero(self.record, self.state.params)
        if divided:
            return self._error(f"the weights are lost at epoch {epoch}: {divided}")
        if (
            self.record.stability is None
            and loss <= self.problem.bound
            and not np.isfinite(self.state.slots).all()
        ):
            return self._overflow()
        stable = self._stable_rate()
        lr = float(self.lr[epoch])
        return self._error(
            f"lr={lr:.6g} diverged at epoch {epoch}, where the loss was {loss:.3g}; {self._advice(stable)}",
            None if stable is None else stable.rate,
        )

    def _overflow(self) -> Exception:
        """The error for states that are not finite, which would hold their weights still for ever."""
        state, dtype = self.state, self.problem.dtype
        first = int(np.argmax(~np.isfinite(state.slots).all(axis=0)))
        j = first % (len(state.params) // self.problem.outputs)
        if j == self.problem.rows.X.shape[1]:
            place, remedy = "the intercept", "divide y by a constant"
        else:
            place = f"X[:, {j}]" + (f" ({self.names[j]!r})" if self.names else "")
            remedy = "divide the column by a constant, or pass standardize=True"
            if self.scaling is not None:
                place, remedy = f"{place}, standardized,", "divide y by a constant"
        if dtype != np.float64:
            remedy += ", or pass X in float64"
        return self._error(
            f"the gradient for {place} is so large that its squares overflow {dtype} in the state of "
            f"{type(self.record).__name__}, which would move the weight no more after epoch {self.done - 1}: {remedy}"
        )

    def _error(self, message: str, stable_lr: float | None = None) -> DivergenceError:
        """The error that ends the fit at the latest epoch."""
        epoch = self.done - 1
        return DivergenceError(
            message,
            result=self.result("divergence", self._given(self.state.start)),
            epoch=epoch,
            lr=float(self.lr[epoch]),
            stable_lr=stable_lr,
        )

    def advice(self) -> str:
        """The rate that works for these data, and whether the scales of the features are in the way."""
        return self._advice(self._stable_rate())

    def _stable_rate(self) -> stable_rates.Stable | None:
        stability = self.record.stability
        if stability is None:
            return None
        return stable_rates.stable(self.engine, self.problem, stability)

    def _advice(self, stable: stable_rates.Stable | None) -> str:
        if stable is not None and stable.rate == 0:
            return f"the squares of X overflow {self.origin.dtype}: divide X by a constant, or pass standardize=True"
        if stable is None and self.record.stability is not None:
            name = self.problem.loss.name
            words = (
                f'no rate is stable for {name} whatever the weights: lr="auto" chooses by the data'
            )
        elif stable is None:
            words = stable_rates.smaller(self.record, float(self.lr.until(self.done).max()))
        else:
            kind = "stable rate" if stable.exact else "rate that is sure to be stable"
            if not self.problem.full_batch:
                kind += ", in any order of the rows,"
            words = (
                f"the largest {kind} for this data is {stable_rates.round_down(stable.rate):.6g}"
            )
        spread = stable_rates.spread(self.problem)
        if self.scaling is None and spread.ratio > 10:
            words += (
                f". The features' scales differ by a factor of {spread.ratio:.3g} ({spread.largest} against "
                f"{spread.smallest}): standardize=True allows a larger one"
            )
        return words


@contextmanager
def _bar(epochs: int) -> Iterator[Callable[[float], None]]:
    """A bar of tqdm; the function that is yielded shows an epoch's loss on it."""
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install tqdm") from error
    with tqdm(total=epochs, unit="epoch") as bar:

        def show(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.6g}", refresh=False)
            bar.update()

        yield show
