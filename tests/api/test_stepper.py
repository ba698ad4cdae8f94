"""The Stepper: the path of minimize, torch's formulas in plain Python, several arrays, schedules and errors."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gdfast as gd
from gdfast import optimizers, schedules

RATES = {"adadelta": 1.0}
MATRIX = np.ones((2, 2), "f").view(np.matrix)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def gradient(x):
    return x * (x * x - 1) + 0.1 * x[::-1]


@DTYPES
@pytest.mark.parametrize("name", optimizers.TABLE)
def test_the_path_is_that_of_minimize(name, dtype, backend):
    lr = RATES.get(name, 0.05)
    x0 = np.linspace(-1.2, 1.1, 11).astype(dtype)
    r = gd.minimize(
        lambda x: ((x * x - 1) ** 2 / 4 + 0.05 * x * x[::-1]).sum(),
        x0,
        jac=gradient,
        optimizer=name,
        lr=lr,
        maxiter=70,
    )
    w, path = x0.copy(), [x0]
    stepper = gd.Stepper(name, w, lr=lr, backend=backend)
    for _ in range(70):
        g = gradient(w)
        given = g.copy()
        assert stepper.step(g) is None
        assert np.array_equal(g, given)  # is left as it was
        path.append(w.copy())
    assert stepper.params is w
    assert (stepper.n_steps, stepper.lr) == (70, lr)
    assert np.array(path).tobytes() == r.path.tobytes()


@pytest.mark.parametrize("name", optimizers.TABLE)
def test_the_gradient_may_be_the_params_themselves(name, backend):
    a, b = np.ones((2, 9)) * np.arange(9) - 4
    steppers = [gd.Stepper(name, w, lr=0.01, backend=backend) for w in (a, b)]
    for _ in range(3):
        steppers[0].step(a)
        steppers[1].step(b.copy())
    assert a.tobytes() == b.tobytes()


def test_gradients_of_any_layout(backend):
    w, expected, grads = np.ones(4), np.ones(4), np.arange(4.0)
    unaligned = np.zeros(33, np.uint8)[1:].view(float)
    unaligned[:] = grads
    for layout in unaligned, grads.repeat(2)[::2], grads.astype(">f8"), grads.astype(int):
        gd.Stepper("sgd", w, lr=0.5, backend=backend).step(layout)
        gd.Stepper("sgd", expected, lr=0.5, backend=backend).step(grads)
        assert w.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", optimizers.TABLE)
def test_gradients_may_lie_in_the_params(name, backend):
    """In those of another array, or shifted by some: they count as they are before the step."""
    store = np.arange(12.0) - 4
    a, b = store[:6], store[6:]
    plain = [a.copy(), b.copy()]
    overlapping = gd.Stepper(name, [a, b], lr=0.01, backend=backend)
    apart = gd.Stepper(name, plain, lr=0.01, backend=backend)
    for shift in (6, 1, 5):
        grads = [store[shift : shift + 6], store[5 - shift % 5 :][:6]]
        given = [g.copy() for g in grads]
        overlapping.step(grads)
        apart.step(given)
    assert store.tobytes() == np.concatenate(plain).tobytes()


@given(
    st.floats(0.01, 1),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 0.1]),
    st.booleans(),
    st.lists(st.floats(-10, 10), min_size=1, max_size=9),
)
def test_sgd_is_torchs_formula_in_plain_python(lr, momentum, dampening, decay, nesterov, grads):
    """As in the documentation of torch.optim.SGD."""
    nesterov = nesterov and momentum > 0 and dampening == 0
    record = gd.SGD(lr, momentum, dampening, decay, nesterov)
    w = np.array([1.5])
    stepper = gd.Stepper(record, w)
    x, b = 1.5, None
    for grad in grads:
        stepper.step([grad])
        g = grad + decay * x if decay else grad
        if momentum:
            b = g if b is None else momentum * b + (1 - dampening) * g
        d = g if not momentum else g + momentum * b if nesterov else b
        x = x - lr * d
        assert w[0] == x


@DTYPES
@pytest.mark.parametrize("name", optimizers.TABLE)
def test_several_arrays_are_as_each_on_its_own(name, dtype, backend):
    random = np.random.default_rng(0)
    shapes = [(), (1,), (3, 4), (2, 1, 5), (17,)]
    together = [np.array(random.standard_normal(shape), dtype) for shape in shapes]
    alone = [w.copy() for w in together]
    stepper = gd.Stepper(name, together, lr=0.05, backend=backend)
    assert stepper.params is together
    each = [gd.Stepper(name, w, lr=0.05, backend=backend) for w in alone]
    for _ in range(5):
        grads = [random.standard_normal(shape) for shape in shapes]
        stepper.step(tuple(grads))
        for one, grad in zip(each, grads, strict=True):
            one.step(np.asfortranarray(grad).tolist())
    assert [w.tobytes() for w in together] == [w.tobytes() for w in alone]
    assert [w.shape for w in together] == shapes


# Copies


@pytest.mark.parametrize("kind", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
@pytest.mark.parametrize("record", [gd.Adam(), gd.SGD(schedules.ReduceOnPlateau(0.1, patience=0))])
@pytest.mark.parametrize("several", [False, True], ids=["array", "list"])
def test_a_copy_goes_on_by_itself(kind, record, several, backend):
    w = np.linspace(-1, 1, 7)
    stepper = gd.Stepper(record, [w] if several else w, backend=backend)

    def go_on(stepper, steps=5):
        params = stepper.params[0] if several else stepper.params
        for k in range(steps):
            g = gradient(params)
            stepper.step([g] if several else g)
            if isinstance(record.lr, schedules.ClosedLoop):
                stepper.heed(float(k))
        return params

    go_on(stepper)
    other = kind(stepper)
    middle = w.copy()
    theirs = go_on(other)
    assert not np.shares_memory(theirs, w)
    assert w.tolist() == middle.tolist() != theirs.tolist()
    assert go_on(stepper).tobytes() == theirs.tobytes()
    assert (other.n_steps, other.lr) == (stepper.n_steps, stepper.lr)


def test_a_pickle_asks_for_its_backend(monkeypatch):
    kept = pickle.dumps(gd.Stepper("sgd", np.ones(2), backend="numpy"))
    monkeypatch.setenv("GDFAST_BACKEND", "cpp")
    assert pickle.loads(kept)._engine.NAME == "numpy"


def test_the_params_cannot_be_replaced():
    stepper = gd.Stepper("sgd", np.ones(2))
    with pytest.raises(AttributeError):
        stepper.params = np.zeros(2)


# Schedules


def rates_applied(schedule, steps_per_epoch, count, optimizer="sgd"):
    """What each step takes from w, at gradients of 1, and what `lr` was before it."""
    w, applied, told = np.zeros(1), [], []
    stepper = gd.Stepper(optimizer, w, lr=schedule, steps_per_epoch=steps_per_epoch)
    for _ in range(count):
        told.append(stepper.lr)
        w[0] = 0
        stepper.step([1.0])
        applied.append(-w[0])
    return applied, told


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 64, 100])
@pytest.mark.parametrize("per", ["epoch", "step"])
@pytest.mark.parametrize(
    "schedule",
    [
        lambda per: schedules.Constant(0.5, per=per),
        lambda per: schedules.StepDecay(1.0, every=2, factor=0.5, per=per),
        lambda per: schedules.InverseScaling(1.0, per=per),
        lambda per: schedules.Warmup(schedules.Exponential(1.0, gamma=0.99, per=per), length=5),
    ],
    ids=["Constant", "StepDecay", "InverseScaling", "Warmup"],
)
def test_epochs_are_counted_in_steps(schedule, per, steps_per_epoch):
    schedule = schedule(per)
    t = np.arange(250)
    expected = schedule.rates(t if per == "step" else t // steps_per_epoch)
    applied, _ = rates_applied(schedule, steps_per_epoch, 250)
    assert applied == expected.tolist()


@pytest.mark.parametrize(
    "per",
    ["epoch", pytest.param("step")],
)
def test_lr_is_the_rate_of_the_epoch(per):
    applied, told = rates_applied(schedules.InverseScaling(1.0, per=per), 10, 30)
    assert told[::10] == applied[::10]


@pytest.mark.parametrize("name", ["adam", "nadam", "asgd"])
def test_numbers_that_change_with_each_step_do_so_beside_a_schedule(name):
    """Alike whether the steps are looked up 64 at a time, or an epoch."""
    paths = []
    for steps_per_epoch in (1, 7, 5000):
        w = np.ones(3)
        stepper = gd.Stepper(name, w, lr=0.01, steps_per_epoch=steps_per_epoch)
        for _ in range(200):
            stepper.step(gradient(w))
        paths.append(w.tobytes())
    assert len(set(paths)) == 1


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.ReduceOnPlateau(1.0, factor=0.5, patience=1),
        schedules.Adaptive(1.0, patience=2, factor=2.0),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
@pytest.mark.parametrize("steps_per_epoch", [1, 4])
def test_heed(schedule, steps_per_epoch, backend):
    w = np.zeros(2)
    stepper = gd.Stepper("sgd", w, lr=schedule, steps_per_epoch=steps_per_epoch, backend=backend)
    state, x = schedule.start(), 0.0
    for loss in (3, 2, 2, 2, 2, 1, np.float32(1), 1, 1):
        for _ in range(steps_per_epoch):
            assert stepper.lr == state.rate
            stepper.step([1, 1])
            x -= state.rate
            assert w.tolist() == [x, x]
        stepper.heed(loss)
        state = schedule.heed(state, loss)
    assert state.rate < 0.5


def test_heed_within_an_epoch():
    """Adam's corrections go on with the step."""
    a, b = np.ones((2, 3))
    heeding = gd.Stepper("adam", a, lr=schedules.ReduceOnPlateau(0.1), steps_per_epoch=7)
    constant = gd.Stepper("adam", b, lr=0.1, steps_per_epoch=7)
    for k in range(30):
        heeding.step(gradient(a))
        constant.step(gradient(b))
        if k % 3 == 0:
            heeding.heed(-k)
        assert a.tolist() == b.tolist()


def test_heed_without_a_need():
    with pytest.raises(ValueError, match="the schedule does not depend on the loss"):
        gd.Stepper("sgd", np.ones(1)).heed(1.0)


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_heed_of_a_loss_that_is_not_finite(loss):
    stepper = gd.Stepper("sgd", np.ones(1), lr=schedules.ReduceOnPlateau(1.0))
    with pytest.raises(ValueError, match="loss"):
        stepper.heed(loss)


# Errors


class Tensor:
    """An array that refuses NumPy, as torch's with a gradient do."""

    def detach(self):
        return np.ones(2)

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")


def test_a_gradient_that_is_no_array():
    stepper = gd.Stepper("sgd", np.ones(2))
    with pytest.raises(
        TypeError, match=r"^grad is a .*Tensor, of which NumPy makes no array: Can't"
    ):
        stepper.step(Tensor())
    assert stepper.n_steps == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"params": np.ones(2, int)}, TypeError, "params must be an array of float32 or float64"),
        ({"params": np.ones(2, complex)}, TypeError, "not complex128"),
        ({"params": [1.0, 2.0]}, TypeError, r"params\[0\] must be an array.*not float"),
        ({"params": {"w": np.ones(2)}}, TypeError, "not dict"),
        ({"params": None}, TypeError, "not NoneType"),
        ({"params": np.ma.ones(2)}, TypeError, r"params is a MaskedArray: pass a plain array"),
        (
            {"params": [np.ones(2, "f"), MATRIX]},
            TypeError,
            r"params\[1\] is a matrix: pass a plain",
        ),
        (
            {"params": [pd.Series([1.0])]},
            TypeError,
            r"params\[0\] is a pandas.*Series, .*numpy\.array\(params",
        ),
        (
            {"params": Tensor()},
            TypeError,
            r"params is a .*Tensor, .* pass params\.detach\(\)\.numpy\(\)",
        ),
        ({"params": []}, ValueError, "params is empty"),
        ({"learning_rate": 0.1}, TypeError, "argument 'learning_rate': in gdfast it is lr"),
        ({"params": [np.ones(2), np.ones(2, "f")]}, ValueError, "all float32 or all float64"),
        ({"params": np.ones((3, 3))[:, 1]}, ValueError, "params must be C-contiguous"),
        ({"params": np.ones((3, 3)).T[:2]}, ValueError, "params must be C-contiguous"),
        ({"params": [np.ones(2), np.ones((3, 2), order="F")]}, ValueError, r"params\[1\] must be"),
        ({"params": np.broadcast_to(1.0, 1)}, ValueError, "writeable"),
        ({"params": np.ones((0, 3))}, ValueError, "params is empty"),
        ({"params": np.array([[0, 1], [np.nan, 1]])}, ValueError, r"params\[1, 0\] is nan: start"),
        ({"lr": "auto"}, ValueError, "pass a number or a schedule"),
        ({"optimizer": gd.SGD(lr="auto")}, ValueError, "pass a number or a schedule"),
        ({"lr": -1}, ValueError, "lr=-1 must be"),
        ({"params": np.ones(2, "f"), "lr": 1e-50}, ValueError, "lr=1e-50 is 0.0 in float32"),
        ({"optimizer": "adan"}, ValueError, "did you mean 'adam'"),
        ({"optimizer": gd.Adam}, TypeError, "a record, not the class Adam"),
        ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch=0 must be at least 1"),
        ({"steps_per_epoch": 1.0}, TypeError, "steps_per_epoch must be an integer"),
        ({"backend": "cuda"}, ValueError, "unknown backend 'cuda'"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        gd.Stepper(**{"optimizer": "sgd", "params": np.ones(2)} | arguments)


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ([np.ones((2, 3))], "grad has 1 arrays, params has 2"),
        ([np.ones((2, 3)), np.ones(2), 1], "grad has 3 arrays"),
        ([np.ones((2, 3)), np.ones(3)], r"grad\[1\] has shape \(3,\)"),
        ([np.ones((2, 2)), np.ones(2)], r"grad\[0\] has shape \(2, 2\)"),
        ([np.ones((3, 2)), np.ones(2)], r"grad\[0\] has shape"),
        ([np.ones(6), np.ones(2)], r"grad\[0\] has shape"),
        ([np.ones((2, 3)), None], r"grad\[1\] has dtype object"),
        ([np.ones((2, 3)), [1j, 1]], "dtype complex128"),
        ([np.ones((2, 3)), ["1", "2"]], "dtype <U1"),
        ([np.ones((2, 3)), np.ma.masked_equal([1, 2], 2)], r"grad\[1\] is a masked array"),
        ([np.ones((2, 3)), [1, np.nan]], r"grad\[1\]\[1\] is nan: the step was not made"),
        ([np.ones((2, 3)), [-np.inf, 1]], r"grad\[1\]\[0\] is -inf"),
        ([np.array([[0, 0, 0], [0, np.nan, 0]]), np.ones(2)], r"grad\[0\]\[1, 1\] is nan"),
    ],
)
def test_a_wrong_gradient_leaves_all_as_it_was(grads, message, backend):
    params = [np.ones((2, 3)), np.ones(2)]
    fresh = [w.copy() for w in params]
    stepper = gd.Stepper("adam", params, backend=backend)
    with pytest.raises((ValueError, TypeError), match=message):
        stepper.step(grads)
    assert stepper.n_steps == 0
    assert [w.tolist() for w in params] == [w.tolist() for w in fresh]
    good = [np.full((2, 3), 2.0), [1, 3]]
    stepper.step(good)
    gd.Stepper("adam", fresh, backend=backend).step(good)
    assert [w.tobytes() for w in params] == [w.tobytes() for w in fresh]


def test_a_gradient_that_float32_does_not_hold():
    with pytest.raises(ValueError, match=r"grad\[1\] is .*: the step was not made"):
        gd.Stepper("sgd", np.ones(2, "f")).step([1, 1e300])


SQUARING = ["adagrad", "rmsprop", "adadelta", "adam", "adamw", "nadam", "radam"]


@pytest.mark.parametrize("several", [False, True], ids=["array", "list"])
@pytest.mark.parametrize("name", SQUARING)
@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e30), ("float64", 1e200)])
def test_squares_that_overflow_are_not_silent(name, dtype, large, several, backend):
    """The weights would stay where they are ever after."""
    w = np.ones(3, dtype)
    stepper = gd.Stepper(name, [np.ones(2, dtype), w] if several else w, backend=backend)
    stepper.step([[1, 1], [1, 1, 1]] if several else [1, 1, 1])
    large = [1, large, 1]
    of = r"params\[1\]" if several else "params"
    message = (
        f"^step 2 made {of}, or its states, not finite: gradients so large overflow {dtype} in the states of "
        f"{type(optimizers.find(name)).__name__},.*divide the function and its gradient by a constant, or clip"
    )
    with pytest.raises(FloatingPointError, match=message):
        stepper.step([[1, 1], large] if several else large)
    with pytest.raises(FloatingPointError, match="step 3"):
        stepper.step([[1, 1], [1, 1, 1]] if several else [1, 1, 1])


@DTYPES
def test_steps_to_infinity_are_not_silent(dtype, backend):
    stepper = gd.Stepper(gd.SGD(lr=1e30), np.ones(2, dtype), backend=backend)
    stepper.step([0, 1])
    with pytest.raises(FloatingPointError, match="try a smaller lr, or clip the gradient"):
        stepper.step([0, np.finfo(dtype).max])


@pytest.mark.parametrize("cls", [gd.Adagrad, gd.RMSprop, gd.Adam, gd.AdamW, gd.NAdam])
def test_an_eps_of_0_is_named(cls, backend):
    stepper = gd.Stepper(cls(eps=0.0), np.ones(2), backend=backend)
    message = (
        f"with eps=0 {cls.__name__} divides by 0 .*: pass a positive eps, such as {cls().eps:g}$"
    )
    with pytest.raises(FloatingPointError, match=message):
        stepper.step([1, 0])


@pytest.mark.parametrize("grad", [1.0, (g for g in [np.ones(2)])], ids=["number", "generator"])
def test_what_is_no_list_of_gradients(grad):
    with pytest.raises((ValueError, TypeError), match="grad "):
        gd.Stepper("sgd", [np.ones(2)]).step(grad)


def test_the_same_array_twice():
    w = np.ones(2)
    with pytest.raises(ValueError, match="params"):
        gd.Stepper("sgd", [w, w])


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [(gd.Adam(eps=1e-60), "eps"), (gd.SGD(weight_decay=1e60), "weight_decay")],
    ids=["eps", "weight_decay"],
)
def test_numbers_of_an_optimizer_that_float32_does_not_hold(optimizer, name):
    with pytest.raises(ValueError, match=f"^{name}="):
        gd.Stepper(optimizer, np.ones(2, "f"))
