"""Arithmetic that measures what rounding does to a result.

`Arithmetic.array` gives arrays that hold each of their numbers several times: once as exactly as this machine can, in
long double, and SAMPLES times as a computation in float32 or float64 has it that rounds each result at random, up or
down. What is exact there stays exact. The samples spread as far as rounding may move the result of any program for the
same formulas, in whatever order it adds (Vignes 1993, "A stochastic arithmetic for reliable scientific computation";
Parker 1997, "Monte Carlo arithmetic"). Formulas are those for NumPy's arrays: shapes do not show the samples.

Comparisons, signs, minima and maxima are where rounding can do more than move a result: it may choose another branch,
or be cut off where all samples end at a bound. Where two numbers differ by no more than FACTOR times the spread of
their difference, the arithmetic writes down who compared, and from there on a result tells nothing.
"""

import sys

import numpy as np

SAMPLES = 6
FACTOR = 40.0  # times the spread of the samples: how far a result may be off
WIDE = np.longdouble
# Where long double is float64, nothing can be said of fits in float64.
DTYPES = ["float32", "float64"] if np.finfo(WIDE).nmant > 52 else ["float32"]

EXACT = {np.negative, np.positive, np.absolute, np.minimum, np.maximum, np.sign, np.isfinite}
EXACT |= {np.logical_not, np.logical_and, np.logical_or, np.bitwise_and, np.bitwise_or}
COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}
EXTREMES = {np.minimum, np.maximum}
EXACT |= COMPARISONS


class Arithmetic:
    """One computation: its dtype, its random numbers, and the first comparison that rounding decides.

    Its `numbers` are the arithmetic of what formulas take beside arrays, and always float64.
    """

    def __init__(self, dtype, seed=0):
        self.dtype = np.dtype(dtype)
        self.most = self.dtype.type(np.inf)
        self.numbers = self if self.dtype == np.float64 else Arithmetic("float64", seed)
        self.random = np.random.default_rng(seed)
        self.constants = {}
        self.coins = np.empty(0, bool)
        self.now = 0  # the epoch, or whatever the computation counts
        self.undecided = (
            None  # (now, who compared), from where on the samples are of different computations
        )

    def array(self, values):
        """These numbers, as the dtype has them."""
        a = np.asarray(values, WIDE)
        return Sampled(self.rounded(np.repeat(a[None], 1 + SAMPLES, axis=0)), self)

    def constant(self, samples):
        """A number of the formulas, as the dtype has it: the same wherever it stands, so that its rounding adds up."""
        number = samples[0]
        if number not in self.constants:
            if len(self.constants) > 1000:
                self.constants.clear()
            self.constants[number] = self.rounded(samples.copy())
        return self.constants[number]

    def rounded(self, a):
        """Round all samples but the exact one up or down."""
        exact = a[1:]
        nearest = exact.astype(self.dtype)
        rest = exact - nearest
        inexact = np.abs(rest) > 0
        if inexact.any():
            other = np.nextafter(nearest, np.where(rest > 0, self.most, -self.most))
            inexact &= self._toss(rest.size).reshape(rest.shape)
            a[1:] = np.where(inexact, other, nearest)
        return a

    def _toss(self, count):
        if len(self.coins) < count:
            self.coins = self.random.integers(0, 2, max(count, 1 << 14)).astype(bool)
        tossed, self.coins = self.coins[:count], self.coins[count:]
        return tossed

    def settle(self, difference, frame):
        """Note who made a decision by the sign of this difference, if rounding may change it."""
        if self.undecided is None:
            spread = np.abs(difference[1:] - difference[0]).max(axis=0)
            if ((spread > 0) & (np.abs(difference[0]) <= FACTOR * spread)).any():
                self.undecided = self.now, sys._getframe(frame).f_code.co_name


class Sampled(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of numbers, or of truths; `samples` has them along its first axis."""

    def __init__(self, samples, arithmetic):
        self.samples = samples
        self.arithmetic = arithmetic

    @property
    def shape(self):
        return self.samples.shape[1:]

    @property
    def exact(self):
        """The numbers as they are without rounding."""
        return self.samples[0]

    @property
    def spread(self):
        """The most that rounding moves each number."""
        return np.abs(self.samples[1:] - self.samples[0]).max(axis=0)

    def __len__(self):
        return self.shape[0]

    def __bool__(self):
        return bool(self.samples[0].all())

    def __getitem__(self, index):
        index = index if isinstance(index, tuple) else (index,)
        return Sampled(self.samples[:, *index], self.arithmetic)

    def __setitem__(self, index, values):
        index = index if isinstance(index, tuple) else (index,)
        self.samples[:, *index] = values.samples

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        assert (method, keywords) == ("__call__", {}), ufunc
        arithmetic, arrays = aligned(*inputs)
        result = ufunc(*arrays)
        if ufunc is np.sign:
            arithmetic.settle(arrays[0], frame=2)
        elif ufunc in COMPARISONS or ufunc in EXTREMES:
            arithmetic.settle(arrays[0] - arrays[1], frame=3 if ufunc in COMPARISONS else 2)
        if ufunc not in EXACT:
            result = arithmetic.rounded(result)
        return Sampled(result, arithmetic)


def aligned(*inputs):
    """The arithmetic of what is made of these, and the samples of each, with as many axes as the others have.

    It is that of arrays where there are any; numbers of another are rounded to its dtype.
    """
    arithmetic = None
    for x in inputs:
        if isinstance(x, Sampled) and (arithmetic is None or x.arithmetic.numbers is arithmetic):
            arithmetic = x.arithmetic
    arrays = []
    for x in inputs:
        if isinstance(x, Sampled):
            same = x.arithmetic is arithmetic
            arrays.append(x.samples if same else arithmetic.constant(x.samples))
        elif isinstance(x, int | np.ndarray):  # as it stands, in all samples
            arrays.append(np.asarray(x)[None])
        else:
            arrays.append(arithmetic.constant(np.full(1 + SAMPLES, x, WIDE)))
    most = max([a.ndim for a in arrays])
    return arithmetic, [
        a if a.ndim == most else a.reshape(a.shape[0], *[1] * (most - a.ndim), *a.shape[1:])
        for a in arrays
    ]


# These take NumPy's arrays too.
def where(condition, a, b):
    """`np.where`."""
    if not any(isinstance(x, Sampled) for x in (condition, a, b)):
        return np.where(condition, a, b)
    arithmetic, (condition, a, b) = aligned(condition, a, b)
    return Sampled(np.where(condition, a, b), arithmetic)


def total(a, axis):
    """The sum along an axis: in each sample one term after the other, in an order of its own."""
    if not isinstance(a, Sampled):
        return np.sum(a, axis)
    arithmetic = a.arithmetic
    terms = np.moveaxis(a.samples, axis + 1 if axis >= 0 else axis, 1)
    if terms.shape[1] > 2:
        terms = np.stack([terms[0], *map(arithmetic.random.permutation, terms[1:])])
    sums = np.cumsum(terms, axis=1)
    rounding = arithmetic.rounded(sums[:, :-1].copy()) - sums[:, :-1]
    last = sums[:, -1] + np.where(np.isfinite(rounding), rounding, 0).sum(axis=1)
    return Sampled(arithmetic.rounded(last), arithmetic)


def joined(*parts, axis=0):
    """These arrays, one after the other along an axis."""
    samples = [part.samples for part in parts]
    axis = axis + 1 if axis >= 0 else axis
    return Sampled(np.concatenate(samples, axis), parts[0].arithmetic)
