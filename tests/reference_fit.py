"""gdfast.fit once more: slowly, plainly, and without gdfast.

The formulas are those of the documentation and of the papers and libraries that it names, written as they are there and
not as they are cheapest. Nothing of gdfast is used but the arguments of `fit`, of which records are known by the names
of their types and fields.

`fit` computes with the numbers of `rounding`, so that its outcome says how far rounding may move it, and up to which
epoch it tells anything (`Outcome.settled`). In shapes, n are the rows, d the features, k the outputs; the intercept is
the last of a model's d + 1 weights.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace

import numpy as np

from rounding import WIDE, Sampled, joined, total, where

# --- Losses: predictions (n, k) and targets -> values and slopes, (n, k) or, of softmax, values (n, 1).


def positive(x):
    return np.maximum(x, 0)


def squared_error(p, y):
    r = p - y
    return r * r, 2 * r


def half_squared_error(p, y):
    r = p - y
    return r * r / 2, r


def huber(p, y, delta):
    r = p - y
    slope = np.minimum(np.maximum(r, -delta), delta)
    return slope * (r - slope / 2), slope


def epsilon_insensitive(p, y, epsilon):
    r = p - y
    return positive(abs(r) - epsilon), (r > epsilon) * 1 - (r < -epsilon) * 1


def squared_epsilon_insensitive(p, y, epsilon):
    r = p - y
    beyond = positive(abs(r) - epsilon)
    return beyond * beyond, 2 * positive(r - epsilon) - 2 * positive(-r - epsilon)


def quantile(p, y, q):
    r = p - y
    slope = (1 - q) * (r > 0) - q * (r <= 0)
    return slope * r, slope


def poisson(p, y):
    mean = np.exp(p)
    return mean - y * p, mean - y


def logistic(p, y):
    z = y * p
    return positive(-z) + np.log1p(np.exp(-abs(z))), -y / (1 + np.exp(z))


def hinge(p, y):
    z = y * p
    return positive(1 - z), -y * (z < 1)


def squared_hinge(p, y):
    short = positive(1 - y * p)
    return short * short, -2 * y * short


def modified_huber(p, y):
    z = y * p
    short = positive(1 - z)
    return where(z < -1, -4 * z, short * short), -2 * y * np.minimum(short, 2)


def perceptron(p, y):
    z = y * p
    return positive(-z), -y * (z <= 0)


def softmax(p, y):
    """With z = log sum exp(p_c) over the other classes less p_y, the value is log(1 + exp(z))."""

    def largest(p):
        top = p[:, :1]
        for c in range(1, p.shape[1]):
            top = np.maximum(top, p[:, c : c + 1])
        return top

    chosen = np.arange(p.shape[1]) == y
    others = where(chosen, -np.inf, p)
    top = largest(others)
    z = (
        np.log(total(np.exp(others - top), axis=1)[:, None])
        + top
        - total(p * chosen, axis=1)[:, None]
    )
    e = np.exp(p - largest(p))
    value = positive(z) + np.log1p(np.exp(-abs(z)))
    return value, e / total(e, axis=1)[:, None] - chosen * 1


LOSSES = {
    loss.__name__: loss
    for loss in (
        squared_error,
        half_squared_error,
        huber,
        epsilon_insensitive,
        squared_epsilon_insensitive,
        quantile,
        poisson,
        logistic,
        hinge,
        squared_hinge,
        modified_huber,
        perceptron,
        softmax,
    )
}
SIGNS = ["logistic", "hinge", "squared_hinge", "modified_huber", "perceptron"]
KINKED = ["epsilon_insensitive", "quantile", "hinge", "perceptron"]


# --- Optimizers: (record o, weights w, gradient g, rate, step t = 1, 2, ..., memory) -> new weights.


def sgd(o, w, g, lr, t, memory):
    g = g + o.weight_decay * w
    if o.momentum:
        b = g if t == 1 else o.momentum * memory.get("b", 0) + (1 - o.dampening) * g
        memory["b"] = b
        g = g + o.momentum * b if o.nesterov else b
    return w - lr * g


def adagrad(o, w, g, lr, t, memory):
    g = g + o.weight_decay * w
    s = memory["s"] = memory.get("s", o.initial_accumulator_value) + g * g
    return w - lr / (1 + (t - 1) * o.lr_decay) * g / (np.sqrt(s) + o.eps)


def rmsprop(o, w, g, lr, t, memory):
    g = g + o.weight_decay * w
    v = memory["v"] = o.alpha * memory.get("v", 0) + (1 - o.alpha) * (g * g)
    if o.centered:
        m = memory["m"] = o.alpha * memory.get("m", 0) + (1 - o.alpha) * g
        v = positive(v - m * m)
    step = g / (np.sqrt(v) + o.eps)
    if o.momentum:
        step = memory["b"] = o.momentum * memory.get("b", 0) + step
    return w - lr * step


def adadelta(o, w, g, lr, t, memory):
    g = g + o.weight_decay * w
    v = memory["v"] = o.rho * memory.get("v", 0) + (1 - o.rho) * (g * g)
    u = memory.get("u", 0 * w)
    step = np.sqrt(u + o.eps) / np.sqrt(v + o.eps) * g
    memory["u"] = o.rho * u + (1 - o.rho) * (step * step)
    return w - lr * step


def moments(o, g, memory):
    """Adam's moving averages of the gradient and of its square."""
    b1, b2 = o.betas
    m = memory["m"] = b1 * memory.get("m", 0) + (1 - b1) * g
    v = memory["v"] = b2 * memory.get("v", 0) + (1 - b2) * (g * g)
    return m, v


def adam(o, w, g, lr, t, memory, decoupled=False):
    b1, b2 = o.betas
    if decoupled:
        w = w - lr * o.weight_decay * w
    else:
        g = g + o.weight_decay * w
    m, v = moments(o, g, memory)
    if o.amsgrad:
        v = memory["largest"] = np.maximum(memory.get("largest", 0), v)
    return w - lr / (1 - b1**t) * m / (np.sqrt(v) / np.sqrt(1 - b2**t) + o.eps)


def adamw(o, w, g, lr, t, memory):
    return adam(o, w, g, lr, t, memory, decoupled=True)


def sparseadam(o, w, g, lr, t, memory):
    """Adam of the weights alone whose gradient is not 0, with eps added before the correction of v."""
    b1, b2 = o.betas
    moves = g != 0
    before = [memory.get(name, 0 * w) for name in "mv"]
    m, v = moments(o, g, memory)
    memory["m"], memory["v"] = (
        where(moves, new, old) for new, old in zip((m, v), before, strict=True)
    )
    return where(moves, w - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + o.eps), w)


def adamax(o, w, g, lr, t, memory):
    b1, b2 = o.betas
    g = g + o.weight_decay * w
    m = memory["m"] = b1 * memory.get("m", 0) + (1 - b1) * g
    u = memory["u"] = np.maximum(b2 * memory.get("u", 0 * w), abs(g) + o.eps)
    return w - lr / (1 - b1**t) * m / u


def nadam(o, w, g, lr, t, memory):
    b1, b2 = o.betas
    if o.decoupled_weight_decay:
        w = w - lr * o.weight_decay * w
    else:
        g = g + o.weight_decay * w
    m, v = moments(o, g, memory)
    now, ahead = (
        b1 * (1 - WIDE(0.5) * WIDE(0.96) ** (count * o.momentum_decay)) for count in (t, t + 1)
    )
    product = memory["product"] = memory.get("product", 1) * now
    mixed = (1 - now) / (1 - product) * g + ahead / (1 - product * ahead) * m
    return w - lr * mixed / (np.sqrt(v / (1 - b2**t)) + o.eps)


def radam(o, w, g, lr, t, memory):
    b1, b2 = o.betas
    if o.decoupled_weight_decay:
        w = w - lr * o.weight_decay * w
    else:
        g = g + o.weight_decay * w
    m, v = moments(o, g, memory)
    kept = memory["kept"] = memory.get("kept", 1) * b2  # b2^t, whose rounding the difference shows
    most = 2 / (1 - b2) - 1
    r = most - 2 * t * kept / (1 - kept)
    if r <= 5:
        return w - lr / (1 - b1**t) * m
    rectifier = np.sqrt((r - 4) * (r - 2) * most / ((most - 4) * (most - 2) * r))
    return w - lr / (1 - b1**t) * m * rectifier * np.sqrt(1 - kept) / (np.sqrt(v) + o.eps)


def rprop(o, w, g, lr, t, memory):
    down, up = o.etas
    smallest, largest = o.step_sizes
    agreement = g * memory.get("g", 0)
    size = memory.get("size", lr + 0 * w)
    size = where(agreement > 0, up * size, where(agreement < 0, down * size, size))
    size = memory["size"] = np.minimum(np.maximum(size, smallest), largest)
    g = memory["g"] = where(agreement < 0, 0, g)
    return w - np.sign(g) * size


def asgd(o, w, g, lr, t, memory):
    g = g + o.weight_decay * w
    lr = lr / (1 + o.lambd * lr * (t - 1)) ** o.alpha
    w = w - lr * o.lambd * w
    return w - lr * g


def lion(o, w, g, lr, t, memory):
    b1, b2 = o.betas
    m = memory.get("m", 0)
    memory["m"] = b2 * m + (1 - b2) * g
    return w - lr * (np.sign(b1 * m + (1 - b1) * g) + o.weight_decay * w)


OPTIMIZERS = {
    rule.__name__: rule
    for rule in (
        sgd,
        adagrad,
        rmsprop,
        adadelta,
        adam,
        adamw,
        sparseadam,
        adamax,
        nadam,
        radam,
        rprop,
        asgd,
        lion,
    )
}


def sampled(record, numbers):
    """A record with its numbers in this arithmetic."""

    def of(value):
        if isinstance(value, tuple):
            return tuple(map(of, value))
        return numbers.array(value) if isinstance(value, float) else value

    return SimpleNamespace(**{name: of(value) for name, value in vars(record).items()})


# --- Schedules: those of a count are functions of it, those that hear losses are told each.


def rate(schedule, t, loss, numbers):
    """The rate of an open loop at the epoch or step t = 0, 1, 2, ..."""
    s = sampled(schedule, numbers)
    match type(schedule).__name__:
        case "Constant":
            return s.lr
        case "StepDecay":
            return s.lr * s.factor ** (t // s.every)
        case "Exponential":
            return s.lr * s.gamma**t
        case "Cosine":
            return s.lr_min + (s.lr - s.lr_min) * (1 + np.cos(PI * WIDE(t) / s.total)) / 2
        case "InverseScaling":
            return s.lr / (WIDE(t) / s.t0 + 1) ** s.power
        case "Optimal":
            t0 = optimal_t0(s.l2, loss) if s.t0 is None else s.t0
            return 1 / (s.l2 * (t0 + t))
        case "Warmup":
            if t >= s.length:
                return rate(s.schedule, t - s.length, loss, numbers)
            first = rate(s.schedule, 0, loss, numbers)
            return first * (s.start_factor + (1 - s.start_factor) * t / s.length)
    raise AssertionError(schedule)


PI = 2 * np.arccos(WIDE(0))


def per(schedule):
    """The kind of its count, "epoch" or "step"."""
    return per(schedule.schedule) if hasattr(schedule, "schedule") else schedule.per


def slope_at(loss, p, y):
    """The derivative of a loss of one output."""
    return LOSSES[loss.name](p, y, **parameters_of(loss))[1]


def parameters_of(loss):
    """The numbers of a loss."""
    return {name: WIDE(value) for name, value in vars(loss).items() if name != "classes"}


def optimal_t0(l2, loss):
    """scikit-learn's: of a slope at a typical weight, which for softmax is at most 1."""
    typical = np.sqrt(1 / np.sqrt(l2))
    slope = 1 if type(loss).__name__ == "Softmax" else slope_at(loss, -typical, 1)
    return np.maximum(slope, 1) / (l2 * typical)


class Adaptive:
    """The rate divided where the loss has not fallen for some epochs."""

    def __init__(self, schedule, numbers):
        self.s = sampled(schedule, numbers)
        self.rate = self.s.lr
        self.best, self.waited = math.inf, 0

    def hear(self, loss):
        self.waited = self.waited + 1 if loss > self.best - self.s.tol else 0
        if self.waited >= self.s.patience and self.rate > self.s.lr_min:
            self.rate, self.waited = self.rate / self.s.factor, 0
        self.best = np.minimum(loss, self.best)


class ReduceOnPlateau:
    """torch's: the rate multiplied where the loss has not fallen for more than some epochs."""

    def __init__(self, schedule, numbers):
        self.s = sampled(schedule, numbers)
        self.rate = self.s.lr
        self.best, self.waited, self.cooling = math.inf, 0, 0

    def hear(self, loss):
        s = self.s
        limit = self.best - s.threshold
        if s.threshold_mode == "rel":
            limit = self.best * (1 - s.threshold)
        if loss < limit:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.cooling > 0:
            self.cooling, self.waited = self.cooling - 1, 0
        if self.waited > s.patience:
            lower = np.maximum(self.rate * s.factor, s.lr_min)
            if self.rate - lower > s.eps:
                self.rate = lower
            self.cooling, self.waited = s.cooldown, 0


CLOSED = {cls.__name__: cls for cls in (Adaptive, ReduceOnPlateau)}


# The largest second derivatives by a prediction, of the losses that have one.
CURVATURES = {
    "squared_error": 2,
    "half_squared_error": 1,
    "huber": 1,
    "squared_epsilon_insensitive": 2,
    "logistic": 1 / 4,
    "squared_hinge": 2,
    "modified_huber": 2,
    "softmax": 1 / 2,
}


def auto_limits(X, weights, loss, optimizer, l2, full_batch):
    """Between which numbers the rate "auto" of SGD and ASGD is, for a loss whose curvature is bounded.

    1 / L for the full batch, or less with momentum, which is stable up to 2 (1 + m) / L, with Nesterov's up to
    2 (1 + m) / (1 + 2 m) / L (Polyak 1964); in any order of the rows 1 / R, or (1 - m)^2 / (2 R).
    """
    X, weights = X.astype(float), weights.astype(float)
    decay = l2 + decay_of(optimizer)
    m = getattr(optimizer, "momentum", 0.0)
    damped = 1 - getattr(optimizer, "dampening", 0.0)
    if full_batch:
        largest = np.linalg.eigvalsh((weights * X).T @ X / len(X))[-1]
        roots = (1 + m) / (1 + 2 * m) if m and optimizer.nesterov else 1 + m
        part = min(1, roots / damped) if m and damped else 1
    else:
        largest = (weights * X * X).sum(axis=1).max()
        part = (1 - m) ** 2 / (2 * max(1, damped)) if m else 1
    curvature = CURVATURES[loss.name] * largest + decay
    exact = not m or not full_batch
    return (part / curvature if exact else 0, part / curvature) if curvature > 0 else (0, math.inf)


@dataclass
class InverseScaling:
    """The rates of "auto" for a loss with a kink: lr / sqrt(1 + t / t0) after t steps."""

    lr: float
    t0: Sampled
    power: float = 0.5
    per: str = "step"


def auto_t0(rows, fit_intercept, full_batch):
    """The step from which on these rates fall: the extent of the rows, or 1 without an intercept."""
    a = rows.X.arithmetic
    if not fit_intercept:
        return a.array(1.0)
    X, weights = rows.X.exact.astype(float), rows.weights.exact.astype(float)
    if full_batch:
        return a.array(max(1.0, np.linalg.eigvalsh((weights * X).T @ X / len(X))[-1]))
    squares = (X * X).sum(axis=1)[:, None]
    longest, heaviest = squares[weights > 0].max(), (squares * weights * weights).max()
    return a.array(max(1.0, math.sqrt(longest) * math.sqrt(heaviest)))


# --- The objective: the mean loss and the penalties, which the intercept does not have.


def shrunk(w, by):
    """The proximal step of l1: nearer to 0, and not beyond."""
    return positive(w - by) - positive(-w - by)


def least_slope(g, w, l1):
    """The least slope of l1 * abs(w) and a rest whose derivative is g (Andrew and Gao 2007)."""
    return where(w > 0, g + l1, where(w < 0, g - l1, shrunk(g, l1)))


def within_orthant(new, w, slope):
    """The weights, 0 where a step crosses 0; from 0 they go downhill alone."""
    side = where(w == 0, -slope, w)
    return where(side > 0, positive(new), where(side < 0, -positive(-new), 0))


def decay_of(optimizer):
    """The weight decay that an optimizer adds to the gradient, and so to the objective."""
    name = type(optimizer).__name__
    if name in ("AdamW", "Lion") or getattr(optimizer, "decoupled_weight_decay", False):
        return 0.0
    return getattr(optimizer, "weight_decay", 0.0) + (optimizer.lambd if name == "ASGD" else 0)


def norm(g):
    """The Euclidean norm of all components, (k, d + 1)."""
    return np.sqrt(total(total(g * g, axis=1), axis=0))


@dataclass
class Rows:
    """Rows with a 1 for the intercept, their targets, and weights of mean 1."""

    X: Sampled  # (n, d + 1)
    y: np.ndarray  # (n, targets)
    weights: Sampled  # (n, 1)

    def losses(self, formula, models, chosen=slice(None)):
        """The losses of some rows, (m, 1), and their slopes by the weights of the models, (m, k, d + 1).

        A row of weight 0 has neither, whatever its numbers.
        """
        X, y, weights = self.X[chosen], self.y[chosen], self.weights[chosen]
        count = np.flatnonzero(weights.exact)
        X, y, weights = X[count], y[count], weights[count]
        predictions = total(X[:, None, :] * models, axis=-1)
        value, slope = formula(predictions, y)
        value = total(value, axis=1)[:, None] * weights
        return value, (slope * weights)[:, :, None] * X[:, None, :]

    def mean_loss(self, formula, models):
        return total(self.losses(formula, models)[0][:, 0], axis=0) / len(self.X)


@dataclass
class Objective:
    """The function of the models, (k, d + 1), that a fit minimises."""

    rows: Rows
    formula: Callable  # of the loss
    l1: Sampled
    l2: Sampled
    decay: Sampled  # of the optimizer: of the intercept too
    fit_intercept: bool

    def __post_init__(self):
        width = self.rows.X.shape[1]
        self.penalised, self.trained = np.ones(width, int), np.ones(width, int)
        self.penalised[-1], self.trained[-1] = 0, self.fit_intercept

    def penalty(self, w):
        squares = total(w * w, axis=0)
        terms = self.l2 / 2 * squares * self.penalised + self.decay / 2 * squares * self.trained
        return total(self.l1 * total(abs(w), axis=0) * self.penalised + terms, axis=0)

    def gradient(self, w, chosen):
        """The losses of a batch, and the gradient of their mean with that of l2."""
        values, slopes = self.rows.losses(self.formula, w, chosen)
        g = (total(slopes, axis=0) if len(slopes) else 0 * w) / len(chosen)
        return values, (g + self.l2 * (w * self.penalised)) * self.trained

    def least_slopes(self, g, w):
        """The gradient with that of l1; where it has none, the least slope."""
        if not self.l1:
            return g
        return joined(least_slope(g[:, :-1], w[:, :-1], self.l1), g[:, -1:], axis=1)

    def whole_slopes(self, g, w):
        """The least slopes with those of the weight decay, which an optimizer adds by itself."""
        return self.least_slopes(g + self.decay * (w * self.trained), w)


# --- The data.


def in_columns(y):
    return np.asarray(y).reshape(len(y), -1)


def encoder(y, loss):
    """The function that writes targets of a loss as numbers: the classes are the distinct labels of y, sorted."""
    if loss.name == "softmax":
        classes = np.unique(y)
        return lambda labels: np.searchsorted(classes, in_columns(labels))
    if loss.name in SIGNS:
        second = np.unique(y)[1]
        return lambda labels: np.where(in_columns(labels) == second, 1, -1)
    return in_columns


def scaled_weights(sample_weight, n):
    """The weights of n rows, of mean 1."""
    weights = np.ones(n, WIDE) if sample_weight is None else np.asarray(sample_weight, WIDE)
    return weights / (weights.sum() / n)


def as_rows(X, y, sample_weight):
    n, a = len(X), X.arithmetic
    weights = a.array(scaled_weights(sample_weight, n)[:, None])
    return Rows(joined(X, a.array(np.ones((n, 1))), axis=1), y, weights)


def split(X, y, sample_weight, held_out):
    """The rows to train on and those held out, each with weights of mean 1."""

    def part(rows):
        return as_rows(X[rows], y[rows], None if sample_weight is None else sample_weight[rows])

    return part(np.flatnonzero(~held_out)), part(np.flatnonzero(held_out))


class Standardisation:
    """Columns of weighted mean 0, where an intercept makes up for it, and standard deviation 1."""

    def __init__(self, rows, center):
        """Columns that are constant, among rows that count, are not scaled."""
        X = rows.X[:, :-1]
        seen = X[np.flatnonzero(rows.weights.exact)]
        constant = (seen.exact == seen.exact[0]).all(axis=0)
        mean = where(constant, seen[0], total(rows.weights * X, axis=0) / len(X))
        square = total(rows.weights * (X - mean) * (X - mean), axis=0) / len(X)
        self.scale = where(constant, 1, np.sqrt(square))
        self.mean = mean if center else 0 * mean

    def rows(self, rows):
        X = (rows.X[:, :-1] - self.mean) / self.scale
        return replace(rows, X=joined(X, rows.X[:, -1:], axis=1))

    def into(self, models):
        """The models of X as those of standardised rows."""
        w, b = models[:, :-1], models[:, -1:]
        return joined(w * self.scale, b + total(w * self.mean, axis=1)[:, None], axis=1)

    def back(self, models):
        w = models[:, :-1] / self.scale
        return joined(w, models[:, -1:] - total(w * self.mean, axis=1)[:, None], axis=1)


class AsItIs:
    """No standardisation."""

    def rows(self, rows):
        return rows

    def into(self, models):
        return models

    back = into


# --- Training.


class Rates:
    """The rates of an optimizer's steps, which may depend on the losses heard."""

    def __init__(self, lr, loss, numbers):
        self.lr, self.loss, self.numbers = lr, loss, numbers
        closed = CLOSED.get(type(self.lr).__name__)
        self.state = closed and closed(self.lr, numbers)

    def at(self, epoch, steps):
        """The rate in an epoch, after so many steps in all."""
        if self.state is not None:
            return self.state.rate
        if isinstance(self.lr, float):
            return self.numbers.array(self.lr)
        return rate(self.lr, epoch if per(self.lr) == "epoch" else steps, self.loss, self.numbers)

    def hear(self, loss):
        if self.state is not None:
            self.state.hear(loss)


class Steps:
    """The steps of an optimizer, with what it remembers from step to step."""

    def __init__(self, optimizer, numbers):
        self.rule = OPTIMIZERS[type(optimizer).__name__.lower()]
        self.record, self.memory = sampled(optimizer, numbers), {}
        self.proximal = self.rule is sgd and not self.record.momentum
        self.count = 0

    def make(self, w, g, lr, l1, fit_intercept):
        """The new weights: along g, the gradient without that of l1."""
        self.count += 1
        slope = g
        if l1 and not self.proximal:
            slope = joined(least_slope(g[:, :-1], w[:, :-1], l1), g[:, -1:], axis=1)
        new = self.rule(self.record, w, slope, lr, self.count, self.memory)
        weights, intercept = new[:, :-1], new[:, -1:] if fit_intercept else w[:, -1:]
        if l1 and self.proximal:
            weights = shrunk(weights, lr * l1)
        elif l1:
            weights = within_orthant(weights, w[:, :-1], slope[:, :-1])
        return joined(weights, intercept, axis=1)


class Average:
    """The mean of the weights after each step; of ASGD after those from t0 + 2 on."""

    def __init__(self, optimizer):
        self.after = optimizer.t0 + 1 if type(optimizer).__name__ == "ASGD" else 0
        self.sums, self.count = 0, 0

    def add(self, w, steps):
        if steps > self.after:
            self.sums, self.count = w + self.sums, self.count + 1

    def of(self, w):
        """The mean; the weights themselves up to where it begins."""
        return self.sums / self.count if self.count else w


class Patience:
    """Counts the epochs without improvement, and keeps the best model."""

    def __init__(self, limit, threshold):
        self.limit, self.threshold = limit, threshold
        self.best, self.lowest, self.waited = None, math.inf, 0

    def spent(self, loss, model):
        if self.best is None or self.lowest - loss > self.threshold:
            self.best, self.lowest, self.waited = model, loss, 0
        else:
            self.waited += 1
        return self.waited >= self.limit


@dataclass
class Outcome:
    """The result of a fit. Models are (k, d + 1); lists have an entry for each epoch."""

    model: Sampled | None = None
    loss: list = field(default_factory=list)
    objective: list = field(default_factory=list)
    val_loss: list | None = None  # None: there are no validation rows
    lr: list = field(default_factory=list)
    grad_norm: list = field(default_factory=list)
    trace: list = field(default_factory=list)  # the weights at the start and after each epoch
    heard: list = field(default_factory=list)  # the models that a callback is given
    n_steps: int = 0
    stop_reason: str = "epochs"
    auto: tuple | None = None  # the limits of the rate "auto", where curvature tells them
    settled: int = 0  # the epochs before rounding decides a comparison
    undecided: str | None = None  # who makes that comparison


DIVERGENCE_FACTOR = 1_000_000  # times the larger of the losses of predicting 0 and of the start


@np.errstate(all="ignore")
def fit(
    X,
    y,
    *,
    arithmetic,
    visits,
    loss,
    optimizer,
    batch_size,
    epochs,
    fit_intercept,
    coef_init,
    intercept_init,
    l1,
    l2,
    sample_weight,
    standardize,
    tol,
    validation,
    patience,
    average,
    clip_norm,
    stops_after,
    sparse,
    first_rate,
):
    """The outcome of `gdfast.fit` with these arguments; the optimizer is a record, its lr a number or a schedule.

    Beyond those: `visits(e)` has the rows in the order of epoch e; `validation` may say which rows are held out;
    `stops_after` is the epoch after which the callback wants to stop, and `sparse` whether X came so; `first_rate` is
    the first one where lr is "auto".
    """
    a, numbers = arithmetic, arithmetic.numbers

    # The data.
    encoded = encoder(y, loss)
    X, y = a.array(X), encoded(y)
    k, d = int(y.max()) + 1 if loss.name == "softmax" else y.shape[1], X.shape[1]
    held_out = None
    if isinstance(validation, np.ndarray):
        training, held_out = split(X, y, sample_weight, validation)
    else:
        training = as_rows(X, y, sample_weight)
        if validation is not None:
            held_out = as_rows(a.array(validation[0]), encoded(validation[1]), None)
    scaling = AsItIs()
    if standardize:
        scaling = Standardisation(training, center=fit_intercept and not sparse)
    training = scaling.rows(training)
    n = len(training.X)

    # The method.
    formula = partial(LOSSES[loss.name], **parameters_of(loss))
    l1, l2, decay = map(numbers.array, (l1, l2, decay_of(optimizer)))
    objective = Objective(training, formula, l1, l2, decay, fit_intercept)
    size = n if batch_size is None else min(batch_size, n)
    steps, mean = Steps(optimizer, numbers), Average(optimizer)
    watched = Patience(patience, WIDE(tol) if batch_size is not None else 0) if patience else None

    # The start.
    start = np.zeros((k, d + 1))
    if coef_init is not None:
        start[:, :d] = coef_init
    if intercept_init is not None:
        start[:, d] = intercept_init
    w = scaling.into(a.array(start))
    highest = max(training.mean_loss(formula, start).exact for start in (0 * w, w))
    bound = DIVERGENCE_FACTOR * highest if highest > 0 else math.inf
    lr = optimizer.lr
    if isinstance(lr, str):
        lr = first_rate
        if loss.name in KINKED:
            t0 = auto_t0(training, fit_intercept and highest + objective.penalty(w) > 0, size == n)
            lr = InverseScaling(first_rate, t0)
    rates = Rates(lr, loss, numbers)

    def model():
        """The model that would be returned now."""
        trained = mean.of(w) if average else w
        return scaling.back(
            joined(trained[:, :d], (trained if fit_intercept else w)[:, d:], axis=1)
        )

    outcome = Outcome(trace=[scaling.back(w)], val_loss=None if held_out is None else [])
    if type(optimizer).__name__ in ("SGD", "ASGD") and loss.name in CURVATURES:
        columns = training.X.exact[:, : d + fit_intercept]
        outcome.auto = auto_limits(
            columns, training.weights.exact, loss, optimizer, float(l2.exact), size == n
        )
    for epoch in range(epochs):
        a.now = epoch
        before, losses, converged = w, [], False
        order = visits(epoch)
        outcome.lr.append(rates.at(epoch, steps.count))
        for first in range(0, n, size):
            values, g = objective.gradient(w, order[first : first + size])
            losses.append(values)
            if first + size >= n:
                slopes = objective.whole_slopes(g, w)
                outcome.grad_norm.append(norm(slopes))
                converged = batch_size is None and bool(abs(slopes) <= WIDE(tol))
                if converged:
                    break
            kept = 1
            if clip_norm is not None:
                length = norm(objective.least_slopes(g, w))
                kept = np.minimum(WIDE(clip_norm) / (length + WIDE(1e-6)), 1)
            lr = rates.at(epoch, steps.count)
            w = steps.make(w, g * kept, lr, l1 * kept, fit_intercept)
            mean.add(w, steps.count)

        a.now = epoch + 1
        outcome.n_steps = steps.count
        outcome.loss.append(total(joined(*losses)[:, 0], axis=0) / n)
        outcome.objective.append(outcome.loss[-1] + objective.penalty(before if size == n else w))
        outcome.trace.append(scaling.back(w))
        if loss.curvature is None and loss.steepness is not None and epoch < 2:
            if np.isfinite(outcome.loss[-1]):
                highest = max(highest, outcome.loss[-1].exact)
            bound = DIVERGENCE_FACTOR * highest if epoch == 1 and highest > 0 else math.inf
        if not (outcome.loss[-1] <= bound and np.isfinite(w)):
            outcome.stop_reason, outcome.model = "divergence", scaling.back(before)
            break
        judged = scaling.back(before) if size == n and not average else model()
        measure = outcome.objective[-1]
        if held_out is not None:
            judged = model()
            measure = held_out.mean_loss(formula, judged)
            outcome.val_loss.append(measure)
        rates.hear(measure)
        spent = watched is not None and watched.spent(measure, judged)
        if converged:
            outcome.stop_reason = "tol"
        elif spent:
            outcome.stop_reason = "patience"
        else:
            outcome.heard.append(model())
            if epoch != stops_after:
                continue
            outcome.stop_reason = "callback"
        break

    if outcome.model is None:
        reached = outcome.stop_reason == "tol" and held_out is None
        best = watched is not None and watched.best is not None and not reached
        outcome.model = watched.best if best else model()
    outcome.settled, outcome.undecided = a.undecided or (epochs + 1, None)
    return outcome
