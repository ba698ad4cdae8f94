#!/usr/bin/env python3
# /// script
# dependencies = ["nox"]
# ///
"""The chores of the project: `nox -l` lists them, `nox` runs the quality gates."""

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True

PROJECT = nox.project.load_toml("pyproject.toml")
DEV = nox.project.dependency_groups(PROJECT, "dev")
RIVALS = nox.project.dependency_groups(PROJECT, "rivals")
ORACLES = nox.project.dependency_groups(PROJECT, "oracles")
OLDEST = nox.project.dependency_groups(PROJECT, "oldest")


@nox.session(default=False)
def tests(session: nox.Session) -> None:
    """Run the tests against an installed copy."""
    session.install(".[test]", env={"GDFAST_REQUIRE_EXTENSION": "1"})
    session.run("pytest", *session.posargs)


@nox.session(python="3.11", default=False)
def oldest(session: nox.Session) -> None:
    """Run the tests with the oldest versions of Python, NumPy and the others that are taken."""
    session.install(".[test]", *OLDEST, env={"GDFAST_REQUIRE_EXTENSION": "1"})
    session.run("pytest", *(session.posargs or ["-n", "2", "-m", ""]))


@nox.session(python="3.12", default=False)
def between(session: nox.Session) -> None:
    """Run the tests with a NumPy between the oldest and the newest, which still makes scalars of arrays of one."""
    session.install(".[test]", "numpy==2.3.*", env={"GDFAST_REQUIRE_EXTENSION": "1"})
    session.run("pytest", *(session.posargs or ["-n", "2", "-m", ""]))


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style of Python, C++, the workflows and the repository as a whole."""
    session.install(*DEV)
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("clang-format", "--dry-run", "--Werror", *map(str, Path("csrc").rglob("*.?pp")))
    session.run("zizmor", "--offline", "--quiet", ".github")
    session.run("repo-review", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check the types, strictly, and those that the stub gives to the extension."""
    session.install(".[test]", *DEV, env={"GDFAST_REQUIRE_EXTENSION": "1"})
    session.run("mypy")
    session.run("stubtest", "gdfast._core", "--mypy-config-file", "pyproject.toml")


@nox.session
def bench(session: nox.Session) -> None:
    """Run each benchmark once, to see that it works; with `-- --benchmark-only` it measures."""
    session.install(".[test]", env={"GDFAST_REQUIRE_EXTENSION": "1"})
    session.run("pytest", "bench", *(session.posargs or ["--benchmark-disable"]))


@nox.session
def oracles(session: nox.Session) -> None:
    """Compare with torch, optax and scikit-learn themselves, where the tests use stored results of theirs."""
    session.install(".[test]", *ORACLES, env={"GDFAST_REQUIRE_EXTENSION": "1"})
    tests = ["tests/oracles/test_optimizers.py", "tests/oracles/test_schedules.py"]
    session.run("pytest", "-n", "2", "-m", "", *tests, env={"GDFAST_LIVE_ORACLES": "1"})
    session.run("python", "bench/six_optimizers.py", "--rounds=1")


@nox.session(default=False)
def random_fits(session: nox.Session) -> None:
    """Compare 20,000 random fits with the tests' own reference; `-- --count 1000 --seed 7`: as many, from that seed."""
    session.install(".[test]", env={"GDFAST_REQUIRE_EXTENSION": "1"})
    session.run("python", "tests/random_fits.py", *session.posargs)


@nox.session(default=False)
def instructions(session: nox.Session) -> None:
    """Count the kernels' instructions, by valgrind, and compare with those recorded; `-- --record` records them."""
    session.install(".[scipy]", env={"GDFAST_REQUIRE_EXTENSION": "1"})
    session.run("python", "bench/instructions.py", *session.posargs)


DIST = Path("dist").resolve()
PYTHONS = nox.project.python_versions(PROJECT)
WHEELS = nox.project.dependency_groups(PROJECT, "wheels")
MAX_EXTENSIONS = 3_000_000  # bytes, of all extensions in a wheel
# What depends on the extension: the backends, the same bits from all of them, the digests, the instructions.
QUICK = ["tests/bits", "tests/backends/test_backends.py"]
CORE = """
import importlib.util, sys
import gdfast as gd
assert gd.__file__.startswith(sys.prefix), gd.__file__
for name in ("numba", "scipy"):
    assert importlib.util.find_spec(name) is None, name
X, y, _ = gd.datasets.load_penguins()
result = gd.fit(X, y, standardize=True)
assert result.backend == "cpp"
assert result.digest == gd.fit(X, y, standardize=True, backend="numpy").digest
print(result)
"""


@nox.session(default=False)
def sdist(session: nox.Session) -> None:
    """Build the source distribution into dist/, which is emptied first."""
    shutil.rmtree(DIST, ignore_errors=True)
    session.install(*WHEELS)
    session.run("python", "-m", "build", "--sdist", "--outdir", str(DIST))


@nox.session(python=PYTHONS, requires=["sdist"], download_python="never", default=False)
def wheels(session: nox.Session) -> None:
    """Build a manylinux wheel from the sdist, and test it outside of the repository; `-- --quick`: in part.

    Each Python's wheel gets the tests of what is compiled; the newest Python's gets all, as deprecations show there
    first. `nox -s wheels-3.11` makes one wheel; other arguments go to pytest.
    """
    if sys.platform != "linux":
        session.error("auditwheel repairs the wheels of Linux alone; elsewhere: python -m build")
    session.install(*WHEELS)
    (source,) = DIST.glob("*.tar.gz")
    with tempfile.TemporaryDirectory(prefix="gdfast-wheels-") as place, session.chdir(place):
        env = {"GDFAST_REQUIRE_EXTENSION": "1"}
        session.run("python", "-m", "build", "--wheel", "--outdir", "built", str(source), env=env)
        session.run("auditwheel", "repair", "--wheel-dir", ".", *map(str, Path("built").iterdir()))
        (wheel,) = Path().glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            sizes = {
                entry.filename: entry.file_size
                for entry in archive.infolist()
                if Path(entry.filename).match("gdfast/_core*.so")
            }
        session.log(f"{wheel.name}: {sizes}")
        if not 0 < sum(sizes.values()) < MAX_EXTENSIONS:
            session.error(
                f"the extensions have {sum(sizes.values())} bytes; at most {MAX_EXTENSIONS}"
            )

        # The wheel with NumPy alone, and then with its extras.
        session.run("python", "-m", "venv", "installed")
        bin = Path("installed", "bin").resolve()
        clean = {"PYTHONPATH": None, "GDFAST_BACKEND": None}

        def run(name: str, *args: str) -> None:
            session.run(str(bin / name), *args, env=clean, external=True)

        run("python", "-m", "pip", "install", "--quiet", str(wheel))
        run("gdfast", "info")
        run("python", "-c", CORE)
        run("python", "-m", "pip", "install", "--quiet", f"{wheel}[test]")

        # The tests as the sdist has them, without the sources beside them.
        shutil.unpack_archive(source, filter="data")
        sources = Path(source.name.removesuffix(".tar.gz"))
        shutil.rmtree(sources / "gdfast")
        tests = [arg for arg in session.posargs if arg != "--quick"]
        if not tests and ("--quick" in session.posargs or session.python != PYTHONS[-1]):
            tests = QUICK
        with session.chdir(sources):
            run("pytest", "-n", "2", "-m", "", *tests)
        shutil.copy(wheel, DIST)


@nox.session(default=False)
def rivals(session: nox.Session) -> None:
    """Race gdfast against its rivals, and write docs/performance.md anew; `-- --help` shows what else it can."""
    session.install(".[all]", *RIVALS, env={"GDFAST_REQUIRE_EXTENSION": "1"})
    docs = str(Path("docs").resolve())
    with session.chdir("bench"):  # where no folder stands in for the installed gdfast
        session.run("python", "-m", "rivals", *(session.posargs or ["--out", docs]))


if __name__ == "__main__":
    nox.main()
