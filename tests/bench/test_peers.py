"""Every form of every library does the same work: the tests judge their answers without measuring times."""

import numpy as np
import pytest

from fastlin import machine, ops

pytestmark = pytest.mark.slow

LIBRARIES = ("fastlin-cython", "fastlin-numba", "numpy", "torch", "optax", "jax", "scikit-learn")
EPOCHS = [("softmax", 32, 100), ("svm", 32, 96)]  # loss, batch, n: with and without a last batch that is smaller
RULES = ("adam", "adamw", "momentum", "nesterov", "rmsprop", "adagrad", "lion")
SIZE = 20_001  # more than a chunk of NumPy's steps


@pytest.fixture(params=LIBRARIES)
def library(request):
    name = request.param
    why = ops.missing(name[8:]) if name.startswith("fastlin-") else None
    if why or not (name.startswith("fastlin-") or machine.version(name)):
        pytest.skip(why or f"{name} is not installed")
    return name


@pytest.fixture
def training(bench):
    pytest.importorskip("tqdm")
    return bench("peers_training")


def answers(training, library, row):
    """Judges the answer of each form; a later call must not depend on an earlier one."""
    for call in training.calls_of(library, row, threads=1):
        call.run()
        yield call.answer(call.run())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of other libraries
def test_steps_agree(training, library, rule):
    row = training.StepRow(rule, SIZE)
    if library not in row.contestants:
        pytest.skip(f"{library} has no optimizers")
    for W in answers(training, library, row):
        assert training.judge(row, library, W).agrees == "yes"


@pytest.mark.parametrize(("loss", "batch", "n"), EPOCHS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_epochs_agree(training, library, loss, batch, n):
    row = training.EpochRow(loss, batch, n, d=17, c=5)
    if library not in row.contestants:
        pytest.skip(f"{library} has no losses")
    for W in answers(training, library, row):
        verdict = training.judge(row, library, W)
        assert verdict.agrees == ("its own rule" if library == "scikit-learn" else "yes")
        assert 0 <= float(verdict.columns["accuracy"]) <= 1


def test_every_rule_is_timed(training):
    assert training.steps.RULES == RULES
    assert {row.rule for row in training.BENCH.rows if isinstance(row, training.StepRow)} == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_another_step_is_wrong(training, rule):
    row = training.StepRow(rule, SIZE)
    W, start = training.reference(row)
    wrong = W + 1e-3 * (W - start)
    assert training.judge(row, "numpy", wrong).agrees.startswith("WRONG")
    assert training.judge(row, "numpy", np.full_like(W, np.nan)).agrees.startswith("WRONG")


def test_an_epoch_in_another_order_is_wrong(training):
    row = training.EpochRow("softmax", 32, 100, d=17, c=5)
    shuffled = [batch[::-1] for batch in training.epochs.split(row)][::-1]
    W = training.epochs.numpy_epoch(row, row.data.X, shuffled, training.epochs.NUMPY_EPOCHS[0])
    assert training.judge(row, "numpy", W).agrees.startswith("WRONG")


@pytest.mark.parametrize("name", ["peers", "peers_training", "peers_sparse"])
def test_lines_have_the_columns_of_the_file(bench, name):
    pytest.importorskip("tqdm")
    contest, program = bench("contest"), bench(name)
    for path in (bench("report").BENCH / "results").glob(f"{program.BENCH.name}-*.csv"):
        assert path.read_text().partition("\n")[0] == ",".join(program.BENCH.header), path
    result = contest.Result("numpy", contest.Verdict(), None, [1.0, 2.0, 3.0])
    for row in program.BENCH.rows:
        limits = {limit: 0.5 for limit in program.BENCH.limits if limit in row.contestants}
        line = contest.csv_line(program.BENCH, row, result, limits)
        assert set(line) <= set(program.BENCH.header)
        assert line["p50"] == "2"
        assert row.name in program.BENCH.heading(row, limits)
