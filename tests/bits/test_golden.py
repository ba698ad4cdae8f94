"""Golden digests: the bits of these fits do not change with the version, the machine or the compiler.

Where the order of operations or a formula is changed on purpose, `python tests/bits/test_golden.py` writes golden.json
anew; name the change in the changelog.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import gdfast as gd
from gdfast import losses, optimizers

GOLDEN = Path(__file__).parents[1] / "golden.json"


def data(dtype, rows=600, features=10):
    """Small multiples of powers of two: the same numbers everywhere."""
    i, j = np.arange(rows), np.arange(features)
    X = (i[:, None] * 7 + j * 3 + i[:, None] * j) % 11 - 5
    y = 8 * (X[:, 0] - X[:, -1]) + i * 5 % 13 - 6
    return X.astype(dtype) / 4, y.astype(dtype) / 32


def cases():
    """Name -> dtype and options."""
    pairs = [
        *itertools.product(["squared_error"], optimizers.TABLE),
        *itertools.product([loss for loss in losses.TABLE if loss != "squared_error"], ["sgd"]),
    ]
    made = {
        f"{dtype} {loss} {optimizer} {batch_size}": (
            dtype,
            {"loss": loss, "optimizer": optimizer, "batch_size": batch_size},
        )
        for dtype, (loss, optimizer) in itertools.product(("float32", "float64"), pairs)
        for batch_size in (None, 1, 7, 256)
        if batch_size is None or not optimizers.TABLE[optimizer].full_batch_only
    }
    _, y = data("float64")
    X, _ = data("float64", rows=50)
    options = {
        "momentum": {"optimizer": gd.SGD(lr=0.01, momentum=0.9)},
        "momentum per sample": {"optimizer": gd.SGD(lr="auto", momentum=0.5), "batch_size": 1},
        "dampening": {"optimizer": gd.SGD(lr=0.01, momentum=0.9, dampening=0.5)},
        "nesterov": {"optimizer": gd.SGD(lr=0.01, momentum=0.9, nesterov=True), "batch_size": 32},
        "weight decay": {"optimizer": gd.SGD(lr=0.01, weight_decay=0.125), "batch_size": 1},
        "no intercept": {"fit_intercept": False},
        "initial weights": {"coef_init": X[3], "intercept_init": -1.5, "batch_size": 100},
        "sample weights": {"sample_weight": np.arange(600) % 4, "batch_size": 64},
        "standardize": {"standardize": True},
        "standardize without intercept": {"standardize": True, "fit_intercept": False},
        "weighted standardize": {"standardize": True, "sample_weight": np.arange(600) % 4},
        "average": {"average": True, "batch_size": 1},
        "clip": {"clip_norm": 0.25, "batch_size": 10},
        "tol": {"tol": 0.5},
        "patience": {"patience": 1, "tol": 0.01, "batch_size": 3},
        "validation pair": {"validation": (X, y[:50]), "patience": 3, "batch_size": 5},
        "validation fraction": {"validation": 0.3, "patience": 3, "batch_size": 5},
        "unshuffled": {"shuffle": False, "batch_size": 1},
        "another seed": {"seed": 2**64 - 1, "batch_size": 1},
        "no epoch": {"epochs": 0},
        "cosine": {"lr": gd.schedules.Cosine(0.125, total=7), "batch_size": 100},
        "inverse scaling": {"lr": gd.schedules.InverseScaling(0.0625), "batch_size": 7},
        "warm-up": {"lr": gd.schedules.Warmup(gd.schedules.Exponential(0.125, 0.75), 3)},
        "l1": {"l1": 0.0625},
        "l2": {"l2": 0.125, "batch_size": 7},
        "l1 and l2": {"l1": 0.0625, "l2": 0.125, "batch_size": 1},
        "l1 and adam": {"l1": 0.0625, "optimizer": "adam", "lr": 0.125},
        "several outputs": {"columns": 3, "batch_size": 16},
        "sparse": {"sparse": True, "batch_size": 16},
        "sparse with penalties": {"sparse": True, "batch_size": 1, "l1": 0.0625, "l2": 0.125},
        "sparse and momentum": {"sparse": True, "optimizer": gd.SGD(lr=0.01, momentum=0.5)},
        "adaptive": {"lr": gd.schedules.Adaptive(0.125, patience=1, tol=1.0)},
    }
    return made | {name: ("float64", chosen) for name, chosen in options.items()}


CASES = cases()


def digest(name, backend):
    dtype, options = CASES[name]
    options = {"epochs": 5, **options}
    X, y = data(dtype)
    y = {
        "numbers": y,
        "counts": np.floor(abs(y)),
        "signs": y + np.arange(len(y)) % 7 > 3,
        "classes": np.floor(abs(y)) % 3,
    }[losses.TABLE[options.get("loss", "squared_error")]().targets]
    if options.get("loss") == "modified_huber":
        options["coef_init"] = -X[3]  # where it is not the squared hinge
    if "columns" in options:
        y = y[:, None] * np.arange(1, options.pop("columns") + 1)
    if options.pop("sparse", False):
        X = scipy.sparse.csr_array(np.where(X > 0, X, 0))
    return gd.fit(X, y, backend=backend, **options).digest


@pytest.mark.parametrize("name", CASES)
def test_golden(name, backend):
    assert digest(name, backend) == json.loads(GOLDEN.read_text())[name]


def test_the_names_are_those_of_the_file():
    assert list(json.loads(GOLDEN.read_text())) == list(CASES)


def test_the_digests_differ():
    assert len(set(json.loads(GOLDEN.read_text()).values())) == len(CASES)


if __name__ == "__main__":
    digests = {name: digest(name, "numpy") for name in CASES}
    GOLDEN.write_text(json.dumps(digests, indent=1) + "\n")
