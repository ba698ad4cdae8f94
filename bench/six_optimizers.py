"""Six optimizers on one data set, by gdfast and by torch: `python bench/six_optimizers.py`.

1000 points (x, y) uniform in [0, 1]^2, z = x^2 + y^2 + noise; a linear model with an intercept; 800 points to train on
and 200 to validate; batches of 32; 50 epochs. Without torch it runs gdfast alone. With torch, both start from the same
weights and visit the same rows, in turns; it ends with an error if their final losses differ.
"""

import argparse
import importlib
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import gdfast as gd
from gdfast._numerics import order

ROWS, TRAINING, BATCH, EPOCHS = 1000, 800, 32, 50
OPTIMIZERS = {
    "SGD": gd.SGD(lr=0.01),
    "SGD with momentum": gd.SGD(lr=0.01, momentum=0.9),
    "Adagrad": gd.Adagrad(lr=0.01),
    "RMSprop": gd.RMSprop(lr=0.01),
    "Adadelta": gd.Adadelta(),
    "Adam": gd.Adam(lr=0.01),
}

rng = np.random.default_rng(0)
X = rng.uniform(size=(ROWS, 2))
z = (X**2).sum(axis=1) + rng.normal(scale=0.1, size=ROWS)
(X, Xv), (z, zv) = np.split(X, [TRAINING]), np.split(z, [TRAINING])

Losses = dict[str, tuple[float, float]]  # label -> the last epoch's, training and validation


def compare() -> gd.Comparison:
    """The experiment by gdfast."""
    return gd.compare(X, z, OPTIMIZERS, batch_size=BATCH, epochs=EPOCHS, validation=(Xv, zv))


def compare_by_torch() -> Losses:
    """The experiment by torch, as it is written by hand."""
    torch: Any = importlib.import_module("torch")
    mse_loss = torch.nn.functional.mse_loss
    torch.set_num_threads(1)  # for so little work a second one costs time
    Xt, zt, Xvt, zvt = map(torch.from_numpy, (X, z, Xv, zv))
    keys = order.round_keys(seed=0, epochs=range(EPOCHS))
    losses = {}
    for label, record in OPTIMIZERS.items():
        model = torch.nn.Linear(2, 1, dtype=torch.float64)
        torch.nn.init.zeros_(model.weight)
        torch.nn.init.zeros_(model.bias)
        arguments = vars(record)
        optimizer = getattr(torch.optim, type(record).__name__)(model.parameters(), **arguments)
        for epoch in range(EPOCHS):
            rows = torch.from_numpy(order.visit(np.arange(TRAINING), keys[epoch], TRAINING))
            training = 0.0
            for batch in torch.split(rows, BATCH):
                optimizer.zero_grad()
                loss = mse_loss(model(Xt[batch]).squeeze(1), zt[batch])
                loss.backward()
                optimizer.step()
                training += loss.item() * len(batch) / TRAINING
            with torch.no_grad():
                validation = mse_loss(model(Xvt).squeeze(1), zvt).item()
        losses[label] = training, validation
    return losses


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """How long it takes, and what it returns."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def race(rounds: int) -> None:
    """Run both in turns, print their times, and check that they agree."""
    compare_by_torch()
    times: dict[str, list[float]] = {"gdfast": [], "torch": []}
    for _ in range(rounds):
        compare()  # warm again after torch's turn
        ours, by_gdfast = seconds(compare)
        theirs, by_torch = seconds(compare_by_torch)
        times["gdfast"].append(ours)
        times["torch"].append(theirs)
        for label, expected in by_torch.items():
            history = by_gdfast[label].history
            np.testing.assert_allclose(
                (history.loss[-1], history.val_loss[-1]), expected, rtol=1e-6
            )
    print(f"\n{rounds} rounds in turns; the final losses agree to 1e-6")
    for name, values in times.items():
        print(f"{name:<7} {min(values) * 1e3:10.2f} ms at best {median(values) * 1e3:10.2f} median")
    ratio = median(times["torch"]) / median(times["gdfast"])
    print(f"gdfast is {ratio:.0f} times as fast, by the medians")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of the race (default: 5)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save a picture of the curves")
    options = parser.parse_args()
    comparison = compare()
    print(comparison)
    if options.plot:
        figure = comparison.plot().get_figure(root=True)
        assert figure is not None
        figure.savefig(options.plot)
    if importlib.util.find_spec("torch") is None:
        print("\nThere is no torch to compare with: pip install torch")
    else:
        race(options.rounds)
