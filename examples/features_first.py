"""Features before a linear classifier: points in a ring, and digits (needs fastlin[features])."""

import argparse

from numpy.typing import ArrayLike

import fastlin as fl
from fastlin import features, toys

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=60)
epochs = parser.parse_args().epochs


def accuracy(X: ArrayLike, y: ArrayLike, X_test: ArrayLike, y_test: ArrayLike) -> float:
    result = fl.train(X, y, optimizer=fl.Adam(0.05), epochs=epochs, batch_size=64)
    return result.accuracy(X_test, y_test)


(X, y), (X_test, y_test) = toys.disk_in_ring(500, seed=0), toys.disk_in_ring(500, seed=1)
polar = features.Polar()
print(f"disk in a ring, x and y:            {accuracy(X, y, X_test, y_test):.3f}")
print(f"disk in a ring, radius and angle:   {accuracy(polar.transform(X), y, polar.transform(X_test), y_test):.3f}")

X, y, X_test, y_test, _, image = fl.load_digits()
print(f"digits, pixels:                     {accuracy(X, y, X_test, y_test):.3f}")
for name, transformer in {
    "oriented gradients": features.HOG(image, cell=2),
    "products of two pixels": features.PolynomialFeatures(2, include_bias=False),
}.items():
    rows, rows_test = transformer.fit_transform(X), transformer.transform(X_test)
    print(f"digits, {name + ':':27} {accuracy(rows, y, rows_test, y_test):.3f}")
