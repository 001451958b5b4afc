"use strict";
// The view: writes a state and what evaluate() says of it into the page. Elements carry the exact number of their text
// in data-value.

const SIDE = 640; // of the plane in its own units
const REACH = 1.6; // the plane shows -REACH ... REACH on both axes
const HISTORY = 300; // steps in the picture of the loss
const NAMES = ["w1", "w2", "b"];

const get = (id) => document.getElementById(id);

const toPlane = ([x1, x2]) => [(SIDE / 2) * (1 + x1 / REACH), (SIDE / 2) * (1 - x2 / REACH)];

function make(parent, tag, attributes = {}, text = "") {
  const element = document.createElementNS(parent.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return parent.appendChild(element);
}

// A number as people read it: three decimals, or three digits where it is huge.
const written = (value) => {
  const text = Math.abs(value) < 1e5 ? value.toFixed(3) : Number.isFinite(value) ? value.toExponential(2) : `${value}`;
  return text === "-0.000" ? "0.000" : text;
};

// Rates and lambda are written by their first three digits.
const brief = (value) => String(Number(value.toPrecision(3)));

function show(element, value, write = written) {
  element.dataset.value = value;
  if (element.tagName === "INPUT") element.value = write(value);
  else element.textContent = write(value).replace("-", "−");
}

// ---- What is made once: rows of tables, points, axes ---------------------------------------------------------

const SHAPES = [
  (parent, r) => make(parent, "circle", { r, class: "shape" }),
  (parent, r) => make(parent, "rect", { x: -0.9 * r, y: -0.9 * r, width: 1.8 * r, height: 1.8 * r, class: "shape" }),
  (parent, r) => make(parent, "path", { d: `M0 ${-1.15 * r}L${1.1 * r} ${0.85 * r}H${-1.1 * r}Z`, class: "shape" }),
];

function makeMark(parent, label) {
  const svg = document.createElementNS(get("plane").namespaceURI, "svg");
  for (const [name, value] of Object.entries({ viewBox: "-12 -12 24 24", class: `mark c${label}` }))
    svg.setAttribute(name, value);
  svg.setAttribute("aria-hidden", "true");
  SHAPES[label](svg, 9);
  parent.append(svg, ` ${label}`);
}

function makeAxes() {
  for (const at of [-1, 0, 1]) {
    const [x, y] = toPlane([at, at]);
    make(get("axes"), "line", { x1: x, x2: x, y1: 0, y2: SIDE });
    make(get("axes"), "line", { x1: 0, x2: SIDE, y1: y, y2: y });
    make(get("axes"), "text", { x: x + 5, y: SIDE - 8 }, at === 1 ? "x₁ = 1" : `${at}`.replace("-", "−"));
    if (at) make(get("axes"), "text", { x: 6, y: y - 6 }, at === 1 ? "x₂ = 1" : "−1");
  }
}

function makePoint({ y }, i) {
  const group = make(get("points"), "g", { tabindex: 0, role: "button", class: `c${y}`, id: `point-${i}` });
  group.setAttribute("aria-roledescription", "point that can be moved");
  make(group, "circle", { r: 30, class: "grip" });
  make(group, "circle", { r: 18, class: "ring" });
  SHAPES[y](group, 11);
  make(group, "text", { x: 15, y: -13 }, `${i + 1}`);
}

function makeWeights() {
  const body = get("weights").querySelector("tbody");
  for (let j = 0; j < 3; j++) {
    const row = make(body, "tr", { class: `c${j}` });
    makeMark(make(row, "th", { scope: "row" }), j);
    NAMES.forEach((name) => {
      const cell = make(row, "td");
      const id = `${name}-${j}`;
      const label = `${name} of class ${j}`;
      make(cell, "input", { type: "number", step: 0.1, id, inputmode: "decimal", "aria-label": label });
      make(cell, "input", { type: "range", min: -5, max: 5, step: 0.05, id: `${id}-slider`, "aria-label": label });
      make(cell, "output", { id: `slope-${id}`, "aria-label": `slope of the loss by ${label}`, "aria-live": "off" });
    });
  }
}

function makeRow({ y }, i) {
  const row = make(get("rows").querySelector("tbody"), "tr", { id: `row-${i}` });
  make(row, "th", { scope: "row" }, `${i + 1}`);
  for (const k of [0, 1]) {
    const attributes = { type: "number", step: 0.05, id: `x-${i}-${k}`, inputmode: "decimal" };
    make(make(row, "td"), "input", { ...attributes, "aria-label": `x${k + 1} of point ${i + 1}` });
  }
  makeMark(make(row, "td"), y);
  for (const kind of ["score", "term"])
    for (const j of [0, 1, 2])
      make(row, "td", { id: `${kind}-${i}-${j}`, class: j ? `c${j}` : "group c0" });
  make(row, "td", { id: `loss-${i}`, class: "group" });
  make(row, "td", { id: `verdict-${i}` });
}

function makePage(points) {
  makeAxes();
  makeWeights();
  points.forEach(makePoint);
  points.forEach(makeRow);
}

// ---- What follows the numbers -----------------------------------------------------------------------------------

// The part of a convex polygon where a x1 + b x2 + c >= 0.
function clip(polygon, [a, b, c]) {
  const height = ([x1, x2]) => a * x1 + b * x2 + c;
  return polygon.flatMap((p, i) => {
    const q = polygon[(i + 1) % polygon.length];
    const [hp, hq] = [height(p), height(q)];
    const kept = hp >= 0 ? [p] : [];
    if (hp >= 0 !== hq >= 0) {
      const t = hp / (hp - hq);
      kept.push([p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])]);
    }
    return kept;
  });
}

const WHOLE = [[-REACH, -REACH], [REACH, -REACH], [REACH, REACH], [-REACH, REACH]]; // prettier-ignore

function drawRegions({ W, b }) {
  get("regions").replaceChildren();
  for (const j of [2, 1, 0]) {
    // Of classes with equal scores the first wins, so it is drawn last.
    const others = [0, 1, 2].filter((k) => k !== j);
    const edges = others.map((k) => [W[j][0] - W[k][0], W[j][1] - W[k][1], b[j] - b[k]]);
    const polygon = edges.reduce(clip, WHOLE);
    if (polygon.length) make(get("regions"), "polygon", { points: polygon.map(toPlane).join(" "), class: `c${j}` });
  }
}

// Both ends of the line w x + b = 0 inside the plane, or nothing.
function lineOf([w1, w2], b) {
  const ends = [];
  WHOLE.forEach((p, i) => {
    const q = WHOLE[(i + 1) % 4];
    const [hp, hq] = [w1 * p[0] + w2 * p[1] + b, w1 * q[0] + w2 * q[1] + b];
    if (hp >= 0 === hq >= 0) return;
    const t = hp / (hp - hq);
    ends.push([p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])]);
  });
  return ends;
}

function drawLine(w, b, j) {
  const ends = lineOf(w, b);
  if (ends.length < 2) return;
  const length = Math.hypot(...w);
  const along = [w[0] / length, -w[1] / length]; // as seen on the screen, where x2 grows upwards
  const [p, q] = ends.map(toPlane);
  const foot = [(p[0] + q[0]) / 2, (p[1] + q[1]) / 2];
  const at = (way, aside = 0) => [
    foot[0] + way * along[0] - aside * along[1],
    foot[1] + way * along[1] + aside * along[0],
  ];
  const tip = 24 + Math.min(28 * length, 116);
  make(get("lines"), "path", { d: `M${p}L${q}M${foot}L${at(tip - 12)}`, class: `c${j}` });
  make(get("lines"), "path", { d: `M${at(tip)}L${at(tip - 18, 9)}L${at(tip - 18, -9)}Z`, class: `head c${j}` });
  const label = at(tip + 18).map((place) => Math.min(Math.max(place, 16), SIDE - 16));
  make(get("lines"), "text", { x: label[0], y: label[1], class: `c${j}` }, `s${"₀₁₂"[j]}`);
}

function drawPoints({ points }, { rows }) {
  points.forEach(({ x, y }, i) => {
    const group = get(`point-${i}`);
    const [right, down] = toPlane(x);
    const is = rows[i].predicted === y ? "right" : "wrong";
    group.setAttribute("transform", `translate(${right},${down})`);
    group.setAttribute("class", `c${y} ${is}`);
    const place = `x1 ${written(x[0])}, x2 ${written(x[1])}`;
    group.setAttribute("aria-label", `point ${i + 1}, class ${y}, ${place}, loss ${written(rows[i].loss)}, ${is}`);
  });
}

const FORMULAS = {
  weston_watkins: (two) => `L<sub>i</sub> = Σ<sub>j ≠ y</sub> max(0, s<sub>j</sub> − s<sub>y</sub> + 1)${two}`,
  crammer_singer: () => "L<sub>i</sub> = max(0, max<sub>j ≠ y</sub> s<sub>j</sub> − s<sub>y</sub> + 1)",
  one_vs_rest: (two) =>
    `L<sub>i</sub> = Σ<sub>j</sub> max(0, 1 − t<sub>j</sub> s<sub>j</sub>)${two}, ` +
    "t<sub>j</sub> = 1 for j = y, else −1",
  softmax: () =>
    "L<sub>i</sub> = −log p<sub>y</sub>, p<sub>j</sub> = exp(s<sub>j</sub>) / Σ<sub>k</sub> exp(s<sub>k</sub>)",
};

const TERMS = {
  weston_watkins: ["s<sub>j</sub> − s<sub>y</sub> + 1", "Tinted are the terms above 0: they are the loss."],
  crammer_singer: ["s<sub>j</sub> − s<sub>y</sub> + 1", "Tinted is the largest term above 0: it is the loss."],
  one_vs_rest: ["1 − t<sub>j</sub> s<sub>j</sub>", "Tinted are the terms above 0: they are the loss."],
  softmax: ["p<sub>j</sub>", "Tinted is the probability of the right class; the loss is −log of it."],
};

function describe(state) {
  const two = isSquared(state) ? "²" : "";
  get("formula").innerHTML = FORMULAS[state.loss](two);
  const [term, note] = TERMS[state.loss];
  const said = two ? note.replace("they are the loss", "the sum of their squares is the loss") : note;
  const name = state.loss === "softmax" ? "probabilities" : "margins";
  get("terms-note").textContent = said;
  const classes = [0, 1, 2].map((j) => `<th scope="col"${j ? "" : ' class="group"'}>class ${j}</th>`).join("");
  get("rows").querySelector("thead").innerHTML =
    '<tr><th rowspan="2" scope="col">point</th><th rowspan="2" scope="col">x<sub>1</sub></th>' +
    '<th rowspan="2" scope="col">x<sub>2</sub></th><th rowspan="2" scope="col">label y</th>' +
    '<th colspan="3" class="group" scope="colgroup">scores s<sub>j</sub></th>' +
    `<th colspan="3" class="group" scope="colgroup">${name}: ${term}</th>` +
    '<th rowspan="2" class="group" scope="col">loss L<sub>i</sub></th><th rowspan="2" scope="col">predicted</th></tr>' +
    `<tr>${classes}${classes}</tr>`;
  for (const radio of document.getElementsByName("loss")) radio.checked = radio.value === state.loss;
  get("squared").checked = isSquared(state);
  get("squared").disabled = !SQUARED_FORMS.includes(state.loss);
  get("squared-note").hidden = SQUARED_FORMS.includes(state.loss);
}

function writeRow({ x, y }, row, i) {
  x.forEach((xk, k) => show(get(`x-${i}-${k}`), xk));
  row.scores.forEach((s, j) => show(get(`score-${i}-${j}`), s));
  row.terms.forEach((term, j) => {
    const cell = get(`term-${i}-${j}`);
    cell.classList.toggle("counts", row.counts[j]);
    if (term !== null) return show(cell, term);
    delete cell.dataset.value;
    cell.textContent = "·";
  });
  show(get(`loss-${i}`), row.loss);
  get(`verdict-${i}`).dataset.value = row.predicted;
  get(`verdict-${i}`).textContent = row.predicted === y ? `${y}` : `✗ ${row.predicted}`;
}

function drawHistory(history) {
  const top = Math.max(...history.map(({ total }) => total).filter(Number.isFinite), 1e-9);
  const picture = get("history");
  picture.replaceChildren();
  for (const name of ["data", "total"]) {
    const line = history.map((each, i) => `${(400 * i) / HISTORY},${86 - (82 * Math.min(each[name], top)) / top}`);
    make(picture, "polyline", { points: line.join(" "), class: name });
  }
  show(get("history-top"), top);
}

// Everything anew, but for the input in which somebody is typing.
function render(state, result, history, typing) {
  const typed = typing?.value;
  drawRegions(state);
  get("lines").replaceChildren();
  state.W.forEach((w, j) => drawLine(w, state.b[j], j));
  drawPoints(state, result);
  describe(state);
  state.points.forEach((point, i) => writeRow(point, result.rows[i], i));
  state.W.forEach((w, j) => {
    [...w, state.b[j]].forEach((value, k) => {
      show(get(`${NAMES[k]}-${j}`), value);
      get(`${NAMES[k]}-${j}-slider`).value = value;
      show(get(`slope-${NAMES[k]}-${j}`), k < 2 ? result.dW[j][k] : result.db[j]);
    });
  });
  for (const name of ["data", "penalty", "total"]) show(get(name), result[name]);
  const right = result.rows.filter((row, i) => row.predicted === state.points[i].y).length;
  get("right").textContent = `${right} of ${state.points.length} right`;
  show(get("rate"), state.rate, brief);
  show(get("lambda"), state.lambda, brief);
  show(get("steps"), state.steps, String);
  drawHistory(history);
  if (typing) typing.value = typed;
}
