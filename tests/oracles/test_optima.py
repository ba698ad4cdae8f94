"""Where fits end, against independent solvers; and that the rates of "auto" lead there without a detour."""

import math
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import xlogy
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
)
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

import gdfast as gd
from gdfast import _backends, losses, schedules
from reference_fit import LOSSES, parameters_of

FASTEST = next(iter(_backends.TABLE))  # the bits are the same


def standardized(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y.astype(float)


def counts():
    random = np.random.default_rng(0)
    X = random.standard_normal((300, 5))
    return X, random.poisson(np.exp(X @ [0.5, -0.3, 0.2, 0.0, 0.1] + 0.5)).astype(float)


DIABETES = standardized(load_diabetes)
DIABETES = DIABETES[0], (DIABETES[1] - DIABETES[1].mean()) / DIABETES[1].std()
CANCER = standardized(load_breast_cancer)
WINE = standardized(load_wine)
DIGITS = load_digits().data / 16, load_digits().target
COUNTS = counts()
DATA = {"numbers": DIABETES, "signs": CANCER, "counts": COUNTS, "classes": WINE}


SMOOTH = [
    name
    for name, record in losses.TABLE.items()
    if record().curvature is not None or name == "poisson"
]


class Objective:
    """The mean loss with its penalties, of weights and intercepts."""

    def __init__(self, name, X, y, l1=0.0, l2=0.0, weights=None, **parameters):
        self.name, self.X, self.l1, self.l2 = name, X, l1, l2
        record = losses.TABLE[name](**parameters)
        self.parameters = parameters_of(record)
        self.outputs = int(y.max()) + 1 if name == "softmax" else None
        self.y = {"signs": 2 * y - 1, "classes": y[:, None]}.get(record.targets, y)
        self.weights = np.ones(len(y)) if weights is None else weights / np.mean(weights)

    def loss(self, coef, intercept):
        """The mean loss, and its derivatives by the weights and the intercepts."""
        p = self.X @ coef.T + intercept
        value, slope = LOSSES[self.name](p, self.y, **self.parameters)
        c = (self.weights * slope.T).T / len(self.y)
        return np.mean(self.weights * value.ravel()), c.T @ self.X, c.sum(axis=0)

    def __call__(self, coef, intercept):
        penalty = self.l1 * np.abs(coef).sum() + self.l2 / 2 * np.sum(coef**2)
        return self.loss(coef, intercept)[0] + penalty

    def lowest(self):
        """Its minimum by L-BFGS; l1 must be 0."""
        k = self.outputs
        shape = (k or 1, self.X.shape[1] + 1)

        def whole(params):
            models = params.reshape(shape) if k else params
            value, slope, shift = self.loss(models[..., :-1], models[..., -1])
            slope = slope + self.l2 * models[..., :-1]
            value += self.l2 / 2 * np.sum(models[..., :-1] ** 2)
            return value, np.append(slope, np.expand_dims(shift, -1), axis=-1).ravel()

        start = np.zeros(math.prod(shape))
        options = {"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-9}
        return minimize(whole, start, jac=True, method="L-BFGS-B", options=options).fun

    def by_proximal_steps(self, curvature, steps=20_000):
        """The weights of the minimum and the intercept, by accelerated proximal steps that start anew (FISTA)."""
        X = np.column_stack([self.X, np.ones(len(self.X))])
        rate = 1 / (curvature * np.linalg.eigvalsh(X.T @ X / len(X))[-1] + self.l2)
        w = ahead = np.zeros(X.shape[1])
        t, value = 1.0, math.inf
        for _ in range(steps):
            _, slope, shift = self.loss(ahead[:-1], ahead[-1])
            new = ahead - rate * np.append(slope + self.l2 * ahead[:-1], shift)
            new[:-1] = np.sign(new[:-1]) * np.maximum(0, abs(new[:-1]) - rate * self.l1)
            if np.array_equal(new, w):
                break
            now = self(new[:-1], new[-1])
            t, last = (1.0 if now > value else (1 + math.sqrt(1 + 4 * t * t)) / 2), t
            ahead = new if t == 1.0 else new + (last - 1) / t * (new - w)
            w, value = new, now
        return w[:-1], w[-1]


def nesterov(momentum=0.9):
    return gd.SGD(lr="auto", momentum=momentum, nesterov=True)


def fit(X, y, **options):
    """A full-batch fit to the tolerance."""
    r = gd.fit(X, y, **{"epochs": 20_000, "tol": 1e-6, "backend": FASTEST} | options)
    assert r.stop_reason == "tol", r
    assert r.converged
    return r


def reaches(r, objective, lowest, tolerance=1e-6):
    """Whether the fit ended at the minimum, and its loss is the textbook's."""
    assert objective(r.coef, r.intercept) == pytest.approx(lowest, rel=tolerance)
    assert r.history.loss[-1] == pytest.approx(objective.loss(r.coef, r.intercept)[0], rel=1e-11)


@pytest.mark.parametrize("l2", [1e-3, 0.1, 3.0])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_losses_end_at_the_minimum(name, l2):
    """That of L-BFGS, to 1e-6 of the objective."""
    X, y = DATA[losses.find(name).targets]
    objective = Objective(name, X, y, l2=l2)
    momentum = 0.99 if l2 < 0.1 or name == "poisson" else 0.9
    r = fit(X, y, loss=name, l2=l2, optimizer=nesterov(momentum))
    reaches(r, objective, objective.lowest())


@pytest.mark.parametrize("name", [n for n in SMOOTH if n != "poisson"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_plain_steps_end_there_too(name, fit_intercept):
    X, y = DATA[losses.find(name).targets]
    objective = Objective(name, X, y, l2=0.5)
    r = fit(X, y, loss=name, l2=0.5, fit_intercept=fit_intercept)
    if fit_intercept:
        reaches(r, objective, objective.lowest())
    else:
        assert not np.any(r.intercept)
        slope = objective.loss(r.coef, r.intercept)[1] + 0.5 * r.coef
        assert abs(slope).max() <= 1.001e-6


def test_ridge():
    X, y = DIABETES
    peer = Ridge(alpha=10.0, tol=1e-12).fit(X, y)
    l2 = 2 * 10.0 / len(X)  # theirs is sum r^2 + alpha sum w^2
    r = fit(X, y, l2=l2, tol=1e-9)
    np.testing.assert_allclose(r.coef, peer.coef_, rtol=1e-6)
    reaches(
        r,
        Objective("squared_error", X, y, l2=l2),
        Objective("squared_error", X, y, l2=l2)(peer.coef_, peer.intercept_),
    )


@pytest.mark.parametrize(
    ("loss", "data", "C"),
    [
        ("logistic", CANCER, 1.0),
        ("logistic", CANCER, 0.01),
        ("softmax", WINE, 1.0),
        ("softmax", DIGITS, 0.002),
    ],
    ids=["cancer", "cancer, strong", "wine", "digits"],
)
def test_logistic_regression(loss, data, C):
    X, y = data
    peer = LogisticRegression(C=C, tol=1e-9, max_iter=10_000).fit(X, y)
    l2 = 1 / (C * len(X))  # theirs is C sum loss + sum w^2 / 2
    objective = Objective(loss, X, y, l2=l2)
    r = fit(X, y, loss=loss, l2=l2, optimizer=nesterov(0.95))
    coef, intercept = np.squeeze(peer.coef_), np.squeeze(peer.intercept_)
    reaches(r, objective, objective(coef, intercept))
    np.testing.assert_allclose(r.coef, coef, atol=2e-3)
    assert (r.predict(X) == peer.predict(X)).all()
    np.testing.assert_allclose(r.predict_proba(X), peer.predict_proba(X), atol=1e-3)


def test_poisson_regressor():
    X, y = COUNTS
    peer = PoissonRegressor(alpha=0.1, tol=1e-10, max_iter=1000).fit(X, y)
    objective = Objective("poisson", X, y, l2=0.1)
    r = fit(X, y, loss="poisson", l2=0.1, optimizer=nesterov(0.99))
    reaches(r, objective, objective(peer.coef_, peer.intercept_))
    np.testing.assert_allclose(r.predict(X), peer.predict(X), rtol=1e-4)
    deviance = 2 * np.mean(xlogy(y, y / r.predict(X)) - y + r.predict(X))
    null = 2 * np.mean(xlogy(y, y / y.mean()))
    assert 1 - deviance / null == pytest.approx(peer.score(X, y), rel=1e-6)  # their D^2


def test_huber_regressor():
    """At the scale that it found, it minimises sum of 2 / scale * huber(r; 1.35 scale) + alpha sum w^2."""
    X, y = DIABETES
    peer = HuberRegressor(alpha=1.0, tol=1e-10, max_iter=10_000).fit(X, y)
    delta, l2 = 1.35 * peer.scale_, peer.scale_ / len(X)
    objective = Objective("huber", X, y, l2=l2, delta=delta)
    r = fit(X, y, loss=losses.Huber(delta), l2=l2, optimizer=nesterov())
    reaches(r, objective, objective(peer.coef_, peer.intercept_))


# Losses with kinks have no gradient that vanishes: it is the rates that shrink.
KINKED = {"epochs": 100_000, "lr": schedules.Exponential(1.0, gamma=0.9998)}


@pytest.mark.parametrize("q", [0.2, 0.5, 0.9])
def test_quantile_regressor(q):
    """Steps that shrink geometrically converge where the minimum is sharp (Goffin 1977)."""
    X, y = DIABETES
    peer = QuantileRegressor(quantile=q, alpha=0).fit(X, y)
    objective = Objective("quantile", X, y, q=q)
    lowest = objective(peer.coef_, peer.intercept_)
    r = gd.fit(X, y, loss=losses.Quantile(q), **KINKED, backend=FASTEST)
    assert lowest * (1 - 1e-9) <= objective(r.coef, r.intercept) <= lowest * (1 + 1e-6)
    assert np.mean(y <= r.predict(X)) == pytest.approx(q, abs=0.03)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("hinge", LinearSVC(loss="hinge", C=0.1, fit_intercept=False, tol=1e-9, max_iter=10**6)),
        (
            "epsilon_insensitive",
            LinearSVR(epsilon=0.1, C=0.1, fit_intercept=False, tol=1e-9, max_iter=10**6),
        ),
    ],
    ids=["hinge", "epsilon_insensitive"],
)
def test_support_vectors(name, peer):
    X, y = DATA[losses.find(name).targets]
    peer.fit(X, y)
    l2 = 1 / (peer.C * len(X))
    objective = Objective(name, X, y, l2=l2)
    lowest = objective(peer.coef_.ravel(), 0.0)
    r = gd.fit(X, y, loss=name, l2=l2, fit_intercept=False, **KINKED, backend=FASTEST)
    assert lowest * (1 - 1e-6) <= objective(r.coef, 0.0) <= lowest * (1 + 1e-6)


def test_perceptron_tells_apart_what_a_line_can():
    """After at most (R / margin)^2 mistakes (Novikoff 1962), of the rate 1 as of any other."""
    X, y = load_iris(return_X_y=True)
    X, y = X[:100], y[:100]
    for lr in (1.0, 1e-3):
        r = gd.fit(X, y, loss="perceptron", lr=lr, batch_size=1, epochs=30, backend=FASTEST)
        assert r.history.loss[-1] == 0
        assert (r.predict(X) == y).all()


@pytest.mark.parametrize("optimizer", [gd.SGD("auto"), gd.SGD("auto", momentum=0.9), nesterov()])
@pytest.mark.parametrize("ratio", [1.0, 0.7])
@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.5])
def test_elastic_net(alpha, ratio, optimizer):
    """The zeros of Lasso and ElasticNet, and their minimum."""
    X, y = DIABETES
    peer = (Lasso(alpha) if ratio == 1 else ElasticNet(alpha, l1_ratio=ratio)).set_params(
        tol=1e-12, max_iter=10**6
    )
    peer.fit(X, y)
    penalty = {"l1": alpha * ratio, "l2": alpha * (1 - ratio)}
    objective = Objective("half_squared_error", X, y, **penalty)
    r = fit(X, y, loss="half_squared_error", optimizer=optimizer, **penalty)
    reaches(r, objective, objective(peer.coef_, peer.intercept_))
    assert ((r.coef == 0) == (peer.coef_ == 0)).all()
    assert 0 < np.count_nonzero(peer.coef_) < 10


def test_l1_above_the_largest_slope_leaves_nothing():
    X, y = DIABETES
    largest = abs(X.T @ (y - y.mean())).max() / len(y)
    for optimizer in (gd.SGD("auto"), gd.SGD("auto", momentum=0.9), gd.Adam(0.01)):
        common = {"loss": "half_squared_error", "optimizer": optimizer}
        assert not fit(X, y, l1=1.001 * largest, **common).coef.any()
        assert np.count_nonzero(fit(X, y, l1=0.97 * largest, **common).coef) == 1


ADAM = gd.Adam(schedules.Exponential(0.05, 0.999))


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer", [gd.SGD("auto"), gd.SGD("auto", momentum=0.9), nesterov(), ADAM], ids=str
)
@pytest.mark.parametrize("name", [n for n in SMOOTH if n not in ("softmax", "poisson")])
def test_l1_ends_where_proximal_steps_do(name, optimizer):
    """The same zeros and the same minimum, for all optimizers that remember gradients."""
    X, y = DATA[losses.find(name).targets]
    penalty = {"l1": 0.05, "l2": 0.05}
    objective = Objective(name, X, y, **penalty)
    coef, intercept = objective.by_proximal_steps(losses.find(name).curvature)
    r = fit(X, y, loss=name, optimizer=optimizer, **penalty)
    reaches(r, objective, objective(coef, intercept))
    assert ((r.coef == 0) == (coef == 0)).all()
    assert 0 < np.count_nonzero(coef) < len(coef)


def test_l1_of_logistic_regression():
    X, y = CANCER
    C = 0.1
    peer = LogisticRegression(
        C=C, l1_ratio=1, solver="saga", tol=1e-9, max_iter=100_000, random_state=0
    )
    peer.fit(X, y)
    objective = Objective("logistic", X, y, l1=1 / (C * len(X)))
    coef = peer.coef_.ravel()
    for optimizer in (gd.SGD("auto"), nesterov(0.95), ADAM):
        r = fit(X, y, loss="logistic", l1=objective.l1, optimizer=optimizer)
        reaches(r, objective, objective(coef, peer.intercept_[0]))
        assert ((r.coef == 0) == (coef == 0)).all()


def test_l1_of_softmax():
    """The conditions of a minimum: slopes of l1 where the weights are not 0, less where they are."""
    X, y = WINE
    objective = Objective("softmax", X, y, l1=0.02)
    for optimizer in (gd.SGD("auto"), nesterov(0.95), ADAM):
        r = fit(X, y, loss="softmax", l1=0.02, optimizer=optimizer)
        _, slope, shift = objective.loss(r.coef, r.intercept)
        zero = r.coef == 0
        assert 0 < zero.sum() < zero.size
        np.testing.assert_allclose(slope[~zero], -0.02 * np.sign(r.coef[~zero]), atol=1.001e-6)
        assert (abs(slope[zero]) <= 0.02 + 1.001e-6).all()
        assert abs(shift).max() <= 1.001e-6


def columns(name):
    """Three columns of targets for each loss of one output."""
    X, y = DATA[losses.find(name).targets]
    X = X[:60, :4]
    if losses.find(name).targets == "signs":
        return X, np.column_stack([y[:60], X[:, 0] > 0, X[:, 1] + X[:, 2] > 0.3]).astype(float)
    return X, np.column_stack([y[:60], abs(y[20:80]), abs(y[100:160]) + 1])


@pytest.mark.parametrize("batch_size", [None, 1, 7])
@pytest.mark.parametrize(
    "optimizer", [gd.SGD(0.01), gd.SGD(0.01, momentum=0.5), gd.Adam(0.01)], ids=str
)
@pytest.mark.parametrize("name", [n for n in losses.TABLE if n != "softmax"])
def test_several_outputs_are_that_many_fits(name, optimizer, batch_size):
    """The same bytes of weights; the loss is the sum of theirs."""
    X, Y = columns(name)
    for penalty in ({}, {"l1": 0.01, "l2": 0.1}):
        common = {
            "loss": name,
            "optimizer": optimizer,
            "batch_size": batch_size,
            "epochs": 5,
            "backend": FASTEST,
            **penalty,
        }
        together = gd.fit(X, Y, **common)
        apart = [gd.fit(X, y, **common) for y in Y.T]
        assert together.coef.tobytes() == np.array([r.coef for r in apart]).tobytes()
        assert together.intercept.tobytes() == np.array([r.intercept for r in apart]).tobytes()
        sums = sum(r.history.loss for r in apart)
        np.testing.assert_allclose(together.history.loss, sums, rtol=1e-13)
        for method in ("predict", "decision_function"):
            expected = np.column_stack([getattr(r, method)(X) for r in apart])
            assert np.array_equal(getattr(together, method)(X), expected)


@pytest.mark.parametrize("penalty", [{}, {"l1": 0.01, "l2": 0.1}], ids=str)
@pytest.mark.parametrize("name", losses.TABLE)
def test_a_weight_is_that_many_rows(name, penalty):
    X, y = DATA[losses.find(name).targets]
    rows = np.r_[0:25, len(y) - 25 : len(y)]
    X, y, weights = X[rows, :4], y[rows], np.arange(50) % 4
    common = {"loss": name, "lr": 0.01, "epochs": 100, "backend": FASTEST, **penalty}
    weighted = gd.fit(X, y, sample_weight=weights, **common)
    repeated = gd.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights), **common)
    for part in ("coef", "intercept"):
        np.testing.assert_allclose(getattr(weighted, part), getattr(repeated, part), rtol=1e-10)
    np.testing.assert_allclose(weighted.history.loss, repeated.history.loss, rtol=1e-12)


# Troubles of rows: (X, random) -> X.
TROUBLES = [
    lambda X, random: X,
    lambda X, random: X * 10.0 ** random.uniform(-3, 3, X.shape[1]),
    lambda X, random: X[:, :1] + 1e-3 * X,
    lambda X, random: X * np.where(np.arange(len(X)) == 0, 1e4, 1)[:, None],
    lambda X, random: np.column_stack([X, np.full(len(X), 1e3)]),
    lambda X, random: X * 1e3,
    lambda X, random: X * 1e-3,
]


def nasty(seed, targets):
    """Rows with two troubles, and targets of some scale with an outlier."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((random.choice([2, 3, 9, 40, 100]), random.choice([1, 2, 5, 20])))
    for k in random.integers(0, len(TROUBLES), 2):
        X = TROUBLES[k](X, random)
    n = len(X)
    if targets == "numbers":
        y = random.standard_normal(n) * 10.0 ** random.integers(-3, 4)
        y[0] *= random.choice([1.0, 1e4])
    elif targets == "counts":
        y = random.poisson(10.0 ** random.uniform(-1, 3), n).astype(float)
    else:
        y = random.integers(0, 2 if targets == "signs" else 4, n)
        y[:2] = [0, 1]
    return X, y


@pytest.mark.parametrize("l2", [0, 1])
@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize("batch_size", [None, 7, 1])
@pytest.mark.parametrize("name", losses.TABLE)
def test_auto_does_not_diverge(name, batch_size, momentum, l2):
    """For any loss; and plain steps of the full batch on a smooth one never lead up."""
    for seed in range(12):
        X, y = nasty(seed, losses.find(name).targets)
        with warnings.catch_warnings():
            if name == "perceptron":  # whose loss is 0 at the start, and at weights however small
                warnings.filterwarnings("ignore", "the loss rose", RuntimeWarning)
            r = gd.fit(
                X,
                y,
                loss=name,
                optimizer=gd.SGD(
                    "auto", momentum=momentum, nesterov=momentum > 0 and seed % 2 == 0
                ),
                l2=l2,
                batch_size=batch_size,
                epochs=100,
                standardize=seed % 4 == 3,
                trace="coef",
                backend=FASTEST,
            )
        assert np.isfinite(r.history.loss).all()
        assert np.isfinite(r.coef).all()
        if name in SMOOTH and batch_size is None and momentum == 0 and seed % 4 < 3:
            squares = (r.history.coef[:-1] ** 2).reshape(len(r.history.loss), -1).sum(axis=1)
            objective = r.history.loss + l2 / 2 * squares
            slack = 1e-12 * abs(objective[:-1]) + 1e-14 * abs(objective[0])
            assert (np.diff(objective) <= slack).all()


@pytest.mark.parametrize("options", [{}, {"batch_size": 1}, {"batch_size": 7}], ids=str)
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_poisson_with_momentum_does_not_run_away(options, momentum):
    """Rows of which one has no counts and the other many: what the momentum carries past is exp(p)."""
    for a, count in [(1.0, 10), (30.0, 1), (1e-3, 300), (1e3, 30)]:
        for b in (-1.0, 0.3, 1.0, 3.0, 100.0):
            X, y = [[a], [a * b]], [count, 0]
            for intercept in (False, True):
                optimizer = gd.SGD("auto", momentum=momentum)
                common = {"fit_intercept": intercept, "epochs": 300, "backend": FASTEST}
                r = gd.fit(X, y, loss="poisson", optimizer=optimizer, **common, **options)
                limit = 1 + 1e-12 if not options else 10
                assert r.history.loss.max() <= limit


def test_rates_too_small_to_be_numbers():
    """A start from which the poisson loss is near the largest number."""
    with pytest.raises(
        ValueError, match=r"no rate that is small enough .* smaller initial weights"
    ):
        gd.fit([[1.0], [1e3]], [1, 2], loss="poisson", coef_init=[0.7], backend=FASTEST)
