"""The command `gdfast`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import gdfast as gd
from gdfast import _demo, datasets


def demo(args: argparse.Namespace) -> int:
    """Fit the penguins in every mode on every backend; compare times and digests, and draw the losses."""
    data = datasets.load_penguins()
    smallest = _demo.least_squares(data)
    print(
        f"The body mass of {len(data.y)} penguins from {', '.join(data.feature_names)}.\n"
        f'fit(X, y, standardize=True, lr="auto", epochs={_demo.EPOCHS}); with batch_size=32 for mini-batches,\n'
        f"and with batch_size=1, average=True per sample.\n"
    )
    print(
        f"{'mode':<10}  {'backend':<7}  {'first run':>9}  {'seconds':>9}  {'rows/s':>11}  {'final loss':>10}  digest"
    )
    done = []
    for run in _demo.runs(data):
        print(
            f"{run.mode:<10}  {run.backend:<7}  {run.first:>9.4f}  {run.seconds:>9.6f}  "
            f"{run.rows_per_second:>11,.0f}  {run.final_loss:>10.1f}  {run.result.digest[:12]}",
            flush=True,
        )
        done.append(run)
    print(
        f"\nfirst run: seconds of the first fit; numba compiles in it, unless its cache on disk is filled."
        f"\nseconds: the fastest of {_demo.WARM_RUNS} or more fits after it."
        f"\nfinal loss: of the model on all rows; least squares reaches {smallest:.1f}."
    )
    for name, state in gd.backends().items():
        if state != "available":
            print(f"\nWithout {name}: {state}")

    backends = {run.backend for run in done}
    split = [
        mode
        for mode in _demo.MODES
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
        _demo.draw(done, smallest, args.plot)
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


def info(_: argparse.Namespace) -> int:
    """Print what a bug report needs."""
    print(gd.show_config())
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="gdfast",
        description=gd.__doc__.splitlines()[0] if gd.__doc__ else None,
        epilog="example: gdfast demo --plot losses.png",
    )
    top.add_argument("--version", action="version", version=f"gdfast {gd.__version__}")
    commands = top.add_subparsers(required=True, metavar="command")

    command = commands.add_parser(
        "demo",
        help="fit a small data set on every backend, and compare times and digests",
        description="Fit the body mass of penguins per sample, in mini-batches and full batch, on every backend. "
        "Ends with 1 if the backends do not give the same bytes.",
        epilog="example: gdfast demo --plot losses.png",
    )
    command.add_argument(
        "--plot",
        type=Path,
        default=Path("gdfast-demo.png"),
        metavar="FILE",
        help="where to save the picture of the losses (default: %(default)s)",
    )
    command.set_defaults(run=demo)

    command = commands.add_parser(
        "info",
        help="print versions, backends, threads: what a bug report needs",
        description="Print versions, backends, threads and the floating-point mode: what a bug report needs.",
        epilog="example: gdfast info",
    )
    command.set_defaults(run=info)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 for a failure, 2 for a wrong command line."""
    args = parser().parse_args(argv)
    status: int = args.run(args)
    return status


if __name__ == "__main__":
    sys.exit(main())
