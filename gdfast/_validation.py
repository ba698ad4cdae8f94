"""Checks of single arguments, and the words in which a wrong one is answered."""

import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")

# Names that libraries have for one thing, gdfast's among them.
SYNONYMS = (
    "lr learning_rate learning_rate_init eta eta0 alpha0 rate step_size schedule scheduler lr_schedule",
    "epochs maxiter max_iter n_iter n_epochs num_epochs nb_epoch max_epochs iterations n_iterations num_iterations",
    "batch_size batch batchsize mini_batch_size minibatch_size",
    "loss criterion objective loss_function loss_fn",
    "optimizer solver method algorithm",
    "seed random_state random_seed rng",
    "tol tolerance gtol ftol xtol",
    "patience n_iter_no_change early_stopping early_stopping_rounds",
    "validation validation_data validation_split validation_fraction eval_set",
    "sample_weight sample_weights weights",
    "coef_init w0 warm_start initial_weights",
    "fit_intercept intercept bias use_bias",
    "standardize standardise normalize scale",
    "clip_norm clipnorm max_norm max_grad_norm gradient_clip_val",
    "average averaging",
    "callback callbacks",
    "progress verbose disp progress_bar",
    "threads n_jobs n_threads num_threads nthreads",
    "backend engine device",
    "jac grad gradient fprime",
)
# Arguments of other libraries, and the words that name gdfast's.
ELSEWHERE = {
    "alpha": "for the objective of SGDRegressor pass l2=alpha * (1 - l1_ratio), l1=alpha * l1_ratio",
    "penalty": "the penalties are l1= and l2=, of which both may be given",
    "l1_ratio": "for the objective of SGDRegressor pass l2=alpha * (1 - l1_ratio), l1=alpha * l1_ratio",
    "C": "for the objective of LogisticRegression of n rows pass l2=1 / (C * n), to an estimator as alpha=",
    "l1": "pass penalty='l1' or 'elasticnet', and alpha=",
    "l2": "pass penalty='l2' or 'elasticnet', and alpha=",
    "reg_lambda": "the penalties are l1= and l2=",
    "weight_decay": "pass optimizer=gdfast.AdamW(weight_decay=...), or l2=",
    "momentum": "pass optimizer=gdfast.SGD(momentum=...)",
    "nesterov": "pass optimizer=gdfast.SGD(momentum=..., nesterov=True)",
    "betas": "pass optimizer=gdfast.Adam(betas=...)",
    "eps": "pass optimizer=gdfast.Adam(eps=...)",
    "power_t": "pass lr=gdfast.schedules.InverseScaling(..., power=...)",
    "epsilon": "pass loss=gdfast.losses.EpsilonInsensitive(epsilon=...), or optimizer=gdfast.Adam(eps=...)",
    "class_weight": "pass sample_weight= with the weight of each row; gdfast.sklearn.GDClassifier has class_weight",
}


def names_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Have an argument that the function does not know answered by the one that it has for it."""
    known = inspect.signature(function).parameters

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except TypeError:
            for name in kwargs:
                if name not in known:
                    raise TypeError(
                        f"{function.__qualname__}() got an unexpected keyword argument {name!r}: "
                        + in_place_of(name, known)
                    ) from None
            raise

    return inner


def in_place_of(name: str, known: Iterable[str]) -> str:
    """The known argument that stands for one of another library, in words."""
    for synonyms in map(str.split, SYNONYMS):
        if name in synonyms:
            for ours in synonyms:
                if ours in known:
                    return f"in gdfast it is {ours}"
    words = ELSEWHERE.get(name, "")
    if any(f"{ours}=" in words for ours in known):
        return words
    return unknown("argument", name, known).partition(": ")[2]


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for a name that is in no table: what was given, the nearest name, the known ones."""
    import difflib  # needed for this message alone

    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {name!r}: {hint}known: {', '.join(map(repr, names))}"


def type_name(value: object) -> str:
    """The type of a value, with the module that it is from."""
    module, name = type(value).__module__, type(value).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def choose(kind: str, name: object, table: Mapping[str, T]) -> T:
    """The table's entry of that name."""
    if not isinstance(name, str):
        known = ", ".join(map(repr, sorted(table)))
        given = f"the class {name.__name__}" if isinstance(name, type) else type_name(name)
        raise TypeError(f"{kind} must be a name ({known}) or a record, not {given}")
    if name not in table:
        raise ValueError(unknown(kind, name, table))
    return table[name]


def check_number(
    name: str,
    value: Any,
    low: float,
    high: float,
    include_low: bool = True,
    include_high: bool = True,
) -> float:
    """A real number within its range."""
    number: float = value
    if type(value) is not float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} must be a number, not {value!r}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    inside = (low <= number if include_low else low < number) and (
        number <= high if include_high else number < high
    )
    if not inside or not math.isfinite(number):
        closed = include_high and high < math.inf
        span = f"{'[' if include_low else '('}{low}, {high}{']' if closed else ')'}"
        raise ValueError(f"{name}={value} must be a finite number in {span}")
    return number


def check_int(name: str, value: Any, low: int, high: int | None = None) -> int:
    """An integer of at least `low`; a float is not one."""
    number: int = value
    if type(value) is not int:
        if isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, not {value!r}")
        try:
            number = operator.index(value)
        except TypeError:
            raise TypeError(f"{name} must be an integer, not {value!r}") from None
    if number < low or (high is not None and number > high):
        limit = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name}={number} must be {limit}")
    return number


def check_flag(name: str, value: Any) -> bool:
    """True or False, numpy's included."""
    if type(value) is not bool and not isinstance(value, np.bool_):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def check_representable(name: str, number: float, dtype: np.dtype[Any], whose: str = "X") -> None:
    """A number that float32, if that is the dtype of X, neither rounds to 0 nor to infinity."""
    if dtype == np.float64:
        return
    with np.errstate(all="ignore"):
        rounded = dtype.type(number)
    if not np.isfinite(rounded) or (rounded == 0 and number != 0):
        raise ValueError(f"{name}={number} is {rounded} in {dtype}, the dtype of {whose}")


def record_of(cls: type[T], values: Mapping[str, Any]) -> T:
    """A frozen record with all of these fields, already checked: its own __init__ checks and stores one at a time."""
    record = object.__new__(cls)
    vars(record).update(values)
    return record


def store_checked(record: Any, **checked: Any) -> None:
    """Put checked fields, as Python's own numbers, into a frozen record."""
    for name, value in checked.items():
        object.__setattr__(record, name, value)
