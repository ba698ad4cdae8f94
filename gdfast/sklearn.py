"""`GDRegressor` and `GDClassifier`: `gdfast.fit` behind scikit-learn's conventions.

The objective and the names of the losses are those of scikit-learn's ``SGDRegressor`` and ``SGDClassifier``: the mean
loss, in which ``"squared_error"`` is (p - y)^2 / 2, and alpha times the penalty.

>>> from sklearn.linear_model import Ridge
>>> from gdfast.sklearn import GDRegressor
>>> X, y = [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]], [1.0, 2.0, 3.0, 5.0]
>>> GDRegressor(alpha=0.1, tol=1e-9).fit(X, y).predict([[4.0, 1.0]]).round(6).tolist()
[5.801839]
>>> Ridge(alpha=0.1 * len(X)).fit(X, y).predict([[4.0, 1.0]]).round(6).tolist()
[5.801839]
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from gdfast import _backends, losses, optimizers
from gdfast._data.arrays import as_floats, as_unscaled_weights, check_finite
from gdfast._numerics import order
from gdfast._numerics.float_mode import standard
from gdfast._training.fit import fit_and_state, partial
from gdfast._training.run import Continued
from gdfast._typing import Array
from gdfast._validation import (
    check_flag,
    check_int,
    check_number,
    choose,
    in_place_of,
    names_arguments,
    unknown,
)
from gdfast._warnings import warn
from gdfast.losses import Loss
from gdfast.optimizers import Optimizer, Rate
from gdfast.results import FitResult, History

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_random_state
    from sklearn.utils.class_weight import compute_class_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets, unique_labels
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "gdfast.sklearn needs scikit-learn 1.7 or later: pip install 'gdfast[sklearn]'"
    ) from error

__all__ = ["GDClassifier", "GDRegressor"]


def __dir__() -> list[str]:
    return __all__


# The part of alpha that is l1's; None: l1_ratio says it.
L1_SHARES = {"l2": 0.0, "l1": 1.0, "elasticnet": None}

# The losses by scikit-learn's names, and by those of gdfast.losses that mean no other loss there.
FOR_NUMBERS: dict[str, type[Loss]] = {
    "squared_error": losses.HalfSquaredError,
    "half_squared_error": losses.HalfSquaredError,
    "huber": losses.Huber,
    "epsilon_insensitive": losses.EpsilonInsensitive,
    "squared_epsilon_insensitive": losses.SquaredEpsilonInsensitive,
    "quantile": losses.Quantile,
}
FOR_REGRESSION = FOR_NUMBERS | {"poisson": losses.Poisson}
FOR_CLASSES = FOR_NUMBERS | {
    "log_loss": losses.Logistic,
    "logistic": losses.Logistic,
    "softmax": losses.Softmax,
    "hinge": losses.Hinge,
    "squared_hinge": losses.SquaredHinge,
    "modified_huber": losses.ModifiedHuber,
    "perceptron": losses.Perceptron,
}
WITH_EPSILON = (losses.Huber, losses.EpsilonInsensitive, losses.SquaredEpsilonInsensitive)
WITH_PROBABILITIES = (losses.Logistic, losses.Softmax, losses.ModifiedHuber)


class _Task(NamedTuple):
    """The loss, and what of the data is no X, as gdfast.fit takes them."""

    loss: Loss
    y: Array
    weights: Array | None
    weights_name: str
    labels: Array | None = None  # of a classifier: the classes, sorted
    classes: Array | None = None  # of a loss of classes: what stands for them in y
    strata: Array | None = None  # of each row the class


class _GD(BaseEstimator):  # type: ignore[misc]
    """The common part of the regressor and the classifier."""

    _losses: ClassVar[Mapping[str, type[Loss]]]
    _kinds_of_targets: ClassVar[tuple[str, ...]]
    _checks_of_y: ClassVar[Mapping[str, bool]]

    @names_arguments
    def __init__(
        self,
        loss: str | Loss = "squared_error",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        optimizer: str | Optimizer = "sgd",
        lr: Rate | None = None,
        batch_size: int | None = None,
        max_iter: int = 1000,
        tol: float | None = 1e-4,
        shuffle: bool = True,
        random_state: Any = None,
        standardize: bool = False,
        average: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        epsilon: float = 0.1,
        backend: str | None = None,
        verbose: int = 0,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.optimizer = optimizer
        self.lr = lr
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.random_state = random_state
        self.standardize = standardize
        self.average = average
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.epsilon = epsilon
        self.backend = backend
        self.verbose = verbose

    @standard
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix (n, d)
            The rows. float32 and float64 keep their dtype and are computed in it.
        y : array-like (n,)
            The targets or labels; the regressor also takes (n, k).
        sample_weight : array-like (n,), optional
            Not negative; only their proportions count.
        coef_init : array-like of the shape of ``coef_``, optional
            The initial weights; by default zeros, or with ``warm_start`` those of the last fit.
        intercept_init : array-like of the shape of ``intercept_``, optional
            The initial intercepts, likewise.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are wrong: the message names it.
        DivergenceError
            If the rate is too large. It names one that works.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` was reached before ``tol``.
        """
        epochs = check_int("max_iter", self.max_iter, 1)
        warm = check_flag("warm_start", self.warm_start) and hasattr(self, "coef_")
        options = self._options() | self._stopping(epochs)
        X, y = self._validated(X, y, reset=True)
        task = self._task(y, None, sample_weight)
        shape = (*_outputs(task), X.shape[1])
        if warm:
            coef, intercept = self._weights()
            if task.labels is not None and not np.array_equal(task.labels, self.classes_):
                raise ValueError(
                    f"warm_start=True, and the classes of the last fit were {self.classes_}, but these data have "
                    f"{task.labels}: pass warm_start=False"
                )
            if coef.shape != shape:
                raise ValueError(
                    f"warm_start=True, and coef_ of the last fit has shape {coef.shape}, but these data need {shape}: "
                    "pass warm_start=False"
                )
            coef_init = coef if coef_init is None else coef_init
            intercept_init = intercept if intercept_init is None else intercept_init
        result, state = fit_and_state(
            X,
            task.y,
            loss=task.loss,
            epochs=epochs,
            sample_weight=task.weights,
            weights_name=task.weights_name,
            coef_init=_shaped(coef_init, shape),
            intercept_init=_shaped(intercept_init, shape[:-1]),
            standardize=self.standardize,
            progress=bool(self.verbose),
            names=self._names(),
            strata=task.strata,
            **options,
        )
        self._keep(result, state, task.labels)
        if result.stop_reason == "epochs" and self.tol is not None:
            warn(
                f"max_iter={epochs} was reached before tol={self.tol}: increase max_iter, or bring the features to one "
                "scale, as standardize=True does",
                ConvergenceWarning,
            )
        return self

    def set_params(self, **params: Any) -> Self:
        """Set parameters.

        Parameters
        ----------
        **params : dict
            Name -> value.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no parameter of that name: the message says what stands here for those of other estimators.
        """
        known = self.get_params(deep=False)
        for name in params:
            if name not in known and "__" not in name:
                advice = in_place_of(name, known)
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}: {advice}")
        super().set_params(**params)
        return self

    @standard
    def _epoch(
        self, X: Any, y: ArrayLike, labels: Array | None, sample_weight: ArrayLike | None
    ) -> Self:
        """Run one epoch over some of the rows, from where the last one ended."""
        for name in ("early_stopping", "standardize"):
            if check_flag(name, getattr(self, name)):
                raise ValueError(
                    f"{name}=True needs all rows, and partial_fit is given some: pass {name}=False"
                )
        options = self._options()
        X, y = self._validated(X, y, reset=not hasattr(self, "n_features_in_"))
        task = self._task(y, labels, sample_weight)
        state = getattr(self, "_state", None)
        if hasattr(self, "coef_") and not self._unchanged():
            coef, intercept = self._weights()
            shape = (*_outputs(task), X.shape[1])
            if coef.shape != shape:
                raise ValueError(f"coef_ has shape {coef.shape}, but these data need {shape}")
            options |= {"coef_init": coef, "intercept_init": intercept}
        result, state = partial(
            state,
            X,
            task.y,
            loss=task.loss,
            sample_weight=task.weights,
            weights_name=task.weights_name,
            classes=task.classes,
            names=self._names(),
            **options,
        )
        self._keep(result, state, task.labels)
        return self

    @np.errstate(all="ignore")  # scikit-learn sums all of X, to see whether it is finite
    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[Any, Array]:
        X, y = validate_data(
            self,
            X,
            y,
            reset=reset,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            **self._checks_of_y,
        )
        return X, y

    def _names(self) -> tuple[str, ...] | None:
        """The names of the columns of X, where it has some."""
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else tuple(names.tolist())

    def _task(self, y: Array, labels: Array | None, sample_weight: ArrayLike | None) -> _Task:
        """The task of these targets; without labels, all classes are in y."""
        weights = _weights_of_rows(sample_weight, len(y))
        return _Task(self._loss(), y, weights, "sample_weight", labels)

    def _kind(self) -> Any:
        """The type of the loss's record; None for a name that is not known."""
        return self._losses.get(self.loss) if isinstance(self.loss, str) else type(self.loss)

    def _loss(self) -> Loss:
        """The loss by scikit-learn's name, or the record as it was given."""
        if isinstance(self.loss, str) and (
            self.loss in self._losses or self.loss not in losses.names()
        ):
            kind: Any = choose("loss", self.loss, self._losses)
            given = (
                [check_number("epsilon", self.epsilon, 0, math.inf)] if kind in WITH_EPSILON else []
            )
            by_name: Loss = kind(*given)
            return by_name
        record = losses.find(self.loss)
        if record.targets not in self._kinds_of_targets:
            raise ValueError(
                f"loss={self.loss} is for targets that are {record.targets}, which {type(self).__name__} does not have"
            )
        return record

    def _options(self) -> dict[str, Any]:
        """Take a result as the model: the common part of a fit and an epoch of partial_fit."""
        l1 = l2 = 0.0
        if self.penalty is not None:
            if self.penalty not in L1_SHARES:
                raise ValueError(unknown("penalty", self.penalty, L1_SHARES) + "; or None")
            alpha = check_number("alpha", self.alpha, 0, math.inf)
            share = L1_SHARES[self.penalty]
            if share is None:
                share = check_number("l1_ratio", self.l1_ratio, 0, 1)
            l1, l2 = alpha * share, alpha * (1 - share)
        seed = self.random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(2**31)
        return {
            "l1": l1,
            "l2": l2,
            "seed": check_int("random_state", seed, 0, 2**64 - 1),
            "optimizer": self.optimizer,
            "lr": self.lr,
            "batch_size": self.batch_size,
            "fit_intercept": self.fit_intercept,
            "shuffle": self.shuffle,
            "average": self.average,
            "backend": self.backend,
        }

    def _stopping(self, epochs: int) -> dict[str, Any]:
        """When a fit ends."""
        tol = 0.0 if self.tol is None else check_number("tol", self.tol, 0, math.inf)
        patience: int | None = check_int("n_iter_no_change", self.n_iter_no_change, 1)
        validation = None
        if check_flag("early_stopping", self.early_stopping):
            validation = check_number(
                "validation_fraction",
                self.validation_fraction,
                0,
                1,
                include_low=False,
                include_high=False,
            )
            if self.tol is None:
                patience = epochs  # all of them, and the best weights
        elif self.batch_size is None or self.tol is None:
            patience = None
        return {"tol": tol, "patience": patience, "validation": validation}

    def _keep(self, result: FitResult, state: Continued, labels: Array | None) -> None:
        """The fitted attributes."""
        self.result_ = result
        self.coef_ = result.coef.copy()
        self.intercept_ = np.array(result.intercept, result.coef.dtype, ndmin=1)
        self.n_iter_ = result.n_epochs
        self.history_ = result.history
        self.stop_reason_ = result.stop_reason
        if labels is not None:
            self.classes_ = labels
        self._state = state

    def _unchanged(self) -> bool:
        """Whether coef_ and intercept_ are still those that the last fit left."""
        return (
            hasattr(self, "result_")
            and np.array_equal(self.coef_, self.result_.coef)
            and np.array_equal(self.intercept_, np.atleast_1d(self.result_.intercept))
        )

    def _weights(self) -> tuple[Array, Array]:
        """coef_ and intercept_, in the shapes of gdfast.fit's: they may have been set by hand."""
        check_is_fitted(self, ["coef_", "intercept_"])
        coef = as_floats(self.coef_, "coef_")
        intercept = _shaped(as_floats(self.intercept_, "intercept_"), coef.shape[:-1])
        if coef.ndim not in (1, 2) or intercept.shape != coef.shape[:-1]:
            raise ValueError(
                f"coef_ has shape {coef.shape} and intercept_ {intercept.shape}: a row of coef_ has one intercept"
            )
        check_finite(coef, "coef_", "weights must be finite")
        check_finite(intercept, "intercept_", "weights must be finite")
        return coef, intercept

    @np.errstate(all="ignore")
    def _for_prediction(self, X: Any) -> tuple[FitResult, Any]:
        """The model of coef_ and intercept_, and X as it takes it."""
        coef, intercept = self._weights()
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=[np.float64, np.float32])
        known = getattr(self, "result_", None)
        if known is None:
            known = _unfitted(_backends.find(self.backend).NAME)
        b = intercept.copy() if intercept.ndim else float(intercept)
        return replace(known, coef=coef.copy(), intercept=b, loss=self._loss_of_model()), X

    def _loss_of_model(self) -> Loss:
        """The loss that tells what a prediction means."""
        return self._loss()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class GDRegressor(RegressorMixin, _GD):  # type: ignore[misc]
    """Linear regression by gradient descent: the mean loss of the rows plus alpha * penalty, over w and b.

    The penalty is sum w^2 / 2 for ``"l2"``, sum abs(w) for ``"l1"``, and l1_ratio times the second plus
    (1 - l1_ratio) times the first for ``"elasticnet"``; b is not penalised. The weights have the same bits on every
    backend.

    Parameters
    ----------
    loss : str or record of `gdfast.losses`, default "squared_error"
        By scikit-learn's names, with r = p - y: ``"squared_error"``, or ``"half_squared_error"``, is r^2 / 2
        (`gdfast.losses.HalfSquaredError`), where `gdfast.fit` has r^2 under the first name; ``"huber"``,
        ``"epsilon_insensitive"`` and ``"squared_epsilon_insensitive"`` use `epsilon`; ``"quantile"`` is for the median;
        ``"poisson"`` predicts exp(p). A record such as ``gd.losses.Quantile(q=0.9)`` is taken as it is.
    penalty : {"l2", "l1", "elasticnet"} or None, default "l2"
        What is added to the mean loss. The zeros of l1 are exact.
    alpha : float, default 0.0001
        What the penalty is multiplied by, not negative.
    l1_ratio : float, default 0.15
        l1's part of ``"elasticnet"``, in [0, 1].
    fit_intercept : bool, default True
        Whether b is trained.
    optimizer : str or record, default "sgd"
        As `gdfast.fit`'s, for instance ``"adam"`` or ``gd.SGD(momentum=0.9, nesterov=True)``.
    lr : float, schedule or "auto", optional
        As `gdfast.fit`'s. By default the optimizer's; for ``"sgd"`` that is ``"auto"``, with which no fit diverges, and
        which falls from call to call in `partial_fit`.
    batch_size : int, optional
        Rows per step. None is the full batch; ``SGDRegressor`` has 1.
    max_iter : int, default 1000
        Epochs, at most. `partial_fit` runs one.
    tol : float or None, default 1e-4
        Full batch: stop when no component of the gradient is larger. With an int batch_size: stop when
        `n_iter_no_change` epochs in a row have not improved the loss by more than that. None: run all epochs.
    shuffle : bool, default True
        Visit the rows in a new order each epoch; only where batch_size is an int.
    random_state : int, RandomState or None, default None
        For that order and the choice of the validation rows. An int is `gdfast.fit`'s seed.
    standardize : bool, default False
        Train on columns of mean 0 and standard deviation 1, penalty included. The weights are for X as it was given.
    average : bool, default False
        Return the mean of the weights after each step.
    early_stopping : bool, default False
        Set rows aside, stop when `n_iter_no_change` epochs have not improved the loss on them, and return the weights
        that were the best there. A classifier sets aside the same part of each class.
    validation_fraction : float, default 0.1
        Which part of the rows that is, in (0, 1).
    n_iter_no_change : int, default 5
        Epochs without improvement to wait for; see `tol` and `early_stopping`.
    warm_start : bool, default False
        Start `fit` from the weights of the last one.
    epsilon : float, default 0.1
        The threshold of the losses that have one, see `loss`.
    backend : {"cpp", "numba", "numpy"}, optional
        As `gdfast.fit`'s.
    verbose : int, default 0
        Other than 0: show a bar over the epochs of `fit`; needs tqdm.

    Attributes
    ----------
    coef_ : ndarray (d,) or (k, d)
        The weights; the second shape for a y of shape (n, k). They and `intercept_` may be set by hand, before a fit
        too: that is a model which predicts, and which `partial_fit` continues.
    intercept_ : ndarray (1,) or (k,)
        The intercepts.
    n_iter_ : int
        Epochs that were run.
    history_ : History
        Losses, rates and times of each epoch.
    stop_reason_ : {"tol", "patience", "epochs"}
        Why the fit ended.
    result_ : FitResult
        All that `gdfast.fit` returned.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of str (d,)
        Their names, where X has some.

    See Also
    --------
    gdfast.fit : the same without scikit-learn.
    GDClassifier : the same for classes.

    References
    ----------
    scikit-learn's ``SGDRegressor``: the names, defaults and objective.

    Examples
    --------
    >>> from gdfast.sklearn import GDRegressor
    >>> model = GDRegressor(penalty=None).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> model.predict([[10.0]]).round(2).tolist(), model.stop_reason_
    ([21.0], 'tol')
    """

    _losses = FOR_REGRESSION
    _kinds_of_targets = ("numbers", "counts")
    _checks_of_y: ClassVar = {"multi_output": True, "y_numeric": True}

    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Run one epoch over some of the rows, and go on from there in the next call.

        The steps behind it, the state of the schedule and that of the optimizer, such as its momentum, are kept from
        call to call, and from `fit`. Where ``coef_`` or ``intercept_`` were set by hand, where `fit` returned other
        weights than the last (by `early_stopping` or `standardize`), or where the optimizer, the loss or `average` is
        another one by now, the optimizer's state begins anew at ``coef_``, and the schedule goes on.

        A rate for all rows would fit each call's rows to the end. So with ``lr="auto"``, the default for ``"sgd"``, the
        t-th step has the least rate that was found for the rows of a call so far, divided by t^0.25, as
        ``SGDRegressor`` divides its eta0; for a loss with a kink it falls as in `fit`.

        Parameters
        ----------
        X : array-like or sparse matrix (n, d)
            The rows; all of them are one step, unless batch_size is an int.
        y : array-like (n,) or (n, k)
            The targets.
        sample_weight : array-like (n,), optional
            Not negative. They multiply losses and gradients as they are: scaled in each call, as `fit` scales them,
            they would not count between calls.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are wrong; for ``early_stopping`` and ``standardize``, which need all rows.
        DivergenceError
            If the loss stops being finite, or passes 1e6 times that of earlier weights on the rows of this call.
        """
        return self._epoch(X, y, None, sample_weight)

    def predict(self, X: Any) -> Array:
        """The predicted targets: x.w + b, and for the loss ``"poisson"`` exp(x.w + b).

        Parameters
        ----------
        X : array-like or sparse matrix (n, d)

        Returns
        -------
        ndarray (n,) or (n, k)
        """
        model, X = self._for_prediction(X)
        return model.predict(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = self._kind() is losses.Poisson
        return tags


def _has_probabilities(model: "GDClassifier") -> bool:
    """Whether the loss is one of probabilities."""
    if model._kind() not in WITH_PROBABILITIES:
        raise AttributeError(
            f"probabilities need loss='log_loss', 'softmax' or 'modified_huber', not {model.loss!r}"
        )
    return True


class GDClassifier(ClassifierMixin, _GD):  # type: ignore[misc]
    """Linear classification by gradient descent: the mean loss of the rows plus alpha * penalty, over w and b.

    Two classes are one model, whose positive class is ``classes_[1]``. For more there is a model for each class
    against the rest, trained in one pass, or with ``loss="softmax"`` one joint model.

    Parameters
    ----------
    loss : str or record of `gdfast.losses`, default "log_loss"
        ``"log_loss"``, or ``"logistic"``, is logistic regression, one-vs-rest; ``"softmax"`` the multinomial one, as
        ``LogisticRegression`` has it, which for two classes is ``"log_loss"``; ``"hinge"``, the default of
        ``SGDClassifier``, is the linear support vector machine. Also ``"squared_hinge"``, ``"modified_huber"``,
        ``"perceptron"``, and on targets of -1 and 1 the losses for numbers of `GDRegressor`. ``"log_loss"``,
        ``"softmax"`` and ``"modified_huber"`` have probabilities.
    penalty : {"l2", "l1", "elasticnet"} or None, default "l2"
        As `GDRegressor`'s, like all that follow if nothing else is said.
    alpha : float, default 0.0001
        What the penalty is multiplied by.
    l1_ratio : float, default 0.15
        l1's part of ``"elasticnet"``.
    fit_intercept : bool, default True
        Whether b is trained.
    optimizer : str or record, default "sgd"
        The method.
    lr : float, schedule or "auto", optional
        The rate.
    batch_size : int, optional
        Rows per step; by default all of them.
    max_iter : int, default 1000
        Epochs, at most.
    tol : float or None, default 1e-4
        Stop when no component of the gradient is larger, or what counts as an improvement.
    shuffle : bool, default True
        Visit the rows in a new order each epoch.
    random_state : int, RandomState or None, default None
        For that order and the choice of the validation rows.
    standardize : bool, default False
        Train on columns of mean 0 and standard deviation 1.
    average : bool, default False
        Return the mean of the weights after each step.
    early_stopping : bool, default False
        Stop by the loss on rows set aside, the same part of each class.
    validation_fraction : float, default 0.1
        Which part of the rows that is.
    n_iter_no_change : int, default 5
        Epochs without improvement to wait for.
    class_weight : dict, "balanced" or None, default None
        Weights by class, by which those of the rows are multiplied. ``"balanced"``: inversely proportional to the
        classes' total weights. (In ``SGDClassifier``, with more than two classes, the rows of the rest keep their
        weights.)
    warm_start : bool, default False
        Start `fit` from the weights of the last one.
    epsilon : float, default 0.1
        The threshold of the losses that have one.
    backend : {"cpp", "numba", "numpy"}, optional
        The backend.
    verbose : int, default 0
        Whether a progress bar is shown.

    Attributes
    ----------
    classes_ : ndarray (k,)
        The labels, sorted.
    coef_ : ndarray (1, d) or (k, d)
        The weights; the first shape for two classes. They, `intercept_` and `classes_` may be set by hand.
    intercept_ : ndarray (1,) or (k,)
        The intercepts, likewise.
    n_iter_, history_, stop_reason_, result_, n_features_in_, feature_names_in_
        As `GDRegressor`'s.

    See Also
    --------
    gdfast.fit : the same without scikit-learn.
    GDRegressor : the same for numbers.

    References
    ----------
    scikit-learn's ``SGDClassifier``: the names, defaults and objective. Zadrozny and Elkan (2002), "Transforming
    classifier scores into accurate multiclass probability estimates": the probabilities of one-vs-rest.

    Examples
    --------
    >>> from gdfast.sklearn import GDClassifier
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"]
    >>> model = GDClassifier(penalty=None, tol=0.01).fit(X, y)
    >>> model.predict([[0.5], [2.5]]).tolist(), model.classes_.tolist()
    (['low', 'high'], ['high', 'low'])
    """

    _losses = FOR_CLASSES
    _kinds_of_targets = ("numbers", "signs", "classes")
    _checks_of_y: ClassVar = {}
    classes_: Array

    @names_arguments
    def __init__(
        self,
        loss: str | Loss = "log_loss",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        optimizer: str | Optimizer = "sgd",
        lr: Rate | None = None,
        batch_size: int | None = None,
        max_iter: int = 1000,
        tol: float | None = 1e-4,
        shuffle: bool = True,
        random_state: Any = None,
        standardize: bool = False,
        average: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Mapping[Any, float] | str | None = None,
        warm_start: bool = False,
        epsilon: float = 0.1,
        backend: str | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            loss,
            penalty=penalty,
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            optimizer=optimizer,
            lr=lr,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=tol,
            shuffle=shuffle,
            random_state=random_state,
            standardize=standardize,
            average=average,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            epsilon=epsilon,
            backend=backend,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Run one epoch over some of the rows, and go on from there in the next call.

        What is kept from call to call, and the rate, are as with `GDRegressor.partial_fit`.

        Parameters
        ----------
        X : array-like or sparse matrix (n, d)
            The rows; all of them are one step, unless batch_size is an int.
        y : array-like (n,)
            Their labels, not necessarily of all classes.
        classes : array-like (k,), optional
            All labels there will be: needed in the first call, unless ``classes_`` was set by hand.
        sample_weight : array-like (n,), optional
            Not negative. They, and `class_weight`, multiply losses and gradients as they are.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are wrong, y has a label that is not in classes, or classes are not those of
            the first call; for ``early_stopping``, ``standardize`` and ``class_weight="balanced"``, which need all
            rows.
        DivergenceError
            As with `GDRegressor.partial_fit`.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs the labels of all rows, and partial_fit is given some: "
                "pass a dict, for instance of sklearn.utils.compute_class_weight"
            )
        labels = getattr(self, "classes_", None)
        labels = None if labels is None else np.asarray(labels)
        if classes is not None:
            given = unique_labels(classes)
            if labels is not None and not np.array_equal(given, labels):
                raise ValueError(f"classes={classes} are not those of the first call, {labels}")
            labels = given
        if labels is None:
            raise ValueError("classes must be passed on the first call to partial_fit")
        return self._epoch(X, y, labels, sample_weight)

    def decision_function(self, X: Any) -> Array:
        """x.w + b: for two classes positive where ``classes_[1]`` is predicted, else a column for each class.

        Parameters
        ----------
        X : array-like or sparse matrix (n, d)

        Returns
        -------
        ndarray (n,) or (n, k)
        """
        model, X = self._for_prediction(X)
        scores = model.decision_function(X)
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> Array:
        """The label with the largest score.

        Parameters
        ----------
        X : array-like or sparse matrix (n, d)

        Returns
        -------
        ndarray (n,)
        """
        scores = self.decision_function(X)
        chosen = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: Array = np.asarray(self.classes_)[chosen]
        return labels

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """The probabilities of the classes, for the losses that have them.

        Those of one-vs-rest are divided by their sum; where all are 0 they become 1/k.

        Parameters
        ----------
        X : array-like or sparse matrix (n, d)

        Returns
        -------
        ndarray (n, k)
            A column for each of ``classes_``.
        """
        model, X = self._for_prediction(X)
        p: Array = model.predict_proba(X)
        if len(self.classes_) == 2:
            return np.hstack([1 - p, p])
        if model.loss.targets != "classes":
            p = np.where(p.any(axis=1, keepdims=True), p, 1)
            p = p / order.tree(p.T)[:, None]
        return p

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`, -inf where that is 0.

        Parameters
        ----------
        X : array-like or sparse matrix (n, d)

        Returns
        -------
        ndarray (n, k)
        """
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def _weights(self) -> tuple[Array, Array]:
        check_is_fitted(self, "classes_")
        coef, intercept = super()._weights()
        if coef.ndim == 1:
            coef, intercept = coef[None], intercept[None]
        k = len(self.classes_)
        if len(coef) != _models(k):
            raise ValueError(f"coef_ has {len(coef)} rows, but {k} classes_ need {_models(k)}")
        return coef, intercept

    def _task(self, y: Array, labels: Array | None, sample_weight: ArrayLike | None) -> _Task:
        if labels is None:
            check_classification_targets(y)
            labels = np.unique(y)
        k = len(labels)
        if k < 2:
            raise ValueError(f"The number of classes has to be greater than one; got {k} class")
        weights = _weights_of_rows(sample_weight, len(y))
        by_class = self._weights_by_class(labels, y, weights)
        chosen = np.searchsorted(labels, y)
        name = "sample_weight"
        if self.class_weight is not None:
            name = "class_weight" if weights is None else "class_weight times sample_weight"
            with np.errstate(over="ignore"):
                weights = by_class[chosen] * (1.0 if weights is None else weights)
        loss = self._loss_for(k)
        if loss.targets == "classes":
            return _Task(loss, chosen, weights, name, labels, np.arange(k), chosen)
        # A model for each class, but of two the second alone: its own rows are 1, the others -1.
        columns = np.arange(k) if k > 2 else np.array([1])
        signs = np.where(chosen[:, None] == columns, 1, -1)
        return _Task(loss, signs, weights, name, labels, np.array([-1, 1]), chosen)

    def _weights_by_class(self, labels: Array, y: Array, weights: Array | None) -> Array:
        """The factor of each class for the weights of its rows."""
        by_class = self.class_weight
        if isinstance(by_class, Mapping):
            by_class = {
                label: check_number(f"class_weight[{label!r}]", weight, 0, math.inf)
                for label, weight in by_class.items()
            }
        elif isinstance(by_class, str) and weights is not None:
            lost = np.setdiff1d(labels, y[weights > 0])
            if lost.size:
                raise ValueError(
                    f"class_weight={by_class!r}, but the weights of class {lost[0]} are zero: remove its rows"
                )
        factors: Array = compute_class_weight(by_class, classes=labels, y=y, sample_weight=weights)
        return factors

    def _loss_for(self, k: int) -> Loss:
        """The loss for so many classes."""
        loss = self._loss()
        if loss.targets != "classes":
            return loss
        given = vars(loss)["classes"]
        if given not in (0, k):
            raise ValueError(f"loss={loss}, but there are {k} classes: pass loss='softmax'")
        return losses.Softmax(classes=k) if k > 2 else losses.Logistic()

    def _loss_of_model(self) -> Loss:
        return self._loss_for(len(self.classes_))


def _models(k: int) -> int:
    """The number of models that tell k classes apart: for two classes one, of the second."""
    return k if k > 2 else 1


def _outputs(task: _Task) -> tuple[int, ...]:
    """The shape of the intercepts: as many as there are models, or targets in a row."""
    return task.y.shape[1:] if task.labels is None else (_models(len(task.labels)),)


def _weights_of_rows(sample_weight: ArrayLike | None, rows: int) -> Array | None:
    """The weights in float64, each checked."""
    if sample_weight is None:
        return None
    return as_unscaled_weights(sample_weight, rows, np.dtype(np.float64))


def _unfitted(backend: str) -> FitResult:
    """The result for weights set by hand, with all else that a fit would have made empty."""
    nothing = np.empty(0)
    return FitResult(
        coef=nothing,
        intercept=0.0,
        history=History(nothing, nothing, nothing, nothing, nothing),
        n_epochs=0,
        n_steps=0,
        converged=False,
        stop_reason="epochs",
        loss=losses.HalfSquaredError(),
        optimizer=optimizers.SGD(),
        backend=backend,
    )


def _shaped(values: ArrayLike | None, shape: tuple[int, ...]) -> Any:
    """Initial weights in a shape from which theirs differs by axes of length 1 alone; if not, `fit` says so."""
    if values is None:
        return None
    a = np.asarray(values)
    same = [size for size in a.shape if size > 1] == [size for size in shape if size > 1]
    return a.reshape(shape) if same and a.size else a
