from sklearn.linear_model import LogisticRegression  # noqa
