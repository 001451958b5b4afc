"""The same training with different learning-rate schedules, with warm-up."""

import argparse

import fastlin as fl
from fastlin import schedules

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=30)
epochs = parser.parse_args().epochs

digits = fl.load_digits()
steps = epochs * -(-len(digits.X) // 64)  # an optimizer asks its schedule at every step
warm = steps // 10
left = steps - warm
for rate in (
    schedules.constant(0.3),
    schedules.step(0.3, at=(3 * left // 10, 6 * left // 10, 9 * left // 10)),
    schedules.cosine(0.3, T=left),
    schedules.linear(0.3, T=left),
    schedules.inverse_sqrt(0.3),
):
    optimizer = fl.SGD(schedules.warmup(rate, steps=warm))
    result = fl.train(digits.X, digits.y, optimizer=optimizer, loss="svm", reg=0.01, batch_size=64, epochs=epochs)
    accuracy, name = result.accuracy(digits.X_test, digits.y_test), type(rate).__name__
    print(f"{name:12} last loss {result.history['loss'][-1]:.3f}, accuracy on unseen digits {accuracy:.3f}")
