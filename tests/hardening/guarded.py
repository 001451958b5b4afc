"""Every kernel of the table on arrays that lie next to pages which nobody may touch: python guarded.py BACKEND GROUP.

A read or a write outside an array ends this process with SIGSEGV, and so does a write to an argument that the table
does not name in `writes`: its pages are read-only. Each case is printed before it runs, so that the last line names the
one that failed. The groups: "ops" calls the functions of the table, "drivers" the kernels that are made of them, "edge"
the public functions; "overrun" and "read_only" must fail.
"""

import ctypes
import faulthandler
import itertools
import mmap
import sys

import numpy as np

import fastlin as fl
from fastlin import _plan, ops, testing
from fastlin._check.csr import features
from fastlin._csr import Csr
from fastlin._rows import CsrStorage
from fastlin.kernels.records import NO_STAGES, CsrRows, EpochData, EpochSteps, EpochWeights, EpochWorkspace, Stages
from fastlin.ops import CURVATURES, DRIVERS, LOSSES, OPS, STORAGES, UPDATES

LIBC = ctypes.CDLL(None, use_errno=True)
PROT_NONE = 0
# "end": the last number lies before a page that cannot be touched; "start": the first one lies after it; "rows": every
# row of a matrix has pages of its own, and its last number lies before one that cannot be touched.
PLACES = ("end", "start", "rows")
SIZES = [(1, 1, 1), (3, 2, 2), (7, 17, 5), (33, 37, 10), (18, 131, 13), (131, 67, 37), (9, 131, 53)]  # n, d, c
LENGTHS = (0, 1, 7, 16, 65, 1001)
THREADS = (1, 2, 3)

# ---- Memory ----------------------------------------------------------------------------------------------


def protect(buffer, start, size, access):
    """mprotect of some pages of an mmap."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer)) + start
    if size and LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), access):
        raise OSError(ctypes.get_errno(), "mprotect failed")


def guarded(A, place, writeable):
    """A copy of A in pages of its own between pages that nobody may touch, read-only unless writeable."""
    A = np.asarray(A)
    by_row = place == "rows" and A.ndim > 1
    lines = A.size // max(1, A.shape[-1]) if by_row else 1
    used = A.nbytes // max(1, lines)
    data = -(-used // mmap.PAGESIZE) * mmap.PAGESIZE
    step = data + mmap.PAGESIZE  # the data of a line and the page after it
    buffer = mmap.mmap(-1, lines * step + mmap.PAGESIZE)
    strides = np.empty(A.shape, np.int8).strides  # of bytes side by side
    strides = [s // max(1, A.shape[-1]) * step for s in strides[:-1]] + [A.itemsize] if by_row else None
    offset = mmap.PAGESIZE + (0 if place == "start" else data - used)
    own = np.ndarray(A.shape, A.dtype, buffer, offset, strides)
    own[...] = A
    protect(buffer, 0, mmap.PAGESIZE, PROT_NONE)
    for line in range(lines):
        start = mmap.PAGESIZE + line * step
        protect(buffer, start + data, mmap.PAGESIZE, PROT_NONE)
        if not writeable:
            protect(buffer, start, data, mmap.PROT_READ)
    own.flags.writeable = writeable
    return own


def place_all(row, arrays, place, workspace=("scratch",)):
    """The arguments of a row of the table, guarded: those in its `writes` can be written, all others cannot.

    What the row says to be contiguous lies in one piece, and so do `workspace` and the arrays of sparse rows.
    """

    def own(name, form):
        if isinstance(arrays[name], CsrRows):
            return sparse_guarded(arrays[name], place)
        if not isinstance(arrays[name], np.ndarray):
            return arrays[name]
        whole = name in ("y", *workspace) or form.endswith("contiguous")
        return guarded(arrays[name], "end" if whole and place == "rows" else place, name in row.writes)

    return [own(name, form) for name, form in row.takes.items()]


def sparse_guarded(X, place):
    """Sparse rows whose arrays are guarded, each in one piece."""
    inner = "end" if place == "rows" else place
    return CsrRows(*(guarded(A, inner, False) for A in X[:3]), X.d)


# ---- The functions of the table: for each kind, cases (what is special, {argument: value}) -----------------


def numbers(shape, dtype, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def stored(storage, n, d, dtype):
    row = STORAGES[storage]
    if isinstance(row, CsrStorage):  # some indices lead outside: they are passed over
        dense = np.random.default_rng([n, d]).integers(-3, 9, (n, d)).clip(0).astype(row.reads or dtype)
        X = features(testing.sparse(dense, row.indices)).arrays
        indices, wrong = X.indices.copy(), np.iinfo(row.indices)
        indices[::7] = np.resize([-1, d, wrong.min, wrong.max], len(indices[::7]))
        return X._replace(indices=indices)
    return np.random.default_rng([n, d]).integers(0, 9, (n, d)).astype(STORAGES[storage].reads or dtype)


def targets_of(loss, n, c, dtype):
    if (LOSSES | CURVATURES)[loss].targets is None:
        return np.random.default_rng(n).integers(0, c, n).astype(np.int32)
    return (np.random.default_rng(n).integers(0, 9, (n, c)) / 8).astype(dtype)


def function_cases(name, dtype):
    for size in LENGTHS:
        yield size, {"x": numbers((size,), dtype), "out": np.empty(size, dtype)}


def layout_cases(name, dtype):
    for _, d, c in SIZES:
        for rows in (d, d + 1):
            inside = (rows, c) if "feature_major" in name else (c, d + 1)
            yield (
                (rows, c),
                {
                    "W": numbers((rows, c), dtype),
                    "weights": np.empty(inside, dtype),
                    "parts": numbers((3, *inside), dtype),
                    "scale": 0.5,
                    "dW": np.empty((rows, c), dtype),
                },
            )


def product_cases(name, dtype):
    for n, d, c in SIZES:
        zeros = np.zeros((c, d), dtype), np.zeros(c, dtype)
        yield (
            (n, d, c),
            dict(zip(OPS[name].args, (numbers((n, d), dtype), numbers((c, n), dtype), *zeros), strict=True)),
        )


def storage_cases(name, dtype):
    """Scores and gradients, of rows in order and of gathered rows, all columns or some."""
    storage = next(row for row in STORAGES.values() if name in row.ops)
    for (n, d, c), few in itertools.product(SIZES if dtype in storage.W_dtypes else [], (False, True)):
        start = first = int(few)
        rows = n - start
        if rows == 0 or first >= d:
            continue
        order = np.random.default_rng(n).integers(0, n, rows)
        inside = (d + few, c) if storage.layout == "feature_major" else (c, d + 1)
        yield (
            (n, d, c, few),
            {
                "X": stored(storage.name, n, d, dtype),
                "start": start,
                "order": order,
                "first": first,
                "last": d - (few and d > 2),
                "scale_shift": numbers((2 if few else 0, d), dtype),
                "row_buffer": np.ones((rows, d), dtype),
                "W": numbers(inside, dtype),
                "scores": np.empty((c, rows), dtype),
                "dscores": numbers((c, rows), dtype),
                "dW": np.zeros(inside, dtype),
            },
        )


def epilogue_cases(name, dtype):
    loss = next(row for row in [*LOSSES.values(), *CURVATURES.values()] if row.epilogue == name)
    for n, _, c in [*SIZES, (65, 0, 3)]:
        y = targets_of(loss.name, n, c, dtype)
        arrays = {"scores": numbers((c, n), dtype), "y": y, "targets": y, "sample_weight": np.ones(n, dtype)}
        yield (n, c), arrays | {"scratch": np.empty((3, n), dtype)} | testing.off_neutral(name)


def update_cases(name, dtype):
    for size in LENGTHS:
        case = testing.update_case(name, size, dtype)
        yield size, dict(zip(OPS[name].args, (*case.arrays, *case.scalars), strict=True))


def flat_cases(name, dtype):
    """What stands before and after an update."""
    scalars = {"l2": 0.1, "l1": 0.2, "scale": 0.7, "limit": 0.5, "shrink": 0.1, "factor": 0.9}
    for size in LENGTHS:
        shape = (3, size) if name == "penalty_stage" else (size,)
        arrays = {array: numbers(shape, dtype) for array in ("g", "w", "out")}
        yield size, scalars | arrays | {"mean": numbers((size,), "float64")}


def slopes_cases(name, dtype):
    for n, _, c in SIZES:
        for start in {0, n // 3}:
            arrays = {"dscores": numbers((c, n - start), dtype), "start": start, "slopes": np.empty((n, c), dtype)}
            yield (n, c, start), arrays | {"sums": np.zeros(c, dtype)}


def columns_cases(name, dtype):
    """All columns, and some; of rows beyond the last, and not in order, entries are passed over."""
    storage = next(row for row in STORAGES.values() if name in row.ops)
    for (n, d, c), parts in itertools.product(SIZES if dtype in storage.W_dtypes else [], (1, 3)):
        rows = np.random.default_rng([n, d]).integers(-3, 9, (d, n)).clip(0).astype(storage.reads or dtype)
        XT = features(testing.sparse(rows)).arrays
        indices = XT.indices.copy()
        indices[::7] = np.resize([-1, n, -(2**31), 2**31 - 1], len(indices[::7]))
        start = d // 3
        yield (
            (n, d, c, parts),
            {
                "XT": XT._replace(indices=indices),
                "start": start,
                "parts": parts,
                "slopes": numbers((n, c), dtype),
                "adds": parts > 1,
                "scale": 0.5,
                "dW": np.empty((d - start, c), dtype),
            },
        )


def places_cases(name, dtype):
    for size in LENGTHS:
        columns = np.random.default_rng(size).integers(0, 5, size)
        yield size, {"columns": columns, "next": np.zeros(5, np.int64), "places": np.empty(size, np.int64)}


KINDS = {
    "slopes": slopes_cases,
    "columns": columns_cases,
    "places": places_cases,
    "function": function_cases,
    "layout": layout_cases,
    "product": product_cases,
    "scores": storage_cases,
    "gradient": storage_cases,
    "gather": storage_cases,
    "epilogue": epilogue_cases,
    "update": update_cases,
    "stage": flat_cases,
    "reduction": flat_cases,
}


def ops_group(backend):
    for (name, row), dtype, place in itertools.product(OPS.items(), ops.DTYPES, PLACES):
        for special, arrays in KINDS[row.kind](name, dtype):
            say(name, dtype, place, special)
            ops.kernel(name, backend, dtype)(*place_all(row, arrays, place))


# ---- Drivers: for each, its runs --------------------------------------------------------------------------

# As in tests/kernels/test_drivers.py: every storage, loss and update occurs.
PAIRS = list(zip(itertools.cycle(STORAGES), LOSSES, strict=False)) + [(name, "svm") for name in STORAGES]
COMPOSITIONS = list(zip(PAIRS, itertools.cycle(UPDATES), itertools.cycle([True, False]), strict=False))


def hyper_of(loss):
    return tuple(spec.test_value for spec in LOSSES[loss].hyper.values())


def run_loss(backend, place, dtype):
    cuts = [(1, 1, 1), (4, 1, 1), (16, 3, 2), (8, 2, 1), (5, 2, 3), (131, 1, 1), (9, 1, 1)]  # block, parts, chunks
    row, threads = DRIVERS["loss"], itertools.cycle(THREADS)
    for storage, loss in PAIRS:
        if dtype not in STORAGES[storage].W_dtypes:
            continue
        kernel = ops.loss_kernel(LOSSES[loss], STORAGES[storage], backend)
        for ((n, d, c), (block, parts, chunks)), bias, order in itertools.product(
            zip(SIZES, cuts, strict=True), (0, 1), "CF"
        ):
            team = next(threads)
            say("loss", dtype, place, storage, loss, (n, d, c), f"bias={bias}", order, f"threads={team}")
            by_feature = STORAGES[storage].layout == "feature_major"
            in_place = by_feature and order == "C"
            inside = (d + bias, c) if by_feature else (c, d + 1)
            has_panels = not by_feature and (c > 2 or team == 1)
            arrays = {
                "X": stored(storage, n, d, dtype),
                "W": numbers((d + bias, c), dtype),
                "y": targets_of(loss, n, c, dtype),
                "sample_weight": np.ones(n, dtype),
                "hyper": hyper_of(loss),
                "scale": 1 / n,
                "weights": np.empty((0, c) if in_place else inside, dtype),
                "panels": np.empty((c + _plan.PANEL_CLASSES) * d if has_panels else 0, dtype),
                "row_buffer": np.empty((parts, block if STORAGES[storage].converts else 0, d), dtype),
                "scores": np.empty((parts, c + 3, block), dtype),
                "parts": np.empty((parts, *inside), dtype),
                "losses": np.empty(parts),
                "dW": np.empty((d + bias, c), dtype),
                "first_part": 0,
                "last_part": parts,
                "chunk": 0,
                "chunks": chunks,
                "threads": team,
            }
            given = dict(zip(row.args, place_all(row, arrays, place, workspace=("scores", "parts")), strict=True))
            if order == "F":
                for name in ("W", "dW"):
                    given[name] = guarded(arrays[name].T, place, name in row.writes).T
            for chunk in range(chunks):
                kernel(*(given | {"chunk": chunk}).values())


def run_slopes(backend, place, dtype):
    row, threads = DRIVERS["slopes"], itertools.cycle(THREADS)
    sparse = [(name, loss) for name, loss in PAIRS if isinstance(STORAGES[name], CsrStorage)]
    for (storage, loss), (n, d, c), bias in itertools.product(sparse, SIZES, (0, 1)):
        if dtype not in STORAGES[storage].W_dtypes:
            continue
        team, parts, block = next(threads), min(n, 3), 5
        say("slopes", dtype, place, storage, loss, (n, d, c), f"bias={bias}, threads={team}")
        arrays = {
            "X": stored(storage, n, d, dtype),
            "W": numbers((d + bias, c), dtype),
            "y": targets_of(loss, n, c, dtype),
            "sample_weight": np.ones(n, dtype),
            "hyper": hyper_of(loss),
            "scores": np.empty((parts, c + 3, block), dtype),
            "sums": np.empty((parts, c), dtype),
            "losses": np.empty(parts),
            "slopes": np.empty((n, c), dtype),
            "first_part": 0,
            "last_part": parts,
            "chunk": 0,
            "chunks": 2,
            "threads": team,
        }
        given = dict(zip(row.args, place_all(row, arrays, place, workspace=("scores",)), strict=True))
        kernel = ops.slopes_kernel(LOSSES[loss], STORAGES[storage], backend)
        for chunk in range(2):
            kernel(*(given | {"chunk": chunk}).values())


def run_losses(backend, place, dtype):
    row, k, block = DRIVERS["losses"], 3, 16
    for (n, d, c), loss in itertools.product(SIZES, ("svm", "squared_error")):
        say("losses", dtype, place, loss, (n, d, c))
        arrays = {
            "blocks": numbers((-(-n // block), d, block), dtype),
            "weights": numbers((k * c, d + 1), dtype),
            "y": targets_of(loss, n, c, dtype),
            "sample_weight": np.ones(n, dtype),
            "hyper": hyper_of(loss),
            "scores": np.empty((k * c + 3, block), dtype),
            "sums": np.zeros(k * c, dtype),
            "losses": np.empty(k),
        }
        ops.losses_kernel(LOSSES[loss], backend)(*place_all(row, arrays, place, workspace=("scores",)))


def run_epoch(backend, place, dtype):
    """Batches of several blocks, the last one shorter, with penalty, clips, prox and a map of the columns."""
    teams = itertools.cycle(THREADS)
    for ((storage, loss), update, bias), (n, d, c) in itertools.product(COMPOSITIONS, SIZES):
        if dtype not in STORAGES[storage].W_dtypes or not STORAGES[storage].gathers:
            continue
        team = next(teams)
        say("epoch", dtype, place, storage, loss, update, (n, d, c), f"threads={team}")
        data = EpochData(
            stored(storage, n, d, dtype),
            targets_of(loss, n, c, dtype),
            np.ones(n, dtype),
            np.random.default_rng(n).permutation(n),
            numbers((2 if bias else 0, d), dtype),
            hyper_of(loss),
            bias,
            batch_size := min(20, n),
            dW_begun=not bias,
        )
        steps, row = -(-n // batch_size), UPDATES[update]
        others = tuple(spec.test_value for name, spec in row.hyper.items() if name != "lr")
        optional = ((0.0, 0.0), (np.inf,) * 2, np.empty((0, 2)), np.empty(0))
        if bias:
            optional = ((0.02, 0.01), (0.3, 0.8), np.full((steps, 2), 0.9), np.full(steps, 0.3))
        taken = EpochSteps(3, "t" in row.args, np.full(steps, 0.05), others, *optional)
        columns, block = (min(2, d), 8) if ops.BACKENDS[backend].compiled else (1, batch_size)
        workspace = _plan.epoch_workspace(_plan.EpochPlan(columns, block, 0, 1), steps, c, d, np.dtype(dtype))
        weights = [guarded(np.abs(numbers((c, d + 1), dtype)), place, True) for _ in range(2 + len(row.state))]
        inner = "end" if place == "rows" else place
        ops.epoch_kernel(LOSSES[loss], STORAGES[storage], update, backend)(
            EpochData(*(guarded_inputs(data, place))),
            EpochSteps(*(guarded_inputs(taken, inner))),
            EpochWeights(
                *(weights[0], weights[1], tuple(weights[2:])),
                guarded(numbers((c if bias else 0, d + 1), "float64"), place if bias else inner, True),
            ),
            EpochWorkspace(
                *(
                    guarded(A, place if name == "subtotal" else inner, True) if isinstance(A, np.ndarray) else A
                    for name, A in workspace._asdict().items()
                )
            ),
            *(0, steps * -(-batch_size // block), team),
        )


def guarded_inputs(record, place):
    """The fields of a record of inputs; targets and what else must lie in one piece is not cut into rows."""
    inner = "end" if place == "rows" else place
    return [
        guarded(A, place if i == 0 else inner, False) if isinstance(A, np.ndarray) else A for i, A in enumerate(record)
    ]


def run_step(backend, place, dtype):
    for (update, n), stages in itertools.product(
        itertools.product(UPDATES, LENGTHS[1:]), (NO_STAGES, Stages(0.7, 0.2, 0.01, 0.9))
    ):
        for ranges, threads in ((1, 1), (3, 2), (4, 3)):
            say("step", dtype, place, update, n, f"ranges={ranges}, threads={threads}")
            case = testing.update_case(update, n, dtype)
            w, g, *state = (guarded(A, place, i != 1) for i, A in enumerate(case.arrays))
            ops.step_kernel(update, backend)(w, g, tuple(state), case.scalars, stages, ranges, threads)


def run_squares(backend, place, dtype):
    for n, (parts, threads) in itertools.product(LENGTHS, ((1, 1), (4, 3))):
        say("squares", dtype, place, n, parts)
        arrays = {"g": numbers((n,), dtype), "sums": np.empty(parts), "threads": threads}
        ops.squares_kernel(backend)(*place_all(DRIVERS["squares"], arrays, place))


RUNS = {
    "loss": run_loss,
    "slopes": run_slopes,
    "losses": run_losses,
    "epoch": run_epoch,
    "step": run_step,
    "squares": run_squares,
}


def drivers_group(backend):
    for name, dtype, place in itertools.product(DRIVERS, ops.DTYPES, PLACES):
        RUNS[name](backend, place, dtype)


# ---- Public functions -------------------------------------------------------------------------------------


def edge_group(backend):
    """The caller's arrays: X, y, W, weights of rows, `out`, scores, and the arrays of a step."""
    teams = itertools.cycle(THREADS)
    for (storage, loss), dtype, place in itertools.product(PAIRS, ops.DTYPES, PLACES):
        if dtype not in STORAGES[storage].W_dtypes:
            continue
        for (n, d, c), bias in itertools.product([*SIZES, (9, 5, 67)], (False, True)):
            team = next(teams)
            say("evaluate", storage, loss, dtype, place, (n, d, c), f"bias={bias}, threads={team}")
            W, X = guarded(numbers((d + bias, c), dtype), place, False), stored(storage, n, d, dtype)
            X = Csr(*sparse_guarded(X, place)) if isinstance(X, CsrRows) else guarded(X, place, False)
            y = targets_of(loss, n, c, dtype)
            y = guarded(y if y.ndim == 2 else y.astype(np.int64), place, False)
            out = guarded(np.empty((d + bias, c), dtype), place, True)
            weight = guarded(np.ones(n, dtype), place, False)
            how = {"bias": bias, "backend": backend, "threads": team}
            hyper = dict(zip(LOSSES[loss].hyper, hyper_of(loss), strict=True))
            testing.evaluate(loss, hyper, W, X, y, 0.1, sample_weight=weight, out=out, **how)
            fl.scores(W, X, **how)
    for dtype, place, (_, d, c) in itertools.product(ops.DTYPES, PLACES, SIZES):
        say("steps", dtype, place, (d, c))
        for optimizer in (fl.SGD(0.1), fl.Adam(0.1), fl.Lion(0.1)):
            W, dW = (guarded(numbers((d, c), dtype), place, writeable) for writeable in (True, False))
            optimizer.step(W, dW, backend=backend)


# ---- What must fail ---------------------------------------------------------------------------------------


def overrun_group(backend):
    """Reads the byte after an array."""
    A = guarded(np.zeros(5), "end", True)
    say("overrun")
    ctypes.string_at(A.ctypes.data + A.nbytes, 1)


def read_only_group(backend):
    """Writes to an input, around NumPy's own flag."""
    A = guarded(np.zeros(5), "end", False)
    say("read_only")
    ctypes.memset(A.ctypes.data, 0, 1)


def say(*case):
    """Names the case that runs now."""
    print(*case, flush=True)


GROUPS = {
    "ops": ops_group,
    "drivers": drivers_group,
    "edge": edge_group,
    "overrun": overrun_group,
    "read_only": read_only_group,
}

if __name__ == "__main__":
    faulthandler.enable()
    GROUPS[sys.argv[2]](sys.argv[1])
    print("done")
