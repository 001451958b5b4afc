"use strict";
// The model: scores, losses and gradients as pure functions, in the conventions of fastlin's svm_loss and softmax_loss.
// W has a row for each class here, [w1, w2], and b a number; fastlin's W is the transpose, with b as its last row.

const SQUARED_FORMS = ["weston_watkins", "one_vs_rest"]; // svm_loss refuses a squared Crammer-Singer loss

const scoresOf = (W, b, x) => W.map((w, j) => b[j] + w[0] * x[0] + w[1] * x[1]);

const indexOfMax = (s) => s.reduce((best, sj, j) => (sj > s[best] ? j : best), 0); // the first of equals

// Each loss of a point: from scores s and label y to the loss, its slopes by the scores, the terms that the table
// shows (null where the loss has none) and whether each of them counts. A term that is exactly 0 has slope 0.

function westonWatkins(s, y, squared) {
  const terms = s.map((sj, j) => (j === y ? null : sj - s[y] + 1));
  const counts = terms.map((v) => v !== null && !(v <= 0));
  const slopes = s.map((_, j) => (counts[j] ? (squared ? 2 * terms[j] : 1) : 0));
  slopes[y] = -sum(slopes);
  return { loss: sum(terms.map((v, j) => (counts[j] ? (squared ? v * v : v) : 0))), slopes, terms, counts };
}

function crammerSinger(s, y) {
  const terms = s.map((sj, j) => (j === y ? null : sj - s[y] + 1));
  let worst = -1;
  let most = 0;
  terms.forEach((v, j) => {
    if (v !== null && v > most) {
      worst = j;
      most = v;
    }
  });
  const counts = s.map((_, j) => j === worst);
  const slopes = s.map((_, j) => (worst < 0 ? 0 : j === worst ? 1 : j === y ? -1 : 0));
  return { loss: most, slopes, terms, counts };
}

function oneVsRest(s, y, squared) {
  const sides = s.map((_, j) => (j === y ? 1 : -1));
  const terms = s.map((sj, j) => 1 - sides[j] * sj);
  const counts = terms.map((v) => !(v <= 0));
  const slopes = terms.map((v, j) => (counts[j] ? -sides[j] * (squared ? 2 * v : 1) : 0));
  return { loss: sum(terms.map((v, j) => (counts[j] ? (squared ? v * v : v) : 0))), slopes, terms, counts };
}

function softmax(s, y) {
  const top = Math.max(...s);
  const z = sum(s.map((sj) => Math.exp(sj - top)));
  const terms = s.map((sj) => Math.exp(sj - top) / z);
  const slopes = terms.map((p, j) => p - (j === y ? 1 : 0));
  return { loss: Math.log(z) - (s[y] - top), slopes, terms, counts: s.map((_, j) => j === y) };
}

const LOSSES = {
  weston_watkins: westonWatkins,
  crammer_singer: crammerSinger,
  one_vs_rest: oneVsRest,
  softmax,
};

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

const isSquared = (state) => state.squared && SQUARED_FORMS.includes(state.loss);

// The losses of all points, their mean, the penalty lambda * sum(W^2) without b, and the gradient of the total.
function evaluate(state) {
  const { points, W, b, lambda } = state;
  const rows = points.map(({ x, y }) => {
    const scores = scoresOf(W, b, x);
    return { scores, predicted: indexOfMax(scores), ...LOSSES[state.loss](scores, y, isSquared(state)) };
  });
  const mean = (numbers) => sum(numbers) / points.length;
  const data = mean(rows.map((row) => row.loss));
  const penalty = lambda * sum(W.flat().map((w) => w * w));
  const slope = (j, k) => mean(rows.map((row, i) => row.slopes[j] * points[i].x[k]));
  const dW = W.map((w, j) => w.map((wk, k) => slope(j, k) + 2 * lambda * wk));
  const db = b.map((_, j) => mean(rows.map((row) => row.slopes[j])));
  return { rows, data, penalty, total: data + penalty, dW, db };
}

// Plain gradient descent, as fastlin's SGD(rate) takes its step.
function descend(state, { dW, db }) {
  const W = state.W.map((w, j) => w.map((wk, k) => wk - state.rate * dW[j][k]));
  const b = state.b.map((bj, j) => bj - state.rate * db[j]);
  return { ...state, W, b, steps: state.steps + 1 };
}
