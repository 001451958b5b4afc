"""Validation: everything is looked at here, before anything is written; kernels/native/quick_check.pyx says yes sooner.

Messages name the argument, what was found and where, what was expected, and how to correct it.
TypeError is for the wrong kind of thing, ValueError for everything else.

Here are numbers, arrays, labels and targets; beside it

csr      X, dense or sparse
steps    W, dW and the state of optimizer steps
images   rows as images, for fastlin/features.py
states   what a file or somebody's dict holds
words    what stands here for the words of other libraries
quick    what quick_check.pyx does, for an installation without a C compiler
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastlin._check import words
from fastlin._csr import Csr
from fastlin._laps import laps
from fastlin._rows import Hyper, Loss, bounds, inside

try:
    from fastlin.kernels.quick_check import quick_labels
    from fastlin.kernels.quick_check import same_layout as same_layout
except ImportError:  # installed without a C compiler
    from fastlin._check.quick import quick_labels
    from fastlin._check.quick import same_layout as same_layout

Array = NDArray[Any]
T = TypeVar("T")

FLOAT32_MAX = float(np.finfo(np.float32).max)

MOST_CLASSES = np.iinfo(np.int32).max  # kernels read labels as int32
_UINT64, _INT32 = np.dtype(np.uint64), np.dtype(np.int32)  # a dtype is a tenth of a microsecond faster than its type


class Inputs(NamedTuple):
    """The checked inputs of a loss."""

    W: Array  # (d, c), or (d + 1, c) with bias, as given: any stride
    X: Any  # (n, d) as given: any stride; W's dtype, a narrower float or an integer; or sparse rows, a Csr
    y: Array  # (n,) int32, or targets (n, c); our own copy: nobody can move a label out of range after the check
    sample_weight: Array  # (n,)
    contiguous: bool = False  # kernels can read and write all of it in place


def number(name: str, value: Any, interval: str) -> float:
    """`value` as a float inside `interval`, which is written as in mathematics: "[0, 1)"."""
    found: float = value if type(value) is float else _as_float(name, value, interval)
    if not inside(found, interval):
        raise ValueError(f"{name} must be in {interval}; found {found!r}")
    return found


def real(name: str, value: Any) -> float:
    """Any real number as a float, NaN and Inf too."""
    return value if type(value) is float else _as_float(name, value, "[-inf, inf]")


def _as_float(name: str, value: Any, interval: str) -> float:
    """A real number of another type as a float."""
    stored = getattr(getattr(value, "dtype", None), "kind", "f")  # NumPy's text and times have __float__ too
    if stored not in "iubf" or not hasattr(value, "__float__") or np.ndim(value) != 0:
        raise TypeError(f"{name} must be a number in {interval}; found {kind(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be in {interval}; found {shown(value)}, which no float64 can hold") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number in {interval}; found {kind(value)}") from None


def flag(name: str, value: Any) -> bool:
    """`value` as a bool, if it is Python's or NumPy's: a number in its place is likely to mean something else."""
    if type(value) is bool:
        return value
    if not isinstance(value, np.bool_):
        raise TypeError(f"{name} must be True or False; found {kind(value)}")
    return bool(value)


def instance(name: str, value: T) -> T:
    """`value` is no class: fl.L1 in place of fl.L1(0.1)."""
    if isinstance(value, type):
        raise TypeError(f"{name} is the class {value.__name__} itself; make one of it: {value.__name__}(...)")
    return value


def fields(owner: Any, **intervals: str) -> None:
    """The fields of a dataclass of these names are numbers inside these intervals; those of other types become float.

    Python's own numbers stay as they were written, for the repr.
    """
    for name, interval in intervals.items():
        value = getattr(owner, name)
        found = number(name, value, interval)
        if type(value) not in (int, float):
            object.__setattr__(owner, name, found)


def held(name: str, value: float, dtype: np.dtype[Any]) -> None:
    """A finite `value` is finite in the dtype of W, in which kernels compute with it."""
    if FLOAT32_MAX < abs(value) < math.inf and dtype.itemsize == 4:
        raise ValueError(
            f"{name} is {value!r}, more than the float32 of W can hold; pass a number of at most {FLOAT32_MAX:.4g} "
            f"or W.astype(np.float64)"
        )


def hyper_held(names: Iterable[str], values: Iterable[float], dtype: np.dtype[Any]) -> None:
    """All hyper-parameters of these names are finite in the dtype of W."""
    if dtype.itemsize == 4:
        for name, value in zip(names, values, strict=True):
            held(name, value, dtype)


def hyper(row: Mapping[str, Hyper], values: Mapping[str, Any]) -> tuple[float, ...]:
    """The hyper-parameters of a row of the table, in its order, each inside the interval that the row states."""
    return tuple(
        [
            value
            if type(value := values[name]) is float and value == spec.default
            else number(name, value, spec.interval)
            for name, spec in row.items()
        ]
    )


MOST_STEPS = 1 << 53  # kernels take the number of a step as a float64, which holds every integer up to here


def count(name: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """`value` as an int of at least `low` and, if there is one, at most `high`."""
    if type(value) is int and value >= low and high is None:
        return value
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        found = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer of at least {low}; found {kind(value)}") from None
    if found < low:
        raise ValueError(f"{name} must be an integer of at least {low}; found {shown(found)}")
    if high is not None and found > high:
        raise ValueError(f"{name} must be an integer of at most {high}; found {shown(found)}")
    return found


def choice(name: str, value: Any, options: Collection[str]) -> None:
    """`value` is one of `options`."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(map(repr, options))}; found {kind(value)}")
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}; found {shown(value)}")


def array(name: str, value: Any, ndim: int | None = None) -> Array:
    """`value` as a plain array of `ndim` dimensions, or of any number of them, without a copy of an array's memory.

    It is an array object of our own: another thread that sets the shape of the caller's changes nothing here.
    """
    if type(value) is np.ndarray:
        value = value.view()
    else:
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"{name} is a masked array; drop or fill the masked entries: {name}.filled(...)")
        if isinstance(value, np.matrix):
            raise TypeError(f"{name} is a numpy.matrix; pass np.asarray({name})")
        if hasattr(value, "toarray"):
            raise TypeError(f"{name} is sparse ({type(value).__name__}); pass {name}.toarray()")
        iterable, given = None, value
        try:
            value = np.asarray(value)
            if value.ndim == 0 and value.dtype.kind == "O":
                iterable = words.not_an_array(name, given)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{name} cannot be made an array: {error}") from None
        if iterable is not None:
            raise TypeError(iterable)
    found: Array = value
    if ndim is not None and found.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions; found shape {found.shape}{_reshape_hint(name, found)}")
    return found


def weights(W: Any, name: str = "W") -> Array:
    """W (d, c) of float32 or float64 with at least one class."""
    found = array(name, W, 2)
    _check_float(name, found.dtype)
    if found.shape[1] == 0:
        raise ValueError(f"{name} has shape {found.shape}, no class; expected (features, classes)")
    return found


def check_X(X: Any, W: Array, bias: bool) -> Any:
    """X (n, d), or sparse rows, with as many columns as W has rows, of W's dtype, a narrower float or integers."""
    found = X if isinstance(X, Csr) else array("X", X, 2)
    if found.dtype != W.dtype and found.dtype.kind not in "iub":  # all others are converted a row block at a time
        if found.dtype.kind != "f" or found.dtype.itemsize > 8:
            raise TypeError(f"X has dtype {found.dtype}; expected float16, float32, float64 or integers")
        if found.dtype.itemsize > W.dtype.itemsize:
            raise TypeError(
                f"X is {found.dtype.name} but W is {W.dtype.name}, which cannot hold its numbers: "
                f"pass W.astype(X.dtype) or X.astype(W.dtype)"
            )
    if found.shape[1] != W.shape[0] - bias:
        raise ValueError(_columns_message(found, W, bias))
    return found.beside(native(W)) if isinstance(found, Csr) else found


def labels(y: Any, n: int, c: int) -> Array:
    """y (n,) as a new int32 array, every label in [0, c)."""
    y = array("y", y)
    if y.ndim != 1:
        _refuse_labels_shape(y, n)
    if y.dtype.kind not in "iu" and y.size:
        _check_label_kind(y, c)
    if y.shape[0] != n:
        raise ValueError(f"X has {n} rows but y has {y.shape[0]} labels; they must be as many")
    if c > MOST_CLASSES:
        raise ValueError(f"W has {c} columns; there can be at most {MOST_CLASSES} classes")
    labels = np.empty(n, _INT32)
    for some in laps(n, 24):
        own = y[some].astype(_UINT64)  # copied before the check: what is checked is what is used
        if own[own.argmax()] >= c:  # negative labels are huge as unsigned numbers; argmax is faster than max
            i = some.start + int(np.flatnonzero(own >= c)[0])
            raise ValueError(f"y[{i}] = {y[i]} is out of range; labels must be integers in [0, {c}){_label_hint(y, c)}")
        labels[some] = own
    return labels


def weights_for(y: Array, rows: int, dtype: Any, order: Literal["C", "F"], classes: int | None = None) -> Array:
    """Zeros (rows, c) in this order, for so many classes, or as many as integers y name."""
    y = y.reshape(-1)
    i, c = int(y.argmax()), classes or max(int(y.max()) + 1, 1)
    if y[i] >= c:
        raise ValueError(f"y[{i}] = {y[i]} but classes={c}; labels must be integers in [0, {c})")
    try:
        return np.zeros((rows, c), dtype, order)
    except (MemoryError, ValueError):
        raise ValueError(
            f"{f'y[{i}] = {y[i]} asks' if classes is None else 'classes asks'} for {c} classes, more than memory "
            f"holds; number the classes first: classes, y = np.unique(y, return_inverse=True)"
        ) from None


def targets(y: Any, n: int, c: int, dtype: np.dtype[Any], interval: str) -> Array:
    """y as a new array (n, c) of targets: numbers as they are; labels (n,), where c > 1, as one 1 among zeros."""
    given = array("y", y)
    if given.ndim == 1 and c > 1 and given.dtype.kind != "f":
        of, found = labels(given, n, c), np.empty((n, c), dtype)
        for some in laps(n, c * dtype.itemsize + 16):
            found[some] = 0
            found[np.arange(some.start, some.stop), of[some]] = 1
        return found
    if given.dtype.kind not in "iubf":
        raise TypeError(f"y must hold numbers; found dtype {given.dtype}")
    if given.shape not in ((n, c), (n,) if c == 1 else (n, c)):
        expected = f"({n},) or ({n}, 1)" if c == 1 else f"targets ({n}, {c}) or integer labels ({n},)"
        found_is = f"y has shape {given.shape} and dtype {given.dtype}"
        raise ValueError(f"{found_is} but X has {n} rows and W {c} columns; expected {expected}")
    found = converted("y", given, dtype).reshape(n, c)
    low, high, _, _ = bounds(interval)
    for some in laps(n if math.isfinite(high) else 0, 3 * c * dtype.itemsize):
        if low <= found[some].min() and found[some].max() <= high:
            continue
        outside = (found[some] < low) | (found[some] > high)  # a NaN is let through, to the loss
        if outside.any():
            i, j = (int(k[0]) for k in np.nonzero(outside))
            where = f"y[{some.start + i}]" if given.ndim == 1 else f"y[{some.start + i}, {j}]"
            wrong = f"{where} = {found[some][i, j]} is out of range"
            raise ValueError(f"{wrong}; the targets of this loss must be in {interval}")
    return found


def row_weights(sample_weight: Any, n: int, dtype: np.dtype[Any]) -> Array:
    """sample_weight (n,) in the dtype of W; ones if it is None."""
    if sample_weight is None:
        return _ones(n, dtype) if n <= 1 << 16 else read_only(_filled(n, dtype))
    found = array("sample_weight", sample_weight, 1)
    if found.dtype.kind not in "iubf":
        raise TypeError(f"sample_weight must hold real numbers; found dtype {found.dtype}")
    if found.shape[0] != n:
        raise ValueError(f"X has {n} rows but sample_weight has {found.shape[0]} entries; they must be as many")
    return read_only(converted("sample_weight", found, dtype))


def converted(name: str, A: Array, dtype: np.dtype[Any]) -> Array:
    """A copy of real numbers in the dtype of W, C-ordered and aligned: no finite number has become infinite."""
    found = np.empty(A.shape, dtype)
    safe = np.can_cast(A.dtype, dtype)
    given, own = np.atleast_1d(A), np.atleast_1d(found)
    for some in laps(len(own), 2 * own.itemsize * math.prod(own.shape[1:])):
        with np.errstate(over="ignore"):
            own[some] = given[some]
        if safe or np.isfinite(own[some]).all():
            continue
        lost = np.argwhere(~np.isfinite(own[some]) & np.isfinite(given[some]))
        if len(lost):
            at = (some.start + int(lost[0][0]), *(int(i) for i in lost[0][1:]))
            raise ValueError(
                f"{name}{list(at) if A.ndim else ''} = {given[at]} is more than the {dtype.name} of W can hold; "
                f"pass smaller numbers or W.astype(np.float64)"
            )
    return found


@lru_cache(maxsize=64)
def _ones(n: int, dtype: np.dtype[Any]) -> Array:
    """The weights of rows that have none; worth keeping where a call takes microseconds."""
    return read_only(np.ones(n, dtype))


def _filled(n: int, dtype: Any) -> Array:
    """The same for more rows than are worth keeping."""
    ones = np.empty(n, dtype)
    for some in laps(n, ones.itemsize):
        ones[some] = 1
    return ones


def read_only(A: Array) -> Array:
    """A view of A that is not writeable: Numba compiles for either, and one is enough."""
    view = A.view()
    view.flags.writeable = False
    return view


def inputs(loss: Loss, W: Any, X: Any, y: Any, bias: bool, sample_weight: Any = None, out: Any = None) -> Inputs:
    """What a loss is computed from, and written to."""
    if loss.targets is None and sample_weight is None:
        own = quick_labels(W, X, y, bias, out)
        if own is not None:
            return Inputs(W, X, own, row_weights(None, len(own), W.dtype), True)
    given = {**(X.caller_arrays if isinstance(X, Csr) else {"X": X}), "y": y, "sample_weight": sample_weight}
    W = weights(W)
    X = check_X(X, W, bias)
    own = labels_or_targets(loss, y, X.shape[0], W)
    if out is not None:
        out_like(out, W, **given)
    return Inputs(W, X, own, row_weights(sample_weight, X.shape[0], native(W)))


def labels_or_targets(loss: Loss, y: Any, n: int, W: Array) -> Array:
    """y as the loss takes it: labels (n,) in int32, or targets (n, c) in W's dtype."""
    c = W.shape[1]
    return labels(y, n, c) if loss.targets is None else targets(y, n, c, native(W), loss.targets)


def penalty_value(value: Any) -> float:
    """What a penalty's value(W) returned, as a float; Inf and NaN follow IEEE's rules."""
    return real("reg.value(W)", value)


def penalty_gradient(gradient: Any, W: Array) -> Array:
    """What a penalty's gradient(W) returned, in W's shape and dtype."""
    if type(gradient) is np.ndarray and gradient.shape == W.shape and gradient.dtype == W.dtype:
        return gradient
    found = array("reg.gradient(W)", gradient)
    if found.dtype.kind not in "iubf":
        raise TypeError(f"reg.gradient(W) must hold real numbers; found dtype {found.dtype}")
    if found.shape != W.shape:
        raise ValueError(f"reg.gradient(W) has shape {found.shape}; expected that of the W it is given, {W.shape}")
    return converted("reg.gradient(W)", found, W.dtype)


def shrinkage(found: Any) -> tuple[float, float]:
    """What a prox's shrinkage(step) returned: two numbers."""
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise TypeError(f"prox.shrinkage(step) must return (shrink, factor), two numbers; found {kind(found)}")
    shrink, factor = ("prox.shrinkage(step)[0]", "[0, inf]"), ("prox.shrinkage(step)[1]", "[-inf, inf]")
    return number(shrink[0], found[0], shrink[1]), number(factor[0], found[1], factor[1])


def native(A: Array) -> np.dtype[Any]:
    """The dtype of A in the machine's own byte order."""
    return A.dtype if A.dtype.isnative else A.dtype.newbyteorder("=")


def out_like(out: Any, W: Array, **inputs: Any) -> None:
    """`out` is an array to write like W: same shape and dtype, writeable, apart from every input and from itself."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an array to write into; found {kind(out)}")
    if out.shape != W.shape or out.dtype != W.dtype:
        raise ValueError(
            f"out has shape {out.shape} and dtype {out.dtype}; expected those of W, {W.shape} and {W.dtype}: "
            f"np.empty_like(W)"
        )
    writeable("out", out)
    apart("out", out, W=W, **inputs)


def writeable(name: str, A: Array) -> None:
    """A can be written, and no two of its entries share memory."""
    flags = A.flags
    if not flags.writeable:
        raise ValueError(f"{name} is read-only; pass an array that can be written, such as {name}.copy()")
    if flags.forc:
        return
    steps = sorted((abs(step), size) for step, size in zip(A.strides, A.shape, strict=True) if size > 1)
    reach = A.itemsize
    for step, size in steps:
        if step < reach:
            raise ValueError(
                f"entries of {name} share memory (strides {A.strides}, shape {A.shape}); "
                f"pass an array of its own, such as {name}.copy()"
            )
        reach = step * size


def apart(name: str, A: Array, **others: Any) -> None:
    """A shares memory with none of `others`."""
    owner = A.base is None
    for other_name, other in others.items():
        if owner and type(other) is np.ndarray and other.base is None and other is not A:
            continue  # each owns its memory
        if isinstance(other, np.ndarray) and _overlap(A, other):
            raise ValueError(f"{name} shares memory with {other_name}; pass a separate array")


def _overlap(A: Array, B: Array) -> bool:
    if not np.may_share_memory(A, B):
        return False
    try:
        return bool(np.shares_memory(A, B, max_work=100_000))  # type: ignore[arg-type]  # the stub is narrower
    except np.exceptions.TooHardError:
        return True


def kind(value: Any) -> str:
    """What was found, in a few words."""
    if isinstance(value, np.ndarray):
        return shown(value)
    return f"{shown(value)} of type {type(value).__name__}"


def shown(value: Any) -> str:
    """The repr of a value, cut short; Python has none of integers of thousands of digits."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    try:
        text = repr(value)
    except Exception:  # any object can be passed by mistake, and its repr is the caller's code
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:70]}... ({len(text)} characters)"


def _check_float(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise TypeError(f"{name} has dtype {dtype}; expected float32 or float64: {name}.astype(np.float64)")


def _reshape_hint(name: str, A: Array) -> str:
    if A.ndim == 1:
        return f"; for one row pass {name}.reshape(1, -1)"
    if A.ndim > 2 and A.shape[0]:
        return f"; flatten each sample with {name}.reshape(len({name}), -1)"
    return ""


def _columns_message(X: Any, W: Array, bias: bool) -> str:
    columns, rows = X.shape[1], W.shape[0]
    if bias:
        found = f"X has {columns} columns but W has {rows} rows; with bias=True W must have {columns + 1}"
        return found + (": its last row is b. For a W without it pass bias=False" if rows == columns else "")
    found = f"X has {columns} columns but W has {rows} rows; they must be as many"
    if rows == columns + 1:
        return found + ". If the last row of W is the bias, pass bias=True"
    if W.shape[1] == columns:
        return found + f". W of shape {W.shape} looks transposed: pass W.T"
    if columns == rows + 1:
        return found + ". If the last column of X is ones for a bias, W needs a row for it"
    return found


def _refuse_labels_shape(y: Array, n: int) -> NoReturn:
    shape, hint = y.shape, ""
    if len(shape) == 2 and shape[1] == 1:
        hint = "; a column of labels? pass y.ravel()"
    elif len(shape) == 2 and shape[0] == n:
        hint = "; one-hot labels? pass y.argmax(axis=1)"
    raise ValueError(f"y has shape {shape}; expected ({n},){hint}")


def _check_label_kind(y: Array, c: int) -> None:
    if y.dtype.kind == "b":
        if c > 2:
            raise TypeError(f"y holds booleans but W has {c} classes; labels must be integers in [0, {c})")
    elif y.dtype.kind == "f":
        odd = np.flatnonzero(~np.equal(np.mod(y, 1), 0)) if np.isfinite(y).all() else np.flatnonzero(~np.isfinite(y))
        where = f", with y[{odd[0]}] = {y[odd[0]]}" if odd.size else "; convert with y.astype(np.int64)"
        raise TypeError(f"y must hold integers; found dtype {y.dtype}{where}")
    else:
        raise TypeError(f"y must hold integers; found dtype {y.dtype}{words.labels(y.dtype.kind)}")


def _label_hint(y: Array, c: int) -> str:
    low, high = int(y.min()), int(y.max())
    if low == 1 and high == c:
        return ". Labels that count from 1? pass y - 1"
    if low == -1 and high < c:
        return ". If -1 marks rows to ignore, drop them or give them sample_weight 0 and any label"
    return f": W has {c} classes"


def step_size(name: str, value: float) -> float:
    """A finite number that is not zero, for difference quotients."""
    found = number(name, value, "(-inf, inf)")
    if found == 0.0:
        raise ValueError(f"{name} must not be zero")
    return found


def judged(y: Any, n: int, c: int, *, values: bool) -> Array:
    """The y that predictions are compared with: targets (n, c), or (n,) for c = 1, or classes unless `values`."""
    found = array("y", y)
    if found.dtype.kind not in "iubf":
        raise TypeError(f"y must hold numbers; found dtype {found.dtype}")
    if found.shape not in ((n, c), (n, c) if values and c > 1 else (n,)):
        expected = f"targets ({n}, {c})" if values and c > 1 else f"({n},) or targets ({n}, {c})"
        raise ValueError(f"y has shape {found.shape} but X has {n} rows; expected {expected}")
    if n == 0:
        raise ValueError("X has 0 rows; there must be at least one to judge predictions by")
    return found


def real_array(name: str, A: Any) -> Array:
    if not isinstance(A, np.ndarray) or isinstance(A, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array; found {type(A).__name__}{words.as_array(name, A)}")
    if A.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} has dtype {A.dtype}; expected float32 or float64")
    return A.view(np.ndarray)


def learning_rate(value: Any, name: str = "lr") -> Any:
    """A number in [0, inf), or a schedule: something that is called with the step number."""
    return instance(name, value) if callable(value) else number(name, value, "[0, inf)")


def function(name: str, value: Any, form: str) -> None:
    """`value` can be called as `form` says."""
    if not callable(value):
        raise TypeError(f"{name} must be a function {form}; found {kind(value)}")
