"""The estimators: scikit-learn's own checks, its models as oracles, and what is promised beyond them."""

import pickle
import re
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedShuffleSplit,
    cross_val_score,
    train_test_split,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils.estimator_checks import parametrize_with_checks

import gdfast as gd
from gdfast import _backends, losses, optimizers
from gdfast.sklearn import GDClassifier, GDRegressor

ADAM = {"optimizer": gd.Adam(lr=0.05), "batch_size": 16}
NESTEROV = gd.SGD(lr="auto", momentum=0.9, nesterov=True)
TO_THE_END = {"tol": 1e-9, "max_iter": 100_000, "optimizer": NESTEROV}


def weights_of_batches(estimator):
    """Where the rows are visited in batches, a row of weight 2 is not the same as two rows, as with SGDClassifier."""
    if estimator.batch_size is None:
        return {}
    reason = "the batches differ"
    return {
        f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse")
    }


@pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        GDRegressor(),
        GDRegressor(loss="huber"),
        GDRegressor(penalty="l1", alpha=0.01),
        GDRegressor(penalty="elasticnet", loss=losses.SquaredError(), average=True),
        GDRegressor(**ADAM),
        GDRegressor(loss="epsilon_insensitive", batch_size=8),
        GDRegressor(loss="quantile"),
        GDClassifier(),
        GDClassifier(loss="hinge"),
        GDClassifier(loss="hinge", batch_size=1),
        GDClassifier(loss="perceptron"),
        GDClassifier(loss="epsilon_insensitive"),
        GDClassifier(loss="softmax"),
        GDClassifier(loss="huber", epsilon=1.0),
        GDClassifier(loss="squared_hinge", penalty="l1", alpha=0.01, warm_start=True),
        GDClassifier(loss="modified_huber", **ADAM),
        GDClassifier(loss="softmax", **ADAM),
    ],
    expected_failed_checks=weights_of_batches,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def numbers():
    """Rows and a target of two scales, both with some noise."""
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), y / 50


@pytest.fixture(scope="module")
def cells():
    """Rows of two classes."""
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def flowers():
    """Rows of three classes, with their names."""
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.fixture(scope="module")
def digits():
    """Training rows and labels, and a third held out."""
    X, y = load_digits(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return train_test_split(X, y, test_size=1 / 3, random_state=0, stratify=y)


def assert_same_model(model, oracle, rtol=1e-5):
    np.testing.assert_allclose(model.coef_, oracle.coef_, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(
        model.intercept_, np.atleast_1d(oracle.intercept_), rtol=rtol, atol=rtol
    )


class TestAtConvergence:
    def test_ridge(self, numbers):
        X, y = numbers
        weights = np.linspace(0, 2, len(y))
        model = GDRegressor(alpha=0.1, **TO_THE_END).fit(X, y, sample_weight=weights)
        assert model.stop_reason_ == "tol"
        oracle = Ridge(alpha=0.1 * weights.sum()).fit(X, y, sample_weight=weights)
        assert_same_model(model, oracle)
        np.testing.assert_allclose(model.predict(X), oracle.predict(X), rtol=1e-5)

    def test_ridge_of_several_targets(self, numbers):
        X, y = numbers
        Y = np.column_stack([y, -y, np.sqrt(y)])
        model = GDRegressor(alpha=0.1, **TO_THE_END).fit(X, Y)
        oracle = Ridge(alpha=0.1 * len(y)).fit(X, Y)
        assert_same_model(model, oracle)
        np.testing.assert_allclose(model.predict(X), oracle.predict(X), rtol=1e-5)
        assert model.score(X, Y) == pytest.approx(oracle.score(X, Y))

    @pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
    def test_elastic_net(self, numbers, l1_ratio):
        X, y = numbers
        penalty = "l1" if l1_ratio == 1 else "elasticnet"
        model = GDRegressor(
            penalty=penalty, alpha=0.2, l1_ratio=l1_ratio, tol=1e-9, max_iter=100_000
        )
        model.fit(X, y)
        oracle = ElasticNet(alpha=0.2, l1_ratio=l1_ratio, tol=1e-10, max_iter=100_000).fit(X, y)
        assert_same_model(model, oracle)
        assert (model.coef_ == 0).tolist() == (oracle.coef_ == 0).tolist()
        assert (model.coef_ == 0).any()

    def test_huber(self, numbers):
        X, y = numbers
        oracle = HuberRegressor(epsilon=1.2, alpha=2.0, tol=1e-9, max_iter=10_000).fit(X, y)
        # HuberRegressor finds a scale as well; with that scale given, the objectives are the same.
        scale = oracle.scale_
        model = GDRegressor(
            loss="huber", epsilon=1.2 * scale, alpha=2.0 * scale / len(y), **TO_THE_END
        )
        assert_same_model(model.fit(X, y), oracle, rtol=1e-4)

    def test_poisson(self, numbers):
        X, y = numbers
        model = GDRegressor(loss="poisson", alpha=0.1, tol=1e-8, max_iter=100_000).fit(X, y)
        oracle = PoissonRegressor(alpha=0.1, tol=1e-9, max_iter=10_000).fit(X, y)
        assert_same_model(model, oracle)
        np.testing.assert_allclose(model.predict(X), oracle.predict(X), rtol=1e-5)

    @pytest.mark.parametrize("loss", ["log_loss", "softmax"])
    def test_logistic_regression_of_two_classes(self, cells, loss):
        X, y = cells
        model = GDClassifier(loss=loss, alpha=0.1, **TO_THE_END).fit(X, y)
        oracle = LogisticRegression(C=1 / (0.1 * len(y)), tol=1e-9, max_iter=10_000).fit(X, y)
        assert_same_model(model, oracle)
        np.testing.assert_allclose(
            model.decision_function(X), oracle.decision_function(X), rtol=1e-4
        )
        np.testing.assert_allclose(model.predict_proba(X), oracle.predict_proba(X), rtol=1e-4)
        np.testing.assert_allclose(
            model.predict_log_proba(X), oracle.predict_log_proba(X), rtol=1e-4
        )

    @pytest.mark.parametrize("class_weight", [None, "balanced", {"setosa": 3, "virginica": 0.5}])
    def test_logistic_regression_of_three_classes(self, flowers, class_weight):
        X, y = flowers
        weights = np.linspace(0.5, 1.5, len(y))
        oracle = LogisticRegression(
            C=1 / (0.05 * len(y)), tol=1e-9, max_iter=10_000, class_weight=class_weight
        ).fit(X, y, sample_weight=weights)
        if isinstance(class_weight, dict):  # only proportions count here, and there the sum as well
            by_class = np.array([class_weight.get(label, 1) for label in y])
            total = (weights * by_class).sum()
        else:
            total = weights.sum()
        model = GDClassifier(
            loss="softmax", alpha=0.05 * len(y) / total, class_weight=class_weight, **TO_THE_END
        ).fit(X, y, sample_weight=weights)
        assert_same_model(model, oracle, rtol=1e-4)
        np.testing.assert_allclose(model.predict_proba(X), oracle.predict_proba(X), rtol=1e-3)
        assert model.predict(X).tolist() == oracle.predict(X).tolist()

    def test_one_against_the_rest(self, flowers):
        X, y = flowers
        model = GDClassifier(alpha=0.05, **TO_THE_END).fit(X, y)
        one = LogisticRegression(C=1 / (0.05 * len(y)), tol=1e-9, max_iter=10_000)
        oracle = OneVsRestClassifier(one).fit(X, y)
        for k, estimator in enumerate(oracle.estimators_):
            np.testing.assert_allclose(model.coef_[k], estimator.coef_[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(model.predict_proba(X), oracle.predict_proba(X), rtol=1e-3)
        assert model.predict(X).tolist() == oracle.predict(X).tolist()

    def test_squared_hinge(self, cells):
        X, y = cells
        model = GDClassifier(loss="squared_hinge", alpha=0.1, fit_intercept=False, **TO_THE_END)
        oracle = LinearSVC(C=1 / (0.1 * len(y)), fit_intercept=False, tol=1e-9, max_iter=100_000)
        assert_same_model(model.fit(X, y), oracle.fit(X, y))

    @pytest.mark.parametrize("loss", ["squared_epsilon_insensitive", "epsilon_insensitive"])
    def test_support_vector_regression(self, numbers, loss):
        X, y = numbers
        oracle = LinearSVR(
            loss=loss,
            epsilon=0.2,
            C=1 / (0.1 * len(y)),
            fit_intercept=False,
            tol=1e-9,
            max_iter=100_000,
        )
        oracle.fit(X, y)
        kink = loss == "epsilon_insensitive"
        options = TO_THE_END if not kink else {"max_iter": 2000, "tol": None, "lr": inverse(0.3)}
        model = GDRegressor(loss=loss, epsilon=0.2, alpha=0.1, fit_intercept=False, **options)
        model.fit(X, y)

        def objective(coef):
            beyond = np.maximum(0, abs(X @ coef - y) - 0.2)
            return (beyond ** (1 if kink else 2)).mean() + 0.05 * (coef**2).sum()

        assert objective(model.coef_) == pytest.approx(objective(oracle.coef_), rel=1e-3)

    def test_the_median(self, numbers):
        X, y = numbers
        oracle = QuantileRegressor(alpha=0).fit(X, y)
        model = GDRegressor(
            loss="quantile", penalty=None, max_iter=5000, tol=None, lr=inverse(10.0)
        ).fit(X, y)
        above, best = (abs(y - m.predict(X)).mean() for m in (model, oracle))
        assert above == pytest.approx(best, rel=1e-3)


def inverse(lr):
    return gd.schedules.InverseScaling(lr, power=0.5)


@pytest.mark.parametrize("loss", ["softmax", "log_loss"])
def test_digits(digits, loss):
    Xa, Xb, ya, yb = digits
    oracle = LogisticRegression()
    if loss == "log_loss":
        oracle = OneVsRestClassifier(oracle)
    model = GDClassifier(loss=loss, alpha=1 / len(ya), tol=None).fit(Xa, ya)
    assert model.score(Xb, yb) >= oracle.fit(Xa, ya).score(Xb, yb) - 0.01


class TestInScikitLearn:
    def test_a_pipeline_and_a_grid_search(self, flowers):
        X, y = flowers
        pipeline = make_pipeline(StandardScaler(), GDClassifier(max_iter=50, tol=None))
        grid = {
            "gdclassifier__loss": ["softmax", losses.Hinge()],
            "gdclassifier__optimizer": ["adam", gd.SGD(lr="auto", momentum=0.5)],
        }
        search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
        assert search.best_score_ > 0.8
        assert set(search.predict(X)) == set(y)

    def test_several_processes(self, numbers):
        model = GDRegressor(alpha=0.01, batch_size=10, max_iter=20, tol=None, random_state=0)
        scores = [cross_val_score(model, *numbers, cv=4, n_jobs=n) for n in (1, 2)]
        assert scores[0].tolist() == scores[1].tolist()

    def test_a_clone_is_not_fitted_and_fits_the_same(self, flowers):
        X, y = flowers
        model = GDClassifier(loss=losses.ModifiedHuber(), tol=0.1, class_weight="balanced")
        copy = clone(model.fit(X, y))
        assert not hasattr(copy, "coef_")
        with pytest.raises(NotFittedError):
            copy.predict(X)
        assert copy.fit(X, y).result_.digest == model.result_.digest

    @pytest.mark.parametrize("fitted", ["fit", "partial_fit"])
    def test_files(self, flowers, tmp_path, fitted):
        X, y = flowers
        model = GDClassifier(loss="softmax", tol=0.1, optimizer=gd.Adam(lr=0.1))
        if fitted == "fit":
            model.fit(X, y)
        else:
            model.partial_fit(X, y, classes=np.unique(y))
        joblib.dump(model, tmp_path / "model.joblib")
        copies = [
            pickle.loads(pickle.dumps(model)),
            joblib.load(tmp_path / "model.joblib"),
        ]
        for copy in copies:
            assert copy.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
            assert copy.get_params() == model.get_params()
            copy.partial_fit(X, y)
        model.partial_fit(X, y)
        assert all(copy.result_.digest == model.result_.digest for copy in copies)

    def test_defaults_are_those_of_scikit_learn(self):
        """But for the loss and tol, whose default means another thing for the full batch."""
        for ours, theirs in ((GDRegressor, SGDRegressor), (GDClassifier, SGDClassifier)):
            own, other = ours().get_params(), theirs().get_params()
            shared = own.keys() & other.keys() - {"loss", "tol"}
            assert len(shared) >= 14
            assert {k: own[k] for k in shared} == {k: other[k] for k in shared}


class TestTheRun:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "model",
        [
            GDRegressor(loss="huber", penalty="elasticnet", tol=0.01),
            GDRegressor(batch_size=7, max_iter=3, tol=None, random_state=1),
            GDClassifier(loss="softmax", max_iter=5, tol=None, standardize=True),
            GDClassifier(max_iter=5, tol=None, early_stopping=True, random_state=2),
        ],
        ids=str,
    )
    def test_the_same_bits_on_all_backends(self, model, flowers):
        X, y = flowers
        y = y if isinstance(model, GDClassifier) else X[:, 0] + X[:, 1] ** 2
        fits = [clone(model).set_params(backend=name).fit(X, y) for name in _backends.TABLE]
        assert [fit.result_.backend for fit in fits] == list(_backends.TABLE)
        assert len({fit.result_.digest for fit in fits}) == 1
        assert len({fit.predict(X).tobytes() for fit in fits}) == 1
        if hasattr(model, "predict_proba"):
            assert len({fit.predict_proba(X).tobytes() for fit in fits}) == 1

    def test_it_is_that_of_fit(self, numbers):
        X, y = numbers
        model = GDRegressor(batch_size=5, max_iter=3, tol=None, alpha=0.01, random_state=7)
        r = gd.fit(X, y, loss="half_squared_error", batch_size=5, epochs=3, l2=0.01, seed=7)
        assert model.fit(X, y).result_.digest == r.digest
        assert model.n_iter_ == 3
        assert model.history_.loss.tolist() == r.history.loss.tolist()
        assert model.stop_reason_ == "epochs"

    def test_random_states(self, numbers):
        def digest(state):
            model = GDRegressor(batch_size=5, max_iter=2, tol=None, random_state=state)
            return model.fit(*numbers).result_.digest

        assert digest(np.random.RandomState(3)) == digest(np.random.RandomState(3))
        assert digest(np.random.RandomState(3)) != digest(np.random.RandomState(4))
        assert digest(None) != digest(None)

    def test_max_iter_before_tol(self, numbers):
        with pytest.warns(ConvergenceWarning, match="max_iter=2 was reached before tol"):
            GDRegressor(max_iter=2).fit(*numbers)
        GDRegressor(max_iter=2, tol=None).fit(*numbers)  # no warning, which would be an error

    def test_batches_stop_when_the_loss_no_longer_falls(self, numbers):
        model = GDRegressor(batch_size=32, tol=0.01, n_iter_no_change=3, random_state=0)
        model.fit(*numbers)
        assert model.stop_reason_ == "patience"
        loss = model.history_.loss
        assert loss.argmin() >= len(loss) - 4
        assert loss[:-3].min() - loss[-3:].min() < 0.01

    @pytest.mark.parametrize("tol", [1e-4, None])
    def test_early_stopping_returns_the_best_weights(self, tol):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(60, 50)), rng.normal(size=60)
        model = GDRegressor(
            early_stopping=True, validation_fraction=0.3, random_state=5, tol=tol, max_iter=100
        ).fit(X, y)
        assert model.stop_reason_ == ("patience" if tol else "epochs")
        traced = gd.fit(
            X,
            y,
            loss="half_squared_error",
            l2=1e-4,
            validation=0.3,
            seed=5,
            epochs=model.n_iter_,
            trace="coef",
        ).history
        best = int(traced.val_loss.argmin())
        assert best < model.n_iter_ - 1
        if tol:
            assert best == model.n_iter_ - 1 - 5
        assert model.coef_.tolist() == traced.coef[best + 1].tolist()

    def test_warm_start_begins_where_the_last_fit_ended(self, cells):
        X, y = cells
        model = GDClassifier(warm_start=True, max_iter=10, tol=None).fit(X, y).fit(X, y)
        whole = GDClassifier(max_iter=20, tol=None).fit(X, y)
        np.testing.assert_array_equal(model.coef_, whole.coef_)
        given = GDClassifier(max_iter=10, tol=None).fit(X, y)
        given.fit(X, y, coef_init=given.coef_[0], intercept_init=given.intercept_[0])
        np.testing.assert_array_equal(given.coef_, whole.coef_)

    @pytest.mark.parametrize("loss", ["log_loss", "softmax", "hinge", "squared_error", "huber"])
    @pytest.mark.parametrize(
        ("sizes", "fraction"),
        [((20, 11), 0.1), ((30, 9, 3), 0.25), ((2, 9), 0.4), ((5, 5, 2), 0.5)],
    )
    def test_validation_rows_are_drawn_from_each_class(self, loss, sizes, fraction):
        """As many as by scikit-learn's StratifiedShuffleSplit."""
        y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
        n = len(y)
        splits = StratifiedShuffleSplit(1, test_size=max(1, round(fraction * n)), random_state=0)
        _, expected = next(splits.split(y, y))
        drawn = set()
        for seed in range(5):
            model = GDClassifier(loss=loss, early_stopping=True, validation_fraction=fraction)
            model.set_params(fit_intercept=False, penalty=None, lr=0.1, tol=None, max_iter=1)
            # A row is in the training where its own weight was moved.
            rows = model.set_params(random_state=seed).fit(np.eye(n), y).coef_[0] == 0
            assert np.bincount(y[rows]).tolist() == np.bincount(y[expected]).tolist()
            drawn.add(tuple(rows.tolist()))
        assert len(drawn) > 1

    def test_each_class_is_trained_on(self):
        """A class of one row that counts stays in the training; where that cannot be, it is said."""
        options = {"early_stopping": True, "tol": None, "max_iter": 1, "lr": 0.1}
        y, s = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 1, 1, 0, 1])
        for seed in range(10):
            model = GDClassifier("softmax", random_state=seed, fit_intercept=False, **options)
            model.set_params(validation_fraction=0.5).fit(np.eye(6), y, sample_weight=s)
            assert (model.coef_[0] != 0)[[3, 5]].all()
            assert (model.coef_[0] == 0)[:4].sum() == 2
        with pytest.raises(ValueError, match="takes 4 of 6 rows, and one of the classes has then"):
            model.set_params(validation_fraction=0.6).fit(np.eye(6), y)

    def test_the_result_knows_the_columns(self, flowers, tmp_path):
        X, y = flowers
        frame = pd.DataFrame(X, columns=list("abcd"))
        model = GDClassifier(max_iter=2, tol=None).fit(frame, y)
        assert model.result_.feature_names == tuple("abcd")
        model.result_.save(tmp_path / "model.npz")
        loaded = gd.load(tmp_path / "model.npz")
        assert loaded.feature_names == tuple("abcd")
        with pytest.raises(ValueError, match="the columns of X are"):
            loaded.predict(frame[list("badc")])
        assert model.partial_fit(frame, y).result_.feature_names == tuple("abcd")
        with pytest.raises(gd.DivergenceError) as caught:
            GDRegressor(lr=10.0).fit(frame, X[:, 0])
        assert caught.value.result.feature_names == tuple("abcd")

    def test_weights_set_by_hand_count(self, numbers):
        X, y = numbers
        model = GDRegressor(optimizer="adam", lr=0.1, tol=None).fit(X, y)
        model.coef_[:] = 0
        model.intercept_ = np.array([2.5])
        assert model.predict(X).tolist() == [2.5] * len(y)
        model.partial_fit(X, y)
        # Adam's first step has the length of its rate.
        np.testing.assert_allclose(abs(model.coef_), 0.1, rtol=1e-3)

    @pytest.mark.parametrize("loss", ["log_loss", "modified_huber"])
    @pytest.mark.parametrize("k", [2, 3])
    def test_weights_set_by_hand_are_a_model(self, loss, k):
        """As scikit-learn's: nothing but coef_, intercept_ and classes_ is looked at."""
        rng = np.random.default_rng(0)
        rows, X = (1 if k == 2 else k), rng.normal(size=(20, 2))
        models = GDClassifier(loss=loss), SGDClassifier(loss=loss)
        for model in models:
            model.classes_ = np.array(["a", "b", "c"][:k])
            model.coef_ = np.array([[1, -1], [2, 0], [0, 1]][:rows])  # integers
            model.intercept_ = np.array([0.5, -1, 0][:rows])
        ours, theirs = models
        assert ours.predict(X).tolist() == theirs.predict(X).tolist()
        for method in ("decision_function", "predict_proba"):
            expected = getattr(theirs, method)(X)
            np.testing.assert_allclose(getattr(ours, method)(X), expected, rtol=1e-12, atol=1e-15)
        if loss != "log_loss":
            return
        # They are where partial_fit begins, and warm_start.
        ours.set_params(lr=0.1, penalty=None, batch_size=1, shuffle=False, tol=None, max_iter=2)
        theirs.set_params(learning_rate="constant", eta0=0.1, penalty=None, shuffle=False)
        theirs.set_params(tol=None, max_iter=2)
        for model in models:
            model.coef_, y = model.coef_.astype(float), np.resize(model.classes_, 20)
        warm = [clone(model).set_params(warm_start=True) for model in models]
        for model, given in zip(warm, models, strict=True):
            model.classes_, model.coef_ = given.classes_, given.coef_.copy()
            model.intercept_ = given.intercept_.copy()
            model.fit(X, y)
        assert_same_model(*warm, rtol=1e-12)
        for model in models:
            model.partial_fit(X, y)
        assert_same_model(*models, rtol=1e-12)
        assert ours.n_features_in_ == 2

    def test_weights_of_a_regressor_set_by_hand(self):
        model = GDRegressor(lr=0.1, penalty=None)
        model.coef_, model.intercept_ = [1.0, -1.0], 0.5
        assert model.predict([[2.0, 1.0]]).tolist() == [1.5]
        # p = 1.5, y = 2.5: the step is 0.1 * 1 * x.
        model.partial_fit([[2.0, 1.0]], [2.5])
        np.testing.assert_allclose(model.coef_, [1.2, -0.9])
        np.testing.assert_allclose(model.intercept_, [0.6])
        several = GDRegressor(loss="poisson")
        several.coef_, several.intercept_ = np.eye(2), np.zeros(2)
        np.testing.assert_allclose(several.predict([[0.0, 1.0]]), [[1, np.e]])

    @pytest.mark.parametrize(
        ("weights", "words"),
        [
            ({"coef_": [[1.0, 2.0, 3.0]]}, "X has 2 features, the model has 3"),
            ({"coef_": [[1.0, 2.0], [3.0, 4.0]]}, r"coef_ .*\(2, 2\) and intercept_ \(1,\)"),
            ({"intercept_": [1.0, 2.0]}, r"intercept_ \(2,\)"),
            ({"classes_": np.arange(3)}, "coef_ has 1 rows, but 3 classes_ need 3"),
            ({"coef_": [[1.0, np.nan]]}, r"coef_\[0, 1\] is nan"),
            ({"coef_": ["a", "b"]}, "coef_"),
        ],
        ids=str,
    )
    def test_weights_set_by_hand_that_fit_nothing(self, weights, words):
        model = GDClassifier()
        model.coef_, model.intercept_, model.classes_ = [[1.0, 2.0]], [0.0], np.arange(2)
        for name, value in weights.items():
            setattr(model, name, value)
        with pytest.raises((ValueError, TypeError), match=words):
            model.predict([[1.0, 2.0]])
        with pytest.raises((ValueError, TypeError), match=r"coef_|intercept_"):
            model.partial_fit([[1.0, 2.0]], [1])
        bare = GDClassifier()
        bare.coef_ = [[1.0, 2.0]]
        with pytest.raises(NotFittedError):
            bare.predict([[1.0, 2.0]])

    def test_float32_stays(self, flowers):
        X, y = flowers
        model = GDClassifier(tol=0.1).fit(X.astype(np.float32), y)
        assert model.coef_.dtype == model.intercept_.dtype == np.float32
        assert model.predict_proba(X.astype(np.float32)).dtype == np.float32
        assert model.predict_proba(X).dtype == np.float64

    def test_sparse_rows(self, flowers):
        X, y = flowers
        X = np.where(abs(X) < 0.5, 0, X)
        dense, sparse = (
            GDClassifier(loss="softmax", max_iter=20, tol=None).fit(rows, y)
            for rows in (X, sp.csr_array(X))
        )
        np.testing.assert_allclose(dense.coef_, sparse.coef_, rtol=1e-10)
        assert sparse.predict(sp.csc_matrix(X)).tolist() == dense.predict(X).tolist()

    def test_verbose_shows_the_epochs(self, numbers, capsys):
        GDRegressor(verbose=1, max_iter=3, tol=None).fit(*numbers)
        assert "3/3" in capsys.readouterr().err


class TestPartialFit:
    @pytest.mark.parametrize("batch_size", [None, 16])
    @pytest.mark.parametrize("name", optimizers.TABLE)
    def test_epoch_by_epoch_is_a_fit(self, name, batch_size, cells):
        X, y = cells
        record = optimizers.TABLE[name](lr=0.01)
        if record.full_batch_only and batch_size is not None:
            pytest.skip("of the full batch alone")
        model = GDClassifier(optimizer=record, batch_size=batch_size, tol=None, max_iter=4)
        model.set_params(random_state=3, average=True, penalty="elasticnet")
        whole = clone(model).fit(X, y)
        for _ in range(4):
            model.partial_fit(X, y, classes=[0, 1])
            assert model.n_iter_ == 1
        np.testing.assert_array_equal(model.coef_, whole.coef_)
        np.testing.assert_array_equal(model.intercept_, whole.intercept_)

    def test_a_schedule_goes_on(self, numbers):
        model = GDRegressor(lr=gd.schedules.InverseScaling(0.1, power=0.5))
        rates = [model.partial_fit(*numbers).history_.lr[0] for _ in range(4)]
        np.testing.assert_allclose(rates, 0.1 / np.sqrt([1, 2, 3, 4]))

    @pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "perceptron"])
    @pytest.mark.parametrize("first", [0, 1])
    def test_the_first_call_may_hold_one_class(self, loss, first):
        """Row by row as SGDClassifier, whichever class the first row is of."""
        rng = np.random.default_rng(1)
        X = rng.normal(size=(30, 3))
        y = np.where(X[:, 0] + rng.normal(size=30) > 0, "yes", "no")
        y[0] = ["no", "yes"][first]
        ours = GDClassifier(loss=loss, lr=0.1, penalty=None)
        theirs = SGDClassifier(loss=loss, learning_rate="constant", eta0=0.1, penalty=None)
        for i in range(30):
            for model in (ours, theirs):
                model.partial_fit(X[i : i + 1], y[i : i + 1], classes=["yes", "no"])
        assert_same_model(ours, theirs, rtol=1e-9)
        assert ours.predict(X).tolist() == theirs.predict(X).tolist()

    @pytest.mark.parametrize("class_weight", [None, {0: 1, 1: 10}, {0: 0.25, 1: 3}])
    @pytest.mark.parametrize("rows", [1, 20])
    def test_weights_count_between_calls(self, class_weight, rows):
        """They are not scaled in each call: row by row as SGDClassifier."""
        rng = np.random.default_rng(0)
        X = rng.normal(size=(60, 2))
        y = (X[:, 0] + 0.5 * rng.normal(size=60) > 0.8).astype(int)
        s = rng.integers(1, 5, 60) / 2
        ours = GDClassifier(lr=0.05, class_weight=class_weight, penalty=None, batch_size=1)
        theirs = SGDClassifier("log_loss", penalty=None, class_weight=class_weight)
        theirs.set_params(learning_rate="constant", eta0=0.05)
        for weights in (s, None):
            for first in range(0, 60, rows):
                part = slice(first, first + rows)
                some = None if weights is None else weights[part]
                for model in (ours, theirs):
                    model.set_params(shuffle=False)
                    model.partial_fit(X[part], y[part], classes=[0, 1], sample_weight=some)
        assert_same_model(ours, theirs, rtol=1e-9)

    def test_rows_of_weight_0_leave_the_model_alone(self, numbers):
        X, y = numbers
        model = GDRegressor(penalty=None).partial_fit(X[:50], y[:50])
        before = model.coef_.copy()
        model.partial_fit(1e3 * X[50:], y[50:], sample_weight=np.zeros(len(y) - 50))
        assert model.coef_.tolist() == before.tolist()
        with pytest.raises(ValueError, match=r"sample_weight\[1\] is -1"):
            model.partial_fit(X[:2], y[:2], sample_weight=[1, -1])

    @pytest.mark.parametrize(
        ("lr", "theirs"),
        [
            (
                gd.schedules.InverseScaling(0.01, power=0.5),
                {"learning_rate": "invscaling", "eta0": 0.01, "power_t": 0.5},
            ),
            (
                gd.schedules.Optimal(l2=0.01),
                {"learning_rate": "optimal", "alpha": 0.01, "penalty": "l2"},
            ),
        ],
        ids=["invscaling", "optimal"],
    )
    def test_after_a_fit_the_schedule_goes_on(self, lr, theirs, cells):
        X, y = cells
        ours = GDClassifier(lr=lr, alpha=0.01, batch_size=1, shuffle=False, tol=None, max_iter=2)
        ours.set_params(penalty=theirs.get("penalty"))
        oracle = SGDClassifier("log_loss", **{"penalty": None, **theirs})
        oracle.set_params(shuffle=False, tol=None, max_iter=2)
        for model in (ours, oracle):
            model.fit(X, y).partial_fit(X[:30], y[:30])
        assert_same_model(ours, oracle, rtol=1e-6)
        expected = lr.for_loss(losses.Logistic()).rates([2 * len(y)])
        assert ours.history_.lr.tolist() == expected.tolist()

    @pytest.mark.parametrize(
        "options",
        [
            {"optimizer": gd.Adam(lr=0.01), "batch_size": 32},
            {"optimizer": gd.SGD(lr=0.01, momentum=0.9), "average": True},
            {"lr": gd.schedules.Adaptive(0.1, tol=0.1, patience=1), "batch_size": 100},
            {"lr": gd.schedules.Exponential(0.1, gamma=0.5), "loss": "softmax"},
        ],
        ids=str,
    )
    def test_after_a_fit_it_is_a_longer_fit(self, options, flowers):
        X, y = flowers
        model = GDClassifier(tol=None, random_state=3, max_iter=3, **options).fit(X, y)
        model.partial_fit(X, y).partial_fit(X, y)
        whole = GDClassifier(tol=None, random_state=3, max_iter=5, **options).fit(X, y)
        assert model.coef_.tobytes() == whole.coef_.tobytes()
        assert model.intercept_.tobytes() == whole.intercept_.tobytes()

    @pytest.mark.parametrize("options", [{"standardize": True}, {"early_stopping": True}])
    def test_after_a_fit_of_other_weights_than_the_last_they_are_continued(self, options, cells):
        """The weights that fit returned are where partial_fit begins, and the steps go on being counted."""
        X, y = cells
        lr = gd.schedules.InverseScaling(0.1, power=0.5)
        model = GDClassifier(lr=lr, batch_size=50, penalty=None, random_state=0, tol=1e-3)
        model.set_params(n_iter_no_change=2, **options).fit(X, y)
        steps, w, b = model.result_.n_steps, model.coef_[0], model.intercept_[0]
        model.set_params(**dict.fromkeys(options, False), batch_size=None).partial_fit(
            X[:10], y[:10]
        )
        residual = 1 / (1 + np.exp(-(X[:10] @ w + b))) - y[:10]
        rate = 0.1 / np.sqrt(steps + 1)
        np.testing.assert_allclose(model.coef_[0], w - rate * residual @ X[:10] / 10, rtol=1e-12)
        np.testing.assert_allclose(model.intercept_[0], b - rate * residual.mean(), rtol=1e-12)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (0.1, 0.001),
            (gd.schedules.Adaptive(0.1), 0.001),
            (gd.schedules.Adaptive(0.1), gd.schedules.Adaptive(0.001)),
            (gd.schedules.Adaptive(0.1), gd.schedules.ReduceOnPlateau(0.001)),
            (gd.schedules.Adaptive(0.1, factor=2.0), gd.schedules.Adaptive(0.001, factor=3.0)),
            ("auto", 0.001),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("first", ["fit", "partial_fit"])
    def test_a_new_rate_is_taken(self, old, new, first, numbers):
        model = GDRegressor(lr=old, tol=None, max_iter=2)
        getattr(model, first)(*numbers)
        assert model.set_params(lr=new).partial_fit(*numbers).history_.lr.tolist() == [0.001]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("rows", "loss"),
        [(1, "squared_error"), (10, "squared_error"), (1, "epsilon_insensitive")],
    )
    def test_the_default_rate_settles(self, rows, loss):
        """A rate for each part by itself would end at R2 = 0.68 row by row; SGDRegressor comes to 0.998."""
        rng = np.random.default_rng(0)
        X = rng.normal(size=(4000, 5))
        truth = X @ [1.0, -2.0, 0.5, 0.0, 3.0] + 3
        y = truth + 2 * rng.normal(size=4000)
        model = GDRegressor(loss=loss)
        for first in range(0, 4000, rows):
            model.partial_fit(X[first : first + rows], y[first : first + rows])
        assert model.score(X, truth) > 0.99

    def test_the_default_rate(self):
        """The least of 1 / curvature over the parts so far, over the fourth root of the step."""
        model = GDRegressor(penalty=None)
        longest, w, b = 0.0, np.zeros(2), 0.0
        X = np.array([[1.0, 2], [3, 0], [0, 1], [2, 2]])
        for t, (x, y) in enumerate(zip(X, [3, 1, -1, 0], strict=True), 1):
            longest = max(longest, x @ x + 1)
            rate = 1 / longest / t**0.25
            residual = x @ w + b - y
            w, b = w - rate * residual * x, b - rate * residual
            model.partial_fit([x], [y])
            np.testing.assert_allclose(model.history_.lr, [rate], rtol=1e-12)
            np.testing.assert_allclose([*model.coef_, *model.intercept_], [*w, b], rtol=1e-12)

    @pytest.mark.parametrize("batch_size", [None, 20])
    @pytest.mark.parametrize("factor", [1e3, 3e3, 1e9])
    def test_rows_of_another_scale_are_no_divergence(self, factor, batch_size):
        rng = np.random.default_rng(0)
        w = np.array([1.0, -2.0, 0.5])
        model = GDRegressor(penalty=None, batch_size=batch_size, random_state=0)
        X = rng.normal(size=(200, 3))
        for _ in range(20):
            model.partial_fit(X, X @ w)
        loss = [model.partial_fit(factor * X, X @ w).history_.loss[0] for _ in range(60)]
        assert loss[-1] < 1e-3 * loss[0]

    @pytest.mark.parametrize("batch_size", [None, 20])
    def test_a_rate_that_is_too_large_is_found_between_calls(self, batch_size):
        """Also where each call makes one step only: the loss grows from call to call, on other rows each time."""
        rng = np.random.default_rng(0)
        model = GDRegressor(penalty=None, lr=3.0, batch_size=batch_size, random_state=0)
        calls = (model.partial_fit(X, X @ [1.0, -2.0, 0.5]) for X in rng.normal(size=(100, 200, 3)))
        with pytest.raises(gd.DivergenceError, match="diverged") as caught:
            list(calls)
        assert caught.value.result.history.loss[-1] < 1e20

    def test_it_learns_from_parts(self, digits):
        Xa, Xb, ya, yb = digits
        model = GDClassifier(loss="softmax", optimizer=gd.Adam(lr=0.01), batch_size=16)
        order = ya.argsort(kind="stable")  # each part lacks most of the classes
        for _ in range(30):
            for part in np.array_split(order, 7):
                model.partial_fit(Xa[part], ya[part], classes=np.arange(10))
        assert model.score(Xb, yb) > 0.95

    @pytest.mark.parametrize("loss", ["log_loss", "softmax", "hinge", "huber"])
    @pytest.mark.parametrize("k", [2, 3])
    def test_a_class_may_be_missing(self, loss, k, flowers):
        X, y = (a[: 50 * k] for a in flowers)
        model = GDClassifier(loss=loss, lr=0.1)
        labels = np.unique(y)
        for label in labels:
            model.partial_fit(X[y == label], y[y == label], classes=labels)
        assert model.coef_.shape == ((k if k > 2 else 1), 4)
        assert model.classes_.tolist() == labels.tolist()

    def test_the_classes(self, flowers):
        X, y = flowers
        model = GDClassifier()
        with pytest.raises(ValueError, match="classes must be passed on the first call"):
            model.partial_fit(X, y)
        with pytest.raises(ValueError, match="classes should include all valid labels"):
            model.partial_fit(X, y, classes=["setosa", "virginica"])
        with pytest.raises(ValueError, match="greater than one; got 1 class"):
            model.partial_fit(X[:50], y[:50], classes=["setosa"])
        model.partial_fit(X, y, classes=["virginica", "setosa", "versicolor"])
        with pytest.raises(ValueError, match="are not those of the first call"):
            model.partial_fit(X, y, classes=["setosa", "virginica"])
        with pytest.raises(ValueError, match="classes should include all valid labels"):
            model.partial_fit(X[:2], ["setosa", "rosa"])
        model.partial_fit(X, y)

    @pytest.mark.parametrize(
        "option", [{"early_stopping": True}, {"standardize": True}, {"class_weight": "balanced"}]
    )
    def test_what_needs_all_rows(self, option, cells):
        with pytest.raises(ValueError, match=f"{next(iter(option))}=.*partial_fit"):
            GDClassifier(**option).partial_fit(*cells, classes=[0, 1])

    def test_other_features(self, numbers):
        X, y = numbers
        model = GDRegressor().partial_fit(X, y)
        with pytest.raises(ValueError, match="9 features, but GDRegressor is expecting 10"):
            model.partial_fit(X[:, 1:], y)


class TestErrors:
    @pytest.mark.parametrize(
        ("option", "words"),
        [
            ({"loss": "hube"}, "did you mean 'huber'"),
            (
                {"loss": "logistic"},
                "loss=logistic is for targets that are signs, which GDRegressor",
            ),
            ({"loss": "log_los"}, "unknown loss 'log_los'"),
            ({"loss": losses.Logistic()}, "targets that are signs, which GDRegressor"),
            ({"loss": "huber", "epsilon": -1.0}, "epsilon=-1.0 must be"),
            ({"penalty": "elastic"}, "did you mean 'elasticnet'.*; or None"),
            ({"alpha": -1}, "alpha=-1 must be"),
            ({"penalty": "elasticnet", "l1_ratio": 2}, "l1_ratio=2 must be"),
            ({"max_iter": 0}, "max_iter=0 must be at least 1"),
            ({"tol": -1}, "tol=-1 must be"),
            ({"n_iter_no_change": 0}, "n_iter_no_change=0 must be at least 1"),
            ({"early_stopping": True, "validation_fraction": 1.0}, "validation_fraction=1.0 must"),
            ({"random_state": -1}, "random_state=-1 must be"),
            ({"random_state": "a"}, "'a' cannot be used to seed"),
            ({"optimizer": "sdg"}, "did you mean 'sgd'"),
            ({"backend": "fortran"}, "fortran"),
        ],
        ids=str,
    )
    def test_parameters(self, option, words, numbers):
        model = GDRegressor(**option)  # is not checked before the fit, as is the convention
        with pytest.raises(ValueError, match=words):
            model.fit(*numbers)
        with pytest.raises((ValueError, TypeError)):
            GDRegressor(**dict.fromkeys(option, object())).fit(*numbers)

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("learning_rate", "in gdfast it is lr"),
            ("eta0", "in gdfast it is lr"),
            ("power_t", "pass lr=gdfast.schedules.InverseScaling"),
            ("n_iter", "in gdfast it is max_iter"),
            ("epochs", "in gdfast it is max_iter"),
            ("patience", "in gdfast it is n_iter_no_change"),
            ("seed", "in gdfast it is random_state"),
            ("solver", "in gdfast it is optimizer"),
            ("l2", "pass penalty='l2' or 'elasticnet', and alpha="),
            ("C", "alpha="),
            ("momentum", "pass optimizer=gdfast.SGD(momentum=...)"),
            ("los", "did you mean 'loss'?"),
        ],
    )
    @pytest.mark.parametrize("cls", [GDRegressor, GDClassifier])
    def test_names_of_others(self, cls, name, words):
        words = f"'{name}': .*{re.escape(words)}"
        with pytest.raises(TypeError, match=words):
            cls(**{name: 1})
        with pytest.raises(ValueError, match=words):
            cls().set_params(**{name: 1})
        with pytest.raises(ValueError, match=words):
            make_pipeline(cls()).set_params(**{f"{cls.__name__.lower()}__{name}": 1})

    @pytest.mark.parametrize(
        ("class_weight", "words"),
        [
            ({"setosa": -1}, r"class_weight\['setosa'\]=-1 must be"),
            ({"setosa": np.nan}, r"class_weight\['setosa'\]=nan must be"),
            ({"setosa": "much"}, r"class_weight\['setosa'\] must be a number"),
            (
                dict.fromkeys(["setosa", "versicolor", "virginica"], 0),
                "class_weight is zero in every",
            ),
            ({"rosa": 1}, "rosa|are not in class_weight"),
            ("balance", "class_weight"),
        ],
        ids=str,
    )
    def test_class_weights(self, class_weight, words, flowers):
        X, y = flowers
        with pytest.raises((ValueError, TypeError), match=words) as caught:
            GDClassifier(class_weight=class_weight).fit(X, y)
        assert "sample_weight" not in str(caught.value)

    def test_class_weights_and_those_of_rows(self, flowers):
        X, y = flowers
        model = GDClassifier(class_weight={"setosa": 1e300, "versicolor": 1, "virginica": 0})
        with pytest.raises(ValueError, match=r"class_weight times sample_weight\[0\] is inf"):
            model.fit(X, y, np.full(len(y), 1e300))
        only = (y == "virginica").astype(float)
        with pytest.raises(
            ValueError, match="class_weight times sample_weight is zero in every row"
        ):
            model.fit(X, y, only)
        with pytest.raises(ValueError, match=r"^sample_weight\[3\] is -1"):
            model.fit(X, y, np.where(np.arange(len(y)) == 3, -1.0, 1.0))

    @pytest.mark.parametrize(
        ("name", "record"),
        [
            ("log_loss", losses.Logistic()),
            ("logistic", losses.Logistic()),
            ("squared_error", losses.HalfSquaredError()),
            ("half_squared_error", losses.HalfSquaredError()),
            ("quantile", losses.Quantile()),
        ],
    )
    def test_names_of_losses(self, name, record, cells):
        X, y = cells
        digests = {
            GDClassifier(loss=loss, max_iter=3, tol=None).fit(X, y).result_.digest
            for loss in (name, record)
        }
        assert len(digests) == 1

    @pytest.mark.parametrize("name", ["average", "warm_start", "early_stopping", "fit_intercept"])
    def test_flags(self, name, numbers):
        with pytest.raises(TypeError, match=f"{name} must be True or False, not 10"):
            GDRegressor(**{name: 10}).fit(*numbers)

    def test_labels(self, flowers):
        X, y = flowers
        with pytest.raises(ValueError, match="greater than one; got 1 class"):
            GDClassifier().fit(X[:50], y[:50])
        with pytest.raises(ValueError, match="Unknown label type"):
            GDClassifier().fit(X, X[:, 0])
        with pytest.raises(ValueError, match=r"classes=4\), but there are 3 classes"):
            GDClassifier(loss=losses.Softmax(classes=4)).fit(X, y)
        with pytest.raises(ValueError, match="targets that are counts, which GDClassifier"):
            GDClassifier(loss=losses.Poisson()).fit(X, y)
        weights = (y != "setosa").astype(float)
        with pytest.raises(ValueError, match="the weights of class setosa are zero"):
            GDClassifier(class_weight="balanced").fit(X, y, weights)

    def test_warm_start_with_other_data(self, flowers):
        X, y = flowers
        model = GDClassifier(warm_start=True, tol=0.1).fit(X, y)
        with pytest.raises(ValueError, match="the classes of the last fit"):
            model.fit(X[50:], y[50:])
        model = GDClassifier(warm_start=True, tol=0.1).fit(X, y)
        with pytest.raises(ValueError, match=r"shape \(3, 4\), but these data need \(3, 3\)"):
            model.fit(X[:, 1:], y)

    def test_initial_weights_of_a_wrong_shape(self, flowers):
        X, y = flowers
        with pytest.raises(ValueError, match=r"coef_init has shape \(4, 3\)"):
            GDClassifier().fit(X, y, coef_init=np.zeros((4, 3)))
        with pytest.raises(ValueError, match=r"intercept_init has shape \(2,\)"):
            GDClassifier().fit(X, y, intercept_init=[0, 1])

    def test_feature_names(self, flowers):
        X, y = flowers
        frame = pd.DataFrame(X, columns=list("abcd"))
        model = GDClassifier(tol=0.1).fit(frame, y)
        assert model.feature_names_in_.tolist() == list("abcd")
        assert model.predict(frame).tolist() == clone(model).fit(X, y).predict(X).tolist()
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(frame[list("badc")])
        with pytest.raises(ValueError, match="3 features, but GDClassifier is expecting 4"):
            model.fit(X, y).predict(X[:, 1:])

    @pytest.mark.parametrize("loss", ["hinge", "squared_error", losses.Perceptron(), "nonsense"])
    def test_probabilities_that_are_not_there(self, loss):
        model = GDClassifier(loss=loss)
        assert not hasattr(model, "predict_proba")
        assert not hasattr(model, "predict_log_proba")
        with pytest.raises(AttributeError, match="predict_proba"):
            _ = model.predict_proba

    def test_a_rate_that_is_too_large(self, numbers):
        with pytest.raises(gd.DivergenceError, match="largest stable rate"):
            GDRegressor(lr=10.0).fit(*numbers)

    def test_without_scikit_learn(self, python):
        program = """
import sys
sys.modules["sklearn"] = None
try:
    import gdfast.sklearn
except ImportError as error:
    print(error)
"""
        assert "pip install 'gdfast[sklearn]'" in python(program)


def test_the_page_of_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "sklearn.md").read_text("utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, "sklearn.md", "exec"), {})
    schedules = re.findall(r"`(gd\.schedules\.\w+\(.*?\))`", page)
    assert len(schedules) == 3
    for schedule in schedules:
        lr = eval(schedule, {"gd": gd, "e": 0.1, "p": 0.25, "a": 0.01})
        GDClassifier(lr=lr, max_iter=2, tol=None).fit([[0.0], [1.0]], [0, 1])


def test_probabilities_of_one_against_the_rest_where_none_has_any():
    X, y = np.array([[-1.0], [0.0], [1.0]]), [0, 1, 2]
    model = GDClassifier(loss="modified_huber", tol=0.1).fit(X, y)
    model.coef_[:], model.intercept_[:] = 0, -2
    assert model.predict_proba([[1.0]]).tolist() == [[1 / 3] * 3]
    model.intercept_[:] = [-2, 0, 1]
    p = model.predict_proba([[0.0]])
    np.testing.assert_allclose(p, [[0, 1 / 3, 2 / 3]])
    assert model.predict_log_proba([[0.0]])[0, 0] == -np.inf
