"""Tables as text and as Markdown."""

import math
from collections.abc import Sequence
from typing import Any


def table(rows: Sequence[Sequence[Any]]) -> str:
    """The lines of a table, the head first: texts to the left, numbers under the right ends of their heads."""
    columns = []
    for cells in zip(*rows, strict=True):
        texts = [_shown(cell) for cell in cells]
        width = max(map(len, texts))
        is_text = isinstance(cells[-1], str)
        columns.append([text.ljust(width) if is_text else text.rjust(width) for text in texts])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def markdown(rows: Sequence[Sequence[Any]]) -> str:
    """The rows as a table of Markdown."""
    head, *body = [[_shown(cell) for cell in cells] for cells in rows]
    rule = ["---" if isinstance(cell, str) else "--:" for cell in rows[-1]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *body])


def _shown(cell: Any) -> str:
    if isinstance(cell, float):
        return "" if math.isnan(cell) else f"{cell:.6g}"
    return "-" if cell is None else str(cell)
