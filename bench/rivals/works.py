"""The lines of the report, as data; and the rows that they are about."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import gdfast as gd
from gdfast._cli import benchmarks
from gdfast.losses import find


class Fit(NamedTuple):
    """Rows, and how to train on them. All start from weights of 0, or of 1 in the published example."""

    rows: int
    features: int
    epochs: int
    loss: str = "squared_error"
    batch_size: int | None = 1
    optimizer: type[gd.SGD | gd.Adam] = gd.SGD
    shuffled: bool = False
    nonzeros: int | None = None  # in each row, which is sparse; None: it is dense
    threads: int = 1
    published: bool = False  # the three rows (x, 2 x) of the example, and its rate

    @property
    def batch(self) -> int:
        return self.batch_size or self.rows

    @property
    def steps(self) -> int:
        return -(-self.rows // self.batch) * self.epochs

    @property
    def intercept(self) -> bool:
        return self.nonzeros is None and not self.published

    @property
    def start(self) -> float:
        """The weights to start from."""
        return float(self.published)

    @property
    def lr(self) -> float:
        if self.published:
            return 0.01
        if self.optimizer is gd.Adam:
            return 0.001
        squares = (self.nonzeros or self.features) / 3  # the expected squared norm of a row
        return (0.5 if self.batch_size is None else 0.05) / (squares + 1)

    @property
    def row_bytes(self) -> int:
        """What has to be read of a row, at least: numbers, columns and where they start; the target."""
        return 8 * self.features + 8 if self.nonzeros is None else 12 * self.nonzeros + 16

    @property
    def bytes(self) -> int:
        return self.rows * self.row_bytes

    def of_rows(self, most: float) -> "Fit":
        """The same for no more rows than this, in whole batches; of full batches, for no fewer epochs."""
        if self.published or self.rows <= most:
            return self
        unit = self.batch_size or 1
        return self._replace(rows=max(unit, int(most) // unit * unit))


class Data(NamedTuple):
    """Rows and targets; of two classes, the targets are -1 and 1."""

    X: Any  # (n, d), or scipy's CSR
    y: Any


class Model(NamedTuple):
    """What training has led to."""

    coef: Any  # (d,)
    intercept: float = 0.0


class Minimize(NamedTuple):
    """Gradient descent on (x - 3)^2 from 0."""

    steps: int = 100
    lr: float = 0.05
    jitted: bool = False


class Line(NamedTuple):
    """A line of the report."""

    name: str
    work: Fit | Minimize
    unit: str  # "ns/sample", "us/step", "ms/epoch" or "us/call"
    target: float | None = None  # of the C++ backend; of a jitted function, of numba

    def units(self, work: Fit | Minimize) -> float:
        """The seconds of a call times this are the figure."""
        if isinstance(work, Minimize) or self.unit == "us/call":
            return 1e6
        return {
            "ns/sample": 1e9 / (work.rows * work.epochs),
            "us/step": 1e6 / work.steps,
            "ms/epoch": 1e3 / work.epochs,
        }[self.unit]


def _fit(name: str, target: float | None, unit: str = "ns/sample", **work: Any) -> Line:
    return Line(name, Fit(**work), unit, target)


_SPARSE: dict[str, Any] = {"rows": 50_000, "features": 50_000, "nonzeros": 36, "epochs": 3}
_SMALL: dict[str, Any] = {"rows": 32_000, "batch_size": 32, "epochs": 2, "unit": "us/step"}
_FULL: dict[str, Any] = {
    "rows": 1_000_000,
    "features": 100,
    "batch_size": None,
    "epochs": 3,
    "unit": "ms/epoch",
}
_ADAM = gd.Adam

LINES: Sequence[Line] = [
    _fit("per sample, d=1", 2.6, rows=1_000_000, features=1, epochs=3),
    _fit("per sample, d=8", 5.5, rows=200_000, features=8, epochs=5),
    _fit("per sample, d=20", 8.5, rows=100_000, features=20, epochs=5),
    _fit("per sample, d=100", 58, rows=1_000_000, features=100, epochs=2),
    _fit("per sample, d=1000", 520, rows=20_000, features=1000, epochs=3),
    _fit("per sample, shuffled, d=20", 12, rows=100_000, features=20, epochs=5, shuffled=True),
    _fit("per sample, shuffled, d=100", 140, rows=1_000_000, features=100, epochs=1, shuffled=True),
    _fit("per sample, logistic, d=20", 25, rows=100_000, features=20, epochs=5, loss="logistic"),
    _fit("sparse, logistic", 60, **_SPARSE, loss="logistic"),
    _fit("sparse, logistic, shuffled", 100, **_SPARSE, loss="logistic", shuffled=True),
    _fit("sparse, hinge", 45, **_SPARSE, loss="hinge"),
    _fit("sparse, hinge, shuffled", 80, **_SPARSE, loss="hinge", shuffled=True),
    _fit("full batch, d=100", None, **_FULL),
    _fit("full batch, d=100, two threads", 31, **_FULL, threads=2),
    _fit("batches of 32, SGD, d=20", 0.25, **_SMALL, features=20),
    _fit("batches of 32, Adam, d=20", 0.35, **_SMALL, features=20, optimizer=_ADAM),
    _fit("batches of 32, Adam, d=100", 1.5, **_SMALL, features=100, optimizer=_ADAM),
    _fit(
        "the published example: 3 rows, 100 epochs",
        25,
        "us/call",
        rows=3,
        features=1,
        epochs=100,
        batch_size=None,
        published=True,
    ),
    Line("minimize, Python functions, 100 steps", Minimize(), "us/call", 200),
    Line("minimize, jitted functions, 100 steps", Minimize(jitted=True), "us/call", 20),
]


def data(work: Fit) -> Data:
    """The rows: uniform in [-1, 1], on random columns where they are sparse; targets of a linear model, with noise."""
    if work.published:
        x = np.array([[1.0], [2.0], [3.0]])
        return Data(x, 2 * x[:, 0])
    if work.nonzeros is None:
        X, y, _ = benchmarks.work(work.rows, work.features)
    else:
        from scipy.sparse import csr_array

        rng = np.random.default_rng(0)
        shape = work.rows, work.nonzeros
        width = work.features // work.nonzeros  # a column out of each stretch of this width
        columns = rng.integers(width, size=shape) + np.arange(work.nonzeros) * width
        values, starts = rng.uniform(-1, 1, shape).ravel(), np.arange(work.rows + 1)
        X = csr_array(
            (values, columns.astype(np.int32).ravel(), starts.astype(np.int32) * work.nonzeros),
            shape=(work.rows, work.features),
        )
        y = X @ rng.uniform(-1, 1, work.features) + rng.normal(size=work.rows)
    if find(work.loss).targets == "signs":
        y = np.where(y > 0, 1.0, -1.0)
    return Data(X, y)


def objective(work: Fit, rows: Data, model: Model) -> float:
    """The mean loss of all rows."""
    p = rows.X @ model.coef + model.intercept
    loss: Any = find(work.loss)
    return float(np.mean(loss.value(p, rows.y)))
