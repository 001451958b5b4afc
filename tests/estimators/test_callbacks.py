"""scikit-learn's callbacks see every iteration of our estimators, and can stop a fit."""

import warnings

import numpy as np
import pytest

import fastlin as fl

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import ConvergenceWarning

ALL = [fl.SoftmaxClassifier, fl.SVMClassifier, fl.LinearRegressor]
SOLVERS = ["auto", "lbfgs", "whitened-lbfgs", "newton-cg", "newton-cholesky", "cg", "sgd"]


def data(kind, columns=None):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((90, 4)), np.array(["ant", "bee", "cat"])[rng.integers(0, 3, 90)]
    if kind is fl.LinearRegressor:
        y = X @ np.arange(4.0 * (columns or 1)).reshape(4, -1) + 1.0
        y = y if columns else y[:, 0]
    return X, y


class Record:
    """What is called, and what the model of each iteration scores; asks to stop after `most` iterations."""

    def __init__(self, most=None):
        self.most, self.begun, self.ended, self.scores, self.calls = most, [], [], [], []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.ended.append(context.task_name)
        if fitted_estimator is not None:
            self.scores.append(fitted_estimator.score(X, y))
            self.last = fitted_estimator
            self.metadata = metadata
        return self.most is not None and len(self.scores) >= self.most


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_iteration_is_a_task(kind, solver):
    X, y = data(kind)
    record, words = Record(), {"solver": solver, "optimizer": fl.SGD(0.05), "random_state": 0}
    model = kind(**words).set_callbacks(record).fit(X, y, np.ones(90))
    assert record.calls == ["setup", "teardown"]
    count = model.n_iter_
    assert record.begun == ["fit"] + ["iteration"] * (count + 1)
    assert record.ended == ["iteration"] * (count + 1) + ["fit"]
    assert len(record.scores) == count + 1
    assert record.scores[-1] == record.scores[-2] == model.score(X, y)
    assert record.metadata["sample_weight"].tolist() == [1] * 90
    plain = kind(**words).fit(X, y, np.ones(90))
    np.testing.assert_array_equal(model.coef_, plain.coef_)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("solver", ["lbfgs", "whitened-lbfgs", "newton-cg", "cg", "sgd"])
def test_a_callback_stops_the_fit(kind, solver):
    X, y = data(kind)
    record = Record(most=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)  # who stops a fit is not warned
        model = kind(solver=solver, optimizer=fl.SGD(0.05), random_state=0, tol=1e-12)
        model.set_callbacks(record).fit(X, y)
    assert model.n_iter_ == 1
    assert model.score(X, y) == record.scores[0]
    if solver != "sgd":
        assert model.solver_.stopped
        assert model.solver_.message == "a callback stopped it"


def test_regressions_of_several_columns():
    X, y = data(fl.LinearRegressor, columns=2)
    record = Record()
    fl.LinearRegressor(reg=0.0).set_callbacks(record).fit(X, y)
    assert record.last.coef_.shape == (2, 4)
    assert record.scores[-1] == pytest.approx(1.0)


def test_teardown_after_an_error():
    record = Record()
    with pytest.raises(ValueError, match="reg must be"):
        fl.SoftmaxClassifier(reg=-1.0).set_callbacks(record).fit(*data(None))
    assert record.calls == ["setup", "teardown"]


@pytest.mark.parametrize("kind", ALL)
def test_scikit_learns_own_callbacks(kind):
    X, y = data(kind)
    monitor = ScoringMonitor(scoring="r2" if kind is fl.LinearRegressor else "accuracy")
    model = kind(solver="lbfgs", max_iter=4, tol=0.0).set_callbacks(monitor).fit(X, y)
    assert not hasattr(clone(model), "_callback_fit_ctx")
    assert monitor.get_logs()


class TestMinimize:
    X, y = np.random.default_rng(1).standard_normal((60, 3)), np.arange(60) % 3

    @pytest.mark.parametrize("solver", [*SOLVERS[:-1], "owlqn"])
    def test_results_of_iterations(self, solver):
        found, how = [], {"reg": fl.L1(1e-3) if solver == "owlqn" else 1e-3, "solver": solver}

        def note(iteration, result):
            assert iteration == len(found) + 1
            found.append(result)

        end = fl.minimize(self.X, self.y, callback=note, **how)
        assert [result.history["loss"] for result in found] == [
            end.history["loss"][: i + 2] for i in range(end.solved.n_iter)
        ]
        for result in found:
            value, _ = fl.softmax_loss(result.W, self.X, self.y, how["reg"], bias=True)
            assert value == pytest.approx(result.history["loss"][-1], rel=1e-9)

    def test_smoothed_widths(self):
        def note(iteration, result):
            value, _ = fl.svm_loss(result.W, self.X, self.y, 0.1, bias=True)
            assert value == pytest.approx(result.history["loss"][-1], rel=1e-12)

        assert fl.minimize(self.X, self.y, loss="svm", reg=0.1, callback=note).solved.n_iter > 1

    @pytest.mark.parametrize("solver", ["lbfgs", "whitened-lbfgs", "newton-cg", "newton-cholesky", "bfgs", "cg"])
    def test_a_true_answer_stops(self, solver):
        found = fl.minimize(self.X, self.y, solver=solver, tol=1e-14, callback=lambda i, result: i == 2)
        assert found.solved.n_iter == 2
        assert found.solved.stopped
        assert not found.solved.converged
        whole = fl.minimize(self.X, self.y, solver=solver, tol=1e-14, max_iter=2)
        np.testing.assert_allclose(found.W, whole.W, rtol=1e-9)

    def test_what_is_no_function_is_named(self):
        with pytest.raises(TypeError, match=r"callback must be a function of \(iteration, result\); found 3"):
            fl.minimize(self.X, self.y, callback=3)
