"""The rates of torch's and scikit-learn's schedules: `python tests/reference/schedules.py` writes schedules.json.

Needs torch and scikit-learn. Their own code yields every rate: torch by stepping its schedulers, scikit-learn by what
its SGDRegressor adds to a weight whose gradient is always 1.
"""

import json
import warnings
from itertools import product
from pathlib import Path

import numpy as np

STORED = Path(__file__).with_suffix(".json")
COUNTS = 60
RATES = (1.0, 0.1, 0.003)
# Losses that fall, stay, and rise again.
LOSSES = (
    [8 / (1 + k) for k in range(20)] + [0.4] * 20 + [0.39 - k / 64 for k in range(8)] + [0.5] * 12
)
PLATEAUS = {
    "factor": (0.1, 0.5),
    "patience": (0, 3),
    "threshold": (1e-4, 0.05),
    "threshold_mode": ("rel", "abs"),
    "cooldown": (0, 2),
    "lr_min": (0.0, 0.01),
    "eps": (1e-8, 0.02),
}


def grid(name, **values):
    return [
        {"schedule": name, "arguments": dict(zip(values, chosen, strict=True))}
        for chosen in product(*values.values())
    ]


def cases():
    """What is compared: the class, its arguments, and for a closed loop the losses that it hears."""
    plateaus = [{}, *({name: value} for name, pair in PLATEAUS.items() for value in pair)]
    decays = [
        {"schedule": "Exponential", "arguments": {"lr": 0.5, "gamma": 0.9}},
        {"schedule": "StepDecay", "arguments": {"lr": 0.5, "every": 7, "factor": 0.5}},
        {"schedule": "Cosine", "arguments": {"lr": 0.5, "total": 30, "lr_min": 0.01}},
    ]
    return [
        *grid("StepDecay", lr=RATES, every=(1, 7), factor=(0.1, 0.5)),
        *grid("Exponential", lr=RATES, gamma=(0.5, 0.9, 0.999, 1.01)),
        *grid("Cosine", lr=RATES, total=(25, 50), lr_min=(0.0, 1e-3)),
        *grid("Warmup", schedule=decays, length=(1, 10), start_factor=(0.01, 1 / 3)),
        *grid("InverseScaling", lr=RATES, power=(0.0, 0.25, 0.5, 1.0)),
        *grid("Optimal", l2=[10.0**-k for k in range(6)] + [3 * 10.0**-k for k in range(6)]),
        *grid("Adaptive", lr=(0.1, 0.03), tol=(1e-3, 0.02), patience=(1, 3, 5)),
        *[
            {"schedule": "ReduceOnPlateau", "arguments": {"lr": 0.1, **options}, "losses": LOSSES}
            for options in plateaus
        ],
    ]


def peer(case):
    """The rates of a case, and the losses that a closed loop hears."""
    name, arguments = case["schedule"], case["arguments"]
    if name == "ReduceOnPlateau":
        return by_torch(case, case["losses"]), case["losses"]
    if name in ("InverseScaling", "Optimal"):
        return by_steps_of_scikit_learn(name, **arguments), None
    if name == "Adaptive":
        return by_epochs_of_scikit_learn(**arguments)
    return by_torch(case), None


def scheduler(optimizer, case):
    from torch.optim import lr_scheduler

    name, a = case["schedule"], case["arguments"]
    if name == "StepDecay":
        return lr_scheduler.StepLR(optimizer, a["every"], a["factor"])
    if name == "Exponential":
        return lr_scheduler.ExponentialLR(optimizer, a["gamma"])
    if name == "Cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, a["total"], a["lr_min"])
    if name == "ReduceOnPlateau":
        renamed = {"lr_min": "min_lr"}
        options = {renamed.get(key, key): value for key, value in a.items() if key != "lr"}
        return lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    assert name == "Warmup"
    rising = lr_scheduler.LinearLR(optimizer, a["start_factor"], 1.0, a["length"])
    after = scheduler(optimizer, a["schedule"])
    return lr_scheduler.SequentialLR(optimizer, [rising, after], [a["length"]])


def by_torch(case, losses=None):
    import torch

    first = case["arguments"].get("schedule", case)["arguments"]["lr"]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=first)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # SequentialLR steps its parts in a way that torch deprecates
        stepping = scheduler(optimizer, case)
        rates = []
        for t in range(COUNTS):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            stepping.step(*([] if losses is None else [losses[t]]))
    return rates


def regressor(**options):
    """One whose loss has the derivative 1 wherever the prediction is above the target."""
    from sklearn.linear_model import SGDRegressor

    steep = {"loss": "epsilon_insensitive", "epsilon": 0.0, "penalty": None}
    return SGDRegressor(fit_intercept=False, **steep, **options)


TARGET = -100.0


def by_steps_of_scikit_learn(name, lr=1.0, power=0.25, l2=1e-4):
    kind = {"InverseScaling": "invscaling", "Optimal": "optimal"}[name]
    model = regressor(learning_rate=kind, eta0=lr, power_t=power, alpha=l2)
    weights = [0.0]
    for _ in range(COUNTS):
        model.partial_fit([[1.0]], [weights[-1] + TARGET])
        weights.append(float(model.coef_[0]))
    return (-np.diff(weights)).tolist()


def by_epochs_of_scikit_learn(lr, tol, patience):
    weights = [0.0]
    for epochs in range(1, COUNTS + 1):
        model = regressor(
            learning_rate="adaptive", eta0=lr, tol=tol, n_iter_no_change=patience, max_iter=epochs
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            model.fit([[1.0]], [TARGET])
        weights.append(float(model.coef_[0]))
    rates = -np.diff(weights)
    rates = rates[rates > 0]  # it stops where the rate is at its lowest
    return rates.tolist(), [w - TARGET for w in weights[: len(rates)]]


def computed():
    """Each case with its rates."""
    made = []
    for case in cases():
        rates, losses = peer(case)
        made.append({**case, "rates": rates} | ({} if losses is None else {"losses": losses}))
    return made


if __name__ == "__main__":
    STORED.write_text("[\n" + ",\n".join(map(json.dumps, computed())) + "\n]\n")
