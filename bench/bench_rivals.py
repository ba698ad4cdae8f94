"""The report on performance runs, and each rival that is installed comes to gdfast's results."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LINES = ["per sample, d=8", "Adam, d=20", "sparse, hinge", "published", "minimize"]


def test_rivals(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    command = [sys.executable, "-m", "rivals", "--quick", "--out", str(folder), "--only", *LINES]
    done = subprocess.run(
        command, cwd=HERE, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr  # no result is wrong
    written = (folder / "performance.md").read_text("utf-8")
    head, _, *rows = re.findall(r"^\| .*$", written.partition("<!-- rivals -->")[2], re.MULTILINE)
    rivals = [cell.strip() for cell in head.split("|")[3:-1]]
    assert {"scikit-learn", "numba by hand", "NumPy loop", "Python loop"} <= set(rivals)
    assert len(rows) == 7
    for k, rival in enumerate(rivals):
        cells = [row.split("|")[3 + k].strip() for row in rows if row.startswith("| ")]
        assert any(cells), f"{rival} did nothing"
    assert (folder / "images" / "performance-limit.svg").stat().st_size > 1000
