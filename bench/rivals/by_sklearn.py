"""scikit-learn's SGDRegressor and SGDClassifier."""

import numpy as np

import gdfast as gd

from .rival import Rival, Training, check
from .works import Data, Fit, Model


class ScikitLearn(Rival):
    name = "scikit-learn"
    package = "scikit-learn"
    module = "sklearn"
    drawn = True

    def fit(self, work: Fit, data: Data) -> Training:
        from sklearn.linear_model import SGDClassifier, SGDRegressor

        check(work.optimizer is gd.SGD, "it has plain SGD alone")
        check(work.batch_size == 1 or work.published, "it trains per sample")
        X, y = data
        squared = work.loss == "squared_error"
        # Its squared error has a factor 1/2.
        options = {
            "loss": {"logistic": "log_loss"}.get(work.loss, work.loss),
            "penalty": None,
            "learning_rate": "constant",
            "eta0": 2 * work.lr if squared else work.lr,
            "fit_intercept": work.intercept,
            "tol": None,
            "shuffle": work.shuffled,
            "random_state": 0,
        }
        model = SGDRegressor if squared else SGDClassifier
        start = np.full(work.features, work.start)

        def run(epochs: int) -> Model:
            m = model(max_iter=epochs, **options).fit(
                X, y, coef_init=start.copy()
            )  # it trains in place
            return Model(m.coef_.ravel(), float(np.ravel(m.intercept_)[0]))

        same = not work.shuffled and work.batch_size == 1
        return Training(run, within=1e-6 if same else None)
