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
    schedules.cosine(0.1, 100, low=0.01),
    schedules.linear(0.1, 100, start=0.25, end=1.5),
    schedules.polynomial(0.1, 100, 2.0),
    schedules.cyclic(0.1, 0.01, up=7, down=5, factor=0.5, gamma=0.99),
    schedules.sequential((schedules.linear(0.1, 10, 0.1, 1.0), schedules.cosine(0.1, 50), 0.01), (10, 60)),
    schedules.one_cycle(0.1, 100, anneal_strategy="linear", three_phase=True),
    schedules.plateau(0.1, patience=2, cooldown=3, threshold_mode="abs"),
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


# ---- Against torch --------------------------------------------------------------------------------------------

TORCHS = {
    "LinearLR": (schedules.linear(0.5, 7, 0.2, 0.9), {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 7}),
    "CosineAnnealingLR": (schedules.cosine(0.5, 40, 0.01), {"T_max": 40, "eta_min": 0.01}),
    "PolynomialLR": (schedules.polynomial(0.5, 12, 2.5), {"total_iters": 12, "power": 2.5}),
    "CyclicLR": (
        schedules.cyclic(0.5, 0.1, up=4, down=7),
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "step_size_down": 7, "cycle_momentum": False},
    ),
    "CyclicLR triangular2": (
        schedules.cyclic(0.5, 0.1, up=4, factor=0.5),
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "mode": "triangular2", "cycle_momentum": False},
    ),
    "CyclicLR exp_range": (
        schedules.cyclic(0.5, 0.1, up=4, gamma=0.9),
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9, "cycle_momentum": False},
    ),
    **{
        f"OneCycleLR {anneal} {three}": (
            schedules.one_cycle(0.5, 41, 0.35, anneal_strategy=anneal, three_phase=three),
            {"max_lr": 0.5, "total_steps": 41, "pct_start": 0.35, "anneal_strategy": anneal, "three_phase": three},
        )
        for anneal in ("cos", "linear")
        for three in (True, False)
    },
}


def torchs(name, lr=0.5, **given):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    return optimizer, getattr(torch.optim.lr_scheduler, name)(optimizer, **given)


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
@pytest.mark.parametrize("name", TORCHS)
def test_rates_are_torchs(name):
    schedule, given = TORCHS[name]
    optimizer, theirs = torchs(name.partition(" ")[0], **given)
    for t in range(40):
        assert schedule(t) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=1e-15), t
        theirs.step()


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_one_after_the_other_is_torchs():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = torch.optim.lr_scheduler
    parts = [scheduler.LinearLR(optimizer, 0.1, 1.0, 6), scheduler.CosineAnnealingLR(optimizer, 20)]
    theirs = scheduler.SequentialLR(optimizer, parts, [6])
    ours = schedules.sequential((schedules.linear(0.5, 6, 0.1, 1.0), schedules.cosine(0.5, 20)), at=(6,))
    for t in range(26):
        assert ours(t) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15), t
        theirs.step()


@pytest.mark.parametrize("mode", ["rel", "abs"])
@pytest.mark.parametrize("cooldown", [0, 1, 3])
def test_plateaus_are_torchs(mode, cooldown):
    how = {"factor": 0.5, "patience": 1, "threshold": 0.1, "cooldown": cooldown, "threshold_mode": mode}
    optimizer, theirs = torchs("ReduceLROnPlateau", **how, eps=0.0)
    ours = schedules.plateau(0.5, **how)
    for t in range(60):
        metric = 5.0 / (1 + t % 23) + 0.3 * math.sin(t)
        theirs.step(metric)
        ours.report(metric)
        assert ours(t) == pytest.approx(optimizer.param_groups[0]["lr"])
        twin = schedules.plateau(0.5, **how)
        twin.load_state_dict(ours.state_dict())
        assert twin == ours


def test_a_rate_for_each_part():
    schedule = schedules.sequential((0.1, 0.05, 0.001), at=(30, 60))
    assert [schedule(t) for t in (0, 29, 30, 59, 60, 999)] == [0.1, 0.1, 0.05, 0.05, 0.001, 0.001]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: schedules.sequential((0.1, 0.2), (3, 4)), ValueError, "at must hold the 1 ascending steps"),
        (lambda: schedules.sequential((0.1, 0.2, 0.3), (4, 4)), ValueError, "at must hold the 2 ascending steps"),
        (lambda: schedules.sequential((0.1, "x"), (4,)), TypeError, r"schedules\[1\] must be a number"),
        (lambda: schedules.sequential(0.1, (4,)), TypeError, "schedules must be a sequence; found 0.1"),
        (lambda: schedules.sequential((0.1, schedules.plateau(1.0)), (4,)), ValueError, "which changes by reports"),
        (lambda: schedules.linear(1e300, 5, end=1e300), ValueError, "larger of start and end must be in"),
        (lambda: schedules.one_cycle(1, 9, 0.6, three_phase=True), ValueError, "pct_start must be at most 0.5"),
        (lambda: schedules.one_cycle(1, 9, anneal_strategy="sin"), ValueError, "anneal_strategy must be one of"),
        (lambda: schedules.plateau(1, threshold_mode="x"), ValueError, "threshold_mode must be one of"),
        (lambda: schedules.plateau(1, cooldown=-1), ValueError, "cooldown must be an integer of at least 0"),
        (lambda: schedules.cyclic(0.1, 0.0, up=0), ValueError, "up must be an integer of at least 1"),
    ],
)
def test_bad_arguments_of_the_newer_ones(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
