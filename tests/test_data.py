"""Data sets in the formats that they are distributed in, whole and damaged."""

import functools
import gzip
import io
import pickle
import tarfile
import tracemalloc
from typing import ClassVar

import numpy as np
import pytest

import fastlin as fl
from fastlin import data
from fastlin._files.pickled import read_pickle

ROWS = 4


class Python2Pickler(pickle._Pickler):
    """Writes as cPickle of Python 2 did, with which CIFAR-10 was made: every string is bytes."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_python2_string(self, obj):
        content = obj.encode("latin-1") if isinstance(obj, str) else obj
        short = len(content) < 256
        self.write((b"U" + bytes([len(content)]) if short else b"T" + len(content).to_bytes(4, "little")) + content)
        self.memoize(obj)

    dispatch[bytes] = dispatch[str] = save_python2_string


def as_python2(value):
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")  # its name before NumPy 2


def batches():
    """The contents of each file: images, labels."""
    rng = np.random.default_rng(0)
    return {
        name: (rng.integers(0, 256, (ROWS, 3072)).astype(np.uint8), rng.integers(0, 10, ROWS).tolist())
        for name in data.CIFAR10_FILES
    }


def python_version(order="C"):
    for number, (name, (X, labels)) in enumerate(batches().items()):
        batch = {b"batch_label": b"batch %d of 5" % number, b"labels": labels, b"data": np.array(X, order=order)}
        yield name, as_python2(batch | {b"filenames": [b"a_%d.png" % i for i in range(ROWS)]})


def binary_version():
    for name, (X, labels) in batches().items():
        yield f"{name}.bin", np.column_stack([np.array(labels, np.uint8), X]).tobytes()


def in_folder(files, path):
    path.mkdir()
    for name, content in files:
        (path / name).write_bytes(content)
    return path


def in_archive(files, path):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in reversed(list(files)):  # files may have any order in an archive
            member = tarfile.TarInfo(f"cifar-10-batches/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def python3_version(protocol, text):
    """As Python 3 and today's NumPy would write the same contents, with bytes or text for the keys."""
    for name, (X, labels) in batches().items():
        batch = {b"labels": labels, b"data": X, b"filenames": [b"a.png"] * ROWS, b"batch_label": b"of 5"}
        yield name, pickle.dumps({key.decode() if text else key: batch[key] for key in batch}, protocol)


VERSIONS = {f"protocol {number}": functools.partial(python3_version, number, number % 2) for number in range(2, 6)}
VERSIONS |= {"python": python_version, "fortran": lambda: python_version("F"), "binary": binary_version}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("put", [in_folder, in_archive])
def test_cifar10(version, put, tmp_path):
    found = fl.load_cifar10(put(VERSIONS[version](), tmp_path / "cifar"))
    *fit, (X_test, y_test) = batches().values()
    np.testing.assert_array_equal(found.X, np.concatenate([X for X, _ in fit]))
    np.testing.assert_array_equal(found.y, np.concatenate([y for _, y in fit]))
    np.testing.assert_array_equal(found.X_test, X_test)
    np.testing.assert_array_equal(found.y_test, y_test)
    assert found.X.dtype == np.uint8
    assert found.classes[3] == "cat"
    fl.train(found.X, found.y, epochs=1, x_scale=1 / 255)


def test_pickles_are_those_of_python_2():
    """Checks the test's own writer: its files begin like the real ones, and pickle reads the same values."""
    name, content = next(python_version())
    assert name == "data_batch_1"
    assert content.startswith(b"\x80\x02}q")
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content
    assert pickle.loads(as_python2([b"a", 3]), encoding="bytes") == [b"a", 3]


@pytest.mark.parametrize("version", ["python", "binary"])
def test_a_missing_file_is_named(version, tmp_path):
    folder = in_folder(VERSIONS[version](), tmp_path / "cifar")
    missing = "data_batch_3" + (".bin" if version == "binary" else "")
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{folder} lacks {missing} of CIFAR-10"):
        fl.load_cifar10(folder)
    with pytest.raises(FileNotFoundError, match="lacks data_batch_1, "):
        fl.load_cifar10(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent"):
        fl.load_cifar10(tmp_path / "absent")


def test_a_file_cut_short_is_named_with_its_size(tmp_path):
    folder = in_folder(binary_version(), tmp_path / "binary")
    file = folder / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        ValueError, match=r"data_batch_2\.bin holds 12291 bytes; expected records of 3073 bytes, 30730000"
    ):
        fl.load_cifar10(folder)
    folder = in_folder(python_version(), tmp_path / "python")
    file = folder / "test_batch"
    content = file.read_bytes()
    for length in range(0, len(content), 97):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"test_batch is damaged or not of CIFAR-10 \(\d+ bytes; about 31 MB"):
            fl.load_cifar10(folder)


def test_labels_out_of_range_are_refused(tmp_path):
    folder = in_folder(binary_version(), tmp_path / "cifar")
    content = bytearray((folder / "test_batch.bin").read_bytes())
    content[3073] = 10
    (folder / "test_batch.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"test_batch\.bin is damaged: its labels are not integers in \[0, 10\)"):
        fl.load_cifar10(folder)


@pytest.mark.parametrize("bad", [b"", b"no archive", None])
def test_a_damaged_archive_is_named(bad, tmp_path):
    path = in_archive(binary_version(), tmp_path / "cifar.tar.gz")
    path.write_bytes(path.read_bytes()[:9000] if bad is None else bad)
    with pytest.raises(ValueError, match=r"cifar\.tar\.gz is damaged or no \.tar\.gz"):
        fl.load_cifar10(path)


def test_any_damage_to_an_archive_names_it(tmp_path):
    path = in_archive(binary_version(), tmp_path / "cifar.tar.gz")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            fl.load_cifar10(path)
        except (ValueError, FileNotFoundError) as error:
            assert str(path) in str(error)  # noqa: PT017  (unharmed is right too)


def test_a_hostile_pickle_runs_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    folder = in_folder(python_version(), tmp_path / "cifar")
    hostile = (
        pickle.dumps(Bomb()),
        pickle.dumps(Bomb(), 2),
        b'cbuiltins\neval\n(X\x11\0\0\0open("ran", "w")  tR.',
        b"cnumpy\nload\n(K\x01tR.",
        b"cnumpy\nndarray.tofile\n.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"c__builtin__\nlist\n.",
    )
    for content in hostile:
        (folder / "data_batch_1").write_bytes(content)
        with pytest.raises(ValueError, match=r"data_batch_1 is damaged or not of CIFAR-10 .*it asks for") as caught:
            fl.load_cifar10(folder)
        assert caught.value.__cause__ is not None
    assert not (tmp_path / "ran").exists()


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R"
BYTES = b"cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"


def array(shape, content, dtype=BYTES):
    return ARRAY + b"(K\x01" + shape + dtype + b"\x89T" + len(content).to_bytes(4, "little") + content + b"tb"


def encoded(times):
    """A text that the memo gives again and again, each time to be encoded."""
    text = b"X\xa0\x86\1\0" + b"a" * 100_000
    return b"]" + text + b"q\0ac_codecs\nencode\nq\1a" + b"h\1h\0X\6\0\0\0latin1\x86Ra" * times + b"."


def one_image(shape=b"K\1M\0\x0c\x86", dtype=BYTES, labels=b"K\7", size=3072):
    """A file of one image."""
    return b"}(U\4data" + array(shape, bytes(range(256)) * (size // 256), dtype) + b"U\6labels](" + labels + b"eu."


HOSTILE = {
    "a large place in the memo": b"Nr\xff\xff\xff\x0f.",
    "a place that is not in the memo": b"j\xff\xff\xff\x0f.",
    "nested tuples for a key": b"}" + b")" + b"\x85" * 190_000 + b"Ns.",
    "nested tuples": b")" + b"\x85" * 1_000_000 + b".",
    "nested lists": b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "a list in itself": b"]q\0h\0a.",
    "marks": b"(" * 1_000_000 + b"t" * 1_000_000 + b".",
    "many bytes": b"T\xff\xff\xff\x7f.",
    "more bytes": b"\x8e" + b"\xff" * 8 + b".",
    "a text that is none": b"X\2\0\0\0\xff\xff.",
    "a mark that is not there": b"Nt.",
    "a value that is not there": b"(K\1a.",
    "nothing": b".",
    "no end": b"}",
    "an opcode of protocol 0": b"I1\n.",
    "a large integer": b"\x8b\xff\xff\xff\x7f.",
    "an instance": b"(i__builtin__\nlist\n.",
    "a persistent object": b"N\x51.",
    "an extension": b"\x82\1.",
    "a call of nothing": b"N)R.",
    "a call without arguments": b"cnumpy\ndtype\nNR.",
    "an array of too many arguments": ARRAY[:-2] + b"\x86K\1\x86R.",
    "an array whose state is none": ARRAY + b"Nb.",
    "the state of a list": b"]}b.",
    "other numbers": one_image(dtype=BYTES.replace(b"u1", b"i1")),
    "objects": one_image(dtype=BYTES.replace(b"u1", b"O8")),
    "an order of bytes": one_image(dtype=BYTES.replace(b"|", b"<")),
    "a dtype that is none": one_image(dtype=b"N"),
    "a shape that is too large": one_image(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
    "a negative shape": one_image(b"J\xff\xff\xff\xffM\0\x0c\x86"),
    "a shape of many": one_image(b"(" + b"J\xff\xff\xff\x7f" * 100_000 + b"t"),
    "a shape of booleans": one_image(b"\x88M\0\x0c\x86"),
    "an array of another width": one_image(b"K\2M\0\6\x86"),
    "an array of one dimension": one_image(b"M\0\x0c\x85"),
    "an ndarray called": b"cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.",
    "another encoding": b"c_codecs\nencode\nX\1\0\0\0aX\5\0\0\0idna!\x86R.",
    "encoding again": encoded(10_000),
    "no dict": b"].",
    "a dict of nothing": b"}.",
    "a key that is a number": b"}K\1K\1s.",
    "a key without a value": b"}(Nu.",
    "no array": b"}(U\4dataNU\6labels]u.",
    "no labels": b"}U\4data" + array(b"K\1M\0\x0c\x86", bytes(3072)) + b"s.",
    "labels of text": one_image(labels=b"U\1a"),
    "labels of booleans": one_image(labels=b"\x88"),
    "a label too many": one_image(labels=b"K\1K\2"),
    "a label of ten": one_image(labels=b"K\x0a"),
    "a negative label": one_image(labels=b"J\xff\xff\xff\xff"),
}


def test_the_pieces_of_the_hostile_pickles_are_right():
    """Put together well they are a file; so what is refused is refused for what its name says."""
    X, y = data._cifar10_pickle("file", one_image())
    assert X.tobytes() == bytes(range(256)) * 12
    assert y.tolist() == [7]
    assert len(read_pickle(encoded(1))) == 3
    assert pickle.loads(encoded(1), encoding="bytes")[2] == b"a" * 100_000


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles(name):
    """One kind of error, and memory of the size of the file."""
    content = HOSTILE[name]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"file is damaged or not of CIFAR-10 \(\d+ bytes; "):
            data._cifar10_pickle("file", content)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
        if len(content) < 10_000:
            assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_any_damage_is_an_error_or_other_pixels():
    """A changed byte raises no exception of another kind, and asks for no memory."""
    rng = np.random.default_rng(0)
    for version in VERSIONS.values():
        name, content = next(version())
        if name.endswith(".bin"):
            continue
        pixels = max(range(0, len(content), 97), key=lambda i: len(set(content[i : i + 400])))
        frame = [i for i in range(len(content)) if i < 300 or i > len(content) - 300 or abs(i - pixels) < 20]
        tracemalloc.start()
        for _ in range(400):
            damaged = bytearray(content)
            damaged[rng.choice(frame)] = rng.integers(256)
            try:
                X, y = data._cifar10_pickle("file", bytes(damaged))
            except ValueError as error:
                assert "file is damaged" in str(error)  # noqa: PT017  (either outcome is right)
            else:
                assert X.shape == (len(y), 3072)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(content)
        tracemalloc.stop()


@pytest.mark.parametrize("limit", ["MOST_FILE", "MOST_ARCHIVE"])
def test_files_larger_than_cifar10s_are_refused(limit, tmp_path, monkeypatch):
    archive = in_archive(binary_version(), tmp_path / "cifar.tar.gz")
    folder = in_folder(binary_version(), tmp_path / "cifar")
    fl.load_cifar10(archive)
    monkeypatch.setattr(data, limit, ROWS * data.RECORD - 1)
    with pytest.raises(ValueError, match=r"cifar\.tar\.gz is damaged or no \.tar\.gz: it"):
        fl.load_cifar10(archive)
    if limit == "MOST_FILE":
        with pytest.raises(ValueError, match=r"data_batch_1\.bin has more than \d+ bytes"):
            fl.load_cifar10(folder)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_an_archive_that_says_it_is_large(kind, tmp_path):
    """tarfile would read an extended header of this size whole."""
    member = tarfile.TarInfo("cifar-10-batches/data_batch_1")
    member.size, member.type = 10**10, kind
    with gzip.open(tmp_path / "cifar.tar.gz", "wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT) + bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"cifar\.tar\.gz is damaged or no \.tar\.gz"):
            fl.load_cifar10(tmp_path / "cifar.tar.gz")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "how", [{"format": kind} for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_archives_of_every_format(how, mode, tmp_path):
    """Folders, extended headers, and a plain .tar, as when somebody packs the files again."""
    folder = in_folder(binary_version(), tmp_path / "cifar-10-batches-bin")
    (folder / "readme.html").write_text("read me")
    with tarfile.open(tmp_path / "cifar.tar.gz", mode, **how) as archive:
        archive.add(folder, folder.name)
    found, expected = fl.load_cifar10(tmp_path / "cifar.tar.gz"), fl.load_cifar10(folder)
    np.testing.assert_array_equal(found.X, expected.X)
    np.testing.assert_array_equal(found.y_test, expected.y_test)


def test_an_archive_of_which_something_is_wrong(tmp_path):
    """The checksums of a header and of the whole, and members that are no files."""
    path = in_archive(binary_version(), tmp_path / "cifar.tar.gz")
    content = path.read_bytes()
    for at in (-8, -1):  # gzip's checksum and size stand at the end, after all that a .tar needs
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[len(content) + at + 1 :])
        with pytest.raises(ValueError, match=r"cifar\.tar\.gz is damaged or no \.tar\.gz"):
            fl.load_cifar10(path)
    tar = bytearray(gzip.decompress(content))
    link = tarfile.TarInfo("cifar-10-batches/data_batch_1.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path.write_bytes(link.tobuf(tarfile.USTAR_FORMAT) + tar)
    assert len(fl.load_cifar10(path).X) == 5 * ROWS
    path.write_bytes(tar[:-10240] + link.tobuf(tarfile.USTAR_FORMAT) + bytes(10240))
    assert len(fl.load_cifar10(path).X) == 5 * ROWS
    tar[3] ^= 1
    path.write_bytes(tar)
    with pytest.raises(ValueError, match="a header in it is damaged: its checksum differs"):
        fl.load_cifar10(path)


def test_digits():
    pytest.importorskip("sklearn")
    found = fl.load_digits()
    assert found.X.shape == (1438, 64)
    assert found.X_test.shape == (359, 64)
    assert found.X.min() == 0
    assert found.X.max() == 1
    assert found.image == (8, 8)
    again = fl.load_digits()
    assert again.X.tobytes() == found.X.tobytes()


# ---- Arrays of your own ----------------------------------------------------------------------------------


def test_npz(tmp_path):
    X, y = np.arange(12.0).reshape(4, 3), np.array([0, 1, 2, 1])
    np.savez(tmp_path / "a.npz", X=X, y=y)
    found = fl.load_arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.X, X)
    np.testing.assert_array_equal(found.y, y)
    assert found.X_test is None
    np.savez(tmp_path / "b.npz", X=X, y=y, X_test=X[:2], y_test=y[:2])
    found = fl.load_arrays(tmp_path / "b.npz")
    np.testing.assert_array_equal(found.y_test, y[:2])


def test_npy_pair_is_mapped_into_memory(tmp_path):
    X, y = np.arange(12.0).reshape(4, 3), np.array([0, 1, 2, 1])
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    found = fl.load_arrays(tmp_path / "X.npy", tmp_path / "y.npy")
    assert isinstance(found.X, np.memmap)
    np.testing.assert_array_equal(found.X, X)
    np.testing.assert_array_equal(found.y, y)


def test_bad_arrays(tmp_path):
    X, y = np.ones((4, 3)), np.zeros(4, int)
    stored = {
        "lacks": {"X": X},
        "half": {"X": X, "y": y, "X_test": X},
        "rows": {"X": X, "y": y[:3]},
        "flat": {"X": y, "y": y},
        "objects": {"X": X, "y": np.array([{}] * 4, object)},
    }
    messages = {
        "lacks": "lacks.npz has no array y; found X",
        "half": "half.npz has no array y_test; found X, y, X_test",
        "rows": r"rows.npz: expected X \(n, d\) and .* targets \(n,\), \(n, k\); found shapes \(4, 3\) and \(3,\)",
        "flat": r"flat.npz: expected X \(n, d\)",
        "objects": "objects.npz is damaged or holds no plain arrays",
    }
    for name, message in messages.items():
        np.savez(tmp_path / f"{name}.npz", **stored[name])
        with pytest.raises(ValueError, match=message):
            fl.load_arrays(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        fl.load_arrays(tmp_path / "absent.npz")
    np.save(tmp_path / "X.npy", X)
    with pytest.raises(ValueError, match=r"X\.npy holds one array, without labels"):
        fl.load_arrays(tmp_path / "X.npy")
    with pytest.raises(ValueError, match=r"must be \.npy files of one array each"):
        fl.load_arrays(tmp_path / "lacks.npz", tmp_path / "X.npy")
    for name in ("X.npy", "rows.npz"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            fl.load_arrays(tmp_path / name, *([tmp_path / name] if name == "X.npy" else []))
