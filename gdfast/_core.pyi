from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]
_Record = Any  # a NamedTuple of numbers
_Matrix = _Array | tuple[_Array, _Array, _Array, int]

build: str
standard_float_mode: int

def instruction_sets() -> list[str]: ...
def losses() -> list[str]: ...
def rules() -> list[str]: ...
def float_mode() -> int: ...
def set_float_mode(mode: int) -> None: ...
def descend(
    X: _Matrix,
    y: _Array,
    weights: _Array,
    loss: str,
    loss_fields: _Record,
    rule: str,
    rule_fields: _Record,
    outputs: int,
    fit_intercept: bool,
    batch_size: int,
    l1: float,
    l2: float,
    proximal: bool,
    weight_decay: float,
    fused: bool,
    clip_norm: float,
    tol: float,
    bound: float,
    threads: int,
    params: _Array,
    slots: _Array,
    total: _Array,
    averages_after: int,
    scales: _Array,
    seen: _Array,
    since: _Array,
    tables: _Array,
    period: _Array,
    start: _Array,
    steps: int,
    numbers: _Array,
    keys: _Array,
    losses: _Array,
    objectives: _Array,
    grad_norms: _Array,
    traced: _Array,
    loss_sums: _Array,
    offset: int,
    to_come: int,
) -> tuple[int, int, int]: ...
def sum(
    X: _Matrix,
    y: _Array,
    weights: _Array,
    loss: str,
    loss_fields: _Record,
    outputs: int,
    params: _Array,
    grad: _Array,
    threads: int,
) -> float: ...
def mean_loss(
    predictions: _Array, y: _Array, weights: _Array, loss: str, loss_fields: _Record
) -> float: ...
def step(
    rule: str,
    rule_fields: _Record,
    params: _Array,
    grad: _Array,
    slots: _Array,
    numbers: _Array,
) -> None: ...
def minimize(
    fun: Callable[[_Array], tuple[float, _Array]],
    rule: str,
    rule_fields: _Record,
    x: _Array,
    grad: _Array,
    slots: _Array,
    numbers: _Array,
    tol: float,
    bound: float,
    path: _Array,
    values: _Array,
    first: int,
    decay: float,
) -> tuple[int, int]: ...
def is_canonical(data: _Array, indices: _Array, indptr: _Array, n: int, d: int) -> bool: ...
def predict(X: _Matrix, params: _Array, out: _Array, threads: int) -> None: ...
