"""torch: the loop of its tutorials, and the same with its step compiled."""

from collections.abc import Callable
from typing import Any

from .rival import Rival, Training, check
from .works import Data, Fit, Minimize, Model


class TorchEager(Rival):
    name = "torch"
    package = "torch"
    most_steps = 1_000
    compiled = False

    def fit(self, work: Fit, data: Data) -> Training:
        import torch

        check(work.nonzeros is None, "its linear layer takes dense rows")
        torch.set_num_threads(work.threads)
        X, y = torch.from_numpy(data.X), torch.from_numpy(data.y)
        value = {
            "squared_error": torch.nn.functional.mse_loss,
            "logistic": lambda p, t: torch.nn.functional.softplus(-t * p).mean(),
            "hinge": lambda p, t: torch.relu(1 - t * p).mean(),
        }[work.loss]
        loss_of = self.prepared(lambda model, x, t: value(model(x).squeeze(1), t))

        def run(epochs: int) -> Model:
            model = torch.nn.Linear(work.features, 1, bias=work.intercept, dtype=torch.float64)
            torch.nn.init.constant_(model.weight, work.start)
            if work.intercept:
                torch.nn.init.zeros_(model.bias)
            optimizer = getattr(torch.optim, work.optimizer.__name__)(
                model.parameters(), lr=work.lr
            )
            torch.manual_seed(0)
            for _ in range(epochs):
                order = torch.randperm(len(y)) if work.shuffled else None
                for first in range(0, len(y), work.batch):
                    rows: Any = slice(first, first + work.batch)
                    rows = rows if order is None else order[rows]
                    optimizer.zero_grad()
                    loss_of(model, X[rows], y[rows]).backward()
                    optimizer.step()
            bias = model.bias.item() if work.intercept else 0.0
            return Model(model.weight.detach().numpy().ravel().copy(), bias)

        return Training(run, within=None if work.shuffled else 1e-6)

    def prepared(self, loss: Callable[..., Any]) -> Callable[..., Any]:
        return loss

    def minimize(self, work: Minimize) -> Callable[[], Model]:
        import torch

        check(not work.jitted and not self.compiled, "its optimizers step in Python")

        def run() -> Model:
            x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
            optimizer = torch.optim.SGD([x], lr=work.lr)
            path, values = [], []
            for _ in range(work.steps):
                optimizer.zero_grad()
                value = (x[0] - 3.0) ** 2
                path.append(x.item())
                values.append(value.item())
                value.backward()
                optimizer.step()
            return Model(x.detach().numpy().copy())

        return run


class TorchCompiled(TorchEager):
    name = "torch.compile"
    compiled = True

    def fit(self, work: Fit, data: Data) -> Training:
        check(work.batch_size != 1, "compiled for batches alone")
        check(not work.published, "compiled for batches alone")
        return super().fit(work, data)

    def prepared(self, loss: Callable[..., Any]) -> Callable[..., Any]:
        import torch

        torch.compiler.reset()
        compiled: Callable[..., Any] = torch.compile(loss)
        return compiled
