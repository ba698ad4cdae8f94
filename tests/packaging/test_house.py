"""The house: its plan names the rooms and the long files, and its prose can be understood where it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 800

pytestmark = pytest.mark.skipif(
    not (ROOT / "gdfast").is_dir(), reason="the sources are not beside these tests"
)


@pytest.fixture
def architecture():
    return (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_long_files_have_a_reason(architecture):
    _, _, reasons = architecture.partition("## Long files")
    long = [
        f"`{path.relative_to(ROOT)}`"
        for path in [*(ROOT / "gdfast").rglob("*.py"), *(ROOT / "csrc").rglob("*.?pp")]
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    ]
    assert [name for name in long if name not in reasons] == []
    assert reasons.count("- `") == len(long)


@pytest.mark.parametrize("folder", ["gdfast", "csrc"])
def test_rooms_are_on_the_plan(architecture, folder):
    rooms = {path.name for path in (ROOT / folder).iterdir() if path.is_dir()}
    assert [room for room in rooms - {"__pycache__"} if f"{room}/" not in architecture] == []


def test_the_sources_are_not_tested_in_place_of_an_installed_copy():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "tests/packaging/test_house.py",
    ]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 4
    assert "run `pytest`, not `python -m pytest`" in done.stdout + done.stderr


# A comment or a docstring that begins so means the line above, which neither help() nor a search shows.
PRONOUNS = re.compile(
    r'^\s*(?:"""|# |// )(?:What|That|Those|Which|How|Who|Whose|The same|So many|As many)\b',
    re.MULTILINE,
)


@pytest.mark.parametrize("folder", ["gdfast", "csrc"])
def test_prose_stands_alone(folder):
    texts = [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.?pp")]
    found = {
        f"{path.relative_to(ROOT)}: {match[0].strip()}"
        for path in texts
        for match in PRONOUNS.finditer(path.read_text(encoding="utf-8"))
    }
    assert found == set()
