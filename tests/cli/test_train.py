"""fastlin train and fastlin predict, as typed."""

import csv
import inspect
import signal
import sys

import numpy as np
import pytest

import fastlin as fl
from fastlin import cli, data, ops, optim, schedules
from fastlin._files import store
from fastlin.cli import train as cli_train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three separated classes as X.npy, y.npy, mine.npz, and images of noise as CIFAR-10's binary version."""
    path = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    X = (rng.standard_normal((200, 5)) * 0.3 + 2 * np.eye(3, 5)[y]).astype(np.float32)
    np.save(path / "X.npy", X)
    np.save(path / "y.npy", y)
    np.savez(path / "mine.npz", X=X[:150], y=y[:150], X_test=X[150:], y_test=y[150:])
    order = np.argsort(y)
    np.savez(path / "sorted.npz", X=X[order], y=y[order])
    for name in data.CIFAR10_FILES:
        pixels = rng.integers(0, 256, (20, 3073)).astype(np.uint8)
        pixels[:, 0] = np.arange(20) % 10
        (path / f"{name}.bin").write_bytes(pixels.tobytes())
    return path


def fastlin(*arguments):
    """The exit status of a command; that of argparse too."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


def mine(folder, *more):
    return ("train", "--data", folder / "mine.npz", "--epochs", "3", *more)


@pytest.mark.parametrize("loss", ["softmax", "svm"])
def test_digits(loss, capsys):
    pytest.importorskip("sklearn")
    assert fastlin("train", "--loss", loss, "--epochs", "30") == 0
    shown = capsys.readouterr().out
    assert "1295 rows to train on, 143 held out for validation, 64 features" in shown
    assert float(shown.split("test accuracy ")[1]) >= 0.94


def test_everything_is_written(folder, out, capsys):
    pytest.importorskip("matplotlib")
    assert fastlin(*mine(folder, "--out", out, "--optimizer", "adam", "--lr", "0.1")) == 0
    names = {"weights.npz", "history.csv", "loss.png", "checkpoint-lr0.1.npz"}
    assert {path.name for path in out.iterdir()} == names
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    with (out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    shown = capsys.readouterr().out
    assert f"{float(rows[-1]['validation_loss']):.4g}" in shown
    assert "test accuracy 1.0000" in shown
    assert fastlin("predict", "--weights", out / "weights.npz", "--data", folder / "mine.npz") == 0
    assert "accuracy 1.0000 on 50 test rows" in capsys.readouterr().out


def test_the_numbers_are_those_of_train(folder, out):
    more = ("--loss", "squared_svm", "--reg", "0.02", "--l1", "0.01", "--seed", "5", "--batch-size", "16")
    assert fastlin(*mine(folder, "--out", out, "--lr", "0.01", "--momentum", "0.5", *more)) == 0
    with np.load(folder / "mine.npz") as arrays:
        X, y = arrays["X"], arrays["y"]
    expected = fl.train(
        X[:135],
        y[:135],
        loss="squared_svm",
        optimizer=fl.SGD(0.01, momentum=0.5),
        reg=fl.ElasticNet(0.01, 2.0),
        epochs=3,
        batch_size=16,
        seed=5,
    )
    assert fl.TrainResult.load(out / "weights.npz").W.tobytes("F") == expected.W.tobytes("F")


def test_tol_stops_early(folder, out):
    assert fastlin(*mine(folder, "--out", out, "--tol", "1e9")) == 0
    with (out / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_several_rates_in_one_picture(folder, out, capsys):
    pytest.importorskip("matplotlib")
    with pytest.warns(RuntimeWarning, match="the loss of epoch 1 is nan: the steps are likely too long"):
        assert fastlin(*mine(folder, "--out", out, "--lr", "1e30,0.1,0.001,0.0001")) == 0
    shown = capsys.readouterr().out
    best = [line for line in shown.splitlines() if "<- best" in line]
    assert len(best) == 1
    assert best[0].split()[0] == "0.1"
    with (out / "history.csv").open() as file:
        assert [row["run_lr"] for row in csv.DictReader(file)][::3] == ["1e+30", "0.1", "0.001", "0.0001"]
    assert len(list(out.glob("checkpoint-lr*"))) == 4


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_interrupted_and_resumed(folder, out, suffix, monkeypatch, capsys, ctrl_c):
    pytest.importorskip(suffix if suffix == "safetensors" else "numpy")
    command = mine(folder, "--out", out, "--lr", "0.1,0.01", "--format", suffix)
    save, saved = store.save, []

    def interrupted(path, values):
        save(path, values)
        saved.append(path)
        if len(saved) == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(store, "save", interrupted)
    assert fastlin(*command) == 130
    assert "interrupted; --resume goes on from the last complete epoch" in capsys.readouterr().err
    monkeypatch.undo()
    assert fastlin(*command, "--resume") == 0
    assert fastlin(*command[:-4], *command[-2:], "--lr", "0.1,0.01", "--out", out / "whole") == 0
    name = f"weights.{suffix}"
    assert store.load(out / name)["W"].tobytes() == store.load(out / "whole" / name)["W"].tobytes()


def test_images_have_templates(folder, out, capsys):
    pytest.importorskip("matplotlib")
    command = ("train", "--data", f"cifar10:{folder}", "--epochs", "2", "--lr", "1e-3", "--out", out)
    assert fastlin(*command) == 0
    assert (out / "templates.png").read_bytes().startswith(b"\x89PNG")
    result = fl.TrainResult.load(out / "weights.npz")
    assert result.W.dtype == np.float32
    X = fl.load_cifar10(folder).X
    mean = (X[:90] * result.x_scale + result.x_shift).mean(axis=0)
    np.testing.assert_allclose(mean, 0, atol=1e-6)  # of the rows that were trained on
    assert fastlin("predict", "--weights", out / "weights.npz", "--data", f"cifar10:{folder}") == 0
    assert "on 20 test rows" in capsys.readouterr().out


def test_npy_pair(folder, capsys):
    pair = f"{folder / 'X.npy'},{folder / 'y.npy'}"
    assert fastlin("train", "--data", pair, "--epochs", "3", "--validation", "0", "--lr", "0.1") == 0
    shown = capsys.readouterr().out
    assert "200 rows to train on, 0 held out" in shown
    assert "training accuracy 1.0000" in shown


@pytest.mark.parametrize("name", cli_train.OPTIMIZERS)
def test_every_optimizer_by_name(name, folder):
    assert fastlin(*mine(folder, "--optimizer", name, "--lr", "0.01")) == 0


@pytest.mark.parametrize("name", schedules.NAMES)
def test_every_schedule_by_name(name, folder):
    assert fastlin(*mine(folder, "--schedule", name)) == 0


def test_every_optimizer_is_here_and_takes_a_rate():
    assert {kind.__name__ for kind in cli_train.OPTIMIZERS.values()} == set(optim.__all__) - {"Optimizer"}
    assert all(name == kind.__name__.lower() for name, kind in cli_train.OPTIMIZERS.items())
    assert all("lr" in inspect.signature(kind).parameters for kind in cli_train.OPTIMIZERS.values())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--lr", "fast"], r"argument --lr: expected a number in (0, inf), found 'fast'"),
        (["--lr", "0.1,0"], r"argument --lr: expected a number in (0, inf), found '0'"),
        (["--lr", "0.1,0.1"], "argument --lr: expected different rates"),
        (["--reg", "-1"], "argument --reg: expected a number in [0, inf), found '-1'"),
        (["--validation", "1"], "argument --validation: expected a number in [0, 1), found '1'"),
        (["--epochs", "0"], "argument --epochs: expected an integer of at least 1, found '0'"),
        (["--loss", "hinge"], "argument --loss: invalid choice"),
        (["--optimizer", "adam", "--momentum", "0.5"], "--momentum: adam has none"),
        (["--seed", "-1"], "seed must be an integer of at least 0; found -1"),
        (["--resume"], "--resume needs the --out DIR"),
        (["--data", "digit"], "--data must be digits, cifar10:FOLDER, FILE.npz, X.npy,y.npy or X.npz,y.npy"),
        (["--data", "cifar10:"], "--data must be digits, cifar10:FOLDER"),
        (["--data", "cifar10:absent"], "absent"),
        (["--data", "absent.npz"], "absent.npz"),
    ],
)
def test_bad_arguments(folder, more, message, capsys):
    assert fastlin(*mine(folder, *more)) == 2
    assert message in capsys.readouterr().err


def test_rows_sorted_by_class_are_refused(folder, capsys):
    assert fastlin("train", "--data", folder / "sorted.npz") == 2
    assert "shuffle them in the file, or pass --validation 0" in capsys.readouterr().err


def test_resume_refuses_other_options(folder, out, capsys):
    assert fastlin(*mine(folder, "--out", out, "--resume")) == 2
    assert "--resume: there is no checkpoint in" in capsys.readouterr().err
    assert fastlin(*mine(folder, "--out", out)) == 0
    assert fastlin(*mine(folder, "--out", out, "--resume", "--seed", "1")) == 2
    assert "seed: 0 there, 1 here" in capsys.readouterr().err


def test_weights_of_another_shape_are_refused(folder, tmp_path, capsys):
    fl.TrainResult(np.zeros((4, 3), np.float32), True).save(tmp_path / "w.npz")
    assert fastlin("predict", "--weights", tmp_path / "w.npz", "--data", folder / "mine.npz") == 2
    assert "X has 5 columns but W has 4 rows" in capsys.readouterr().err


def test_without_matplotlib_the_rest_is_written(folder, out, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert fastlin(*mine(folder, "--out", out)) == 0
    shown = capsys.readouterr()
    assert "no pictures: loss.png needs matplotlib: pip install 'fastlin[plot]'" in shown.err
    assert "wrote weights.npz, history.csv to" in shown.out
    assert {path.name for path in out.iterdir()} == {"weights.npz", "history.csv", "checkpoint-lr0.05.npz"}


def test_without_sklearn_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert fastlin("train") == 2
    assert "the digits data set needs sklearn: pip install 'fastlin[sklearn]'" in capsys.readouterr().err


def test_help_names_every_choice(capsys):
    assert fastlin("train", "--help") == 0
    shown = capsys.readouterr().out
    for word in (*ops.losses(), *cli_train.OPTIMIZERS, *schedules.NAMES, "cifar10:FOLDER", "examples:"):
        assert word in shown
