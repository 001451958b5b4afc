"""Sparse columns of one scale, and b moved by their means: the same minimum in fewer passes over X."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import testing
from fastlin._affine import affine
from fastlin._objective import make_objective
from fastlin._solvers import scaled
from fastlin._solvers.problem import Problem


def counts(n=400, d=700):
    """Counts of words, of which a few are in nearly every row and most in hardly any; three classes."""
    rng = np.random.default_rng(0)
    X = rng.poisson(8.0 / (1 + np.arange(d)) ** 0.9, (n, d)).astype(float)
    y = (X @ rng.standard_normal((d, 3)) / 3 + rng.gumbel(size=(n, 3))).argmax(axis=1)
    return X, y


@pytest.mark.parametrize("form", [testing.sparse, np.asarray])
@pytest.mark.parametrize(("reg", "solver"), [(2e-3, "scaled-lbfgs"), (fl.L1(5e-3), "owlqn")])
def test_scaled_and_centred_columns_take_fewer_passes(reg, solver, form, monkeypatch):
    X, y = counts()
    found = fl.minimize(form(X), y, reg=reg, solver=solver, tol=1e-7)
    as_it_is = lambda problem, x: scaled.Basis(problem, np.ones(700), np.zeros(700), 1.0)  # noqa: E731
    monkeypatch.setattr(scaled, "basis", as_it_is)
    monkeypatch.setattr(scaled, "BASES", scaled.BASES._replace(at=as_it_is))
    slow = fl.minimize(form(X), y, reg=reg, solver=solver, tol=1e-7, max_iter=4000)
    assert found.solved.converged
    assert found.history["loss"][-1] <= slow.history["loss"][-1] * (1 + 1e-6)
    assert found.solved.passes < 0.4 * slow.solved.passes


def test_a_basis_follows_the_curvature(monkeypatch):
    """Columns of size 100 tell the classes: where they are fitted, the penalty alone is curved."""
    rng = np.random.default_rng(0)
    X = rng.poisson(3.0 / (1 + np.arange(400)) ** 0.7, (120, 400)) * np.where(np.arange(400) % 9, 1.0, 100.0)
    y = (X[:, :60] @ rng.standard_normal((60, 3))).argmax(axis=1)
    passes = []
    for first in (scaled.BASES.first, 1500):
        monkeypatch.setattr(scaled, "BASES", scaled.BASES._replace(first=first))
        found = fl.minimize(testing.sparse(X), y, reg=2e-3, solver="scaled-lbfgs", tol=1e-7, max_iter=1500)
        passes.append(found.solved.passes)
    assert passes[0] < passes[1] / 2


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_the_basis_and_back(bias, kind):
    """W to V and back; a gradient in V is what finite differences say."""
    X, y = counts(40, 12)
    objective = make_objective("softmax", (0.1,), 0.03, bias, None, None)
    scale, shift = np.linspace(0.5, 2, 12), np.linspace(-1, 1, 12)
    start = 0.1 * np.random.default_rng(1).standard_normal((12 + bias, 3))
    inputs = objective.inputs(start, testing.sparse(X) if kind == "sparse" else X, y)
    problem = Problem(objective, inputs, affine(scale, shift, inputs.X, start))
    basis = scaled.basis(problem, problem.start)
    v = basis.of_W(problem.start)
    np.testing.assert_allclose(basis.to_W(v), problem.start, rtol=1e-12)
    g, h = basis.gradient(problem.at(problem.start).gradient), 1e-6
    numerical = [(problem.at(basis.to_W(v + h * e)).value - problem.at(basis.to_W(v - h * e)).value) / (2 * h)
                 for e in np.eye(len(v))]  # fmt: skip
    np.testing.assert_allclose(g, numerical, rtol=1e-5, atol=1e-8)


def test_a_basis_of_columns_and_rows_that_tell_nothing():
    """No entries, no penalty, weights of zero: W itself."""
    for X, weight in ((np.zeros((6, 3)), None), (np.ones((6, 3)), np.zeros(6))):
        found = fl.minimize(
            testing.sparse(X), np.arange(6) % 2, solver="scaled-lbfgs", sample_weight=weight, max_iter=5, tol=1e-9
        )
        assert np.isfinite(found.W).all()
