"""The command: ``python -m rivals``, in bench/."""

import argparse
import sys
import time
from pathlib import Path

from . import curves, price, starts
from .by_gdfast import Gdfast
from .by_jax import Jax
from .by_numba import HandWrittenNumba
from .by_numpy import NumPyLoop
from .by_python import PlainPython
from .by_sklearn import ScikitLearn
from .by_torch import TorchCompiled, TorchEager
from .by_vw import VowpalWabbit
from .race import measure
from .report import Report
from .works import LINES, Fit

RIVALS = [
    *(Gdfast(backend) for backend in ("cpp", "numba", "numpy")),
    ScikitLearn(),
    HandWrittenNumba(),
    Jax(),
    TorchEager(),
    TorchCompiled(),
    VowpalWabbit(),
    NumPyLoop(),
    PlainPython(),
]
PARTS = ("imports", "first fits", "threads", "contract", "curves")  # beside the lines
QUICK_ROWS = 192  # of each line


def main() -> int:
    parser = argparse.ArgumentParser(prog="rivals", description=str(__doc__))
    names = [*(line.name for line in LINES), *PARTS]
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        metavar="TEXT",
        help=f"lines whose names hold one of these: {'; '.join(names)} (default: all)",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of the rows (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="of each race (default: 5)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_ROWS} rows, one round and the lines alone: to see that all run",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write performance.md and images/ (default: print)",
    )
    options = parser.parse_args()

    def asked(name: str) -> bool:
        return any(text in name for text in options.only)

    def scaled(work: Fit) -> Fit:
        return work.of_rows(QUICK_ROWS if options.quick else work.rows * options.scale)

    rounds = 1 if options.quick else options.rounds
    warm_up = 0.0 if options.quick else None
    present = [rival for rival in RIVALS if rival.why_not() is None]
    report = Report(RIVALS, options.scale, rounds)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)  # before minutes are spent
    began = time.perf_counter()

    def say(name: str) -> None:
        print(f"{time.perf_counter() - began:6.0f} s  {name}", file=sys.stderr, flush=True)

    lines = [line for line in LINES if asked(line.name)]
    for line in lines:
        say(line.name)
        report.outcomes.append(measure(line, present, scaled, rounds, warm_up))
    parts = [part for part in PARTS if asked(part) and not options.quick]
    for part in parts:
        say(part)
        if part == "imports":
            modules = {rival.module for rival in present if rival.package != "python"}
            report.imports = starts.race(
                starts.imports(sorted(modules - {"numpy"})), min(rounds, 3)
            )
        elif part == "first fits":
            report.first_fits = starts.first_fits(min(rounds, 3))
        elif part == "threads":
            report.threads = curves.threads(options.scale, rounds)
        elif part == "contract":
            fits = [line for line in LINES if isinstance(line.work, Fit)]
            report.prices = price.measure(fits, scaled, rounds)
        elif part == "curves":
            drawn = [rival for rival in present if rival.drawn]
            report.curves = [
                curve(drawn, options.scale, rounds)
                for curve in (curves.over_features, curves.over_rows)
            ]
    say("done")
    print(report.text())
    if options.out:
        report.write(options.out)
    return 1 if report.errors else 0


if __name__ == "__main__":
    sys.exit(main())
