"""The page to play with, in a browser: every number that it shows is that of fastlin's functions."""

import re
import shutil
import time

import numpy as np
import pytest

import fastlin as fl
from fastlin.lectures import play

LOSSES = [("weston_watkins", False), ("weston_watkins", True), ("crammer_singer", False)]
LOSSES += [("one_vs_rest", False), ("one_vs_rest", True), ("softmax", False)]
NAMES = "w1", "w2", "b"

# What a visitor does and sees, in one call for many inputs.
SCRIPT = """
function put(inputs) {
  for (const [id, value] of Object.entries(inputs)) {
    const input = document.getElementById(id);
    input.value = value;
    input.dispatchEvent(new Event("input"));
  }
}
function choose(loss, squared) {
  document.querySelector(`[name=loss][value=${loss}]`).click();
  const box = document.getElementById("squared");
  if (box.checked !== squared) box.click();
  return [box.checked, box.disabled];
}
function read() {
  const shown = {};
  for (const element of document.querySelectorAll("[data-value]"))
    shown[element.id] = [element.dataset.value, element.value || element.textContent];
  return shown;
}
function press(id, times) {
  for (let i = 0; i < times; i++) document.getElementById(id).click();
}
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium, with the page open; at its end the console is empty."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="drives a browser: pip install selenium")
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or chromium is None:
        pytest.skip("needs a browser, on Debian: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--window-size=1280,1400")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as opened:
        path = tmp_path_factory.mktemp("play") / "play.html"
        path.write_text(play.page(), encoding="utf-8")
        opened.get(path.as_uri())
        yield opened
        assert opened.get_log("browser") == []


@pytest.fixture
def page(browser):
    """The browser, with the page as it is after Reset."""
    press(browser, "reset")
    return browser


def press(browser, name):
    browser.find_element("id", name).click()


def run_script(browser, code, *arguments):
    return browser.execute_script(SCRIPT + code, *arguments)


def put(browser, **inputs):
    run_script(browser, "put(arguments[0])", {name.replace("_", "-"): value for name, value in inputs.items()})


def choose(browser, loss, squared=False):
    run_script(browser, "choose(...arguments)", loss, squared)


def read(browser):
    """The exact numbers of the page by id."""
    return exact(run_script(browser, "return read()"))


def exact(found):
    """The numbers of the page by id; what is written is each of them, rounded."""
    shown = {}
    for name, (value, text) in found.items():
        shown[name] = float(value)
        written = float(text.replace("−", "-").replace("✗", ""))
        three_digits = name in {"rate", "lambda"} or abs(shown[name]) >= 1e5
        tolerance = 0.005 * abs(shown[name]) if three_digits else 0.0005 * (1 + 1e-9)
        assert abs(written - shown[name]) <= tolerance, (name, value, text)
    return shown


def table(shown, kind, rows=9, columns=3):
    """The numbers with ids kind-i-j; 0 where there is none."""
    return np.array([[shown.get(f"{kind}-{i}-{j}", 0.0) for j in range(columns)] for i in range(rows)])


def weights(shown, kind=""):
    """W as fastlin has it, with b as its last row; or the gradient."""
    return np.array([[shown[f"{kind}{name}-{j}"] for j in range(3)] for name in NAMES])


def loss_and_gradient(W, X, y, reg, loss, squared):
    if loss == "softmax":
        return fl.softmax_loss(W, X, y, reg, bias=True)
    return fl.svm_loss(W, X, y, reg, variant=loss, squared=squared, bias=True)


def terms(S, y, loss):
    """The numbers of the table behind the scores."""
    right = np.eye(3)[y]
    if loss == "softmax":
        return fl.softmax(S)
    if loss == "one_vs_rest":
        return 1 - (2 * right - 1) * S
    return np.where(right == 1, 0, S - S[np.arange(9), y][:, None] + 1)


def agree(shown, loss="weston_watkins", squared=False):
    """All numbers of the page are fastlin's for the points, weights and λ that it shows; returns X and y."""
    X, W, y, reg = table(shown, "x", columns=2), weights(shown), np.repeat([0, 1, 2], 3), shown["lambda"]
    S = fl.scores(W, X, bias=True)
    of_each = [loss_and_gradient(W, X[i : i + 1], y[i : i + 1], 0.0, loss, squared)[0] for i in range(9)]
    total, dW = loss_and_gradient(W, X, y, reg, loss, squared)
    data = loss_and_gradient(W, X, y, 0.0, loss, squared)[0]
    pairs = {
        "scores": (table(shown, "score"), S),
        "terms": (table(shown, "term"), terms(S, y, loss)),
        "losses": ([shown[f"loss-{i}"] for i in range(9)], of_each),
        "predicted": ([shown[f"verdict-{i}"] for i in range(9)], fl.predict(W, X, bias=True)),
        "sums": ([shown["data"], shown["penalty"], shown["total"]], [data, total - data, total]),
        "gradient": (weights(shown, "slope-"), dW),
    }
    for name, (found, expected) in pairs.items():
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-6, err_msg=f"{name}, {loss}, {squared}")
    return X, y


def cases():
    """W, X and some λ: numbers at random, W = 0, and scores that meet margins exactly."""
    rng = np.random.default_rng(5)
    yield rng.normal(size=(3, 3)).round(4), rng.uniform(-1.5, 1.5, size=(9, 2)).round(4), (0.0, 0.0123)
    yield np.zeros((3, 3)), rng.uniform(-1.5, 1.5, size=(9, 2)).round(4), (2.0,)
    W = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    yield W, np.resize([1.0, 0.0, 0.5, -1.0, 1.0], (9, 2)), (0.5,)


SHOW_AND_STEP = """
const [points, weights, settings] = arguments;
put(points);
return settings.map(([loss, squared, reg]) => {
  put({ ...weights, lambda: reg });
  const box = choose(loss, squared);
  const before = read();
  press("step", 1);
  return [box, before, read()];
});
"""


DRAWN = """
const onScreen = ([x1, x2]) => new DOMPoint(200 * (x1 + 1.6), 200 * (1.6 - x2));
const classOf = (element) => Number(element.getAttribute("class").slice(-1));
const ground = (x) => [...document.querySelectorAll("#regions polygon")]
  .filter((each) => each.isPointInFill(onScreen(x))).map(classOf).at(-1);
const lines = [...document.querySelectorAll("#lines path:not(.head)")];
return [arguments[0].map(ground), lines.map((each) => [classOf(each), each.getAttribute("d")])];
"""


def test_interactive_demo(page):
    for W, X, regs in cases():
        numbers = {f"{name}-{j}": W[k, j] for k, name in enumerate(NAMES) for j in range(3)}
        points = {f"x-{i}-{k}": X[i, k] for i in range(9) for k in range(2)} | {"rate": 0.25}
        settings = [[*loss, reg] for loss in LOSSES for reg in regs]
        found = run_script(page, SHOW_AND_STEP, points, numbers, settings)
        for (loss, squared, reg), (box, before, after) in zip(settings, found, strict=True):
            assert box == [squared, loss in {"crammer_singer", "softmax"}]
            before, after = exact(before), exact(after)
            X_shown, y = agree(before, loss, squared)
            np.testing.assert_array_equal(X_shown, X)
            np.testing.assert_array_equal(weights(before), W)
            assert before["lambda"] == reg
            stepped = W.copy()
            fl.SGD(0.25).step(stepped, loss_and_gradient(W, X, y, reg, loss, squared)[1])
            np.testing.assert_allclose(weights(after), stepped, rtol=0, atol=1e-9)
            agree(after, loss, squared)


class TestPlaying:
    """What people do to the page."""

    def test_the_file_needs_no_other(self, page):
        text = play.page()
        assert len(text.encode()) < 300_000
        assert not re.search(r"http|url\(|@import|\bsrc=|\bimport\b|fetch\(", text)
        assert page.execute_script('return performance.getEntriesByType("resource").map((each) => each.name)') == []

    def test_it_starts_unsolved(self, page):
        shown = read(page)
        _, y = agree(shown)
        assert shown["data"] > 1
        assert [shown[f"verdict-{i}"] for i in range(9)] != y.tolist()

    @pytest.mark.parametrize("kind", ["mouse", "touch"])
    def test_a_point_is_dragged(self, page, kind):
        from selenium.webdriver.common.actions.action_builder import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        before = read(page)
        width = page.find_element("id", "plane").size["width"]
        actions = ActionBuilder(page, mouse=PointerInput(kind, kind))
        pointer = actions.pointer_action
        pointer.move_to(page.find_element("id", "point-3")).pointer_down()
        pointer.move_by(100, -50).move_by(30, -10).pointer_up()
        actions.perform()
        after = read(page)
        X, _ = agree(after)
        np.testing.assert_allclose(X[3], [-0.45 + 3.2 * 130 / width, 0.35 + 3.2 * 60 / width], atol=0.02)
        assert after["total"] != before["total"]

    def test_a_point_stays_inside(self, page):
        from selenium.webdriver import ActionChains

        point = page.find_element("id", "point-0")
        ActionChains(page).drag_and_drop_by_offset(point, 0, -320).perform()
        assert read(page)["x-0-1"] == 1.6

    def test_arrow_keys_move_the_point_that_has_the_focus(self, page):
        page.execute_script("document.querySelector('[data-experiment=outlier]').focus()")
        page.switch_to.active_element.send_keys("\ue004")  # Tab
        assert page.switch_to.active_element.get_attribute("id") == "point-0"
        top = page.execute_script("return scrollY")
        page.switch_to.active_element.send_keys("\ue012\ue013\ue013\ue013\ue015")  # left, up, up, up, down
        assert page.execute_script("return scrollY") == top
        X, _ = agree(read(page))
        np.testing.assert_allclose(X[0], [0.5, 0.55])
        assert "x1 0.500, x2 0.550" in page.switch_to.active_element.get_attribute("aria-label")

    def test_sliders_and_numbers_are_in_step(self, page):
        put(page, w2_1_slider=1.5, b_2=-0.25, lambda_slider=60, rate_slider=0)
        shown = read(page)
        agree(shown)
        assert (shown["w2-1"], shown["b-2"], shown["lambda"], shown["rate"]) == (1.5, -0.25, 0.1, 0.0)
        assert page.find_element("id", "b-2-slider").get_property("value") == "-0.25"

    def test_run_takes_steps_until_stop(self, page):
        shown = read(page)
        X, y = agree(shown)
        W, reg, optimizer = weights(shown), shown["lambda"], fl.SGD(shown["rate"])
        press(page, "run")
        end = time.monotonic() + 10
        while read(page)["steps"] < 3 and time.monotonic() < end:
            time.sleep(0.02)
        press(page, "stop")
        shown = read(page)
        agree(shown)
        time.sleep(0.2)
        assert read(page) == shown
        assert shown["steps"] >= 3
        for _ in range(int(shown["steps"])):
            optimizer.step(W, fl.svm_loss(W, X, y, reg, bias=True)[1])
        np.testing.assert_allclose(weights(shown), W, atol=1e-9)

    def test_randomise_changes_the_weights_only(self, page):
        before = read(page)
        press(page, "randomise")
        after = read(page)
        agree(after)
        assert (weights(after) != weights(before)).any(axis=0).all()
        assert all(after[name] == before[name] for name in before if name[:2] in {"x-", "la", "ra"})
        press(page, "reset")
        assert read(page) == before

    def test_the_picture_is_of_the_weights(self, page):
        """Regions are those of the highest score, lines those of score 0, and arrows go straight up the score."""
        rng = np.random.default_rng(3)
        for W in (*rng.normal(size=(4, 3, 3)), np.zeros((3, 3))):
            put(page, **{f"{name}_{j}": W[k, j] for k, name in enumerate(NAMES) for j in range(3)})
            X = rng.uniform(-1.55, 1.55, size=(200, 2))
            ground, lines = run_script(page, DRAWN, X.tolist())
            assert ground == fl.predict(W, X, bias=True).tolist()
            for j, path in lines:
                right, down = np.reshape(re.findall(r"-?[\d.]+(?:e-?\d+)?", path), (4, 2)).astype(float).T
                first, last, foot, tip = np.column_stack([right / 200 - 1.6, 1.6 - down / 200])
                S = fl.scores(W, [first, last, foot, tip], bias=True)[:, j]
                np.testing.assert_allclose(S[:3], 0, atol=1e-9)
                arrow = (tip - foot) / np.linalg.norm(tip - foot)
                np.testing.assert_allclose(arrow, W[:2, j] / np.linalg.norm(W[:2, j]), atol=1e-9)
            assert lines or not W.any()

    def test_a_rate_that_is_too_high_stops_the_run(self, page):
        put(page, **{"lambda": 2.0, "rate": 1e6})
        run_script(page, "press('step', 60)")
        assert read(page)["steps"] < 60
        assert "too high" in page.find_element("id", "status").text
        press(page, "reset")
        agree(read(page))

    def test_the_experiments_show_what_they_say(self, page):
        def start(name):
            page.execute_script(f"document.querySelector('[data-experiment={name}]').click()")

        def steps(count):
            run_script(page, "press('step', arguments[0])", count)
            return read(page)

        def right(shown):
            return sum(shown[f"verdict-{i}"] == i // 3 for i in range(9))

        start("border")
        assert read(page)["total"] == 0
        start("double")
        press(page, "double")
        assert read(page)["total"] == 0
        choose(page, "softmax")
        before = read(page)["total"]
        press(page, "double")
        assert 0 < read(page)["total"] < before
        start("lambda")
        before, after = read(page), steps(100)
        assert after["total"] < before["total"]
        assert after["data"] > 1
        start("outlier")
        assert right(steps(100)) == 8
        choose(page, "weston_watkins", squared=True)
        assert right(steps(100)) == 7

    @pytest.mark.parametrize("width", [390, 1280])
    def test_it_fits_the_screen(self, page, width):
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
            assert page.execute_script("return innerWidth") == width
        finally:
            page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def test_whatever_is_worked_with_has_a_name(self, page):
        unnamed = """return [...document.querySelectorAll("input, button, [tabindex]")].filter((each) =>
          !each.labels?.length && !each.textContent.trim() && !each.hasAttribute("aria-label")).length"""
        assert page.execute_script(unnamed) == 0
