"""The lectures' mini-batch gradient descent, with your own loop: sample a batch, evaluate the gradient, step."""

import argparse

import numpy as np

import fastlin as fl

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=1000)
steps = parser.parse_args().steps

digits = fl.load_digits()
rng = np.random.default_rng(0)
W = np.zeros((65, 10))  # 64 pixels, and b as the last row
dW = np.empty_like(W)
optimizer = fl.SGD(lr=0.1, momentum=0.9)
for step in range(steps):
    batch = rng.integers(0, len(digits.X), 64)
    loss, dW = fl.svm_loss(W, digits.X[batch], digits.y[batch], reg=1e-3, bias=True, out=dW)
    optimizer.step(W, dW)  # in place
    if step % max(1, steps // 5) == 0:
        print(f"step {step}: loss {loss:.3f}")
right = np.mean(fl.predict(W, digits.X_test, bias=True) == digits.y_test)
print(f"accuracy on unseen digits {right:.3f}")
