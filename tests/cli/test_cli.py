"""The command `gdfast`, and the data that it shows."""

import decimal
import inspect
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import gdfast as gd
from gdfast import datasets, schedules
from gdfast._backends import TABLE, why_not
from gdfast._cli import benchmarks, demonstration, fit_options, main

AVAILABLE = [name for name in TABLE if why_not(name) is None]
PNG = b"\x89PNG\r\n\x1a\n"
X, MASS, NAMES = datasets.load_penguins()


def run(
    *args: str, cwd: Path, stdin: bytes = b"", **environ: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gdfast", *args]
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environ, input=stdin, capture_output=True, check=False
    )
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def test_demo(tmp_path: Path) -> None:
    # A backend chosen by the user does not matter: the demo shows all of them.
    done = run("demo", cwd=tmp_path, GDFAST_BACKEND="numpy")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    table = [
        line.split()
        for line in done.stdout.splitlines()
        if line.startswith(tuple(demonstration.MODES))
    ]
    rows = [(" ".join(words[:-6]), *words[-6:]) for words in table]
    assert [(row[0], row[1]) for row in rows] == [
        (m, b) for m in demonstration.MODES for b in AVAILABLE
    ]
    for mode in demonstration.MODES:
        digests = {row[-1] for row in rows if row[0] == mode}
        assert len(digests) == 1, digests
    assert "The digests agree" in done.stdout
    picture = tmp_path / "gdfast-demo.png"
    assert str(picture) in done.stdout
    assert picture.read_bytes().startswith(PNG)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of one epoch."""
    monkeypatch.setattr(demonstration, "EPOCHS", 1)
    monkeypatch.setattr(demonstration, "WARM_SECONDS", 0)


@pytest.mark.usefixtures("quick")
def test_demo_says_when_digests_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(X, y, *, backend, **options):
        y = y + 1e-9 if backend == "numpy" else y
        return gd.fit(X, y, backend=backend, **options)

    monkeypatch.setattr(demonstration, "fit", wrong)
    assert main.main(["demo", "--plot", str(tmp_path / "losses.png")]) == 1
    assert "The digests DISAGREE: per-sample, mini-batch, full batch" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_demo_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main.main(["demo", "--plot", str(tmp_path / "losses.png")]) == 0
    assert "No picture: it needs matplotlib: pip install matplotlib" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
def test_demo_lists_what_is_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def only_numpy(name: str) -> str | None:
        return None if name == "numpy" else f"{name} is gone"

    monkeypatch.setattr("gdfast._backends.why_not", only_numpy)
    assert main.main(["demo", "--plot", str(tmp_path / "losses.png")]) == 0
    out = capsys.readouterr().out
    assert "Without cpp: cpp is gone" in out
    assert "Without numba: numba is gone" in out
    assert "Only numpy is available" in out


@pytest.mark.parametrize("name", ["nowhere/losses.png", "losses.nonsense"])
@pytest.mark.usefixtures("quick")
def test_demo_cannot_save(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["demo", "--plot", str(tmp_path / name)]) == 1
    assert f"cannot save the picture {tmp_path / name}" in capsys.readouterr().err


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["info"]) == 0
    assert capsys.readouterr().out.strip() == gd.show_config()


def test_info_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["info", "--json"]) == 0
    shown = parsed(capsys.readouterr().out)
    assert shown["backends"] == gd.backends()
    assert shown["gdfast"] == gd.__version__
    text = gd.show_config()
    assert all(value in text for name, value in shown.items() if name != "backends")


def parsed(text: str) -> dict:
    """JSON in the strict sense, in one line."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse)


def write(path: Path, table: pa.Table) -> str:
    (parquet.write_table if path.suffix == ".parquet" else csv.write_csv)(table, path)
    return str(path)


def penguins() -> pa.Table:
    weights = np.arange(1, len(MASS) + 1) / 4
    columns = dict(zip(NAMES, X.T, strict=True))
    return pa.table({**columns, "mass": MASS, "weight": weights})


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The penguins as CSV, which has integers in some columns."""
    return write(tmp_path_factory.mktemp("data") / "penguins.csv", penguins().drop(["weight"]))


@pytest.fixture
def fitted(data: str, capsys: pytest.CaptureFixture[str]):
    """Fit the penguins by the command line, and return what --json prints."""

    def fit(*args: str, file: str = data) -> dict:
        assert main.main(["fit", file, "--target", "mass", "--json", *args]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return parsed(captured.out)

    return fit


def failure(args: list[str], capsys: pytest.CaptureFixture[str], status: int = 1) -> str:
    """What a command that fails says on standard error: a line, and on standard output nothing."""
    assert main.main(args) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    message, end = captured.err.split("\n")
    assert end == ""
    start = f"gdfast {args[0]}: "
    assert message.startswith(start)
    return message.removeprefix(start)


def refusal(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What argparse says of a wrong command line."""
    with pytest.raises(SystemExit) as ended:
        main.main(args)
    assert ended.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    start = f"gdfast {args[0]}: error: "
    assert message.startswith(start)
    return message.removeprefix(start)


# Each option of `fit`, and the argument that it stands for.
OPTIONS = {
    "--loss half_squared_error": {"loss": "half_squared_error"},
    "--optimizer adam": {"optimizer": "adam"},
    "--optimizer adam:lr=0.5,betas=(0.8,0.99),amsgrad=True": {
        "optimizer": gd.Adam(lr=0.5, betas=(0.8, 0.99), amsgrad=True)
    },
    "--lr 0.1": {"lr": 0.1},
    "--lr auto --optimizer sgd:momentum=0.5": {"lr": "auto", "optimizer": gd.SGD(momentum=0.5)},
    "--lr exponential:lr=0.1,gamma=0.9": {"lr": schedules.Exponential(0.1, gamma=0.9)},
    "--lr exponential:lr=0.1,gamma=0.9,per=step": {"lr": schedules.Exponential(0.1, 0.9, "step")},
    "--lr warmup:schedule=exponential(lr=0.1,gamma=0.9),length=3": {
        "lr": schedules.Warmup(schedules.Exponential(0.1, gamma=0.9), length=3)
    },
    "--batch-size 32": {"batch_size": 32},
    "--batch-size 32 --seed 3": {"batch_size": 32, "seed": 3},
    "--batch-size 32 --no-shuffle": {"batch_size": 32, "shuffle": False},
    "--epochs 7": {"epochs": 7},
    "--no-intercept": {"fit_intercept": False},
    "--tol 1e5": {"tol": 1e5},
    "--validation 0.25 --patience 2": {"validation": 0.25, "patience": 2},
    "--average": {"average": True},
    "--clip-norm 5": {"clip_norm": 5.0},
    "--l1 0.5": {"l1": 0.5},
    "--l2 0.25": {"l2": 0.25},
    "--backend numpy": {"backend": "numpy"},
    "--threads 1": {"threads": 1},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_an_option_is_an_argument(options: str, fitted) -> None:
    given = {"standardize": True, "epochs": 15, **OPTIONS[options]}
    expected = gd.fit(X, MASS, **given)
    shown = fitted("--standardize", "--epochs", "15", *options.split())
    assert shown["digest"] == expected.digest
    assert shown["history"]["val_loss"] == expected.history.val_loss.tolist()
    assert (shown["stop_reason"], shown["backend"]) == (expected.stop_reason, expected.backend)


def test_the_options_are_those_of_fit() -> None:
    by_hand = {"X", "y", "coef_init", "intercept_init", "sample_weight", "trace", "callback"}
    expected = inspect.signature(gd.fit).parameters.keys() - by_hand - {"progress"}
    args = ["fit", "a", "--target", "b", "--standardize"]
    args += [word for options in OPTIONS for word in options.split()]
    given = vars(main.parser().parse_args(args)).keys() & fit_options.DEFAULTS.keys()
    assert given == expected


def test_what_is_not_given_is_left_to_fit(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {}

    def fit(X, y, **options):
        given.update(options)
        return gd.load(model)

    model = Path(data).with_name("model.npz")
    gd.fit(penguins().select(NAMES), MASS, epochs=1).save(model)
    monkeypatch.setattr("gdfast._cli.main.gd.fit", fit)
    assert main.main(["fit", data, "--target", "mass"]) == 0
    assert given == {}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns(suffix: str, tmp_path: Path, fitted) -> None:
    file = write(tmp_path / f"penguins{suffix}", penguins())
    chosen = ["male", "bill_depth_mm"]
    shown = fitted("--weights", "weight", "--features", ",".join(chosen), file=file)
    columns = [NAMES.index(name) for name in chosen]
    weights = np.asarray(penguins()["weight"])
    expected = gd.fit(X[:, columns], MASS, sample_weight=weights)
    assert shown["digest"] == expected.digest
    assert shown["coef"] == dict(zip(chosen, expected.coef.tolist(), strict=True))
    assert shown["intercept"] == expected.intercept
    assert list(fitted("--weights", "weight", file=file)["coef"]) == list(NAMES)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_labels_of_text(
    suffix: str, tmp_path: Path, fitted, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.array(["light", "middle", "heavy"])[np.digitize(MASS, [3500, 4500])]
    table = penguins().drop(["weight"]).set_column(len(NAMES), "mass", [labels])
    file, model = write(tmp_path / f"penguins{suffix}", table), str(tmp_path / "model.npz")
    options = ("--loss", "softmax", "--epochs", "3", "--validation", file, "--save", model)
    shown = fitted(*options, file=file)
    expected = gd.fit(X, labels, loss="softmax", epochs=3, validation=(X, labels))
    assert shown["digest"] == expected.digest
    assert shown["classes"] == ["heavy", "light", "middle"]
    assert shown["coef"] == dict(zip(NAMES, expected.coef.T.tolist(), strict=True))
    assert shown["intercept"] == expected.intercept.tolist()
    assert main.main(["predict", model, file]) == 0
    assert capsys.readouterr().out.split() == ["prediction", *expected.predict(X)]
    missing = write(tmp_path / "missing.parquet", pa.table({"x": [1.0, 2.0], "kind": ["a", None]}))
    words = f"{missing}: column 'kind', data row 2: the value is missing"
    args = ["fit", missing, "--target", "kind", "--loss", "softmax"]
    assert failure(args, capsys).startswith(words)


def test_standard_input(data: str, tmp_path: Path) -> None:
    text = Path(data).read_bytes()
    done = run("fit", "-", "--target", "mass", "--json", cwd=tmp_path, stdin=text)
    assert (done.returncode, done.stderr) == (0, "")
    assert parsed(done.stdout)["digest"] == gd.fit(X, MASS).digest
    done = run("fit", "-", "--target", "mass", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "gdfast fit: standard input is empty\n")


def test_types_of_columns(tmp_path: Path, fitted) -> None:
    x = np.array([0.5, 2.25, 4.75, 8.5])
    y = np.array([1.0, 3.0, 2.0, 5.0])
    is_large = x > 2.5
    table = pa.table(
        {
            "x": pa.array([decimal.Decimal(str(value)) for value in x]),
            "large": is_large,
            "mass": y.astype(np.int8),
        }
    )
    expected = gd.fit(np.column_stack([x, is_large]), y).digest
    assert fitted(file=write(tmp_path / "exact.parquet", table))["digest"] == expected
    assert fitted(file=write(tmp_path / "exact.csv", table))["digest"] == expected
    single = pa.table({"x": x.astype(np.float32), "mass": y})
    shown = fitted(file=write(tmp_path / "single.parquet", single))
    assert shown["digest"] == gd.fit(x.astype(np.float32)[:, None], y).digest


def test_the_index_of_a_pandas_frame_is_no_feature(tmp_path: Path, fitted) -> None:
    """A frame whose rows were filtered has its index in the file; pd.read_parquet makes it the index again."""
    frame = pd.DataFrame({**dict(zip(NAMES, X.T, strict=True)), "mass": MASS})[MASS > 4000]
    for name in (None, "id"):
        file = tmp_path / f"{name}.parquet"
        frame.rename_axis(name).to_parquet(file)
        read = pd.read_parquet(file)
        expected = gd.fit(read[list(NAMES)], read["mass"])
        shown = fitted(file=str(file))
        assert list(shown["coef"]) == list(NAMES)
        assert shown["digest"] == expected.digest
        assert (
            gd.fit(parquet.read_table(file).drop(["mass"]), read["mass"]).digest == expected.digest
        )
    asked = fitted("--features", f"id,{NAMES[0]}", file=str(file))
    assert asked["digest"] == gd.fit(np.c_[read.index, read[NAMES[0]]], read["mass"]).digest


def test_fractions_after_a_megabyte_of_integers(tmp_path: Path, fitted) -> None:
    column = ["1"] * 300_000 + ["2.5"]
    file = tmp_path / "long.csv"
    file.write_text("\n".join(["x,mass", *(f"{x},{x}" for x in column), ""]))
    shown = fitted("--epochs", "1", file=str(file))
    values = np.array(column, float)
    assert shown["digest"] == gd.fit(values[:, None], values, epochs=1).digest


def test_validation_file(data: str, tmp_path: Path, fitted) -> None:
    table = penguins()
    shuffled = table.select(table.column_names[::-1])
    first = write(tmp_path / "first.csv", table.slice(0, 200).drop(["weight"]))
    last = write(tmp_path / "last.parquet", shuffled.slice(200))
    shown = fitted("--validation", last, file=first)
    expected = gd.fit(X[:200], MASS[:200], validation=(X[200:], MASS[200:]))
    assert shown["history"]["val_loss"] == expected.history.val_loss.tolist()


def test_fit_shows_the_result(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["fit", data, "--target", "mass", "--standardize", "--validation", "0.2"]
    assert main.main(args) == 0
    expected = gd.fit(penguins().select(NAMES), MASS, standardize=True, validation=0.2)
    *table, last = capsys.readouterr().out.splitlines()
    assert "\n".join(table) == repr(expected)
    loss, val_loss = expected.history.loss[-1], expected.history.val_loss[-1]
    assert last == (
        f"loss {loss:.9g}, validation loss {val_loss:.9g}, digest {expected.digest[:12]}"
    )


def test_save_and_predict(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tmp_path / "model.npz")
    assert main.main(["fit", data, "--target", "mass", "--save", model]) == 0
    capsys.readouterr()
    expected = gd.fit(X, MASS)
    assert gd.load(model).digest == expected.digest

    columns = write(tmp_path / "other.parquet", penguins().select([*NAMES[::-1], "weight"]))
    assert main.main(["predict", model, columns]) == 0
    out = capsys.readouterr().out
    head, *values = out.splitlines()
    assert head == "prediction"
    assert [float(value) for value in values] == expected.predict(X).tolist()

    file = tmp_path / "predictions.csv"
    assert main.main(["predict", model, columns, "--output", str(file)]) == 0
    assert capsys.readouterr().out == ""
    assert file.read_text() == out


def test_predict_needs_the_columns(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tmp_path / "model.npz")
    gd.fit(penguins().select(NAMES[:2]), MASS, epochs=1).save(model)
    file = write(tmp_path / "a.csv", pa.table({"bill_lenght_mm": [1.0], NAMES[1]: [2.0]}))
    assert "did you mean 'bill_lenght_mm'?" in failure(["predict", model, file], capsys)
    gd.fit(X, MASS, epochs=1).save(model)
    assert "does not name its features" in failure(["predict", model, data], capsys)
    assert failure(["predict", data, data], capsys) == (
        f"{data} was not written by FitResult.save, or is damaged: it is no archive of arrays"
    )


WRONG_DATA = {
    "": "a.csv is empty",
    "\n \n": "a.csv is empty",
    "x,y\n": "a.csv has no rows below its header",
    "x,y,x\n1,2,3\n": "a.csv: columns 1 and 3 have the same name, 'x'",
    "x,y\n1,2\n3\n": "a.csv: CSV parse error: Row #3: Expected 2 columns, got 1: 3",
    "x,z\n1,2\n": "a.csv: unknown column 'y': known: 'x', 'z'",
    "x,Y\n1,2\n": "a.csv: unknown column 'y': known: 'Y', 'x'",
    "x,yy\n1,2\n": "a.csv: unknown column 'y': did you mean 'yy'? known: 'x', 'yy'",
    "y\n1\n": "a.csv: no column is left for the features",
    "x,y\n1,2\n,3\n": "a.csv: column 'x', data row 2: the value is missing; fill it in, or remove the row",
    "x,y\n1,2\n2,nan\n": "a.csv: column 'y', data row 2: the value is missing; fill it in, or remove the row",
    "x,y\n,2\n,3\n": "a.csv: column 'x', data row 1: the value is missing; fill it in, or remove the row",
    "x,y\n1,2\n-inf,3\n": "a.csv: column 'x', data row 2: the value is -inf; fill it in, or remove the row",
    "w,x,y\n1,1,2\n2,?,3\n": "a.csv: column 'x' is not numeric: data row 2 is '?'; "
    "choose the features by --features w",
    "x,y\n1,2\n2,3 g\n": "a.csv: column 'y' is not numeric: data row 2 is '3 g'",
    ",x,y\n0,1,2\n1,1,3\n": "a.csv: column 1 has no name: give it one, or choose the features by --features x",
}


@pytest.mark.parametrize("text", WRONG_DATA)
def test_wrong_data(
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(text)
    assert failure(["fit", "a.csv", "--target", "y"], capsys) == WRONG_DATA[text]


def test_wrong_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.parquet"
    file.write_text("x,y\n1,2\n")
    assert "Parquet" in failure(["fit", str(file), "--target", "y"], capsys)
    write(file, pa.table({"x": pa.array([3, 14], pa.date32()), "y": [1.0, 2.0]}))
    message = failure(["fit", str(file), "--target", "y"], capsys)
    assert "column 'x' is not numeric: data row 1 is datetime.date(1970, 1, 4)" in message
    write(file, pa.table({"x": ["3", "14"], "y": [1.0, 2.0]}))
    message = failure(["fit", str(file), "--target", "y", "--features", "x"], capsys)
    assert message == f"{file}: column 'x' is not numeric: data row 1 is '3'"


def test_a_header_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"x\xff,y\n1,2\n")
    assert "can't decode byte 0xff" in failure(["fit", str(file), "--target", "y"], capsys)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("fit nowhere.csv --target mass", "nowhere.csv: No such file or directory"),
        ("fit a.xlsx --target mass", "a.xlsx: the name must end in .csv or .parquet"),
        ("fit DATA --target mass --features male,mass", "column 'mass' is asked for twice"),
        ("fit DATA --target mass --features=", "no column is left for the features"),
        ("fit DATA --target mass --lr 1", "lr=1 diverged at epoch"),
        ("fit DATA --target mass --epochs -1", "epochs=-1 must be at least 0"),
        ("fit DATA --target mass --optimizer adam --lr auto", 'lr="auto" is the rate that'),
        ("fit DATA --target mass --validation nowhere.csv", "nowhere.csv: No such file"),
        ("compare DATA --target mass --optimizers sgd sgd", "optimizers[0] and [1] are equal"),
        ("predict nowhere.npz DATA", "nowhere.npz: No such file or directory"),
        ("bench --optimizer rprop --batch-size 2", "Rprop compares the signs"),
    ],
)
def test_failures(args: str, message: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in failure(args.replace("DATA", data).split(), capsys)


def test_a_file_that_cannot_be_written(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "nowhere" / "model.npz")
    assert main.main(["fit", data, "--target", "mass", "--save", file]) == 1
    captured = capsys.readouterr()
    assert "digest" in captured.out  # the fit is not lost
    assert captured.err == f"gdfast fit: {file}: No such file or directory\n"


def test_a_backend_that_is_not_there(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gdfast._backends.why_not", lambda name: f"{name} is gone")
    message = failure(["fit", data, "--target", "mass", "--backend", "numba"], capsys)
    assert message == "backend 'numba' is not available: numba is gone"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("pyarrow", "pyarrow reads the tables: pip install pyarrow"),
        ("matplotlib.figure", "pictures need matplotlib: pip install matplotlib"),
    ],
)
def test_extras_are_asked_for(
    missing: str,
    message: str,
    data: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert failure(["fit", data, "--target", "mass", "--plot", "a.png"], capsys) == message


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("fit a.csv", "the following arguments are required: --target"),
        ("fit a.csv --target b --epochs many", "argument --epochs: invalid int value: 'many'"),
        ("fit a.csv --target b --backend cp", "argument --backend: invalid choice: 'cp'"),
        ("fit a.csv --target b --loss squared", "argument --loss: unknown loss 'squared': did you"),
        (
            "fit a.csv --target b --optimizer adm:lr=1",
            "argument --optimizer: unknown optimizer 'adm'",
        ),
        (
            "fit a.csv --target b --optimizer adam:lr=-1",
            "argument --optimizer: lr=-1 must be a finite number in (0, inf)",
        ),
        (
            "fit a.csv --target b --optimizer adam:rate=1",
            "adam: got an unexpected keyword argument 'rate'; its arguments: lr, betas, eps, weight_decay",
        ),
        (
            "fit a.csv --target b --optimizer sgd:nesterov=true",
            "argument --optimizer: nesterov must be True or False, not 'true'",
        ),
        (
            "fit a.csv --target b --lr half",
            "argument --lr: unknown lr 'half': known: 'adaptive', 'auto', ",
        ),
        ("fit a.csv --target b --lr exponential", "exponential: missing a required argument: 'lr'"),
        (
            "compare a.csv --target b --optimizers sgd,adam",
            "argument --optimizers: unknown optimizer 'sgd,adam'",
        ),
        ("bench --rows 0", "argument --rows: '0' must be an integer of at least 1"),
        ("bench --batch-size all", "argument --batch-size: 'all' must be"),
    ],
)
def test_refusals(args: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refusal(args.split(), capsys)


# Texts that are nested a thousand times, or as far as the longest that is read.
DEEP = {
    "lists": "adam:lr=" + "[" * 5000,
    "signs": "adam:lr=" + "-" * 50_000 + "1",
    "sums": "adam:lr=" + "1+" * 50_000 + "1",
    "calls": "adam:lr=" + "warmup(schedule=" * 3000,
    "short lists": "adam:lr=" + "[" * 90 + "1" + "]" * 90,
    "short signs": "adam:lr=" + "-" * 900 + "1",
    "short sums": "adam:lr=" + "1+" * 490 + "1",
    "short calls": "adam:lr=" + "warmup(schedule=" * 55 + "1" + ")" * 55,
    "short attributes": "adam:lr=" + "a." * 490 + "a",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("option", ["--optimizer", "--lr", "--loss"])
def test_texts_that_are_nested_deeply(
    option: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = {"--optimizer": text, "--lr": "constant" + text[4:], "--loss": "huber" + text[4:]}[
        option
    ]
    words = refusal(["fit", "a.csv", "--target", "b", option, text], capsys)
    assert f"argument {option}: " in words
    assert len(words) < 4000


def test_names_that_are_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["fit", "a.csv", "--target", "b", "--features", "x" * 200_000]
    assert "cannot be read as names of columns" in refusal(args, capsys)


@pytest.mark.parametrize(
    "optimizer", ["adam:0.1", "adam:lr=", "adam:lr=1/2", "adam:lr=0.1)(", "adam:lr=[1"]
)
def test_unreadable_records(optimizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["fit", "a.csv", "--target", "b", "--optimizer", optimizer]
    assert refusal(args, capsys) == (
        f"argument --optimizer: cannot read {optimizer!r}: write adam:argument=value,argument=value"
    )


RIVALS = ["sgd:lr=0.1", "adam:lr=10", "sgd:lr=3"]


@pytest.mark.filterwarnings("default::RuntimeWarning")
def test_compare(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "losses.png"
    args = ["compare", data, "--target", "mass", "--standardize", "--reach", "120000"]
    args += ["--plot", str(picture), "--optimizers", *RIVALS]
    assert main.main(args) == 0
    captured = capsys.readouterr()
    assert picture.read_bytes().startswith(PNG)
    # The one that diverged is in the table, and a line says why.
    warning, end = captured.err.split("\n")
    assert end == ""
    assert warning.startswith("gdfast compare: warning: SGD(lr=3.0): lr=3 diverged at epoch")
    head, *lines = captured.out.splitlines()
    assert head.split()[:5] == ["loss", "val_loss", "epochs", "to", "1.2e+05"]
    assert [line.split()[0] for line in lines] == ["SGD(lr=0.1)", "Adam", "SGD(lr=3.0)"]
    expected = gd.fit(X, MASS, standardize=True, lr=0.1).history.loss
    loss, reached = lines[0].split()[1:3]
    assert (loss, int(reached)) == (f"{expected[-1]:.6g}", np.argmax(expected <= 120_000))

    assert main.main([*args, "--json"]) == 0
    shown = parsed(capsys.readouterr().out)
    assert shown["reach"] == 120_000
    assert shown["table"]["SGD(lr=3.0)"]["stop_reason"] == "divergence"
    assert shown["table"]["SGD(lr=0.1)"]["epochs"] == int(reached)
    assert shown["table"]["SGD(lr=0.1)"]["val_loss"] is None
    adam = gd.fit(X, MASS, standardize=True, optimizer=gd.Adam(lr=10))
    assert shown["fits"]["Adam"]["digest"] == adam.digest


def test_compare_reaches_near_the_lowest(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = [
        "compare",
        data,
        "--target",
        "mass",
        "--standardize",
        "--optimizers",
        "asgd",
        "adam:lr=10",
    ]
    assert main.main([*args, "--json"]) == 0
    expected = gd.compare(X, MASS, ["asgd", gd.Adam(lr=10)], standardize=True)
    assert parsed(capsys.readouterr().out)["reach"] == expected.reach


def test_fit_draws(data: str, tmp_path: Path) -> None:
    picture = tmp_path / "losses.png"
    done = run("fit", data, "--target", "mass", "--plot", str(picture), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert picture.read_bytes().startswith(PNG)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A bench that takes no time."""
    monkeypatch.setattr(benchmarks, "WARM_UP", 0)
    return ["bench", "--features", "2", "--rows", "30", "--rounds", "2"]


def test_bench(short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "times.png"
    assert main.main([*short, "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(PNG)
    config, table = capsys.readouterr().out.rstrip().split("\n\n")
    assert config == gd.show_config()
    title, head, *lines = table.splitlines()
    assert title.startswith("2 rounds of 30 rows with 2 features; ns per row, of which the memory ")
    assert head.split() == ["work", "backend", "median", "minimum", "ratio"]
    works = ["full batch", "batches of 32", "batches of 1"]
    assert [line.split("  ")[0].strip() for line in lines] == [w for w in works for _ in AVAILABLE]


@pytest.mark.slow
def test_bench_markdown(short: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([*short, "--batch-size", "7", "--markdown"]) == 0
    config, _, table = capsys.readouterr().out.rstrip().split("\n\n")
    assert config == f"```\n{gd.show_config()}\n```"
    head, rule, *lines = table.splitlines()
    assert head == "| work | backend | median | minimum | ratio |"
    assert rule == "| --- | --- | --: | --: | --: |"
    assert [line.split(" | ")[1] for line in lines] == AVAILABLE


@pytest.mark.slow
def test_bench_json(short: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    args = [*short, "--batch-size", "full", "7", "--optimizer", "sgd:lr=0.1", "--json"]
    assert main.main(args) == 0
    shown = parsed(capsys.readouterr().out)
    assert shown["agree"] is True
    assert shown["config"]["backends"] == gd.backends()
    assert shown["read_gigabytes_per_second"].keys() == {"1", "2"}
    for work in ("full batch", "batches of 7"):
        times = [row for row in shown["times"] if row["work"] == work]
        assert [row["backend"] for row in times] == AVAILABLE
        assert min(row["ratio"] for row in times) == 1
        assert all(0 < row["minimum"] <= row["median"] for row in times)


@pytest.mark.slow
def test_bench_says_when_digests_differ(
    short: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = gd.fit

    def wrong(X, y, *, backend, batch_size, **options):
        y = y + 1e-9 if backend == "numpy" and batch_size else y
        return fit(X, y, backend=backend, batch_size=batch_size, **options)

    monkeypatch.setattr(gd, "fit", wrong)
    assert main.main([*short, "--batch-size", "full", "4"]) == 1
    captured = capsys.readouterr()
    assert "batches of 4" in captured.out
    assert captured.err.startswith("gdfast bench: the digests disagree, batches of 4: ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.slow
def test_bars(
    data: str,
    short: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def shown(*args: str) -> str:
        monkeypatch.setattr(sys, "stderr", Terminal())
        assert main.main([*args]) == 0
        return sys.stderr.getvalue()

    fit = ("fit", data, "--target", "mass")
    compare = ("compare", data, "--target", "mass", "--optimizers", "sgd", "adam")
    assert shown(*fit) == ""  # it is over before a bar is seen
    monkeypatch.setattr(main, "LONG_EPOCH", 1)
    monkeypatch.setattr(main, "LONG_FIT", len(MASS) * (len(NAMES) + 1) * 50)
    assert shown(*fit, "--epochs", "49") == ""
    assert "50/50" in shown(*fit, "--epochs", "50")
    assert "100/100" in shown(*fit)
    assert "100/100" in shown(*compare)
    assert "full batch:   0%|" in shown(*short)
    for command in (fit, compare, short):
        assert shown(*command, "--no-progress") == ""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert shown(*fit) == ""
    monkeypatch.undo()
    monkeypatch.setattr(main, "LONG_EPOCH", 1)
    monkeypatch.setattr(main, "LONG_FIT", 1)
    assert main.main([*fit]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_no_bar_in_a_pipe(tmp_path: Path) -> None:
    done = run("bench", "--features=1", "--rows=9", "--rounds=1", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert parsed(done.stdout)["agree"] is True


def test_ctrl_c(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(gd, "fit", interrupted)
    assert main.main(["fit", data, "--target", "mass"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(os.name != "posix", reason="pipes are closed in another way")
def test_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "gdfast", "info"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("args", [[], ["demonstrate"], ["demo", "extra"]])
def test_wrong_command_line(args: list[str], tmp_path: Path) -> None:
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: gdfast")


@pytest.mark.parametrize("command", ["", "fit", "compare", "predict", "bench", "demo", "info"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main([*command.split(), "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"example: gdfast {command}" in text
    # Each option that need not be given says what happens then.
    usage, _, options = text.partition("options:")
    optional = usage.count("[--") - usage.count("[--version]")
    assert options.count("(default: ") == optional


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
