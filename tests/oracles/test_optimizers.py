"""Every optimizer against torch.optim (Lion: optax), and the errors of their arguments.

The fits and the peers' results are in reference/optimizers.json, which reference/optimizers.py writes. With the
variable GDFAST_LIVE_ORACLES set the peers are asked now: that needs torch and optax.
"""

import importlib.util
import json
import math
import os
import re
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import gdfast as gd
from gdfast import optimizers
from gdfast._numerics import order
from gdfast._training.learning_rates import Pace

REFERENCE = Path(__file__).parents[1] / "reference"
LIVE = bool(os.environ.get("GDFAST_LIVE_ORACLES"))

_spec = importlib.util.spec_from_file_location("optimizers_peers", REFERENCE / "optimizers.py")
peers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(peers)

STORED = json.loads(peers.PATH.read_text())
CASES = STORED["cases"]
RECORDS = list(optimizers.TABLE.values())
WITH_PEER = [getattr(gd, name) for name in (*STORED["signatures"], "Lion")]


def label(case):
    options = ",".join(f"{name}={value}" for name, value in case["arguments"].items())
    fit = "-".join(f"{name}={value}" for name, value in case["fit"].items())
    return f"{case['optimizer']}({options})-{fit}-{case['dtype']}"


def fit(case, backend):
    X, y, start = peers.data(case["dtype"])
    optimizer = getattr(gd, case["optimizer"])(**case["arguments"])
    init = {"coef_init": start[:-1], "intercept_init": start[-1]}
    r = gd.fit(X, y, optimizer=optimizer, **init, **case["fit"], backend=backend)
    assert r.coef.dtype == case["dtype"]
    assert r.n_steps == len(peers.batches(case["fit"]))
    return np.append(r.coef, r.intercept).astype(float)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_the_result_is_the_peers(backend, case):
    """Relative to the size of each parameter, since none of them is small: see `check` in reference/optimizers.py."""
    expected = peers.peer(case) if LIVE else np.append(case["coef"], case["intercept"])
    tolerance = peers.TOLERANCE[case["dtype"]]
    np.testing.assert_allclose(fit(case, backend), expected, rtol=tolerance, atol=0)


def test_the_stored_cases_are_those_of_the_script():
    stored = [
        {name: value for name, value in case.items() if name not in ("coef", "intercept")}
        for case in CASES
    ]
    assert stored == json.loads(json.dumps(peers.cases()))


@pytest.mark.parametrize("record", WITH_PEER)
def test_cases_of_each_optimizer(record):
    """At least 12 configurations; and among all fits the full batch, mini-batches, single rows and float32."""
    cases = [case for case in CASES if case["optimizer"] == record.__name__]
    exact = [case for case in cases if case["dtype"] == "float64"]
    assert len({json.dumps(case["arguments"]) for case in exact}) >= 12
    assert {} in [case["arguments"] for case in exact]
    tried = {option for case in exact for option in case["arguments"]}
    assert tried == {field.name for field in fields(record)}
    sizes = {case["fit"]["batch_size"] for case in exact}
    assert sizes == ({None} if record.full_batch_only else {None, 1, 10, 13})
    assert len(cases) > len(exact)


def test_the_order_of_the_rows_is_that_of_the_script():
    keys = order.round_keys(peers.SEED, range(2))
    rows = [order.visit(np.arange(peers.ROWS), key, peers.ROWS) for key in keys]
    assert np.array_equal(np.concatenate(rows), np.array(peers.ORDER.split(), int))


@pytest.mark.parametrize("record", WITH_PEER)
def test_the_arguments_are_those_of_torch(record):
    """Names, order and defaults; Lion's are the paper's."""
    signatures = peers.signatures() if LIVE else STORED["signatures"]
    lion = [("lr", 1e-4), ("betas", (0.9, 0.99)), ("weight_decay", 0)]
    expected = signatures.get(record.__name__, lion)
    of_torch = [(name, tuple(v) if isinstance(v, list) else v) for name, v in expected]
    assert list(asdict(record()).items()) == of_torch


@pytest.mark.parametrize("name", ["SGD", "Adam", "Lion"])
def test_names_are_records_with_their_defaults(backend, name):
    X, y, _ = peers.data()
    common = {"epochs": 3, "backend": backend}
    by_name = gd.fit(X, y, optimizer=name.lower(), lr=0.01, **common)
    assert by_name.digest == gd.fit(X, y, optimizer=getattr(gd, name)(lr=0.01), **common).digest


def test_average_of_asgd_begins_after_t0(backend):
    """The mean of the weights of the steps from t0 + 2 on, and up to there the last weights."""
    X, y, _ = peers.data()
    common = {"epochs": 9, "backend": backend}

    def asgd(t0, **options):
        return gd.fit(X, y, optimizer=gd.ASGD(0.05, t0=t0), **common, **options)

    last = asgd(0, trace="coef")
    iterates = last.history.coef[1:]  # after the steps 1 to 9
    for t0 in (0, 3, 6):
        averaged = asgd(t0, average=True)
        expected = iterates[t0 + 1 :].mean(axis=0)
        np.testing.assert_allclose(averaged.coef, expected, rtol=1e-14)
    for t0 in (7, 8, 9, 1e6):
        assert np.array_equal(asgd(t0, average=True).coef, last.coef)


# torch.optim.SparseAdam on the rows of `sparse_rows`, in turn and squared errors: of a step, the gradient holds the
# columns in which its rows are not 0, and the intercept. torch 2.13, in float64.
SPARSE_ADAM = [
    (
        {},
        {"batch_size": 1, "epochs": 5},
        [
            0.02114251064579367,
            -0.017948371269240024,
            -0.014967316641126964,
            0.036793565910797625,
            -0.0019537075556194765,
            -0.0006536106411544143,
            0.0033644816659549473,
        ],
    ),
    (
        {"lr": 0.05},
        {"batch_size": 3, "epochs": 20},
        [
            1.8852897263832171,
            -1.4808964809429401,
            -1.5057893334756902,
            2.0761633006710016,
            0.8524285667539088,
            0.14846741041178996,
            -0.05367290652441064,
        ],
    ),
    (
        {"lr": 0.1, "betas": (0.5, 0.8), "eps": 0.01},
        {"batch_size": 5, "epochs": 20},
        [
            1.3737279893739065,
            -1.788028235654833,
            -1.3071687648074957,
            2.44848693861237,
            0.5871496807154412,
            0.8474676173707036,
            -0.12673916967788923,
        ],
    ),
]


def sparse_rows():
    i, j = np.arange(12)[:, None], np.arange(6)
    stored = (i + 1) * (j + 2) % 5 < 2
    X = np.where(stored, ((i * i * (j + 2) + i + j) % 13 - 6) / 4, 0.0)
    return X, X @ [1.5, -2.0, 0.5, 3.0, 1.0, 0.0] + (i[:, 0] ** 3 % 7 - 3) / 4


@pytest.mark.parametrize(("arguments", "options", "expected"), SPARSE_ADAM)
def test_sparse_adam_is_that_of_torch(backend, arguments, options, expected):
    X, y = sparse_rows()
    for rows in (X, scipy.sparse.csr_array(X)):
        optimizer = gd.SparseAdam(**arguments)
        r = gd.fit(rows, y, optimizer=optimizer, shuffle=False, backend=backend, **options)
        np.testing.assert_allclose(np.append(r.coef, r.intercept), expected, rtol=1e-12)


def test_rprop_needs_all_rows(backend):
    X, y, _ = peers.data()

    def rprop(batch_size):
        options = {"optimizer": "rprop", "batch_size": batch_size, "backend": backend}
        return gd.fit(X, y, **options, epochs=5)

    for batch_size in (1, 10, 49):
        with pytest.raises(ValueError, match=f"batch_size={batch_size} .*pass batch_size=None"):
            rprop(batch_size)
    for all_rows in (50, 1000):
        np.testing.assert_allclose(rprop(all_rows).coef, rprop(None).coef, rtol=1e-12)


NAN, INF = math.nan, math.inf

# For each argument the numbers outside of its range.
NOT_POSITIVE = [0, -1, NAN, INF]
NEGATIVE = [-1e-9, -INF, NAN, INF]
NOT_KEPT = [-1e-9, 1, 2, NAN, INF]  # of how much is kept, from 0 to below 1
OUTSIDE = {
    "lr": NOT_POSITIVE,
    "momentum": NOT_KEPT,
    "dampening": [1.001, NAN, INF, -INF],
    "weight_decay": NEGATIVE,
    "lr_decay": NEGATIVE,
    "initial_accumulator_value": NEGATIVE,
    "eps": NEGATIVE,
    "alpha": NOT_KEPT,
    "rho": NOT_KEPT,
    "momentum_decay": NEGATIVE,
    "lambd": NEGATIVE,
    "t0": [*NEGATIVE, 0.5],
}
# Where an optimizer's own range is another.
OUTSIDE_OWN = {
    (gd.Adadelta, "eps"): NOT_POSITIVE,
    (gd.Adamax, "eps"): NOT_POSITIVE,
    (gd.ASGD, "alpha"): NEGATIVE,  # a power
}

# For each pair one that is good, and the numbers outside of the ranges of the first and the second.
PAIRS = {
    "betas": ((0.9, 0.99), NOT_KEPT, NOT_KEPT),
    "etas": ((0.5, 1.2), [*NOT_POSITIVE, 1, 1.5], [0.5, 1, NAN, INF]),
    "step_sizes": ((1e-6, 50), NOT_POSITIVE, NOT_POSITIVE),
}
FLAGS = {"nesterov", "centered", "amsgrad", "decoupled_weight_decay"}


def outside(name, numbers):
    return [(number, ValueError, f"{name}={number} must be a ") for number in numbers]


def no(kind, name, values):
    return [(value, TypeError, f"{name} must be {kind}, not {value!r}") for value in values]


def wrong_values(record, name):
    """Wrong values of an argument, each with the error and a part of its message."""
    if name in FLAGS:
        return no("True or False", name, [1, 0.0, "yes", None])
    if name in PAIRS:
        good, *bad = PAIRS[name]
        pairs = [0.9, None, "ab", (0.9,), (*good, 0.9), {0.9: 0.99}]
        found = no("a pair of numbers", name, pairs)
        for k, element in enumerate([f"{name}[0]", f"{name}[1]"]):
            bad_elements = outside(element, bad[k]) + no("a number", element, [True, "0.5", None])
            for value, *answer in bad_elements:
                found.append(([*good[:k], value, *good[k + 1 :]], *answer))
        return found
    found = outside(name, OUTSIDE_OWN.get((record, name), OUTSIDE[name]))
    found += no("a number", name, [True, None, [0.1], 1j])
    if name != "lr":
        return found + no("a number", name, ["0.1"])
    if record is gd.Rprop:
        return [*found, *((text, ValueError, f"lr={text!r}: Rprop's") for text in ("0.1", "auto"))]
    found.append(("0.1", ValueError, "unknown lr '0.1': "))
    if record().stability is None:
        found.append(("auto", ValueError, 'lr="auto" is the rate that the curvature allows'))
    return found


@pytest.mark.parametrize(
    ("record", "name"), [(record, field.name) for record in RECORDS for field in fields(record)]
)
def test_wrong_values(record, name):
    for value, error, message in wrong_values(record, name):
        with pytest.raises(error, match=re.escape(message)):
            record(**{name: value})


@pytest.mark.parametrize(
    ("record", "arguments", "message"),
    [
        (gd.SGD, {"nesterov": True}, "got momentum=0.0, dampening=0.0"),
        (gd.SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening=0.1"),
        (gd.Rprop, {"step_sizes": (1, 0.5)}, "step_sizes=(1.0, 0.5)"),
        (gd.Rprop, {"lr": gd.schedules.Constant(0.1)}, "lr=Constant("),
    ],
)
def test_wrong_together(record, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        record(**arguments)


# The ends of the ranges that belong to them, and the numbers next to those that do not.
ENDS = {
    "lr": [5e-324],
    "momentum": [0, 1 - 2**-53],
    "dampening": [1, -1e300],
    "weight_decay": [0],
    "lr_decay": [0],
    "initial_accumulator_value": [0],
    "eps": [0],
    "alpha": [0, 1 - 2**-53],
    "rho": [0, 1 - 2**-53],
    "betas": [(0, 0), (1 - 2**-53, 1 - 2**-53)],
    "momentum_decay": [0],
    "etas": [(5e-324, 1 + 2**-52), (1 - 2**-53, 1e300)],
    "step_sizes": [(5e-324, 1e300), (1, 1)],
    "lambd": [0],
    "t0": [0],
}


@pytest.mark.parametrize("record", RECORDS)
def test_the_ends_of_the_ranges(record):
    for name in {field.name for field in fields(record)} & ENDS.keys():
        positive = OUTSIDE_OWN.get((record, name)) is NOT_POSITIVE
        for value in [5e-324] if positive else ENDS[name]:
            assert getattr(record(**{name: value}), name) == value


def test_a_pair_may_be_a_list():
    assert gd.Adam(betas=[0.9, 0.99]) == gd.Adam(betas=(0.9, 0.99)) != gd.Adam(betas=(0.9, 0.9))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("record", RECORDS)
def test_numbers_that_stay_the_same_are_found(record, dtype):
    """What a kernel gets, the last row standing for all that follow, is what each step has."""
    count = 150_000
    for betas in [(0.9, 0.999), (0.999, 0.9), (0.0, 0.5)] if hasattr(record, "betas") else [None]:
        optimizer = record() if betas is None else record(betas=betas)
        pace = Pace(optimizer, gd.schedules.Constant(0.01), count, np.dtype(dtype))
        for epoch in (0, 1):
            steps = epoch * count
            short = pace.coming(steps, count)
            with np.errstate(all="ignore"):
                columns = optimizer.numbers(np.array([0.01]), np.arange(count) + steps + 1)
            whole = np.stack(np.broadcast_arrays(*columns), axis=1).astype(dtype)
            rows = np.minimum(np.arange(len(whole)), len(short) - 1)
            assert np.array_equal(short[rows], whole, equal_nan=True)
