"""From options and rows to a run: the problem, the state at its start, the learning rates."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends
from gdfast._backends.problem import Pending, Problem, State, fresh_slots
from gdfast._data.arrays import as_coef, check_finite
from gdfast._data.csr import Csr
from gdfast._data.dataset import Dataset
from gdfast._data.scaling import Scaling
from gdfast._data.stream import Rows, Stream
from gdfast._data.targets import Coding, check_numbers
from gdfast._training import learning_rates, stable_rates
from gdfast._training.divergence import divergence_bound, model_loss
from gdfast._training.options import Options
from gdfast._training.run import Continued, Run
from gdfast._typing import Array
from gdfast._validation import check_representable
from gdfast.optimizers import Optimizer
from gdfast.schedules import Constant, InverseScaling, OpenLoop, Schedule

# In calls with a part of the rows each, lr="auto" falls with this power of the steps: scikit-learn's, for eta0.
ONLINE_POWER = 0.25


def begin(
    engine: _backends.Backend,
    options: Options,
    data: Rows,
    targets: Coding,
    names: tuple[str, ...] | None,
    start: Array,
    began: float,
    *,
    held_out: Dataset | None = None,
    before: Continued | None = None,
) -> Run:
    """Set a fit up that began, by time.perf_counter, when its function was called."""
    record, formula, epochs = options.optimizer, options.loss, options.epochs
    rows, dtype, outputs = len(data.y), data.y.dtype, targets.outputs
    options.check_representable(dtype)
    if options.callback is not None:  # which may write into the arrays that were given
        data, held_out = data.owned(), None if held_out is None else held_out.owned()
    largest = float(np.finfo(dtype).max)
    data = _neutral(data)
    scaling = None
    if options.standardized:
        scaling = Scaling.of(data, center=options.fit_intercept)
        data, start = data.map_matrix(scaling.standardized), scaling.into(start)
    judged = start if before is None or before.epochs == 0 or _needs_loss(options) else None
    reference = _reference(engine, options, data, outputs, judged)
    if before is not None:
        reference = max(reference, before.reference)
    if not reference <= largest:
        check_numbers(data.y, "y")
        check_finite(data.X, "X")
        largest_y = np.max([np.abs(part.y).max() for part in data.parts()])
        raise ValueError(
            f"the loss at the start overflows {dtype}: the largest y is {largest_y}; divide y by a "
            "constant, or give smaller initial weights"
        )
    batch = rows if options.batch_size is None else min(options.batch_size, rows)
    if record.full_batch_only and batch < rows:
        raise ValueError(
            f"{type(record).__name__} compares the signs of gradients of all rows, and batch_size={batch} of {rows} "
            "rows: pass batch_size=None"
        )
    problem = Problem(
        rows=data,
        loss=formula,
        rule=record.rule,
        penalty=options.penalty,
        outputs=outputs,
        fit_intercept=options.fit_intercept,
        batch_size=batch,
        fused=False,
        clip_norm=options.clip_norm,
        tol=options.tol if options.batch_size is None else -1.0,
        bound=largest,  # until the rates are known
        averages_after=record.averages_after,
        threads=options.threads,
    )
    if before is None:
        state = State(
            params=start,
            slots=fresh_slots(problem.rule, len(start), dtype),
            total=np.zeros(len(start) if options.averaged else 0),
            start=start.copy(),
        )
    else:
        state = before.state()
    schedule = _schedule(engine, problem, record, reference + problem.penalty_of(state.params))
    auto = None if before is None else before.auto
    if isinstance(record.lr, str):
        assert isinstance(schedule, Constant | InverseScaling)
        auto = _slower(schedule, auto)
        schedule = schedule if before is None else auto
    pace = learning_rates.Pace(
        record,
        schedule,
        -(-rows // batch),
        dtype,
        heard=before.heard if before is not None and before.schedule == schedule else None,
        epochs_before=0 if before is None else before.epochs,
        steps_before=state.steps,
        skipped=0 if before is None else before.skipped,
    )
    problem = problem._replace(bound=divergence_bound(problem, reference, pace.highest(epochs)))
    if options.batch_size is not None:
        problem = problem._replace(fused=_fused(problem, record, pace, epochs))
    state.pending = Pending.of(
        problem, pace.steps_an_epoch, averaged=options.averaged, coasting=record.coasts
    )
    if epochs == 0:
        check_finite(data.X, "X")
        if held_out is not None:
            check_finite(held_out.X, "validation X")
    return Run(
        engine=engine,
        problem=problem,
        record=record,
        pace=pace,
        seed=options.seed if options.shuffled else None,
        scaling=scaling,
        held_out=held_out,
        threads=options.threads,
        names=names,
        targets=targets,
        state=state,
        origin=start.copy(),
        traced=options.traced,
        reference=reference,
        auto=auto,
        sound=None if before is None else before.sound,
        began=began,
    )


def _neutral(data: Rows) -> Rows:
    """The rows, those of weight 0 filled with others, once they are known to be finite."""
    if isinstance(data, Stream) or data.weights.all():
        return data
    check_numbers(data.y, "y")
    check_finite(data.X, "X")
    return data.zero_weights_filled(data.row_that_counts())


def _slower(found: Constant | InverseScaling, before: InverseScaling | None) -> InverseScaling:
    """The rates of ``lr="auto"`` in calls with a part of the rows each, from those found now and before."""
    if isinstance(found, Constant):
        found = InverseScaling(found.lr, power=ONLINE_POWER)
    if before is None:
        return found
    return replace(found, lr=min(found.lr, before.lr), t0=max(found.t0, before.t0))


def _needs_loss(options: Options) -> bool:
    """Whether lr="auto" needs the loss of the initial weights: neither the slope nor the curvature has a bound."""
    loss = options.loss
    unbounded = loss.curvature is None and loss.steepness is None
    return unbounded and isinstance(options.optimizer.lr, str)


def _reference(
    engine: _backends.Backend, options: Options, data: Rows, outputs: int, start: Array | None
) -> float:
    """The loss by which divergence is judged: the larger of those of predicting 0 and of the initial weights."""
    loss, threads = options.loss, options.threads
    reference = float(model_loss(engine, loss, data, outputs, None, threads))
    if start is not None and np.count_nonzero(start):
        reference = max(reference, float(model_loss(engine, loss, data, outputs, start, threads)))
    return reference


def initial_params(
    coef: ArrayLike | None,
    intercept: ArrayLike | None,
    targets: Coding,
    features: int,
    dtype: np.dtype[Any],
) -> Array:
    """The weights and intercepts to start from."""
    shape = targets.outputs, features + 1
    try:
        start = np.zeros(shape, dtype)
    except (MemoryError, ValueError) as error:
        raise MemoryError(
            f"{shape[0]} models with {shape[1]} weights each, the intercept included, take "
            f"{math.prod(shape) * dtype.itemsize / 1e9:.3g} GB, which cannot be had: has y too many columns or classes,"
            " or X too many features?"
        ) from error
    if coef is not None:
        start[:, :-1] = as_coef(coef, "coef_init", (*targets.shape, features), dtype)
    if intercept is not None:
        start[:, -1] = as_coef(intercept, "intercept_init", targets.shape, dtype)
    return start.reshape(-1)


def _schedule(
    engine: _backends.Backend, problem: Problem, record: Optimizer, reference: float
) -> Schedule:
    """The rates that the record asks for, for this problem."""
    lr, stability = record.lr, record.stability

    def auto() -> Constant | InverseScaling:
        assert stability is not None  # else a record does not take "auto"
        schedule = stable_rates.auto(engine, problem, stability, reference)
        check_representable("lr", schedule.lr, problem.dtype)
        return schedule

    if isinstance(lr, str):
        return auto()
    given = learning_rates.schedule(lr)
    if isinstance(given, OpenLoop):
        return given.for_loss(problem.loss, lambda: math.inf if stability is None else auto().lr)
    return given


def _fused(problem: Problem, record: Optimizer, pace: learning_rates.Pace, epochs: int) -> bool:
    """Whether the steps of batches may be made as they are cheapest: row by row, or on the columns of sparse rows."""
    clips = problem.clip_norm < math.inf
    if not isinstance(problem.rows.X, Csr):
        return problem.batch_size == 1 and not clips
    if problem.full_batch:  # what an epoch writes down goes through all columns, too
        return False
    penalty = problem.penalty
    if penalty.l1 == 0 and penalty.l2 == 0:
        return record.rests_at_zero or record.coasts
    gentle = penalty.l2 * pace.highest(epochs) < 0.5
    return record.rests_at_zero and penalty.proximal and not clips and gentle
