"""Who fits in bench/peers_fit.py: for each contestant the forms that a user might write, each a function of a budget.

A budget is a number of iterations, whatever the solver calls one; tolerances are 0, so that the budget alone decides.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from fit_problems import Data, Problem
from worker import burst, receive

import fastlin as fl
from fastlin import machine
from fastlin.minimize import SOLVERS

Fit = Callable[[Problem, Data, int], np.ndarray]  # to W (d + 1, c)
WARM_UP = 1000  # rows
STARTING = 60.0  # seconds in which a process imports its library, makes the data and warms up
HESSIAN_BYTES = 3e9  # above that a Newton method that forms the Hessian is left out
SCIPYS = ("bfgs", "cg")  # solvers of minimize that are not ours
OURS = (*(f"fastlin {name}" for name in SOLVERS if name not in SCIPYS), "fastlin.LogisticRegression")
SKLEARN = {"lbfgs": False, "newton-cg": False, "newton-cholesky": False, "saga": True}  # whether it takes L1
ONE_VS_REST = ("scikit-learn liblinear", "scikit-learn SGDClassifier")  # what people fit text with: another objective
PACKAGES = {"sklearnex": "scikit-learn-intelex", "cyanure": "cyanure", "torch": "torch"}


def missing(name: str) -> str:
    """Why a contestant cannot take part at all, or ""."""
    if name == "fastlin.LogisticRegression" and not hasattr(fl, "LogisticRegression"):
        return "fastlin has no LogisticRegression yet"
    package = PACKAGES.get(name.partition(" ")[0], "scikit-learn")
    return "" if machine.version(package) else f"{package} is not installed"


def unfit(name: str, problem: Problem) -> str:
    """Why a contestant leaves a problem out, or ""."""
    if problem.sparse and name.split()[0] in ("sklearnex", "torch"):
        return "of sparse X it makes a dense one, or calls scikit-learn"
    if not problem.sparse and name in ONE_VS_REST:
        return "one class against the rest is another objective; it is compared on sparse text only"
    if problem.l1 and name not in OURS and not SKLEARN.get(name.split()[-1], True):
        return "it has no L1"
    X, y, *_ = problem.data()
    size = 8.0 * ((X.shape[1] + 1) * (int(y.max()) + 1)) ** 2
    if name.endswith("newton-cholesky") and size > HESSIAN_BYTES:
        return f"its Hessian takes {size / 1e9:.0f} GB"
    return ""


def forms(name: str, problem: Problem, threads: int) -> dict[str, Fit]:
    """The forms of a contestant, by what they are called in the results."""
    library, _, solver = name.partition(" ")
    if library == "fastlin":
        return {"": partial(minimize, solver=solver, threads=threads)}
    if library == "torch":
        return {dtype: partial(torch_lbfgs, threads=threads, dtype=dtype) for dtype in dtypes(problem)}
    if library == "cyanure":
        return {"": partial(cyanure, threads=threads)}
    if name in ONE_VS_REST:
        return {"": partial(one_vs_rest, solver=solver)}
    kind = {"scikit-learn": sklearn_class, "sklearnex": sklearnex_class}.get(library, lambda: fl.LogisticRegression)
    if library == "fastlin.LogisticRegression":
        solver = "saga" if problem.l1 else "lbfgs"  # the words that scikit-learn has for it: ours solves both
        return {"": partial(estimator, kind=kind, solver=solver, blas=threads, dtype=None)}
    blas = (threads,) if library == "sklearnex" else (1, threads)
    if solver == "saga" or problem.sparse:  # it makes no products with BLAS
        blas = (1,)
    return {
        f"{dtype}, BLAS threads: {count}": partial(estimator, kind=kind, solver=solver, blas=count, dtype=dtype)
        for dtype in dtypes(problem)
        for count in dict.fromkeys(blas)
    }


def dtypes(problem: Problem) -> list[str]:
    """That of X, and float64, into which X is converted within the timed call: float32 may miss the last digits."""
    return list(dict.fromkeys([problem.data().X.dtype.name, "float64"]))


def minimize(problem: Problem, data: Data, budget: int, solver: str, threads: int) -> np.ndarray:
    lam = problem.lam(len(data.y))
    reg = fl.L1(lam) if problem.l1 else lam
    return fl.minimize(data.X, data.y, solver=solver, reg=reg, max_iter=budget, tol=0.0, threads=threads).W


def estimator(
    problem: Problem, data: Data, budget: int, kind: Callable[[], Any], solver: str, blas: int, dtype: str | None
) -> np.ndarray:
    """An estimator with scikit-learn's words."""
    from threadpoolctl import threadpool_limits

    words = {"C": problem.C, "l1_ratio": float(problem.l1), "max_iter": budget, "tol": 0.0, "solver": solver}
    with threadpool_limits(blas, "blas"):
        found = kind()(**words, random_state=0).fit(
            data.X if dtype is None else data.X.astype(dtype, copy=False), data.y
        )
    return np.vstack([found.coef_.T, found.intercept_])


def sklearn_class() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression


def one_vs_rest(problem: Problem, data: Data, budget: int, solver: str) -> np.ndarray:
    """A classifier for each class: liblinear's logistic regression, which penalises b too, or scikit-learn's SGD."""
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.multiclass import OneVsRestClassifier

    if solver == "SGDClassifier":
        alpha, penalty = 1 / (problem.C * len(data.y)), "l1" if problem.l1 else "l2"
        words = {"loss": "log_loss", "alpha": alpha, "penalty": penalty, "max_iter": budget, "tol": None}
        found = SGDClassifier(**words, random_state=0).fit(data.X, data.y)
        return np.vstack([found.coef_.T, found.intercept_])
    words = {"C": problem.C, "l1_ratio": float(problem.l1), "max_iter": budget, "tol": 1e-12}
    rest = OneVsRestClassifier(LogisticRegression(solver=solver, random_state=0, **words)).fit(data.X, data.y)
    return np.vstack([np.vstack([each.coef_.T, each.intercept_]).T for each in rest.estimators_]).T


def sklearnex_class() -> Any:
    from sklearnex.linear_model import LogisticRegression

    return LogisticRegression


def cyanure(problem: Problem, data: Data, budget: int, threads: int) -> np.ndarray:
    """Its mean loss goes with lambda_1 / 2 of the squares, and with lambda_1 of the absolute values."""
    from cyanure.estimators import Classifier

    lam = problem.lam(len(data.y)) * (1 if problem.l1 else 2)
    words = {"loss": "multiclass-logistic", "penalty": "l1" if problem.l1 else "l2", "lambda_1": lam}
    found = Classifier(**words, max_iter=budget, tol=1e-14, n_threads=threads, verbose=False).fit(data.X, data.y)
    return np.vstack([found.coef_, np.ravel(found.intercept_)])


def torch_lbfgs(problem: Problem, data: Data, budget: int, threads: int, dtype: str) -> np.ndarray:
    """L-BFGS with its strong Wolfe line search, over the loss that autograd differentiates."""
    import torch
    from torch.nn.functional import cross_entropy, linear

    torch.set_num_threads(threads)
    X, y = torch.from_numpy(data.X.astype(dtype, copy=False)), torch.from_numpy(data.y)
    W = torch.zeros(int(data.y.max()) + 1, X.shape[1], dtype=X.dtype, requires_grad=True)
    b = torch.zeros(len(W), dtype=X.dtype, requires_grad=True)
    lam = problem.lam(len(y))
    solver = torch.optim.LBFGS(
        [W, b],
        max_iter=budget,
        max_eval=10 * budget,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Any:
        solver.zero_grad()
        value = cross_entropy(linear(X, W, b), y) + lam * W.square().sum()
        value.backward()
        return value

    solver.step(closure)
    return np.vstack([W.detach().numpy().T, b.detach().numpy()])


CONTESTANTS = [*OURS, *(f"scikit-learn {name}" for name in SKLEARN), *ONE_VS_REST]
CONTESTANTS += ["sklearnex lbfgs", "cyanure", "torch lbfgs"]


# ---- The process of a contestant ---------------------------------------------------------------------------


class Process:
    """The parent's end of a process that answers orders; it starts at the first one."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._target, self._arguments = target, arguments
        self._process: Any = None

    def ask(self, order: object, seconds: float) -> Any:
        """The answer; None if there is none within so many seconds, or the process died, and then it is stopped."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")  # a forked child would inherit loaded BLAS threads
            self._pipe, end = context.Pipe()
            self._process = context.Process(target=self._target, args=(*self._arguments, end), daemon=True)
            self._process.start()
            end.close()  # the child's copy is then the last one: if it dies, recv raises instead of waiting
        try:
            self._pipe.send(order)
            if self._pipe.poll(seconds):
                return self._pipe.recv()
        except (EOFError, ConnectionError):
            pass
        self.stop()
        return None

    def stop(self) -> None:
        """End it, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def serve(name: str, problem: Problem, threads: int, pipe: Connection) -> None:
    """Answer each order (form, budget) with the seconds of a burst of fits and W, or with words on what failed."""
    warnings.simplefilter("ignore")  # every fit stops before it has converged
    data, fits, warm = problem.data(), forms(name, problem, threads), set()
    while (order := receive(pipe)) is not None:
        form, budget = order
        try:
            if form not in warm:
                few = Data(data.X[:WARM_UP], data.y[:WARM_UP], data.X_test, data.y_test)
                fits[form](problem, few, 2)
                warm.add(form)
            pipe.send(fitted(partial(fits[form], problem, data, budget)))
        except Exception as error:  # a contestant that fails is reported as that; the others go on
            pipe.send(f"{type(error).__name__}: {error}".splitlines()[0])


def fitted(fit: Callable[[], np.ndarray]) -> tuple[list[float], np.ndarray]:
    """The seconds of a burst, and W in float64."""
    found: list[np.ndarray] = []

    def run() -> None:
        found[:] = [fit()]

    seconds = burst(run)
    return seconds, np.asarray(found[0], np.float64)
