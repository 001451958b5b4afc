"""fastlin.dask on a cluster of two processes: the same bits whatever happens to them."""

import asyncio
import functools
import gc
import importlib
import itertools
import os
import signal
import threading
import time

import numpy as np
import pytest

import fastlin as fl

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")
fd = importlib.import_module("fastlin.dask")
chunks_of = importlib.import_module("fastlin.dask._chunks")
inputs = importlib.import_module("fastlin.dask._inputs")

pytestmark = pytest.mark.slow

N, ROWS = 400, 40


@pytest.fixture(scope="module")
def cluster():
    import dask

    config = {
        "distributed.scheduler.allowed-failures": 100,  # of workers that die with the same task: we kill many
        "distributed.comm.timeouts.connect": "60s",
        "distributed.deploy.lost-worker-timeout": "1h",  # after a kill: else it ends one that just restarts then
    }
    with (
        dask.config.set(config),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit="1GiB"
        ) as found,
    ):
        yield found


@pytest.fixture
def client(cluster, monkeypatch):
    monkeypatch.setattr(chunks_of, "GROUP_BYTES", 1)  # small as chunks are, each is a group
    monkeypatch.setattr(chunks_of, "TASK_BYTES", 1)  # and a task
    with distributed.Client(cluster) as found:
        found.wait_for_workers(2, timeout=60)
        yield found


def data(dtype=np.float64):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((N, 7)).astype(dtype)
    return rng.standard_normal((7, 3)).astype(dtype), X, rng.integers(0, 3, N), rng.uniform(0.5, 1.5, N)


def parts(X, y, weight):
    return fl.Parts([(X[i : i + ROWS], y[i : i + ROWS], weight[i : i + ROWS]) for i in range(0, N, ROWS)])


def cut(X, y, weight):
    return da.from_array(X, chunks=(ROWS, -1)), da.from_array(y, chunks=ROWS), da.from_array(weight, chunks=90)


def loaded(X, before):
    """The rows of X, each chunk of which is made by a task that first does before(number of the chunk)."""

    def load(block, block_info=None):
        before(block_info[0]["chunk-location"][0])
        return block

    return da.from_array(X, chunks=(ROWS, -1)).map_blocks(load, dtype=X.dtype, meta=np.empty((0, 0), X.dtype))


def same(found, expected):
    return found[0] == expected[0] and found[1].tobytes() == expected[1].tobytes()


def await_path(path):
    """Waits until a file is there."""
    while not path.exists():
        time.sleep(0.01)


def tasks(client):
    """How many tasks the scheduler knows, once it has heard of what was dropped."""
    gc.collect()
    for _ in range(200):
        found = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        if not found:
            break
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("inline", "back", "most"), [(1 << 20, 1 << 20, 1 << 20), (0, 0, 1 << 20), (0, 0, 0)])
def test_the_bits_of_one_process(client, monkeypatch, dtype, inline, back, most):
    monkeypatch.setattr(chunks_of, "INLINE_BYTES", inline)
    monkeypatch.setattr(chunks_of, "BACK_BYTES", back)
    monkeypatch.setattr(chunks_of, "SUM_BYTES", most)
    W, X, y, weight = data(dtype)
    DX, Dy, Dw = cut(X, y, weight)
    expected = fl.svm_loss(W, parts(X, y, weight), reg=0.1)
    assert same(fd.svm_loss(W, DX, Dy, 0.1, sample_weight=Dw), expected)
    DX, Dy, Dw = client.persist([DX, Dy, Dw])
    assert same(fd.svm_loss(W, DX, Dy, 0.1, sample_weight=Dw), expected)
    found = fd.minimize(DX, Dy, sample_weight=Dw, reg=0.01, client=client)
    assert found.W.tobytes() == fl.minimize(parts(X, y, weight), reg=0.01).W.tobytes()


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize(("group", "task"), [(1, 1 << 30), (1, 2000), (5000, 1 << 30)])
def test_a_task_does_what_its_worker_holds(client, monkeypatch, held, group, task):
    """Scattered chunks, some of them small, in few tasks: the bits of one process."""
    monkeypatch.setattr(chunks_of, "GROUP_BYTES", group)
    monkeypatch.setattr(chunks_of, "TASK_BYTES", task)
    W, X, y, weight = data()
    addresses = sorted(client.nthreads())
    pieces = [
        [client.submit(np.copy, A[i : i + ROWS], workers=[addresses[i // ROWS * 7 % 5 % 2]]) for A in (X, y, weight)]
        for i in range(0, N, ROWS)
    ]
    arrays = [
        da.concatenate([da.from_delayed(own[k], (ROWS, *A.shape[1:]), A.dtype) for own in pieces])
        for k, A in enumerate((X, y, weight))
    ]
    found = inputs.chunks(*client.persist(arrays), held=held)
    distributed.wait([found._graph[group.key] for group in found._groups])
    expected = fl.softmax_loss(W, parts(X, y, weight))
    for _ in range(2):
        assert same(fl.softmax_loss(W, found), expected)
    batches = found._placed
    holders = client.who_has([found._graph[group.key] for group in found._groups])
    assert sorted(itertools.chain(*batches)) == list(range(len(found._groups)))
    for batch in batches:
        assert set.intersection(*(set(holders[found._groups[i].key]) for i in batch))
    assert len(batches) == 10 if task == 2000 else 2 <= len(batches) <= 8


def test_who_holds_what():
    who = {"a": ("w1", "w2"), "b": ("w1",), "c": ("w2", "w1"), "d": (), "e": ("w2",), "f": ("w1", "w2")}
    assert chunks_of._by_worker(who, list("abcdefg")) == {"w1": [0, 1, 5], "w2": [2, 4], "": [3, 6]}


def test_sparse_blocks_on_workers(client):
    sparse = pytest.importorskip("scipy.sparse")
    W, X, y, weight = data()
    X = np.where(X > 0.5, X, 0)
    DX, Dy, Dw = cut(X, y, weight)
    DX = DX.map_blocks(sparse.csr_matrix, meta=sparse.csr_matrix((0, 0)))
    pieces = [(sparse.csr_matrix(X[i : i + ROWS]), y[i : i + ROWS], weight[i : i + ROWS]) for i in range(0, N, ROWS)]
    assert same(fd.softmax_loss(W, DX, Dy, sample_weight=Dw), fl.softmax_loss(W, fl.Parts(pieces)))
    found, expected = fd.minimize(DX, Dy, sample_weight=Dw, reg=0.01), fl.minimize(fl.Parts(pieces), reg=0.01)
    assert found.W.tobytes() == expected.W.tobytes()


def test_order_of_arrival_and_a_slow_worker(client, tmp_path):
    """The first chunk comes last: its worker waits until all others are done."""
    W, X, y, weight = data()
    _, Dy, Dw = cut(X, y, weight)

    def before(number):
        if number:
            (tmp_path / str(number)).touch()
        while not number and len(list(tmp_path.iterdir())) < N // ROWS - 1:
            time.sleep(0.01)

    found = fd.softmax_loss(W, loaded(X, before), Dy, sample_weight=Dw)
    assert same(found, fl.softmax_loss(W, parts(X, y, weight)))


def test_a_worker_dies_in_the_middle(client, tmp_path):
    """The worker that loads chunk 4 is killed there; another, or its successor, does what it had done."""
    W, X, y, weight = data()
    _, Dy, Dw = cut(X, y, weight)

    def before(number):
        if number == 4 and not (tmp_path / "pid").exists():
            (tmp_path / "new").write_text(str(os.getpid()))
            (tmp_path / "new").rename(tmp_path / "pid")
            time.sleep(600)

    def kill():
        await_path(tmp_path / "pid")
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = fd.softmax_loss(W, loaded(X, before), Dy, sample_weight=Dw)
    killer.join()
    assert same(found, fl.softmax_loss(W, parts(X, y, weight)))
    client.wait_for_workers(2, timeout=60)


def test_a_fit_whose_workers_are_killed(client, cluster):
    """As soon as two workers are there, one of them is killed, in turn; so often that the fit still gets on."""
    _, X, y, weight = data()
    given = {"solver": "lbfgs", "tol": 0, "max_iter": 40}
    expected = fl.minimize(parts(X, y, weight), **given)
    done, killed = threading.Event(), []

    def kill():
        while len(killed) < 5 and not done.wait(0.2):
            nannies, known = list(cluster.workers.values()), cluster.scheduler.workers
            ready = len(nannies) == 2 and all(nanny.worker_address in known for nanny in nannies)
            pid = nannies[len(killed) % 2].pid if ready else None  # Dask gives up a worker that dies while it starts
            if pid and pid not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        while len(killed) < 3:
            DX, Dy, Dw = cut(X, y, weight)
            found = fd.minimize(DX, Dy, sample_weight=Dw, **given)
            assert found.W.tobytes() == expected.W.tobytes()
            assert found.history == expected.history
    finally:
        done.set()
        killer.join()


def test_workers_are_added_and_restarted(client, cluster):
    W, X, y, weight = data()
    DX, Dy, Dw = client.persist([*cut(X, y, weight)])
    expected = fl.softmax_loss(W, parts(X, y, weight))
    assert same(fd.softmax_loss(W, DX, Dy, sample_weight=Dw), expected)
    cluster.scale(3)
    client.wait_for_workers(3, timeout=60)
    assert same(fd.softmax_loss(W, DX, Dy, sample_weight=Dw), expected)
    client.restart_workers([min(client.scheduler_info(n_workers=-1)["workers"])])
    assert same(fd.softmax_loss(W, DX, Dy, sample_weight=Dw), expected)  # with chunks that are computed anew
    cluster.scale(2)


@pytest.mark.parametrize("fails", [2, 3])
def test_a_task_that_fails(client, tmp_path, fails):
    W, X, y, weight = data()
    _, Dy, Dw = cut(X, y, weight)

    def before(number):
        before = len(list(tmp_path.iterdir()))
        if number == 3 and before < fails:
            (tmp_path / str(before)).touch()
            raise OSError("the disk does not answer")

    evaluate = functools.partial(fd.softmax_loss, W, loaded(X, before), Dy, sample_weight=Dw)
    if fails == 2:
        assert same(evaluate(), fl.softmax_loss(W, parts(X, y, weight)))
    else:
        with pytest.raises(OSError, match="the disk does not answer"):
            evaluate()
        assert same(evaluate(), fl.softmax_loss(W, parts(X, y, weight)))


def test_nothing_is_left_behind(client):
    """After 200 evaluations nobody holds a result, and the scheduler knows no more than before; nor after an error."""
    W, X, y, weight = data()
    DX, Dy = client.persist([A.rechunk({0: 100}) for A in cut(X, y, weight)[:2]])
    futures = len(client.futures)

    def known():
        return client.run_on_scheduler(
            lambda dask_scheduler: [len(dask_scheduler.task_prefixes), len(dask_scheduler.task_groups)]
        )

    sizes = []
    for step in range(201):
        fd.softmax_loss(W, DX, Dy)
        if step % 100 == 0:
            while len(client.futures) > futures:
                time.sleep(0.01)
            gc.collect()
            kinds = distributed.Future, chunks_of.Partial, chunks_of.Chunks
            sizes.append((*known(), sum(issubclass(type(found), kinds) for found in gc.get_objects())))
    assert sizes[0] == sizes[1] == sizes[2]
    with pytest.raises(ValueError, match=r"part \d+: y\[\d+\] = 3 is out of range"):
        fd.softmax_loss(W, DX, Dy + 1)
    del DX, Dy
    assert tasks(client) == 0
    fd.minimize(*cut(X, y, weight)[:2])
    assert tasks(client) == 0


def test_ctrl_c_cancels_what_is_queued(client, tmp_path, ctrl_c):
    W, X, y, weight = data()
    _, Dy, Dw = cut(X, y, weight)

    def before(number):
        (tmp_path / f"begun {number}").touch()
        await_path(tmp_path / "go on")

    def interrupt():
        while not list(tmp_path.iterdir()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        fd.softmax_loss(W, loaded(X, before), Dy, sample_weight=Dw)
    (tmp_path / "go on").touch()
    assert tasks(client) == 0
    assert len(list(tmp_path.iterdir())) < N // ROWS  # what was queued has not begun
    assert same(fd.softmax_loss(W, *cut(X, y, weight)[:2]), fl.softmax_loss(W, X_parts(X, y)))


def X_parts(X, y):
    return fl.Parts([(X[i : i + ROWS], y[i : i + ROWS]) for i in range(0, N, ROWS)])


def test_a_bar_counts_tasks(client, capsys):
    pytest.importorskip("tqdm")
    _, X, y, weight = data()
    DX, Dy, Dw = cut(X, y, weight)
    found = fd.minimize(DX, Dy, sample_weight=Dw, reg=0.1, progress=True)
    assert found.W.tobytes() == fl.minimize(parts(X, y, weight), reg=0.1).W.tobytes()
    assert "pass 2:" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"part \d: sample_weight has a negative"):
        fd.LogisticRegression().fit(DX, Dy, Dw - 0.6, progress=True)
    del DX, Dy, Dw
    assert tasks(client) == 0


def test_a_client_that_does_not_wait():
    _, X, y, _ = data()
    DX, Dy = da.from_array(X, chunks=(ROWS, -1)), da.from_array(y, chunks=ROWS)

    async def main():
        async with distributed.Client(processes=False, dashboard_address=":0", asynchronous=True):
            with pytest.raises(RuntimeError, match="asynchronous Client in a synchronous context"):  # says Dask
                fd.minimize(DX, Dy)

    asyncio.run(main())


def test_another_client(cluster, client):
    _, X, y, weight = data()
    with distributed.Client(cluster, set_as_default=False) as other:
        found = fd.minimize(*cut(X, y, weight)[:2], client=other, reg=0.1)
    assert found.W.tobytes() == fl.minimize(X_parts(X, y), reg=0.1).W.tobytes()


def test_more_data_than_memory():
    """A loss takes chunk after chunk of 640 MB, with a worker that may have 400 MB and is killed above."""
    count, rows = 40, 2000

    def rows_of(number):
        return np.random.default_rng(number).standard_normal((rows, 1000)), np.arange(rows) % 3

    def block(block_info=None):
        return rows_of(block_info[None]["chunk-location"][0])[0]

    X = da.map_blocks(block, chunks=((rows,) * count, (1000,)), dtype=np.float64, meta=np.empty((0, 0)))
    y = da.from_array(np.tile(np.arange(rows) % 3, count), chunks=rows)
    W = np.random.default_rng(0).standard_normal((1000, 3))
    expected = fl.softmax_loss(W, fl.Parts([functools.partial(rows_of, number) for number in range(count)]))
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit="400MiB"
        ) as small,
        distributed.Client(small),
    ):
        assert same(fd.softmax_loss(W, X, y), expected)
