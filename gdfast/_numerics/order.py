"""The canonical order: in which order every sum is taken and every epoch visits the rows.

A result is a function of the data, the options and the seed alone because all backends follow this text.

*Sum over features* (a dot product): LANES accumulators start at +0.0; term j is added to accumulator j mod LANES, in
the order of j; then neighbours are added in pairs, (0+1), (2+3), ..., again and again, until one number is left.
Of a sparse row, the terms are those that are stored, in the order of their columns.

*Sum over rows* (the gradient, the loss, a column's mean): rows are cut into blocks of BLOCK consecutive rows. A block
is summed from +0.0 row after row; then the blocks are added as the lanes are: neighbours in pairs, level by level, an
odd one out moving up as it is. The rows of an epoch's loss are counted in the order they are visited, those of a
batch's gradient from the start of the batch.

Both orders are the plain loop from left to right for up to three terms.

*Steps of one row* by plain SGD, w - lr g, on dense rows without penalties: the rows of an epoch are taken in groups of
GROUP in the order of the visits, and those left over at its end one by one. Of a group, with w and b as they are before
it, a_i = lr_i s_i (rate times weight of the row) and d_i the derivative of row i's loss by its prediction:

- p_i = x_i.w + b, and for each pair j < i of rows h_ij = a_j (x_i.x_j + 1), or a_j (x_i.x_j) without intercept;
- in turn, row i's prediction is p_i - d_0 h_i0 - d_1 h_i1 - ..., from left to right;
- then w becomes w - c_0 x_0 - c_1 x_1 - ..., from left to right, with c_i = a_i d_i, and b the same with 1 for x.

A derivative may be found sooner from what has changed the prediction, which is summed on its own, 0 - d_0 h_i0 -
d_1 h_i1 - ...: `gdfast.losses.gradient_near` says how.
Where the derivative of the loss is k (p - y), residuals stand for predictions and for derivatives: p_i is
x_i.w + (b - y_i), a_i is k lr_i s_i, d_i is row i's prediction as found in turn, and the targets are 0.

These are the steps one after the other, up to rounding; what a step waits for is a number and not a whole dot product.

*Steps on sparse rows* in batches, where a weight without a gradient rests or coasts (`gdfast.optimizers.Optimizer`) or
is shrunk by the penalties, touch the columns that their rows hold, and the intercepts. The norm that clips a gradient
is that of these columns, in the order in which the rows of the batch first hold them. A column that step a touched last
and step b touches next is brought up to date before step b:

- shrunk by l1 and l2, once for all steps, as `gdfast._backends.numpy.lazy_sparse.Lazy` says;
- an average, and rules that coast, by what is to come after steps a and b of a period, in float64. Where u moves the
  weight by rates r_i and fades by f at each step, with W_i = f (r_(i+1) + W_(i+1)) and A_i = f (r_(i+1) n_(i+1) +
  A_(i+1)), n_i being how many iterates are still to be counted from step i on, the weight moves by
  (W_a - f^k W_(b-1)) u with k = b - 1 - a, and the sum of the iterates by
  n w - (A_a - (W_a - f^(k+1) W_b) n_b - f^(k+1) A_b) u, with n of them counted. Where the weight is
  s_i sign(w) (|w| - (t_i - t_a)), with S_i = s_i + S_(i+1) and T_i = T_(i+1) + (t_(i+1) - t_i) S_(i+1), that sum has
  |w| (S_a - S_e) - ((T_a - T_e) - (t_e - t_a) S_e), e being b or the first step after which nothing is left of w.

Periods follow each other from the start of an epoch. One has at most as many steps as there are columns (at least
BLOCK), or fewer where the scale of the weights falls below 2^-20 within it; the last step of an epoch is one of its
own. At its end all columns are brought up to date. So where the blocks of a stream end is in no bit.

*Shuffle*: position i of an epoch visits row ``visit(i)``, a bijection of 0..n-1: a Feistel network of ROUNDS rounds on
pairs of a left and a right half, i = left 2^bits + right. In turn a half is scrambled, with the round's key, to 32
bits. Of the right one's, the high 16 times the number of left halves, shifted down by 16, is added to the left half,
modulo that number; of the left one's, the high ``bits`` are xored to the right half. There are as many pairs as rows,
and at least SMALLEST, made up so that the left halves are a multiple of LEFTS: a position that lands outside goes on
until it lands below n. An odd number of left halves would make even permutations alone, and fewer rounds, pairs or left
halves favour some neighbours. The keys come from (seed, epoch) by splitmix64.
It needs no memory, and any position can be asked for on its own.

No operation here or in a formula is anything but an IEEE-754 addition, subtraction, multiplication, division or square
root, a comparison, a select, or an integer operation.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LANES = 8
BLOCK = 256
GROUP = 4
ROUNDS = 8
SMALLEST = 64
LEFTS = 4
# Few enough numbers for the cache, and enough for two of numpy's threads not to wait for each other between its calls.
AT_ONCE = 1 << 18

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)
_SCRAMBLE1, _SCRAMBLE2 = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
_15, _16, _32 = np.uint32(15), np.uint32(16), np.uint32(32)

Array = NDArray[Any]


def tree(parts: Array) -> Any:
    """Add along axis 0: neighbours in pairs, level by level; an odd one out moves up as it is."""
    while len(parts) > 1:
        pairs = parts[0::2].copy()
        pairs[: len(parts) // 2] += parts[1::2]
        parts = pairs
    return parts[0]


def sum_features(terms: Array) -> Any:
    """Sum over axis 0, a multiple of LANES long, in the order of a dot product."""
    a = np.add.reduce(terms.reshape(-1, LANES, *terms.shape[1:]), axis=0, initial=0)
    return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]))


def dot(X: Array, w: Array) -> Array:
    """x.w for each row x of X."""
    return _products(X, lambda _: w[:, None])


def dots(X: Array, Z: Array) -> Array:
    """x.z for each row x of X and the same row z of Z."""
    return _products(X, lambda part: Z[part].T)


def squares(X: Array) -> Array:
    """x.x for each row x of X."""
    return dots(X, X)


def _products(X: Array, factor: Callable[[slice], Array]) -> Array:
    n, d = X.shape
    out = np.empty(n, X.dtype)
    parts = chunks(n, d)
    terms = np.zeros((-(-d // LANES) * LANES, min(n, parts[0].stop)), X.dtype)
    for part in parts:
        x = X[part]
        np.multiply(x.T, factor(part), out=terms[:d, : len(x)])
        out[part] = sum_features(terms[:, : len(x)])
    return out


def norm(v: Array) -> Any:
    """The Euclidean norm of a vector."""
    return np.sqrt(squares(v[None, :])[0])


def block_sums(terms: Array) -> Array:
    """(m, c) -> (ceil(m / BLOCK), c): the sum of each block of rows, row after row."""
    m, c = terms.shape
    whole = m // BLOCK
    out = np.empty((-(-m // BLOCK), c), terms.dtype)
    out[:whole] = _sum_in_turn(terms[: whole * BLOCK].reshape(whole, BLOCK, c))
    if whole < len(out):
        out[whole:] = _sum_in_turn(terms[None, whole * BLOCK :])
    return out


def _sum_in_turn(blocks: Array) -> Any:
    """Sum over axis 1 one after the other. numpy sums a single column pairwise, so that one goes by accumulate."""
    if blocks.shape[2] == 1:
        return np.add.accumulate(blocks, axis=1)[:, -1] + blocks.dtype.type(0)
    return np.add.reduce(blocks, axis=1, initial=0)


def sum_rows(terms: Array) -> Any:
    """Sum over axis 0 of an (m,) or (m, c) array in the order of a sum over rows."""
    if terms.ndim == 1:
        return sum_rows(terms[:, None])[0]
    return tree(block_sums(terms))


def chunks(n: int, d: int, threads: int = 1) -> list[slice]:
    """Cut n rows of d features into parts for numpy: whole blocks, of AT_ONCE numbers, or a thread's share."""
    rows = BLOCK * max(1, min(AT_ONCE // (BLOCK * d), -(-n // (BLOCK * threads))))
    return [slice(first, first + rows) for first in range(0, n, rows)]


def mix(z: Any) -> Any:
    """Scramble 64 bits: the finaliser of splitmix64."""
    z = (z ^ (z >> _30)) * _MIX1
    z = (z ^ (z >> _27)) * _MIX2
    return z ^ (z >> _31)


def round_keys(seed: int, epochs: range) -> NDArray[np.uint64]:
    """The keys of each epoch's shuffle, (len(epochs), ROUNDS).

    Examples
    --------
    >>> from gdfast._numerics import order
    >>> order.round_keys(seed=0, epochs=range(2)).shape
    (2, 8)
    """
    epoch = np.arange(epochs.start, epochs.stop, dtype=np.int64).astype(np.uint64)
    start = mix(mix(np.array([seed], np.uint64) + _GOLDEN) + (epoch + np.uint64(1)) * _GOLDEN)
    keys: NDArray[np.uint64] = mix(
        start[:, None] + np.arange(1, ROUNDS + 1, dtype=np.uint64) * _GOLDEN
    )
    return keys


def scramble(z: Any) -> Any:
    """32 bits, of which the high ones depend on all of z: the constants of C. Wellons' lowbias32."""
    z = np.uint32(z * _SCRAMBLE1)
    return np.uint32((z ^ (z >> _15)) * _SCRAMBLE2)


def feistel(i: Any, keys: Any, lefts: Any, right_bits: Any, right_mask: Any) -> Any:
    """One pass of the bijection on 0 .. lefts 2**right_bits - 1."""
    left, right = np.uint32(i >> np.uint64(right_bits)), np.uint32(i & right_mask)
    for r in range(0, ROUNDS, 2):
        left = np.uint32(left + (((scramble(np.uint32(right + keys[r])) >> _16) * lefts) >> _16))
        left = np.uint32(left - lefts * (left >= lefts))
        right = np.uint32(right ^ (scramble(np.uint32(left + keys[r + 1])) >> (_32 - right_bits)))
    return (np.uint64(left) << np.uint64(right_bits)) | np.uint64(right)


def halves(n: int) -> tuple[np.uint32, np.uint32, np.uint64]:
    """(left halves, right bits, right mask) of the Feistel network for n rows."""
    pairs = max(n, SMALLEST)
    bits = 0
    while (1 << bits) < pairs:
        bits += 1
    right = max(bits - bits // 2, bits - 16)  # at most 2**16 left halves
    return (
        np.uint32((((pairs - 1) >> right) // LEFTS + 1) * LEFTS),
        np.uint32(right),
        np.uint64((1 << right) - 1),
    )


def visit(positions: NDArray[np.int64], keys: NDArray[np.uint64], n: int) -> Array:
    """The rows that an epoch visits at these positions; without keys, the rows as they stand.

    Examples
    --------
    >>> import numpy as np
    >>> from gdfast._numerics import order
    >>> keys = order.round_keys(seed=0, epochs=range(1))[0]
    >>> sorted(order.visit(np.arange(5), keys, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    if len(keys) == 0:
        return positions
    network = halves(n)
    halved = keys.astype(np.uint32)

    def pass_on(i: Array) -> Any:
        return feistel(i, halved, *network)

    if n <= SMALLEST:  # few rows walk far: look the steps up
        pass_on = pass_on(np.arange(SMALLEST, dtype=np.uint64)).__getitem__
    rows = pass_on(positions.astype(np.uint64))
    while (outside := rows >= n).any():
        rows[outside] = pass_on(rows[outside])
    return rows.astype(np.int64)  # type: ignore[no-any-return]
