"""The command `gdfast`."""

import argparse
import importlib.util
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gdfast as gd
from gdfast import _formatting, datasets, losses, optimizers
from gdfast._cli import benchmarks, demonstration, fit_options, tables
from gdfast._cli.config import config
from gdfast._files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAILURES = (
    ImportError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
    gd.BackendError,
    gd.DivergenceError,
)
# Multiplications in an epoch and in all from which on a fit has a bar: with it the epochs run one by one.
LONG_EPOCH, LONG_FIT = 1 << 16, 1 << 28


def fit(args: argparse.Namespace) -> int:
    """Fit a table's rows."""
    figure = _figure(args.plot)
    data, options = _read(args)
    result = gd.fit(data.X, data.y, **options)
    if args.json:
        _print_json(_described(result))
    else:
        curves = {"loss": result.history.loss, "validation loss": result.history.val_loss}
        last = [f"{name} {curve[-1]:.9g}" for name, curve in curves.items() if len(curve)]
        print(result)
        print(", ".join([*last, f"digest {result.digest[:12]}"]))
    if args.save:
        result.save(args.save)
    if figure:
        result.plot(ax=figure.subplots())
        figure.savefig(args.plot)
    return 0


def compare(args: argparse.Namespace) -> int:
    """Fit a table's rows by several optimizers."""
    figure = _figure(args.plot)
    data, options = _read(args)
    comparison = gd.compare(data.X, data.y, args.optimizers, **options)
    reach = comparison.reach if args.reach is None else args.reach
    if args.json:
        fits = {label: _described(result) for label, result in comparison.items()}
        _print_json({"reach": reach, "table": comparison.table(reach), "fits": fits})
    else:
        print(comparison.text(reach))
    if figure:
        comparison.plot(ax=figure.subplots())
        figure.savefig(args.plot)
    return 0


def predict(args: argparse.Namespace) -> int:
    """Predict the target of a table's rows."""
    model = gd.load(args.model)
    if model.feature_names is None:
        raise ValueError(f"{args.model} does not name its features: it was fitted on plain arrays")
    predicted = model.predict(tables.read(args.data).features(model.feature_names))
    text = "\n".join(["prediction", *predicted.astype(str), ""])
    if args.output:
        with replacing(args.output) as file:
            file.write(text.encode())
    else:
        print(text, end="")
    return 0


def bench(args: argparse.Namespace) -> int:
    """Time the backends on the same work."""
    figure = _figure(args.plot)
    X, y, lr = benchmarks.work(args.rows, args.features)
    options = {"optimizer": args.optimizer, "epochs": 1}
    if args.optimizer == "sgd":
        options["lr"] = lr  # and not "auto", which takes time to find
    backends = [name for name, state in gd.backends().items() if state == "available"]
    races = {}
    for size in args.batch_size:
        label = "full batch" if size is None else f"batches of {size}"
        run = partial(gd.fit, X, y, batch_size=size, **options)
        runs = {backend: partial(run, backend=backend) for backend in backends}
        races[label] = benchmarks.race(runs, _rounds(args, label))
    apart = [label for label, turns in races.items() if not benchmarks.agree(turns)]
    times = [
        row for label, turns in races.items() for row in benchmarks.table(label, turns, len(y))
    ]
    gigabytes = {threads: benchmarks.read_bandwidth(X.nbytes, threads) / 1e9 for threads in (1, 2)}
    if args.json:
        work = {name: getattr(args, name) for name in ("features", "rows", "rounds")}
        values = {"config": config(), **work, "times": times, "agree": not apart}
        _print_json(values | {"read_gigabytes_per_second": gigabytes})
    else:
        at = ", ".join(f"{8 * args.features / gigabytes[threads]:.3g}" for threads in gigabytes)
        title = (
            f"{args.rounds} rounds of {len(y)} rows with {args.features} features; ns per row, of which the memory "
            f"takes {at} with 1, 2 threads:"
        )
        table: list[list[Any]] = [list(times[0]), *([*row.values()] for row in times)]
        if args.markdown:
            print(f"```\n{gd.show_config()}\n```\n\n{title}\n\n{_formatting.markdown(table)}")
        else:
            print(f"{gd.show_config()}\n\n{title}\n{_formatting.table(table)}")
    if figure:
        benchmarks.draw(times, figure.subplots())
        figure.savefig(args.plot)
    if apart:
        print(
            f"gdfast bench: the digests disagree, {', '.join(apart)}: this is a bug, please report it",
            file=sys.stderr,
        )
        return 1
    return 0


def demo(args: argparse.Namespace) -> int:
    """Fit the penguins in every mode on every backend; compare times and digests, and draw the losses."""
    data = datasets.load_penguins()
    smallest = demonstration.least_squares(data)
    print(
        f"The body mass of {len(data.y)} penguins from {', '.join(data.feature_names)}.\n"
        f'fit(X, y, standardize=True, lr="auto", epochs={demonstration.EPOCHS}); with batch_size=32 for mini-batches,\n'
        f"and with batch_size=1, average=True per sample.\n"
    )
    print(
        f"{'mode':<10}  {'backend':<7}  {'first run':>9}  {'seconds':>9}  {'rows/s':>11}  {'final loss':>10}  digest"
    )
    done = []
    for run in demonstration.runs(data):
        print(
            f"{run.mode:<10}  {run.backend:<7}  {run.first:>9.4f}  {run.seconds:>9.6f}  "
            f"{run.rows_per_second:>11,.0f}  {run.final_loss:>10.1f}  {run.result.digest[:12]}",
            flush=True,
        )
        done.append(run)
    print(
        f"\nfirst run: seconds of the first fit; numba compiles in it, unless its cache on disk is filled."
        f"\nseconds: the fastest of {demonstration.WARM_RUNS} or more fits after it."
        f"\nfinal loss: of the model on all rows; least squares reaches {smallest:.1f}."
    )
    for name, state in gd.backends().items():
        if state != "available":
            print(f"\nWithout {name}: {state}")

    backends = {run.backend for run in done}
    split = [
        mode
        for mode in demonstration.MODES
        if len({run.result.digest for run in done if run.mode == mode}) > 1
    ]
    if split:
        print(f"\nThe digests DISAGREE: {', '.join(split)}. This is a bug; please report it with")
        print(gd.show_config())
        return 1
    if len(backends) > 1:
        print(
            f"\nThe digests agree: in each mode {', '.join(sorted(backends))} gave the same bytes."
        )
    else:
        print(f"\nOnly {backends.pop()} is available: there are no digests to compare.")

    try:
        demonstration.draw(done, smallest, args.plot)
    except ImportError as error:
        print(f"No picture: {error}")
    except (OSError, ValueError) as error:
        print(f"gdfast demo: cannot save the picture {args.plot}: {error}", file=sys.stderr)
        return 1
    else:
        print(
            f"The losses, falling: {args.plot.resolve()}\n"
            f"Per sample, a constant rate keeps the weights moving around the solution, and the losses above its loss;"
            f"\nthe average of the weights, which average=True returns, is close to it."
        )
    return 0


def info(args: argparse.Namespace) -> int:
    """Print what a bug report needs."""
    if args.json:
        _print_json(config())
    else:
        print(gd.show_config())
    return 0


def _read(args: argparse.Namespace) -> tuple[tables.Data, dict[str, Any]]:
    """The rows to fit, and the options that were given."""
    options = {name: value for name, value in vars(args).items() if name in fit_options.DEFAULTS}
    loss = losses.find(options.get("loss", fit_options.DEFAULTS["loss"]))
    labels = loss.targets in ("signs", "classes")
    table = tables.read(args.data)
    data = table.data(args.target, args.features, args.weights, labels=labels)
    if data.weights is not None:
        options["sample_weight"] = data.weights
    if isinstance(options.get("validation"), Path):
        other = tables.read(str(options["validation"]))
        rows = other.data(args.target, data.X.column_names, labels=labels)
        options["validation"] = (rows.X, rows.y)
    in_an_epoch = len(data.y) * (data.X.num_columns + 1)
    epochs = options.get("epochs", fit_options.DEFAULTS["epochs"])
    if in_an_epoch >= LONG_EPOCH and in_an_epoch * epochs >= LONG_FIT and _shows_bar(args):
        options["progress"] = True
    return data, options


def _shows_bar(args: argparse.Namespace) -> bool:
    has_tqdm = importlib.util.find_spec("tqdm") is not None
    return args.bar and sys.stderr.isatty() and has_tqdm


def _rounds(args: argparse.Namespace, label: str) -> Iterable[int]:
    """The rounds of a race, with a bar."""
    rounds = range(args.rounds)
    if not _shows_bar(args):
        return rounds
    from tqdm.auto import tqdm

    bar: Iterable[int] = tqdm(rounds, desc=label, unit="round", leave=False)
    return bar


def _figure(path: Path | None) -> "Figure | None":
    """A figure, if a picture is asked for; made before the work, so that it does not end without matplotlib."""
    if path is None:
        return None
    try:
        from matplotlib.figure import Figure  # without pyplot, which may look for a screen
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install matplotlib") from error
    return Figure(figsize=(7.2, 4.4), dpi=150, layout="constrained")


def _described(result: gd.FitResult) -> dict[str, Any]:
    """A fit as what JSON knows."""
    names = result.feature_names
    assert names is not None  # a table has them
    history = {name: a.tolist() for name, a in vars(result.history).items() if a is not None}
    return {
        "coef": dict(zip(names, result.coef.T.tolist(), strict=True)),
        "intercept": np.asarray(result.intercept).tolist(),
        **({} if result.classes is None else {"classes": result.classes.tolist()}),
        "n_epochs": result.n_epochs,
        "n_steps": result.n_steps,
        "converged": result.converged,
        "stop_reason": result.stop_reason,
        "loss": {"name": result.loss.name, **vars(result.loss)},
        "optimizer": optimizers.to_dict(result.optimizer),
        "backend": result.backend,
        "digest": result.digest,
        "history": history,
    }


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(_finite(values), allow_nan=False))


def _finite(value: Any) -> Any:
    """A value with null for NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="gdfast",
        description=gd.__doc__.splitlines()[0] if gd.__doc__ else None,
        epilog="example: gdfast demo --plot losses.png",
    )
    top.add_argument("--version", action="version", version=f"gdfast {gd.__version__}")
    commands = top.add_subparsers(required=True, metavar="command")

    def add(run: Callable[[argparse.Namespace], int], text: str, more: str, example: str) -> Any:
        command = commands.add_parser(
            run.__name__,
            help=text,
            description=f"{text[0].upper()}{text[1:]}. {more}".strip(),
            epilog=f"example: gdfast {run.__name__} {example}".strip(),
        )
        command.set_defaults(run=run)
        return command

    command = add(
        fit,
        "fit a linear model to the rows of a CSV or Parquet file",
        "Prints the weights and the loss.",
        "data.csv --target price --standardize --batch-size 32 --optimizer adam:lr=0.01",
    )
    fit_options.add_data(command)
    fit_options.add_fit(command, several=False)
    output = fit_options.add_output(command, "the losses over the epochs")
    output.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="save the model, for `gdfast predict` and gd.load (default: it is not saved)",
    )

    command = add(
        compare,
        "fit the same rows by several optimizers",
        "Prints a table of their losses.",
        "data.csv --target price --optimizers sgd adam:lr=0.01 rmsprop --batch-size 32",
    )
    fit_options.add_data(command)
    fit_options.add_fit(command, several=True)
    output = fit_options.add_output(command, "the losses over the epochs")
    output.add_argument(
        "--reach",
        type=float,
        metavar="LOSS",
        help="the loss to count the epochs to (default: 5 %% above the lowest final one)",
    )

    command = add(
        predict,
        "predict by a saved model the target of a file's rows",
        "Prints a column of CSV.",
        "model.npz data.csv --output predictions.csv",
    )
    command.add_argument("model", help="a file that `gdfast fit --save` or FitResult.save wrote")
    command.add_argument("data", help=fit_options.DATA)
    command.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write (default: standard output)"
    )

    command = add(
        bench,
        "time the backends on the same work, in turns",
        "Ends with 1 if they do not give the same bytes.",
        "--features 100 --batch-size full 32 --plot times.png",
    )
    fit_options.add_bench(command)
    output = fit_options.add_output(command, "the times")
    output.add_argument("--markdown", action="store_true", help="print Markdown (default: text)")

    command = add(
        demo,
        "fit a small data set on every backend, and compare times and digests",
        "The data set is the body mass of penguins; it is fitted per sample, in mini-batches and full batch. "
        "Ends with 1 if the backends do not give the same bytes.",
        "--plot losses.png",
    )
    command.add_argument(
        "--plot",
        type=Path,
        default=Path("gdfast-demo.png"),
        metavar="FILE",
        help="where to save the picture of the losses (default: %(default)s)",
    )

    command = add(info, "print versions, backends, threads: what a bug report needs", "", "--json")
    fit_options.add_json(command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0; 1 for a failure; 2 for a wrong command line; 130 for Ctrl-C, 141 for a pipe that nobody reads, as in a shell.
    """
    try:
        try:
            args = parser().parse_args(argv)
            return _run(args)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 141
    except KeyboardInterrupt:
        return 130


def _run(args: argparse.Namespace) -> int:
    """Run a command; say its warnings and failures in a line each."""

    def say(message: object) -> None:
        print(f"gdfast {args.run.__name__}: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        try:
            status: int = args.run(args)
        except BrokenPipeError:
            raise
        except FAILURES as error:
            if isinstance(error, OSError) and error.filename is not None:
                say(f"{error.filename}: {error.strerror}")
            else:
                say(error)
            status = 1
    return status
