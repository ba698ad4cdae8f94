"""Vowpal Wabbit, on its cache of the rows: parsed before, as it does itself from the second pass on."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import gdfast as gd

from .rival import Rival, Training, check
from .works import Data, Fit, Model

MOST_NUMBERS = 1_000_000  # of X: they go through a file of text
CONSTANT = 11650396  # the place of its intercept


class VowpalWabbit(Rival):
    name = "Vowpal Wabbit"
    package = "vowpalwabbit"
    most_steps = 100_000

    def rows(self, work: Fit) -> float:
        return min(super().rows(work), MOST_NUMBERS / (work.nonzeros or work.features))

    def fit(self, work: Fit, data: Data) -> Training:
        from scipy.sparse import csr_array
        from vowpalwabbit import Workspace

        check(work.optimizer is gd.SGD and work.batch_size == 1, "it trains per sample")
        check(not work.shuffled, "it takes the rows as they stand")
        folder = tempfile.TemporaryDirectory()
        text, cache = Path(folder.name, "rows.txt"), Path(folder.name, "rows.cache")
        X = csr_array(data.X)
        with text.open("w") as file:
            for i, target in enumerate(data.y.tolist()):
                of_row = slice(X.indptr[i], X.indptr[i + 1])
                pairs = zip(X.indices[of_row].tolist(), X.data[of_row].tolist(), strict=True)
                file.write(f"{target!r} | {' '.join(f'{j}:{x!r}' for j, x in pairs)}\n")
        bits = max(18, (work.features - 1).bit_length())
        loss = {"squared_error": "squared"}.get(work.loss, work.loss)
        command = (
            f"--quiet --sgd --power_t 0 -l {work.lr!r} --loss_function {loss} -b {bits} --hash strings "
            f"--min_prediction -1e9 --max_prediction 1e9 --cache_file {cache}"
        )
        command += "" if work.intercept else " --noconstant"
        Workspace(f"{command} -d {text}").finish()
        text.unlink()

        def run(epochs: int) -> Any:
            assert folder.name  # it lives as long as this
            return Workspace(f"{command} --passes {epochs} --holdout_off")

        def model(workspace: Any) -> Model:
            coef = np.array([workspace.get_weight(j) for j in range(work.features)])
            return Model(coef, workspace.get_weight(CONSTANT) if work.intercept else 0.0)

        return Training(run, 1e-3, model)  # it computes in float32
