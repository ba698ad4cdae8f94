"""Random fits over combinations of options, each compared with the reference.

    python tests/random_fits.py --count 20000 --seed 1

tries that many combinations, and prints each fit that differs and what was compared; `nox -s random_fits` does so for
an installed copy. `--only 17` shows the fits of one combination, with all of their arguments.

`covering` draws the combinations: among a few hundred in a row each value of an option meets each value of each other
(pairwise testing), among thousands most triples meet. What a value leaves open, such as numbers and rows, is drawn for
each fit. Where rounding decides what becomes of a fit it is compared up to there, and the combination is tried again
with other numbers, up to TRIES times.
"""

import argparse
import itertools
import sys
import time
import traceback
from collections import Counter

import numpy as np
import scipy.sparse as sp

import gdfast as gd
from comparison import Heard, verdict
from reference_fit import LOSSES, SIGNS
from rounding import DTYPES

TRIES = 6

SGD_KINDS = ["sgd", "sgd momentum", "sgd nesterov", "sgd dampened", "asgd", "asgd early"]
VALUES = {
    "loss": list(LOSSES),
    "optimizer": [
        *SGD_KINDS,
        *("adagrad", "adagrad decay", "rmsprop", "rmsprop momentum", "rmsprop centered"),
        *("adadelta", "adam", "amsgrad", "adamw", "sparseadam", "adamax"),
        *("nadam", "nadam decoupled"),
        *("radam", "radam decoupled", "rprop", "lion"),
    ],
    "weight_decay": ["none", "some"],
    "lr": [
        *("number", "auto", "constant", "step_decay", "exponential", "cosine", "warmup"),
        *("inverse_scaling", "optimal", "adaptive", "reduce_on_plateau"),
    ],
    "batch": ["full", "all rows", "mini", "single"],
    "shuffle": [True, False],
    "dtype": DTYPES,
    "matrix": ["dense", "sparse"],
    "data": ["normal", "dyadic", "scales", "degenerate"],
    "rows": ["one", "few", "some", "many", "blocks"],
    "features": ["one", "few", "eight", "more"],
    "outputs": ["single", "column", "three"],
    "epochs": ["none", "one", "few", "many"],
    "l1": ["none", "small", "large"],
    "l2": ["none", "some"],
    "sample_weight": ["none", "some", "zeros"],
    "standardize": [False, True],
    "average": [False, True],
    "clip_norm": ["none", "tight", "loose"],
    "fit_intercept": [True, False],
    "start": ["zeros", "coef", "coef and intercept"],
    "validation": ["none", "pair", "part"],
    "patience": ["none", "some"],
    "tol": ["none", "small", "large"],
    "trace": [True, False],
    "callback": ["none", "hears", "stops"],
}


def classes(loss):
    """Whether its targets are classes."""
    return loss in SIGNS or loss == "softmax"


# Pairs of options whose values do not go together: (option, option, whether these values do).
RULES = [
    ("optimizer", "batch", lambda o, b: o != "rprop" or b in ("full", "all rows")),
    ("optimizer", "lr", lambda o, lr: o != "rprop" or lr == "number"),
    ("optimizer", "lr", lambda o, lr: lr != "auto" or o in SGD_KINDS),
    ("optimizer", "weight_decay", lambda o, wd: o not in ("rprop", "sparseadam") or wd == "none"),
    ("loss", "rows", lambda loss, rows: rows != "one" or not classes(loss)),
    ("loss", "outputs", lambda loss, outputs: loss != "softmax" or outputs != "three"),
    ("rows", "validation", lambda rows, part: rows != "one" or part != "part"),
    ("rows", "sample_weight", lambda rows, weights: rows != "one" or weights != "zeros"),
    # For the time that it takes.
    ("rows", "batch", lambda rows, batch: rows != "blocks" or batch != "single"),
    # Rows of weight 0 leave no trace by which to see whether they are held out.
    ("sample_weight", "validation", lambda weights, part: weights != "zeros" or part != "part"),
]


def fits_in(chosen, option, value):
    """Whether the value goes with what is chosen already."""
    return all(
        rule(*(value if name == option else chosen[name] for name in pair))
        for *pair, rule in RULES
        if option in pair and all(name == option or name in chosen for name in pair)
    )


def covering(random):
    """Combinations of values, option -> value, until all pairs that go together have been met; then all anew."""
    while True:
        unmet = {
            (a, x, b, y)
            for (a, xs), (b, ys) in itertools.combinations(VALUES.items(), 2)
            for x in xs
            for y in ys
            if fits_in({a: x}, b, y)
        }
        while unmet:
            pairs = sorted(unmet, key=repr)
            a, x, b, y = pairs[random.integers(len(pairs))]
            chosen = {a: x, b: y}
            for option in random.permutation([name for name in VALUES if name not in chosen]):
                values = [value for value in VALUES[option] if fits_in(chosen, option, value)]
                gains = [len(met(chosen, option, value) & unmet) for value in values]
                best = [v for v, gain in zip(values, gains, strict=True) if gain == max(gains)]
                chosen[option] = best[random.integers(len(best))]
            unmet -= {pair for option in VALUES for pair in met(chosen, option, chosen[option])}
            yield {option: chosen[option] for option in VALUES}


POSITION = {option: k for k, option in enumerate(VALUES)}


def met(chosen, option, value):
    """The pairs that this value makes with the others."""
    return {
        (option, value, other, known)
        if POSITION[option] < POSITION[other]
        else (other, known, option, value)
        for other, known in chosen.items()
        if other != option
    }


# --- From a combination to the arguments of a fit.

SIZES = {
    "rows": {"one": (1, 1), "few": (2, 6), "some": (7, 20), "many": (21, 40), "blocks": (257, 600)},
    "features": {"one": (1, 1), "few": (2, 7), "eight": (8, 8), "more": (9, 12)},
    "epochs": {"none": (0, 0), "one": (1, 1), "few": (2, 8), "many": (9, 40)},
}
MOST_STEPS = 160
FORMS = [sp.csr_array, sp.csc_array, sp.coo_array, sp.csr_matrix]


def drawn(c, random):
    """The arguments of a fit of this combination."""
    n, d, epochs = (
        int(random.integers(*SIZES[name][c[name]], endpoint=True))
        for name in ("rows", "features", "epochs")
    )
    few = classes(c["loss"]) and c["validation"] == "part"  # some of each class are to be left
    n = max(n, 4) if few else n
    X, y = data(c, n, d, random)
    least = 64 if c["rows"] == "blocks" else 2
    size = {
        "full": None,
        "all rows": n + int(random.integers(3)),
        "mini": int(random.integers(least, max(least + 1, n))),
        "single": 1,
    }[c["batch"]]
    steps = -(-n // (size or n))
    most = 4 if c["rows"] == "blocks" else max(1, MOST_STEPS // steps)
    weights = random.uniform(0.2, 3, n) if c["sample_weight"] != "none" else None
    if c["sample_weight"] == "zeros":
        weights[random.random(n) < 0.3] = 0
        weights[random.integers(n)] = 1
    low, high = {"none": (0, 0), "small": (1e-6, 1e-3), "large": (0.01, 1.0)}[c["tol"]]
    arguments = {
        "loss": loss(c["loss"], random),
        "batch_size": size,
        "epochs": min(epochs, most),
        "fit_intercept": c["fit_intercept"],
        "l1": {"none": 0.0, "small": 0.003, "large": 0.2}[c["l1"]] * random.uniform(0.5, 2),
        "l2": 0.0 if c["l2"] == "none" else 10 ** random.uniform(-3, -0.5),
        "sample_weight": weights,
        "standardize": c["standardize"],
        "shuffle": c["shuffle"],
        "seed": int(random.integers(2**64, dtype=np.uint64)),
        "tol": random.uniform(low, high),
        "patience": None if c["patience"] == "none" else int(random.integers(1, 4)),
        "average": c["average"],
        "trace": "coef" if c["trace"] else None,
    }
    if c["clip_norm"] != "none":
        low, high = {"tight": (-2, 0), "loose": (0, 3)}[c["clip_norm"]]
        arguments["clip_norm"] = 10 ** random.uniform(low, high)
    shape = y.shape[1:] if c["loss"] != "softmax" else np.unique(y).shape
    if c["start"] != "zeros":
        arguments["coef_init"] = random.normal(0, 0.3, (*shape, d))
    if c["start"] == "coef and intercept":
        arguments["intercept_init"] = random.normal(0, 0.3, shape)
    if c["validation"] == "pair":
        rows = random.integers(n, size=random.integers(1, 10))
        Xv = X[rows] + random.normal(0, 0.1, (len(rows), d))
        arguments["validation"] = Xv.astype(X.dtype), y[rows]
    elif c["validation"] == "part":
        most = (n - len(np.unique(y))) / n if few else 1.0
        arguments["validation"] = min(random.uniform(0.1, 0.6), most)
    if c["callback"] != "none":
        stops = int(random.integers(arguments["epochs"] + 1)) if c["callback"] == "stops" else None
        arguments["callback"] = Heard(stops)
    bounded = arguments["loss"].steepness is not None
    lr = rate(c["lr"], size_of_rates(c, X, random), arguments["epochs"], steps, random, bounded)
    if c["optimizer"] != "rprop" and random.random() < 0.3:
        arguments["lr"], lr = lr, 0.1
    arguments["optimizer"] = optimizer(c, lr, random)
    if c["matrix"] == "sparse":
        X = FORMS[random.integers(len(FORMS))](X)
    return {"X": X, "y": y} | arguments


def data(c, n, d, random):
    """Rows and targets of modest size."""
    X = random.normal(size=(n, d))
    if c["data"] == "dyadic":
        X = random.integers(-8, 9, (n, d)) / 4
    elif c["data"] == "scales":
        X = X * 10 ** random.uniform(-1.5, 1, d)
    elif c["data"] == "degenerate":
        X = X[random.integers(0, max(1, n // 2), n)]
        X[:, random.integers(d)] = random.choice([0.0, 0.7, 3.0])
    if c["matrix"] == "sparse":
        X = X * (random.random((n, d)) < 0.4)
    X = X.astype(c["dtype"])
    outputs = {"single": 1, "column": 1, "three": 3}[c["outputs"]]
    score = X.astype(float) @ random.normal(size=(d, outputs)) / np.sqrt(d)
    score = score + 0.5 * random.normal(size=score.shape)
    if c["loss"] == "softmax":
        k = min(max(2, n - 2), int(random.integers(2, 5)))
        labels = [np.arange(k), 2001.0 + np.arange(k), np.array([*"abcd"])][random.integers(3)]
        y = labels[np.argsort(np.argsort(score, axis=0), axis=0) * k // n]
    elif c["loss"] in SIGNS:
        labels = [[0, 1], [-1, 1], [False, True], [3.0, 0.5], ["no", "yes"]][random.integers(5)]
        second = (score > np.median(score, axis=0)) | (score == score.max(axis=0))
        second[score.argmin(axis=0), np.arange(outputs)] = False
        y = np.array(labels)[second * 1]
    elif c["loss"] == "poisson":
        y = random.poisson(np.exp(np.clip(score, -2, 2))).astype(X.dtype)
    else:
        y = score * 2 + 1
        y = (np.round(y * 4) / 4 if c["data"] == "dyadic" else y).astype(X.dtype)
    return X, y[:, 0] if c["outputs"] == "single" else y


def loss(name, random):
    """The record of a loss."""
    record = getattr(gd.losses, "".join(word.capitalize() for word in name.split("_")))
    match name:
        case "huber":
            return record(delta=random.uniform(0.2, 2))
        case "epsilon_insensitive" | "squared_epsilon_insensitive":
            return record(epsilon=random.uniform(0.02, 0.5))
        case "quantile":
            return record(q=random.uniform(0.1, 0.9))
    return record()


OWN_RATES = {  # powers of 10, where the size of the gradient does not matter
    **dict.fromkeys(("adagrad", "rmsprop", "adam", "amsgrad", "adamw"), (-2.5, -0.5)),
    **dict.fromkeys(("sparseadam", "adamax", "nadam", "radam", "rprop", "lion"), (-2.5, -0.5)),
    "adadelta": (-1, 1),
}


def size_of_rates(c, X, random):
    """A rate with which most fits go down, and some diverge."""
    kind = c["optimizer"].split()[0]
    if kind in OWN_RATES:
        return 10 ** random.uniform(*OWN_RATES[kind])
    lengths = np.sum(X.astype(float) ** 2, axis=1)
    return 10 ** random.uniform(-1.3, 0.1) / (1 + np.mean(lengths))


def optimizer(c, lr, random):
    """The record of an optimizer."""
    kind, _, variant = c["optimizer"].partition(" ")
    momentum = float(random.choice([0.5, 0.9, random.uniform(0.1, 0.95)]))
    betas = (float(random.choice([0.9, 0.0, random.uniform(0.3, 0.95)])),)
    betas += (float(random.choice([0.999, 0.6, random.uniform(0.8, 0.999)])),)
    eps = float(random.choice([1e-8, 1e-3, 0.1]))
    decay = (
        {} if c["weight_decay"] == "none" else {"weight_decay": 10 ** random.uniform(-2.5, -0.5)}
    )
    if kind == "adamw":
        decay = decay or {"weight_decay": 0.0}
    adaptive = {"betas": betas, "eps": eps}
    match kind:
        case "sgd":
            if not variant:
                return gd.SGD(lr, **decay)
            damped = {"dampening": random.uniform(-0.5, 0.9)} if variant == "dampened" else {}
            return gd.SGD(lr, momentum, nesterov=variant == "nesterov", **damped, **decay)
        case "asgd":
            late = 1e6 if not variant else float(random.integers(0, 12))
            power = float(random.choice([0.75, 1.0, 0.5]))
            return gd.ASGD(lr, lambd=10 ** random.uniform(-4, -0.5), alpha=power, t0=late, **decay)
        case "adagrad":
            fall = {"lr_decay": random.uniform(0.01, 0.5)} if variant else {}
            start = float(random.choice([0.0, 0.1]))
            return gd.Adagrad(lr, initial_accumulator_value=start, eps=eps, **fall, **decay)
        case "rmsprop":
            more = {"momentum": momentum} if variant == "momentum" else {}
            more["centered"] = variant == "centered"
            return gd.RMSprop(lr, alpha=random.uniform(0.5, 0.99), eps=eps, **more, **decay)
        case "adadelta":
            return gd.Adadelta(lr, rho=random.uniform(0.5, 0.99), eps=max(eps, 1e-6), **decay)
        case "adam" | "amsgrad":
            return gd.Adam(lr, **adaptive, amsgrad=kind == "amsgrad", **decay)
        case "adamw":
            return gd.AdamW(lr, **adaptive, amsgrad=bool(random.random() < 0.3), **decay)
        case "sparseadam":
            return gd.SparseAdam(lr, **adaptive)
        case "adamax":
            return gd.Adamax(lr, **adaptive, **decay)
        case "nadam":
            return gd.NAdam(
                lr,
                **adaptive,
                momentum_decay=float(random.choice([4e-3, 0.5, 0.0])),
                decoupled_weight_decay=bool(variant),
                **decay,
            )
        case "radam":
            return gd.RAdam(lr, **adaptive, decoupled_weight_decay=bool(variant), **decay)
        case "rprop":
            etas = random.uniform(0.2, 0.8), random.uniform(1.05, 1.6)
            return gd.Rprop(lr, etas=etas, step_sizes=(lr * random.uniform(1e-3, 1), lr * 10))
        case "lion":
            return gd.Lion(lr, betas=betas, **decay)
    raise AssertionError(kind)


def rate(kind, base, epochs, steps, random, bounded):
    """A rate or schedule that begins near the base; `bounded` says whether the slopes of the loss are."""
    S = gd.schedules
    per = str(random.choice(["epoch", "step"]))
    total = max(1, epochs * (steps if per == "step" else 1))
    some = int(random.integers(1, total + 1))
    match kind:
        case "number":
            return base
        case "auto":
            return "auto"
        case "constant":
            return S.Constant(base, per=per)
        case "step_decay":
            return S.StepDecay(base, every=some, factor=random.uniform(0.2, 1.1), per=per)
        case "exponential":
            return S.Exponential(base, gamma=random.uniform(0.7, 1.02), per=per)
        case "cosine":
            return S.Cosine(base, total=some, lr_min=base * random.uniform(0, 0.5), per=per)
        case "warmup":
            after = (
                "constant",
                "step_decay",
                "exponential",
                "cosine",
                "inverse_scaling",
                "optimal",
            )
            inner = rate(str(random.choice(after)), base, epochs, steps, random, bounded)
            return S.Warmup(inner, length=some, start_factor=random.uniform(0.1, 1))
        case "inverse_scaling":
            return S.InverseScaling(base, power=random.uniform(0.1, 1.5), per=per)
        case "optimal":
            if random.random() < 0.3 and bounded:  # else t0 depends on the data
                return S.Optimal(10 ** random.uniform(0, 2), per=per)
            t0 = random.uniform(1, 50)
            return S.Optimal(1 / (base * t0), t0=t0, per=per)
        case "adaptive":
            return S.Adaptive(
                base,
                tol=random.uniform(0, 0.1),
                patience=int(random.integers(1, 4)),
                factor=random.uniform(1.5, 6),
                lr_min=base * random.uniform(0, 0.3),
            )
        case "reduce_on_plateau":
            return S.ReduceOnPlateau(
                base,
                factor=random.uniform(0.1, 0.9),
                patience=int(random.integers(0, 3)),
                threshold=random.uniform(0, 0.1),
                threshold_mode=str(random.choice(["rel", "abs"])),
                cooldown=int(random.integers(0, 3)),
                lr_min=base * random.uniform(0, 0.3),
            )
    raise AssertionError(kind)


# --- The fits.


def tried(combination, random, backend):
    """Fits of a combination until one is compared to its end: (arguments, verdict) of each."""
    for _ in range(TRIES):
        arguments = drawn(combination, random)
        v = verdict(**arguments, backend=backend, seed_of_rounding=int(random.integers(2**32)))
        yield arguments, v
        if v.cut is None or v.differences:
            return


def run(count, seed, backend, only):
    """Try so many combinations, or one of them, and print what comes of it; the number of those that fail."""
    cuts, failed, epochs, worst = Counter(), 0, 0, 0.0
    begin = time.perf_counter()
    combinations = covering(np.random.default_rng(seed))
    for number, combination in enumerate(itertools.islice(combinations, count)):
        if only not in (None, number):
            continue
        words = []
        try:
            for arguments, v in tried(combination, np.random.default_rng([seed, number]), backend):
                epochs += v.epochs
                worst = max(worst, v.worst)
                cuts.update([v.cut])
                words += v.differences[:5]
                if only is not None:
                    print(arguments, v)
        except Exception:
            words.append(traceback.format_exc())
        if words:
            failed += 1
            print(
                f"\nseed {seed}, combination {number}: {combination}", *words, sep="\n", flush=True
            )
    whole = cuts.pop(None, 0)
    print(
        f"seed {seed}, {backend}: {count} combinations in {time.perf_counter() - begin:.0f} s\n"
        f"{whole + cuts.total()} fits, {epochs} epochs compared; {whole} fits to their end, the others up to where "
        f"rounding decides in {dict(cuts.most_common())}\n"
        f"{failed} differ; the largest error is {worst:.2f} of what is allowed"
    )
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="how many combinations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="cpp")
    parser.add_argument("--only", type=int, help="the number of a combination to show in full")
    return 1 if run(**vars(parser.parse_args())) else 0


if __name__ == "__main__":
    sys.exit(main())
