"""The command `gdfast`, and the data that it shows."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gdfast as gd
from gdfast import __main__, _demo, datasets
from gdfast._backends import TABLE, why_not

AVAILABLE = [name for name in TABLE if why_not(name) is None]


def run(*args: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gdfast", *args]
    return subprocess.run(
        command, cwd=cwd, env=os.environ | environ, capture_output=True, text=True, check=False
    )


def test_demo(tmp_path: Path) -> None:
    # A backend chosen by the user does not matter: the demo shows all of them.
    done = run("demo", cwd=tmp_path, GDFAST_BACKEND="numpy")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    table = [
        line.split() for line in done.stdout.splitlines() if line.startswith(tuple(_demo.MODES))
    ]
    rows = [(" ".join(words[:-6]), *words[-6:]) for words in table]
    assert [(row[0], row[1]) for row in rows] == [(m, b) for m in _demo.MODES for b in AVAILABLE]
    for mode in _demo.MODES:
        digests = {row[-1] for row in rows if row[0] == mode}
        assert len(digests) == 1, digests
    assert "The digests agree" in done.stdout
    picture = tmp_path / "gdfast-demo.png"
    assert str(picture) in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of one epoch."""
    monkeypatch.setattr(_demo, "EPOCHS", 1)
    monkeypatch.setattr(_demo, "WARM_SECONDS", 0)


@pytest.mark.usefixtures("quick")
def test_demo_says_when_digests_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(X, y, *, backend, **options):
        y = y + 1e-9 if backend == "numpy" else y
        return gd.fit(X, y, backend=backend, **options)

    monkeypatch.setattr(_demo, "fit", wrong)
    assert __main__.main(["demo", "--plot", str(tmp_path / "losses.png")]) == 1
    assert "The digests DISAGREE: per-sample, mini-batch, full batch" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_demo_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert __main__.main(["demo", "--plot", str(tmp_path / "losses.png")]) == 0
    assert "No picture: it needs matplotlib: pip install matplotlib" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
def test_demo_lists_what_is_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def only_numpy(name: str) -> str | None:
        return None if name == "numpy" else f"{name} is gone"

    monkeypatch.setattr("gdfast._backends.why_not", only_numpy)
    assert __main__.main(["demo", "--plot", str(tmp_path / "losses.png")]) == 0
    out = capsys.readouterr().out
    assert "Without cpp: cpp is gone" in out
    assert "Without numba: numba is gone" in out
    assert "Only numpy is available" in out


@pytest.mark.parametrize("name", ["nowhere/losses.png", "losses.nonsense"])
@pytest.mark.usefixtures("quick")
def test_demo_cannot_save(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["demo", "--plot", str(tmp_path / name)]) == 1
    assert f"cannot save the picture {tmp_path / name}" in capsys.readouterr().err


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["info"]) == 0
    assert capsys.readouterr().out.strip() == gd.show_config()


@pytest.mark.parametrize("args", [[], ["demonstrate"], ["demo", "extra"]])
def test_wrong_command_line(args: list[str], tmp_path: Path) -> None:
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: gdfast")


@pytest.mark.parametrize("args", [["--help"], ["demo", "--help"], ["info", "--help"]])
def test_help_has_an_example(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(args)
    assert ended.value.code == 0
    assert "example: gdfast " in capsys.readouterr().out


def test_penguins() -> None:
    X, y, names = datasets.load_penguins()
    assert X.shape == (333, 4)
    assert names == ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "male")
    assert X.dtype == y.dtype == np.float64
    assert X.flags.c_contiguous
    assert X[0].tolist() == [39.1, 18.7, 181, 1]
    assert (X[-1].tolist(), y[-1]) == ([50.2, 18.7, 198, 0], 3775)
    assert int(X[:, 3].sum()) == 168
    assert y.sum() == 1400950
