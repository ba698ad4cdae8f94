"""When a run ends before its epochs do: patience, and what a callback returns."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdfast._typing import Array


@dataclass
class Patience:
    """Counts the epochs without improvement, and keeps the best weights."""

    limit: int | None  # None: nothing is counted
    threshold: float
    best: Array | None = None
    lowest: float = math.inf
    waited: int = 0

    def spent(self, loss: float, params: Array) -> bool:
        """Whether the limit is reached with this epoch's loss, which was measured at these params."""
        assert self.limit is not None
        if self.best is None or self.lowest - loss > self.threshold:
            self.best, self.lowest, self.waited = params, loss, 0
        else:
            self.waited += 1
        return self.waited >= self.limit


def stops(callback: Callable[[Any], Any], result: Any) -> bool:
    """Call the callback with the result so far; say whether it wants to stop."""
    try:
        answer = callback(result)
        return answer is True or (isinstance(answer, np.bool_) and bool(answer))
    except StopIteration:
        return True
