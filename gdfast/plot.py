"""Plots of results, by matplotlib, which is loaded when one is drawn.

Losses over epochs are `losses`, of one fit or of many; the way of a minimisation is `descent` in one dimension, and
`contour` or `surface` in two. All draw on the axes given or on a new figure, return the axes and show nothing. A path
that diverged has a cross where it leaves the axes, which have the range of its first steps.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gdfast._training.minimize import LOST
from gdfast._validation import check_flag, check_int, check_number
from gdfast.results import FitResult, MinimizeResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["contour", "descent", "losses", "surface"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]
Function = Callable[[Floats], Any]
Limits = tuple[float, float]
T = TypeVar("T")

# Okabe and Ito (2008), "Color universal design", without the yellow, which is too light for a line.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("", "o", "s", "^")  # another each time that the colours begin again
NEUTRAL = "0.35"  # what belongs to no single result
BEYOND = 1e300  # stands for an infinite loss: above all axes, and finite in pixels
VAST = 1e200  # heights above are not drawn: matplotlib's own arithmetic overflows
CROSS: dict[str, Any] = {
    "linestyle": "",
    "marker": "X",
    "markersize": 9,
    "markeredgecolor": "white",
}
LANDSCAPE = ("#86a6c6", "#c9d8e6", "#fbfcfd")  # from low to high; light, for the paths to stand out
LINES = "#6f8aa5"  # those of equal height


def losses(
    results: Mapping[str, FitResult], *, ax: "Axes | None" = None, log: bool | None = None
) -> "Axes":
    """Draw the loss of each epoch of some fits: training solid, validation dashed in the same colour.

    The colours can be told apart by colour-blind people. A fit that diverged leaves through the top, marked by a
    cross: the axes have the range of the others, where there are any.

    Parameters
    ----------
    results : mapping of str to FitResult
        Label -> fit. The empty label is for a fit on its own.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    log : bool, optional
        Whether the losses' axis is logarithmic; by default where they span more than a factor of 20.

    Returns
    -------
    matplotlib Axes
        The axes drawn on. Nothing is shown: call ``ax.figure.savefig`` or ``matplotlib.pyplot.show``.

    Raises
    ------
    TypeError
        If results is not a mapping to FitResults, or ax not an Axes of two dimensions.
    ValueError
        If results is empty.
    ImportError
        If matplotlib is not installed.

    References
    ----------
    Okabe, Ito (2008), "Color universal design": the colours.

    Examples
    --------
    >>> import gdfast as gd
    >>> r = gd.fit([[0.0], [1.0]], [1.0, 2.0])
    >>> gd.plot.losses({"full batch": r}).get_xlabel()
    'epoch'
    """
    fits = _labelled(results, FitResult)
    log = None if log is None else check_flag("log", log)
    ax = _axes(ax)
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, MaxNLocator

    settled = any(fit.stop_reason != "divergence" for fit in fits.values())
    lost_lines = []
    seen = [1.0]
    validated = False
    drawn = len(ax.get_legend_handles_labels()[0])
    for i, (label, fit) in enumerate(fits.items(), drawn):
        lost = fit.stop_reason == "divergence"
        marker = MARKERS[i // len(COLORS) % len(MARKERS)]
        style: dict[str, Any] = {
            "color": COLORS[i % len(COLORS)],
            "linewidth": 1.6,
            "marker": marker,
            "markevery": 0.1 if marker else None,
        }
        loss = fit.history.loss.astype(np.float64)
        val_loss = fit.history.val_loss.astype(np.float64)
        if lost:
            loss[~np.isfinite(loss)] = BEYOND
        epochs = np.arange(len(loss))
        # The loss of an epoch is measured before its updates, the validation loss after them.
        curves = [(epochs, loss, "-", (label or "training") + " (diverged)" * lost)]
        if len(val_loss):
            validated |= bool(label)
            curves.append((epochs + 1, val_loss, "--", "_validation" if label else "validation"))
        for x, y, dashes, name in curves:
            ranging = (y < BEYOND) & (not (lost and settled))
            (line,) = ax.plot(x[ranging], y[ranging], linestyle=dashes, label=name, **style)
            line.set_data(x, y)  # the range of the axes stays as it is
            if lost and dashes == "-":
                lost_lines.append(line)
        if not (lost and settled):
            falls = loss[loss > 0]
            seen.extend(falls[[0, -1]] / falls[0] if len(falls) else ())
    if log if log is not None else max(seen) > 20 * min(seen):
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        # Over few decades, plain numbers; else matplotlib's powers of ten read better.
        if low > 1e-4 and high < 1e6 and high < 1000 * low:
            ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            ax.yaxis.set_major_formatter("{x:,g}")
            ax.yaxis.set_minor_formatter("{x:,g}")
    if lost_lines and settled:  # room at the top, in which they part
        scale = ax.yaxis.get_transform()
        low, high = scale.transform(ax.get_ylim())
        top = float(scale.inverted().transform(high + 0.15 * (high - low)))
        ax.update_datalim([(0.0, top)])
        ax.autoscale_view()
    for line in lost_lines:
        _cross_out(ax, line)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")
    ax.set_ylabel("mean loss")
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    handles = ax.get_legend_handles_labels()[0]
    if validated:
        handles += [
            Line2D([], [], color=NEUTRAL, linestyle="-", label="training"),
            Line2D([], [], color=NEUTRAL, linestyle="--", label="validation"),
        ]
    if len(handles) > 1 or lost_lines:
        many = len(handles) > 6
        wide = ax.get_window_extent().width > 4.5 * ax.figure.dpi
        ax.legend(
            handles=handles,
            ncols=2 if many and wide else 1,
            fontsize="small" if many else None,
            framealpha=0.8,
            edgecolor="none",
        )
    return ax


def descent(
    result: MinimizeResult | Mapping[str, MinimizeResult],
    fun: Function,
    *,
    ax: "Axes | None" = None,
    xlim: Limits | None = None,
    points: int = 400,
) -> "Axes":
    """Draw the way down a curve, y = f(x): the curve, the iterates on it, and arrows from one to the next.

    Parameters
    ----------
    result : MinimizeResult, or mapping of str to MinimizeResult
        Of one variable: what ``gdfast.minimize`` returned; or label -> result, to draw several.
    fun : callable
        The function that was minimised: takes an array (1,) and returns a number. Where that is not finite, or above
        1e200, the curve has a gap.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    xlim : pair of float, optional
        The range of x; by default that of the iterates, of those near the start where the path diverged, and a fifth
        of it more on each side.
    points : int, default 400
        At how many values of x the function is evaluated.

    Returns
    -------
    matplotlib Axes
        The axes drawn on.

    Raises
    ------
    TypeError
        If result is none of ``minimize``, fun not callable or its value not a number, or ax not an Axes of two
        dimensions.
    ValueError
        If a path is not of one variable or has no finite iterate, a mapping is empty, xlim is not an increasing pair,
        or fun is nowhere finite.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import gdfast as gd
    >>> def parabola(x):
    ...     return (x[0] - 3) ** 2
    >>> r = gd.minimize(parabola, [0.0], jac=lambda x: 2 * (x - 3), lr=0.2, maxiter=20)
    >>> gd.plot.descent(r, parabola).get_ylabel()
    'f(x)'
    """
    paths = _paths(result, 1)
    ax = _axes(ax)
    x = np.linspace(*_limits("xlim", xlim, paths, 0), check_int("points", points, 2))
    y = _evaluate(fun, x[:, None])
    heights = np.concatenate([path.framed[:, 1] for path in paths.values()])
    low = min(heights.min(), np.nanmin(y))
    # Where the curve climbs far above the iterates, it leaves through the top.
    rise = min(np.ptp(np.append(y[np.isfinite(y)], heights)), 2 * np.ptp(np.append(heights, low)))
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(low - 0.15 * (rise or 1.0), low + 1.05 * (rise or 1.0))
    ax.plot(x, y, color="0.65", linewidth=2.5, zorder=1)
    _draw_paths(ax, paths)
    ax.set_xlabel("x")
    ax.set_ylabel("f(x)")
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def contour(
    result: MinimizeResult | Mapping[str, MinimizeResult],
    fun: Function,
    *,
    ax: "Axes | None" = None,
    levels: int | ArrayLike = 20,
    xlim: Limits | None = None,
    ylim: Limits | None = None,
    points: int = 200,
) -> "Axes":
    """Draw the way to a minimum on a map of the function, z = f(x_0, x_1), darker where it is lower.

    Parameters
    ----------
    result : MinimizeResult, or mapping of str to MinimizeResult
        Of two variables: what ``gdfast.minimize`` returned; or label -> result, to draw several on one map.
    fun : callable
        The function that was minimised: takes an array (2,) and returns a number. Where that is not finite, or above
        1e200, the map is blank.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    levels : int or array-like, default 20
        How many contour lines, spaced evenly in the logarithm of the height above the minimum; or their heights.
    xlim, ylim : pair of float, optional
        The ranges of x_0 and x_1; by default those of the iterates, of those near the start where the path diverged,
        and a fifth more on each side.
    points : int, default 200
        The function is evaluated at points^2 places.

    Returns
    -------
    matplotlib Axes
        The axes drawn on.

    Raises
    ------
    TypeError
        If result is none of ``minimize``, fun not callable or its value not a number, or ax not an Axes of two
        dimensions.
    ValueError
        If a path is not of two variables or has no finite iterate, a mapping is empty, levels are not at least 2
        finite numbers that increase, xlim or ylim not an increasing pair, or fun is nowhere finite.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import gdfast as gd
    >>> def bowl(x):
    ...     return x[0] ** 2 + 10 * x[1] ** 2
    >>> r = gd.minimize(bowl, [3.0, 1.0], jac=lambda x: [2 * x[0], 20 * x[1]], lr=0.08, maxiter=30)
    >>> ax = gd.plot.contour(r, bowl, levels=15)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('$x_0$', '$x_1$')
    """
    paths = _paths(result, 2)
    ax = _axes(ax)
    x, y, z = _grid(fun, paths, xlim, ylim, points)
    heights = _levels(levels, z, paths)
    ax.contourf(x, y, z, heights, colors=_tints(len(heights) + 1), extend="both", zorder=0)
    ax.contour(x, y, z, heights, colors=LINES, linewidths=0.5, zorder=1)
    ax.set_xlim(x[0, 0], x[0, -1])
    ax.set_ylim(y[0, 0], y[-1, 0])
    on_map = {
        label: Path(path.points[:, :2], path.framed[:, :2], path.lost)
        for label, path in paths.items()
    }
    _draw_paths(ax, on_map)
    ax.set_xlabel("$x_0$")
    ax.set_ylabel("$x_1$")
    return ax


def surface(
    result: MinimizeResult | Mapping[str, MinimizeResult],
    fun: Function,
    *,
    ax: "Axes | None" = None,
    xlim: Limits | None = None,
    ylim: Limits | None = None,
    points: int = 60,
) -> "Axes":
    """Draw the way to a minimum on the surface z = f(x_0, x_1), darker where it is lower.

    The path is drawn in front of the surface wherever one looks from; turn it by ``ax.view_init``.

    Parameters
    ----------
    result : MinimizeResult, or mapping of str to MinimizeResult
        Of two variables: what ``gdfast.minimize`` returned; or label -> result, to draw several.
    fun : callable
        The function that was minimised: takes an array (2,) and returns a number. Where that is not finite, or above
        1e200, the surface has a hole.
    ax : matplotlib Axes3D, optional
        Where to draw: axes with ``projection="3d"``, whose order of drawing becomes that of the zorders; a new figure
        by default.
    xlim, ylim : pair of float, optional
        The ranges of x_0 and x_1; by default those of the iterates, of those near the start where the path diverged,
        and a fifth more on each side.
    points : int, default 60
        The function is evaluated at points^2 places.

    Returns
    -------
    matplotlib Axes3D
        The axes drawn on.

    Raises
    ------
    TypeError
        If result is none of ``minimize``, fun not callable or its value not a number, or ax not an Axes of three
        dimensions.
    ValueError
        If a path is not of two variables or has no finite iterate, a mapping is empty, xlim or ylim not an increasing
        pair, or fun is nowhere finite.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import gdfast as gd
    >>> def bowl(x):
    ...     return x[0] ** 2 + 10 * x[1] ** 2
    >>> r = gd.minimize(bowl, [3.0, 1.0], jac=lambda x: [2 * x[0], 20 * x[1]], lr=0.08, maxiter=30)
    >>> gd.plot.surface(r, bowl).get_zlabel()
    '$f(x_0, x_1)$'
    """
    paths = _paths(result, 2)
    solid: Any = _axes(ax, "3d")  # mpl_toolkits has no types
    x, y, z = _grid(fun, paths, xlim, ylim, points)
    if ax is None:
        solid.view_init(elev=45)  # into the valleys
    solid.computed_zorder = False
    solid.plot_surface(
        x,
        y,
        z,
        rstride=1,
        cstride=1,
        facecolors=_lit(z, _levels(256, z, paths)),
        linewidth=0,
        antialiased=False,
        shade=False,
        zorder=0,
    )
    low = min(np.nanmin(z), *(path.framed[:, 2].min() for path in paths.values()))
    high = max(np.nanmax(z), *(path.framed[:, 2].max() for path in paths.values()))
    solid.set(
        xlim=(x[0, 0], x[0, -1]),
        ylim=(y[0, 0], y[-1, 0]),
        zlim=(low, high if high > low else low + 1.0),
        xlabel="$x_0$",
        ylabel="$x_1$",
        zlabel="$f(x_0, x_1)$",
    )
    _draw_paths(solid, paths)
    return solid  # type: ignore[no-any-return]


def _labelled(results: object, kind: type[T]) -> dict[str, T]:
    """The mapping as a dict of that kind."""
    if not isinstance(results, Mapping):
        raise TypeError(
            f"results must be a mapping of label to {kind.__name__}, not {type(results).__name__}"
        )
    if not results:
        raise ValueError("the mapping of results is empty: there is nothing to draw")
    for label, result in results.items():
        if not isinstance(result, kind):
            raise TypeError(
                f"results[{label!r}] must be a {kind.__name__}, not {type(result).__name__}"
            )
    return dict(results)


class Path(NamedTuple):
    """A path to draw."""

    points: Floats  # the finite iterates and their values, (n, d + 1)
    framed: Floats  # those of them that the axes have room for
    lost: bool  # whether f stopped being finite


class Spot:
    """Where an annotation is: the pixels of a point as things stand when it is drawn.

    Annotations know two dimensions, and axes of three can be turned.
    """

    def __init__(self, ax: Any, point: Floats) -> None:
        self.ax, self.point = ax, point

    def __call__(self, _: Any) -> Any:
        """The point as a box, as matplotlib asks for it."""
        from matplotlib.transforms import Bbox

        return Bbox([_on_screen(self.ax, self.point[None])[0]] * 2)


def _paths(result: Any, d: int) -> dict[str, Path]:
    """Label -> path; of a result on its own the label is empty."""
    results = _labelled(result if isinstance(result, Mapping) else {"": result}, MinimizeResult)
    paths = {}
    for label, found in results.items():
        path = np.asarray(found.path, np.float64)
        of = f"results[{label!r}]" if label else "the result"
        if path.ndim != 2 or path.shape[1] != d:
            hint = {(1, 2): "contour or surface", (2, 1): "descent"}.get((d, path[0].size))
            raise ValueError(
                f"the path of {of} has shape {path.shape}, but this plot is of {d} variable{'s' * (d > 1)}"
                + (f": see {hint}" if hint else "")
            )
        if len(path) <= found.nit:
            raise ValueError(f'the path of {of} was not kept: minimize with trace="path"')
        table = np.column_stack([path, found.fun_path])
        points = table[(np.abs(table) < BEYOND).all(axis=1)]
        if not len(points):
            raise ValueError(f"the path of {of} has no finite iterate")
        lost = found.status == LOST or len(points) < len(table)
        followed = not lost and points[-1, -1] <= VAST
        paths[label] = Path(points, points if followed else points[: _near(points)], lost)
    return paths


def _near(points: Floats) -> int:
    """The number of points near the start of a path that diverges: at most ten times as far as after the first step.

    Those up to the lowest point are too, if that is within a hundred times.
    """
    far = np.abs(points[:, :-1] - points[0, :-1]).max(axis=1)
    first = far[far > 0][0] if far.any() else 0.0
    beyond = np.append((far > 10 * first) | (np.abs(points[:, -1]) > VAST), True)
    lowest = np.argmin(np.where(far <= 100 * first, points[:, -1], np.inf))
    return max(1, int(beyond.argmax()), int(lowest) + 1)


def _axes(ax: object, projection: str = "rectilinear") -> "Axes":
    """The axes given, if they are of that kind, or those of a new figure."""
    try:
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install matplotlib") from error
    if ax is None:
        from matplotlib import pyplot as plt  # only here: it may look for a screen

        return plt.subplots(
            figsize=(6.4, 4.0) if projection == "rectilinear" else (6.4, 5.0),
            layout="constrained",
            subplot_kw={"projection": projection},
        )[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be a matplotlib Axes, not {type(ax).__name__}")
    if ax.name != projection:
        raise TypeError(
            f"ax must be an Axes with projection={projection!r}, not one with {ax.name!r}"
        )
    return ax


def _limits(name: str, given: Any, paths: dict[str, Path], axis: int) -> Limits:
    """The range of an axis: as given, or such that the paths have room."""
    if given is not None:
        try:
            low, high = given
        except (TypeError, ValueError):
            raise ValueError(f"{name}={given!r} must be a pair (low, high)") from None
        low = check_number(f"{name}[0]", low, -math.inf, math.inf)
        high = check_number(f"{name}[1]", high, -math.inf, math.inf)
        if not low < high:
            raise ValueError(f"{name}={given!r} must increase")
        return low, high
    points = np.concatenate([path.framed[:, :-1] for path in paths.values()])
    low, high = points.min(axis=0), points.max(axis=0)
    spans = high - low
    # A path along one variable gets room in the other too; a path that is a point gets 1 on each side.
    room = 0.2 * max(spans[axis], 0.5 * spans.max()) or 1.0
    return float(low[axis] - room), float(high[axis] + room)


def _evaluate(fun: Any, points: Floats) -> Floats:
    """The function at each row, NaN where it is not finite, or vast."""
    if not callable(fun):
        raise TypeError(f"fun must be callable, not {type(fun).__name__}")
    values = np.empty(len(points))
    with np.errstate(all="ignore"):
        for i, point in enumerate(points):
            value = fun(point.copy())
            if isinstance(value, tuple):
                raise TypeError(
                    "fun must return a number; if it returns (f, g), give lambda x: fun(x)[0]"
                )
            number = np.asarray(value)
            if number.size != 1 or number.dtype.kind not in "fiub":
                raise TypeError(f"fun must return a number, not {value!r}")
            values[i] = number.item()
    values[~(np.abs(values) < VAST)] = np.nan
    if np.isnan(values).all():
        raise ValueError(f"fun is finite nowhere from {points[0]} to {points[-1]}")
    return values


def _grid(
    fun: Function, paths: dict[str, Path], xlim: Any, ylim: Any, points: int
) -> tuple[Floats, Floats, Floats]:
    """x, y and f(x, y), each (points, points)."""
    n = check_int("points", points, 2)
    x, y = np.meshgrid(
        np.linspace(*_limits("xlim", xlim, paths, 0), n),
        np.linspace(*_limits("ylim", ylim, paths, 1), n),
    )
    z = _evaluate(fun, np.column_stack([x.ravel(), y.ravel()]))
    return x, y, z.reshape(x.shape)


def _levels(levels: Any, z: Floats, paths: dict[str, Path]) -> Floats:
    """The heights given, or that many above the minimum: the lowest with 0.3 % of the map below it."""
    if np.ndim(levels) == 0:
        n = check_int("levels", levels, 2)
        bottom = min(np.nanmin(z), *(path.framed[:, -1].min() for path in paths.values()))
        above = z[z > bottom] - bottom
        lowest, highest = np.quantile(above, (0.003, 1.0)) if len(above) else (0.003, 1.0)
        heights: Floats = bottom + np.geomspace(min(lowest, 0.1 * highest), highest, n)
        return heights
    heights = np.asarray(levels, np.float64)
    if (
        heights.ndim != 1
        or len(heights) < 2
        or not (np.isfinite(heights).all() and (np.diff(heights) > 0).all())
    ):
        raise ValueError(
            f"levels={levels!r} must be an integer, or at least 2 finite numbers that increase"
        )
    return heights


def _tints(n: int) -> Any:
    """The landscape in n colours, from low to high, (n, 4)."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("landscape", LANDSCAPE)(np.linspace(0, 1, n))


def _lit(z: Floats, heights: Floats) -> Floats:
    """The colours of a surface's faces: the landscape's, darker where they turn from a light at the upper left."""
    corners = np.array([z[1:, 1:], z[:-1, 1:], z[1:, :-1], z[:-1, :-1]])
    middles = corners.mean(axis=0)
    colors: Floats = _tints(len(heights) + 1)[np.searchsorted(heights, middles)]
    # Slopes in a box of equal sides; in the units of the data all would be steep, or all flat.
    scale = 0.5 * len(corners[0]) / (np.nanmax(z) - np.nanmin(z) or 1.0)
    down_x = scale * (corners[2] + corners[3] - corners[0] - corners[1])
    down_y = scale * (corners[1] + corners[3] - corners[0] - corners[2])
    light = (-0.5 * down_x + 0.3 * down_y + 0.8) / np.sqrt(down_x**2 + down_y**2 + 1)
    colors[..., :3] *= np.clip(0.72 + 0.3 * light, 0, 1)[..., None]
    return colors


def _on_screen(ax: Any, points: Floats) -> Floats:
    """Points (n, 2) or (n, 3) of the axes' data, in pixels as things stand."""
    if points.shape[1] == 3:
        projected = np.column_stack([points, np.ones(len(points))]) @ ax.get_proj().T
        points = projected[:, :2] / projected[:, 3:]
    return np.asarray(ax.transData.transform(points), np.float64)


def _apart(pixels: Floats) -> list[int]:
    """The points that have room for a dot: a marker's width from the last that has one."""
    points = pixels.tolist()
    kept = [0]
    for i, point in enumerate(points):
        if math.dist(point, points[kept[-1]]) >= 6:
            kept.append(i)
    return kept


def _heads(pixels: Floats, box: Any) -> list[int]:
    """The segments of a path, from their end points, in whose middle an arrowhead is due: about a dozen in the box."""
    lengths = np.hypot(*np.diff(pixels, axis=0).T)
    middles = (pixels[1:] + pixels[:-1]) / 2
    lengths[~((middles >= box.min) & (middles <= box.max)).all(axis=1)] = 0
    gap = max(0.08 * np.hypot(*box.size), lengths.sum() / 12)
    heads = []
    travelled = gap / 2
    for i, length in enumerate(lengths):
        travelled += length
        if length and travelled >= gap:
            heads.append(i)
            travelled = 0.0
    return heads


def _cut(path: Path, box: Floats) -> tuple[Floats, bool]:
    """The points up to where a path that diverges leaves a box (2, d), and whether a cross is to mark its end."""
    points, framed, lost = path
    outside = ((points < box[0]) | (points > box[1])).any(axis=1)
    if (not lost and len(framed) == len(points)) or outside[0] or not outside.any():
        return points, lost
    k = int(outside.argmax())
    step = points[k] - points[k - 1]
    with np.errstate(all="ignore"):
        part = np.where(step > 0, box[1] - points[k - 1], box[0] - points[k - 1]) / step
    edge = points[k - 1] + np.nanmin(part) * step
    return np.vstack([points[:k], edge]), True


def _draw_paths(ax: Any, given: dict[str, Path]) -> None:
    """Lines with a dot for each iterate and heads that point forward; start and end marked and named."""
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground="white")]
    star: Any = {"marker": "*", "markersize": 14, "markeredgecolor": "white", "linestyle": ""}

    def annotate(text: str, point: Floats, **how: Any) -> None:
        ax.annotate(text, (0, 0), xycoords=Spot(ax, point), annotation_clip=True, **how)

    def name(text: str, point: Floats, away: Floats) -> None:
        annotate(
            text,
            point,
            xytext=11 * away,
            textcoords="offset points",
            horizontalalignment=("center", "left", "right")[round(away[0])],
            verticalalignment=("center", "bottom", "top")[round(away[1])],
            path_effects=halo,
            zorder=8,
        )

    def outwards(point: Floats) -> Floats:
        away = np.subtract(*_on_screen(ax, np.array([point, center])))
        length = np.hypot(*away)
        return np.asarray(away / length) if length else np.array([-1.0, 0.0])

    box = np.transpose(
        [ax.get_xlim(), ax.get_ylim(), *([ax.get_zlim()] if ax.name == "3d" else [])]
    )
    paths, crossed = {}, set()
    for label, whole in given.items():
        paths[label], diverged = _cut(whole, box)
        crossed |= {label} if diverged else set()
    center = np.concatenate(list(paths.values())).mean(axis=0)
    # A cross on the frame is to be seen whole. In three dimensions nothing is cut off, and the layout would suffer.
    cross = CROSS | {"clip_on": ax.name == "3d"}
    for i, (label, path) in enumerate(paths.items()):
        shown = label + " (diverged)" * (label in crossed)
        color = COLORS[i % len(COLORS)]
        line = {"color": color, "linewidth": 1.6, "marker": ".", "markersize": 5}
        pixels = _on_screen(ax, path)
        ax.plot(
            *path.T, label=shown if label else "_path", markevery=_apart(pixels), zorder=4, **line
        )
        for k in _heads(pixels, ax.bbox):
            step = path[k + 1] - path[k]
            annotate(
                "",
                path[k] + 0.5 * step,
                xytext=(0, 0),
                textcoords=Spot(ax, path[k] + 0.49 * step),  # so near that there is no shaft
                arrowprops={
                    "arrowstyle": "-|>",
                    "mutation_scale": 16,
                    "linewidth": 0.6,
                    "facecolor": color,
                    "edgecolor": "white",
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
                zorder=5,
            )
        ax.plot(*path[-1:].T, color=color, zorder=7, **(cross if label in crossed else star))
    for start in {tuple(path[0]): path[0] for path in paths.values()}.values():
        ax.plot(
            *start[:, None],
            linestyle="",
            marker="o",
            markersize=7,
            color="white",
            markeredgecolor=NEUTRAL,
            zorder=6,
        )
        name("start", start, outwards(start))
    if list(paths) == [""]:
        together = math.dist(*_on_screen(ax, path[[0, -1]])) < 30
        if crossed:  # perhaps on the frame, beside the ticks
            name("diverged", path[-1], -outwards(path[0] if together else path[-1]))
        else:
            name("end", path[-1], -outwards(path[0]) if together else outwards(path[-1]))
    else:
        handles = ax.get_legend_handles_labels()[0]
        if crossed != set(paths):
            handles.append(Line2D([], [], color=NEUTRAL, label="end", **star))
        ax.legend(handles=handles, fontsize="small", framealpha=0.9)


def _cross_out(ax: "Axes", line: Any) -> None:
    """A cross where the loss leaves through the top, or at its end if it does not."""
    x, y = line.get_data()
    top = ax.get_ylim()[1]
    above = np.flatnonzero(y > top)
    cross = {
        **CROSS,
        "color": line.get_color(),
        "label": "_diverged",
        "clip_on": False,
        "zorder": 5,
    }
    if len(above):
        i = above[0]
        place = x[i]
        if i:
            before, edge, after = ax.yaxis.get_transform().transform([y[i - 1], top, y[i]])
            place -= (after - edge) / (after - before)
        ax.plot(place, 1, transform=ax.get_xaxis_transform(), **cross)
    else:
        ax.plot(x[-1], y[-1], **cross)
