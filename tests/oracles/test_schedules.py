"""Every schedule against torch and scikit-learn, alone and in fits.

The peers' rates are in reference/schedules.json, which reference/schedules.py writes. With the variable
GDFAST_LIVE_ORACLES set the peers are asked now: that needs torch.
"""

import importlib.util
import itertools
import json
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import gdfast as gd
from comparison import verdict
from gdfast import optimizers, schedules

SCRIPT = Path(__file__).parents[1] / "reference" / "schedules.py"
LIVE = bool(os.environ.get("GDFAST_LIVE_ORACLES"))

_spec = importlib.util.spec_from_file_location("schedules_peers", SCRIPT)
peers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(peers)

CASES = peers.computed() if LIVE else json.loads(peers.STORED.read_text())
S = gd.schedules
X = np.arange(24.0).reshape(8, 3) % 5 - 2
y = X @ [1.0, -2.0, 0.5] + np.arange(8) % 3


def label(case):
    return f"{case['schedule']}({case['arguments']})"


def made(case):
    arguments = dict(case["arguments"])
    if "schedule" in arguments:
        arguments["schedule"] = made(arguments["schedule"])
    return getattr(S, case["schedule"])(**arguments)


def rates(schedule, count, losses=None):
    if losses is None:
        return schedule.rates(np.arange(count))
    state = schedule.start()
    seen = []
    for loss in losses[:count]:
        seen.append(state.rate)
        state = schedule.heed(state, loss)
    return seen


@pytest.mark.parametrize("case", CASES, ids=label)
def test_the_rates_are_the_peers(case):
    schedule = made(case)
    if isinstance(schedule, S.Optimal):
        schedule = schedule.for_loss(gd.losses.HalfSquaredError())
    got = rates(schedule, len(case["rates"]), case.get("losses"))
    np.testing.assert_allclose(got, case["rates"], rtol=1e-12, atol=1e-300)


def test_the_stored_cases_are_those_of_the_script():
    asked = [label(case) for case in peers.cases()]
    assert [label(case) for case in CASES] == asked
    counts = Counter(case["schedule"] for case in CASES)
    assert counts.keys() == {cls.__name__ for cls in S.TABLE.values()} - {"Constant"}
    assert min(counts.values()) >= 12
    assert all(len(case["rates"]) >= 20 for case in CASES)


ONE_OF_EACH = {
    "constant": S.Constant(0.02),
    "step_decay": S.StepDecay(0.1, every=3, factor=0.3),
    "exponential": S.Exponential(0.1, gamma=0.7),
    "cosine": S.Cosine(0.1, total=11, lr_min=0.01),
    "warmup": S.Warmup(S.Cosine(0.1, total=7, per="step"), length=4),
    "inverse_scaling": S.InverseScaling(0.1, power=0.6),
    "optimal": S.Optimal(0.1, t0=100.0),
    "adaptive": S.Adaptive(0.2, patience=1),
    "reduce_on_plateau": S.ReduceOnPlateau(0.2, factor=0.3, patience=0),
}
each = pytest.mark.parametrize("schedule", ONE_OF_EACH.values(), ids=ONE_OF_EACH)
OPEN = {name: s for name, s in ONE_OF_EACH.items() if isinstance(s, S.OpenLoop)}


def test_there_is_one_of_each():
    assert {name: type(schedule) for name, schedule in ONE_OF_EACH.items()} == S.TABLE


@each
def test_it_survives_json(schedule):
    assert schedules.from_dict(json.loads(json.dumps(schedules.to_dict(schedule)))) == schedule


@each
def test_it_is_saved_with_a_model(schedule, tmp_path):
    r = gd.fit(X, y, optimizer=gd.AdamW(lr=schedule), epochs=3, batch_size=4)
    r.save(tmp_path / "model.npz")
    loaded = gd.load(tmp_path / "model.npz")
    assert loaded.optimizer == r.optimizer
    assert loaded.digest == r.digest


@pytest.mark.parametrize("schedule", OPEN.values(), ids=OPEN)
def test_a_rate_depends_on_its_count_alone(schedule):
    counts = np.arange(700)
    whole = schedule.rates(counts)
    assert whole.dtype == np.float64
    alone = [schedule.rates(counts[t : t + 1])[0] for t in (0, 1, 2, 255, 256, 257, 699)]
    assert alone == whole[[0, 1, 2, 255, 256, 257, 699]].tolist()
    assert schedule.rates(counts[::-1]).tolist() == whole[::-1].tolist()


@pytest.mark.parametrize("schedule", OPEN.values(), ids=OPEN)
def test_counts_of_all_kinds(schedule):
    whole = schedule.rates(np.arange(6))
    assert schedule.rates(range(6)).tolist() == whole.tolist()
    assert schedule.rates(np.arange(6, dtype=np.uint8)).tolist() == whole.tolist()
    assert schedule.rates(np.arange(6).reshape(2, 3)).tolist() == whole.reshape(2, 3).tolist()
    assert schedule.rates(5) == whole[5]
    assert schedule.rates([]).shape == (0,)
    for wrong, message in (
        (-1, "t holds -1: epochs and steps are counted from 0"),
        (0.5, "float64"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            schedule.rates([3, wrong])


class Mine(S.OpenLoop):
    """What users may think of."""

    per = "epoch"

    def _rates(self, t):
        return 1.0 / (t + 1)

    def __repr__(self):
        return "Mine()"


@each
@pytest.mark.parametrize("batch_size", [8, 3, 1])
def test_a_fit_goes_by_the_schedule(schedule, batch_size, backend):
    options = {"fit_intercept": False, "epochs": 20, "batch_size": batch_size, "trace": "coef"}
    fits = verdict(X, y, lr=schedule, **options, backend=backend)
    assert (fits.differences, fits.cut, fits.epochs) == ([], None, 20)


def test_a_closed_loop_hears_the_validation_loss():
    schedule = S.ReduceOnPlateau(1e-3, patience=0)
    r = gd.fit(X, y, lr=schedule, validation=(X, -y), epochs=6)
    assert (np.diff(r.history.val_loss) > 0).all()  # it fits y, not -y
    assert r.history.lr[:3] == pytest.approx([1e-3, 1e-3, 1e-4])


def test_optimal_takes_its_t0_from_the_loss():
    r = gd.fit(X, y, lr=S.Optimal(1e8), epochs=3, batch_size=2)
    t0 = S.Optimal(1e8).for_loss(r.loss).t0
    assert r.history.lr.tolist() == [1 / (1e8 * (t0 + t)) for t in (0, 4, 8)]
    assert r.history.lr[0] == pytest.approx(0.01, rel=1e-12)
    warm = gd.fit(X, y, lr=S.Warmup(S.Optimal(1e8), length=1), epochs=2)
    assert warm.history.lr.tolist() == [pytest.approx(0.01 / 3), r.history.lr[0]]


SQUARED = ["squared_error", "half_squared_error", "squared_epsilon_insensitive", "squared_hinge"]


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize("loss", SQUARED)
def test_optimal_starts_at_a_safe_rate_where_slopes_have_no_bound(loss, batch_size):
    """Of one column of a constant size c the largest curvature is that of the loss times c^2."""
    Z, curvature = np.array([[3.0], [-3.0]] * 4), 1.0 if loss == "half_squared_error" else 2.0
    options = {"loss": loss, "batch_size": batch_size, "fit_intercept": False, "epochs": 2}
    r = gd.fit(Z, [1, 0] * 4, lr=S.Optimal(1e-4), **options)
    assert r.history.lr[0] == pytest.approx(1 / (9 * curvature))
    steps = 8 if batch_size else 1
    assert r.history.lr[1] == pytest.approx(1 / (9 * curvature + 1e-4 * steps))
    slow = gd.fit(Z, [1, 0] * 4, lr=S.Optimal(1e8), **options)  # whose own rate is lower
    assert slow.history.lr[0] == pytest.approx(0.01, rel=1e-12)
    given = gd.fit(Z, [1, 0] * 4, lr=S.Optimal(1.0, t0=8.0), **options)
    assert given.history.lr[0] == 1 / 8
    warm = gd.fit(Z, [1, 0] * 4, lr=S.Warmup(S.Optimal(1e-4), length=1), **options)
    assert warm.history.lr[1] == pytest.approx(1 / (9 * curvature + 1e-4 * (steps - 1)))
    adam = gd.fit(Z, [1, 0] * 4, optimizer=gd.Adam(S.Optimal(1e-4)), **options | {"epochs": 1})
    assert adam.history.lr[0] == pytest.approx(10.0)


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("loss", ["half_squared_error", "squared_epsilon_insensitive"])
def test_optimal_fits_where_scikit_learn_does(loss, l2):
    """Its SGDRegressor's R^2 with a clip at 1e12 and 100 epochs: below -1e23, above 0.99, about 0.75."""
    random = np.random.default_rng(0)
    Z = random.normal(size=(200, 5))
    t = Z @ random.normal(size=5) + 3 + 0.1 * random.normal(size=200)
    r = gd.fit(Z, t, loss=loss, l2=l2, lr=S.Optimal(l2), batch_size=1, epochs=100)
    score = 1 - np.mean((r.predict(Z) - t) ** 2) / t.var()
    assert score > {1e-4: 0.99, 1e-2: 0.99, 1.0: 0.7}[l2]


def test_divergence_names_the_rate_of_its_epoch():
    with pytest.raises(gd.DivergenceError, match="lr=16 diverged at epoch 4") as raised:
        gd.fit(X, y, lr=S.Exponential(1.0, gamma=2.0), epochs=30)
    assert raised.value.lr == 2.0**raised.value.epoch


@pytest.mark.parametrize(
    "optimizer", [cls for cls in optimizers.TABLE.values() if cls is not gd.Rprop]
)
def test_every_optimizer_takes_one(optimizer):
    r = gd.fit(X, y, optimizer=optimizer(lr=S.Exponential(0.1, gamma=0.5)), epochs=3)
    assert r.history.lr.tolist() == [0.1, 0.05, 0.025]


WRONG = [
    (lambda: S.Constant(0.0), "lr=0.0 must be a finite number in (0"),
    (lambda: S.Constant("auto"), "lr must be a number, not 'auto'"),
    (lambda: S.Constant(0.1, per="batch"), "unknown per 'batch': known: 'epoch', 'step'"),
    (lambda: S.StepDecay(0.1, every=0), "every=0 must be at least 1"),
    (lambda: S.StepDecay(0.1, every=2.0), "every must be an integer, not 2.0"),
    (lambda: S.StepDecay(0.1, every=2, factor=0), "factor=0 must be"),
    (lambda: S.Exponential(0.1, gamma=-1), "gamma=-1 must be"),
    (lambda: S.Exponential(0.1, gamma=np.nan), "gamma=nan must be"),
    (lambda: S.Cosine(0.1, total=5, lr_min=0.2), "lr_min=0.2 is above lr=0.1"),
    (lambda: S.Warmup(0.1, length=3), "schedule=0.1 must be a schedule that does not depend"),
    (lambda: S.Warmup(S.Adaptive(0.1), length=3), "must be a schedule that does not depend"),
    (lambda: S.Warmup(S.Constant(0.1), length=0), "length=0 must be at least 1"),
    (lambda: S.Warmup(S.Constant(0.1), 3, start_factor=1.5), "start_factor=1.5 must be"),
    (lambda: S.Warmup(S.Constant(0.1), 3, start_factor=0), "start_factor=0 must be"),
    (lambda: S.Warmup(Mine(), 3), "schedule=Mine() is no schedule of gdfast"),
    (lambda: S.InverseScaling(0.1, power=-0.5), "power=-0.5 must be"),
    (lambda: S.InverseScaling(0.1, t0=0), "t0=0 must be"),
    (lambda: S.Optimal(0.0), "l2=0.0 must be"),
    (lambda: S.Optimal(0.1).rates(np.arange(2)), "give t0"),
    (lambda: S.Optimal(0.1, t0=0), "t0=0 must be"),
    (lambda: S.Adaptive(0.1, factor=1.0), "factor=1.0 must be"),
    (lambda: S.Adaptive(0.1, patience=0), "patience=0 must be at least 1"),
    (lambda: S.ReduceOnPlateau(0.1, factor=1.0), "factor=1.0 must be"),
    (lambda: S.ReduceOnPlateau(0.1, threshold_mode="max"), "unknown threshold_mode 'max'"),
    (
        lambda: gd.SGD(lr=S.Constant),
        "lr must be a number, not the class Constant; or pass a schedule of gdfast.schedules: Constant, StepDecay",
    ),
    (lambda: gd.SGD(lr=len), "lr must be a number, not the function <built-in function len>; or"),
    (
        lambda: gd.Adam(lr=Mine()),
        "lr=Mine() is no schedule of gdfast: pass a schedule of gdfast.schedules: Constant, StepDecay",
    ),
    (lambda: schedules.from_dict({"name": "cosin"}), "unknown schedule 'cosin': did you mean"),
    (lambda: gd.Rprop(lr=S.Constant(0.1)), "Rprop's is its first step size"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        make()


def test_inverse_scaling_begins_to_fall_at_t0():
    rates = S.InverseScaling(3.0, power=0.5, t0=20.0).rates([0, 60, 160, 300])
    np.testing.assert_allclose(rates, [3.0, 1.5, 1.0, 0.75], rtol=1e-14)


RISING = {
    "step_decay": S.StepDecay(0.1, every=3, factor=1.5),
    "exponential": S.Exponential(0.1, gamma=1.01),
    "warmup": S.Warmup(S.Exponential(0.1, gamma=1.01), length=4),
}


@pytest.mark.parametrize("schedule", [*OPEN.values(), *RISING.values()], ids=[*OPEN, *RISING])
def test_the_highest_rate_is_the_highest(schedule):
    rates = schedule.rates(np.arange(60))
    for first, end in itertools.combinations(range(0, 61, 3), 2):
        assert schedule.highest(first, end) == pytest.approx(rates[first:end].max(), rel=1e-12)
