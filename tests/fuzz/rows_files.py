"""Loaders and checkpoints, of good, damaged and hostile files, and the command line."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

import fastlin as fl
from fastlin import cli, data, ops, schedules

from . import files
from .files import HOSTILE, Damaged, Good, Hostile
from .harness import Row
from .laws import require
from .specs import A, Here, Npz, Odd
from .strategies import Arg, Call, Sizes

Arguments = dict[str, Arg]
MEMORY = 200 << 20  # bytes that reading a file may take; the largest good one takes 1 MB
NO_PATHS = [
    None,
    3,
    1j,
    [],
    {},
    b"\xff",
    "",
    "a\0b",
    Here(""),
    Here("not there.npz"),
    Odd("object"),
    Odd("function"),
    10**400,
]


def read(*kinds: str, wrong: str = "") -> Arg:
    """Paths of files of these kinds, and what is damaged or hostile among them."""
    good = st.sampled_from([Good(kind) for kind in kinds])
    edits = st.sampled_from([1, 1, 2, 4])
    odd = st.builds(Damaged, st.sampled_from(kinds), st.integers(0, 10_000), edits, st.booleans())
    harm = st.builds(
        Hostile,
        st.just(kinds[0]),
        st.sampled_from([what for what in HOSTILE if what.startswith(wrong)]),
        st.integers(0, 200),
    )
    return Arg(good, st.one_of(odd, odd, harm), st.sampled_from(NO_PATHS), False)


def _path(*kinds: str, wrong: tuple[str, ...]) -> Callable[[Sizes], Arguments]:
    def arguments(sizes: Sizes) -> Arguments:
        found = [read(*kinds, wrong=start) for start in wrong]
        return {"path": Arg(found[0].good, st.one_of(*(arg.odd for arg in found)), found[0].bad, False)}

    return arguments


def _load_arrays_pair(path: Any, labels: Any) -> Any:
    return fl.load_arrays(path, labels)


def _pair(sizes: Sizes) -> Arguments:
    found = {}
    for name, kind in (("path", "X.npy"), ("labels", "y.npy")):
        arg = read(kind, wrong="np")
        bad = arg.bad.filter(lambda value: value is not None)
        found[name] = Arg(arg.good, arg.odd, bad, False)
    return found


def rows_fit(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """X (n, d), and as many y."""
    require(value.X.ndim == 2 and len(value.X) == len(value.y), f"X {value.X.shape}, y {value.y.shape}")
    if row.name == "load_cifar10":
        require(value.X.dtype == np.uint8 and value.X.shape[1] == data.PIXELS, f"X is {value.X.dtype} {value.X.shape}")
        require(bool(((value.y >= 0) & (value.y < 10)).all()), "a label is out of range")


def can_predict(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """What was loaded predicts, or says which of its arrays do not fit."""
    try:
        value.predict(np.zeros((2, value.W.shape[0] - bool(value.bias))))
    except (ValueError, TypeError) as error:
        require(any(name in str(error) for name in ("W", "bias", "x_scale", "x_shift")), f"predict says {error!r}")


def _resume(resume: Any) -> Any:
    optimizer = fl.Adam(0.1)
    before = repr(optimizer.state_dict())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the loss of epoch", RuntimeWarning)  # of a state with huge numbers
            return fl.train(**files.problem(), optimizer=optimizer, epochs=4, resume=resume)
    except BaseException:
        require(repr(optimizer.state_dict()) == before, "the optimizer has changed though the resume was refused")
        raise


def _resume_file(sizes: Sizes) -> Arguments:
    found = [read("checkpoint.npz", "checkpoint.safetensors", wrong=wrong) for wrong in ("np", "safe", "noise")]
    bad = found[0].bad.filter(lambda value: value is not None)
    return {"resume": Arg(found[0].good, st.one_of(*(arg.odd for arg in found)), bad, False)}


# Values that a state may have in the place of its own.
CHANGED = (
    *(None, "abc", b"1", 1j, True, [], {}, (), [1, 2], Odd("object"), Odd("generator")),
    *(-1, 0, 3, 2**31, 2**63, 2**70, 10**400, 1e30, float("nan"), float("inf")),
    *(A((5, 3), dtype) for dtype in ("float32", "object", "complex64", "int64", ">f8", "structured", "datetime64[s]")),
    *(A(shape) for shape in ((6, 3), (5, 2), (3, 5), (1, 5, 3), (5,), (2,), (0, 3), (), (2, 2), (10_000, 3), (5, 100))),
    *(A((5, 3), "float64", fill) for fill in ("one:nan", "times:1e300")),
    *(A((), "int64"), A((), "U3"), A((3,), "object"), A((3,), "U3"), A((5, 3), layout="masked")),
)


def _resume_state(key: Any, value: Any) -> Any:
    """From the state of a run with one entry changed; key None changes nothing."""
    state = dict(fl.train(**files.problem(), optimizer=fl.Adam(0.1), epochs=2).state or {})
    if key is not None:
        if value is _GONE:
            state.pop(key, None)
        else:
            state[key] = value
    return _resume(state)


_GONE = "gone"


def _keys() -> list[str]:
    return sorted(fl.train(**files.problem(), optimizer=fl.Adam(0.1), epochs=2).state or {})


def _states(sizes: Sizes) -> Arguments:
    keys = [
        *_keys(),
        "W",
        "W",
        "optimizer.t",
        "epoch",
        "optimizer.m.1",
        "optimizer.v.7",
        "history.nothing",
        "argument.more",
        "zzz",
    ]
    values = st.sampled_from([*CHANGED, _GONE])
    return {
        "key": Arg(st.just(None), st.sampled_from(keys), None, False),
        "value": Arg(st.just(None), values, None, False),
    }


def a_run(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """It has gone on to the fourth epoch, or stopped for its patience, with a W of the same shape."""
    require(value.W.shape == (5, 3) and value.W.dtype == np.float64, f"W is {value.W.dtype} {value.W.shape}")
    require(np.asarray(value.state["epoch"]) >= 2, f"epoch {value.state['epoch']}")


RESUME_WORDS = (
    "state",
    "resume",
    "epoch",
    "schedule",
    "history",
    "average",
    "optimizer",
    "m.0",
    "v.0",
    "best_epoch",
    "W",
    "t",
)

# ---- Command line ------------------------------------------------------------------------------------------------


def command(name: str, *plain: str) -> Callable[..., Any]:
    """A command with its options as arguments; one that fails raises what it has said."""

    def run(**options: Any) -> str:
        words = [name]
        for option, value in options.items():
            if option in plain:
                words += [str(word) for word in (value if isinstance(value, list) else [value])]
            else:
                words += [option, *([str(word) for word in value] if isinstance(value, list) else [str(value)])]
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                status = cli.main(words)
            except SystemExit as stop:
                status = stop.code
        if status == 2:
            raise ValueError(said.getvalue())
        require(status in (0, 1), f"exit status {status!r}")
        return out.getvalue()

    return run


def text(*good: str, bad: tuple[str, ...] = (), odd: tuple[str, ...] = (), optional: bool = True) -> Arg:
    """Words that are typed."""
    return Arg(
        st.sampled_from(good), st.sampled_from(odd) if odd else None, st.sampled_from(bad) if bad else None, optional
    )


NO_COUNTS = ("0", "-1", "1.5", "abc", "", "1e3", "\u0663\u0664abc", "nan")
NO_NUMBERS = ("abc", "", "nan", "-1", "--", "1,", "inf")
HUGE = ("99999999999999999999", "1" + "0" * 400, "2147483648")


def _cli_data() -> Arg:
    rows = Npz("data.npz", (("X", A((12, 3))), ("y", A((12,), "int64", "labels:3", 3))))
    files_ = st.one_of(st.just("digits"), st.sampled_from([rows, Good("data.npz")]))
    bad = ["nothing like it", "cifar10:", "cifar10:/not/there", "a.npz,b.npz", "", ".npz", "x.npz", "\0"]
    odd = st.builds(Damaged, st.just("data.npz"), st.integers(0, 1000), st.just(2), st.booleans())
    return Arg(files_, st.one_of(odd, st.just(Hostile("data.npz", "npz: header"))), st.sampled_from(bad), False)


def _cli_train(sizes: Sizes) -> Arguments:
    few = Npz("data.npz", (("X", A((12, 3))), ("y", A((12,), "int64", "labels:3", 3))))
    found = _cli_data()
    return {
        "--data": Arg(st.just(few), found.odd, found.bad, False),
        "--epochs": text("1", "2", bad=NO_COUNTS, optional=False),
        "--loss": text("softmax", "svm", "logistic", bad=("abc", "")),
        "--reg": text("0", "0.1", bad=NO_NUMBERS, odd=("1e300", "1e-320")),
        "--l1": text("0", "0.1", bad=NO_NUMBERS),
        "--validation": text("0", "0.3", bad=(*NO_NUMBERS, "1", "1.5")),
        "--seed": text("0", "7", bad=("abc", "1.5", "", "-1"), odd=HUGE[:1]),
        "--optimizer": text("sgd", "adam", "lion", bad=("abc", "")),
        "--lr": text("0.1", "0.1,0.01", bad=(*NO_NUMBERS, "0", "0.1,0.1", ",")),
        "--schedule": text("cosine", "step", bad=("abc",)),
        "--batch-size": text("4", "100", bad=NO_COUNTS, odd=HUGE),
        "--patience": text("1", bad=NO_COUNTS, odd=HUGE),
        "--tol": text("0", "0.1", bad=NO_NUMBERS, odd=("1e300", "1e-320")),
        "--threads": text("1", "2", bad=NO_COUNTS, odd=HUGE),
        "--backend": text("numpy", "cython", bad=("abc", "")),
        "--out": Arg(st.just(Here("out")), None, st.sampled_from(["/dev/null/x", "a\0b"])),
        "--format": text("npz", "safetensors", bad=("pt",)),
    }


def _cli_predict(sizes: Sizes) -> Arguments:
    weights = read("weights.npz", "weights.safetensors", wrong="npz: facts")
    rows = Npz("data.npz", (("X", A((12, 2))), ("y", A((12,), "int64", "labels:2", 3))))
    found = _cli_data()
    wrong = st.sampled_from(["", "nothing", "x.txt", "/", "no.npz", "a\0b"])
    return {
        "--weights": Arg(weights.good, weights.odd, wrong, False),
        "--data": Arg(st.just(rows), found.odd, found.bad, False),
    }


def _cli_compare(sizes: Sizes) -> Arguments:
    shapes = st.sampled_from([["3", "2", "2"], ["9", "4", "3"]])
    wrong = [["3", "2"], ["0", "2", "2"], ["3", "a", "2"], ["-1", "2", "2"], ["1.5", "2", "2"]]
    huge = [["1" + "0" * 30, "2", "2"], ["3", "4000000000", "4000000000"], ["99999999999", "99", "9"]]
    return {
        "--shape": Arg(shapes, st.sampled_from(huge), st.sampled_from(wrong), False),
        "--ops": text("softmax", "sgd", bad=("abc", "")),
        "--backends": text("numpy", bad=("abc", "", "fortran"), optional=False),
        "--dtype": text("float32", "float64", bad=("int8", "")),
        "--threads": text("1", bad=NO_COUNTS, odd=HUGE),
        "--json": Arg(st.just(Here("a.json")), None, st.sampled_from(["/dev/null/x", "/not/there.json"])),
    }


def _cli_schedule(sizes: Sizes) -> Arguments:
    return {
        "names": text(*schedules.NAMES, bad=("abc", ""), optional=False),
        "--lr": text("0.1", "0", bad=("abc", "nan", "-1", "inf", "")),
        "--steps": text("10", "3", bad=("0", "-3", "1.5", "abc"), optional=False),
        "--warmup": text("0", "1", bad=("-1", "abc", "99999")),
        "--out": Arg(st.just(Here("a.png")), None, st.sampled_from(["/dev/null/x.png", "", "a\0b.png"]), False),
    }


def _no_options(sizes: Sizes) -> Arguments:
    return {}


CLI_WORDS = ("--", "fastlin", "X", "y", "lr", "warm", "steps", "npz")
COMMANDS = (
    Row(
        "cli.train",
        command("train"),
        _cli_train,
        words=(*CLI_WORDS, *ops.losses()),
        cost=3,
        files=True,
        alone=True,
        quiet=False,
    ),
    Row("cli.predict", command("predict"), _cli_predict, words=CLI_WORDS, cost=3, files=True, alone=True),
    Row("cli.compare", command("compare"), _cli_compare, words=(*CLI_WORDS, "shape"), cost=24, files=True, alone=True),
    Row(
        "cli.plot-schedule",
        command("plot-schedule", "names"),
        _cli_schedule,
        words=CLI_WORDS,
        cost=6,
        files=True,
        alone=True,
    ),
    Row("cli.info", command("info"), _no_options, cost=9),
)


def _digits() -> Any:
    return fl.load_digits()


LOADED = ("path", "holds", "damaged", "npz", "npy", "safetensors", "folder", "labels")
ROWS = (
    Row(
        "load_arrays",
        fl.load_arrays,
        _path("data.npz", wrong=("npz", "noise", "npy")),
        (rows_fit,),
        words=LOADED,
        files=True,
        alone=True,
    ),
    Row("load_arrays (two files)", _load_arrays_pair, _pair, (rows_fit,), words=LOADED, files=True, alone=True),
    Row(
        "load_cifar10",
        fl.load_cifar10,
        _path("folder", "cifar.tar.gz", "binary", wrong=("pickle", "noise")),
        (rows_fit,),
        words=(*LOADED, "data_batch", "test_batch", "cifar"),
        files=True,
        alone=True,
        cost=2,
    ),
    Row("load_digits", _digits, _no_options, (rows_fit,), cost=9),
    Row(
        "TrainResult.load",
        fl.TrainResult.load,
        _path("weights.npz", "weights.safetensors", wrong=("np", "safe", "noise")),
        (can_predict,),
        words=LOADED,
        files=True,
        alone=True,
    ),
    Row(
        "train (resume a file)",
        _resume,
        _resume_file,
        (a_run,),
        words=(*LOADED, *RESUME_WORDS, "checkpoint"),
        files=True,
        alone=True,
        cost=2,
    ),
    Row(
        "train (resume a state)", _resume_state, _states, (a_run,), words=RESUME_WORDS, alone=True, quiet=False, cost=2
    ),
    *COMMANDS,
)
