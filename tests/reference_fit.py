"""gdfast.fit once more: slowly, plainly, and without gdfast.

The formulas are those of the documentation and of the papers and libraries that it names, written as they are there and
not as they are cheapest. Nothing of gdfast is used but the arguments of `fit`, of which records are known by the names
of their types and fields.

`fit` computes with the numbers of `rounding`, so that its outcome says how far rounding may move it, and up to which
epoch it tells anything (`Outcome.settled`). In shapes, n are the rows, d the features, k the outputs; the intercept is
the last of a model's d + 1 weights.
"""

import math
from dataclasses import dataclass, field
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
    top = p[:, :1]
    for c in range(1, p.shape[1]):
        top = np.maximum(top, p[:, c : c + 1])
    e = np.exp(p - top)
    sums = total(e, axis=1)[:, None]
    chosen = np.arange(p.shape[1]) == y
    right = total(p * chosen, axis=1)[:, None]
    return np.log(sums) + (top - right), e / sums - chosen * 1


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
    most = 2 / (1 - b2) - 1
    r = most - 2 * t * b2**t / (1 - b2**t)
    if r <= 5:
        return w - lr / (1 - b1**t) * m
    rectifier = np.sqrt((r - 4) * (r - 2) * most / ((most - 4) * (most - 2) * r))
    return w - lr / (1 - b1**t) * m * rectifier * np.sqrt(1 - b2**t) / (np.sqrt(v) + o.eps)


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
            return s.lr / numbers.array(t + 1) ** s.power
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
    """What the count is of."""
    return per(schedule.schedule) if hasattr(schedule, "schedule") else schedule.per


def slope_at(loss, p, y):
    """The derivative of a loss of one output."""
    return LOSSES[loss.name](p, y, **parameters_of(loss))[1]


def parameters_of(loss):
    """The numbers of a loss."""
    names = ("delta", "epsilon", "q")
    return {name: WIDE(getattr(loss, name)) for name in names if hasattr(loss, name)}


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


# --- Penalties: of the weights, never of the intercept.


def shrunk(w, by):
    """The proximal step of l1: nearer to 0, and not beyond."""
    return positive(w - by) - positive(-w - by)


def least_slope(g, w, l1):
    """The least slope of the objective, of which g is the part that has a derivative (Andrew and Gao 2007)."""
    return where(w > 0, g + l1, where(w < 0, g - l1, shrunk(g, l1)))


def within_orthant(new, w, slope):
    """The weights, 0 where a step crosses 0; from 0 they go downhill alone."""
    side = where(w == 0, -slope, w)
    return where(side > 0, positive(new), where(side < 0, -positive(-new), 0))


def norm(g):
    return np.sqrt(total(total(g * g, axis=1), axis=0))


# --- Rows, and their columns standardised.


@dataclass
class Rows:
    """What a model is measured on: rows with a 1 for the intercept, targets, and weights of mean 1."""

    X: Sampled  # (n, d + 1)
    y: np.ndarray  # (n, targets)
    weights: Sampled  # (n, 1)

    def losses(self, loss, models, chosen=slice(None)):
        """The losses of some rows, (m, 1), and their slopes by the weights of the models, (m, k, d + 1).

        A row of weight 0 has neither, whatever its numbers.
        """
        X, y, weights = self.X[chosen], self.y[chosen], self.weights[chosen]
        count = np.flatnonzero(weights.exact)
        X, y, weights = X[count], y[count], weights[count]
        predictions = total(X[:, None, :] * models, axis=-1)
        value, slope = loss(predictions, y)
        value = total(value, axis=1)[:, None] * weights
        return value, (slope * weights)[:, :, None] * X[:, None, :]

    def mean_loss(self, loss, models):
        return total(self.losses(loss, models)[0][:, 0], axis=0) / len(self.X)


def scaled_weights(sample_weight, n):
    weights = np.ones(n, WIDE) if sample_weight is None else np.asarray(sample_weight, WIDE)
    return weights / (weights.sum() / n)


class Standardisation:
    """Columns of weighted mean 0, where an intercept makes up for it, and standard deviation 1."""

    def __init__(self, X, weights, center):
        """Columns that are constant, among rows that count, are not scaled."""
        seen = X[np.flatnonzero(weights.exact)]
        constant = (seen.exact == seen.exact[0]).all(axis=0)
        mean = total(weights * X, axis=0) / len(X)
        mean = where(constant, seen[0], mean)
        square = total(weights * (X - mean) * (X - mean), axis=0) / len(X)
        self.scale = where(constant, 1, np.sqrt(square))
        self.mean = mean if center else 0 * mean

    def standardised(self, X):
        return (X - self.mean) / self.scale

    def into(self, models):
        """The models of X as those of standardised rows."""
        w, b = models[:, :-1], models[:, -1:]
        return joined(w * self.scale, b + total(w * self.mean, axis=1)[:, None], axis=1)

    def back(self, models):
        w = models[:, :-1] / self.scale
        return joined(w, models[:, -1:] - total(w * self.mean, axis=1)[:, None], axis=1)


class AsItIs:
    """No standardisation."""

    def standardised(self, X):
        return X

    def into(self, models):
        return models

    back = into


# --- Training.


@dataclass
class Outcome:
    """What a fit returns. Models are (k, d + 1); lists have an entry for each epoch."""

    model: Sampled | None = None
    loss: list = field(default_factory=list)
    val_loss: list | None = None  # None: there are no validation rows
    lr: list = field(default_factory=list)
    grad_norm: list = field(default_factory=list)
    trace: list = field(default_factory=list)  # the weights at the start and after each epoch
    heard: list = field(default_factory=list)  # what a callback is given
    n_steps: int = 0
    stop_reason: str = "epochs"
    settled: int = 0  # the epochs before rounding decides a comparison
    undecided: str | None = None  # who makes that comparison


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


def in_columns(y):
    return np.asarray(y).reshape(len(y), -1)


def as_signs(y):
    """-1 and 1 for classes given as 0 and 1, or as they are."""
    return np.where(in_columns(y) > 0, 1, -1)


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
):
    """The outcome of `gdfast.fit` with these arguments; the optimizer is a record, its lr a number or a schedule.

    Beyond those: `visits(e)` has the rows in the order of epoch e; `validation` may say which rows are held out;
    `stops_after` is the epoch after which the callback wants to stop, and `sparse` whether X came so.
    """
    a = arithmetic
    # The data.
    encoded = as_signs if loss.name in SIGNS else in_columns
    y = encoded(y)
    X = a.array(X)
    n, d = X.shape
    k = int(y.max()) + 1 if loss.name == "softmax" else y.shape[1]
    parameters = parameters_of(loss)

    def formula(p, targets):
        return LOSSES[loss.name](p, targets, **parameters)

    def rows(X, y, sample_weight):
        n = len(X)
        ones = a.array(np.ones((n, 1)))
        weights = a.array(scaled_weights(sample_weight, n)[:, None])
        return Rows(joined(X, ones, axis=1), y, weights)

    held_out = None
    if isinstance(validation, tuple):
        held_out = rows(a.array(validation[0]), encoded(validation[1]), None)
    elif validation is not None:
        out = np.flatnonzero(validation)
        kept = np.flatnonzero(~validation)
        part = None if sample_weight is None else sample_weight[out]
        held_out = rows(X[out], y[out], part)
        X, y = X[kept], y[kept]
        sample_weight = None if sample_weight is None else sample_weight[kept]
        n = len(kept)
    training = rows(X, y, sample_weight)
    scaling = AsItIs()
    if standardize:
        scaling = Standardisation(X, training.weights, center=fit_intercept and not sparse)
        training.X = joined(scaling.standardised(X), training.X[:, d:], axis=1)

    # The start.
    start = np.zeros((k, d + 1))
    if coef_init is not None:
        start[:, :d] = coef_init
    if intercept_init is not None:
        start[:, d] = intercept_init
    w = scaling.into(a.array(start))
    zero_loss = training.mean_loss(formula, 0 * w)
    reference = np.maximum(zero_loss, training.mean_loss(formula, w))
    bound = DIVERGENCE_FACTOR * reference if reference > 0 else math.inf

    # The method.
    rule, record = OPTIMIZERS[type(optimizer).__name__.lower()], sampled(optimizer, a.numbers)
    plain = rule is sgd and not record.momentum
    averages_after = optimizer.t0 + 1 if rule is asgd else 0
    size = n if batch_size is None else min(batch_size, n)
    l1, l2 = a.numbers.array(l1), a.numbers.array(l2)
    penalised, trained = np.ones(d + 1, int), np.ones(d + 1, int)
    penalised[d], trained[d] = 0, fit_intercept
    heard = CLOSED.get(type(optimizer.lr).__name__)
    heard = heard and heard(optimizer.lr, a.numbers)
    watched = Patience(patience, WIDE(tol) if batch_size is not None else 0) if patience else None

    def rate_of(epoch, steps):
        if heard is not None:
            return heard.rate
        if isinstance(optimizer.lr, float):
            return record.lr
        return rate(optimizer.lr, epoch if per(optimizer.lr) == "epoch" else steps, loss, a.numbers)

    def step(w, g, lr, t):
        """The new weights."""
        if l1 == 0:
            new = rule(record, w, g, lr, t, memory)
        elif plain:
            new = rule(record, w, g, lr, t, memory)
            new = joined(shrunk(new[:, :d], lr * l1), new[:, d:], axis=1)
        else:
            slope = least_slope(g[:, :d], w[:, :d], l1)
            new = rule(record, w, joined(slope, g[:, d:], axis=1), lr, t, memory)
            new = joined(within_orthant(new[:, :d], w[:, :d], slope), new[:, d:], axis=1)
        return new if fit_intercept else joined(new[:, :d], w[:, d:], axis=1)

    memory, steps, sums = {}, 0, 0 * w

    def model():
        """What would be returned now."""
        if not average or steps <= averages_after:
            return scaling.back(w)
        mean = sums / int(steps - averages_after)
        return scaling.back(mean if fit_intercept else joined(mean[:, :d], w[:, d:], axis=1))

    outcome = Outcome(trace=[scaling.back(w)], val_loss=None if held_out is None else [])
    for epoch in range(epochs):
        a.now = epoch
        before, losses, converged = w, [], False
        order = visits(epoch)
        outcome.lr.append(rate_of(epoch, steps))
        for first in range(0, n, size):
            chosen = order[first : first + size]
            values, slopes = training.losses(formula, w, chosen)
            losses.append(values)
            g = (total(slopes, axis=0) if len(slopes) else 0 * w) / len(chosen)
            g = (g + l2 * (w * penalised)) * trained
            if first + size >= n:
                least = joined(least_slope(g[:, :d], w[:, :d], l1), g[:, d:], axis=1) if l1 else g
                outcome.grad_norm.append(norm(least))
                converged = batch_size is None and bool(abs(least) <= WIDE(tol))
                if converged:
                    break
            if clip_norm is not None:
                g = g * np.minimum(WIDE(clip_norm) / (norm(g) + WIDE(1e-6)), 1)
            lr = rate_of(epoch, steps)
            steps += 1
            w = step(w, g, lr, steps)
            if average and steps > averages_after:
                sums = sums + w
        a.now = epoch + 1
        losses = joined(*losses)
        outcome.loss.append(total(losses[:, 0], axis=0) / n if len(losses) else 0 * norm(w))
        outcome.trace.append(scaling.back(w))
        outcome.n_steps = steps
        if not (outcome.loss[-1] <= bound and np.isfinite(w)):
            outcome.stop_reason, outcome.model = "divergence", scaling.back(before)
            break
        measured = outcome.loss[-1], scaling.back(before) if size == n and not average else model()
        if held_out is not None:
            outcome.val_loss.append(held_out.mean_loss(formula, model()))
            measured = outcome.val_loss[-1], model()
        if heard is not None:
            heard.hear(measured[0])
        spent = watched is not None and watched.spent(*measured)
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
        best = watched is not None and watched.best is not None and outcome.stop_reason != "tol"
        outcome.model = watched.best if best else model()
    outcome.settled, outcome.undecided = a.undecided or (epochs + 1, None)
    return outcome


DIVERGENCE_FACTOR = 1_000_000  # times the larger of the losses of predicting 0 and of the start
