"""Threads: how many there are, and that neither forks nor the end of the process disturb them."""

import os
import textwrap
from pathlib import Path

import joblib
import numpy as np
import pytest

import gdfast as gd
from gdfast import _backends
from gdfast._backends.problem import useful_threads
from gdfast._backends.threads import in_threads, quota

TASKS = Path("/proc/self/task")  # this process's threads, on Linux
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
lists_tasks = pytest.mark.skipif(
    not TASKS.is_dir(), reason="this system does not list the threads of a process"
)

# The beginning of the programs below: a fit that is worth several threads, and its digest on one.
START = """
import os, signal, threading, time, warnings
import numpy as np
import gdfast as gd

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forks of processes with threads
X = np.random.default_rng(0).standard_normal((9_000, 16))

def digest(threads, epochs=4):
    return gd.fit(X, X[:, 0], epochs=epochs, backend={backend!r}, threads=threads).digest

def tasks():
    return set(os.listdir("/proc/self/task"))

def fit_on():
    while True:
        assert digest(3) == expected

expected = digest(1)
"""


@pytest.fixture
def run(python, backend):
    """Run a program after START, and return what it printed."""

    def run(program, **environ):
        return python(START.format(backend=backend) + textwrap.dedent(program), **environ)

    return run


def test_the_same_bits_from_any_number(backend):
    X = np.random.default_rng(0).standard_normal((9_000, 16))
    for options in ({}, {"batch_size": 4608, "seed": 3}):
        digests = {
            gd.fit(X, X[:, :3], epochs=3, backend=backend, threads=threads, **options).digest
            for threads in range(1, 6)
        }
        assert len(digests) == 1


@lists_tasks
def test_threads_are_kept(run):
    """As many as were ever asked for, beside the caller."""
    said = run("""
        before = tasks()
        for threads in (1, 3, 3, 2, 4):
            assert digest(threads) == expected
            print(len(tasks() - before))
    """)
    assert said.split() == ["0", "2", "2", "2", "3"]


def test_fits_at_the_same_time(run):
    """Each has the bits of its own, whoever helps."""
    assert run("""
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(5) as pool:
            print({*pool.map(digest, [2, 3, 1, 5, 4] * 6)} == {expected})
    """)


@forks
def test_forks_while_others_fit(run):
    """A child fits with threads of its own, and so does the child of a child."""
    said = run("""
        assert digest(3) == expected  # compiled: a fork while numba compiles finds its lock held
        for _ in range(2):
            threading.Thread(target=fit_on, daemon=True).start()

        def child(work):
            process = os.fork()
            if process == 0:
                signal.alarm(60)
                os._exit(0 if work() else 1)
            return os.waitpid(process, 0)[1] == 0

        for _ in range(10):
            print(child(lambda: digest(3) == expected and child(lambda: digest(2) == expected)))
    """)
    assert said.split() == ["True"] * 10


@forks
def test_processes_after_a_fit(run):
    assert (
        run("""
        from multiprocessing import get_context
        assert digest(3) == expected
        with get_context("fork").Pool(2) as pool:
            print({*pool.map(digest, [1, 2, 3, 4], chunksize=1)} == {expected})
        """)
        == "True"
    )


def test_the_end_waits_for_no_fit(run):
    said = run("""
        for _ in range(2):
            threading.Thread(target=fit_on, daemon=True).start()
        time.sleep(0.1)
        print("over")
    """)
    assert said == "over"


def test_a_fit_outlives_the_main_thread(run):
    """Python starts no threads then: those there are do the work."""
    said = run("""
        def late():
            threading.main_thread().join()
            print(digest(3) == expected)
        threading.Thread(target=late).start()
    """)
    assert said == "True"


@lists_tasks
def test_the_system_gives_no_more_threads(run):
    said = run("""
        import re, resource
        used = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])
        stack = threading.stack_size(1 << 28) or 1 << 28
        resource.setrlimit(resource.RLIMIT_AS, ((used << 10) + (4 << 20),) * 2)
        before = tasks()
        print(digest(3) == expected, tasks() == before)
    """)
    assert said == "True True"


@lists_tasks
def test_memory_that_is_short_in_a_thread(python):
    """What a task throws reaches the caller, whichever thread it was in, and the threads go on."""
    said = python(
        START.format(backend="cpp")
        + textwrap.dedent("""
        import resource

        Y = np.ones((600, 20_000))
        digest(3)
        for megabytes in range(10, 34, 2):
            used = resource.getpagesize() * int(open("/proc/self/statm").read().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 10**6, resource.RLIM_INFINITY))
            try:
                gd.fit(Y[:, :1], Y, lr=0.1, epochs=1, backend="cpp", threads=3)
            except MemoryError as error:
                print(error)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert digest(3) == expected
    """)
    )
    assert said.splitlines().count("std::bad_alloc") > 3


@lists_tasks
def test_signals_are_for_the_others(python):
    """The C++ backend's threads take none but those of their own faults."""
    said = python(
        START.format(backend="cpp")
        + textwrap.dedent("""
        import re

        def blocked(task):
            status = open(f"/proc/self/task/{task}/status").read()
            mask = int(re.search(r"SigBlk:\\s+(\\w+)", status)[1], 16)
            looked_at = signal.SIGINT, signal.SIGTERM, signal.SIGPROF, signal.SIGSEGV
            return [s.name for s in looked_at if mask >> s - 1 & 1]

        before = tasks()
        digest(3)
        for task in tasks() - before:
            for _ in range(1_000):  # until it has begun: a thread is made with all signals blocked
                if "SIGSEGV" in blocked(task):
                    time.sleep(0.01)
            print(*blocked(task))
    """)
    )
    assert said.splitlines() == ["SIGINT SIGTERM SIGPROF"] * 2


def test_threads_keep_denormals(run, flushing_mode):
    """Those started while another library has numbers flushed to zero."""
    said = run(f"""
        from gdfast import _core
        from gdfast._numerics import float_mode
        X *= 2.0**-520
        standard = digest(1)
        _core.set_float_mode({flushing_mode})
        print(float_mode.denormals_kept(), digest(3) == standard)
    """)
    assert said == "False True"


def test_an_error_is_the_callers():
    def work(part):
        if part.start == 3:
            raise MemoryError("in part 3")

    parts = [slice(i, i + 1) for i in range(4)]
    for threads in (1, 2, 4):
        with pytest.raises(MemoryError, match="in part 3"):
            in_threads(work, parts, threads)


def test_nothing_is_kept_of_the_data(run):
    said = run("""
        import gc, weakref
        from gdfast._backends.threads import in_threads
        class Data: pass
        data, came = Data(), threading.Barrier(2)
        seen = weakref.ref(data)
        in_threads(lambda part, data=data: came.wait(60), [slice(0), slice(1)], 2)
        del data
        in_threads(lambda part: came.wait(60), [slice(0), slice(1)], 2)
        print(seen())
    """)
    assert said == "None"


def test_small_work_stays_on_one():
    assert useful_threads(4, 100, 10, 1) == 1
    assert useful_threads(4, 100_000, 10, 1) == 4
    assert useful_threads(4, 1000, 10, 1) == 1
    assert useful_threads(4, 1000, 10, 100) == 4


@pytest.fixture
def untold(monkeypatch):
    """Let no variable and no quota say how many threads there are."""
    for name in ("GDFAST_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_backends, "quota", lambda: None)


@pytest.fixture
def eight_processors(monkeypatch, untold):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)


def test_the_variable(monkeypatch, untold):
    at_hand = _backends.default_threads()
    assert 1 <= at_hand <= os.cpu_count()
    assert f"{at_hand} processors at hand" in gd.show_config()
    monkeypatch.setenv("GDFAST_THREADS", "")
    assert _backends.default_threads() == at_hand
    monkeypatch.setenv("GDFAST_THREADS", "7")
    assert _backends.default_threads() == 7
    assert "7 from the variable GDFAST_THREADS" in gd.show_config()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert _backends.default_threads() == 7


@pytest.mark.parametrize(
    ("told", "threads"),
    [("1", 1), ("3", 3), ("8", 8), ("9", 8), ("2,4", 2), (" 2 ", 2), ("0", 8), ("all", 8), ("", 8)],
)
def test_what_openmp_is_told_is_a_limit(monkeypatch, eight_processors, told, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert _backends.default_threads() == threads
    source = "processors at hand" if threads == 8 else "from the variable OMP_NUM_THREADS"
    assert f"{threads} {source}" in gd.show_config()


def test_the_workers_of_joblib_share_the_processors(untold):
    with joblib.parallel_config(backend="loky", n_jobs=2):
        told = joblib.Parallel()(joblib.delayed(_backends.default_threads)() for _ in range(2))
    assert set(told) == {max(1, joblib.cpu_count() // 2)}


# The files of a process in a container, and how many processors it may use.
CGROUPS = {
    "none": ({}, None),
    "version 2": ({"proc/self/cgroup": "0::/\n", "cpu.max": "200000 100000\n"}, 2),
    "a part": ({"proc/self/cgroup": "0::/\n", "cpu.max": "150000 100000\n"}, 2),
    "less than one": ({"proc/self/cgroup": "0::/\n", "cpu.max": "5000 100000\n"}, 1),
    "no limit": ({"proc/self/cgroup": "0::/\n", "cpu.max": "max 100000\n"}, None),
    "the tightest": (
        {
            "proc/self/cgroup": "0::/a/b/c\n",
            "cpu.max": "900000 100000\n",
            "a/cpu.max": "300000 100000\n",
            "a/b/cpu.max": "400000 100000\n",
            "a/b/c/cpu.max": "max 100000\n",
        },
        3,
    ),
    "a sibling's": ({"proc/self/cgroup": "0::/a\n", "b/cpu.max": "100000 100000\n"}, None),
    "the host's path": ({"proc/self/cgroup": "0::/x/y\n", "cpu.max": "100000 50000\n"}, 2),
    "beside": ({"proc/self/cgroup": "0::/../x\n", "cpu.max": "100000 25000\n"}, 4),
    "version 1": (
        {
            "proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/docker/f00\n1:name=systemd:/\n",
            "cpu/cpu.cfs_quota_us": "300000\n",
            "cpu/cpu.cfs_period_us": "100000\n",
        },
        3,
    ),
    "version 1, no limit": (
        {
            "proc/self/cgroup": "1:cpu:/a\n0::/\n",
            "cpu/a/cpu.cfs_quota_us": "-1\n",
            "cpu/a/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
}


@pytest.mark.parametrize("name", CGROUPS)
def test_the_quota_of_a_container(tmp_path, name):
    files, processors = CGROUPS[name]
    for path, text in files.items():
        file = tmp_path / path if path.startswith("proc") else tmp_path / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert quota(tmp_path) == processors


@pytest.mark.parametrize(("processors", "threads"), [(1, 1), (7, 7), (9, 8)])
def test_the_quota_is_a_limit(monkeypatch, eight_processors, processors, threads):
    monkeypatch.setattr(_backends, "quota", lambda: processors)
    assert _backends.default_threads() == threads
    source = "processors at hand" if threads == 8 else "by the quota of processor time"
    assert f"{threads} {source}" in gd.show_config()


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", " "])
def test_the_variable_must_be_a_number(monkeypatch, value):
    monkeypatch.setenv("GDFAST_THREADS", value)
    with pytest.raises(
        ValueError, match=f"GDFAST_THREADS must be a positive integer, not '{value}'"
    ):
        gd.fit([[1.0], [2.0]], [1.0, 2.0])
    gd.fit([[1.0], [2.0]], [1.0, 2.0], threads=1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no processes")
def test_the_processors_at_hand(python):
    said = python(
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from gdfast import _backends; print(_backends.default_threads())",
        GDFAST_THREADS="",
        OMP_NUM_THREADS="",
    )
    assert said == "1"
