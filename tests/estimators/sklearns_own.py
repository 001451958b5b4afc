"""scikit-learn's tests of LogisticRegression with ours in its place: a program that test_sklearn_logistic.py runs."""

import sys

import pytest
from sklearn.linear_model.tests import test_logistic

from fastlin import estimators

OURS = ("LogisticRegression", "LogisticRegressionCV")
ITERATES = "compares where two solvers stand before they converge, and one of them is scikit-learn's own"
WORDS = "asks for the words of a solver of scikit-learn's, which is not run"
WIDE = "asks that sparse X with indices of 64 bits is refused, which ours fits"
FINE = "asks at tol=1e-4 which of two objectives is lower that differ by less than 1e-8 of them"
SKIPPED = {
    "test_max_iter[42-sag-": WORDS,
    "test_max_iter[42-saga-": WORDS,
    "test_max_iter[42-newton-cholesky-": WORDS,
    "test_newton_cholesky_fallback_to_lbfgs": "counts iterations of scikit-learn's newton-cholesky and lbfgs",
    "test_warm_start_newton_solver": "two Newton steps at once are two single ones; a quasi-Newton method has a memory",
    "test_logistic_cv_multinomial_score[neg_log_loss-": "tol=0.1: " + ITERATES,
    "test_LogisticRegressionCV_on_folds": "LogisticRegressionCV at its default tol: " + ITERATES,
    "test_scores_attribute_layout_elasticnet": "LogisticRegressionCV with tol=0.001: " + ITERATES,
    "test_logistic_regression_cv_refit[42-1]": "asks for 1e-7, more than saga's tol gives: " + ITERATES,
    "test_logreg_l1[": "asks for 1e-7, more than saga's tol gives, of sparse X: " + ITERATES,
    "test_elastic_net_vs_l1_l2[1]": "at tol=0.01 asks that the ratio that wins on folds wins on the test rows too",
    "test_LogisticRegression_elastic_net_objective[0.1-2.15": FINE,
    "test_LogisticRegression_elastic_net_objective[0.1-100.0]": FINE,
    "test_LogisticRegression_elastic_net_objective[0.5-100.0]": FINE,
    "test_LogisticRegression_elastic_net_objective[0.9-100.0]": FINE,
    "test_large_sparse_matrix[csr_matrix-sag": WIDE,
    "test_large_sparse_matrix[csr_array-sag": WIDE,
    "test_logistic_regression_callback_fitted_estimator": "callbacks follow scikit-learn's lbfgs: " + ITERATES,
}


class Replace:
    """Puts our class where the tests name scikit-learn's."""

    def pytest_collection_modifyitems(self, items):
        """In the module, and among the parameters of a test."""
        for name in OURS:
            setattr(test_logistic, name, getattr(estimators, name))
        used = set()
        for item in items:
            for name in OURS:
                setattr(item.module, name, getattr(estimators, name))
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            for name, value in parameters.items():
                if getattr(value, "__name__", "") in OURS:
                    parameters[name] = getattr(estimators, value.__name__)
            for start in (start for start in SKIPPED if item.name.startswith(start)):
                item.add_marker(pytest.mark.skip(reason=SKIPPED[start]))
                used.add(start)
        if unused := set(SKIPPED) - used:
            raise pytest.UsageError(f"no test begins like {sorted(unused)}")


if __name__ == "__main__":
    options = ["-q", "-rfE", "--tb=short", "-p", "no:cacheprovider", "-c", "/dev/null", "--import-mode=importlib"]
    sys.exit(pytest.main([*options, test_logistic.__file__, *sys.argv[1:]], plugins=[Replace()]))
