"""Files are whole at every moment, whoever writes, reads or dies; and a file may hold anything without harm."""

import contextlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastlin as fl
from fastlin._files import store
from fastlin._files.npz import npy_header, read_numbers

posix = pytest.mark.skipif(os.name == "nt", reason="links, modes and signals of POSIX")


@pytest.fixture(params=["npz", "safetensors"])
def path(request, tmp_path):
    if request.param == "safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"state.{request.param}"


def run(script, *arguments):
    """A Python program in a process of its own."""
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script), *arguments], check=False, timeout=100)


# ---- What is kept ------------------------------------------------------------------------------------------


def test_values_survive(path):
    values = {
        "text": "naïve",
        "flag": True,
        "none": None,
        "number": 0.1 + 0.2,
        "nan": float("nan"),
        "big": 2**100,
        "numpy": np.float32(0.1),
        "list": [1, 2],
        "F": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "bytes": np.arange(3, dtype=np.uint8),
        "zero-d": np.array(1.5),
    }
    store.save(path, values)
    found = store.load(path)
    assert found.keys() == values.keys()
    assert repr(found["nan"]) == "nan"
    for name in set(values) - {"nan"}:
        np.testing.assert_array_equal(found[name], values[name])
        assert np.asarray(found[name]).shape == np.asarray(values[name]).shape


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    store.save(path, {"epoch": 1})

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        store.save(path, {"epoch": 2})
    assert store.load(path) == {"epoch": 1}
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(os.name == "nt", reason="Windows does not replace an open file")
def test_a_reader_during_a_write_has_the_whole_old_file(path):
    store.save(path, {"epoch": 1})
    content = path.read_bytes()
    with path.open("rb") as reader:
        store.save(path, {"epoch": 2})
        assert reader.read() == content


def test_a_damaged_file_is_named(path):
    store.save(path, {"epoch": 1, "W": np.arange(40.0)})
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is damaged or was not written by fastlin"):
            store.load(path)


@pytest.mark.slow
def test_any_damage_is_a_value_error_or_other_numbers(path):
    store.save(path, {"epoch": 1, "W": np.arange(40.0)})
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            store.load(path)


def test_no_pickle_is_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path(tmp_path / "ran").touch, ()

    np.savez(tmp_path / "state.npz", facts=np.array("{}"), W=np.array([Bomb()], object))
    with pytest.raises(ValueError, match="is damaged or was not written by fastlin"):
        store.load(tmp_path / "state.npz")
    assert not (tmp_path / "ran").exists()


def test_big_endian_and_fortran_arrays_survive(path):
    A = np.asfortranarray(np.arange(6.0).reshape(2, 3)).astype(">f8")
    store.save(path, {"A": A})
    np.testing.assert_array_equal(store.load(path)["A"], A)


@pytest.mark.parametrize("bad", [np.array([{}], object), np.array([(1, 2.0)], "i4,f8"), np.array(["2026"], "M8[s]")])
def test_what_would_need_pickle_is_refused(bad, path):
    store.save(path, {"epoch": 1})
    with pytest.raises(TypeError, match=r"W holds .*, which is neither numbers nor text, and cannot be saved"):
        store.save(path, {"W": bad})
    with pytest.raises(TypeError, match=r"\{1\} can be written neither as an array nor as JSON"):
        store.save(path, {"W": {1}})
    assert store.load(path) == {"epoch": 1}
    assert os.listdir(path.parent) == [path.name]


def test_text_in_safetensors_is_refused(tmp_path):
    pytest.importorskip("safetensors")
    with pytest.raises(TypeError, match=r"a \.safetensors file cannot hold this"):
        store.save(tmp_path / "a.safetensors", {"W": np.array(["a"])})
    assert os.listdir(tmp_path) == []


def test_arrays_may_have_any_name_but_one(path):
    names = ["file", "allow_pickle", "a/b", "ü", "W.npy"]
    store.save(path, {name: np.arange(3) for name in names} | {"self": 1})
    assert store.load(path).keys() == {*names, "self"}
    with pytest.raises(ValueError, match="no array may be called 'facts'"):
        store.save(path, {"facts": np.arange(3)})


# ---- Whole files -------------------------------------------------------------------------------------------


def test_somebodys_files_are_left_alone(path):
    for name in (f"{path.name}.tmp", f"{path.name}.part"):
        path.with_name(name).write_text("mine")
    store.save(path, {"epoch": 1})
    assert path.with_name(f"{path.name}.tmp").read_text() == path.with_name(f"{path.name}.part").read_text() == "mine"
    assert len(os.listdir(path.parent)) == 3


@posix
def test_a_link_stays_a_link(path, tmp_path):
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / path.name
    path.symlink_to(target)
    for epoch in (1, 2):  # at first the link dangles
        store.save(path, {"epoch": epoch})
        assert path.is_symlink()
        assert not target.is_symlink()
        assert store.load(target) == {"epoch": epoch}
    assert os.listdir(tmp_path / "there") == [path.name]


@posix
@pytest.mark.parametrize(("umask", "new"), [(0o022, 0o644), (0o077, 0o600)])
def test_modes(umask, new, path):
    before = os.umask(umask)
    try:
        store.save(path, {"epoch": 1})
        assert stat.S_IMODE(path.stat().st_mode) == new
        for mode in (0o600, 0o666, 0o640):
            path.chmod(mode)
            store.save(path, {"epoch": 2})
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)


@posix
def test_what_is_no_file_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    with store.replacing(tmp_path / "pipe") as file:
        file.write(b"rows")
    reader.join(30)
    assert found == [b"rows"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), store.replacing(tmp_path / "folder"):
        pass


def test_the_longest_name(tmp_path):
    for name in ("a" * 255, "ü" * 127):
        with store.replacing(tmp_path / name) as file:
            file.write(b"whole")
        assert (tmp_path / name).read_bytes() == b"whole"


FULL = """
    import resource, sys
    import numpy as np
    from fastlin._files import store

    store.save(sys.argv[1], {"epoch": 1})
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
    try:
        store.save(sys.argv[1], {"epoch": 2, "W": np.zeros(100_000)})
    except OSError:
        sys.exit(42)
"""


@posix
@pytest.mark.parametrize("room", [0, 100, 4096, 799_000])
def test_a_full_disk_leaves_the_old_file(room, path):
    assert run(FULL, path, str(room)).returncode == 42
    assert store.load(path) == {"epoch": 1}
    assert os.listdir(path.parent) == [path.name]


KILLED = """
    import os, signal, sys
    import numpy as np
    from fastlin._files import store

    path, moment = sys.argv[1:]
    store.save(path, {"epoch": 1, "W": np.full(1000, 1.0)})
    writer = "_write_" + path.rpartition(".")[2]
    owner, name = {"opened": (store.Path, "open"), "written": (store, writer), "synchronised": (os, "fsync"),
                   "replacing": (store.Path, "replace"), "replaced": (store, "_sync_folder")}[moment]
    function = getattr(owner, name)

    def kill(*arguments, **how):
        if moment not in ("replacing", "replaced"):  # these two are killed before they begin
            function(*arguments, **how)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, kill)
    store.save(path, {"epoch": 2, "W": np.full(1000, 2.0)})
"""


@posix
@pytest.mark.parametrize("moment", ["opened", "written", "synchronised", "replacing", "replaced"])
def test_killed_at_a_moment(moment, path):
    assert run(KILLED, path, moment).returncode == -signal.SIGKILL
    found = store.load(path)
    assert found["epoch"] == (2 if moment == "replaced" else 1)
    assert set(found["W"]) == {found["epoch"]}
    left = [name for name in os.listdir(path.parent) if name != path.name]
    assert len(left) == (moment != "replaced")
    assert all(
        name.startswith(f"{path.name}.") and name.endswith(".part") for name in left
    )  # a person sees whose it is
    store.save(path, {"epoch": 3})  # nothing is in the way
    assert store.load(path) == {"epoch": 3}


WRITER = """
    import itertools, sys
    import numpy as np
    from fastlin._files import store

    path, times = sys.argv[1:]
    for number in itertools.count(1) if times == "endless" else range(int(times)):
        store.save(path, {"epoch": number, "W": np.full(20_000, float(number))})
        print(number, flush=True)
"""


@posix
def test_killed_at_any_moment(path):
    rng = np.random.default_rng(0)
    for _ in range(4):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), path, "endless"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            for _ in range(rng.integers(1, 30)):
                said = int(writer.stdout.readline())
            writer.kill()
        found = store.load(path)
        assert found["epoch"] >= said
        assert set(found["W"]) == {found["epoch"]}


@posix
def test_two_writers_and_a_reader(path):
    """Every read finds a whole file, though two processes replace it all the time, and no save fails."""
    store.save(path, {"epoch": 0, "W": np.zeros(20_000)})
    command = [sys.executable, "-c", textwrap.dedent(WRITER), path, "150"]
    writers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        found = store.load(path)
        assert set(found["W"]) == {found["epoch"]}
        seen.add(found["epoch"])
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(seen) > 2
    assert os.listdir(path.parent) == [path.name]


# ---- Files that hold anything ------------------------------------------------------------------------------


def test_errors_of_the_system_stay(path):
    with pytest.raises(FileNotFoundError):
        store.load(path)
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        store.load(path)
    with pytest.raises(IsADirectoryError, match=r"checkpoint: .* is a folder"):
        store.check_path("checkpoint", path)
    with pytest.raises(TypeError, match="checkpoint must be a path; found int"):
        store.check_path("checkpoint", 3)


@contextlib.contextmanager
def at_most(size):
    """No more than `size` bytes are allocated at any moment within."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= size
    finally:
        tracemalloc.stop()


def npy(header, numbers=b"", version=1):
    """A file with any text for its header."""
    text = header.encode("latin-1")
    wide = 2 if version == 1 else 4
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(wide, "little") + text + numbers


def header(descr="'<f8'", order="False", shape="(3,)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


HEADERS = {
    "too large": header(shape="(1000000000000,)"),
    "no integer of C": header(shape=f"({10**400},)"),
    "no integer of Python": header(shape=f"({'1' * 5000},)"),
    "overflows": header(shape="(4294967296, 4294967296, 4)"),
    "negative": header(shape="(-3,)"),
    "no shape": header(shape="3"),
    "dimensions": header(shape=f"({'1,' * 100})"),
    "objects": header("'|O'"),
    "records": header("[('a', '<f8')]"),
    "dates": header("'<M8[s]'"),
    "unknown": header("'<f3'"),
    "of no size": header("'<U0'", shape="(1000000000000,)"),
    "long text": header("'<U999999999'"),
    "order": header(order="2"),
    "nested": header(shape="(" * 4000 + ")" * 4000),
    "signs": header(shape="-" * 8000 + "1"),
    "brackets": "[" * 9000,
    "unfinished": "{'descr': '" + "''",
    "twice": "{'descr': '<f8', 'descr': '<f8', 'shape': (3,), }",
    "lacks": "{'descr': '<f8', 'shape': (3,), }",
    "call": header("__import__('os')"),
    "no text": "\x00\xff",
    "long": header() + " " * 20_000,
    "empty": "",
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_arrays(name, tmp_path):
    """One kind of error, and no memory, whether the file is an .npy or a member of an .npz."""
    content = npy(HEADERS[name], bytes(24))
    (tmp_path / "X.npy").write_bytes(content)
    np.save(tmp_path / "y.npy", np.arange(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", content)
        archive.write(tmp_path / "y.npy", "y.npy")
        archive.writestr("facts.npy", content)
    X, y, npz = (tmp_path / name for name in ("X.npy", "y.npy", "a.npz"))
    for read in (
        lambda: fl.load_arrays(npz),
        lambda: fl.load_arrays(X, y),
        lambda: fl.load_arrays(y, X),
        lambda: store.load(npz),
    ):
        with at_most(4_000_000), pytest.raises(ValueError, match=r"is damaged or") as caught:
            read()
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize("version", [1, 2, 3])
def test_other_ways_to_write_a_header(version):
    """Python 2 wrote long integers; other programs leave out commas and spaces, and take another order."""
    numbers = np.arange(6.0).tobytes()
    for words in (
        header(shape="(2L, 3L)"),
        "{'shape':(2,3),'fortran_order':False,'descr':'<f8'}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3,)}   \n",
    ):
        found = io.BytesIO(npy(words, numbers, version))
        np.testing.assert_array_equal(read_numbers(found, npy_header(found)), np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("kind", ["b1", "i1", "<u2", ">i4", "<i8", "<f2", ">f4", "<f8", "<c16", "S3", "<U2"])
def test_arrays_are_read_as_numpy_reads_them(kind):
    for order in "CF":
        for shape in ((), (0,), (3,), (2, 3), (0, 3), (2, 3, 2)):
            A = np.array(np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(kind), order=order)
            file = io.BytesIO()
            np.save(file, A)
            found = read_numbers(file, npy_header(file))
            assert found.dtype == A.dtype
            assert found.flags.f_contiguous == A.flags.f_contiguous
            np.testing.assert_array_equal(found, A)


def test_an_entry_that_nobody_asked_for_is_not_read(tmp_path):
    """Zeros deflate to a thousandth of their size."""
    X, y = np.ones((4, 3)), np.arange(4)
    np.savez_compressed(tmp_path / "a.npz", X=X, y=y, bomb=np.zeros(30_000_000, np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    with at_most(4_000_000):
        found = fl.load_arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.X, X)
    np.savez_compressed(tmp_path / "b.npz", X=np.zeros((3, 10_000_000), np.uint8), y=y)
    with at_most(4_000_000), pytest.raises(ValueError, match=r"expected X .* found shapes"):  # the headers tell
        fl.load_arrays(tmp_path / "b.npz")
    np.savez_compressed(tmp_path / "c.npz", facts=np.array("{}"), W=np.zeros(30_000_000, np.uint8))
    with at_most(4_000_000), pytest.raises(ValueError, match="larger than the file"):
        store.load(tmp_path / "c.npz")


@pytest.mark.parametrize("lie", [{"file_size": 10**9}, {"compress_size": 10**9, "file_size": 10**9}])
def test_a_directory_that_lies_about_sizes(lie, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", npy(header("'|u1'", shape=f"({10**9 - 128}, 1)").ljust(118), bytes(100)))
        archive.writestr("y.npy", npy(header(), bytes(24)))
        for field, value in lie.items():
            setattr(archive.getinfo("X.npy"), field, value)
    with at_most(4_000_000), pytest.raises(ValueError, match="is damaged"):
        fl.load_arrays(tmp_path / "a.npz")


FACTS = ["", "[", "[1]", "3", "null", "[" * 100_000, '{"a":' * 50_000, '{"epoch": ' + "1" * 5000 + "}"]


@pytest.mark.parametrize("facts", FACTS, ids=range(len(FACTS)))
def test_facts_that_are_none(facts, tmp_path):
    np.savez(tmp_path / "a.npz", facts=np.array(facts))
    with pytest.raises(ValueError, match="was not written by fastlin"):
        store.load(tmp_path / "a.npz")


def test_numbers_for_facts_and_letters_that_are_none(tmp_path):
    for facts in (np.arange(3), np.array([0x7FFFFFFF], "<u4").view("<U1")):
        np.savez(tmp_path / "a.npz", facts=facts)
        with pytest.raises(ValueError, match="was not written by fastlin"):
            store.load(tmp_path / "a.npz")


@pytest.mark.parametrize("size", [2**63, 2**62, 10**8, 8, 0])
def test_headers_of_safetensors(size, tmp_path):
    pytest.importorskip("safetensors")
    entry = {"W": {"dtype": "F64", "shape": [10**12], "data_offsets": [0, 8 * 10**12]}}
    (tmp_path / "a.safetensors").write_bytes(size.to_bytes(8, "little") + json.dumps(entry).encode())
    with at_most(4_000_000), pytest.raises(ValueError, match="is damaged or was not written by fastlin"):
        store.load(tmp_path / "a.safetensors")


# ---- Weights -----------------------------------------------------------------------------------------------

GOOD = {"W": np.zeros((4, 3)), "bias": True, "loss": "softmax", "x_scale": np.ones(3), "x_shift": np.array(0.5)}
WEIGHTS = {
    "W": [3, "W", None, [[0.0]], np.zeros(3), np.zeros((4, 0)), np.zeros((4, 3), int), np.zeros((0, 3)), np.zeros(())],
    "bias": [2, 1, 1.0, None, "yes", [True], np.array([True])],
    "loss": ["hinge", 3, None, [], {}, np.array(3)],
    "x_scale": [np.ones(4), np.ones((3, 1)), np.array(np.nan), np.array("a"), "a", [1, 2]],
    "x_shift": [np.ones(2), np.array([1, 2, np.inf]), {}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WEIGHTS.items() for value in values])
def test_weights_that_are_none(name, value, tmp_path):
    store.save(tmp_path / "w.npz", GOOD)
    np.testing.assert_array_equal(fl.TrainResult.load(tmp_path / "w.npz").predict(np.ones((2, 3))), [0, 0])
    store.save(tmp_path / "w.npz", GOOD | {name: value})
    with pytest.raises(ValueError, match=r"w\.npz: ") as caught:
        fl.TrainResult.load(tmp_path / "w.npz")
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "function", [fl.load_arrays, fl.load_cifar10, fl.TrainResult.load, fl.TrainResult(np.zeros((1, 1)), False).save]
)
@pytest.mark.parametrize("path", [3, 1j, None, b"X.npz", "a\0b", ["X.npz"]])
def test_what_is_no_path_is_named(function, path):
    with pytest.raises((TypeError, ValueError), match=r"^path must be a path"):
        function(path)


def test_weights_that_load_would_refuse_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="with bias the last row of W is b"):
        fl.TrainResult(np.zeros((0, 1)), True).save(tmp_path / "w.npz")
    assert not list(tmp_path.iterdir())
