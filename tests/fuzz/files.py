"""Files that are damaged, and files that were made to do harm."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import fastlin as fl
from fastlin import data

from .specs import Builder

ROWS = 3


@dataclass(frozen=True)
class Damaged:
    """A good file of a kind with a few random edits; `inside` edits what is packed in it, and packs it well."""

    kind: str
    seed: int
    edits: int = 1
    inside: bool = False

    def build(self, builder: Builder) -> Path:
        """Its path, or that of the folder."""
        rng = np.random.default_rng([self.seed, self.edits])
        content = good(self.kind)
        if isinstance(content, dict):
            which = sorted(content)[rng.integers(len(content))]
            content = content | {which: edited(rng, content[which], self.edits)}
        elif self.inside:
            content = _repacked(self.kind, content, lambda member: edited(rng, member, self.edits))
        else:
            content = edited(rng, content, self.edits)
        return write(builder.folder() / self.kind, content)


@dataclass(frozen=True)
class Hostile:
    """A file of HOSTILE."""

    kind: str  # the name that the file gets
    what: str
    seed: int = 0

    def build(self, builder: Builder) -> Path:
        """Its path, or that of the folder."""
        content = HOSTILE[self.what](np.random.default_rng(self.seed))
        if self.kind == "folder":
            content = good("folder") | {"data_batch_2": content}
        return write(builder.folder() / self.kind, content)


@dataclass(frozen=True)
class Good:
    """A good file of a kind."""

    kind: str

    def build(self, builder: Builder) -> Path:
        """Its path."""
        return write(builder.folder() / self.kind, good(self.kind))


def write(path: Path, content: Any) -> Path:
    """A file, or a folder of files."""
    if isinstance(content, dict):
        path.mkdir(exist_ok=True)
        for name, inner in content.items():
            (path / name).write_bytes(inner)
        return path
    path.write_bytes(content)
    return path


# ---- Good files --------------------------------------------------------------------------------------------------


class _Python2Pickler(pickle._Pickler):
    """Writes strings as cPickle of Python 2 did, with which CIFAR-10 was made."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def _save_string(self, obj: Any) -> None:
        content = obj.encode("latin-1") if isinstance(obj, str) else obj
        short = len(content) < 256
        self.write((b"U" + bytes([len(content)]) if short else b"T" + struct.pack("<I", len(content))) + content)
        self.memoize(obj)

    dispatch[bytes] = dispatch[str] = _save_string


def as_python2(value: Any) -> bytes:
    """A pickle as CIFAR-10's are."""
    file = io.BytesIO()
    _Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def problem() -> dict[str, Any]:
    """What the checkpoint was made with."""
    rng = np.random.default_rng(3)
    return {"X": rng.standard_normal((12, 4)), "y": np.arange(12) % 3, "batch_size": 5, "patience": 2, "average": 0.5}


@cache
def good(kind: str) -> Any:
    """The bytes of a good file, or those of each file of a folder."""
    rng = np.random.default_rng(1)
    if kind in ("folder", "cifar.tar.gz", "binary"):
        return _cifar(kind, rng)
    X, y = rng.standard_normal((ROWS, 2)), np.arange(ROWS) % 2
    if kind in ("X.npy", "y.npy"):
        return _npy(X if kind == "X.npy" else y)
    if kind == "data.npz":
        return _zip({"X": X, "y": y, "X_test": X[:1], "y_test": y[:1]})
    return _saved(kind)


def _saved(kind: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind
        if kind.startswith("weights"):
            fl.TrainResult(np.eye(3, 2), True, x_scale=np.ones(2)).save(path)
        else:
            fl.train(**problem(), optimizer=fl.Adam(0.1), epochs=2, checkpoint=path)
        return path.read_bytes()


def _cifar(kind: str, rng: Any) -> Any:
    files = {}
    for name in data.CIFAR10_FILES:
        X, labels = rng.integers(0, 256, (ROWS, data.PIXELS)).astype(np.uint8), rng.integers(0, 10, ROWS).tolist()
        if kind == "binary":
            files[f"{name}.bin"] = np.column_stack([np.array(labels, np.uint8), X]).tobytes()
        else:
            files[name] = as_python2({b"batch_label": b"batch", b"labels": labels, b"data": X})
    return _tar(files) if kind == "cifar.tar.gz" else files


def _tar(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(file.getvalue(), 1, mtime=0)


def _npy(A: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, A)
    return file.getvalue()


def _zip(members: dict[str, Any], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, member in members.items():
            archive.writestr(f"{name}.npy", member if isinstance(member, bytes) else _npy(member))
    return file.getvalue()


# ---- Damage ------------------------------------------------------------------------------------------------------


def edited(rng: Any, content: bytes, edits: int) -> bytes:
    """Bytes flipped, cut out, put in, repeated or zeroed, mostly near the ends, where headers are."""
    found = bytearray(content)
    for _ in range(edits):
        size = len(found)
        if not size:
            return b""
        at = int(
            rng.choice([rng.integers(size), min(rng.integers(300), size - 1), max(0, size - 1 - rng.integers(300))])
        )
        length = int(rng.choice([1, 1, 4, 30, size]))
        kind = rng.integers(7)
        if kind == 0:
            found[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            found[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, ord("("), ord("9"), ord("-")]))
        elif kind == 2:
            del found[at : at + length]
        elif kind == 3:
            found[at:at] = bytes(rng.integers(0, 256, min(length, 1000)).astype(np.uint8))
        elif kind == 4:
            found[at:at] = found[at : at + length]
        elif kind == 5:
            found[at : at + length] = bytes(len(found[at : at + length]))
        else:
            found[at : at + 4] = struct.pack("<I", int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])))
    return bytes(found)


def _repacked(kind: str, content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with one change in one member, or the header of a .safetensors file changed."""
    if kind.endswith(".npz"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
        which = sorted(members, key=lambda name: (name != "facts", name))[len(content) % min(2, len(members))]
        return _zip(members | {which: change(members[which])})
    if kind.endswith(".gz"):
        return gzip.compress(change(gzip.decompress(content)), 1, mtime=0)
    if kind.endswith(".safetensors"):
        size = struct.unpack("<Q", content[:8])[0]
        header = change(content[8 : 8 + size])
        return struct.pack("<Q", len(header)) + header + content[8 + size :]
    return change(content)


# ---- Harm --------------------------------------------------------------------------------------------------------


def _pickled(middle: bytes) -> bytes:
    """A pickle of a dict with data and labels, with these opcodes as another value."""
    return b"\x80\x02}(U\x04data" + middle + b"U\x06labels]u."


def _nested_pickle(rng: Any) -> bytes:
    """A tuple in a tuple, and so on, as a key: its hash recurses in C."""
    depth = int(rng.choice([100, 5_000, 200_000, 1_000_000]))
    return b"\x80\x02})" + b"\x85" * depth + b"Ns."


def _random_pickle(rng: Any) -> bytes:
    """Opcodes in any order, with arguments at their limits."""
    sizes = [0, 1, 255, 2**16, 2**31 - 1, 2**32 - 1]
    simple = [
        b"(",
        b")",
        b"]",
        b"}",
        b"N",
        b"\x88",
        b"\x89",
        b"0",
        b"1",
        b"2",
        b"a",
        b"e",
        b"s",
        b"u",
        b"t",
        b"l",
        b"d",
    ]
    simple += [
        b"\x85",
        b"\x86",
        b"\x87",
        b"b",
        b"R",
        b"\x81",
        b"\x93",
        b"\x94",
        b"\x8f",
        b"\x90",
        b"\x91",
        b"\x92",
        b"o",
        b"Q",
    ]
    made = []
    for _ in range(int(rng.integers(1, 60))):
        kind = rng.integers(12)
        size = int(rng.choice(sizes))
        if kind < 6:
            made.append(simple[rng.integers(len(simple))])
        elif kind == 6:
            made.append(
                bytes(rng.choice([ord("r"), ord("j"), ord("B"), ord("X"), ord("T"), 0x8B], 1).astype(np.uint8))
                + struct.pack("<I", size)
            )
        elif kind == 7:
            made.append(b"K" + bytes([size % 256]))
        elif kind == 8:
            made.append(b"cnumpy\nndarray\n" if rng.integers(2) else b"cnumpy.core.multiarray\n_reconstruct\n")
        elif kind == 9:
            made.append(b"cnumpy\ndtype\nU\x02u1\x85R")
        elif kind == 10:
            made.append(
                [
                    b"cos\nsystem\n",
                    b"cbuiltins\neval\n",
                    b"i__main__\nx\n",
                    b"P1\n",
                    b"\x82\x01",
                    b"I99999\n",
                    b"L9L\n",
                ][rng.integers(7)]
            )
        else:
            made.append(b"q" + bytes([size % 256]) if rng.integers(2) else b"h" + bytes([size % 256]))
    return b"\x80\x02" + b"".join(made) + b"."


def _laughs(rng: Any) -> bytes:
    """A tuple of two tuples of two tuples ...: small, but 2^n when hashed or printed."""
    levels = int(rng.choice([10, 26, 60]))
    return b"\x80\x02})" + b"2\x86" * levels + b"Ns."


def _array_pickle(rng: Any) -> bytes:
    """Data whose shape, type or content are not those of images."""
    X = np.zeros((2, data.PIXELS), np.uint8)
    kinds: list[Any] = [
        X[:, :5],
        X.astype(np.int64),
        np.zeros(3),
        np.array(["a"]),
        X[0],
        [1, 2],
        None,
        b"abc",
        3,
        {b"a": X},
    ]
    return as_python2({b"data": kinds[rng.integers(len(kinds))], b"labels": [1, 2]})


def _labels_pickle(rng: Any) -> bytes:
    X = np.zeros((2, data.PIXELS), np.uint8)
    kinds: list[Any] = [
        [1],
        [1, 10],
        [1, -1],
        [],
        None,
        b"ab",
        [[1], [2]],
        [1.5, 2.0],
        [None, 1],
        [2**70, 1],
        ["a", "b"],
        {1: 2, 3: 4},
    ]
    return as_python2({b"data": X, b"labels": kinds[rng.integers(len(kinds))]})


def _header(rng: Any, text: str | None = None, content: bytes = b"\0" * 64) -> bytes:
    """An .npy with a header of one's own."""
    shapes = [
        "(10000000000000,)",
        "(-1,)",
        "(2, -3)",
        "(1.5,)",
        "('a',)",
        "(True, 3)",
        "[2]",
        "2",
        "(2**9,)",
        "()" + " " * 99,
    ]
    kinds = [
        "'<f8'",
        "'|O'",
        "[('a', '<f8'), ('b', '|O')]",
        "'<M8[s]'",
        "'<U999999999'",
        "'V0'",
        "None",
        "3",
        "'<f16'",
        "'>c8'",
    ]
    if text is None:
        shape, kind = shapes[rng.integers(len(shapes))], kinds[rng.integers(len(kinds))]
        text = f"{{'descr': {kind}, 'fortran_order': {rng.choice(['False', 'True', '0', 'None'])}, 'shape': {shape}, }}"
    raw = text.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", min(len(raw), 65535)) + raw + content


def _odd_header(rng: Any) -> bytes:
    texts = [
        "(" * 3000,
        "{" * 500 + "}" * 500,
        "'" * 9,
        "",
        "\0" * 9,
        "{'descr': '<f8'}",
        "9" * 5000,
        "1e999999999",
        "{1: 2, **{}}",
        "'\\",
        "'a' 'b\n'",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1, " * 70 + ")}",
        "9**9**9**9",
        "-" * 9999 + "1",
    ]
    return _header(rng, texts[rng.integers(len(texts))])


def _in_data(member: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """An .npz with such a member as X, or beside X and y, where nobody asks for it."""

    def make(rng: Any) -> bytes:
        members: dict[str, Any] = {"X": np.zeros((ROWS, 2)), "y": np.arange(ROWS)}
        return _zip({**members, ["X", "y", "X_test"][rng.integers(3)]: member(rng)})

    return make


def _bomb(rng: Any) -> bytes:
    """An entry of a gigabyte of zeros beside or in the place of X."""
    file = io.BytesIO()
    shape = "(125000000,)"
    head = _header(rng, f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}", b"")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("y.npy", _npy(np.arange(ROWS)))
        archive.writestr("facts.npy", _npy(np.array("{}")))
        with archive.open("unasked.npy" if rng.integers(2) else "X.npy", "w", force_zip64=True) as member:
            member.write(head)
            block = bytes(1 << 20)
            for _ in range(300):  # cut short: 300 MB of the gigabyte that the header names
                member.write(block)
    return file.getvalue()


def _facts(rng: Any) -> bytes:
    """Weights whose facts are no facts."""
    texts = [
        "[" * 100_000,
        "{}",
        "[]",
        "null",
        "{" * 9,
        "\0",
        '{"bias": 7}',
        '{"bias": "yes", "loss": "softmax"}',
        '{"bias": true, "loss": ["a"]}',
        '{"bias": true, "loss": "nothing like it"}',
        '{"bias": true, "loss": {}}',
        '{"bias": null, "W": 3}',
        "9" * 10_000,
        '"abc"',
        '{"bias": true, "W": [[1, 2], [3]]}',
        '{"bias": true, "x_scale": "abc"}',
        '{"bias": true, "loss": null}',
        '{"bias": 1e400}',
    ]
    arrays: dict[str, Any] = {"facts": np.array(texts[rng.integers(len(texts))])}
    wrong = [
        np.eye(3, 2),
        np.zeros(3),
        np.zeros((2, 0)),
        np.eye(3).astype(complex),
        np.eye(2, dtype=np.int8),
        np.array("abc"),
        np.zeros((2, 2), "f2"),
        np.zeros((1, 2, 2)),
        np.zeros((2, 2), "M8[s]"),
    ]
    return _zip({"W": wrong[rng.integers(len(wrong))], **arrays})


def _not_bytes(rng: Any) -> bytes:
    return bytes(rng.integers(0, 256, int(rng.choice([0, 1, 7, 8, 9, 100, 5000]))).astype(np.uint8))


def _safetensors(rng: Any) -> bytes:
    """Headers that are too long, nested, or that describe tensors which are not there."""
    facts = json.dumps({"bias": True, "loss": "softmax"})
    headers: list[Any] = [
        {"W": {"dtype": "F64", "shape": [2, 2], "data_offsets": [0, 320]}},
        {"W": {"dtype": "F64", "shape": [2**62, 4], "data_offsets": [0, 32]}},
        {"W": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}},
        {"W": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 4]}},
        {"W": {"dtype": "X9", "shape": [2, 2], "data_offsets": [0, 32]}},
        {"W": {"dtype": "F64", "shape": [-2, -2], "data_offsets": [0, 32]}},
        {"W": {"dtype": "BOOL", "shape": [2, 2], "data_offsets": [0, 4]}, "__metadata__": {"facts": facts}},
        {"__metadata__": {"facts": facts}},
        {"__metadata__": {"facts": "[" * 100_000}},
        {},
        [],
        None,
    ]
    raw = json.dumps(headers[rng.integers(len(headers))]).encode()
    size = [len(raw), len(raw), len(raw), len(raw) + 5, 2**40, 2**63, 2**64 - 1][rng.integers(7)]
    return struct.pack("<Q", size) + raw + bytes(int(rng.choice([0, 4, 8, 32])))


HOSTILE: dict[str, Callable[[Any], bytes]] = {
    "pickle: nested": _nested_pickle,
    "pickle: memo": lambda rng: (
        b"\x80\x02Nr" + struct.pack("<I", int(rng.choice([2**20, 2**29, 2**31 - 1, 2**32 - 1]))) + b"."
    ),
    "pickle: long strings": lambda rng: (
        b"\x80\x02" + bytes(rng.choice([0x42, 0x58, 0x54], 1).astype(np.uint8)) + struct.pack("<I", 2**32 - 1) + b"abc."
    ),
    "pickle: long number": lambda rng: (
        b"\x80\x02\x8b" + struct.pack("<I", int(rng.choice([2**31 - 1, 2**20]))) + b"\x7f" * 9 + b"."
    ),
    "pickle: frame": lambda rng: b"\x80\x04\x95" + struct.pack("<Q", int(rng.choice([2**40, 2**62]))) + b"N.",
    "pickle: laughs": _laughs,
    "pickle: opcodes": _random_pickle,
    "pickle: data": _array_pickle,
    "pickle: labels": _labels_pickle,
    "pickle: value": lambda rng: _pickled(_random_pickle(rng)[2:-1]),
    "noise": _not_bytes,
    "npy: header": _header,
    "npy: odd header": _odd_header,
    "npz: header": _in_data(_header),
    "npz: odd header": _in_data(_odd_header),
    "npz: noise": _in_data(_not_bytes),
    "npz: bomb": _bomb,
    "npz: facts": _facts,
    "safetensors": _safetensors,
    "tar: not files": lambda rng: gzip.compress(_not_bytes(rng) + bytes(20_000)),
}
