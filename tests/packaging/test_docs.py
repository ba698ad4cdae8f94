"""What the documentation shows runs as it is printed."""

import doctest
import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import gdfast as gd

ROOT = Path(__file__).parents[2]
MODULES = [
    "gdfast",
    *(m.name for m in pkgutil.walk_packages(gd.__path__, "gdfast.") if "__main__" not in m.name),
]


@pytest.mark.parametrize("module", MODULES)
def test_docstrings(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.parametrize("name", gd.__all__)
def test_what_is_public_says_what_it_is(name):
    assert len(getattr(gd, name).__doc__) > 30


def test_the_page_on_sparse_rows():
    text = (ROOT / "docs" / "sparse.md").read_text("utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(block, "sparse.md", "exec"), {})


def test_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert code
    for block in code:
        exec(compile(block, "README.md", "exec"), {})
    assert (tmp_path / "model.npz").exists()


def test_the_oldest_versions_that_are_tested_are_those_that_are_promised():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    required = project["project"]["dependencies"]
    for requirements in project["project"]["optional-dependencies"].values():
        required += [one for one in requirements if not one.startswith("gdfast")]
    lowest: dict[str, tuple[int, ...]] = {}
    for name, version in (one.split(">=") for one in required):
        numbers = tuple(map(int, version.split(".")))
        lowest[name] = max(lowest.get(name, ()), numbers)
    tested = dict(one.split("==") for one in project["dependency-groups"]["oldest"])
    for name, numbers in lowest.items():
        assert tuple(map(int, tested[name].split(".")))[: len(numbers)] == numbers, name
