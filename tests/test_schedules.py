"""Learning-rate schedules against values written out by hand, and the picture of them."""

import math
import pickle

import pytest

import fastlin as fl
from fastlin import cli, schedules

ALL = [
    schedules.constant(0.1),
    schedules.step(0.1, (3, 6), 0.5),
    schedules.cosine(0.1, 100),
    schedules.linear(0.1, 100),
    schedules.inverse_sqrt(0.1),
    schedules.cosine_restarts(0.1, 10, 2, 0.01),
    schedules.one_cycle(0.1, 100),
    schedules.plateau(0.1, patience=2),
    schedules.warmup(schedules.cosine(0.1, 90), 10),
    schedules.scaled(schedules.linear(0.1, 100), 4.0),
]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (schedules.constant(0.3), {0: 0.3, 1000: 0.3}),
        (schedules.step(1.0), {0: 1, 29: 1, 30: 0.1, 59: 0.1, 60: 0.01, 89: 0.01, 90: 0.001, 500: 0.001}),
        (schedules.step(1.0, at=[2], factor=0.5), {1: 1, 2: 0.5}),
        (schedules.cosine(0.2, 100), {0: 0.2, 25: 0.1 * (1 + math.sqrt(0.5)), 50: 0.1, 100: 0, 150: 0}),
        (schedules.linear(0.2, 100), {0: 0.2, 25: 0.15, 50: 0.1, 100: 0, 150: 0}),
        (schedules.inverse_sqrt(0.2), {0: 0.2, 1: 0.2, 4: 0.1, 100: 0.02}),
        (schedules.warmup(0.2, 10), {0: 0, 1: 0.02, 5: 0.1, 10: 0.2, 99: 0.2}),
        (schedules.warmup(schedules.cosine(0.2, 100), 10), {0: 0, 5: 0.1, 10: 0.2, 60: 0.1, 110: 0}),
        (schedules.warmup(schedules.inverse_sqrt(0.2), 4), {2: 0.1, 4: 0.2, 8: 0.1}),
        (schedules.cosine_restarts(0.2, 10), {0: 0.2, 5: 0.1, 10: 0.2, 15: 0.1, 1000: 0.2}),
        # Periods of 10, 20 and 40 steps: they begin at 0, 10 and 30.
        (schedules.cosine_restarts(0.2, 10, 2, 0.1), {5: 0.15, 10: 0.2, 20: 0.15, 30: 0.2, 50: 0.15, 70: 0.2}),
        # torch.optim.lr_scheduler.OneCycleLR(max_lr=0.25, total_steps=100)
        (schedules.one_cycle(0.25, 100), {0: 0.01, 14.5: 0.13, 29: 0.25, 64: 0.1250005, 99: 1e-6, 200: 1e-6}),
        (schedules.scaled(lambda t: t, 3.0), {0: 0, 5: 15}),
    ],
    ids=repr,
)
def test_values(schedule, expected):
    assert {t: schedule(t) for t in expected} == pytest.approx(expected, abs=1e-15)


def test_plateau():
    """Two reports without improvement keep the rate, the third halves it; an improvement is at least a hundredth."""
    schedule = schedules.plateau(1.0, factor=0.5, patience=2, threshold=0.01, min_lr=0.2)
    rates = []
    for metric in (10.0, 9.0, 8.95, math.nan, 9.5, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 7.0):
        schedule.report(metric)
        rates.append(schedule(len(rates)))
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2]


def test_plateau_of_negative_metrics():
    schedule = schedules.plateau(1.0, patience=0)
    for accuracy, expected in ((0.5, 1.0), (0.6, 1.0), (0.6, 0.1)):
        schedule.report(-accuracy)
        assert schedule(0) == expected


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_prints_as_written_and_can_be_pickled(schedule):
    assert eval(repr(schedule), vars(schedules)) == schedule
    twin = pickle.loads(pickle.dumps(schedule))
    assert twin == schedule
    assert [twin(t) for t in range(120)] == [schedule(t) for t in range(120)]
    assert all(0 <= schedule(t) <= 0.4 for t in range(500))
    schedule.report(1.0)


def test_scale_lr():
    """Lecture 3: increase the batch size by N, scale the initial learning rate by N."""
    assert fl.scale_lr(0.1, 4) == pytest.approx(0.4)
    cosine = schedules.cosine(0.1, 10)
    assert fl.scale_lr(cosine, 4)(5) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="factor must be in"):
        fl.scale_lr(0.1, -1)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: schedules.cosine(-1, 10), ValueError, r"lr must be in \[0, inf\); found -1"),
        (lambda: schedules.cosine(0.1, 0), ValueError, r"T must be in \(0, inf\); found 0"),
        (lambda: schedules.linear("fast", 10), TypeError, "lr must be a number"),
        (lambda: schedules.step(0.1, (3, -1)), ValueError, "at must be an integer of at least 0; found -1"),
        (lambda: schedules.step(0.1, factor=0), ValueError, "factor must be in"),
        (lambda: schedules.cosine_restarts(0.1, 2.5), TypeError, "T must be an integer"),
        (lambda: schedules.one_cycle(0.1, 10, pct_start=1), ValueError, "pct_start must be in"),
        (lambda: schedules.plateau(0.1, factor=1), ValueError, "factor must be in"),
        (lambda: schedules.warmup(0.1, 0), ValueError, "steps must be an integer of at least 1; found 0"),
        (lambda: schedules.warmup("x", 5), TypeError, "schedule must be a number"),
        (lambda: schedules._by_name("sine", 0.1, 10), ValueError, "name must be one of 'constant', 'step'"),
        (lambda: schedules._by_name("cosine", 0.1, 10, 10), ValueError, "warm must be smaller than steps"),
        (lambda: schedules.plot([], 10), ValueError, "schedules is empty"),
    ],
)
def test_bad_argument(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize("name", schedules.NAMES)
def test_named(name):
    schedule = schedules._by_name(name, 0.1, 100, warm=10)
    assert schedule(0) == 0
    assert all(0 <= schedule(t) <= 0.1 for t in range(101))


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    figure = schedules.plot([schedules.cosine(0.1, 50), schedules.warmup(0.1, 5)], 50)
    curves = figure.axes[0].get_lines()
    assert [line.get_label() for line in curves] == ["cosine(lr=0.1, T=50)", "warmup(schedule=0.1, steps=5)"]
    assert curves[0].get_ydata()[25] == pytest.approx(0.05)
    path = tmp_path / "lr.png"
    assert cli.main(["plot-schedule", *schedules.NAMES, "--steps", "50", "--warmup", "5", "--out", str(path)]) == 0
    assert path.stat().st_size > 10_000


def test_plot_of_bad_steps(capsys):
    assert cli.main(["plot-schedule", "cosine", "--steps", "0"]) == 2
    assert "steps must be an integer of at least 1; found 0" in capsys.readouterr().err


def test_what_stands_around_a_number_has_no_state():
    """Reports and states go to the schedule inside; a number has none of either."""
    for around in (schedules.warmup(0.1, 3), schedules.scaled(0.1, 2.0)):
        before = [around(t) for t in range(5)]
        around.report(1.0)
        assert around.state_dict() == {}
        around.load_state_dict({})
        assert [around(t) for t in range(5)] == before


def test_a_schedule_without_a_rate_says_so():
    with pytest.raises(NotImplementedError):
        schedules.Schedule()(0)
