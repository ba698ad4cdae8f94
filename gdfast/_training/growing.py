"""Arrays that grow with the epochs."""

from typing import Any

import numpy as np

from gdfast._typing import Array


class Growing:
    """An array of rows that are written once, in their order: there is room for twice as many as are there, at most.

    Views of them stay as they are, and so cost no more for each epoch however many there are.
    """

    def __init__(self, rows: Array) -> None:
        self._rows = rows

    def put(self, first: int, rows: Array) -> None:
        """Write the rows from the first one on, behind those that are there."""
        end = first + len(rows)
        if end > len(self._rows):
            room = np.empty((max(end, 2 * len(self._rows)), *rows.shape[1:]), rows.dtype)
            room[:first] = self._rows[:first]
            self._rows = room
        self._rows[first:end] = rows

    def until(self, end: int) -> Array:
        """A view of the rows before `end`."""
        return self._rows[:end]

    def __getitem__(self, row: int) -> Any:
        return self._rows[row]
