"""A result: its digest, its predictions, its file, its table and its plot."""

import dataclasses
import hashlib
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import scipy.special
from sklearn.linear_model import SGDClassifier

import gdfast as gd

mpl.use("Agg")
from matplotlib import pyplot as plt

X = np.arange(60.0).reshape(20, 3) % 7 - 3
y = X @ [1.0, -2.0, 0.5] + np.arange(20) % 3


class Table:
    """What a data frame is to gdfast."""

    def __init__(self, values, columns):
        self.values = values
        self.columns = columns

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


TABLE = Table(X, ["height", "width", "depth"])

FITS = {
    "plain": {},
    "no epoch": {"epochs": 0},
    "everything": {
        "X": TABLE,
        "loss": "half_squared_error",
        "optimizer": gd.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
        "batch_size": 6,
        "validation": (X, y),
        "patience": 3,
        "trace": "coef",
    },
    "tol": {"tol": 0.1, "epochs": 10_000},
    "float32": {"X": X.astype("float32"), "trace": "coef", "batch_size": 1},
    "no intercept": {"fit_intercept": False},
    "several outputs": {"y": np.c_[y, -y, y + 1], "trace": "coef", "batch_size": 5},
    "two classes": {"y": y > 0, "loss": "logistic", "l1": 0.01},
    "several classes": {"y": np.digitize(y, [-2, 2]), "loss": "softmax", "average": True},
}


@pytest.fixture(params=FITS)
def result(request, backend):
    return gd.fit(**{"X": X, "y": y, "epochs": 9, **FITS[request.param]}, backend=backend)


@pytest.fixture
def axes():
    yield plt.subplots()[1]
    plt.close("all")


def digest_by_hand(r):
    little = {"float32": "<f4", "float64": "<f8"}[r.coef.dtype.name]
    sha = hashlib.sha256()
    for values in (r.coef, r.intercept, r.history.loss):
        a = np.array(values, little)
        sha.update(f"{little}{a.shape}".encode() + a.tobytes())
    return sha.hexdigest()


def test_the_digest(result):
    assert result.digest == digest_by_hand(result)


@pytest.mark.parametrize("change", ["coef", "intercept", "loss"])
def test_the_digest_sees_every_bit(change):
    r = gd.fit(X, y)
    history = r.history
    if change == "loss":
        loss = history.loss.copy()
        loss[-1] = np.nextafter(loss[-1], 0)
        other = dataclasses.replace(r, history=dataclasses.replace(history, loss=loss))
    else:
        other = dataclasses.replace(r, **{change: np.nextafter(getattr(r, change), 0)})
    assert other.digest != r.digest
    same = dataclasses.replace(r, backend="another", stop_reason="callback")
    assert same.digest == r.digest


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
@pytest.mark.parametrize("name", ["model.npz", "model", "model.of.2020"])
def test_saved_and_loaded(result, tmp_path, kind, name):
    path = tmp_path / name
    assert result.save(kind(path)) is None
    assert [found.name for found in tmp_path.iterdir()] == [name]
    again = gd.load(kind(path))
    assert again.digest == result.digest
    assert repr(again) == repr(result)
    assert np.array_equal(again.predict(X), result.predict(X))
    for field in dataclasses.fields(result):
        value, expected = getattr(again, field.name), getattr(result, field.name)
        assert type(value) is type(expected)
        if field.name == "history":
            continue
        if isinstance(value, np.ndarray):
            assert value.dtype == expected.dtype
            assert np.array_equal(value, expected)
        else:
            assert value == expected
    for field in dataclasses.fields(result.history):
        value, expected = (getattr(r.history, field.name) for r in (again, result))
        if expected is None:
            assert value is None
        else:
            assert value.dtype == expected.dtype
            assert np.array_equal(value, expected)


def test_saving_replaces(tmp_path):
    path = tmp_path / "model.npz"
    for epochs in (50, 2):
        gd.fit(X, y, epochs=epochs, trace="coef").save(path)
        assert gd.load(path).n_epochs == epochs


def test_a_new_file_has_the_permissions_that_open_gives(tmp_path):
    path, by_open = tmp_path / "model.npz", tmp_path / "by open"
    before = os.umask(0o027)
    try:
        gd.fit(X, y).save(path)
        by_open.touch()
    finally:
        os.umask(before)
    assert path.stat().st_mode == by_open.stat().st_mode
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    for mode in (0o600, 0o664, 0o755):  # and an old one keeps its own
        path.chmod(mode)
        gd.fit(X, y).save(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_links_are_followed(tmp_path):
    folder, link = tmp_path / "models", tmp_path / "latest.npz"
    folder.mkdir()
    link.symlink_to(Path("models") / "1.npz")
    for epochs in (3, 4):  # at first the link leads to no file
        gd.fit(X, y, epochs=epochs).save(link)
        assert link.is_symlink()
        assert [found.name for found in folder.iterdir()] == ["1.npz"]
        assert gd.load(folder / "1.npz").n_epochs == gd.load(link).n_epochs == epochs


def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    r = gd.fit(X, y)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(pipe.read_bytes)
        r.save(pipe)
    (tmp_path / "model.npz").write_bytes(written.result())
    assert gd.load(tmp_path / "model.npz").digest == r.digest
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    r.save(os.devnull)
    assert not stat.S_ISREG(os.stat(os.devnull).st_mode)  # noqa: PTH116
    with pytest.raises(IsADirectoryError, match=re.escape(repr(str(tmp_path)))):
        r.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=re.escape(repr(str(tmp_path / "a" / "b.npz")))):
        r.save(tmp_path / "a" / "b.npz")


# Programs that fail to write a large result over the one at `path`, each in a way of its own.
UNFINISHED = {
    "killed": """
def killed(descriptor):
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = killed
r.save(path)
""",
    "disk full": """
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    r.save(path)
except OSError as error:
    assert (error.errno, error.filename) == (errno.EFBIG, path), error
    assert os.listdir(os.path.dirname(path)) == ["model.npz"]
    print("refused")
""",
    "interrupted": """
def interrupted(descriptor):
    raise KeyboardInterrupt
os.fsync = interrupted
try:
    r.save(path)
except KeyboardInterrupt:
    assert os.listdir(os.path.dirname(path)) == ["model.npz"]
    print("refused")
""",
}


@pytest.mark.parametrize("program", UNFINISHED.values(), ids=UNFINISHED)
def test_the_old_file_outlives_what_is_not_finished(tmp_path, program):
    path = tmp_path / "model.npz"
    old = gd.fit(X, y, epochs=3)
    old.save(path)
    start = (
        "import errno, os, resource, signal, sys, numpy as np, gdfast as gd\npath = sys.argv[1]\n"
    )
    start += "r = gd.fit(np.eye(999), np.ones(999), epochs=2, trace='coef', backend='numpy')\n"
    command = [sys.executable, "-W", "error", "-c", start + program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path.parent)
    assert done.stderr == ""
    assert (done.returncode, done.stdout) in ((-signal.SIGKILL, ""), (0, "refused\n"))
    assert gd.load(path).digest == old.digest


def savez(path, **arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)


def zipped(path, *entries, **options):
    """An archive of entries (name, bytes)."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in entries:
            archive.writestr(name, content)


def npy(descr, shape, content=b""):
    """A .npy file that says what it holds, and holds something."""
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


FOREIGN = {
    "another npz": (lambda path: savez(path, coef=X), "it holds no meta"),
    "an npz with other meta": (lambda path: savez(path, coef=X, meta="{}"), "it has no 'format'"),
    "an npz with no JSON": (lambda path: savez(path, meta="{"), "Expecting property name"),
    "an npz with nested JSON": (lambda path: savez(path, meta="[" * 10**5), "recursion"),
    "an npz with numbers for meta": (lambda path: savez(path, meta=1.0), "JSON object must be str"),
    "an npz with objects": (
        lambda path: savez(path, meta="{}", coef=np.array([print])),
        "it holds objects of Python",
    ),
    "a compressed npz": (
        lambda path: np.savez_compressed(path, meta="{}", coef=np.zeros(10**7)),
        "it is compressed",
    ),
    "an npz that claims much": (
        lambda path: zipped(path, ("meta.npy", npy("<f8", (2**40,), bytes(8)))),
        r"an array of shape \(1099511627776,\) in float64 has 8 bytes",
    ),
    "an npz that claims more than there is": (
        lambda path: zipped(path, ("meta.npy", npy("<f8", (-(2**62), -4), bytes(8)))),
        "an array of shape",
    ),
    "an npz with an array twice": (
        lambda path: zipped(path, ("meta.npy", b"1"), ("meta", b"1")),
        "it holds two arrays of one name",
    ),
    "a zip": (lambda path: zipped(path, ("meta.npy", b"text")), "reading magic string"),
    "an npy": (lambda path: np.save(path.open("wb"), X), "it is no archive of arrays"),
    "text": (lambda path: path.write_text("height,width\n1,2\n"), "it is no archive of arrays"),
    "half an npz": (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "not a zip file"),
    "nothing": (lambda path: path.touch(), "it is empty"),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_refused(tmp_path, kind):
    path = tmp_path / "model.npz"
    write, reason = FOREIGN[kind]
    write(path)
    message = rf"model\.npz was not written by FitResult\.save, or is damaged: .*{reason}"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            gd.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2e7
    finally:
        tracemalloc.stop()


def test_damaged_files_are_refused(tmp_path):
    """Wherever bytes are lost or changed: no error but this one, and no other result."""
    path = tmp_path / "model.npz"
    r = gd.fit(X, y > 0, loss="logistic", epochs=3, lr=gd.schedules.Cosine(0.01, total=5))
    r.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    changed = [whole[:k] for k in range(0, len(whole), 97)]
    for k in range(0, len(whole), 11):
        damaged = bytearray(whole)
        damaged[k] ^= rng.integers(1, 256)
        changed.append(bytes(damaged))
    refused = []
    for content in changed:
        path.write_bytes(content)
        try:
            again = gd.load(path)
        except ValueError as error:
            refused.append(str(error))
        else:
            assert again.digest == r.digest  # it was a time in the archive, say
    reasons = (
        r"not written by FitResult\.save, or is damaged|written by a later version of gdfast.*"
    )
    assert all(re.search(rf"model\.npz was ({reasons}): .", words) for words in refused)
    assert 0.8 * len(changed) < len(refused) < len(changed)


def test_parts_that_do_not_fit_together(tmp_path):
    path = tmp_path / "model.npz"
    options = {"trace": "coef", "validation": (X, y), "epochs": 4}
    r = gd.fit(TABLE, y, **options)
    wrong = {
        "coef": [X[0, :2], X[None], np.arange(3), np.zeros(0), [1.0, np.nan, 2.0], ["a", "b", "c"]],
        "intercept": [np.zeros(1), np.nan, 1j],
        "classes": [np.array([0, 1])],
        "history.loss": [np.zeros(3), np.zeros((4, 1)), np.zeros(4, "M8[s]")],
        "history.val_loss": [np.zeros(3)],
        "history.seconds": [np.zeros(0), 1.0],
        "history.coef": [np.zeros((4, 3)), np.zeros((5, 2)), np.zeros(5)],
        "history.intercept": [np.zeros(4), np.zeros((5, 1))],
    }
    r.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    for name, values in wrong.items():
        for value in values:
            savez(path, **arrays | {name: np.asarray(value)})
            last = name.rpartition(".")[2]
            with pytest.raises(ValueError, match=rf"or changed since: .*{last}"):
                gd.load(path)
            part = r.history if name.startswith("history.") else r
            broken = dataclasses.replace(part, **{last: value})
            if part is not r:
                broken = dataclasses.replace(r, history=broken)
            with pytest.raises((ValueError, TypeError), match=last):
                broken.save(path)
    for field, value in {
        "n_epochs": 5,
        "n_steps": -1,
        "converged": 1,
        "stop_reason": "tired",
        "backend": "fortran",
        "feature_names": ("a", "b"),
        "loss": gd.losses.Logistic(),
    }.items():
        with pytest.raises((ValueError, TypeError)):
            dataclasses.replace(r, **{field: value}).save(path)


def change(meta, *keys, to):
    """The meta with another entry at these keys; without it, if that is None."""
    inner = meta
    for key in keys[:-1]:
        inner = inner[key]
    if to is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = to


@pytest.mark.parametrize(
    ("keys", "to", "message"),
    [
        (("loss", 0), "squared_eror", "unknown loss 'squared_eror': did you mean 'squared_error'"),
        (("loss", 1), {"delta": 1.0}, "delta"),
        (("optimizer", "name"), "adan", "unknown optimizer 'adan': did you mean 'adam'"),
        (("optimizer", "lr", "name"), "cosin", "unknown schedule 'cosin': did you mean 'cosine'"),
        (("optimizer", "lr", "total"), 0, "total=0 must be at least 1"),
        (("optimizer", "lr", "speed"), 1, "speed"),
        (("optimizer", "momentum"), 7.0, "momentum=7.0"),
        (("optimizer", "lr"), None, "lr"),
        (("optimizer",), None, "optimizer"),
        (("feature_names",), None, "feature_names"),
        (("backend",), None, "backend"),
        (("n_rounds",), 3, "n_rounds"),
        (("n_epochs",), 4, "history.loss has shape \\(100,\\)"),
        (("n_steps",), -1, "n_steps=-1 must be at least 0"),
        (("n_steps",), 1e3, "n_steps must be an integer, not 1000.0"),
        (("converged",), "no", "converged must be True or False"),
        (("stop_reason",), "tired", "unknown stop_reason 'tired'"),
        (("backend",), "fortran", "unknown backend 'fortran'"),
        (("feature_names",), ["a", "b"], "feature_names must be 3 texts"),
        (("feature_names",), [1, 2, 3], "feature_names must be 3 texts"),
        (("loss",), ["huber", {"delta": 0}], "delta=0 must be"),
        (("loss",), ["hinge", {}], "classes must be a 1-D array of 2 labels, not None"),
        (("loss",), 5, "unpack"),
        (("optimizer", "lr"), {"name": "warmup", "schedule": {}, "length": 2}, "it has no 'name'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_another_version_wrote(tmp_path, keys, to, message):
    path = tmp_path / "model.npz"
    gd.fit(X, y, lr=gd.schedules.Cosine(0.01, total=5)).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays.pop("meta")))
    change(meta, *keys, to=to)
    np.savez(path, meta=json.dumps(meta), **arrays)
    written = r"model\.npz was written by a later version of gdfast, or changed since: "
    with pytest.raises(ValueError, match=f"{written}.*{message}"):
        gd.load(path)


def test_a_file_without_an_array(tmp_path):
    path = tmp_path / "model.npz"
    gd.fit(X, y).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    for name in ("coef", "history.loss"):
        np.savez(path, **{k: a for k, a in arrays.items() if k != name})
        with pytest.raises(ValueError, match=f"changed since: .*{name.rpartition('.')[2]}"):
            gd.load(path)


def test_a_file_without_what_older_versions_did_not_keep(tmp_path):
    path = tmp_path / "model.npz"
    r = gd.fit(X, y)
    r.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    del arrays["history.objective"]
    savez(path, **arrays)
    again = gd.load(path)
    assert again.digest == r.digest
    assert again.history.objective is None


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        gd.load(tmp_path / "model.npz")


def test_results_are_frozen(result):
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.coef = X[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.history.loss = X[0]
    arrays = [a for a in [result.coef, *vars(result.history).values()] if a is not None]
    for a in arrays:
        assert not a.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        result.coef[0] = 1.0


def test_predictions(result, backend):
    expected = X @ result.coef.T.astype(float) + result.intercept
    numbers = [result.decision_function(X), result.decision_function(X.tolist())]
    if result.classes is None:
        numbers.append(result.predict(X))
    for p in numbers:
        assert p.dtype == np.float64
        np.testing.assert_allclose(p, expected, rtol=1e-13, atol=1e-13)
    assert np.array_equal(result.predict(TABLE), result.predict(X))
    assert np.array_equal(result.predict(np.asfortranarray(X)[::-1]), result.predict(X)[::-1])
    assert result.predict(X[:1]).tolist() == result.predict(X)[:1].tolist()


CLASSES = {
    "0 and 1": np.array([0, 1]),
    "-1 and 1": np.array([-1.0, 1.0], "float32"),
    "False and True": np.array([False, True]),
    "1 and 2": np.array([1, 2], "uint8"),
    "text": np.array(["no", "yes"]),
}


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
def test_two_classes_are_predicted_as_they_were_given(classes):
    labels = classes[(y > 0).astype(int)]
    r = gd.fit(X, labels, loss="hinge")
    assert r.predict(X).dtype == classes.dtype
    np.testing.assert_array_equal(r.predict(X), classes[(r.decision_function(X) > 0).astype(int)])
    assert (r.predict(X) == labels).mean() > 0.8
    columns = gd.fit(X, np.c_[labels, labels[::-1]], loss="hinge", lr=0.01)
    alone = gd.fit(X, labels, loss="hinge", lr=0.01)
    assert columns.predict(X).dtype == classes.dtype
    np.testing.assert_array_equal(columns.predict(X)[:, 0], alone.predict(X))


# Three labels each, in their order.
LABELS = {
    "positions": [0, 1, 2],
    "from 1 on": [1, 2, 3],
    "years": [1999, 2020, 2022],
    "identifiers that no float64 tells apart": [10**18, 10**18 + 1, 10**18 + 2],
    "large unsigned": np.array([0, 2**64 - 2, 2**64 - 1], np.uint64),
    "negative": np.array([-5, -1, 7], "int8"),
    "halves": [-0.5, 0.0, 1.5],
    "float32": np.array([0.1, 0.2, 0.3], "float32"),
    "text": ["ant", "bee", "beetle"],
    "bytes": [b"a", b"b", b"c"],
    "text as objects": np.array(["x", "y", "z"], object),
    "dates": np.array(["2020-01", "2020-02", "2021-01"], "M8[M]"),
}
FORMS = {
    "array": np.asarray,
    "list": lambda a: a.tolist(),
    "objects": lambda a: a.astype(object),
    "column": lambda a: a[:, None],
    "Series": pd.Series,
    "category": lambda a: pd.Series(a.tolist(), dtype="category"),
    "frame": lambda a: pd.DataFrame({"label": a}),
    "polars": lambda a: pytest.importorskip("polars").Series(a.tolist()),
    "arrow": lambda a: pa.chunked_array([a.tolist()[:3], a.tolist()[3:]]),
    "arrow dictionary": lambda a: pa.array(a.tolist()).dictionary_encode(),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_of_any_kind_are_classes(labels, tmp_path):
    """With the bits of their positions among the sorted ones, and given back by predict."""
    labels = np.asarray(labels)
    several, two = np.digitize(y, [-2, 2]), (y > 0).astype(int)
    for loss, positions in ("softmax", several), ("logistic", two), ("softmax", 2 - two):
        known = labels[np.unique(positions)]
        r = gd.fit(X, labels[positions], loss=loss)
        expected = gd.fit(X, positions - positions.min(), loss=loss)
        assert r.digest == expected.digest
        np.testing.assert_array_equal(r.classes, known)
        assert r.classes.dtype == (labels if labels.dtype != object else np.array([*labels])).dtype
        r.save(tmp_path / "model.npz")
        for model in r, gd.load(tmp_path / "model.npz"):
            np.testing.assert_array_equal(model.predict(X), known[expected.predict(X)])
        assert np.array_equal(r.predict_proba(X), expected.predict_proba(X))
        half = gd.fit(X, labels[positions], loss=loss, validation=(X[:9], labels[positions[:9]]))
        few = gd.fit(
            X,
            positions - positions.min(),
            loss=loss,
            validation=(X[:9], positions[:9] - positions.min()),
        )
        assert np.array_equal(half.history.val_loss, few.history.val_loss)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("labels", [[3, 5, 10**17], ["ant", "bee", "beetle"]], ids=str)
def test_labels_in_any_form(form, labels):
    positions = np.digitize(y, [-2, 2])
    r = gd.fit(X, form(np.array(labels)[positions]), loss="softmax")
    assert r.digest == gd.fit(X, positions, loss="softmax").digest
    assert r.classes.tolist() == labels


def test_text_of_any_length_and_booleans_as_objects():
    texts = np.array(["a", "bcd"], np.dtypes.StringDType())[(y > 0).astype(int)]
    assert gd.fit(X, texts, loss="hinge").classes.tolist() == ["a", "bcd"]
    r = gd.fit(X, (y > 0).astype(object), loss="hinge")
    assert (r.classes.dtype, r.classes.tolist()) == (np.bool_, [False, True])


def test_columns_of_labels():
    """The classes are those of all columns, of which one may lack a class."""
    columns = np.c_[y > 0, y > 2, y > 99]
    r = gd.fit(X, np.where(columns, "yes", "no"), loss="logistic")
    expected = gd.fit(X, columns, loss="logistic")
    assert r.digest == expected.digest
    assert np.array_equal(r.predict(X) == "yes", expected.predict(X))


def test_the_labels_that_softmax_is_told_of():
    """With its parameter `classes` they are positions, of which some may be missing."""
    loss = gd.losses.Softmax(classes=4)
    r = gd.fit(X, np.where(y > 0, 3, 1), loss=loss, epochs=3)
    assert r.coef.shape == (4, 3)
    assert r.classes.tolist() == [0, 1, 2, 3]
    assert gd.fit(X, y > 0, loss=loss, epochs=3).classes.tolist() == [0, 1, 2, 3]


def test_probabilities():
    one, several = y > 0, np.c_[y > 0, y > 1]
    for labels in (one, several):
        r = gd.fit(X, labels, loss="logistic")
        expected = scipy.special.expit(r.decision_function(X))
        if labels is one:
            expected = np.c_[1 - expected, expected]
        np.testing.assert_allclose(r.predict_proba(X), expected, rtol=1e-13)
    r = gd.fit(X, np.digitize(y, [-2, 2]), loss="softmax")
    expected = scipy.special.softmax(r.decision_function(X), axis=1)
    np.testing.assert_allclose(r.predict_proba(X), expected, rtol=1e-13)
    np.testing.assert_array_equal(r.predict(X), expected.argmax(axis=1))
    ours = gd.fit(X, one, loss="modified_huber")
    theirs = SGDClassifier(loss="modified_huber").fit(X, one)
    theirs.coef_[:], theirs.intercept_[:] = ours.coef, ours.intercept
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-13)
    with pytest.raises(ValueError, match="hinge tells no probabilities: logistic, modified_huber"):
        gd.fit(X, one, loss="hinge").predict_proba(X)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # as an error it would prevent the scalar
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", gd.losses.TABLE)
def test_a_single_row_is_predicted_as_it_is_among_others(loss, dtype):
    targets = gd.losses.TABLE[loss]().targets
    labels = {"numbers": y, "counts": abs(y), "signs": y > 0, "classes": np.digitize(y, [-2, 2])}
    r = gd.fit(X.astype(dtype), labels[targets], loss=loss, epochs=3)
    methods = ["decision_function", "predict"]
    if hasattr(r.loss, "probability"):
        methods.append("predict_proba")
    for method in methods:
        predict = getattr(r, method)
        every, one = predict(X.astype(dtype)), predict(X[7:8].astype(dtype))
        assert one.shape == (1, *every.shape[1:])
        assert one.dtype == every.dtype
        assert np.array_equal(one, every[7:8])


def test_counts_are_predicted_by_their_mean():
    r = gd.fit(X, np.abs(y), loss="poisson")
    np.testing.assert_allclose(r.predict(X), np.exp(r.decision_function(X)), rtol=1e-15)


def test_the_table_of_several_outputs():
    r = gd.fit(X, np.c_[y, -y], lr=0.01)
    line = repr(r).splitlines()[2].split()
    assert line == ["x0", *(f"{w:.9g}" for w in r.coef[:, 0])]


@pytest.mark.parametrize("method", ["predict", "decision_function"])
def test_wrong_rows_for_a_prediction(method):
    predict = getattr(gd.fit(X, y, epochs=1), method)
    with pytest.raises(ValueError, match=r"^X has 2 features, the model has 3$"):
        predict(X[:, :2])
    with pytest.raises(ValueError, match=r"X is 1-D with 3 values"):
        predict(X[0])
    with pytest.raises(TypeError, match=r"X has dtype <U"):
        predict(X.astype(str))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("loss", gd.losses.TABLE)
def test_rows_that_are_not_finite_have_no_prediction(loss, value):
    """Neither a class, which a comparison or the largest of several would give to NaN, nor a number."""
    targets = gd.losses.TABLE[loss]().targets
    labels = {"numbers": y, "counts": abs(y), "signs": y > 0, "classes": np.digitize(y, [-2, 2])}
    wrong = X.copy()
    wrong[17, 2] = value
    l1 = (
        0.0 if loss == "softmax" else 1e9
    )  # with which all weights are 0, and 0 times infinity is NaN
    for options in ({}, {"l1": l1, "lr": 1e-9}):
        r = gd.fit(X, labels[targets], loss=loss, epochs=3, **options)
        methods = ["decision_function", "predict"]
        if hasattr(r.loss, "probability"):
            methods.append("predict_proba")
        for method in methods:
            for rows in (wrong, scipy.sparse.csr_array(wrong), pd.DataFrame(wrong)):
                with pytest.raises(ValueError, match=rf"^X\[17, 2\] is {value}: remove the row"):
                    getattr(r, method)(rows)


def test_predictions_that_overflow():
    """Finite rows may have one that is not: NaN has no class, and infinity is none of a number."""
    for dtype, coef in (("float64", [1e300, -1e300, 0]), ("float32", [1e30, -1e30, 0])):
        r = gd.fit(X.astype(dtype), y > 0, loss="logistic", epochs=0, coef_init=coef)
        rows = np.ones((5, 3), dtype)
        assert r.predict(rows).tolist() == [False] * 5
        rows[3] = np.finfo(dtype).max
        for method in (r.predict, r.predict_proba, r.decision_function):
            with pytest.raises(
                ValueError, match=rf"^the prediction for row 3 of X overflows {dtype}$"
            ):
                method(rows)
    broken = dataclasses.replace(gd.fit(X, y, epochs=1), coef=np.array([1.0, np.nan, 2.0]))
    with pytest.raises(ValueError, match=r"^coef\[1\] is nan: such a model predicts nothing"):
        broken.predict(X)


def test_other_names_for_a_prediction():
    r = gd.fit(TABLE, y, epochs=1)
    with pytest.raises(ValueError, match=r"the columns of X are \('depth', 'width', 'height'\)"):
        r.predict(Table(X, ["depth", "width", "height"]))
    assert np.array_equal(r.predict(Table(X, range(3))), r.predict(X))


def test_a_prediction_where_the_backend_is_missing(monkeypatch):
    r = gd.fit(X, y, epochs=1, backend="cpp")
    elsewhere = dataclasses.replace(r, backend="numpy")
    assert np.array_equal(elsewhere.predict(X), r.predict(X))


def test_the_table():
    r = gd.fit(TABLE, y, epochs=3, backend="numpy")
    head, ends, *rows = repr(r).splitlines()
    assert head == f"FitResult: squared_error by {r.optimizer}, numpy"
    assert ends.startswith("  3 epochs, 3 steps, ended by epochs; History(3 epochs, loss ")
    names, values = zip(*(row.split() for row in rows), strict=True)
    assert names == ("height", "width", "depth", "intercept")
    np.testing.assert_allclose(np.array(values, float), [*r.coef, r.intercept], rtol=1e-8)


def test_the_table_of_many_features():
    X = np.eye(100)
    rows = repr(gd.fit(X, X[:, 0], epochs=1)).splitlines()
    assert [row.split()[0] for row in rows[2:]] == [
        *["x0", "x1", "x2", "x3", "x4", "...", "x96", "x97", "x98", "x99"],
        "intercept",
    ]


def test_the_table_without_an_epoch():
    assert repr(gd.fit(X, y, epochs=0).history) == "History(0 epochs)"


def test_a_plot_on_given_axes(result, axes):
    assert result.plot(axes) is axes
    assert result.plot(ax=axes) is axes
    assert len(axes.figure.axes) == 1


def test_a_plot_on_its_own_axes(axes):
    r = gd.fit(X, y, validation=(X, y), epochs=9)
    ax = r.plot()
    assert isinstance(ax, mpl.axes.Axes)
    assert ax is not axes
    training, validation = ax.lines
    assert np.array_equal(training.get_ydata(), r.history.loss)
    assert np.array_equal(validation.get_ydata(), r.history.val_loss)
    assert np.array_equal(validation.get_xdata(), np.arange(1, 10))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "mean loss")
    ax.figure.canvas.draw()
