"""What torch.optim and optax make of small problems; run as a script, it writes optimizers.json beside it.

`cases` lists the fits, `peer` computes one by torch (Lion: by optax). Most have 100 steps. Their rates and options are
such that the answer can tell: `check` holds every case to that before anything is written.

Needs numpy alone to be imported; torch 2.13 and optax to compute.
"""

import inspect
import json
from itertools import product
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_suffix(".json")

# Relative to each parameter's own size. float64: hundreds of steps, each rounded by a few 1e-16, and a margin.
# float32: a hundred with roundings of 6e-8, against the results in float64.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}

ROWS = 50
LIVE = [0, 1, 2, 3, 4, 6]  # the weights of all columns but that of zeros, and the intercept

# The order of the rows that gdfast draws with this seed, for two epochs.
SEED = 7
ORDER = """
42 23 6 35 21 12 49 17 24 43 22 18 48 8 38 31 28 40 1 32 33 39 41 29 2
45 4 13 7 0 10 15 26 46 16 37 5 25 44 36 27 9 34 19 30 20 11 3 47 14
44 24 33 17 40 3 39 26 37 4 28 45 27 23 21 31 12 41 6 20 5 42 38 30 36
25 7 14 35 29 34 2 43 1 22 49 15 8 13 0 10 48 16 9 18 47 32 11 46 19
"""

# Every value of an option, torch's default first. Of their combinations `configurations` takes COUNT.
COUNT = 14
BETAS = [(0.9, 0.999), (0.8, 0.95), (0.0, 0.9)]
NEVER_RECTIFIED = (0.9, 0.6)  # r_inf = 4
GRID = {
    "SGD": {
        "lr": [1e-3, 0.02, 0.04],
        "momentum": [0.0, 0.5, 0.9],
        "dampening": [0.0, 0.3, -0.5],
        "weight_decay": [0.0, 0.01, 0.1],
        "nesterov": [False, True],
    },
    "Adagrad": {
        "lr": [0.01, 0.1, 0.5],
        "lr_decay": [0.0, 0.01, 0.5],
        "weight_decay": [0.0, 0.01, 0.3],
        "initial_accumulator_value": [0.0, 0.1, 2.0],
        "eps": [1e-10, 1e-3, 0.5],
    },
    "RMSprop": {
        "lr": [0.01, 0.002, 0.03],
        "alpha": [0.99, 0.9, 0.95],
        "eps": [1e-8, 1e-3, 0.5],
        "weight_decay": [0.0, 0.01, 0.3],
        "momentum": [0.0, 0.5, 0.9],
        "centered": [False, True],
    },
    "Adadelta": {
        "lr": [1.0, 0.3, 1.5],
        "rho": [0.9, 0.99, 0.5],
        "eps": [1e-6, 1e-4, 1e-3],
        "weight_decay": [0.0, 0.01, 0.3],
    },
    "Adam": {
        "lr": [1e-3, 0.02, 0.1],
        "betas": BETAS,
        "eps": [1e-8, 1e-3, 0.5],
        "weight_decay": [0.0, 0.01, 0.3],
        "amsgrad": [False, True],
    },
    "AdamW": {
        "lr": [1e-3, 0.02, 0.1],
        "betas": BETAS,
        "eps": [1e-8, 1e-3, 0.5],
        "weight_decay": [0.01, 0.0, 0.3],
        "amsgrad": [False, True],
    },
    "Adamax": {
        "lr": [2e-3, 0.02, 0.1],
        "betas": BETAS,
        "eps": [1e-8, 1e-3, 0.5],
        "weight_decay": [0.0, 0.01, 0.3],
    },
    "NAdam": {
        "lr": [2e-3, 0.02, 0.1],
        "betas": BETAS,
        "eps": [1e-8, 1e-3, 0.5],
        "weight_decay": [0.0, 0.01, 0.3],
        "momentum_decay": [4e-3, 0.0, 0.5],
        "decoupled_weight_decay": [False, True],
    },
    "RAdam": {
        "lr": [1e-3, 0.01, 0.05],
        "betas": [*BETAS, NEVER_RECTIFIED],
        "eps": [1e-8, 1e-3, 0.5],
        "weight_decay": [0.0, 0.01, 0.3],
        "decoupled_weight_decay": [False, True],
    },
    "Rprop": {
        "lr": [0.01, 0.1, 0.5],
        "etas": [(0.5, 1.2), (0.3, 1.1), (0.7, 1.5)],
        "step_sizes": [(1e-6, 50.0), (1e-3, 0.05), (0.02, 50.0)],
    },
    "ASGD": {
        "lr": [0.01, 0.03, 0.002],
        "lambd": [1e-4, 0.1, 0.0],
        "alpha": [0.75, 0.5, 1.0],
        "t0": [1e6, 0.0, 10.0, 90.0],
        "weight_decay": [0.0, 0.01, 0.3],
    },
    "Lion": {
        "lr": [1e-4, 0.01, 0.05],
        "betas": [(0.9, 0.99), (0.5, 0.9), (0.95, 0.5)],
        "weight_decay": [0.0, 0.01, 0.3],
    },
}

# For the per-sample, the full-batch and the float32 fit.
TYPICAL = {
    "SGD": {"lr": 2.0**-7, "momentum": 0.5, "weight_decay": 0.01, "nesterov": True},
    "Adagrad": {"lr": 0.25, "lr_decay": 0.01, "weight_decay": 0.01, "initial_accumulator_value": 1},
    "RMSprop": {"lr": 0.01, "weight_decay": 0.01, "momentum": 0.5, "centered": True},
    "Adadelta": {"lr": 2.0, "eps": 1e-3, "weight_decay": 0.01},
    "Adam": {"lr": 0.05, "weight_decay": 0.01, "amsgrad": True},
    "AdamW": {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True},
    "Adamax": {"lr": 0.05, "weight_decay": 0.01},
    "NAdam": {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True},
    "RAdam": {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True},
    "Rprop": {"lr": 0.05},
    "ASGD": {"lr": 2.0**-7, "lambd": 0.1, "weight_decay": 0.01},
    "Lion": {"lr": 0.01, "weight_decay": 0.1},
}


def data(dtype="float64"):
    """X (50, 6), y (50,), and the weights to start from, the intercept last: all multiples of 1/8, exact in float32.

    The columns differ in scale. The last is of zeros: its weight moves by its decay alone, and starts so far out that
    it stays away from 0.
    """
    i, j = np.arange(ROWS)[:, None], np.arange(6)
    X = ((i * i * (j + 2) + i * (3 * j + 1)) % 17 - 8) / 4 * [1, 0.5, 1, 0.5, 0.5, 0]
    y = X @ [1.5, -2.0, 0.5, 3.0, 1.0, 0.0] + 2.5 + (np.arange(ROWS) ** 3 % 7 - 3) / 4
    start = np.array([0.5, -0.25, 1.0, 2.0, 0.25, 12.0, 0.75])
    return X.astype(dtype), y.astype(dtype), start.astype(dtype)


def acts(name, chosen):
    """Whether torch accepts these options, and each that is not the default has something to act on."""
    changed = {option for option, values in GRID[name].items() if chosen[option] != values[0]}
    return not (
        ("nesterov" in changed and (chosen["momentum"] == 0 or chosen["dampening"] != 0))
        or ("dampening" in changed and chosen["momentum"] == 0)
        or ("decoupled_weight_decay" in changed and chosen["weight_decay"] == 0)
        or ("alpha" in changed and chosen.get("lambd") == 0)
        or ("eps" in changed and chosen.get("betas") == NEVER_RECTIFIED)
        or ("momentum_decay" in changed and chosen["betas"][0] == 0)
        or (name == "Lion" and "betas" in changed and "lr" not in changed)  # too slow to turn
    )


def configurations(name):
    """COUNT combinations of an optimizer's options, spread over all those in which every option acts."""
    grid = GRID[name]
    combinations = (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))
    acting = [chosen for chosen in combinations if acts(name, chosen)]
    irrational = 3**0.5  # its multiples, mod 1, spread evenly
    return [acting[int(k * irrational % 1 * len(acting))] for k in range(COUNT)]


def cases():
    """The fits: the optimizer's name and arguments, `fit`'s options, and the dtype of the data.

    Of each optimizer: its defaults, its configurations, and the typical one in full batch, in float32, per sample and
    for 300 steps. Mini-batches have 10 rows, or 13 with 11 in the last of an epoch.
    """
    found = []
    for name in GRID:
        whole = {"batch_size": None, "epochs": 100}
        even = {"batch_size": 10, "epochs": 20, "shuffle": False}
        uneven = {"batch_size": 13, "epochs": 25, "shuffle": False}
        single = {"batch_size": 1, "epochs": 2, "shuffle": True, "seed": SEED}
        if name == "Rprop":
            even = uneven = whole
        average = {"average": True} if name == "ASGD" else {}

        def add(arguments, fit, dtype="float64", name=name):
            found.append({"optimizer": name, "arguments": arguments, "fit": fit, "dtype": dtype})

        add({}, even)
        for k, arguments in enumerate(configurations(name)):
            add(arguments, (uneven if k % 2 else even) | average)
        add(TYPICAL[name], whole)
        add(TYPICAL[name], even, "float32")
        if name != "Rprop":
            add(TYPICAL[name], single)
            add(TYPICAL[name], even | {"epochs": 60})
    return found


def batches(fit):
    """The rows of each step."""
    if fit.get("shuffle"):
        assert fit["seed"] == SEED
        rows = np.array(ORDER.split(), int).reshape(fit["epochs"], ROWS)
    else:
        rows = np.tile(np.arange(ROWS), (fit["epochs"], 1))
    size = fit["batch_size"] or ROWS
    return [batch for epoch in rows for batch in np.split(epoch, range(size, ROWS, size))]


def peer(case, dtype="float64", nudged=False):
    """The final weights, the intercept last. Nudged: from starting weights one ulp off, with each batch reversed."""
    X, y, start = data(dtype)
    steps = batches(case["fit"])
    if nudged:
        start = np.nextafter(start, np.inf, dtype=start.dtype)
        steps = [rows[::-1].copy() for rows in steps]
    compute = _by_optax if case["optimizer"] == "Lion" else _by_torch
    return compute(case, X, y, start, steps)


def _by_torch(case, X, y, start, steps):
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, X.dtype.name))  # NAdam and ASGD keep scalars in it
    try:
        X, y = torch.from_numpy(X), torch.from_numpy(y)
        coef = torch.from_numpy(start[:-1].copy()).requires_grad_()
        intercept = torch.from_numpy(start[-1:].copy()).requires_grad_()
        kind = getattr(torch.optim, case["optimizer"])
        optimizer = kind([coef, intercept], **case["arguments"], foreach=False)
        for rows in map(torch.from_numpy, steps):
            optimizer.zero_grad()
            ((X[rows] @ coef + intercept - y[rows]) ** 2).mean().backward()
            optimizer.step()
        final = [coef, intercept]
        if case["fit"].get("average"):
            final = [optimizer.state[parameter]["ax"] for parameter in final]
        return torch.cat(final).detach().numpy()
    finally:
        torch.set_default_dtype(before)


def _by_optax(case, X, y, start, steps):
    import jax
    import optax

    # gdfast's defaults where optax has another or none
    arguments = {"lr": 1e-4, "weight_decay": 0.0} | case["arguments"]
    lr, betas = arguments.pop("lr"), arguments.pop("betas", None)
    if betas is not None:
        arguments["b1"], arguments["b2"] = betas
    with jax.enable_x64(True):
        optimizer = optax.lion(lr, **arguments)

        def loss(params, X, y):
            coef, intercept = params
            return ((X @ coef + intercept - y) ** 2).mean()

        @jax.jit
        def step(params, state, X, y):
            updates, state = optimizer.update(jax.grad(loss)(params, X, y), state, params)
            return optax.apply_updates(params, updates), state

        params = jax.numpy.asarray(start[:-1]), jax.numpy.asarray(start[-1])
        state = optimizer.init(params)
        for rows in steps:
            params, state = step(params, state, X[rows], y[rows])
        return np.append(*map(np.asarray, params))


def signatures():
    """The arguments of torch's optimizers that gdfast has too, in order, with their defaults."""
    import torch

    found = {}
    for name in [name for name in GRID if name != "Lion"]:
        parameters = inspect.signature(getattr(torch.optim, name)).parameters
        found[name] = [(key, each.default) for key, each in parameters.items() if key in GRID[name]]
    return found


def difference(a, b):
    """The largest difference, relative to each parameter's own size in b."""
    return float(np.max(np.abs(a - b) / np.abs(b)))


def others(case):
    """The case with each of its options in turn at another value, where that can act."""
    name = case["optimizer"]
    chosen = {option: values[0] for option, values in GRID[name].items()} | case["arguments"]
    for option, values in GRID[name].items():
        if option == "t0" and not case["fit"].get("average"):
            continue
        for value in values:
            changed = chosen | {option: value}
            if value != chosen[option] and acts(name, changed):
                yield option, case | {"arguments": changed}
                break


def check(case, final):
    """What makes the relative difference of every single parameter a fair test, and a sharp one.

    No parameter is small, and rounding is not amplified: a nudge changes none by more than a tenth of the tolerance,
    nor does torch's own float32 spend more than half of the other. Another value of an option changes some parameter
    by far more than the tolerance.
    """
    tolerance = TOLERANCE["float64"]
    assert np.isfinite(final).all(), case
    assert np.abs(final).min() > 0.02, (case, final)
    assert difference(peer(case, nudged=True), final) < tolerance / 10, case
    if case["dtype"] == "float32":
        assert difference(peer(case, "float32"), final) < TOLERANCE["float32"] / 2, case
    for option, other in others(case):
        changed = difference(peer(other)[LIVE], final[LIVE])
        assert changed > 100 * tolerance, (case, option, changed)


def main():
    found = []
    for case in cases():
        final = peer(case)
        check(case, final)
        found.append(case | {"coef": final[:-1].tolist(), "intercept": float(final[-1])})
    for name, grid in GRID.items():
        for option, values in grid.items():
            tried = [case["arguments"].get(option) for case in found if case["optimizer"] == name]
            assert all(value in tried for value in values), (name, option)
    lines = ",\n".join(map(json.dumps, found))
    text = f'{{"signatures": {json.dumps(signatures())},\n"cases": [\n{lines}\n]}}\n'
    PATH.write_text(text)
    print(len(found), "cases,", len(text), "bytes")


if __name__ == "__main__":
    main()
