"""scikit-learn's classes over our solvers; `fastlin.LogisticRegression` and the others come from here.

They are imported when they are first asked for, since they need scikit-learn: `fastlin[sklearn]`.
"""

from fastlin._extras import need

need("sklearn", "sklearn", "fastlin.estimators")

from fastlin.estimators._classifiers import SoftmaxClassifier, SVMClassifier  # noqa: E402  (the check comes first)
from fastlin.estimators._logistic import LogisticRegression  # noqa: E402
from fastlin.estimators._logistic_cv import LogisticRegressionCV  # noqa: E402
from fastlin.estimators._regressor import LinearRegressor  # noqa: E402

__all__ = ["LinearRegressor", "LogisticRegression", "LogisticRegressionCV", "SVMClassifier", "SoftmaxClassifier"]
