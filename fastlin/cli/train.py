"""fastlin train, fastlin predict."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import inspect
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastlin import _check, ops, optim, schedules
from fastlin._check import Array
from fastlin._check.csr import features
from fastlin._csr import Csr
from fastlin._files.sparse import is_sparse_file, load_sparse
from fastlin._files.store import replacing
from fastlin._objective import start_weights
from fastlin.cli.arguments import path
from fastlin.data import Dataset, load_arrays, load_cifar10, load_digits
from fastlin.optim import Optimizer
from fastlin.penalties import L1, L2, ElasticNet, Penalty
from fastlin.train import TrainResult, train

DATA_HELP = """digits; cifar10:FOLDER, or the .tar.gz as downloaded; FILE.npz with X, y and perhaps X_test, y_test;
X.npy,y.npy, where X may be larger than memory; or X.npz,y.npy with sparse rows, as scipy.sparse.save_npz writes them.
y are labels 0, 1, ..., or numbers for a regression"""

EPILOG = """\
examples:
  fastlin train --data digits --loss svm
  fastlin train --data cifar10:cifar-10-batches-py --optimizer adam --lr 1e-3 --epochs 10 --out runs/cifar
  fastlin train --lr 1,0.1,0.01,0.001 --out runs/rates          four learning rates in one picture
  fastlin train --lr 1,0.1,0.01,0.001 --out runs/rates --resume --epochs 100
  fastlin train --data prices.npz --loss squared_error --out runs/prices   y are numbers; predicts values, prints R2
  fastlin train --data counts.npz,labels.npy --loss svm   counts.npz is of scipy.sparse.save_npz
  fastlin predict --weights runs/cifar/weights.npz --data cifar10:cifar-10-batches-py

The last rows of X are held out for validation (--validation); test rows are used once, at the end.
uint8 X are treated as images: they are scaled to [0, 1], and the mean image is subtracted.

--out writes weights, history.csv, loss.png, for image data templates.png, and a checkpoint of every run."""

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    name.lower(): getattr(optim, name) for name in optim.__all__ if name != "Optimizer"
}


@dataclass
class Run:
    """A learning rate and the result of training with it."""

    lr: float
    result: TrainResult

    @property
    def score(self) -> float:
        """The loss by which the best run is chosen: of validation if there is one; Inf instead of NaN."""
        history = self.result.history
        losses = history.get("validation_loss", history["loss"])
        epoch = self.result.best_epoch or len(losses)
        return losses[epoch - 1] if np.isfinite(losses[epoch - 1]) else float("inf")


def add(commands: Any) -> None:
    """Add `train` and `predict` to the command line."""
    command = commands.add_parser(
        "train",
        help="train a classifier or a regression by mini-batch gradient descent",
        description="Train a linear classifier or a regression by mini-batch gradient descent.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_what(command)
    _add_how(command)
    command.set_defaults(run=_train)
    command = commands.add_parser(
        "predict",
        help="the accuracy or R2 of trained weights",
        description="The accuracy of trained weights on a data set; of a regression, R2.",
    )
    command.add_argument("--weights", required=True, metavar="FILE", help="what fastlin train wrote")
    command.add_argument("--data", default="digits", metavar="DATA", help=DATA_HELP)
    command.set_defaults(run=_predict)


def _add_what(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("what is trained")
    default = "default: %(default)s"
    group.add_argument("--data", default="digits", metavar="DATA", help=f"{DATA_HELP}; {default}")
    group.add_argument("--loss", choices=ops.losses(), default="softmax", help=default)
    group.add_argument("--reg", type=_number, metavar="LAM", default=1e-4, help=f"lam of lam * sum(W^2); {default}")
    group.add_argument("--l1", type=_number, metavar="LAM", default=0.0, help=f"lam of lam * sum(|W|); {default}")
    group.add_argument(
        "--validation", type=_share, default=0.1, metavar="SHARE", help=f"of the rows, held out; {default}"
    )
    group.add_argument("--seed", type=int, metavar="N", default=0, help=f"of the shuffling; {default}")


def _add_how(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("how")
    default = "default: %(default)s"
    group.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help=default)
    group.add_argument(
        "--lr",
        type=_rates,
        default=[0.05],
        metavar="A[,B...]",
        help="learning rate, or several to compare; default: 0.05",
    )
    group.add_argument(
        "--momentum", type=_number, metavar="M", help="of an optimizer that has one; default: 0.9 for sgd"
    )
    group.add_argument("--schedule", choices=schedules.NAMES, default="constant", help=f"of the rate; {default}")
    group.add_argument("--epochs", type=positive, metavar="N", default=50, help=default)
    group.add_argument("--batch-size", type=positive, metavar="N", default=32, help=default)
    group.add_argument(
        "--patience", type=positive, metavar="N", help="stop after N epochs without a lower validation loss"
    )
    group.add_argument(
        "--tol", type=_number, metavar="T", help="stop after an epoch that changes the loss by at most T"
    )
    group.add_argument("--threads", type=positive, metavar="N", help="default: as many as pay, up to the cores")
    group.add_argument("--backend", choices=ops.BACKENDS, help="default: the first of cython, numba, numpy installed")
    group.add_argument("--out", type=path, metavar="DIR", help="folder to write to; made if it is not there")
    group.add_argument("--format", choices=["npz", "safetensors"], default="npz", help=f"of the weights; {default}")
    group.add_argument("--resume", action="store_true", help="go on from the checkpoints in DIR, with the same options")


def positive(text: str) -> int:
    """An integer of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, found {text!r}")
    return int(text)


def _number(text: str) -> float:
    return _inside(text, "[0, inf)")


def _share(text: str) -> float:
    return _inside(text, "[0, 1)")


def _rates(text: str) -> list[float]:
    rates = [_inside(rate, "(0, inf)") for rate in text.split(",")]
    if len(set(rates)) < len(rates):
        raise argparse.ArgumentTypeError(f"expected different rates, found {text!r}")
    return rates


def _inside(text: str, interval: str) -> float:
    try:
        return _check.number("it", float(text), interval)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number in {interval}, found {text!r}") from None


def load(name: str) -> Dataset[Array | None]:
    """The data set that --data names."""
    if name == "digits":
        return load_digits()
    kind, _, path = name.partition(":")
    if kind == "cifar10" and path:
        return load_cifar10(path)
    files = name.split(",")
    suffixes = [Path(file).suffix for file in files]
    if suffixes == [".npz", ".npy"]:
        return load_sparse(*files)
    if suffixes == [".npz"] and is_sparse_file(Path(name)):
        raise ValueError(f"{name} holds sparse rows without labels: pass --data {name},y.npy")
    if suffixes in ([".npz"], [".npy", ".npy"]):
        return load_arrays(*files)
    raise ValueError(f"--data must be digits, cifar10:FOLDER, FILE.npz, X.npy,y.npy or X.npz,y.npy; found {name!r}")


def _train(arguments: argparse.Namespace) -> int:
    if arguments.resume and arguments.out is None:
        raise ValueError("--resume needs the --out DIR that was written to")
    data = load(arguments.data)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    given = _given(data, arguments)
    print(f"{arguments.data}: {_rows(given)}, {data.X.shape[1]} features; backend {ops.resolve(arguments.backend)}")
    try:
        runs = [_run(lr, arguments, given) for lr in arguments.lr]
    except KeyboardInterrupt:
        advice = "; --resume goes on from the last complete epoch" if arguments.out else ""
        print(f"interrupted{advice}", file=sys.stderr)
        return 130
    best = min(runs, key=lambda run: run.score)
    print(_table(runs, best))
    if arguments.out is not None:
        _write(arguments, data, runs, best)
    kind, X, y = _judged(data)
    print(f"{kind} {_score(best.result, X, y)}")
    return 0


def _given(data: Dataset[Array | None], arguments: argparse.Namespace) -> dict[str, Any]:
    """The rows to train on and to validate with, as arguments of `train`."""
    X, y = features(data.X), np.asarray(data.y)
    cut = len(X) - int(len(X) * arguments.validation)
    given: dict[str, Any] = {"X": X[:cut], "y": y[:cut]}
    if cut < len(X):
        if y.ndim == 1 and y[0] != y[-1] and (y[1:] >= y[:-1]).all():
            raise ValueError(
                "the rows are sorted by y, so the last ones show a few classes or values only: "
                "shuffle them in the file, or pass --validation 0"
            )
        given["validation"] = X[cut:], y[cut:]
    if X.dtype == np.uint8 and not isinstance(X, Csr):
        given |= {"x_scale": 1 / 255, "x_shift": -X[:cut].mean(axis=0) / 255}
        start = start_weights(arguments.loss, None, X, y, bias=True)
        given["W"] = start.astype(np.float32, order="F")  # pixels need no float64
    return given


def _rows(given: dict[str, Any]) -> str:
    held_out = len(given["validation"][0]) if "validation" in given else 0
    return f"{len(given['X'])} rows to train on, {held_out} held out for validation"


def _run(lr: float, arguments: argparse.Namespace, given: dict[str, Any]) -> Run:
    """Train with one learning rate, from its checkpoint if --resume is given and there is one."""
    checkpoint = resume = None
    if arguments.out is not None:
        checkpoint = arguments.out / f"checkpoint-lr{lr:.12g}.{arguments.format}"
        if arguments.resume:
            resume = _resumable(checkpoint, arguments)
    steps = arguments.epochs * -(-len(given["X"]) // arguments.batch_size)
    result = train(
        **given,
        loss=arguments.loss,
        optimizer=_optimizer(arguments, schedules._by_name(arguments.schedule, lr, steps)),
        reg=_penalty(arguments.reg, arguments.l1),
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        patience=arguments.patience,
        tol=arguments.tol,
        checkpoint=checkpoint,
        resume=resume,
        progress=_show_bar(),
        backend=arguments.backend,
        threads=arguments.threads,
    )
    return Run(lr, result)


def _resumable(checkpoint: Path, arguments: argparse.Namespace) -> Path | None:
    """The checkpoint, or None for a run that had not begun when the command was interrupted."""
    if not any(arguments.out.glob("checkpoint-lr*")):
        raise FileNotFoundError(f"--resume: there is no checkpoint in {arguments.out}")
    return checkpoint if checkpoint.exists() else None


def _optimizer(arguments: argparse.Namespace, lr: Any) -> Optimizer:
    kind = OPTIMIZERS[arguments.optimizer]
    if "momentum" not in inspect.signature(kind).parameters:
        if arguments.momentum is not None:
            raise ValueError(f"--momentum: {arguments.optimizer} has none")
        return kind(lr=lr)
    if arguments.momentum is None:
        return kind(lr=lr, momentum=0.9) if kind is optim.SGD else kind(lr=lr)
    return kind(lr=lr, momentum=arguments.momentum)


def _penalty(reg: float, l1: float) -> Penalty:
    if not l1:
        return L2(reg)
    return ElasticNet(l1, reg / l1) if reg else L1(l1)


def _show_bar() -> bool:
    """Whether to show a progress bar: standard error is a terminal, and tqdm is installed."""
    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


def _judged(data: Dataset[Array | None]) -> tuple[str, Array, Array]:
    """The rows for the final score: those for testing if there are any, else those for training."""
    if data.X_test is None or data.y_test is None:
        return "training", data.X, data.y
    return "test", data.X_test, data.y_test


def _score(result: TrainResult, X: Array, y: Array) -> str:
    """The accuracy of a classifier, R^2 of a regression."""
    name = "R2" if ops.LOSSES[result.loss_name].predicts == "values" else "accuracy"
    return f"{name} {result.score(X, y):.4f}"


def _table(runs: Sequence[Run], best: Run) -> str:
    """The last epoch of each run, or with --patience its best."""
    names = [name for name in runs[0].result.history if name != "lr"]
    wide = [max(len(name), 7) + 3 for name in names]
    titles = [f"{name.replace('_', ' '):>{width}}" for name, width in zip(names, wide, strict=True)]
    lines = [f"{'lr':>10}{'epoch':>8}" + "".join(titles)]
    for run in runs:
        history = run.result.history
        epoch = run.result.best_epoch or len(history["loss"])
        cells = [f"{history[name][epoch - 1]:>{width}.4g}" for name, width in zip(names, wide, strict=True)]
        mark = "   <- best" if len(runs) > 1 and run is best else ""
        lines.append(f"{run.lr:>10g}{epoch:>8}" + "".join(cells) + mark)
    return "\n".join(lines)


def _write(arguments: argparse.Namespace, data: Dataset[Array | None], runs: Sequence[Run], best: Run) -> None:
    """Writes all files of --out."""
    out: Path = arguments.out
    weights = out / f"weights.{arguments.format}"
    best.result.save(weights)
    _write_history(out / "history.csv", runs)
    written = [weights.name, "history.csv"]
    try:
        from fastlin._plots.train import loss_picture, template_picture

        title = f"{arguments.data}: {arguments.loss}, {arguments.optimizer}, batches of {arguments.batch_size}"
        loss_picture({run.lr: run.result.history for run in runs}, best.lr, title, out / "loss.png")
        written.append("loss.png")
        if data.image:
            template_picture(best.result.W, data.image, data.classes, out / "templates.png")
            written.append("templates.png")
    except ImportError as error:  # the training is done and saved; only the pictures are not
        print(f"no pictures: {error}", file=sys.stderr)
    print(f"wrote {', '.join(written)} to {out}")


def _write_history(path: Path, runs: Sequence[Run]) -> None:
    names = list(runs[0].result.history)
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["run_lr", "epoch", *names])
    for run in runs:
        rows = zip(*(run.result.history[name] for name in names), strict=True)
        table.writerows([run.lr, epoch, *row] for epoch, row in enumerate(rows, 1))
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def _predict(arguments: argparse.Namespace) -> int:
    result = TrainResult.load(arguments.weights)
    data = load(arguments.data)
    kind, X, y = _judged(data)
    print(f"{arguments.data}: {_score(result, X, y)} on {len(X)} {kind} rows")
    return 0
