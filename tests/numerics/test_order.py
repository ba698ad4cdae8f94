"""The canonical order against oracles from outside: exact fractions, plain loops, cumsum, counts."""

from fractions import Fraction

import numpy as np
import pytest

import gdfast as gd
from gdfast._backends import problem
from gdfast._numerics import order
from gdfast._numerics.order import BLOCK, LANES

WIDTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 1000]
LENGTHS = [1, 2, 3, 255, 256, 257, 511, 512, 513, 769, 1281, 3000]


@pytest.fixture(params=["float32", "float64"])
def draw(request):
    """Numbers of either sign and of many sizes."""
    random = np.random.default_rng(0)

    def numbers(*shape):
        return (random.standard_normal(shape) * 2.0 ** random.integers(-9, 9, shape)).astype(
            request.param
        )

    return numbers


def plain_tree(parts):
    while len(parts) > 1:
        parts = [
            parts[k] + parts[k + 1] if k + 1 < len(parts) else parts[k]
            for k in range(0, len(parts), 2)
        ]
    return parts[0]


def plain_dot(x, w):
    lanes = [x.dtype.type(0)] * LANES
    for j in range(len(x)):
        lanes[j % LANES] += x[j] * w[j]
    return plain_tree(lanes)


def plain_sum(terms):
    blocks = [terms.dtype.type(0)] * -(-len(terms) // BLOCK)
    for i in range(len(terms)):
        blocks[i // BLOCK] += terms[i]
    return plain_tree(blocks)


def left_to_right(terms):
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def exact(terms):
    return sum(map(Fraction, map(float, terms)))


def within(got, terms, additions):
    """Whether a sum is as near to the exact one as that many roundings of each of its terms allow."""
    roundoff = Fraction(float(np.finfo(got.dtype).eps)) / 2
    return abs(Fraction(float(got)) - exact(terms)) <= additions * roundoff * exact(np.abs(terms))


@pytest.mark.parametrize("d", WIDTHS)
def test_dot_is_the_order_in_words(draw, d):
    X, w = draw(5, d), draw(d)
    assert order.dot(X, w).tobytes() == np.array([plain_dot(x, w) for x in X]).tobytes()
    assert order.squares(X).tobytes() == np.array([plain_dot(x, x) for x in X]).tobytes()
    assert order.norm(w).tobytes() == np.sqrt(plain_dot(w, w)).tobytes()


@pytest.mark.parametrize("m", LENGTHS)
@pytest.mark.parametrize("c", [1, 2, 9])
def test_sum_rows_is_the_order_in_words(draw, m, c):
    terms = draw(m, c)
    expected = np.array([plain_sum(column) for column in terms.T])
    assert order.sum_rows(terms).tobytes() == expected.tobytes()
    assert order.sum_rows(terms[:, 0]).tobytes() == expected[0].tobytes()


@pytest.mark.parametrize("shape", [(1, 5), (BLOCK, 1), (3 * BLOCK + 5, 1), (3 * BLOCK + 5, 3)])
def test_a_block_is_its_cumsum(draw, shape):
    terms = draw(*shape)
    cuts = range(BLOCK, len(terms), BLOCK)
    expected = np.array([np.cumsum(block, axis=0)[-1] for block in np.split(terms, cuts)])
    assert order.block_sums(terms).tobytes() == expected.tobytes()


@pytest.mark.parametrize("m", [1, 2, 3])
def test_up_to_three_terms_are_the_loop_from_left_to_right(draw, m):
    for _ in range(200):
        terms = draw(m)
        expected = left_to_right(terms).tobytes()
        assert order.sum_rows(terms).tobytes() == expected
        assert order.tree(terms).tobytes() == expected
        assert order.dot(terms[None, :], np.ones_like(terms)).tobytes() == expected


@pytest.mark.parametrize("d", WIDTHS)
def test_dot_is_near_the_exact_sum(draw, d):
    X, w = draw(20, d), np.ones_like(draw(d))
    for x, got in zip(X, order.dot(X, w), strict=True):
        assert within(got, x, additions=-(-d // LANES) + 3)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_numpy_handles_at_once_changes_nothing(draw, monkeypatch, threads):
    X, y, w = draw(900, 5), draw(900), draw(5)

    def found():
        fitted = gd.fit(X, y, lr=1e-7, epochs=3, backend="numpy", threads=threads)
        return fitted.digest, fitted.predict(X).tobytes(), order.dot(X, w).tobytes()

    at_once = found()
    monkeypatch.setattr(order, "AT_ONCE", 1)
    monkeypatch.setattr(problem, "useful_threads", lambda threads, *_: threads)
    assert len(order.chunks(900, 5)) == 4
    assert found() == at_once


@pytest.mark.parametrize("m", LENGTHS)
def test_sum_rows_is_near_the_exact_sum(draw, m):
    terms = draw(m)
    blocks = -(-m // BLOCK)
    assert within(order.sum_rows(terms), terms, additions=min(m, BLOCK) + blocks.bit_length())


def test_zeros_sum_to_plus_zero():
    minus = np.full((3, 1), -0.0)
    for total in (order.sum_rows(minus), order.dot(minus, np.ones(1))):
        assert not np.signbit(total).any()


def epochs_of(n, epochs=1, seed=0):
    """The rows in the order of each epoch's visits, (epochs, n)."""
    keys = order.round_keys(seed, range(epochs))
    return np.array([order.visit(np.arange(n), epoch_keys, n) for epoch_keys in keys])


def test_an_epoch_visits_each_row_once():
    large = np.random.default_rng(0).integers(2_000, 2_000_000, 10)
    for n in [*range(1, 2001), *large.tolist(), 2**16 - 1, 2**16, 2**16 + 1]:
        (rows,) = epochs_of(n, seed=n)
        assert np.array_equal(np.sort(rows), np.arange(n)), n


def plain_visit(i, keys, n):
    """The shuffle in words, by Python's integers."""
    pairs = max(n, 64)
    needed = (pairs - 1).bit_length()
    bits = max((needed + 1) // 2, needed - 16)
    lefts = 4 * -(-pairs // (4 * 2**bits))

    def scrambled(half, key):
        z = (half + key) * 0x7FEB352D % 2**32
        return (z ^ (z >> 15)) * 0x846CA68B % 2**32

    while True:
        left, right = divmod(i, 2**bits)
        for for_left, for_right in zip(keys[::2], keys[1::2], strict=True):
            left = (left + ((scrambled(right, for_left) >> 16) * lefts >> 16)) % lefts
            right ^= scrambled(left, for_right) >> (32 - bits)
        i = left * 2**bits + right
        if i < n:
            return i


@pytest.mark.parametrize("n", [1, 5, 63, 64, 65, 100, 4097, 10**6, 2**32 - 1, 2**32 + 1, 10**13])
def test_a_shuffle_is_the_order_in_words(n):
    keys = order.round_keys(5, range(1))[0]
    positions = np.unique(np.linspace(0, n - 1, 200).astype(np.int64))
    low = [int(key) % 2**32 for key in keys]
    expected = [plain_visit(int(i), low, n) for i in positions]
    assert order.visit(positions, keys, n).tolist() == expected


def test_any_position_can_be_asked_for_on_its_own():
    keys = order.round_keys(7, range(3, 4))[0]
    rows = order.visit(np.arange(1000), keys, 1000)
    alone = [order.visit(np.array([i]), keys, 1000)[0] for i in range(1000)]
    assert rows.tolist() == alone


def test_without_keys_the_rows_stand_as_they_are():
    assert order.visit(np.arange(5), np.empty(0, np.uint64), 5).tolist() == [0, 1, 2, 3, 4]


def test_epochs_and_seeds_differ():
    orders = {
        rows.tobytes()
        for seed in (0, 1, 2, 2**32, 2**63, 2**64 - 1)
        for rows in epochs_of(100, epochs=50, seed=seed)
    }
    assert len(orders) == 6 * 50


def test_the_keys_of_an_epoch_are_its_own():
    """So that a run can go on from any epoch."""
    keys = order.round_keys(3, range(10))
    for epoch in range(10):
        assert np.array_equal(order.round_keys(3, range(epoch, epoch + 1))[0], keys[epoch])


def surprise(counts, degrees):
    """By how many standard deviations chi-square is above its mean, were all counts equally likely."""
    expected = counts.mean()
    chi2 = ((counts - expected) ** 2 / expected).sum()
    return (chi2 - degrees) / np.sqrt(2 * degrees)


def many_orders(n, epochs):
    """The orders of the first epochs, (epochs, n): `order.visit` of all epochs at once."""
    keys = order.round_keys(2024, range(epochs)).astype(np.uint32).T[:, :, None]
    network = order.halves(n)
    pairs = int(network[0]) << int(network[1])
    passed = order.feistel(np.arange(pairs, dtype=np.uint64)[None], keys, *network).astype(np.int64)
    rows = passed[:, :n]
    while (rows >= n).any():
        rows = np.where(rows < n, rows, np.take_along_axis(passed, rows, axis=1))
    return rows


def test_many_orders_are_the_orders_of_the_epochs():
    for n in (2, 64, 65, 200):
        assert many_orders(n, 5).tolist() == [e.tolist() for e in epochs_of(n, 5, seed=2024)]


@pytest.mark.parametrize("n", [3, 4, 5])
def test_small_shuffles_are_uniform_over_the_permutations(n):
    _, counts = np.unique(many_orders(n, 10_000), axis=0, return_counts=True)
    assert len(counts) == np.prod(range(1, n + 1))
    assert surprise(counts, len(counts) - 1) < 5


@pytest.mark.parametrize("n", range(2, 201))
def test_positions_and_pairs_of_positions_are_uniform(n):
    """Chi-square over the row at each position, over two rows at a pair of positions, and over how far rows that are
    visited one after the other stand apart; and as many odd permutations as even ones."""
    rows = many_orders(n, 2000)
    at_position = np.array([np.bincount(column, minlength=n) for column in rows.T])
    assert surprise(at_position, (n - 1) ** 2) < 5
    for i, j in ((0, 1), (0, n - 1), (n // 2 - 1, n // 2)):
        together = np.bincount(rows[:, i] * n + rows[:, j], minlength=n * n).reshape(n, n)
        assert surprise(together[~np.eye(n, dtype=bool)], n * (n - 1) - 1) < 5
    if n > 2:
        apart = np.bincount((np.diff(rows, axis=1) % n).ravel(), minlength=n)[1:]
        assert surprise(apart, n - 2) < 5
    later = np.arange(n)[:, None] < np.arange(n)
    some = rows[:400].astype(np.uint8)
    odd = [np.count_nonzero((row[:, None] > row) & later) % 2 for row in some]
    assert abs(np.mean(odd) - 0.5) < 0.125  # five standard deviations


@pytest.mark.parametrize("n", [257, 300, 320])
def test_neighbours_of_more_rows_are_uniform(n):
    rows = many_orders(n, 20_000)
    apart = np.bincount((np.diff(rows, axis=1) % n).ravel(), minlength=n)[1:]
    assert surprise(apart, n - 2) < 5


@pytest.mark.parametrize("n", [1, 2, 3, 5, 255, 256, 257, 600])
def test_every_backend_visits_these_rows(backend, n):
    """Each row leaves its mark in w, so that the weights after an epoch tell the order of its rows."""
    y = np.arange(1.0, n + 1)
    result = gd.fit(
        np.ones((n, 1)),
        y,
        lr=0.25,
        batch_size=1,
        epochs=4,
        seed=9,
        fit_intercept=False,
        trace="coef",
        backend=backend,
    )
    w = 0.0
    for epoch, rows in enumerate(epochs_of(n, epochs=4, seed=9), start=1):
        for i in rows:
            r = w - y[i]
            w = w - 0.25 * (r + r)
        assert result.history.coef[epoch] == pytest.approx([w], rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_data_are_the_plain_loop(backend, n):
    """Up to three rows of one feature: what the published examples' loops print."""
    x, y = np.array([0.3, 0.7, 1.9])[:n], np.array([0.1, -0.4, 2.3])[:n]
    result = gd.fit(x[:, None], y, lr=0.1, epochs=20, trace="coef", backend=backend)
    w = b = 0.0
    for epoch in range(20):
        loss = grad_w = grad_b = 0.0
        for i in range(n):
            r = (x[i] * w + b) - y[i]
            loss += r * r
            grad_w += (r + r) * x[i]
            grad_b += r + r
        assert result.history.loss[epoch] == loss / n
        w, b = w - 0.1 * (grad_w / n), b - 0.1 * (grad_b / n)
        assert (result.history.coef[epoch + 1, 0], result.history.intercept[epoch + 1]) == (w, b)
