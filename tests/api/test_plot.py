"""Plots: what is drawn where, and that it can be seen."""

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import gdfast as gd
from gdfast import plot

X = np.linspace(0.0, 1.0, 20)[:, None]
Y = 3 * X[:, 0] - 1


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


@pytest.fixture
def solid():
    return plt.subplots(subplot_kw={"projection": "3d"})[1]


def drawn(ax):
    """The axes' picture, (height, width, 3), in 0 to 255."""
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def pixels_of(color, ax):
    """How many pixels have nearly that colour."""
    distance = np.abs(drawn(ax) - np.round(255 * np.array(to_rgb(color))))
    return np.count_nonzero(distance.max(axis=2) < 12)


# Losses


def fits(n, **options):
    return {
        f"fit {i}": gd.fit(X, Y, lr=0.02 * (i + 1), epochs=8, validation=(X, Y), **options)
        for i in range(n)
    }


def diverged(lr=50.0, **options):
    with pytest.raises(gd.DivergenceError) as caught:
        gd.fit(X, Y, lr=lr, **options)
    return caught.value.result


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_curves_of_six_fits():
    results = fits(6)
    ax = plot.losses(results)
    assert len(ax.lines) == 12
    for i, r in enumerate(results.values()):
        training, validation = ax.lines[2 * i : 2 * i + 2]
        assert np.array_equal(training.get_xydata().T, [np.arange(8), r.history.loss])
        assert np.array_equal(validation.get_xydata().T, [np.arange(1, 9), r.history.val_loss])
        assert (training.get_linestyle(), validation.get_linestyle()) == ("-", "--")
        assert training.get_color() == validation.get_color()
    assert len({line.get_color() for line in ax.lines}) == 6
    assert texts(ax) == [*results, "training", "validation"]


def test_the_legend_hides_no_curve_of_six_fits():
    ax = plot.losses(fits(6))
    drawn(ax)
    box = ax.get_legend().get_window_extent()
    for line in ax.lines:
        points = ax.transData.transform(line.get_xydata())
        assert not ((points > box.min) & (points < box.max)).all(axis=1).any()


def test_a_fit_on_its_own_names_its_two_curves():
    assert texts(plot.losses({"": fits(1)["fit 0"]})) == ["training", "validation"]
    assert plot.losses({"": gd.fit(X, Y, epochs=2)}).get_legend() is None


def test_more_fits_than_colours_differ_by_their_markers():
    ax = plot.losses({str(i): gd.fit(X, Y, epochs=2) for i in range(20)})
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 20


def test_a_second_call_goes_on_with_the_colours(ax):
    results = fits(2)
    plot.losses({"a": results["fit 0"]}, ax=ax)
    assert plot.losses({"b": results["fit 1"]}, ax=ax) is ax
    assert ax.lines[0].get_color() != ax.lines[2].get_color()
    assert texts(ax) == ["a", "b", "training", "validation"]


# Linear RGB as colour-blind people see it: Machado, Oliveira, Fernandes (2009), severity 1.
BLINDNESS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_the_colours_differ_for_colour_blind_people(kind):
    rgb = np.array([to_rgb(color) for color in plot.COLORS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(BLINDNESS[kind]).T, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = seen @ np.array(to_xyz).T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.column_stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])]
    )
    distance = np.linalg.norm(lab[:, None] - lab, axis=2)
    assert distance[np.triu_indices(len(lab), 1)].min() > 10  # 2.3 is just noticeable


@pytest.mark.parametrize("log", [None, False, True])
def test_a_fit_that_diverged_leaves_through_the_top(log):
    results = fits(2)
    top = plot.losses(results, log=log).get_ylim()[1]
    lost = diverged(lr=5.0)
    ax = plot.losses({**results, "lost": lost}, log=log)
    assert top <= ax.get_ylim()[1] < 3 * top < lost.history.loss[-1]
    assert ax.get_xlim()[1] < 10
    assert "lost (diverged)" in texts(ax)
    (cross,) = (line for line in ax.lines if line.get_marker() == "X")
    color = cross.get_color()
    curve = ax.lines[4]
    assert (curve.get_color(), curve.get_linestyle()) == (color, "-")
    assert 0 < cross.get_xdata()[0] < 1
    # The cross is where the curve meets the top.
    x, y = ax.transData.inverted().transform(
        cross.get_transform().transform([cross.get_xdata()[0], cross.get_ydata()[0]])
    )
    scale = ax.yaxis.get_transform().transform
    np.testing.assert_allclose(y, ax.get_ylim()[1])
    np.testing.assert_allclose(
        np.interp(x, curve.get_xdata(), scale(curve.get_ydata())), scale(y), rtol=1e-9
    )
    assert pixels_of(color, ax) > 100


@pytest.mark.parametrize("last", [np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_infinite_loss_leaves_through_the_top_too(last, dtype):
    r = diverged()
    history = replace(
        r.history, loss=np.array([0.5, last], dtype), val_loss=np.array([last, np.nan], dtype)
    )
    ax = plot.losses({"lost": replace(r, history=history), **fits(1)})
    assert ax.get_ylim()[1] < 10
    assert (
        pixels_of(ax.lines[0].get_color(), ax) > 150
    )  # the legend's line and the cross have fewer
    assert history.loss[1:].tolist() == pytest.approx([last], nan_ok=True)


def test_where_all_diverged_all_is_shown():
    r = diverged(validation=(X, Y))
    ax = plot.losses({"lost": r})
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[1] > r.history.loss[-1]
    (cross,) = (line for line in ax.lines if line.get_marker() == "X")
    assert cross.get_xydata().tolist() == [[r.n_epochs - 1, r.history.loss[-1]]]
    assert texts(ax) == ["lost (diverged)", "training", "validation"]


def test_few_decades_have_plain_numbers():
    ax = plot.losses(fits(1), log=True)
    drawn(ax)
    labels = [tick.get_text() for tick in ax.get_yticklabels(which="both")]
    assert "1" in labels
    assert [f"{float(label):g}" for label in labels] == labels


def test_a_fit_without_an_epoch():
    drawn(plot.losses({"a": gd.fit(X, Y, epochs=0), "b": gd.fit(X, Y, epochs=1)}))


@pytest.mark.parametrize(
    ("results", "error", "message"),
    [
        ({}, ValueError, "empty"),
        ([], TypeError, "must be a mapping of label to FitResult, not list"),
        (None, TypeError, "must be a mapping of label to FitResult, not NoneType"),
        ({"a": 1.0}, TypeError, r"results\['a'\] must be a FitResult, not float"),
    ],
)
def test_wrong_fits(results, error, message):
    with pytest.raises(error, match=message):
        plot.losses(results)
    assert not plt.get_fignums()


def test_a_wrong_scale():
    with pytest.raises(TypeError, match="log must be True or False, not 'yes'"):
        plot.losses(fits(1), log="yes")


# Paths


def parabola(x):
    return (x[0] - 3) ** 2


def bowl(x):
    return x[0] ** 2 + 10 * x[1] ** 2


def bowl_gradient(x):
    return [2 * x[0], 20 * x[1]]


@pytest.fixture
def on_parabola():
    return gd.minimize(parabola, [0.0], jac=lambda x: 2 * (x - 3), lr=0.85, maxiter=15)


@pytest.fixture
def on_bowl():
    return gd.minimize(bowl, [3.0, 1.0], jac=bowl_gradient, lr=0.08, maxiter=30)


@pytest.fixture(params=["descent", "contour", "surface"])
def drawing(request, on_parabola, on_bowl):
    """Each plot of a path: the function that draws it, a result and its function."""
    found = (on_parabola, parabola) if request.param == "descent" else (on_bowl, bowl)
    return getattr(plot, request.param), *found


def path_line(ax, label="_path"):
    (line,) = (line for line in ax.lines if line.get_label() == label)
    return line


def on_screen(ax, points):
    if ax.name == "3d":
        from mpl_toolkits.mplot3d.proj3d import proj_transform

        points = np.column_stack(proj_transform(*np.transpose(points), ax.get_proj())[:2])
    return ax.transData.transform(points)


def at(annotation, coordinates):
    """Where an annotation is, in pixels."""
    return coordinates(None).min


def test_the_path_its_start_and_its_end(drawing):
    draw, result, fun = drawing
    ax = draw(result, fun)
    expected = np.column_stack([result.path, result.fun_path])[:, : 2 if ax.name != "3d" else 3]
    line = path_line(ax)
    data = np.transpose(line.get_data_3d() if ax.name == "3d" else line.get_data())
    assert np.array_equal(data, expected)
    drawn(ax)
    labels = {t.get_text(): at(t, t.xycoords) for t in ax.texts if t.get_text()}
    np.testing.assert_allclose(labels["start"], on_screen(ax, expected[:1])[0])
    np.testing.assert_allclose(labels["end"], on_screen(ax, expected[-1:])[0])
    start, end = (
        text.get_window_extent() for text in ax.texts if text.get_text() in ("start", "end")
    )
    assert not start.overlaps(end)


def test_the_arrowheads_point_forward(drawing):
    draw, result, fun = drawing
    ax = draw(result, fun)
    drawn(ax)
    path = np.column_stack([result.path, result.fun_path])[:, : 2 if ax.name != "3d" else 3]
    heads = [text for text in ax.texts if not text.get_text()]
    assert 3 <= len(heads) <= 20
    middles = on_screen(ax, (path[1:] + path[:-1]) / 2)
    steps = np.diff(on_screen(ax, path), axis=0)
    for head in heads:
        tip, tail = at(head, head.xycoords), at(head, head.anncoords)
        k = np.linalg.norm(middles - tip, axis=1).argmin()
        cosine = (tip - tail) @ steps[k] / np.linalg.norm(tip - tail) / np.linalg.norm(steps[k])
        assert cosine > 0.99


def test_the_curve(on_parabola):
    ax = plot.descent(on_parabola, parabola, xlim=(-2, 7), points=10)
    x, y = ax.lines[0].get_data()
    assert np.array_equal(x, np.linspace(-2, 7, 10))
    assert np.array_equal(y, (x - 3) ** 2)
    assert ax.get_xlim() == (-2, 7)


def test_a_curve_that_climbs_far_leaves_through_the_top(on_parabola):
    ax = plot.descent(on_parabola, parabola, xlim=(-1000, 1000))
    assert 9 < ax.get_ylim()[1] < 20


def test_points_without_a_value_leave_gaps():
    def well(x):
        return x[0] - np.log(x[0]) if x[0] != 2 else np.inf

    result = gd.minimize(well, [4.0], jac=lambda x: 1 - 1 / x, lr=0.3, maxiter=9)
    ax = plot.descent(result, well, xlim=(-1, 5), points=7)
    x, y = ax.lines[0].get_data()
    assert x[np.isnan(y)].tolist() == [-1, 0, 2]
    drawn(ax)


@pytest.mark.parametrize("draw", [plot.contour, plot.surface])
def test_a_map_with_a_hole(draw):
    def well(x):
        return x[0] ** 2 + x[1] - np.log(x[1])

    result = gd.minimize(
        well, [2.0, 0.3], jac=lambda x: np.array([2 * x[0], 1 - 1 / x[1]]), lr=0.1, maxiter=9
    )
    ax = draw(result, well, xlim=(-1, 3), ylim=(-1, 3))
    drawn(ax)
    assert ax.get_ylim() == (-1, 3)


def test_errors_of_the_function_come_through(drawing):
    draw, result, _ = drawing

    def fails(x):
        raise ZeroDivisionError("of the function")

    with pytest.raises(ZeroDivisionError, match="of the function"):
        draw(result, fails)


def test_the_valley_is_visible(on_bowl):
    """Of the default levels, some lie near the minimum and some far above it."""
    ax = plot.contour(on_bowl, bowl)
    heights = ax.collections[0].levels
    assert len(heights) == 20
    assert heights[0] < 0.01 * heights[-1]
    np.testing.assert_allclose(np.diff(np.log(heights)), np.diff(np.log(heights))[0], rtol=0.05)


def test_levels_as_given(on_bowl):
    ax = plot.contour(on_bowl, bowl, levels=[0.5, 1, 2])
    assert ax.collections[0].levels.tolist() == [0.5, 1, 2]
    assert len(plot.contour(on_bowl, bowl, levels=7).collections[0].levels) == 7


def test_a_map_of_two_heights():
    def step(x):
        return float(x[0] > 0)

    result = gd.minimize(step, [2.0, 0.3], jac=lambda x: np.array([1.0, 0.0]), lr=0.5, maxiter=6)
    drawn(plot.contour(result, step))


@pytest.mark.parametrize("draw", [plot.contour, plot.surface])
def test_several_paths_on_one_map(draw, on_bowl):
    other = gd.minimize(bowl, [-3.0, 1.0], jac=bowl_gradient, lr=0.02, maxiter=30)
    same = gd.minimize(bowl, [3.0, 1.0], jac=bowl_gradient, lr=0.04, maxiter=30)
    ax = draw({"a": on_bowl, "b": other, "c": same}, bowl)
    colors = {path_line(ax, label).get_color() for label in "abc"}
    assert len(colors) == 3
    assert texts(ax) == ["a", "b", "c", "end"]
    assert [t.get_text() for t in ax.texts if t.get_text()] == ["start", "start"]
    assert all(pixels_of(color, ax) > 100 for color in colors)
    assert ax.get_xlim()[0] < -3 < 3 < ax.get_xlim()[1]


@pytest.mark.parametrize("elev", [60, 5, -60])
def test_the_surface_does_not_hide_the_path(on_bowl, elev):
    """From wherever one looks, as many pixels have the path's colour as without the surface."""

    def pixels(*, bare):
        ax = plot.surface(on_bowl, bowl, points=20)
        ax.view_init(elev=elev, azim=20)
        for x in (
            -3,
            -2,
            -1,
        ):  # matplotlib's own order, by distance, starts above the lines' zorder
            ax.scatter(x, 1, 10, color="red")
        if bare:
            ax.collections[0].remove()
        return pixels_of(path_line(ax).get_color(), ax)

    assert pixels(bare=False) > 100
    assert pixels(bare=False) == pytest.approx(pixels(bare=True), rel=0.03)


def test_names_and_arrowheads_turn_with_the_surface(on_bowl):
    ax = plot.surface(on_bowl, bowl, points=5)
    for azim in (0, 90):
        ax.view_init(azim=azim)
        drawn(ax)
        (start,) = (text for text in ax.texts if text.get_text() == "start")
        here = on_screen(ax, [[3.0, 1.0, bowl([3.0, 1.0])]])[0]
        box = start.get_window_extent()
        np.testing.assert_allclose((box.min + box.max) / 2, here, atol=40)


def test_a_path_that_is_a_point(drawing):
    draw, result, fun = drawing
    at_once = replace(result, nit=0, path=result.path[:1], fun_path=result.fun_path[:1])
    ax = draw(at_once, fun)
    drawn(ax)
    start, end = (
        text.get_window_extent() for text in ax.texts if text.get_text() in ("start", "end")
    )
    assert not start.overlaps(end)


def test_a_path_that_was_lost(drawing):
    """Iterates that are not finite are left out."""
    draw, result, fun = drawing
    path, fun_path = result.path[:4].copy(), result.fun_path[:4].copy()
    path[3], fun_path[2:] = np.inf, np.nan
    result = replace(result, nit=3)
    ax = draw(replace(result, path=path, fun_path=fun_path), fun)
    drawn(ax)
    assert len(path_line(ax).get_xdata()) == 2
    with pytest.raises(ValueError, match="the path of the result has no finite iterate"):
        draw(replace(result, path=np.full((4, path.shape[1]), np.nan), fun_path=fun_path), fun)


def lost(fun, jac, x0, **options):
    with np.errstate(all="ignore"), pytest.raises(gd.DivergenceError) as caught:
        gd.minimize(fun, x0, jac=jac, **{"maxiter": 30_000} | options)
    return caught.value.result


def box_of(ax):
    limits = [ax.get_xlim(), ax.get_ylim(), *([ax.get_zlim()] if ax.name == "3d" else [])]
    return np.array(limits).T


DIVERGING = {
    "slowly": {"lr": 0.102},
    "soon": {"lr": 1.0},
    "at once": {"lr": 1e100},
    "so far that squares overflow": {"lr": 1e150},
    "with momentum": {"optimizer": gd.SGD(0.3, momentum=0.9)},
}


@pytest.mark.parametrize("options", DIVERGING.values(), ids=DIVERGING)
@pytest.mark.parametrize("draw", [plot.descent, plot.contour, plot.surface])
def test_a_path_that_diverged_leaves_the_frame(draw, options):
    """A cross is where it does, and the frame has the range of its first steps."""
    if draw is plot.descent:
        fun, result = parabola, lost(parabola, lambda x: 20 * (x - 3), [0.0], **options)
    else:
        fun, result = bowl, lost(bowl, lambda x: np.array(bowl_gradient(x)), [3.0, 1.0], **options)
    ax = draw(result, fun)
    drawn(ax)
    low, high = box_of(ax)
    d = result.path.shape[1]
    assert np.ptp(box_of(ax)[:, :d], axis=0).max() < 300
    line = path_line(ax)
    path = np.transpose(line.get_data_3d() if ax.name == "3d" else line.get_data())
    assert np.array_equal(path[0, :d], result.path[0])
    assert (path >= low - 1e-9 * (high - low)).all()
    assert (path <= high + 1e-9 * (high - low)).all()
    cross = ax.lines[[other.get_marker() for other in ax.lines].index("X")]
    spot = np.ravel(cross.get_data_3d() if ax.name == "3d" else cross.get_data())
    assert spot.tolist() == path[-1].tolist()
    if options != {"lr": 1e150}:  # of which no step is finite
        assert np.isclose([spot - low, high - spot], 0, atol=1e-9 * (high - low)).any()
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["start", "diverged"]
    assert not any(line.get_marker() == "*" for line in ax.lines)


@pytest.mark.parametrize("draw", [plot.contour, plot.surface])
def test_other_paths_that_cannot_be_followed(draw):
    """Down without an end, up without being lost yet, and lost within the frame."""

    def hill(x):
        return -bowl(x)

    down = lost(hill, lambda x: -np.array(bowl_gradient(x)), [3.0, 1.0], lr=0.01)
    assert np.ptp(box_of(draw(down, hill))[:, 0]) < 100
    with pytest.warns(RuntimeWarning, match="f rose"):
        up = gd.minimize(bowl, [3.0, 1.0], jac=bowl_gradient, lr=0.4, maxiter=150)
    assert up.fun > 1e200
    assert texts(draw({"up": up}, bowl)) == ["up (diverged)"]

    def well(x):
        return (x - np.log(x)).sum()

    over = lost(well, lambda x: 1 - 1 / x, [4.0, 1.0], lr=5.0)
    assert over.nit > 1
    ax = draw(over, well)
    drawn(ax)
    line = path_line(ax)
    assert len(line.get_xdata()) == len(over.path) - 1


def test_diverged_paths_beside_others(on_bowl):
    wild = lost(bowl, lambda x: np.array(bowl_gradient(x)), [3.0, 1.0], lr=0.11)
    assert texts(plot.contour({"a": on_bowl, "b": wild}, bowl)) == ["a", "b (diverged)", "end"]
    assert texts(plot.contour({"b": wild}, bowl)) == ["b (diverged)"]
    ax = plot.contour(wild, bowl, xlim=(-4, 4), ylim=(-4, 4))
    assert box_of(ax).tolist() == [[-4, -4], [4, 4]]
    assert np.abs(path_line(ax).get_ydata()[-1]) == pytest.approx(4)


def test_a_figure_can_be_pickled(drawing):
    draw, result, fun = drawing
    figure = draw(result, fun).figure
    again = pickle.loads(pickle.dumps(figure))
    assert np.array_equal(drawn(again.axes[0]), drawn(figure.axes[0]))


def test_a_path_along_one_variable_has_room_in_the_other(on_bowl):
    path = on_bowl.path.copy()
    path[:, 1] = 0.5
    ax = plot.contour(replace(on_bowl, path=path), bowl)
    assert ax.get_ylim()[0] < 0.4
    assert ax.get_ylim()[1] > 0.6


@pytest.mark.parametrize(
    ("fun", "error", "message"),
    [
        (3.0, TypeError, "fun must be callable, not float"),
        (None, TypeError, "fun must be callable, not NoneType"),
        (lambda x: (1.0, x), TypeError, "give lambda x: fun"),
        (lambda x: "high", TypeError, "fun must return a number, not 'high'"),
        (lambda x: np.ones(3), TypeError, "fun must return a number, not array"),
        (lambda x: None, TypeError, "fun must return a number, not None"),
        (lambda x: np.nan, ValueError, "fun is finite nowhere from"),
    ],
)
def test_wrong_functions(drawing, fun, error, message):
    draw, result, _ = drawing
    with pytest.raises(error, match=message):
        draw(result, fun)


def test_a_function_may_change_its_argument_and_return_an_array_of_one(drawing):
    draw, result, fun = drawing

    def careless(x):
        value = np.array([fun(x)])
        x[:] = np.nan
        return value

    drawn(draw(result, careless))


def test_wrong_results(drawing):
    draw, result, fun = drawing
    with pytest.raises(TypeError, match=r"results\[''\] must be a MinimizeResult, not list"):
        draw([1.0], fun)
    with pytest.raises(TypeError, match=r"results\['a'\] must be a MinimizeResult, not FitResult"):
        draw({"a": gd.fit(X, Y)}, fun)
    with pytest.raises(ValueError, match="empty"):
        draw({}, fun)
    three = replace(result, path=np.zeros((len(result.path), 3)))
    with pytest.raises(ValueError, match=r"the path of the result has shape \(\d+, 3\), but this"):
        draw(three, fun)
    assert not plt.get_fignums()


def test_the_other_plot_is_named(on_parabola, on_bowl):
    with pytest.raises(ValueError, match=r"of 1 variable: see contour or surface"):
        plot.descent({"a": on_bowl}, bowl)
    with pytest.raises(ValueError, match=r"of 2 variables: see descent"):
        plot.contour(on_parabola, parabola)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"xlim": (1, 1)}, ValueError, r"xlim=\(1, 1\) must increase"),
        ({"xlim": (2, 1)}, ValueError, r"xlim=\(2, 1\) must increase"),
        ({"xlim": 3}, ValueError, r"xlim=3 must be a pair"),
        ({"xlim": (1, 2, 3)}, ValueError, "must be a pair"),
        ({"xlim": (0, np.inf)}, ValueError, r"xlim\[1\]=inf must be a finite number"),
        ({"xlim": ("a", 1)}, TypeError, r"xlim\[0\] must be a number"),
        ({"points": 1}, ValueError, "points=1 must be at least 2"),
        ({"points": 9.0}, TypeError, "points must be an integer"),
        ({"ax": 3}, TypeError, "ax must be a matplotlib Axes, not int"),
    ],
)
def test_wrong_options(drawing, options, error, message):
    draw, result, fun = drawing
    with pytest.raises(error, match=message):
        draw(result, fun, **options)


@pytest.mark.parametrize(
    "levels", [1, 2.5, None, [1.0], [2.0, 1.0], [1.0, np.nan], [1.0, np.inf], [[1.0, 2.0]]]
)
def test_wrong_levels(on_bowl, levels):
    with pytest.raises((TypeError, ValueError), match="levels"):
        plot.contour(on_bowl, bowl, levels=levels)


# All


@pytest.fixture(params=["losses", "descent", "contour", "surface"])
def picture(request, on_parabola, on_bowl):
    """Each plot, as a function of the axes."""
    arguments = {
        "losses": lambda: (fits(2),),
        "descent": lambda: (on_parabola, parabola),
        "contour": lambda: (on_bowl, bowl),
        "surface": lambda: (on_bowl, bowl),
    }[request.param]()
    return lambda ax=None: getattr(plot, request.param)(*arguments, ax=ax)


def test_the_axes(picture, ax, solid):
    own = picture()
    assert own not in (ax, solid)
    right, wrong = (solid, ax) if own.name == "3d" else (ax, solid)
    assert picture(right) is right
    assert len(right.figure.axes) == 1
    with pytest.raises(TypeError, match=f"with projection={own.name!r}, not one with"):
        picture(wrong)
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes, not Figure"):
        picture(ax.figure)
    polar = plt.subplots(subplot_kw={"projection": "polar"})[1]
    with pytest.raises(TypeError, match="not one with 'polar'"):
        picture(polar)


def test_nothing_is_shown(picture, monkeypatch):
    def show(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(plt, "show", show)
    monkeypatch.setattr(Figure, "show", show)
    picture()


def test_no_text_is_cut_off(picture):
    ax = picture()
    drawn(ax)
    page = ax.figure.bbox
    named = [text for text in ax.texts if text.get_text()]
    axes = [ax.xaxis, ax.yaxis, ax.zaxis] if ax.name == "3d" else [ax.xaxis, ax.yaxis]
    for text in [*named, *(axis.label for axis in axes)]:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1


def test_without_matplotlib(picture, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        picture()


def test_axes_of_ones_own_need_no_pyplot(python):
    """Which may look for a screen."""
    program = """
import sys
from matplotlib.figure import Figure
import gdfast as gd
figure = Figure()
r = gd.minimize(lambda x: x[0] + x[1], [1.0, 1.0], jac=lambda x: [1.0, 1.0], lr=0.1, maxiter=3)
gd.fit([[0.0], [1.0]], [1.0, 2.0]).plot(figure.add_subplot(221))
gd.plot.contour(r, lambda x: x[0] + x[1], ax=figure.add_subplot(222), points=9)
gd.plot.surface(r, lambda x: x[0] + x[1], ax=figure.add_subplot(223, projection="3d"), points=9)
figure.savefig("/dev/null", format="png")
print("matplotlib.pyplot" in sys.modules)
"""
    assert python(program) == "False"
