"""The errors that gdfast raises of its own."""

from typing import Any

__all__ = ["BackendError", "DivergenceError"]


def __dir__() -> list[str]:
    return __all__


class BackendError(RuntimeError):
    """A backend was asked for by name, or its instructions by GDFAST_ISA, and they are not available here."""


class DivergenceError(ArithmeticError):
    """A fit's loss, a minimised function or an optimizer's state stopped being finite, or the loss passed its bound.

    Parameters
    ----------
    message : str
        The place, the reason and the advice, in words.
    result : FitResult or MinimizeResult
        The partial result: the history up to and including the epoch that diverged, and the weights from before that
        epoch; or the path up to and including the point where f was lost.
    epoch : int
        The epoch, from 0, in which the loss was lost; or the number of the step that led to the point (or after which
        the state was looked at).
    lr : float
        The rate that was used.
    stable_lr : float or None
        The largest stable rate for this data (full batch), or the largest that is safe in any order of the rows; of a
        function, by its curvature where the path was lowest. None for the optimizers whose rate no curvature limits,
        and for a function where that does not explain the divergence: it seems unbounded below, say.
    """

    def __init__(
        self,
        message: str,
        result: Any,
        epoch: int,
        lr: float,
        stable_lr: float | None,
    ) -> None:
        super().__init__(message, result, epoch, lr, stable_lr)
        self.result = result
        self.epoch = epoch
        self.lr = lr
        self.stable_lr = stable_lr

    def __str__(self) -> str:
        return str(self.args[0])
