"""Random fits against the reference; and that the comparison would notice a mistake."""

import itertools

import numpy as np
import pytest

import gdfast as gd
import reference_fit
from comparison import fitted, orders
from gdfast import optimizers, schedules
from random_fits import VALUES, covering, drawn, fits_in, met, tried
from reference_fit import LOSSES, OPTIMIZERS

SEED = 0
COMBINATIONS = list(itertools.islice(covering(np.random.default_rng(SEED)), 320))
PARTS = 10


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_fits_are_those_of_the_reference(part):
    cut = []
    for number in range(part, len(COMBINATIONS), PARTS):
        random = np.random.default_rng([SEED, number])
        verdicts = [verdict for _, verdict in tried(COMBINATIONS[number], random, "cpp")]
        assert [v.differences for v in verdicts] == [[]] * len(verdicts), COMBINATIONS[number]
        cut += [COMBINATIONS[number]] if verdicts[-1].cut else []
    assert len(cut) <= 1  # the others were compared to their end


@pytest.mark.parametrize("part", range(PARTS))
def test_numpy_has_the_bits_of_cpp(part):
    for number in range(part, len(COMBINATIONS), PARTS):
        arguments = drawn(COMBINATIONS[number], np.random.default_rng([SEED, number]))
        digests = set()
        for backend in ("cpp", "numpy"):
            if "callback" in arguments:
                arguments["callback"].results.clear()
            digests.add(fitted(**arguments, backend=backend).digest)
        assert len(digests) == 1, COMBINATIONS[number]


def test_all_pairs_of_options_are_tried():
    wanted = {
        (a, x, b, y)
        for (a, xs), (b, ys) in itertools.combinations(VALUES.items(), 2)
        for x in xs
        for y in ys
        if fits_in({a: x}, b, y)
    }
    tried = {pair for c in COMBINATIONS for option in VALUES for pair in met(c, option, c[option])}
    assert tried == wanted


def test_all_records_are_tried():
    rates = {"number", "auto"}
    assert set(VALUES["loss"]) == set(gd.losses.TABLE) == set(LOSSES)
    assert set(OPTIMIZERS) == set(optimizers.TABLE)
    assert set(VALUES["lr"]) == set(schedules.TABLE) | rates
    records = [drawn(c, np.random.default_rng(0))["optimizer"] for c in COMBINATIONS]
    assert {type(record) for record in records} == set(optimizers.TABLE.values())


def test_the_orders_are_seen():
    """Of a dozen rows each epoch has its own, and each row in it once."""
    seen = orders(12, 5, 30)
    assert (np.sort(seen, axis=1) == np.arange(12)).all()
    assert len(np.unique(seen, axis=0)) == 30


SLIGHTLY = 1 + 1e-9
# Mistakes that must be noticed, however small: the arguments of a rule -> those that it gets.
WRONG_STEPS = {
    "rate": lambda lr, **rest: {"lr": lr * SLIGHTLY, **rest},
    "gradient": lambda g, w, **rest: {"g": g + (SLIGHTLY - 1) * w, "w": w, **rest},
    "count": lambda t, **rest: {"t": t + 1, **rest},
}
# To Lion and Rprop the size of a gradient does not matter, to others not which step it is.
HARMLESS = {("lion", "gradient"), ("rprop", "gradient"), ("rprop", "rate")}
HARMLESS |= {(name, "count") for name in ("rmsprop", "adadelta", "rprop", "lion")}


@pytest.mark.parametrize(
    ("name", "what"),
    [pair for pair in itertools.product(OPTIMIZERS, WRONG_STEPS) if pair not in HARMLESS],
)
def test_wrong_steps_are_noticed(monkeypatch, name, what):
    rule, change = OPTIMIZERS[name], WRONG_STEPS[what]

    def wrong(o, w, g, lr, t, memory):
        return rule(**change(o=o, w=w, g=g, lr=lr, t=t, memory=memory))

    monkeypatch.setitem(OPTIMIZERS, name, wrong)
    kind = {"sgd": "sgd dampened", "adagrad": "adagrad decay"}.get(name, name)
    assert is_noticed(lambda c: c["optimizer"] == kind)


@pytest.mark.parametrize("what", ["value", "slope"])
@pytest.mark.parametrize("name", LOSSES)
def test_wrong_losses_are_noticed(monkeypatch, name, what):
    loss = LOSSES[name]

    def wrong(p, y, **parameters):
        value, slope = loss(p, y, **parameters)
        return (SLIGHTLY * value, slope) if what == "value" else (value, SLIGHTLY * slope)

    monkeypatch.setitem(LOSSES, name, wrong)
    assert is_noticed(lambda c: c["loss"] == name)


# Parts of the reference -> the same with a mistake, given the part, and the combinations that are concerned.
WRONG_PARTS = {
    "shrunk": (
        lambda shrunk: lambda w, by: shrunk(w, by * SLIGHTLY),
        lambda c: c["l1"] != "none" and c["optimizer"] == "sgd",
    ),
    "least_slope": (
        lambda least_slope: lambda g, w, l1: least_slope(g, w, l1 * SLIGHTLY),
        lambda c: c["l1"] != "none" and c["optimizer"] != "sgd",
    ),
    "scaled_weights": (
        lambda scaled_weights: lambda weights, n: scaled_weights(weights, n) * SLIGHTLY,
        lambda c: c["sample_weight"] == "some",
    ),
    "Patience": (
        lambda Patience: lambda limit, tol: Patience(limit + 1, tol),
        lambda c: c["patience"] == "some" and c["epochs"] == "many",
    ),
}


@pytest.mark.parametrize("part", WRONG_PARTS)
def test_wrong_parts_are_noticed(monkeypatch, part):
    mistake, concerned = WRONG_PARTS[part]
    monkeypatch.setattr(reference_fit, part, mistake(getattr(reference_fit, part)))
    assert is_noticed(concerned)


def is_noticed(concerned):
    """Whether a fit differs, of several epochs in float64, of a combination that is concerned: most do at once."""
    several = {"one": "few", "none": "many"}
    chosen = [
        c | {"dtype": "float64", "epochs": several.get(c["epochs"], c["epochs"])}
        for c in COMBINATIONS
        if concerned(c)
    ]
    assert chosen
    draws = ((c, [number, draw]) for draw in range(5) for number, c in enumerate(chosen[:5]))
    return any(
        verdict.differences
        for c, draw in draws
        for _, verdict in tried(c, np.random.default_rng(draw), "cpp")
    )
