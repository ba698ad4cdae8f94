"""The options of the command line that stand for arguments of `gdfast.fit`, and how their texts are read."""

import argparse
import ast
import csv
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gdfast import _backends, losses, optimizers, schedules
from gdfast._training.fit import fit
from gdfast._validation import choose, unknown

T = TypeVar("T")

# Longer texts are no records; nested deeply enough, they would exceed the recursion limit of whoever reads them.
LONGEST = 1000

DEFAULTS = {name: argument.default for name, argument in inspect.signature(fit).parameters.items()}


def typed(read: Callable[[str], T]) -> Callable[[str], T]:
    """A reader of an option for argparse, which shows the message of one kind of error only."""

    def typed_read(text: str) -> T:
        try:
            return read(text)
        except (ValueError, TypeError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return typed_read


def record(kind: str, text: str, table: Mapping[str, type[Any]]) -> Any:
    """A name as it is, or the record that ``name:argument=value,...`` stands for.

    A value is a number, a tuple, a word, or a schedule as in
    ``warmup:schedule=exponential(lr=0.1,gamma=0.9),length=5``.
    """
    name, colon, arguments = text.partition(":")
    choose(kind, name, table)
    if not colon:
        return name
    if len(text) > LONGEST:
        raise ValueError(
            f"{name}:{arguments[:20]}... has {len(text)} characters: {LONGEST} are enough for {name} and its arguments"
        )
    try:
        return _made(kind, ast.parse(f"{name}({arguments})", mode="eval").body, table)
    except SyntaxError:
        raise ValueError(
            f"cannot read {text!r}: write {name}:argument=value,argument=value"
        ) from None


def _made(kind: str, call: ast.expr, table: Mapping[str, type[Any]]) -> Any:
    match call:
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords):
            cls = choose(kind, name, table)
            arguments = {str(keyword.arg): _value(keyword.value) for keyword in keywords}
        case _:
            raise SyntaxError
    signature = inspect.signature(cls)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        raise ValueError(f"{name}: {error}; its arguments: {known}") from None
    return cls(**arguments)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=word):
            return word
        case ast.Call():
            return _made("schedule", node, schedules.TABLE)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise SyntaxError from None


def optimizer(text: str) -> Any:
    """An optimizer's name or record."""
    return record("optimizer", text, optimizers.TABLE)


def loss(text: str) -> Any:
    """A loss's name or record."""
    return record("loss", text, losses.names())


def rate(text: str) -> Any:
    """A number, "auto" or a schedule."""
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        pass
    name, _, arguments = text.partition(":")
    if name not in schedules.TABLE:
        raise ValueError(unknown("lr", name, ["auto", *schedules.TABLE]) + "; or a number")
    return record("schedule", f"{name}:{arguments}", schedules.TABLE)


def validation(text: str) -> float | Path:
    """A fraction, or the file of the validation rows."""
    try:
        return float(text)
    except ValueError:
        return Path(text)


def names(text: str) -> list[str]:
    """Columns, separated by commas; one whose name has a comma in double quotes."""
    try:
        return next(csv.reader([text], skipinitialspace=True))
    except csv.Error as error:
        raise ValueError(f"{text[:20]}... cannot be read as names of columns: {error}") from error


def count(text: str) -> int:
    """A number of rows, rounds, ..."""
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{text!r} must be an integer of at least 1")
    return int(text)


DATA = "a .csv or .parquet file; - is CSV on standard input"


def add_data(command: argparse.ArgumentParser) -> None:
    """Add the options that say what to fit."""
    group = command.add_argument_group("data")
    group.add_argument("data", help=DATA)
    group.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    group.add_argument(
        "--features",
        type=typed(names),
        metavar="A,B,...",
        help="the columns to predict it from (default: all others, which must be numeric)",
    )
    group.add_argument(
        "--weights",
        metavar="COLUMN",
        help="the weights of the rows (default: all rows weigh the same)",
    )


def add_fit(command: argparse.ArgumentParser, several: bool) -> None:
    """Add the options that say how to fit. What is not given is not passed on: the defaults are those of `fit`."""
    group = command.add_argument_group("fit")

    def add(name: str, text: str, default: str | None = None, flag: str = "", **how: Any) -> None:
        shown = DEFAULTS[name] if default is None else default
        flag = flag or "--" + name.replace("_", "-")
        text = f"{text} (default: {shown})"
        group.add_argument(flag, dest=name, default=argparse.SUPPRESS, help=text, **how)

    known = ", ".join(losses.TABLE)
    add("loss", f"what to minimise: {known}", type=typed(loss), metavar="LOSS")
    known = ", ".join(optimizers.TABLE)
    text = f"{known}; with arguments as in adam:lr=0.01,weight_decay=0.1"
    if several:
        group.add_argument(
            "--optimizers",
            nargs="+",
            required=True,
            type=typed(optimizer),
            metavar="OPTIMIZER",
            help=f"what to compare: {text}",
        )
    else:
        add("optimizer", text, type=typed(optimizer), metavar="OPTIMIZER")
    known = ", ".join(schedules.TABLE)
    add(
        "lr",
        f"a number, auto, or a schedule such as exponential:lr=0.1,gamma=0.9: {known}",
        "auto for sgd, else the optimizer's own",
        type=typed(rate),
        metavar="RATE",
    )
    add("batch_size", "rows per step; 1 is per-sample", "the full batch", type=int, metavar="ROWS")
    add("epochs", "passes over the rows, at most", type=int, metavar="N")
    add(
        "fit_intercept",
        "fit no intercept",
        "it is fitted",
        flag="--no-intercept",
        action="store_false",
    )
    add(
        "standardize",
        "train on columns of mean 0 and deviation 1",
        "as they are",
        action="store_true",
    )
    add(
        "shuffle",
        "visit the rows as they stand",
        "each epoch of smaller batches in a new order",
        flag="--no-shuffle",
        action="store_false",
    )
    add(
        "seed", "for the order of the rows and the choice of validation rows", type=int, metavar="N"
    )
    add(
        "tol",
        "full batch: the gradient to stop at; else what counts as an improvement for --patience",
        type=float,
        metavar="X",
    )
    add(
        "validation",
        "which fraction of the rows, or which other file, to measure the loss on",
        "none",
        type=validation,
        metavar="FRACTION|FILE",
    )
    add("patience", "stop after so many epochs without improvement", "never", type=int, metavar="N")
    add("average", "return the average of the weights", "the last", action="store_true")
    add(
        "l1",
        "penalty: this times the sum of the weights' absolute values",
        "0",
        type=float,
        metavar="X",
    )
    add(
        "l2",
        "penalty: half of this times the sum of the weights' squares",
        "0",
        type=float,
        metavar="X",
    )
    add("clip_norm", "scale gradients down to this norm", "never", type=float, metavar="X")
    add(
        "backend",
        ", ".join(_backends.TABLE),
        "the best available",
        choices=_backends.TABLE,
        metavar="NAME",
    )
    add("threads", "at most so many", "the processors at hand", type=int, metavar="N")


def add_bench(command: argparse.ArgumentParser) -> None:
    """Add the options that say what to time."""
    group = command.add_argument_group("work")

    def add(name: str, default: Any, text: str, **how: Any) -> None:
        group.add_argument(
            f"--{name}", default=default, help=f"{text} (default: %(default)s)", **how
        )

    add("features", 20, "columns of X", type=typed(count), metavar="N")
    add("rows", 20_000, "rows of X", type=typed(count), metavar="N")
    group.add_argument(
        "--batch-size",
        nargs="+",
        default=[None, 32, 1],
        type=typed(lambda text: None if text == "full" else count(text)),
        metavar="ROWS",
        help="rows per step, or full; several are timed one after the other (default: full 32 1)",
    )
    add(
        "optimizer",
        "sgd",
        "as for gdfast fit; sgd without arguments has a constant rate",
        type=typed(optimizer),
        metavar="OPTIMIZER",
    )
    add("rounds", 7, "how many times each backend is measured", type=typed(count), metavar="N")


def add_output(command: argparse.ArgumentParser, picture: str) -> Any:
    """Add the options that say what to do with the outcome, and return their group."""
    group = command.add_argument_group("output")
    add_json(group)
    group.add_argument(
        "--plot", type=Path, metavar="FILE", help=f"save a picture of {picture} (default: none)"
    )
    group.add_argument(
        "--no-progress",
        dest="bar",
        action="store_false",
        help="show no bar (default: one for long work, on a terminal and with tqdm installed)",
    )
    return group


def add_json(group: Any) -> None:
    """Add --json."""
    group.add_argument("--json", action="store_true", help="print one JSON object (default: text)")
