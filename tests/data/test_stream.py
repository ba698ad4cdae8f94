"""Rows that come in parts: a stream has the bits of the fit of all its rows, and epochs one by one those of one fit."""

import pickle
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import gdfast as gd
from gdfast import losses, schedules
from gdfast._backends.streaming import Tree
from gdfast._numerics import order
from gdfast._numerics.order import BLOCK
from gdfast._training.fit import partial

DOC = Path(__file__).parents[2] / "docs" / "streams.md"
EXAMPLES = 150
SIZES = st.sampled_from([1, 1, 2, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
LOSSES = [
    "squared_error",
    "epsilon_insensitive",
    "poisson",
    "logistic",
    "hinge",
    gd.losses.Softmax(),
    gd.losses.Softmax(classes=5),
]
OPTIMIZERS = [
    gd.SGD(lr="auto"),
    gd.SGD(lr=0.01),
    gd.SGD(lr=0.01, momentum=0.9),
    gd.SGD(lr=schedules.InverseScaling(0.01, per="step")),
    gd.SGD(lr=schedules.Adaptive(0.01)),
    gd.SGD(lr=schedules.InverseScaling(0.01, per="step"), momentum=0.5, nesterov=True),
    gd.Adam(lr=0.01),
    gd.SparseAdam(lr=0.01),
    gd.Adagrad(lr=0.01),
    gd.RMSprop(lr=0.01, momentum=0.5),
    gd.ASGD(lr=0.01, t0=5),
]


def data(n, d=3, k=None, *, loss="squared_error", seed=0):
    """X with some zeros, and targets for the loss."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.7)
    p = X @ rng.normal(size=(d, k or 1)) + rng.normal(size=(n, k or 1))
    kind = losses.find(loss).targets
    y = {"numbers": p, "counts": np.floor(np.exp(np.clip(p, -3, 2))), "signs": (p > 0).astype(int)}
    if kind == "classes":
        return X, np.clip(np.floor(p[:, 0] + 2), 0, 3).astype(int)
    if kind == "signs":
        y[kind][:2] = [[0], [1]][:n]
    return X, y[kind] if k else y[kind][:, 0]


def cut(sizes, *arrays):
    """Blocks of these sizes, again and again, of what there is one of for each row."""
    n, blocks, first = arrays[0].shape[0], [], 0
    while first < n:
        end = first + sizes[len(blocks) % len(sizes)]
        blocks.append(tuple(a[first:end] for a in arrays))
        first = end
    return blocks


def same(a, b):
    """Whether two results are the same in all but the time they took."""
    histories = [{**vars(r.history), "seconds": None} for r in (a, b)]
    alike = [
        np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in zip(*(h.values() for h in histories), strict=True)
    ]
    facts = [
        (r.digest, r.n_epochs, r.n_steps, r.stop_reason, str(r.classes), r.feature_names)
        for r in (a, b)
    ]
    return all(alike) and facts[0] == facts[1]


@st.composite
def problems(draw):
    """Arguments of a fit, and the sizes of the blocks."""
    loss = draw(st.sampled_from(LOSSES))
    softmax = not isinstance(loss, str)
    n = draw(st.sampled_from([2, 5, BLOCK, BLOCK + 1, 700, 2000]))
    k = None if softmax else draw(st.sampled_from([None, 1, 2]))
    X, y = data(n, draw(st.sampled_from([1, 3, 9])), k, loss=loss, seed=draw(st.integers(0, 99)))
    X = X.astype(draw(st.sampled_from(["f4", "f8"])))
    if draw(st.booleans()):
        X = sp.csr_array(X)
    weights = None
    if draw(st.booleans()):
        weights = np.random.default_rng(n).integers(0, 4, n) * 0.7
        weights[0] = 1
    free = draw(st.booleans())
    options = {
        "loss": loss,
        "optimizer": draw(st.sampled_from(OPTIMIZERS)),
        "batch_size": draw(st.sampled_from([None, None, 1, 7, 100, BLOCK, 300, 10**6])),
        "epochs": 3,
        "fit_intercept": draw(st.booleans()),
        "l1": 0.0 if free else 0.01,
        "l2": 0.0 if free else draw(st.sampled_from([0.0, 0.1])),
        "standardize": draw(st.booleans()),
        "average": draw(st.booleans()),
        "clip_norm": draw(st.sampled_from([None, 0.5])),
        "trace": draw(st.sampled_from([None, "coef"])),
        "patience": draw(st.sampled_from([None, 1])),
        "tol": draw(st.sampled_from([0.0, 0.1])),
    }
    if options["batch_size"] == 1 and n > 300:
        options["batch_size"] = 50
    return X, y, weights, options, draw(st.lists(SIZES, min_size=1, max_size=4))


def outcome(run):
    """The result, or what is said instead."""
    try:
        return run()
    except (ValueError, gd.DivergenceError) as error:
        return str(error)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the loss rose")
@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_a_stream_has_the_bits_of_a_fit(backend):
    @settings(max_examples=EXAMPLES)
    @given(problems())
    def check(problem):
        X, y, weights, options, sizes = problem
        whole = outcome(
            lambda: gd.fit(X, y, sample_weight=weights, shuffle=False, backend=backend, **options)
        )
        blocks = cut(sizes, X, y) if weights is None else cut(sizes, X, y, weights)
        streamed = outcome(lambda: gd.fit_stream(blocks, backend=backend, **options))
        assert whole == streamed if isinstance(whole, str) else same(whole, streamed)

    check()


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    ("optimizer", "batch_size"), [("sgd", None), ("sgd", 1), ("sgd", 300), ("adam", 50)]
)
def test_a_stream_has_the_bits_of_a_fit_by_numba(optimizer, batch_size, sparse):
    X, y = data(1000)
    X = sp.csr_array(X) if sparse else X
    options = {"optimizer": optimizer, "batch_size": batch_size, "epochs": 2, "backend": "numba"}
    blocks = cut([1, BLOCK, 17, BLOCK + 1], X, y)
    assert same(gd.fit(X, y, shuffle=False, **options), gd.fit_stream(blocks, **options))


def test_a_stream_on_several_threads(backend):
    X, y = data(4000, 300)
    options = {"epochs": 2, "backend": backend, "threads": 2}
    for batch_size in (None, 1024, 1000):
        streamed = gd.fit_stream(cut([1100, 2], X, y), batch_size=batch_size, **options)
        whole = gd.fit(X, y, shuffle=False, batch_size=batch_size, **options)
        assert same(whole, streamed)


def test_what_is_done_between_epochs():
    X, y = data(500)
    validation = data(50, seed=1)
    blocks = cut([90], X, y)
    options = {"batch_size": 20, "epochs": 6, "validation": validation, "average": True}
    whole = gd.fit(X, y, shuffle=False, **options)
    assert same(whole, gd.fit_stream(blocks, **options))
    seen = []
    stopped = gd.fit_stream(
        blocks, callback=lambda r: seen.append(r.digest) or len(seen) == 2, **options
    )
    assert stopped.stop_reason == "callback"
    assert seen == [gd.fit(X, y, shuffle=False, **{**options, "epochs": e}).digest for e in (1, 2)]


class Source:
    """Blocks that are made anew in each pass."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.passes = 0

    def __iter__(self):
        self.passes += 1
        yield from self.blocks


def test_blocks_may_come_in_any_way():
    X, y = data(100)
    blocks = [(*block, None) for block in cut([30], X, y)]
    expected = gd.fit(X, y, epochs=4).digest
    for source in (blocks, tuple(blocks), Source(blocks), lambda: iter(blocks), lambda: blocks):
        assert gd.fit_stream(source, epochs=4).digest == expected


def test_a_block_may_be_written_over_the_last():
    X, y = data(1000)

    def blocks():
        room, targets = np.empty((90, 3)), np.empty(90)
        for x, t in cut([90], X, y):
            room[: len(x)], targets[: len(t)] = x, t
            yield room[: len(x)], targets[: len(t)]
            room[:] = targets[:] = np.nan

    for batch_size in (None, 100):
        options = {"batch_size": batch_size, "epochs": 3}
        assert same(gd.fit(X, y, shuffle=False, **options), gd.fit_stream(blocks, **options))


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({"lr": 0.1}, 5),  # the check, the loss at the start, three epochs
        ({"lr": 0.1, "batch_size": 10}, 5),
        ({"batch_size": 10}, 6),  # the largest row
        ({"lr": 0.1, "weights": True}, 6),
        ({"lr": 0.1, "coef_init": [1.0, 0, 0]}, 6),  # its loss, beside that of predicting 0
        ({"lr": 0.1, "standardize": True}, 8),
    ],
)
def test_how_many_passes_there_are(options, passes):
    X, y = data(300)
    options = options.copy()
    weights = [np.ones(300)] if options.pop("weights", False) else []
    source = Source(cut([77], X, y, *weights))
    gd.fit_stream(source, epochs=3, **options)
    assert source.passes == passes


def test_empty_blocks_are_passed_over():
    X, y = data(100)
    a, b = cut([50], X, y)
    empty = X[:0], y[:0]
    blocks = [empty, a, ([], []), empty, b, empty]
    assert gd.fit_stream(blocks).digest == gd.fit(X, y).digest


@pytest.mark.parametrize("kind", ["pandas", "polars-like arrow", "lists", "integers"])
def test_blocks_of_other_kinds(kind):
    X, y = data(400)
    X = np.round(8 * X)
    make = {
        "pandas": lambda a: pd.DataFrame(a, columns=["a", "b", "c"]),
        "polars-like arrow": lambda a: pa.table(dict(zip("abc", a.T, strict=True))),
        "lists": lambda a: a.tolist(),
        "integers": lambda a: a.astype(np.int32),
    }[kind]
    blocks = [(make(a), pd.Series(b)) for a, b in cut([90], X, y)]
    r = gd.fit_stream(blocks, batch_size=50, epochs=3)
    assert same(gd.fit(make(X), y, batch_size=50, epochs=3, shuffle=False), r)
    assert r.feature_names == (("a", "b", "c") if kind in ("pandas", "polars-like arrow") else None)


def test_a_block_may_lack_a_class():
    X, y = data(300, loss="logistic")
    for loss, targets in (
        ("logistic", np.sort(y)),
        ("hinge", np.sort(2 * y - 1)),
        ("logistic", np.sort(y)[:, None] == [0, 1]),
        ("softmax", np.sort(data(300, loss="softmax")[1])),
    ):
        blocks = cut([40], X, targets)
        options = {"loss": loss, "batch_size": 16, "epochs": 2}
        assert same(gd.fit(X, targets, shuffle=False, **options), gd.fit_stream(blocks, **options))


@pytest.mark.parametrize("batch_size", [None, 16])
def test_the_labels_of_all_blocks_are_the_classes(batch_size):
    X, y = data(300, loss="softmax")
    labels = np.array(["ant", "bee", "a beetle", "fly"])[y.astype(int)]
    for loss, targets in (("softmax", labels), ("hinge", np.where(y > 0, 2020, 1999))):
        options = {
            "loss": loss,
            "batch_size": batch_size,
            "epochs": 2,
            "validation": (X[:9], targets[:9]),
        }
        blocks = [(X[:1], targets[:1]), *cut([40], X[1:], targets[1:])]
        r, expected = gd.fit_stream(blocks, **options), gd.fit(X, targets, shuffle=False, **options)
        assert same(r, expected)
        assert r.classes.tolist() == np.unique(targets).tolist()


def test_divergence_is_that_of_the_fit():
    X, y = data(500)
    found = []
    for batch_size in (None, 10):
        for run in (
            lambda **o: gd.fit(X, y, shuffle=False, **o),
            lambda **o: gd.fit_stream(cut([90], X, y), **o),
        ):
            with pytest.raises(gd.DivergenceError) as raised:
                run(lr=100.0, batch_size=batch_size, epochs=50)
            error = raised.value
            found.append((str(error), error.result.digest, error.epoch, error.stable_lr))
    assert found[0] == found[1]
    assert found[2] == found[3]


def test_a_loss_that_rose_is_told_to_the_caller():
    X, y = data(500)
    with pytest.warns(RuntimeWarning, match="the loss rose from") as caught:
        gd.fit_stream(cut([90], X, y), lr=1.5, epochs=8)
    assert caught[0].filename == __file__


def test_the_memory_is_that_of_the_blocks():
    rows, count, d = 1000, 200, 20

    def blocks():
        for k in range(count):
            yield data(rows, d, seed=k)

    for options in ({"batch_size": 64}, {"lr": 0.1}, {"batch_size": 100, "standardize": True}):
        tracemalloc.start()
        gd.fit_stream(blocks, epochs=2, **options)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 12 * 8 * rows * d < 8 * rows * count * d / 10


def test_a_tree_of_subtrees():
    numbers = np.random.default_rng(0).normal(size=(1000, 1)) ** 5
    for total in (1, 2, 3, 7, 64, 100, 1000):
        for step in (1, 2, 5, 64, 99, total):
            tree = Tree()
            for first in range(0, total, step):
                at = first
                for size in tree.subtrees(min(step, total - first)):
                    tree.add(size, order.tree(numbers[at : at + size]))
                    at += size
            assert tree.sum() == order.tree(numbers[:total])


X, Y = data(40)
GOOD = cut([10], X, Y)


def with_block(k, *block):
    return [*GOOD[:k], block, *GOOD[k + 1 :]]


def spoiled(k, part, where, value):
    """The good blocks, with one value that is not."""
    a, b = (array.astype(float) for array in GOOD[k])
    (a, b)[part][where] = value
    return with_block(k, a, b)


WRONG = [
    ([], {}, ValueError, "blocks has no rows"),
    ([(X[:0], Y[:0])], {}, ValueError, "blocks has no rows"),
    (3, {}, TypeError, "blocks must be an iterable of (X, y), or a function that returns one"),
    (iter(GOOD), {}, ValueError, "blocks is a list_iterator, which is spent after one pass"),
    ((b for b in GOOD), {}, ValueError, "without calling it"),
    ([X, Y], {}, TypeError, "block 0 must be (X, y) or (X, y, sample_weight), not array("),
    (with_block(2, X[:5]), {}, TypeError, "block 2 must be (X, y)"),
    (with_block(2, X[:5, :2], Y[:5]), {}, ValueError, "block 2 has 2 features, block 0 has 3"),
    (with_block(1, X[:5].astype("f4"), Y[:5]), {}, ValueError, "block 1 has X in float32, block 0"),
    (with_block(1, sp.csr_array(X[:5]), Y[:5]), {}, ValueError, "block 1 has sparse rows, block 0"),
    (with_block(3, X[:5], Y[:5, None]), {}, ValueError, "block 3 has a y with 1 columns, block 0"),
    (with_block(3, X[:5], Y[:5], Y[:5]), {}, ValueError, "block 3 has sample weights, block 0 has"),
    (
        [(pd.DataFrame(X[:5], columns=list(c)), Y[:5]) for c in ("abc", "abd")],
        {},
        ValueError,
        "block 1 has the columns ('a', 'b', 'd'), block 0 has the columns ('a', 'b', 'c')",
    ),
    (with_block(2, X[:5], Y[:4]), {}, ValueError, "block 2: y has 4 rows, X has 5"),
    (with_block(2, X[:5, 0], Y[:5]), {}, ValueError, "block 2: X is 1-D with 5 values"),
    (with_block(2, X[:5].astype(str), Y[:5]), {}, TypeError, "block 2: X has dtype <U"),
    (spoiled(3, 0, (7, 1), np.nan), {}, ValueError, "block 3: X[7, 1] is nan"),
    (spoiled(3, 1, 4, np.inf), {}, ValueError, "block 3: y[4] is inf"),
    (
        cut([10], X, 39 - np.arange(40) - 5),
        {"loss": "poisson"},
        ValueError,
        "block 3: y[5] is -1: ",
    ),
    (cut([10], X, 1e200 * Y), {}, ValueError, f"float64: the largest y is {1e200 * abs(Y).max()};"),
    (cut([10], 1e200 * X, Y), {}, ValueError, f"its largest value is {(1e200 * abs(X)).max()};"),
    (GOOD, {"validation": 0.2}, ValueError, "validation=0.2 must be a pair (Xv, yv)"),
    (GOOD, {"validation": (X[:, :2], Y)}, ValueError, "validation X has 2 features, X has 3"),
    (GOOD, {"coef_init": [1.0]}, ValueError, "coef_init has shape (1,)"),
    (GOOD, {"optimizer": "rprop", "batch_size": 5}, ValueError, "batch_size=5 of 40 rows"),
    (cut([10], X, Y, -np.arange(40)), {}, ValueError, "block 0: sample_weight[1] is -1.0"),
    (cut([10], X, Y, np.zeros(40)), {}, ValueError, "sample_weight is zero in every row"),
    (cut([10], X, np.arange(40) // 10), {"loss": "logistic"}, ValueError, "block 2: y[0] is 2"),
    (cut([10], X, np.zeros(40)), {"loss": "logistic"}, ValueError, "y is 0.0 in every row"),
    (cut([10], X, np.zeros(40)), {"loss": "softmax"}, ValueError, "y is 0.0 in every row"),
    (
        cut([10], X, np.repeat([*"abcd"], 10)),
        {"loss": "hinge"},
        ValueError,
        "block 2: y[0] is 'c', after 'a', 'b': hinge takes two classes",
    ),
    (
        [*GOOD, (X[:3], ["a", "b", "b"])],
        {"loss": "softmax"},
        TypeError,
        "block 4: y holds text, and the blocks before hold numbers",
    ),
    (
        cut([10], X, np.arange(40) // 10),
        {"loss": gd.losses.Softmax(3)},
        ValueError,
        "block 3: y[0] is 3: the classes are 0, 1, 2",
    ),
]


@pytest.mark.parametrize(("blocks", "options", "kind", "words"), WRONG, ids=[w[3] for w in WRONG])
def test_wrong_blocks_are_named(blocks, options, kind, words):
    with pytest.raises(kind, match=re.escape(words)):
        gd.fit_stream(blocks, **options)


@pytest.mark.parametrize(
    ("later", "words"),
    [
        (GOOD[:3], "blocks has 30 rows in a later pass, and had 40 in the first"),
        ([*GOOD, *GOOD], "blocks has more rows in a later pass, and had 40 in the first"),
        ([], "blocks has 0 rows in a later pass, and had 40 in the first"),
        (with_block(1, X[:5, :2], Y[:5]), "block 1 has 2 features, block 0 has 3"),
    ],
)
@pytest.mark.parametrize("batch_size", [None, 7])
def test_another_stream_in_a_later_pass(later, words, batch_size):
    passes = iter([GOOD, GOOD, GOOD, later, later])
    with pytest.raises(ValueError, match=words):
        gd.fit_stream(lambda: next(passes), lr=0.1, batch_size=batch_size, epochs=3)


def continued(X, y, epochs, **options):
    """Epochs one by one, each from what a pickle holds of those before."""
    state, results = None, []
    for _ in range(epochs):
        r, state = partial(pickle.loads(pickle.dumps(state)), X, y, **options)
        results.append(r)
        options.pop("coef_init", None)  # would begin there again
    return results, state


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": gd.Adam(lr=0.01), "batch_size": 32, "average": True},
        {"lr": 0.01, "batch_size": 1, "l1": 0.01, "shuffle": False},
        {"lr": 0.1, "clip_norm": 0.5},
        {"optimizer": gd.Adam(lr=schedules.Exponential(0.1, gamma=0.9)), "batch_size": 100},
        {"lr": schedules.InverseScaling(0.1, per="step"), "batch_size": 100},
        {"lr": schedules.Warmup(schedules.Constant(0.1), length=3), "batch_size": 30},
        {"lr": schedules.Adaptive(0.2), "batch_size": 7},
        {"optimizer": gd.ASGD(lr=0.01, t0=30), "batch_size": 20, "average": True},
        {"loss": "hinge", "lr": 0.01, "batch_size": 9, "coef_init": [1.0, 2.0, 3.0]},
    ],
    ids=str,
)
def test_epochs_one_by_one_are_those_of_one_fit(options, backend):
    X, y = data(300, loss=options.get("loss", "squared_error"))
    options = {"seed": 5, "backend": backend, **options}
    whole = gd.fit(X, y, epochs=5, **options)
    results, state = continued(X, y, 5, **options)
    last = results[-1]
    assert last.coef.tobytes() == whole.coef.tobytes()
    assert last.intercept == whole.intercept
    for name in ("loss", "lr", "grad_norm"):
        found = np.concatenate([getattr(r.history, name) for r in results])
        assert found.tobytes() == getattr(whole.history, name).tobytes()
    assert (state.epochs, state.steps) == (5, whole.n_steps)
    assert (last.n_epochs, last.n_steps) == (1, whole.n_steps // 5)


def test_what_is_continued_stays_as_it_is():
    X, y = data(100)
    _, state = partial(None, X, y, optimizer="adam", batch_size=10, average=True)
    before = pickle.dumps(state)
    first, _ = partial(state, X, y, optimizer="adam", batch_size=10, average=True)
    again, _ = partial(state, X, y, optimizer="adam", batch_size=10, average=True)
    assert pickle.dumps(state) == before
    assert first.digest == again.digest
    with pytest.raises(gd.DivergenceError):
        partial(state, 1e200 * X, y, optimizer="adam", batch_size=10, average=True)
    assert pickle.dumps(state) == before


def test_later_rows_may_lack_a_class():
    X, y = data(100, loss="logistic")
    options = {"loss": "logistic", "batch_size": 10}
    _, state = partial(None, X, y, **options)
    r, _ = partial(state, X, np.ones(100), **options)
    assert r.classes.tolist() == [0, 1]
    columns = y[:, None] == [0, 1]
    _, state = partial(None, X, columns, **options)
    r, _ = partial(state, X, np.zeros((100, 2)), **options)
    assert r.coef.shape == (2, 3)
    options["loss"] = gd.losses.Softmax(classes=3)
    _, state = partial(None, X, y, **options)
    r, _ = partial(state, X, np.full(100, 2), **options)
    assert r.predict(X).max() == 2
    texts = np.where(y > 0, "yes", "no")
    _, state = partial(None, X, texts, loss="softmax", batch_size=10)
    r, state = partial(state, X, ["yes"] * 100, loss="softmax", batch_size=10)
    assert r.classes.tolist() == ["no", "yes"]
    with pytest.raises(ValueError, match=r"^y\[1\] is 'maybe': the classes are 'no', 'yes'$"):
        partial(state, X[:2], ["yes", "maybe"], loss="softmax", batch_size=10)


def test_later_rows_are_taken_in_the_first_dtype():
    X, y = data(100)
    _, state = partial(None, X.astype("f4"), y, lr=0.1)
    r, _ = partial(state, X, y, lr=0.1)
    assert r.coef.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X": X[:, :2]}, "X has 2 features, that of the calls before had 3"),
        (
            {"X": pd.DataFrame(X, columns=list("abd"))},
            "the columns of X are ('a', 'b', 'd'), those",
        ),
        ({"y": Y[:, None]}, "a row of y has shape (1,), one of the calls before ()"),
    ],
)
def test_what_cannot_be_continued_is_said(change, words):
    arguments = {"X": pd.DataFrame(X, columns=list("abc")), "y": Y, "optimizer": "adam", "lr": 0.1}
    _, state = partial(None, **arguments)
    with pytest.raises(ValueError, match=re.escape(words)):
        partial(state, **{**arguments, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "huber"},
        {"optimizer": "adamax"},
        {"optimizer": gd.Adam(amsgrad=True)},
        {"average": True},
        {"coef_init": [1.0, 2.0, 3.0], "intercept_init": 4.0},
    ],
    ids=str,
)
def test_with_other_options_the_weights_alone_are_continued(change):
    options = {"optimizer": gd.Adam(lr=0.1), "batch_size": 7, "shuffle": False}
    r, state = partial(None, X, Y, **options)
    r, _ = partial(state, X, Y, **{**options, **change})
    begun = {"coef_init": state.params[:3], "intercept_init": float(state.params[3])}
    assert r.digest == gd.fit(X, Y, epochs=1, **{**begun, **options, **change}).digest


def test_a_schedule_goes_on_where_the_optimizer_begins_anew():
    options = {"lr": schedules.InverseScaling(0.1, power=0.5), "batch_size": 10}
    _, state = partial(None, X, Y, optimizer="sgd", **options)
    r, state = partial(state, X, Y, optimizer="adam", **options)
    assert r.history.lr[0] == pytest.approx(0.1 / np.sqrt(5))
    # Adam's moments are of its own steps: the first one has the length of the rate.
    r, _ = partial(state, X[:10], Y[:10], optimizer=gd.Adam(amsgrad=True), **options)
    assert r.history.lr[0] == pytest.approx(0.1 / 3)
    np.testing.assert_allclose(abs(r.coef - state.params[:3]), 0.1 / 3, rtol=1e-6)


def test_the_documentation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"^```python\n(.*?)^```", DOC.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert code
    names = {}
    for block in code:
        exec(compile(block, DOC.name, "exec"), names)
    assert names["r"].digest == names["s"].digest
