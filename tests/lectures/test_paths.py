"""Rows of docs/lectures.md: optimizers beside each other, in the situations that the lectures draw."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import toys

BOWL_START, SADDLE_START = (-3.5, 0.5), (-1.5, 0.01)


def valley(W):
    return toys.bowl(W, 60.0)


def values(surface, optimizer, start, steps):
    """The values of the surface along the way."""
    W = np.array(start)
    found = [surface(W)[0]]
    for _ in range(steps):
        optimizer.step(W, surface(W)[1])
        found.append(surface(W)[0])
    return np.array(found)


def test_four_difficulties():
    """By the same rate momentum leaves a dent and a saddle, is faster in a bowl, and under noise is sooner near."""
    rules = {"SGD": fl.SGD, "momentum": fl.Momentum}  # of which 0.9 is the default
    dent = {name: values(toys.dented, rule(0.1), (4.0,), 150) for name, rule in rules.items()}
    assert dent["SGD"][-1] > 0.04
    assert dent["momentum"][-1] < 1e-6
    saddle = {name: values(toys.saddle, rule(0.02), SADDLE_START, 100) for name, rule in rules.items()}
    assert saddle["SGD"].min() > -1 > saddle["momentum"][40]
    bowl = {name: values(valley, rule(0.02), BOWL_START, 100) for name, rule in rules.items()}
    assert bowl["momentum"][-1] < 0.01 * bowl["SGD"][-1]

    def under_noise(rule, seed):
        rng = np.random.default_rng(seed)
        W, optimizer, found = np.array(BOWL_START), rule(0.02), []
        for _ in range(200):
            optimizer.step(W, valley(W)[1] + 2 * rng.standard_normal(2))
            found.append(valley(W)[0])
        return found

    noise = {name: np.mean([under_noise(rule, seed) for seed in range(30)], axis=0) for name, rule in rules.items()}
    assert noise["momentum"][30:50].mean() < 0.6 * noise["SGD"][30:50].mean()
    assert noise["momentum"][-50:].mean() > 3 * noise["SGD"][-50:].mean()  # its steps are longer in the long run


def test_update_formulas_compared():
    """Rates of 0.02 and, for the adaptive rules, 0.1: their order in a bowl after 60 steps and on a saddle."""
    rules = {
        "SGD": lambda: fl.SGD(0.02),
        "momentum": lambda: fl.SGD(0.02, momentum=0.9),
        "Nesterov": lambda: fl.SGD(0.02, momentum=0.9, nesterov=True),
        "AdaGrad": lambda: fl.AdaGrad(0.1),
        "RMSProp": lambda: fl.RMSProp(0.1),
        "Adam": lambda: fl.Adam(0.1),
    }
    bowl = {name: values(valley, make(), BOWL_START, 60)[-1] for name, make in rules.items()}
    assert max(bowl["Nesterov"], bowl["RMSProp"]) < 1e-3
    assert bowl["Nesterov"] < min(bowl["momentum"], bowl["Adam"])
    assert max(bowl["momentum"], bowl["Adam"]) < 0.1 < bowl["SGD"] < 1 < bowl["AdaGrad"]
    left = {name: np.argmax(values(toys.saddle, make(), SADDLE_START, 200) < -1) for name, make in rules.items()}
    assert 0 < left["RMSProp"] < left["Adam"] < left["AdaGrad"] < left["Nesterov"] < left["momentum"] < left["SGD"]
    for make in rules.values():  # exactly on the ridge all stay
        ridge = values(toys.saddle, make(), (-1.5, 0.0), 200)
        assert ridge.min() >= 0
        assert ridge[-1] < 0.01


def test_saddles_in_high_dimension():
    """Random symmetric Hessians: with one weight none has eigenvalues of both signs, with six nearly all have."""
    saddles, minima = [], []
    for n in (1, 2, 3, 6):
        smallest, largest = [], []
        for seed in range(100):
            A = np.random.default_rng(seed).standard_normal((n, n))
            A = (A + A.T) / 2
            H = fl.numerical_hessian(lambda W, A=A: (W @ A @ W / 2, A @ W), np.zeros(n))
            np.testing.assert_allclose(H, A, atol=1e-9)
            found = np.linalg.eigvalsh(H)
            smallest.append(found[0])
            largest.append(found[-1])
        saddles.append(np.mean((np.array(smallest) < 0) & (np.array(largest) > 0)))
        minima.append(np.mean(np.array(smallest) > 0))
    assert (np.diff(saddles) > 0).all()
    assert (np.diff(minima) < 0).all()
    assert saddles[0] == minima[-1] == 0
    assert saddles[-1] > 0.99


def test_lbfgs_in_mini_batches():
    """It fits each mini-batch and forgets the others: worse than as many passes over all rows at once."""
    digits = fl.load_digits()
    X, y, rng, W, passes = digits.X, digits.y, np.random.default_rng(0), None, 0.0
    while passes < 20:
        rows = rng.choice(len(X), 128, replace=False)
        result = fl.minimize(X[rows], y[rows], solver="lbfgs", reg=1e-3, W=W, max_iter=20, tol=0.0)
        if W is not None:  # it goes on from where the last one ended
            before = fl.softmax_loss(W, X[rows], y[rows], 1e-3, bias=True)[0]
            assert result.history["loss"][0] == pytest.approx(before, rel=1e-5)
        W, passes = result.W, passes + len(result.history["loss"]) * 128 / len(X)
    full = fl.minimize(X, y, solver="lbfgs", reg=1e-3, max_iter=15).history["loss"]
    assert fl.softmax_loss(W, X, y, 1e-3, bias=True)[0] > full[-1] + 0.08
