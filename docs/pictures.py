"""Draw the README's pictures into docs/images/: ``python docs/pictures.py``."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import gdfast as gd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = Path(__file__).with_name("images")


def save(ax: "Axes", name: str, title: str) -> None:
    """Write the axes' figure, in 256 colours to keep the file small."""
    ax.set_title(title, loc="left", fontsize="medium")
    drawn = BytesIO()
    ax.figure.savefig(drawn, dpi=100)
    with Image.open(drawn) as image:
        palette = image.convert("RGB").quantize(256, kmeans=10)
    palette.save(IMAGES / f"{name}.png", optimize=True)


def losses() -> None:
    """A fit with validation: the body mass of penguins."""
    X, y, _ = gd.datasets.load_penguins()
    r = gd.fit(X, y, standardize=True, batch_size=32, lr=0.005, epochs=50, validation=0.2)
    save(
        gd.plot.losses({"": r}, log=True),
        "losses",
        "The body mass of 333 penguins: squared error (g²)",
    )


def comparison() -> None:
    """Six optimizers on one data set."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(1000, 2))
    z = (X**2).sum(axis=1) + rng.normal(0, 0.1, 1000)
    optimizers = {
        "SGD": gd.SGD(lr=0.01),
        "SGD, momentum 0.9": gd.SGD(lr=0.01, momentum=0.9),
        "Adagrad": gd.Adagrad(lr=0.01),
        "RMSprop": gd.RMSprop(lr=0.01),
        "Adadelta": gd.Adadelta(),
        "Adam": gd.Adam(lr=0.01),
    }
    results = gd.compare(X, z, optimizers, validation=0.2, batch_size=32, epochs=50)
    save(
        gd.plot.losses(results),
        "comparison",
        "A linear model of x² + y² + noise, in mini-batches of 32",
    )


def himmelblau(x: np.ndarray) -> float:
    """Four minima, all 0."""
    return float((x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2)


def himmelblau_gradient(x: np.ndarray) -> np.ndarray:
    """The gradient of `himmelblau`."""
    a, b = x[0] ** 2 + x[1] - 11, x[0] + x[1] ** 2 - 7
    return np.array([4 * x[0] * a + 2 * b, 2 * a + 4 * x[1] * b])


def contour() -> None:
    """Three optimizers on one map, of which one ends in another valley."""
    optimizers = {
        "SGD": gd.SGD(lr=0.01),
        "SGD, momentum 0.9": gd.SGD(lr=0.005, momentum=0.9),
        "Adam": gd.Adam(lr=0.2),
    }
    results = {
        label: gd.minimize(
            himmelblau, [0.0, 0.0], jac=himmelblau_gradient, optimizer=record, maxiter=150
        )
        for label, record in optimizers.items()
    }
    ax = gd.plot.contour(results, himmelblau, xlim=(-2, 5.5), ylim=(-4, 4.5))
    save(ax, "contour", "Himmelblau's function")


def surface() -> None:
    """The same function in three dimensions."""
    r = gd.minimize(himmelblau, [0.0, 0.5], jac=himmelblau_gradient, lr=0.005, maxiter=100)
    ax = gd.plot.surface(r, himmelblau, xlim=(-5, 5), ylim=(-5, 5))
    save(ax, "surface", "Himmelblau's function, by gradient descent")


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for draw in (losses, comparison, contour, surface):
        draw()
