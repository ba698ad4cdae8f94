"""Rows in memory and in cache: gdfast's backends beside loops written by hand for numba and two calls of BLAS.

`python memory.py`, in bench/, prints the section of processors.md for the processor that it runs on: nanoseconds per
row, the least of the rounds, all in turns in one run.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from rivals.by_gdfast import Gdfast
from rivals.by_numba import HandWrittenNumba
from rivals.by_numpy import NumPyLoop
from rivals.race import Outcome, measure
from rivals.works import Fit, Line

IN_MEMORY = 40_000_000  # numbers: 320 MB
IN_CACHE = 60_000  # 480 KB
WIDTHS = 20, 100, 1000, 4000
MODES = {
    "per sample": {},
    "per sample, shuffled": {"shuffled": True},
    "full batch": {"batch_size": None},
}
RIVALS = Gdfast("cpp"), Gdfast("numba"), HandWrittenNumba(), NumPyLoop()


def lines(scale: float) -> Iterator[Line]:
    """The work: what is read is the same for all numbers of features."""
    for (place, numbers), (mode, options), d in product(
        {"memory": IN_MEMORY, "cache": IN_CACHE}.items(), MODES.items(), WIDTHS
    ):
        epochs = 1 if place == "memory" else 50
        work = Fit(max(8, int(scale * numbers) // d), d, epochs, **options)  # type: ignore[arg-type]
        yield Line(f"{mode}, d={d}, in {place}", work, "ns/sample")


def processor() -> str:
    """The processor and its caches, as Linux names them."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    cpu: dict[str, str] = dict(re.findall(r"^(.+?)\s*: (.+)$", first, re.MULTILINE))
    caches = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    sizes = [
        f"L{(cache / 'level').read_text().strip()} {(cache / 'size').read_text().strip()}"
        for cache in caches
        if (cache / "type").read_text().strip() != "Instruction"
    ]
    name = cpu.get("model name", "unknown")
    return f"{name}, family {cpu.get('cpu family')}, model {cpu.get('model')}; {', '.join(sizes)}"


def row(outcome: Outcome) -> str:
    figures = [
        f"{outcome.entries[rival.name].minimum:.1f}" if rival.name in outcome.entries else ""
        for rival in RIVALS
    ]
    best = outcome.best_rival
    ahead = f"{outcome.entries[best].minimum / outcome.entries['cpp'].minimum:.2f}" if best else ""
    return f"| {outcome.line.name} | {outcome.limit:.1f} | {' | '.join(figures)} | {ahead} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="memory.py", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="lines whose names hold this")
    parser.add_argument("--scale", type=float, default=1.0, help="of the rows (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="of each race (default: 5)")
    options = parser.parse_args()
    names = [rival.name for rival in RIVALS]
    print(f"## {processor()}\n")
    print(f"| ns per row | limit of memory | {' | '.join(names)} | best rival / cpp |")
    print(f"|---|{'---|' * (len(names) + 2)}")
    errors = []
    for line in lines(options.scale):
        if options.only in line.name:
            outcome = measure(line, RIVALS, lambda work: work, options.rounds)
            errors += outcome.errors
            print(row(outcome), flush=True)
    print(*errors, sep="\n", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
