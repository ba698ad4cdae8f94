"""The backends: all there, all alike, chosen aloud; and the heavy imports left for later."""

import errno
import hashlib
import importlib
import shutil
import sys
from pathlib import Path

import pytest

import gdfast as gd
from gdfast import _backends, losses, optimizers

PACKAGE = Path(gd.__file__).parent

TINY = {"X": [[1.0], [2.0], [4.0]], "y": [1.0, 3.0, 2.0], "batch_size": 2, "epochs": 3}
# Whether numba read what it compiled from a file.
CACHED = """
from gdfast._backends import numba
print(bool(numba._descend.stats.cache_hits))
"""


def tiny_fit(backend):
    """A program that prints the digest of a tiny fit."""
    return f"import gdfast as gd\nprint(gd.fit(**{TINY}, backend={backend!r}).digest)\n"


@pytest.fixture
def copied(tmp_path):
    """A folder that holds a copy of the package as it was built, and nothing that numba has cached."""
    folder = tmp_path / "copied"
    shutil.copytree(PACKAGE, folder / "gdfast", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(importlib.import_module("gdfast._core").__file__, folder / "gdfast")
    return folder


def test_it_is_available(backend):
    assert gd.backends()[backend] == "available"


def test_it_offers_what_a_backend_must(backend):
    module = importlib.import_module(_backends.TABLE[backend].module)
    assert backend == module.NAME
    for name in ("descend", "total", "mean_loss", "step", "minimize", "predict"):
        assert callable(getattr(module, name))


def test_it_runs_when_asked_for(backend, monkeypatch):
    assert gd.fit([[1.0]], [1.0], backend=backend).backend == backend
    monkeypatch.setenv("GDFAST_BACKEND", backend)
    assert gd.fit([[1.0]], [1.0]).backend == backend


def test_the_first_of_the_table_is_the_default(monkeypatch):
    monkeypatch.delenv("GDFAST_BACKEND", raising=False)
    assert gd.fit([[1.0]], [1.0]).backend == next(iter(_backends.TABLE))


def test_the_argument_wins_over_the_variable(backend, monkeypatch):
    monkeypatch.setenv("GDFAST_BACKEND", "fortran")
    assert gd.fit([[1.0]], [1.0], backend=backend).backend == backend
    with pytest.raises(ValueError, match=r"'fortran'.*GDFAST_BACKEND"):
        gd.fit([[1.0]], [1.0])


@pytest.mark.parametrize("table", [losses.TABLE, optimizers.TABLE], ids=["losses", "rules"])
def test_both_languages_have_the_same(table, request):
    listed = request.node.callspec.id
    compiled = set(getattr(importlib.import_module("gdfast._core"), listed)())
    records = [record() for record in table.values()]
    named = {r.name if listed == "losses" else r.rule.name for r in records}
    assert not named - compiled, "they are not in csrc/"
    assert not compiled - named, "they are not in gdfast/"


def test_the_import_is_light(python):
    heavy = ["dask", "matplotlib", "numba", "pandas", "scipy", "sklearn", "tqdm"]
    program = f"import sys, gdfast; print([m for m in {heavy} if m in sys.modules])"
    assert python(program) == "[]"


def hidden(*modules):
    """A program's beginning in which these modules are not there."""
    return "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in modules)


@pytest.mark.parametrize("name", [name for name, entry in _backends.TABLE.items() if entry.remedy])
def test_what_is_missing_is_said(name, python):
    entry = _backends.TABLE[name]
    program = f"""{hidden(entry.needs)}
import gdfast as gd
print(gd.backends()[{name!r}])
try:
    gd.fit([[1.0]], [1.0], backend={name!r})
except gd.BackendError as error:
    print(error)
"""
    said, error = python(program).splitlines()
    assert said == entry.remedy
    assert error == f"backend {name!r} is not available: {entry.remedy}"


def test_the_variable_is_named_where_its_backend_is_missing(python):
    program = f"""{hidden("numba")}
import gdfast as gd
try:
    gd.fit([[1.0]], [1.0])
except gd.BackendError as error:
    print(error)
"""
    assert "GDFAST_BACKEND" in python(program, GDFAST_BACKEND="numba")


@pytest.mark.parametrize("count", range(1, len(_backends.TABLE)))
def test_the_next_best_is_taken_with_one_warning(count, python):
    names = list(_backends.TABLE)
    program = f"""{hidden(*(_backends.TABLE[name].needs for name in names[:count]))}
import warnings
import gdfast as gd
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    results = [gd.fit([[1.0]], [1.0]) for _ in range(2)]
[warning] = caught
print(results[1].backend)
print(warning.category.__name__, warning.filename)
print(warning.message)
"""
    backend, place, message = python(program).splitlines()
    assert backend == names[count]
    assert place == "RuntimeWarning <string>"
    assert _backends.TABLE[names[0]].remedy in message


def test_what_is_there_but_broken_is_said(python, copied):
    (copied / "numba.py").write_text("raise ImportError('it needs another numpy')")
    said = python("import gdfast as gd; print(gd.backends()['numba'])", path=[copied])
    assert "cannot be used: it needs another numpy" in said


def test_numba_that_compiles_nothing_is_not_available(python):
    """As for coverage and debuggers; functions that it would have compiled are Python's."""
    said = python(
        """
import numba, gdfast as gd
print(gd.backends()["numba"])
try:
    gd.fit([[1.0]], [1.0], backend="numba")
except gd.BackendError as error:
    print(error)
f, g = numba.njit(lambda x: x[0] * x[0]), numba.njit(lambda x: 2 * x)
r = gd.minimize(f, [1.0], jac=g, lr=0.25, maxiter=3)
print(r.backend, *r.x)
""",
        NUMBA_DISABLE_JIT="1",
    ).splitlines()
    assert "NUMBA_DISABLE_JIT" in said[0]
    assert said[1] == f"backend 'numba' is not available: {said[0]}"
    assert said[2] == "cpp 0.125"


def test_a_folder_where_nothing_can_be_written(python, copied, backend):
    """Not even by the administrator: files stand where numba's folders would be."""
    package = copied / "gdfast"
    for folder in [package, *filter(Path.is_dir, package.rglob("*"))]:
        (folder / "__pycache__").write_text("")
    nowhere = str(copied / "gdfast" / "__pycache__" / "nowhere")
    homes = dict.fromkeys(("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME"), nowhere)
    before = sorted(copied.rglob("*"))
    got = python(tiny_fit(backend), path=[copied], NUMBA_CACHE_DIR=nowhere, **homes)
    assert got == gd.fit(**TINY, backend=backend).digest
    assert sorted(copied.rglob("*")) == before


@pytest.fixture
def numba_jit():
    pytest.importorskip("numba")
    return importlib.import_module("gdfast._backends.numba.jit")


@pytest.fixture
def compiled_again(numba_jit, tmp_path, monkeypatch):
    """A function that has its program compiled as by another process, and the folder of its cache."""
    (tmp_path / "of_a_test.py").write_text("def add(x, y):\n    return x + y\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delitem(sys.modules, "of_a_test", raising=False)
    program = importlib.import_module("of_a_test")

    def again():
        """Whether what was compiled was found, and whether it was written."""
        dispatcher = numba_jit.compiled(program.add)
        assert dispatcher(1.5, 2.0) == 3.5
        return bool(dispatcher.stats.cache_hits), bool(sum(dispatcher.stats.cache_misses.values()))

    return again, tmp_path / "__pycache__"


DAMAGE = {
    "emptied": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "too long": lambda data: data + b"\n",
    "a bit": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    "overwritten": lambda data: b"\0" * len(data),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_cache_of_numba(compiled_again, kind, damage):
    again, folder = compiled_again
    assert again() == (False, True)
    assert again() == (True, False)
    [file] = folder.glob(f"*.{kind}")
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    assert again() == (False, True)
    assert again() == (True, False)


def test_a_disk_without_room_for_numbas_cache(compiled_again, monkeypatch):
    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    again, folder = compiled_again
    monkeypatch.setattr("os.replace", no_room)
    assert again() == again() == (False, True)
    assert not [*folder.glob("*.nb?")]


def test_the_fingerprint_is_not_that_of_no_files(numba_jit):
    numba = importlib.import_module("numba")
    nothing = hashlib.sha256(numba.__version__.encode()).hexdigest()
    assert not nothing.startswith(numba_jit.fingerprint())


@pytest.mark.slow
def test_numba_compiles_again_after_an_edit(python, copied, tmp_path):
    """Numba's own cache looks at the file of the compiled function alone."""

    def fit(backend, also=""):
        program = tiny_fit(backend) + also
        said = python(program, path=[copied], NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        digest, *cached = said.split()
        return digest, cached

    first, cached = fit("numba", CACHED)
    assert cached == ["False"]
    assert fit("numba", CACHED) == (first, ["True"])
    formulas = copied / "gdfast" / "losses.py"
    text = formulas.read_text(encoding="utf-8")
    formulas.write_text(text.replace("return r * r\n", "return r * r + r * r\n"), encoding="utf-8")
    edited, cached = fit("numba", CACHED)
    assert cached == ["False"]
    assert edited != first
    assert edited == fit("numpy")[0]
