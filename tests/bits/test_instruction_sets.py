"""The extensions of the instruction sets: the same bits from each, and which of them is used."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import gdfast as gd
from gdfast import _backends, _core, _extension
from gdfast._numerics.order import BLOCK, GROUP

RUNS = [isa for isa in _extension.built() if isa in _core.instruction_sets()]
# A group of lanes and less, whole ones and more: in registers, and beyond them.
FEATURES = [1, 2, 7, 8, 9, 17, 24, 33, 70]
ROWS = 4 * GROUP + 3
BY_ROW = {"batch_size": 1, "epochs": 2}
# The way in which y is drawn, and the options.
CASES = {
    "row by row": ("numbers", BY_ROW),
    "in the order of the rows": ("numbers", {**BY_ROW, "shuffle": False}),
    "three outputs": ("three", BY_ROW),
    "three outputs averaged": ("three", {**BY_ROW, "average": True}),
    "averaged": ("numbers", {**BY_ROW, "average": True}),
    "no intercept": ("numbers", {**BY_ROW, "fit_intercept": False}),
    "l1": ("numbers", {**BY_ROW, "l1": 0.01}),
    "l2": ("three", {**BY_ROW, "l2": 0.01}),
    "logistic": ("signs", {**BY_ROW, "loss": "logistic"}),
    "softmax": ("classes", {**BY_ROW, "loss": "softmax"}),
    "batches": ("numbers", {"batch_size": 7, "epochs": 2}),
    "batches of softmax": ("classes", {"batch_size": 13, "epochs": 2, "loss": "softmax"}),
    "momentum": ("numbers", {"batch_size": 5, "epochs": 2, "optimizer": gd.SGD(0.1, momentum=0.9)}),
    "Adam": ("three", {"batch_size": 5, "epochs": 2, "optimizer": gd.Adam(0.1)}),
    "full batch": ("three", {"epochs": 4, "l1": 0.01}),
}


def targets(random, kind, rows):
    if kind == "numbers":
        return random.standard_normal(rows)
    if kind == "three":
        return random.standard_normal((rows, 3))
    return np.arange(rows) % (2 if kind == "signs" else 3)


def digest_of(a):
    """Of an array's bytes, all NaN being alike."""
    return hashlib.sha256(np.where(np.isnan(a), a.dtype.type(np.nan), a).tobytes()).hexdigest()


def run_of(**arguments):
    """What a fit has come to, also where it diverged."""
    try:
        result = gd.fit(**arguments)
        ended = result.stop_reason
    except gd.DivergenceError as divergence:
        result, ended = divergence.result, "diverged"
    history = result.history
    return [
        ended,
        *map(digest_of, (result.coef, np.asarray(result.intercept))),
        *map(digest_of, (history.loss, history.grad_norm)),
    ]


def outcomes(backend, threads):
    """What comes of the fits of a grid, by name."""
    found = {}
    for dtype in ("float32", "float64"):
        for d in FEATURES:
            random = np.random.default_rng(d)
            X = (random.standard_normal((ROWS, d)) / np.sqrt(d)).astype(dtype)
            weights = random.uniform(0.5, 2, ROWS)
            name = f"{dtype}, {d} features"
            for case, (kind, options) in CASES.items():
                given = {"y": targets(random, kind, ROWS), "backend": backend, "lr": 0.1} | options
                if "optimizer" in given:
                    del given["lr"]
                found[f"{name}, {case}"] = run_of(X=X, **given)
            given = {"y": targets(random, "three", ROWS), "backend": backend, "lr": 0.1} | BY_ROW
            found[f"{name}, weighted"] = run_of(X=X, sample_weight=weights, **given)
            given = {"y": targets(random, "numbers", ROWS), "backend": backend, "lr": 0.1}
            for rows in range(1, 2 * GROUP + 2):
                few = given | {"X": X[:rows].copy(), "y": given["y"][:rows], "epochs": 2}
                for size in (1, min(3, rows), None):
                    found[f"{name}, {rows} rows by {size}"] = run_of(**few, batch_size=size)
            # The last step of a group overflows, and the row behind it is predicted to be infinite, and not NaN.
            ones = np.ones((GROUP + 1, d), dtype) / d
            far = {"X": ones, "y": ones[:, 0] * d, "lr": 1e11 if dtype == "float32" else 1e90}
            found[f"{name}, a step too far"] = run_of(**far, backend=backend, batch_size=1)
            some = scipy.sparse.csr_array(np.where(random.random(X.shape) < 0.4, X, 0))
            for size in (1, 7, None):
                found[f"{name}, sparse by {size}"] = run_of(
                    X=some, **given, batch_size=size, l2=0.1
                )
            beside = X.copy()
            beside[1::2] = np.nan
            params = random.standard_normal(2 * (d + 1)).astype(dtype)
            for rows in range(1, ROWS + 1):
                predictions = _backends.find(backend).predict(beside[:rows].copy(), 2, params, 1)
                found[f"{name}, {rows} rows predicted"] = digest_of(predictions)
        random = np.random.default_rng(0)
        X = random.standard_normal((16 * BLOCK + 5, 33)).astype(dtype)  # worth threads
        y = X @ random.standard_normal(33)
        for count in threads:
            large = run_of(X=X, y=y, lr=0.1, epochs=3, threads=count, backend=backend)
            assert found.setdefault(f"{dtype}, many rows", large) == large
    return found


@pytest.fixture(scope="module")
def expected():
    return outcomes("numpy", [1])


@pytest.mark.parametrize("isa", RUNS)
def test_the_bits_are_those_of_numpy(isa, python, expected):
    program = f"""
import json, sys
sys.path.append({str(Path(__file__).parent)!r})
from gdfast._backends import cpp
from test_instruction_sets import outcomes
print(json.dumps([cpp.ISA, cpp._core.__name__, outcomes("cpp", [1, 2, 3, 4, 5])]))
"""
    used, extension, got = json.loads(python(program, GDFAST_ISA=isa))
    assert (used, extension) == (isa, f"gdfast.{_extension.EXTENSIONS[isa]}")
    assert got.keys() == expected.keys()
    assert not [name for name in expected if got[name] != expected[name]]


def test_the_grid_holds_steps_too_far(expected):
    stops = {name: run[0] for name, run in expected.items() if "predicted" not in name}
    assert {name for name, stop in stops.items() if stop == "diverged"} == {
        name for name in stops if "a step too far" in name
    }


def test_what_differs_is_told_apart(expected):
    """The runs of the grid are not all the same, so neither are their digests."""
    assert len({json.dumps(run) for run in expected.values()}) > 0.9 * len(expected)


def test_the_best_is_taken_by_itself(python):
    program = "from gdfast._backends import cpp; print(cpp.ISA)"
    assert python(program, GDFAST_ISA="") == RUNS[-1]


@pytest.mark.parametrize("isa", RUNS)
def test_the_case_of_the_name_does_not_matter(isa, python):
    program = "from gdfast._backends import cpp; print(cpp.ISA)"
    assert python(program, GDFAST_ISA=isa.upper()) == isa


# Not there: a name that no processor has, and an instruction set that this one lacks.
UNKNOWN = {
    "sse9": "",
    "avx512": "from gdfast import _core; _core.instruction_sets = lambda: ['baseline']\n",
}


@pytest.mark.parametrize("isa", UNKNOWN)
@pytest.mark.parametrize(
    "call", ["gd.fit([[1.0]], [1.0])", "gd.fit([[1.0]], [1.0], backend='cpp')"]
)
def test_an_instruction_set_that_is_not_there_is_an_error(isa, call, python):
    """Whatever is chosen by itself: a wrong variable leads to no other backend."""
    program = f"""{UNKNOWN[isa]}import gdfast as gd
for _ in range(2):
    try:
        {call}
    except gd.BackendError as error:
        print(error)
print(gd.backends()["cpp"])
print(gd.show_config().splitlines()[-3])
from scipy.sparse import csr_array
for X in [[1.0]], csr_array([[1.0]]):
    print(gd.fit(X, [1.0], backend="numpy").backend)
"""
    runs = ", ".join(RUNS if isa == "sse9" else ["baseline"])
    words = f"GDFAST_ISA={isa!r}: this processor and this build of gdfast run {runs}"
    first, second, state, line, *others = python(program, GDFAST_ISA=isa).splitlines()
    assert first == second == state == words
    assert re.fullmatch(rf"backend +cpp: {re.escape(words)}", line)
    assert others == ["numpy", "numpy"]


@pytest.mark.parametrize("isa", RUNS)
def test_the_one_in_use_is_shown(isa, python):
    shown = python("import gdfast as gd; print(gd.show_config())", GDFAST_ISA=isa)
    assert f"instructions    {isa} of {', '.join(_extension.built())}" in shown.splitlines()
