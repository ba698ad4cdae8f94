"""The user's data become what the kernels take, without a needless copy, or an error that names the place."""

import datetime as dt
import re
import tracemalloc
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.recfunctions import structured_to_unstructured
from sklearn.preprocessing import StandardScaler

from gdfast._data import arrays, csr
from gdfast._data.arrays import as_matrix, as_vector, as_weights, check_finite
from gdfast._data.csr import Csr, as_csr
from gdfast._data.frames import feature_names
from gdfast._numerics import order

FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]
DTYPES = ["float32", "float64"]


def sparse(n, d, density=0.3, dtype="float64", seed=0, scale=3):
    """Random rows with numbers of many magnitudes, some of them negative, some empty."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, d)) * np.exp(scale * rng.standard_normal((n, d)))
    a[rng.random((n, d)) >= density] = 0
    return a.astype(dtype)


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def dense(c):
    """What scipy makes of the three arrays."""
    return sp.csr_array((c.data, c.indices, c.indptr), shape=c.shape).toarray()


def is_canonical(c):
    ascending = all(np.all(np.diff(c.indices[a:b]) > 0) for a, b in pairwise(c.indptr))
    arrays = (c.data, c.indices, c.indptr)
    flags = all(
        type(a) is np.ndarray
        and a.flags.c_contiguous
        and a.flags.aligned
        and not a.flags.writeable
        and a.dtype.isnative
        for a in arrays
    )
    dtypes = c.dtype in DTYPES and c.indices.dtype == np.int32 and c.indptr.dtype == np.int64
    return ascending and flags and dtypes


def contents(X):
    """All that a sparse array holds, to compare it with itself later."""
    arrays = {
        name: np.array(value, copy=True)
        for name in ("data", "indices", "indptr", "row", "col", "offsets", "rows")
        if (value := getattr(X, name, None)) is not None and X.format != "dok"
    }
    return {name: (a.dtype, a.tolist()) for name, a in arrays.items()} | {
        "dense": X.toarray().tolist()
    }


@pytest.fixture
def small_pieces(monkeypatch):
    """Several groups of rows, and several parts in a row, also in small matrices."""
    monkeypatch.setattr(csr, "_ROWS", 3)
    monkeypatch.setattr(csr, "_ENTRIES", 4)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "bool", "uint64"])
@pytest.mark.usefixtures("small_pieces")
def test_every_sparse_format(form, kind, index, dtype):
    a = sparse(12, 8, seed=1).round().astype(dtype)
    X = getattr(sp, f"{form}_{kind}")(a)
    for name in ("indices", "indptr"):
        if hasattr(X, name):
            setattr(X, name, getattr(X, name).astype(index))
    before = contents(X)
    c = as_csr(X)
    assert is_canonical(c)
    assert c.dtype == ("float32" if dtype == "float32" else "float64")
    assert c.shape == (12, 8)
    assert np.array_equal(dense(c), a)
    assert contents(X) == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_csr_is_not_copied(dtype):
    X = sp.csr_array(sparse(30, 8, dtype=dtype))
    c = as_csr(X)
    assert np.shares_memory(c.data, X.data)
    assert np.shares_memory(c.indices, X.indices)
    assert X.data.flags.writeable
    wide = X.copy()
    wide.indptr, wide.indices = X.indptr.astype(np.int64), X.indices.astype(np.int64)
    c = as_csr(wide)
    assert np.shares_memory(c.data, wide.data)
    assert np.shares_memory(c.indptr, wide.indptr)
    assert c.indices.dtype == np.int32


def test_arrays_longer_than_their_entries():
    """As scipy leaves them where it deletes."""
    X = sp.csr_array(sparse(6, 5))
    X.data, X.indices = np.append(X.data, [np.nan, 7]), np.append(X.indices, [-1, 99])
    c = as_csr(X)
    assert len(c.data) == len(c.indices) == c.indptr[-1]
    check_finite(c, "X")


@st.composite
def triplets(draw):
    """Rows, columns and numbers, in any order, with repeats."""
    n, d = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    count = draw(st.integers(0, 40))
    one = st.tuples(st.integers(0, n - 1), st.integers(0, d - 1), st.integers(-99, 99))
    entries = sorted(draw(st.lists(one, min_size=count, max_size=count)), key=lambda e: e[0])
    return n, d, entries


@given(
    triplets(), st.sampled_from(["float64", "float32", "int64", "int8", "bool", "float16", ">f4"])
)
def test_unsorted_rows_and_repeated_entries(given_entries, dtype):
    n, d, entries = given_entries
    rows, columns, values = np.array(entries, int).reshape(-1, 3).T
    data, indptr = values.astype(dtype), np.searchsorted(rows, np.arange(n + 1))
    X = sp.csr_array((n, d), dtype="float64")
    X.data, X.indices, X.indptr = data, columns.astype(np.int32), indptr.astype(np.int32)
    X.has_canonical_format = X.has_sorted_indices = True  # a flag that is no longer true
    c = as_csr(X)
    expected = np.zeros((n, d), dtype)
    np.add.at(expected, (rows, columns), data)
    assert is_canonical(c)
    assert np.array_equal(dense(c), expected)
    assert len(c.data) == np.count_nonzero(expected)
    assert X.data is data
    assert X.data.tolist() == values.astype(dtype).tolist()
    assert X.indices.tolist() == columns.tolist()


def test_a_sparse_array_of_another_library():
    class Other:
        def tocsr(self):
            return sp.csr_array(np.eye(3))

    assert np.array_equal(dense(as_matrix(Other(), sparse=True)), np.eye(3))


def test_stored_zeros_are_left_out():
    X = sp.csr_array((np.array([0.0, 1.0, -0.0]), [1, 0, 2], [0, 1, 3]), shape=(2, 3))
    c = as_csr(X)
    assert c.data.tolist() == [1.0]
    assert c.indices.tolist() == [0]
    assert c.indptr.tolist() == [0, 0, 1]
    assert X.nnz == 3


def with_arrays(form="csr", **arrays):
    """A matrix of 4 x 5 whose index arrays are replaced after scipy has looked at them."""
    X = getattr(sp, f"{form}_array")(sparse(4, 5, density=1))
    for name, value in arrays.items():
        setattr(X, name, np.array(value))
    return X


POINTERS = [0, 5, 10, 15, 20]
COLUMNS = [0, 1, 2, 3, 4] * 4
BROKEN = [
    ({"indptr": [0, 5, 10, 20]}, "X.indptr has 4 entries: it must have 5 for shape (4, 5)"),
    ({"indptr": [*POINTERS, 20]}, "X.indptr has 6 entries: it must have 5"),
    ({"indptr": []}, "X.indptr must be a 1-D array of integers, not array([], dtype=float64)"),
    ({"indptr": [1, 5, 10, 15, 20]}, "X.indptr[0] is 1: it must be 0"),
    ({"indptr": [-1, 5, 10, 15, 20]}, "X.indptr[0] is -1: it must be 0"),
    ({"indptr": [0, 7, 3, 15, 20]}, "X.indptr[2] is 3, less than X.indptr[1] = 7"),
    ({"indptr": [0, 7, 10, 15, 9]}, "X.indptr[4] is 9, less than X.indptr[3] = 15"),
    ({"indptr": np.uint64([0, 7, 3, 15, 20])}, "X.indptr[2] is 3, less than X.indptr[1] = 7"),
    ({"indptr": [0, 5, 10, 15, 21]}, "X.indptr[4] is 21, past the end of X.indices, which has 20"),
    ({"indices": COLUMNS[:-1]}, "X.indptr[4] is 20, past the end of X.indices, which has 19"),
    ({"data": [1.0] * 19}, "X.indptr[4] is 20, past the end of X.data, which has 19"),
    ({"data": [[1.0]] * 20}, "X.data has shape (20, 1): it must be 1-D"),
    ({"indices": [5, *COLUMNS[1:]]}, "X.indices[0] is 5, in row 0, and X has 5 columns"),
    ({"indices": [*COLUMNS[:12], 9, 3, 4, *COLUMNS[15:]]}, "X.indices[12] is 9, in row 2, and"),
    ({"indices": [*COLUMNS[:-1], -1]}, "X.indices[19] is -1, in row 3, and X has 5 columns"),
    ({"indices": [*COLUMNS[:-1], 2**32]}, "X.indices[19] is 4294967296, in row 3"),
    ({"indices": np.array(COLUMNS) * 1.0}, "X.indices must be a 1-D array of integers"),
    (
        {"form": "csc", "indices": [0, 1, 2, 4] + [0, 1, 2, 3] * 4},
        "X.indices[3] is 4, in column 0, and X has 4 rows",
    ),
    ({"form": "csc", "indptr": [0, 4, 8, 12, 20]}, "X.indptr has 5 entries: it must have 6"),
    ({"form": "bsr", "indices": [0, 1, 2, 3, 99] * 4}, "in row of blocks 0, and X has"),
    ({"form": "coo", "row": [4] * 20}, "X.row[0] is 4, and X has shape (4, 5)"),
    ({"form": "coo", "col": [0] * 19 + [-1]}, "X.col[19] is -1, and X has shape (4, 5)"),
    ({"form": "coo", "data": [1.0] * 21}, "X.row has 20 entries, X.data has 21"),
    ({"form": "dia", "offsets": [0, 1]}, "X.offsets has 2 entries, and X.data has 8 diagonals"),
    ({"form": "lil", "rows": [[0], [1], [2], [5]], "data": [[1.0]] * 4}, "X.tocsr().indices[3] is"),
]


@pytest.mark.parametrize(("arrays", "message"), BROKEN, ids=str)
@pytest.mark.usefixtures("small_pieces")
def test_broken_index_arrays(arrays, message):
    if arrays.get("form") == "lil":
        arrays = arrays | {
            "rows": np.array([*map(list, arrays["rows"]), []], object)[:-1],
            "data": np.array([*map(list, arrays["data"]), []], object)[:-1],
        }
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        as_csr(with_arrays(**arrays))


WRONG = [
    (sp.csr_array((0, 3)), ValueError, "X is empty, shape (0, 3)"),
    (sp.csr_array((3, 0)), ValueError, "X is empty, shape (3, 0)"),
    (sp.csr_array((2, 2**31)), ValueError, "X has 2147483648 columns: at most 2147483647 can"),
    (sp.csr_array(np.eye(3) * 1j), TypeError, "X has dtype complex128: convert it to float64"),
]
if sp.coo_array(np.ones(4)).ndim == 1:  # from scipy 1.13 on
    WRONG.append(
        (sp.coo_array(np.ones(4)), ValueError, "X has 1 dimensions, shape (4,): it must have 2")
    )
if np.dtype(np.longdouble).itemsize > 8:
    WRONG.append((sp.csr_array(np.eye(3, dtype=np.longdouble)), TypeError, "X has dtype float"))


@pytest.mark.parametrize(("X", "error", "message"), WRONG, ids=str)
def test_sparse_arrays_that_cannot_be_taken(X, error, message):
    with pytest.raises(error, match=re.escape(message)):
        as_csr(X)


def test_the_last_column_that_can_be_numbered():
    X = sp.csr_array(([1.0], ([1], [2**31 - 2])), shape=(2, 2**31 - 1))
    c = as_csr(X)
    assert c.indices.tolist() == [2**31 - 2]
    assert c.squares().tolist() == [0.0, 1.0]


def test_sparse_where_dense_is_needed():
    S = sp.csr_array(np.ones((3, 1)))
    advice = re.escape("y is a sparse matrix: pass y.toarray().ravel()")
    with pytest.raises(TypeError, match=advice):
        as_vector(S, "y", 3, np.dtype(float))
    with pytest.raises(TypeError, match=r"^sample_weight is a sparse matrix: pass sample_weight"):
        as_weights(S, 3, np.dtype(float))
    with pytest.raises(TypeError, match=r"^coef_init is a sparse matrix: pass coef_init\.toarray"):
        arrays.as_coef(S, "coef_init", (3,), np.dtype(float))
    with pytest.raises(TypeError, match=r"^X is a sparse matrix: pass X\.toarray\(\)$"):
        as_matrix(S)
    assert type(as_matrix(S, sparse=True)) is Csr


def test_sparse_numbers_too_large_for_the_dtype():
    a = sparse(9, 5, density=1)
    a[7, 3] = 1e300
    message = r"^validation X\[7, 3\] is 1e\+300, too large for float32, the dtype of X$"
    with pytest.raises(ValueError, match=message):
        as_csr(sp.csc_array(a), "validation X", np.dtype("float32"))
    a[7, 3] = np.inf  # which it is in float32 too
    c = as_csr(sp.csr_array(a), "validation X", np.dtype("float32"))
    assert same_bits(dense(c), a.astype("float32"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.usefixtures("small_pieces")
def test_sparse_values_that_are_not_finite(value):
    a = sparse(9, 5, seed=3)
    check_finite(as_csr(sp.csr_array(a)), "X")
    a[7, 3] = a[8, 0] = value
    with pytest.raises(ValueError, match=rf"^X\[7, 3\] is {value}: remove the row or fill"):
        check_finite(as_csr(sp.csr_array(a)), "X")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("d", [1, 3, 8, 37, 200])
@pytest.mark.parametrize("pieces", ["small", "whole"])
def test_products_have_the_bits_of_those_of_the_entries(monkeypatch, dtype, density, d, pieces):
    if pieces == "small":
        monkeypatch.setattr(csr, "_ROWS", 7)
        monkeypatch.setattr(csr, "_ENTRIES", 11)
    a = sparse(50, d, density, dtype, seed=d)
    w = sparse(d, 1, 0.9, dtype, seed=1)[:, 0]
    c = as_csr(sp.csr_array(a))
    entries = np.zeros((2, *a.shape), dtype)
    for row, of_w, x in zip(*entries, a, strict=True):
        (stored,) = np.nonzero(x)
        row[: len(stored)], of_w[: len(stored)] = x[stored], w[stored]
    assert same_bits(c.squares(), order.squares(entries[0]))
    assert same_bits(c.dot(w), order.dots(*entries))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("small_pieces")
def test_chosen_rows(dtype):
    rng = np.random.default_rng(0)
    a = sparse(40, 6, dtype=dtype)
    c = as_csr(sp.csr_array(a))
    mask = rng.random(40) < 0.5
    for chosen in (mask, ~mask & False, np.ones(40, bool), rng.integers(0, 40, 60)):
        taken = c.take(chosen)
        assert is_canonical(taken)
        assert same_bits(dense(taken), a[chosen])
    assert c.astype(np.dtype(dtype)) is c
    for other in DTYPES:
        assert is_canonical(c.astype(np.dtype(other)))
        assert same_bits(dense(c.astype(np.dtype(other))), a.astype(other))


def weights_of(kind, n, dtype):
    rng = np.random.default_rng(5)
    given = {"none": None, "some": rng.random(n) + 0.1, "with zeros": np.arange(n) % 3}[kind]
    return as_weights(given, n, np.dtype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["none", "some", "with zeros"])
@pytest.mark.usefixtures("small_pieces")
def test_moments(dtype, kind):
    a = sparse(60, 7, 0.4, dtype, scale=1)
    a[:, 1] = 0  # no entry
    a[:, 2] = 0.1  # constant, in every row
    a[:, 4] += 1000
    weights = weights_of(kind, 60, dtype)
    mean, deviation = as_csr(sp.csr_array(a)).moments(weights)
    assert mean.dtype == deviation.dtype == dtype
    w = np.broadcast_to(weights, 60).astype(float)
    oracle = StandardScaler().fit(a.astype(float), sample_weight=w)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(mean, oracle.mean_, rtol=10 * eps)
    np.testing.assert_allclose(deviation, np.sqrt(oracle.var_), rtol=10 * eps, atol=1e-16)
    assert mean[2] == a[0, 2]
    assert deviation[1] == deviation[2] == 0


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float64", 1e300), ("float64", 1e-300), ("float32", 3e37), ("float32", 1e-38)],
)
def test_moments_of_numbers_whose_squares_are_lost(dtype, size):
    a = sparse(60, 3, 0.5, dtype, scale=0)
    mean, deviation = as_csr(sp.csr_array(a)).moments(np.ones(1))
    large = as_csr(sp.csr_array(a * a.dtype.type(size))).moments(np.ones(1))
    tolerance = 1e-4 if size == 1e-38 else 1e-6  # the smallest numbers have few digits
    np.testing.assert_allclose(large[0] / size, mean, rtol=tolerance)
    np.testing.assert_allclose(large[1] / size, deviation, rtol=tolerance)


def test_rows_of_weight_0_do_not_count_in_moments():
    """Not even by numbers near which those of the others vanish."""
    a = sparse(60, 3, 0.5, scale=0) * 1e-200
    weights = np.arange(60) % 2 * 2.0
    mean, deviation = as_csr(sp.csr_array(a[1::2])).moments(np.ones(1))
    a[::2] = 1e200
    again = as_csr(sp.csr_array(a)).moments(weights)
    np.testing.assert_allclose(again, (mean, deviation), rtol=1e-13)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_moments_where_a_value_is_not_finite(value):
    a = sparse(20, 3, 0.5)
    a[7, 1] = value
    with np.errstate(all="ignore"):
        found = as_csr(sp.csr_array(a)).moments(np.ones(1))
    for moment in found:
        assert np.isfinite(moment).tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("small_pieces")
def test_scaled_columns(dtype):
    a = sparse(20, 6, dtype=dtype)
    scale = np.linspace(0.1, 3, 6).astype(dtype)
    c = as_csr(sp.csr_array(a))
    assert same_bits(dense(c.scaled(scale)), a / scale)
    assert is_canonical(c.scaled(scale))
    assert c.scaled(scale).indices is c.indices


def peak(work):
    """The most memory that was in use at once, beyond what was before."""
    tracemalloc.start()
    try:
        kept = work()
        return kept, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_sparse_rows():
    """Checks and sums take little beside the matrix, also where a row holds most of it."""
    rng = np.random.default_rng(0)
    n, d = 2000, 1_000_000
    lengths = np.full(n, 500)
    lengths[3] = 800_000
    indptr = np.append(0, np.cumsum(lengths)).astype(np.int32)
    indices = np.concatenate([np.arange(k) * (d // k) for k in lengths]).astype(np.int32)
    X = sp.csr_array((rng.standard_normal(len(indices)), indices, indptr), shape=(n, d))
    size = X.data.nbytes + X.indices.nbytes
    c, used = peak(lambda: as_csr(X))
    assert used < size / 3
    for work in (c.squares, lambda: c.dot(np.ones(d)), lambda: check_finite(c, "X")):
        assert peak(work)[1] < size / 2 + 8 * d
    assert peak(lambda: c.scaled(np.ones(d)))[1] < 8 * d + 1.1 * c.data.nbytes
    assert peak(lambda: c.take(np.ones(n, bool)))[1] < 1.5 * size
    assert peak(lambda: c.moments(np.ones(1)))[1] < 12 * 8 * d


def is_ready(a):
    """Whether the kernels can read it."""
    flags = a.flags
    return (
        type(a) is np.ndarray
        and a.dtype in (np.float64, np.float32)
        and flags.c_contiguous
        and flags.aligned
        and not flags.writeable
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_in_C_order_are_not_copied(dtype):
    a = sparse(1000, 20, 1, dtype)
    taken, used = peak(lambda: as_matrix(a))
    assert is_ready(taken)
    assert taken.dtype == dtype
    assert np.shares_memory(taken, a)
    assert used < 10_000
    assert a.flags.writeable


def unaligned(a):
    buffer = np.empty(a.nbytes + 1, np.uint8)[1:]
    b = buffer.view(a.dtype).reshape(a.shape)
    b[:] = a
    return b


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "int, Fortran": lambda a: np.asfortranarray(a.astype(int)),
    "int": lambda a: a.astype(int),
    "bool": lambda a: a != 0,
    "float16": lambda a: a.clip(-999, 999).astype("float16"),
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "swapped, Fortran": lambda a: np.asfortranarray(a.astype(a.dtype.newbyteorder())),
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "unaligned": unaligned,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("target", [None, "float32", "float64"])
def test_other_arrays_are_copied_once(layout, target):
    a = LAYOUTS[layout](sparse(1000, 20, 0.7).round())
    before = a.copy()
    kind = None if target is None else np.dtype(target)
    taken, used = peak(lambda: as_matrix(a, "X", kind))
    assert is_ready(taken)
    assert taken.dtype == (target or "float64")
    assert np.array_equal(taken, before)
    assert np.array_equal(a, before)
    if target is None:
        assert used < 1.1 * taken.nbytes


@pytest.mark.parametrize("dtype", DTYPES)
def test_files_are_read_where_they_are(tmp_path, dtype):
    a = sparse(1000, 20, 1, dtype)
    np.save(tmp_path / "X.npy", a)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    taken, used = peak(lambda: as_matrix(mapped))
    assert is_ready(taken)
    assert np.shares_memory(taken, mapped)
    assert used < 10_000
    assert same_bits(taken, a)


# numpy's columns -> a table of each library
VALUES = {
    "real": np.array([0.5, -1.5, 2.25]),
    "single": np.array([1, 2, 3], np.float32) / 3,
    "count": np.array([1, 2, 3], np.int16),
    "large": np.array([2**63, 2, 2**53], np.uint64),
    "flag": np.array([True, False, True]),
    "half": np.array([0.5, 1, 2], np.float16),
}
NULLABLE = {
    "real": "Float64",
    "single": "Float32",
    "count": "Int16",
    "large": "UInt64",
    "flag": "boolean",
}


def chunked(columns):
    """An Arrow table in three pieces."""
    return pa.concat_tables([pa.table(columns).slice(i, 1) for i in range(3)])


def polars_frame(columns):
    pl = pytest.importorskip("polars")
    if "half" in columns and not hasattr(pl, "Float16"):
        pytest.skip("this polars has no Float16")
    return pl.DataFrame(columns)


def polars_pieces(columns):
    """A frame in three pieces."""
    frame = polars_frame(columns)
    return pytest.importorskip("polars").concat([frame[i : i + 1] for i in range(3)], rechunk=False)


TABLES = {
    "pandas": pd.DataFrame,
    "pandas, column by column": lambda columns: pd.concat(
        [pd.Series(values, name=name) for name, values in columns.items()], axis=1
    ),
    "pandas, other index": lambda columns: pd.DataFrame(columns, index=[2.5, 0.0, 1.0]),
    "pandas, nullable": lambda columns: pd.DataFrame(columns).astype(
        {name: NULLABLE[name] for name in columns if name in NULLABLE}
    ),
    "pandas, Arrow": lambda columns: pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype),
    "pandas, sparse": lambda columns: pd.DataFrame(
        {name: pd.arrays.SparseArray(values) for name, values in columns.items()}
    ),
    "Arrow": pa.table,
    "Arrow, chunked": chunked,
    "Arrow, batch": pa.RecordBatch.from_pydict,
    "polars": polars_frame,
    "polars, chunked": polars_pieces,
}
MIXES = [
    ["real"],
    ["real", "real"],
    ["single"],
    ["single", "single", "single"],
    ["count"],
    ["flag", "flag"],
    ["single", "flag"],
    ["single", "count"],
    ["real", "single", "count", "large", "flag"],
    ["half", "single"],
]


@pytest.mark.parametrize("mix", MIXES, ids=" ".join)
@pytest.mark.parametrize("library", TABLES)
def test_tables(library, mix):
    columns = {
        f"{name} {i}" if mix.count(name) > 1 else name: VALUES[name] for i, name in enumerate(mix)
    }
    table = TABLES[library](columns)
    taken = as_matrix(table)
    assert is_ready(taken)
    assert taken.dtype == ("float32" if {*mix} == {"single"} else "float64")
    assert np.array_equal(taken, np.column_stack([*columns.values()]).astype(taken.dtype))
    assert feature_names(table) == tuple(columns)
    assert as_matrix(table, "X", np.dtype("float32")).dtype == "float32"


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("library", TABLES)
def test_columns_as_y_and_sample_weight(library, name):
    table = TABLES[library]({name: VALUES[name]})
    column = table.column(name) if isinstance(table, pa.Table | pa.RecordBatch) else table[name]
    y = as_vector(column, "y", 3, np.dtype(float))
    assert is_ready(y)
    assert same_bits(y, VALUES[name].astype(float))
    if name != "real":  # of which one is negative
        expected = as_weights(VALUES[name], 3, np.dtype(float))
        assert same_bits(as_weights(column, 3, np.dtype(float)), expected)


def test_other_columns():
    for column in (
        pd.Index([1, 2, 3]),
        pd.array([1, 2, 3], dtype="Int64"),
        pd.Series([1, 2, 3], dtype="category"),
        pa.array([1, 2, 3]),
        pa.array([1, 2, 3]).dictionary_encode(),
    ):
        assert as_vector(column, "y", 3, np.dtype(float)).tolist() == [1.0, 2.0, 3.0]


MISSING = {
    "pandas, Int64": lambda: pd.DataFrame({"a": [1, 2, 3], "b": [4, None, None]}, dtype="Int64"),
    "pandas, boolean": lambda: pd.DataFrame(
        {"a": [1.5, 2, 3], "b": pd.array([True, None, None], dtype="boolean")}
    ),
    "pandas, Float64": lambda: pd.DataFrame(
        {"a": [1.5, 2, 3], "b": [1.5, None, None]}, dtype="Float64"
    ),
    "pandas, Arrow": lambda: MISSING["Arrow"]().to_pandas(types_mapper=pd.ArrowDtype),
    "pandas, category": lambda: pd.DataFrame(
        {"a": [1, 2, 3], "b": pd.Categorical([1, None, None])}
    ),
    "Arrow": lambda: pa.table({"a": [1, 2, 3], "b": [4, None, None]}),
    "Arrow, chunked": lambda: chunked({"a": [1, 2, 3], "b": [4.5, None, None]}),
    "Arrow, batch": lambda: pa.RecordBatch.from_pydict({"a": [1, 2, 3], "b": [True, None, None]}),
    "polars": lambda: polars_frame({"a": [1, 2, 3], "b": [4, None, None]}),
    "polars, chunked": lambda: polars_pieces({"a": [1, 2, 3], "b": [True, None, None]}),
}


@pytest.mark.parametrize("library", MISSING)
def test_missing_values(library):
    table = MISSING[library]()
    message = r"^validation X\[1, 'b'\] is missing: remove the row or fill the value in$"
    with pytest.raises(ValueError, match=message):
        as_matrix(table, "validation X")
    column = table.column("b") if isinstance(table, pa.Table | pa.RecordBatch) else table["b"]
    with pytest.raises(ValueError, match=r"^y\[1\] is missing: remove the row"):
        as_vector(column, "y", 3, np.dtype(float))


@pytest.mark.parametrize("library", ["pandas", "Arrow", "polars"])
def test_nan_is_a_number_that_is_not_finite(library):
    table = TABLES[library]({"a": np.array([1, 2, 3]), "b": np.array([1, np.nan, 3])})
    with pytest.raises(ValueError, match=r"^X\[1, 1\] is nan"):
        check_finite(as_matrix(table), "X")


NO_NUMBERS = {
    "text": (
        np.array(["1", "b", "c"]),
        r"\[1{label}\] is 'b', which is no number: fill in a number or",
    ),
    "time": (
        np.array([1, 2, 3], "M8[ms]"),
        r"\[0{label}\] is 1970-01-01T00:00:00.001.*, a date: put",
    ),
    "duration": (
        np.array([1, 2, 3], "m8[ms]"),
        r"\[0{label}\] is 1.* milliseconds, a duration: put",
    ),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
@pytest.mark.parametrize("library", ["pandas", "Arrow", "Arrow, chunked", "polars"])
def test_columns_that_hold_no_numbers(library, kind):
    values, message = NO_NUMBERS[kind]
    table = TABLES[library]({"a": np.ones(3), kind: values})
    with pytest.raises(TypeError, match="^X" + message.replace("{label}", f", '{kind}'")):
        as_matrix(table)
    column = table.column(kind) if isinstance(table, pa.Table) else table[kind]
    with pytest.raises(TypeError, match="^y" + message.replace("{label}", "")):
        as_vector(column, "y", 3, np.dtype(float))


CELLS = {
    "text": (
        "n/a",
        TypeError,
        r" is 'n/a', which is no number: fill in a number or remove the row",
    ),
    "bytes": (b"", TypeError, r" is b'', which is no number"),
    "date": (dt.date(2024, 2, 29), TypeError, r" is 2024-02-29, a date: put a number in its"),
    "time": (pd.Timestamp("2024-02-29 12:30"), TypeError, r" is 2024-02-29 12:30:00, a date"),
    "duration": (dt.timedelta(1), TypeError, r" is 1 day, 0:00:00, a duration: put a number"),
    "complex": (1j, TypeError, r" is 1j, which is no number"),
    "list": ([1.0], TypeError, r" is \[1\.0\], which is no number"),
    "too large": (10**400, TypeError, r" is 10{59}, too large for float64"),
    "None": (None, ValueError, r" is missing: remove the row or fill the value in"),
    "NA": (pd.NA, ValueError, r" is missing"),
    "NaT": (pd.NaT, ValueError, r" is missing"),
    "NumPy's NaT": (np.datetime64("NaT", "D"), ValueError, r" is missing"),
}


@pytest.mark.parametrize(("value", "error", "message"), CELLS.values(), ids=CELLS)
def test_a_cell_that_is_no_number_is_named(value, error, message):
    cells = np.empty(9, object)
    cells[:] = [1, 2.5, True, "3", Decimal("0.1"), Fraction(1, 3), np.float32(1), np.bool_(1), 0]
    cells[7] = value
    frame = pd.DataFrame({"a": np.ones(9), "price": pd.Series(cells, dtype=object)})
    with pytest.raises(error, match=rf"^X\[7, 'price'\]{message}"):
        as_matrix(frame)
    with pytest.raises(error, match=rf"^X\[3, 1\]{message}"):
        as_matrix(np.append(cells, cells[0]).reshape(5, 2))
    for y in (cells, frame["price"]):
        with pytest.raises(error, match=rf"^y\[7\]{message}"):
            as_vector(y, "y", 9, np.dtype(float))


def test_categories_and_arrays_in_columns():
    frame = pd.DataFrame({"city": pd.Categorical(["Rome", "Oslo", "Rome"])})
    message = (
        r"^X\[0, 'city'\] is 'Rome', which is no number.*; of categories make a column of 0 and"
    )
    for table in (frame, pa.Table.from_pandas(frame), polars_frame({"city": ["Rome", "Oslo"]})):
        with pytest.raises(TypeError, match=message):
            as_matrix(table)
    lists = pa.table({"a": [[1.0], [2.0]]})
    with pytest.raises(TypeError, match=r"^X\[0, 'a'\] is \[1\.\], which is no number$"):
        as_matrix(lists)


def test_the_conversion_that_is_advised():
    """Of text that reads as numbers, and of numbers of other kinds."""
    pl = pytest.importorskip("polars")
    text, numbers = ["1.5", "-2", "3"], [1.5, -2.0, 3.0]
    pairs = np.array([(1.5, -2.0)], [("a", "f8"), ("b", "f4")])
    given = {
        r"astype\(float\)": (np.array(text), lambda y: y.astype(float)),
        r" astype\(float\)": (pd.Series(text), lambda y: y.astype(float)),
        r"cast\('float64'\)": (pa.chunked_array([text]), lambda y: y.cast("float64")),
        r"cast\(polars\.Float64\)": (pl.Series(text), lambda y: y.cast(pl.Float64)),
        r"numpy\.asarray\(y, float\)": (text, lambda y: np.asarray(y, float)),
        r"numpy\.real\(y\)": ([1.5 + 1j, -2, 3], np.real),
    }
    for advice, (y, convert) in given.items():
        with pytest.raises(
            TypeError, match=rf"^y has dtype .*: convert it .* by {advice.strip()}$"
        ):
            as_vector(y, "y", 3, np.dtype(float))
        assert as_vector(convert(y), "y", 3, np.dtype(float)).tolist() == numbers
    with pytest.raises(
        TypeError, match=r"by numpy\.lib\.recfunctions\.structured_to_unstructured\(X\)"
    ):
        as_matrix(pairs)
    assert as_matrix(structured_to_unstructured(pairs)).tolist() == [numbers[:2]]


def test_arrays_of_other_libraries():
    """As torch's tensors: on the processor they are taken, elsewhere or with a gradient they say what to do."""

    class Tensor:
        def __init__(self, error=None):
            self.error = error
            self.shape = (2, 2)
            self.dtype = "torch.float32"

        def __array__(self, dtype=None, copy=None):
            if self.error is not None:
                raise self.error
            return np.ones((2, 2), np.float32)

    taken = as_matrix(Tensor())
    assert same_bits(taken, np.ones((2, 2), np.float32))
    advice = "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
    for error in (RuntimeError(advice), TypeError(advice)):
        with pytest.raises(
            TypeError, match=r"^X is a .*Tensor, of which NumPy makes no array: Can't.*instead\.$"
        ):
            as_matrix(Tensor(error))


def sparse_frame(a, **dense):
    """A pandas frame with these sparse columns, and with others."""
    columns = {
        f"s{j}": pd.arrays.SparseArray(x, fill_value=x.dtype.type(0)) for j, x in enumerate(a.T)
    }
    return pd.DataFrame(columns | dense)


@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "bool"])
@pytest.mark.parametrize("kind", ["integer", "block"])
def test_frames_of_sparse_columns_are_sparse_rows(dtype, kind):
    a = (sparse(40, 6, 0.2, seed=2).round().clip(-100, 100) + 0.0).astype(dtype)
    frame = sparse_frame(a)
    for j, name in enumerate(frame):
        zero = False if dtype == "bool" else 0
        frame[name] = pd.arrays.SparseArray(a[:, j], fill_value=zero, kind=kind)
    c, expected = as_matrix(frame, sparse=True), as_csr(sp.csr_array(a))
    assert is_canonical(c)
    assert c.dtype == expected.dtype
    for taken, wanted in zip(c[:3], expected[:3], strict=True):
        assert same_bits(taken, wanted)
    assert c.shape == (40, 6)
    assert feature_names(frame) == tuple(f"s{j}" for j in range(6))
    assert same_bits(as_matrix(frame), a.astype(c.dtype))


def test_frames_of_sparse_and_other_columns_are_sparse_rows():
    """Of another fill value too, which is a number like others."""
    a = sparse(40, 3, 0.2)
    more = {"real": np.arange(40) % 3 - 1.0, "count": np.arange(40) % 2, "none": np.zeros(40)}
    ones = np.where(np.arange(40) % 7, 1.0, 0.0)
    frame = sparse_frame(
        a,
        **more,
        ones=pd.arrays.SparseArray(ones, fill_value=1.0),
        whole=pd.arrays.SparseArray(ones, fill_value=np.nan),
        nullable=pd.array([*range(40)], dtype="Int64"),
    )
    c = as_matrix(frame, sparse=True)
    assert is_canonical(c)
    assert np.array_equal(
        dense(c), np.c_[a, np.column_stack([*more.values()]), ones, ones, range(40)]
    )
    assert np.count_nonzero(c.data) == len(c.data)


def test_what_sparse_columns_hold_wrong():
    a = sparse(9, 3, 0.2)
    a[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"^X\[7, 1\] is nan"):
        check_finite(as_matrix(sparse_frame(a), sparse=True), "X")
    missing = pd.DataFrame({"a": pd.arrays.SparseArray([1.0, np.nan, 2.0])})
    with pytest.raises(ValueError, match=r"^X\[1, 'a'\] is missing"):
        as_matrix(missing, sparse=True)
    a[7, 1] = 1e300
    with pytest.raises(
        ValueError, match=r"^validation X\[7, 1\] is 1e\+300, too large for float32"
    ):
        as_matrix(sparse_frame(a), "validation X", np.dtype("float32"), sparse=True)
    with pytest.raises(ValueError, match=r"^X is empty, shape \(0, 3\)"):
        as_matrix(sparse_frame(a)[:0], sparse=True)
    with pytest.raises(TypeError, match=r"^X\[1, 'text'\] is 'b', which is no number"):
        as_matrix(sparse_frame(a[:2], text=["1", "b"]), sparse=True)


def test_memory_of_sparse_columns():
    n, d = 20_000, 200
    places = np.random.default_rng(0).choice(n * d, n * d // 1000, replace=False)
    X = sp.coo_matrix((np.ones(len(places)), divmod(places, d)), shape=(n, d))
    frame = pd.DataFrame.sparse.from_spmatrix(X)
    c, used = peak(lambda: as_matrix(frame, sparse=True))
    assert len(c.data) == len(places)
    assert used < n * d  # an eighth of the dense numbers


def test_the_index_of_pandas_is_no_feature():
    """pd.read_parquet makes it the index again, whatever its name and however many columns it has."""
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [4.0, 5.0, 6.0, 0.0]})
    filtered = frame[frame.b != 5]
    indexes = {
        "default": frame,
        "filtered": filtered,
        "named": filtered.rename_axis("id"),
        "text": filtered.set_index(pd.Index(["u", "v", "w"])),
        "two": filtered.set_index([pd.Index([1, 2, 3]), pd.Index([4, 5, 6], name="id")]),
    }
    for name, indexed in indexes.items():
        table = pa.Table.from_pandas(indexed)
        assert (len(table.column_names) > 2) == (name != "default")
        for t in (table, table.to_batches()[0], table.slice(1)):
            assert np.array_equal(as_matrix(t), t.to_pandas().to_numpy())
            assert feature_names(t) == ("a", "b")
    stripped = pa.Table.from_pandas(filtered).replace_schema_metadata()
    assert as_matrix(stripped).shape == (3, 3)  # as pandas has it too
    only = pa.Table.from_pandas(filtered).select(["__index_level_0__"])
    with pytest.raises(ValueError, match=r"^X is empty, shape \(3, 0\)"):
        as_matrix(only)
    for metadata in ("{", "[1]", '{"columns": []}'):
        broken = stripped.replace_schema_metadata({"pandas": metadata})
        with pytest.raises(
            ValueError, match=r"what pandas wrote .* X cannot be read: pass X\.replace_sch"
        ):
            as_matrix(broken)


@pytest.mark.parametrize("library", ["pandas", "Arrow", "Arrow, batch", "polars"])
def test_tables_without_columns_or_rows(library):
    with pytest.raises(ValueError, match=r"^X is empty, shape \(0, 0\)"):
        as_matrix(TABLES[library]({}))
    with pytest.raises(ValueError, match=r"^X is empty, shape \(0, 1\)"):
        as_matrix(TABLES[library]({"a": np.empty(0)}))


def test_polars_columns_of_arrays_and_lazy_frames():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [[1.0, 2.0]]}, schema={"a": pl.Array(pl.Float64, 2)})
    with pytest.raises(TypeError, match=r"^X\[:, 'a'\] holds arrays"):
        as_matrix(frame)
    with pytest.raises(TypeError, match=r"^X is a LazyFrame: pass X\.collect\(\)$"):
        as_matrix(frame.lazy())


def test_advice_that_the_object_can_follow():
    """A Series has no reshape, a DataFrame and a list no ravel."""
    with pytest.raises(
        ValueError, match=r"pass np\.asarray\(X\)\.reshape\(-1, 1\) for one feature"
    ):
        as_matrix(pd.Series([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"pass X\.reshape\(-1, 1\) for one feature"):
        as_matrix(np.ones(2))
    column = [[1.0], [2.0]]
    for y in (column, pd.DataFrame(column), pa.table({"a": [1.0, 2.0]})):
        with pytest.raises(ValueError, match=r"pass np\.ravel\(y\)$"):
            as_vector(y, "y", 2, np.dtype(float))
        assert np.ravel(y).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"pass y\.ravel\(\)$"):
        as_vector(np.array(column), "y", 2, np.dtype(float))


def frames(n, d):
    """Random rows, and the same as frames that hold them in several ways."""
    a = np.random.default_rng(0).standard_normal((n, d))
    names = [f"x{j}" for j in range(d)]
    split = pd.DataFrame({name: a[:, j].copy() for j, name in enumerate(names[:-1])})
    split[names[-1]] = a[:, -1]
    pieces = pa.concat_tables(
        [pa.Table.from_arrays([*a[i : i + 1000].T], names) for i in range(0, n, 1000)]
    )
    return a, {
        "one block": pd.DataFrame(np.asfortranarray(a), copy=False),
        "several blocks": split,
        "nullable": pd.DataFrame(a).astype("Float64"),
        "Arrow": pa.Table.from_arrays([*a.T], names),
        "Arrow, chunked": pieces,
    }


def test_tables_are_copied_once():
    a, tables = frames(20_000, 20)
    for library, table in tables.items():
        taken, used = peak(lambda table=table: as_matrix(table))
        assert same_bits(taken, a), library
        assert used < 1.1 * a.nbytes, library


def test_a_frame_in_C_order_is_not_copied():
    a = sparse(20_000, 10, 1)
    frame = pd.DataFrame(a, copy=False)
    taken, used = peak(lambda: as_matrix(frame))
    assert is_ready(taken)
    assert np.shares_memory(taken, a)
    assert used < 0.1 * a.nbytes


def test_no_library_is_loaded(python):
    """Not for arrays, lists and sparse look-alikes."""
    loaded = python(
        "import sys, numpy as np; from gdfast._data import arrays as m; m.as_matrix(np.ones((2, 2)));"
        "m.as_vector([1, 2], 'y', 2, np.dtype(float));"
        "print({'pandas', 'polars', 'pyarrow', 'scipy'} & {*sys.modules})"
    )
    assert loaded == "set()"
