"""The wall: kernels are bound behind a comparison of what they get with what the table says of each argument.

The arguments are made from the descriptions themselves, for every kernel of the table. So a new row is tested without
an edit here, and each damage is tried on every argument.
"""

import numpy as np
import pytest

from fastlin import _contract, ops
from fastlin._contract import Contract, ContractError, value_of

SIZES = {
    "n": 11,
    "d": 5,
    "c": 3,
    "rows": 4,
    "known": 6,
    "block": 8,
    "start": 2,
    "first": 1,
    "last": 3,
    "parts": 2,
    "m": 9,
    "weights_rows": 6,
    "first_part": 0,
    "last_part": 2,
    "chunk": 0,
    "chunks": 2,
    "threads": 2,
    "room": 7,
    "count": 2,
    "stacked": 6,
    "k": 2,
    "steps": 3,
    "column_blocks": 2,
    "batch_size": 4,
    "scratch": 9,
    "ranges": 2,
    "subtotal_blocks": 0,
}
LOSSES = ["softmax", "logistic"]  # labels and targets


def contracts():
    """Those of all kernels: each function of the table, and each driver with labels and with targets."""
    for name, row in ops.OPS.items():
        yield Contract(name, row.takes, row.writes, row.where)
    for name, row in ops.DRIVERS.items():
        for loss in LOSSES if any("{y}" in str(form) for form in row.takes.values()) else LOSSES[:1]:
            loss, storage = ops.LOSSES[loss], ops.STORAGES["uint8" if loss == "softmax" else "dense"]
            forms = ops._loss_forms(loss) | ops._update_forms("adam_update") | storage.forms
            takes = {arg: ops.filled(form, forms) for arg, form in row.takes.items()}
            yield Contract(f"{name} of {loss.name}", takes, row.writes, row.where)
    row, forms = ops.DRIVERS["loss"], ops._loss_forms(ops.LOSSES["svm"]) | ops.STORAGES["csr_float32"].forms
    takes = {arg: ops.filled(form, forms) for arg, form in row.takes.items()}
    yield Contract("loss of sparse rows", takes, row.writes, row.where)


CONTRACTS = {contract.kernel: contract for contract in contracts()}


def make(contract, dtype="float64"):
    """A value for each leaf: arrays whose rows are apart where they may be."""
    sizes = [SIZES.get(name, 1) for name in contract.sizes]
    for size, numerator, denominator in contract.derived:
        sizes[size] = value_of(numerator, sizes) // sizes[denominator]
    found = []
    for leaf in contract.leaves:
        if leaf.kind == "size":
            found.append(sizes[contract.sizes[leaf.name.rpartition(".")[2]]])
        elif leaf.kind == "array":
            shape = [value_of(choices[-1], sizes) for choices in leaf.shape]
            apart = 0 if leaf.layout == "contiguous" else 3
            A = np.zeros((*shape[:-1], shape[-1] + apart), dtype if leaf.dtype == "real" else leaf.dtype)
            found.append(A[..., : shape[-1]])
        else:
            found.append((0.5,) * leaf.length if leaf.kind == "numbers" else 0.5)
    return found


def given(contract, found, group=None):
    """The arguments, nested as the kernel takes them."""
    group = contract.tree if group is None else group
    return tuple(found[one] if isinstance(one, int) else given(contract, found, one) for one in group.members)


class Recorder:
    """A kernel that says whether it was called."""

    calls = 0

    def __call__(self, *args):
        self.calls += 1


def verdict(contract, args):
    """What the comparison in Python says, which the one in C must say too; None if the kernel may run."""
    said = error_of(contract.check, args)
    if _contract.Guard is not None:
        kernel = Recorder()
        guarded = _contract.Guard(kernel, contract)
        assert error_of(lambda given: guarded(*given), args) == said
        assert kernel.calls == (said is None)
    return said


def error_of(function, args):
    try:
        function(args)
    except ContractError as error:
        return str(error)
    return None


def unaligned(A):
    memory = np.empty(A.nbytes + 1, np.uint8)
    moved = memory[1:].view(A.dtype) if A.nbytes % A.itemsize == 0 else None
    return moved[: A.size].reshape(A.shape)


def damaged(A, leaf):
    """Arrays that the kernel must not get in its place, each by name."""
    yield "a list", A.tolist()
    yield "nothing", None
    yield "another type", A.astype(np.int16)
    yield "objects", A.astype(object)
    yield "complex", A.astype(np.complex64)
    yield "one axis more", A[None]
    if A.ndim > 1:
        yield "one axis less", A[0]
    if A.itemsize > 1:
        yield "other byte order", A.astype(A.dtype.newbyteorder())
        yield "unaligned", unaligned(A)
    if leaf.written:
        locked = A.copy()
        locked.flags.writeable = False
        yield "read-only", locked
    if leaf.layout != "strided" and A.shape[-1] > 1:
        yield "numbers apart", np.repeat(A, 2, axis=-1)[..., ::2]
        yield "one number for all", np.broadcast_to(A[..., :1], A.shape)
    if leaf.layout in ("rows", "contiguous") and A.ndim > 1 and A.shape[0] > 1:
        yield "rows backwards", np.ascontiguousarray(A)[::-1]
        yield "one row for all", np.broadcast_to(A[:1], A.shape)
    if leaf.layout == "like" and A.shape[0] > 1:
        yield "other strides", np.ascontiguousarray(A)


@pytest.mark.parametrize("name", CONTRACTS)
def test_right_arguments_pass(name):
    contract = CONTRACTS[name]
    for dtype in ("float32", "float64"):
        assert verdict(contract, given(contract, make(contract, dtype))) is None


@pytest.mark.parametrize("name", CONTRACTS)
def test_each_damage_is_refused(name):
    """The error names the kernel and the argument, and the kernel has not run."""
    contract = CONTRACTS[name]
    for i, leaf in enumerate(contract.leaves):
        found = make(contract)
        if leaf.kind == "array":
            cases = dict(damaged(found[i], leaf))
        elif leaf.kind == "size":
            cases = {"negative": -1, "huge": 1 << 48, "beyond C": 10**30, "no int": 1.0, "nothing": None, "flag": True}
        elif leaf.kind == "numbers":
            cases = {"more": (*found[i], 0.0), "a list": list(found[i]), **({"less": found[i][1:]} if found[i] else {})}
        else:
            continue
        for case, value in cases.items():
            said = verdict(contract, given(contract, [*found[:i], value, *found[i + 1 :]]))
            assert said is not None, (leaf.name, case)
            assert f"in the kernel {name}: " in said
            if case not in ("another type", "objects", "complex", "other strides"):  # of the first: others differ then
                assert f": {leaf.name}: " in said, case


STILL_RIGHT = {
    ("to_class_major", "weights", 1, 1),  # W then has no b
    ("combine_class_major", "parts", 2, 1),
    ("losses of softmax", "losses", 0, -1),  # one W with six classes, or three with two
    ("losses of softmax", "losses", 0, 1),
}


def axes_of(contract):
    """Of each size: the axes that depend on it, as (leaf, axis)."""
    found = {}
    for i, leaf in enumerate(contract.leaves):
        for axis, choices in enumerate(leaf.shape):
            for size in {size for total in choices for _, *pair in total for size in pair} - {0}:
                found.setdefault(size, set()).add((i, axis))
    return found


@pytest.mark.parametrize("name", CONTRACTS)
def test_wrong_sizes_are_refused(name):
    """An axis is longer or shorter by one than those which must have its size. Some axis of most kernels has such."""
    contract, tried = CONTRACTS[name], 0
    shared = [axes for axes in axes_of(contract).values() if len(axes) > 1]
    for i, axis in set().union(*shared):
        choices = contract.leaves[i].shape[axis]
        for change in (-1, 1):
            found = make(contract)
            shape = [size + change * (k == axis) for k, size in enumerate(found[i].shape)]
            changed = name, contract.leaves[i].name, axis, change
            if len(choices) == 1 and shape[axis] >= 0 and changed not in STILL_RIGHT:
                apart = 0 if contract.leaves[i].layout == "contiguous" else 3
                found[i] = np.zeros((*shape[:-1], shape[-1] + apart), found[i].dtype)[..., : shape[-1]]
                assert verdict(contract, given(contract, found)) is not None, changed
                tried += 1
    assert tried or name in ("prox_stage", "sum_squares", "squares of softmax")


@pytest.mark.parametrize("name", CONTRACTS)
def test_what_is_written_overlaps_nothing(name):
    contract = CONTRACTS[name]
    arrays = [i for i, leaf in enumerate(contract.leaves) if leaf.kind == "array"]
    for i in arrays:
        if not contract.leaves[i].written:
            continue
        for j in arrays:
            found = make(contract)
            if i != j and found[i].dtype == found[j].dtype and found[i].size and found[j].size:
                memory = np.zeros(4000, found[i].dtype)
                for k in (i, j):
                    A = found[k]
                    strides = tuple(stride // A.itemsize for stride in A.strides)
                    found[k] = np.lib.stride_tricks.as_strided(memory, A.shape, [s * A.itemsize for s in strides])
                said = verdict(contract, given(contract, found))
                assert said is not None
                assert "it overlaps" in said


@pytest.mark.parametrize("name", CONTRACTS)
def test_records_have_their_members(name):
    contract = CONTRACTS[name]
    args = given(contract, make(contract))
    assert "expected a tuple of" in verdict(contract, args[:-1])
    assert "expected a tuple of" in verdict(contract, (*args, 0))
    for i, group in enumerate(contract.tree.members):
        if not isinstance(group, int):
            for wrong in (args[i][:-1], (*args[i], 0), list(args[i]), None):
                said = verdict(contract, (*args[:i], wrong, *args[i + 1 :]))
                assert f": {group.name}: found" in said


@pytest.mark.parametrize("condition", ["start + rows <= n", "rows <= block"])
def test_rows_beyond_the_end_are_refused(condition):
    contract = CONTRACTS["uint8_scores"]
    found = make(contract)
    names = [leaf.name for leaf in contract.leaves]
    if "start" in condition:
        found[names.index("start")] = 8
    else:
        found[names.index("row_buffer")] = np.zeros((3, 5))
    assert f"{condition} does not hold for" in verdict(contract, given(contract, found))


def test_an_epoch_takes_no_step_that_has_no_rate():
    contract = CONTRACTS["epoch of softmax"]
    found, names = make(contract), [leaf.name for leaf in contract.leaves]
    found[names.index("last")] = 4  # three steps of one block each
    assert "last <= steps*blocks" in verdict(contract, given(contract, found))


def test_descriptions_are_checked_when_they_are_read():
    with pytest.raises(ValueError, match=r"k: 'real \(n\) wide' describes no argument"):
        Contract("k", {"x": "real (n) wide"}, ())
    with pytest.raises(ValueError, match="k: nothing says how large m is"):
        Contract("k", {"x": "real (n) rows", "y": "real (2*m) rows"}, ())
    if _contract.Guard is not None:
        with pytest.raises(ValueError, match="too large"):
            _contract.Guard(print, Contract("k", {f"x{i}": "any" for i in range(41)}, ()))


@pytest.mark.parametrize("op", ["to_class_major", "adam_update", "dense_scores"])
def test_compiled_kernels_are_behind_the_wall(op, compiled):
    """As the table binds them: nothing is written where W and the weights do not fit together."""
    found = make(CONTRACTS[op])
    written = [A for A, leaf in zip(found, CONTRACTS[op].leaves, strict=True) if leaf.written]
    found[0] = np.ones((2, 40)) if op != "adam_update" else np.ones(3)
    with pytest.raises(ContractError, match=f"internal error of fastlin in the kernel {op}"):
        ops.kernel(op, compiled, "float64")(*given(CONTRACTS[op], found))
    assert all((A == 0).all() for A in written if A is not found[0])


def test_compiled_drivers_are_behind_the_wall(compiled):
    contract = CONTRACTS["loss of logistic"]
    found = make(contract)
    names = [leaf.name for leaf in contract.leaves]
    found[names.index("hyper")] = (1.0,)
    kernel = ops.loss_kernel(ops.LOSSES["logistic"], ops.STORAGES["dense"], compiled)
    with pytest.raises(ContractError, match="hyper: found"):
        kernel(*given(contract, found))
