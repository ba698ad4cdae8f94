#!/usr/bin/env python3
# /// script
# dependencies = ["nox"]
# ///
"""The chores of the project: `nox -l` lists them, `nox` runs the quality gates."""

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"

PROJECT = nox.project.load_toml("pyproject.toml")
DEV = nox.project.dependency_groups(PROJECT, "dev")
RIVALS = nox.project.dependency_groups(PROJECT, "rivals")
ORACLES = nox.project.dependency_groups(PROJECT, "oracles")


@nox.session(default=False)
def tests(session: nox.Session) -> None:
    """Run the tests against an installed copy."""
    session.install(".[test]", env={"GDFAST_REQUIRE_EXTENSION": "1"})
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style of Python, C++, the workflows and the repository as a whole."""
    session.install(*DEV)
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("clang-format", "--dry-run", "--Werror", *map(str, Path("csrc").glob("*.?pp")))
    session.run("zizmor", "--offline", "--quiet", ".github")
    session.run("repo-review", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check the types, strictly."""
    session.install(".[test]", *DEV)
    session.run("mypy")


@nox.session
def bench(session: nox.Session) -> None:
    """Run each benchmark once, to see that it works; with `-- --benchmark-only` it measures."""
    session.install(".[test]", env={"GDFAST_REQUIRE_EXTENSION": "1"})
    session.run("pytest", "bench", *(session.posargs or ["--benchmark-disable"]))


@nox.session
def oracles(session: nox.Session) -> None:
    """Compare with torch, optax and scikit-learn themselves, where the tests use stored results of theirs."""
    session.install(".[test]", *ORACLES, env={"GDFAST_REQUIRE_EXTENSION": "1"})
    tests = ["tests/test_optimizers.py", "tests/test_schedules.py"]
    session.run("pytest", "-n", "2", *tests, env={"GDFAST_LIVE_ORACLES": "1"})
    session.run("python", "bench/six_optimizers.py", "--rounds=1")


@nox.session(default=False)
def rivals(session: nox.Session) -> None:
    """Race gdfast against its rivals, and write docs/performance.md anew; `-- --help` shows what else it can."""
    session.install(".[all]", *RIVALS, env={"GDFAST_REQUIRE_EXTENSION": "1"})
    docs = str(Path("docs").resolve())
    with session.chdir("bench"):  # where no folder stands in for the installed gdfast
        session.run("python", "-m", "rivals", *(session.posargs or ["--out", docs]))


if __name__ == "__main__":
    nox.main()
