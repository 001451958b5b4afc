"use strict";
// The controls: what people do to the page changes the state, and every change is shown at once.

const PAUSE = 40; // milliseconds between the steps of a run
const START = {
  points: [
    [0.55, 0.45, 0], [0.95, 0.35, 0], [0.35, 0.95, 0],
    [-0.45, 0.35, 1], [-0.3, 0.8, 1], [-0.85, 0.2, 1],
    [0.75, -0.45, 2], [0.45, -0.8, 2], [-0.35, -0.7, 2],
  ].map(([x1, x2, y]) => ({ x: [x1, x2], y })),
  W: [[1, 2], [2, -4], [3, -1]],
  b: [0, 0.5, -0.5],
  loss: "weston_watkins",
  squared: false,
  lambda: 0.01,
  rate: 0.1,
  steps: 0,
};
const SOLVED = { W: [[2.5, 2], [-4, 2], [1.5, -4]], b: [0, 0, 0], lambda: 0 }; // every margin is met
const OUTLIER = START.points.map((point, i) => (i === 2 ? { ...point, x: [0.2, -1.4] } : point));
const EXPERIMENTS = {
  border: [SOLVED, "All losses are 0: drag a point."],
  double: [SOLVED, "The loss is 0: press “Double W and b”."],
  lambda: [{ ...SOLVED, lambda: 1 }, "λ is 1: press “Run”."],
  outlier: [{ points: OUTLIER }, "Point 3 is the outlier: press “Run”, then tick “squared”."],
};

let state, history, running;

// Takes changes over, unless the loss would overflow; `typing` is the input that they came from.
function change(changes, typing) {
  const next = { ...state, ...changes };
  const result = evaluate(next);
  if (!Number.isFinite(result.total)) {
    halt("The loss would be larger than any number. Is the learning rate too high? Press “Reset”.");
    return;
  }
  state = next;
  history = [...history, { data: result.data, total: result.total, steps: state.steps }];
  // Only the last picture of each step stays: dragging a point takes no room in the history.
  history = history.filter((each, i) => each.steps !== history[i + 1]?.steps).slice(-HISTORY);
  render(state, result, history, typing);
}

function begin(changes, words = "") {
  halt(words);
  history = [];
  change({ ...START, ...changes });
  showSliders();
}

function halt(words = "") {
  clearInterval(running);
  running = undefined;
  get("run").disabled = false;
  get("stop").disabled = true;
  get("status").textContent = words;
}

function step() {
  change(descend(state, evaluate(state)));
}

function run() {
  halt("Running.");
  get("run").disabled = true;
  get("stop").disabled = false;
  running = setInterval(step, PAUSE);
}

// ---- Numbers and sliders ------------------------------------------------------------------------------------------

const withItem = (list, i, item) => list.map((old, at) => (at === i ? item : old));

// Logarithmic sliders: 0 ... 100 is 1e-4 ... 10, and the left end is 0.
const fromSlider = (place) => (place === 0 ? 0 : 10 ** (place / 20 - 4));
const toSlider = (value) => (value > 0 ? Math.max(1, 20 * (Math.log10(value) + 4)) : 0);

function showSliders() {
  for (const name of ["rate", "lambda"]) get(`${name}-slider`).value = toSlider(state[name]);
}

// `set` gets the number of an input whenever it is one; the text is put in order when the typing is over.
function onNumber(input, set) {
  input.addEventListener("input", () => {
    if (Number.isFinite(input.valueAsNumber)) change(set(input.valueAsNumber), input);
  });
  input.addEventListener("change", () => change({}));
}

function connectWeights() {
  for (let j = 0; j < 3; j++)
    NAMES.forEach((name, k) => {
      const set = (value) =>
        k < 2 ? { W: withItem(state.W, j, withItem(state.W[j], k, value)) } : { b: withItem(state.b, j, value) };
      onNumber(get(`${name}-${j}`), set);
      onNumber(get(`${name}-${j}-slider`), set);
    });
}

function connectRates() {
  for (const name of ["rate", "lambda"]) {
    const number = get(name);
    onNumber(number, (value) => ({ [name]: Math.max(0, value) }));
    number.addEventListener("input", showSliders);
    get(`${name}-slider`).addEventListener("input", (event) =>
      change({ [name]: Number(brief(fromSlider(event.target.valueAsNumber))) }),
    );
  }
}

// ---- Points -------------------------------------------------------------------------------------------------------

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const inside = (value) => Math.min(Math.max(value, -REACH), REACH);

const movedTo = (i, x) => ({ points: withItem(state.points, i, { ...state.points[i], x }) });

// Where the pointer is on the plane, as x1 and x2.
function placeOf(event) {
  const box = get("plane").getBoundingClientRect();
  const across = (event.clientX - box.left) / box.width;
  const down = (event.clientY - box.top) / box.height;
  return [REACH * (2 * across - 1), REACH * (1 - 2 * down)];
}

function connectPoint(_, i) {
  const group = get(`point-${i}`);
  let hold = null; // from the pointer to the point
  group.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const place = placeOf(event);
    hold = state.points[i].x.map((xk, k) => xk - place[k]);
    group.setPointerCapture(event.pointerId);
  });
  group.addEventListener("pointermove", (event) => {
    if (hold) change(movedTo(i, placeOf(event).map((at, k) => inside(at + hold[k]))));
  });
  // A finger moves the point, not the page; touch-action in CSS does not reach the inside of a picture.
  group.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
  group.addEventListener("lostpointercapture", () => (hold = null));
  group.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault(); // else the page scrolls
    const way = event.shiftKey ? 0.25 : 0.05;
    change(movedTo(i, state.points[i].x.map((xk, k) => inside(xk + way * move[k]))));
  });
  for (const [on, off] of [["pointerenter", "pointerleave"], ["focus", "blur"]]) {
    group.addEventListener(on, () => get(`row-${i}`).classList.add("active"));
    group.addEventListener(off, () => get(`row-${i}`).classList.remove("active"));
  }
  for (const k of [0, 1]) onNumber(get(`x-${i}-${k}`), (value) => movedTo(i, withItem(state.points[i].x, k, value)));
}

// ---- All together -------------------------------------------------------------------------------------------------

const random = () => Math.round(400 * Math.random() - 200) / 100; // -2 ... 2

const BUTTONS = {
  step,
  run,
  stop: () => halt("Stopped."),
  randomise: () => change({ W: state.W.map((w) => w.map(random)), b: state.b.map(random) }),
  double: () => change({ W: state.W.map((w) => w.map((wk) => 2 * wk)), b: state.b.map((bj) => 2 * bj) }),
  reset: () => begin({}),
};

makePage(START.points);
begin({});
connectWeights();
connectRates();
START.points.forEach(connectPoint);
for (const [id, press] of Object.entries(BUTTONS)) get(id).addEventListener("click", press);
for (const radio of document.getElementsByName("loss"))
  radio.addEventListener("change", () => change({ loss: radio.value }));
get("squared").addEventListener("change", (event) => change({ squared: event.target.checked }));
for (const button of document.querySelectorAll("[data-experiment]"))
  button.addEventListener("click", () => begin(...EXPERIMENTS[button.dataset.experiment]));
