"""Instructions per sample of the C++ kernels, counted by valgrind's callgrind: `python bench/instructions.py`.

A count is free of noise, so that a regression shows without a clock, on any machine. It is the difference between 3
epochs and 1 (for predictions: 3 and 1 times the rows), by the samples in 2 epochs: what a call costs once cancels out.
Each of the installed extensions that valgrind can run is counted, and compared with bench/instructions.json, where the
counts stand by compiler and instructions. It ends with 1 if one is more than 3 % above the record, or has none;
--record writes the counts there.
"""

import argparse
import ctypes
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gdfast as gd
from gdfast import _extension, _formatting
from gdfast._cli import config

RECORD = Path(__file__).with_suffix(".json")
TOLERANCE = 0.03
ISAS = ("baseline", "avx2")  # valgrind knows no AVX-512
PASSES = (1, 3)
MARKS = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; }
void zero(void) { CALLGRIND_ZERO_STATS; }
void dump(const char *label) { CALLGRIND_DUMP_STATS_AT(label); }
"""

rng = np.random.default_rng(0)


def dense(rows: int, features: int, dtype: str = "float64") -> tuple[Any, Any]:
    """Rows of normal numbers, and their sums with noise."""
    X = rng.standard_normal((rows, features))
    y = X.sum(axis=1) / features + rng.standard_normal(rows)
    return X.astype(dtype), y.astype(dtype)


def sparse(rows: int, features: int, nonzeros: int) -> tuple[Any, Any]:
    """CSR rows with so many nonzeros each, and two classes."""
    from scipy.sparse import csr_matrix

    apart = features // nonzeros
    columns = rng.integers(apart, size=(rows, nonzeros)) + np.arange(nonzeros) * apart
    parts = (rng.standard_normal(columns.size), columns.ravel(), np.arange(rows + 1) * nonzeros)
    return csr_matrix(parts, shape=(rows, features)), rng.integers(2, size=rows)


def fitting(X: Any, y: Any, **options: Any) -> tuple[int, Callable[[int], Any]]:
    """The number of rows, and a fit of so many epochs."""
    options = {"optimizer": gd.SGD(lr=0.1 / X.shape[1]), "shuffle": False, **options}
    return X.shape[0], lambda epochs: gd.fit(X, y, epochs=epochs, threads=1, **options)


def predicting(X: Any, y: Any) -> tuple[int, Callable[[int], Any]]:
    """The number of rows, and the predictions of so many times these rows."""
    result = gd.fit(X, y, optimizer=gd.SGD(lr=0.1 / X.shape[1]), epochs=1, threads=1)
    times = {k: np.tile(X, (k, 1)) for k in PASSES}
    return len(X), lambda k: result.predict(times[k])


def cases() -> dict[str, tuple[int, Callable[[int], Any]]]:
    """Name -> the number of samples in a pass, and the work of so many passes."""
    rows = {1: 20_000, 8: 20_000, 20: 20_000, 100: 8_000, 1000: 1_000}
    batches = {"SGD": gd.SGD(lr=0.005), "Adam": gd.Adam()}
    return {
        **{
            f"per-sample, d={d}": fitting(*dense(rows[d], d), batch_size=1)
            for d in (1, 8, 20, 100, 1000)
        },
        "per-sample, d=20, shuffled": fitting(*dense(rows[20], 20), batch_size=1, shuffle=True),
        "per-sample, d=20, float32": fitting(*dense(rows[20], 20, "float32"), batch_size=1),
        "per-sample, CSR, 36 nonzeros, logistic": fitting(
            *sparse(8_000, 3_600, 36), batch_size=1, loss="logistic"
        ),
        **{f"full batch, d={d}": fitting(*dense(rows[d], d)) for d in (1, 20, 100)},
        **{
            f"batches of 32, d={d}, {name}": fitting(
                *dense(rows[d], d), batch_size=32, optimizer=rule
            )
            for d in (20, 100)
            for name, rule in batches.items()
        },
        **{f"predict, d={d}": predicting(*dense(rows[d], d)) for d in (1, 20, 100)},
    }


def work(marks: Path) -> None:
    """Do the work of all cases, with marks for callgrind between them, and print what `count` asks for."""
    mark = ctypes.CDLL(str(marks))
    todo = cases()
    for _, run in todo.values():
        run(1)  # whatever is done at first only
    gc.disable()
    mark.start()
    for name, (_, run) in todo.items():
        for passes in PASSES:
            mark.zero()
            run(passes)
            mark.dump(f"{name}: {passes}".encode())
    samples = {name: n for name, (n, _) in todo.items()}
    print(json.dumps({"build": config.config()["extension"], "samples": samples}))


def count(isa: str, folder: Path) -> tuple[str, dict[str, float]]:
    """What an extension says of itself, and its instructions per sample by the name of the case."""
    marks, out = folder / "marks.so", folder / f"{isa}.out"
    compiler = os.environ.get("CC", "cc")
    (folder / "marks.c").write_text(MARKS)
    subprocess.run([compiler, "-shared", "-fPIC", folder / "marks.c", "-o", marks], check=True)
    forced = {"GDFAST_ISA": isa, "GDFAST_BACKEND": "cpp"}
    steady = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}  # its threads spin
    env = os.environ | forced | steady
    valgrind = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no"]
    command = [*valgrind, f"--callgrind-out-file={out}", sys.executable, __file__, "--work"]
    done = subprocess.run(
        [*command, str(marks)], env=env, check=True, stdout=subprocess.PIPE, text=True
    )
    totals = {}
    for dump in folder.glob(f"{isa}.out.*"):
        text = dump.read_text()
        label = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
        assert label, dump
        assert total, dump
        totals[label[1]] = int(total[1])
    once, more = PASSES
    described = json.loads(done.stdout)
    return f"{described['build']}, {isa}", {
        name: round((totals[f"{name}: {more}"] - totals[f"{name}: {once}"]) / (more - once) / n, 2)
        for name, n in described["samples"].items()
    }


def compare(build: str, counts: dict[str, float], recorded: dict[str, float]) -> bool:
    """Print the counts beside the recorded ones; say whether none is missing or more than 3 % higher."""
    rows: list[list[Any]] = [["instructions per sample", "recorded", "now", "change, %", ""]]
    for name, now in counts.items():
        before = recorded.get(name)
        change = float("nan") if before is None else 100 * (now / before - 1)
        verdict = (
            "no record" if before is None else "MORE" if now > before * (1 + TOLERANCE) else ""
        )
        rows.append([name, before, now, round(change, 1), verdict])
    print(f"\n{build}\n{_formatting.table(rows)}", flush=True)
    return not any(row[-1] for row in rows)


def main() -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help=f"write the counts to {RECORD.name}")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work)
        return 0
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed (on Debian: apt-get install valgrind)")

    with tempfile.TemporaryDirectory() as folder:
        counted = dict(count(isa, Path(folder)) for isa in ISAS if isa in _extension.built())
    if not counted:
        parser.error("none of gdfast's C++ extensions that valgrind can run is installed")
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    verdicts = [compare(build, counts, record.get(build, {})) for build, counts in counted.items()]
    if args.record:
        RECORD.write_text(json.dumps(record | counted, indent=2) + "\n")
        return 0
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
