"""Stop a training, go on later from its checkpoint, and get the same bits as if it had never stopped."""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import fastlin as fl

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=20)
epochs = parser.parse_args().epochs

digits = fl.load_digits()
with tempfile.TemporaryDirectory() as folder:
    checkpoint = Path(folder) / "run.npz"
    fl.train(digits.X, digits.y, optimizer=fl.Adam(0.01), epochs=epochs // 2, checkpoint=checkpoint)
    print(f"stopped after {epochs // 2} epochs; {checkpoint.name} has {checkpoint.stat().st_size} bytes")
    resumed = fl.train(digits.X, digits.y, optimizer=fl.Adam(0.01), epochs=epochs, resume=checkpoint)
straight = fl.train(digits.X, digits.y, optimizer=fl.Adam(0.01), epochs=epochs)
print(f"accuracy on unseen digits {resumed.accuracy(digits.X_test, digits.y_test):.3f}")
print(f"the same bits: {np.array_equal(resumed.W, straight.W)}")
