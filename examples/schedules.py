"""The same training with different learning-rate schedules, with warm-up."""

import argparse

import fastlin as fl

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=30)
epochs = parser.parse_args().epochs

digits = fl.load_digits()
steps = epochs * -(-len(digits.X) // 64)  # an optimizer asks its schedule at every step
for name in ("constant", "step", "cosine", "linear", "inverse_sqrt"):
    rate = fl.schedules.named(name, 0.3, steps, warm=steps // 10)
    how = {"loss": "svm", "reg": 0.01, "batch_size": 64, "epochs": epochs}
    result = fl.train(digits.X, digits.y, optimizer=fl.SGD(rate), **how)
    accuracy = result.accuracy(digits.X_test, digits.y_test)
    print(f"{name:12} last loss {result.history['loss'][-1]:.3f}, accuracy on unseen digits {accuracy:.3f}")
