"""What breaks the thing that a row of docs/lectures.md names: (file, old text, new text).

Files are of the package, in pure Python; the old text is there once. In `kernels/` it is the backend numpy that is
broken, as a test of a row runs with every backend.
"""

OPS, STEPS = "kernels/numpy_ops.py", "kernels/numpy_updates.py"
OBJECTIVE, TRAINING, TRAIN = "fastlin/_objective.py", "fastlin/_training/training.py", "fastlin/train.py"
LOSSES, PENALTIES, SCHEDULES = "fastlin/losses.py", "fastlin/penalties.py", "fastlin/schedules.py"
SEARCH, GRADCHECK, SECOND_ORDER = "fastlin/search.py", "fastlin/gradcheck.py", "fastlin/second_order.py"
MINIMIZE, SOLVERS = "fastlin/minimize.py", "fastlin/_solvers/choice.py"
TOYS, FEATURES = "fastlin/toys.py", "fastlin/features.py"
PLAY = "fastlin/lectures/play/__init__.py"

Mutant = tuple[str, str, str]  # a row has one of these, or a list

# What several of them change, or are.
HINGE = "np.maximum(scores, 0, out=scores)\n    loss = np.dot(scores"
SGD = "w -= lr * (g + weight_decay * w)"
NO_BIAS = (OPS, "weights[:, : len(W)] = W.T", "weights[:, : weights.shape[1] - 1] = W.T[:, : weights.shape[1] - 1]")
NO_SLOPE = (
    OPS,
    "np.multiply(np.where(scores >= 0, 1, e) / (1 + e) - targets.T, sample_weight, out=scores)",
    "scores *= 0",
)

CLASSIFIER: dict[str, Mutant | list[Mutant]] = {
    "four-pixels": (OPS, "rows.T, out=scores)\n    scores += W[:, -1:]\n", "rows.T, out=scores)\n"),
    "flatten": [
        (OPS, "np.matmul(W[:, :-1], rows.T", "np.matmul(W[:, -2::-1], rows.T"),
        ("fastlin/_check/__init__.py", "flatten each sample with", "reshape each sample with"),
    ],
    "bias-trick": NO_BIAS,
    "dimensions": (
        LOSSES,
        "return _run.scores(W, rows, backend, threads).T",
        "return _run.scores(W, rows, backend, threads)",
    ),
    "x-w-or-w-x": (OPS, "np.matmul(W[:, :-1], rows.T", "np.matmul(-W[:, :-1], rows.T"),
    "ten-scores": (OBJECTIVE, "S[some].argmax(axis=1,", "S[some].argmin(axis=1,"),
    "argmax-rule": (OBJECTIVE, "S[some].argmax(axis=1,", "S[some, ::-1].argmax(axis=1,"),
    "scores-by-index": (
        LOSSES,
        "_run.scores(W, rows, backend, threads).T",
        "_run.scores(W, rows, backend, threads).T[::-1]",
    ),
    "accuracy-on-the-test-set": (OBJECTIVE, "found[some] == y[some]", "found[some] != y[some]"),
    "train-validation-test": (TRAINING, "_run.scores(W, inputs.X, backend", "_run.scores(W, inputs.X[::-1], backend"),
    "binary-rule": (OBJECTIVE, "(S[:, 0] >= 0)", "(S[:, 0] > 0)"),
    "one-versus-all": [
        (
            TRAIN,
            'make_objective(loss, with_defaults(loss, hyper, "train")',
            'make_objective("softmax", with_defaults("softmax", hyper, "train")',
        ),
        (
            OPS,
            "-side, sample_weight, out=scores)\n    return weighted(v.sum(axis=0)",
            "-side, sample_weight, out=scores)\n    return weighted(v.max(axis=0)",
        ),
    ],
    "templates": [
        (OPS, "scores[y, rows] -= 1 - label_smoothing", "scores[y - 1, rows] -= 1 - label_smoothing"),
        ("fastlin/cli/train.py", 'out / "templates.png")', 'out / "template.png")'),
    ],
    "hyperplanes": (OPS, "rows.T, out=scores)\n    scores += W[:, -1:]\n", "rows.T, out=scores)\n"),
    "nearest-neighbours": (OPS, "scores[y, rows] -= 1 - label_smoothing", "scores[y - 1, rows] -= 1 - label_smoothing"),
}

SVM: dict[str, Mutant | list[Mutant]] = {
    "svm-losses": (
        OPS,
        "margin\n    scores[y, rows] = 0\n    np.maximum(scores, 0, out=scores)\n    loss = np.dot(scores",
        "1.5\n    scores[y, rows] = 0\n    np.maximum(scores, 0, out=scores)\n    loss = np.dot(scores",
    ),
    "svm-by-cases": (OPS, "violated = ~(scores <= 0)", "violated = ~(scores < 0)"),
    "svm-of-one-row": (OPS, "np.dot(scores.sum(axis=0)", "np.dot(scores.max(axis=0)"),
    "svm-q1-car-scores-change": (OPS, HINGE, "np.abs(scores, out=scores)\n    loss = np.dot(scores"),
    "svm-q2-least-and-most": (OPS, HINGE, "np.clip(scores, 0, 1e6, out=scores)\n    loss = np.dot(scores"),
    "svm-q3-start": (OPS, "np.dot(scores.sum(axis=0)", "np.dot(scores.mean(axis=0)"),
    "svm-q4-all-classes": (
        OPS,
        "    scores[y, rows] = 0\n    np.maximum(scores, 0, out=scores)\n    loss = np.dot(scores",
        "    np.maximum(scores, 0, out=scores)\n    loss = np.dot(scores",
    ),
    "svm-q5-mean-instead-of-sum": (
        OPS,
        "np.dot(scores.sum(axis=0), sample_weight.astype(np.float64))",
        "np.sum(scores)",
    ),
    "svm-q6-squared": (OPS, "np.dot(np.square(scores).sum(axis=0)", "np.dot(scores.sum(axis=0)"),
    "svm-twice-the-weights": (OPS, HINGE, "np.abs(scores, out=scores)\n    loss = np.dot(scores"),
    "svm-doubling-is-not-learning": NO_BIAS,
    "svm-variants": [
        (OPS, "most = np.maximum(scores[worst, rows], 0)", "most = np.maximum(scores, 0).sum(axis=0)"),
        (OPS, "side = 2 * targets.T - 1  #", "side = 1 - 2 * targets.T  #"),
    ],
}

SOFTMAX: dict[str, Mutant | list[Mutant]] = {
    "softmax-probabilities": (LOSSES, "probabilities[some].sum(axis=-1", "probabilities[some].max(axis=-1"),
    "softmax-cat-to-base-10": (OPS, "np.dot(np.log(z)", "np.dot(np.log2(z)"),
    "softmax-car-to-base-10": (LOSSES, "exp(shifted.reshape(-1)", "exp(0.5 * shifted.reshape(-1)"),
    "softmax-least-and-most": (
        OPS,
        "np.dot(np.log(z) - target_logit",
        "np.dot(np.minimum(np.log(z) - target_logit, 1e6)",
    ),
    "softmax-start": (OPS, "z = scores.sum(axis=0)", "z = scores.sum(axis=0) + 1"),
    "softmax-is-maximum-likelihood": (
        OBJECTIVE,
        'rows = inputs.X.shape[0] if reduction == "mean" else 1',
        "rows = inputs.X.shape[0]",
    ),
    "softmax-is-a-divergence": (OPS, "label_smoothing * scores.mean(axis=0)", "label_smoothing * scores.max(axis=0)"),
    "softmax-beside-svm": [
        NO_BIAS,
        (OPS, "np.dot(np.log(z)", "np.dot(np.log10(z)"),
    ],
    "loss-curves": [
        (OPS, "violated = ~(scores <= 0)", "violated = ~(scores < 0)"),
        (OPS, "np.dot(np.log(z) - target_logit", "np.dot(np.maximum(np.log(z) - target_logit, 1e-3)"),
    ],
    "jiggling": [
        (OPS, HINGE, "np.logaddexp(scores, 0, out=scores)\n    loss = np.dot(scores"),
        (OPS, "np.dot(np.log(z) - target_logit", "np.dot(np.maximum(np.log(z) - target_logit, 1e-3)"),
    ],
    "jiggling-with-a-wrong-class": [
        (OPS, HINGE, "np.clip(scores, 0, 50, out=scores)\n    loss = np.dot(scores"),
        (OPS, "np.dot(np.log(z) - target_logit", "np.dot(np.minimum(np.log(z) - target_logit, 50)"),
    ],
    "doubled-correct-score": (OPS, "np.exp(scores, out=scores)\n    z", "np.exp(0.1 * scores, out=scores)\n    z"),
}

REGRESSION: dict[str, Mutant | list[Mutant]] = {
    "regression-l1": (OPS, "np.multiply(np.sign(scores), sample_weight, out=scores)", "scores[...] = 0"),
    "regression-l2": (OPS, "scores *= 2 * sample_weight\n    return loss", "scores *= sample_weight\n    return loss"),
    "regression-with-l1-penalty": (PENALTIES, "return np.sign(W) * self.lam", "return np.zeros_like(W)"),
    "logistic": NO_SLOPE,
    "logistic-decomposed": [
        (OPS, "np.maximum(scores, 0) - targets.T * scores", "np.maximum(scores, 0)"),
        NO_SLOPE,
    ],
    "delta-rule": (
        OPS,
        "scores *= 2 * sample_weight\n    return loss",
        "scores *= -2 * sample_weight\n    return loss",
    ),
    "sigmoid-slope": (OPS, "2 * d * e / np.square(1 + e)", "2 * d"),
    "sigmoid-perceptron": (
        OPS,
        "d = np.where(scores >= 0, 1, e) / (1 + e) - targets.T",
        "d = targets.T - np.where(scores >= 0, 1, e) / (1 + e)",
    ),
}

REGULARISATION: dict[str, Mutant | list[Mutant]] = {
    "full-loss": [
        (OBJECTIVE, "total / rows + self.add_penalty(W[:d], dW[:d])", "total / rows"),
        (
            OBJECTIVE,
            "total / rows + self.add_penalty(W[:d], dW[:d])",
            "total / rows + self.add_penalty(W[:d], dW[:d].copy())",
        ),
    ],
    "l2-spreads-out": [
        (PENALTIES, "_sum(np.square, W)", "_sum(np.abs, W)"),
        (PENALTIES, "return self.lam, 0.0", "return 0.0, self.lam"),
    ],
    "l1-does-not-mind": [
        (PENALTIES, "_sum(np.abs, W)", "_sum(np.square, W)"),
        (PENALTIES, "return np.sign(W) * self.lam", "return np.zeros_like(W)"),
    ],
    "elastic-net": [
        (PENALTIES, "return L2(self.lam * self.beta).value(W) + L1", "return L1"),
        (
            PENALTIES,
            "return L2(self.lam * self.beta).gradient(W) + L1(self.lam).gradient(W)",
            "return np.zeros_like(W)",
        ),
    ],
    "l2-chooses-between-w-and-2w": (PENALTIES, "_sum(np.square, W)", "np.sign(np.abs(W)).sum()"),
    "l2-is-a-gaussian-prior": (PENALTIES, "return self.lam, 0.0", "return 0.5 * self.lam, 0.0"),
    "l2-adds-curvature": (PENALTIES, "return self.lam, 0.0", "return 0.0, self.lam"),
    "prefer-simpler-models": (PENALTIES, "return self.lam, 0.0", "return 0.0, 0.0"),
    "weight-decay": (STEPS, SGD, "w -= lr * g"),
    "max-norm": (
        PENALTIES,
        "weights *= np.where(norms > limit, limit / np.where(norms > limit, norms, 1.0), 1.0)",
        "weights *= limit / norms",
    ),
    "dropout": (PENALTIES, "(rows[some] / kept)", "rows[some]"),
}

GRADIENTS: dict[str, Mutant | list[Mutant]] = {
    "numerical-gradient-table": (
        GRADCHECK,
        "(f_above - f_below) / (above - below)",
        "(f_below - f_above) / (above - below)",
    ),
    "numerical-gradient-table-of-six": (
        GRADCHECK,
        "(f_above - f_below) / (above - below)",
        "(f_above - f_below) / abs(here)",
    ),
    "gradient-at-5-3": (GRADCHECK, "entries[i] = here + h", "entries[0] = here + h"),
    "forward-differences": (GRADCHECK, "entries[i] = here - h", "entries[i] = here"),
    "directional-slope": (OPS, "scores[y, rows] -= 1 - label_smoothing", "scores[y, rows] -= 0.9 - label_smoothing"),
    "sizes-of-derivatives": [
        (GRADCHECK, "np.array(slopes, W.dtype).reshape(W.shape)", "np.array(slopes, W.dtype).reshape(-1, 1)"),
        (LOSSES, "probabilities[some].sum(axis=-1", "probabilities[some].max(axis=-1"),
    ],
    "jacobian": (
        GRADCHECK,
        "slopes = [_slope(f, W, i, h, f_here) for i in range(W.size)]",
        "slopes = [_slope(f, W, i, h, f_here) for i in reversed(range(W.size))]",
    ),
    "analytic-gradient": (
        OPS,
        "scores[y, rows] = -violated.sum(axis=0) * sample_weight",
        "scores[y, rows] = -sample_weight",
    ),
    "gradient-check": (GRADCHECK, "return GradientCheck(largest <= rtol,", "return GradientCheck(True,"),
}

OPTIMISATION: dict[str, Mutant | list[Mutant]] = {
    "random-search": (SEARCH, 'np.array(W[i], order="F")', 'np.array(W[0], order="F")'),
    "random-search-prints": (SEARCH, "deviation = 1e-4 if", "deviation = 1e-3 if"),
    "random-local-search": (SEARCH, "there = W_here + some", "there = some"),
    "gradient-descent": (STEPS, SGD, "w -= 0.5 * lr * (g + weight_decay * w)"),
    "mini-batch": (
        TRAINING,
        "self._order(), self.batch_size, self.optimizer",
        "self._order(), self.count, self.optimizer",
    ),
    "batch-stochastic-mini-batch": (
        TRAINING,
        "self._order(), self.batch_size, self.optimizer",
        "self._order(), self.count, self.optimizer",
    ),
    "loss-goes-down": (STEPS, SGD, "w += lr * (g + weight_decay * w)"),
    "gradient-noise": (OBJECTIVE, 'rows = inputs.X.shape[0] if reduction == "mean" else 1', "rows = 1"),
    "condition-number": [
        (SECOND_ORDER, ".ravel() / step", ".ravel() / step + 1.0"),
        (STEPS, "    v *= momentum\n    v += g + weight_decay * w", "    v *= 0\n    v += g + weight_decay * w"),
    ],
    "saddle-point": [
        (SECOND_ORDER, "symmetric: Array = (H + H.T) / 2", "symmetric: Array = abs(H + H.T) / 2"),
        (STEPS, SGD, "w += lr * (g + weight_decay * w)"),
    ],
    "local-minimum": (
        STEPS,
        "    v *= momentum\n    v += g + weight_decay * w",
        "    v *= 0\n    v += g + weight_decay * w",
    ),
    "sgd": (STEPS, SGD, "w -= lr * np.sign(g)"),
    "momentum": (STEPS, "    v += g + weight_decay * w", "    v += (1 - momentum) * (g + weight_decay * w)"),
    "momentum-both-forms": (
        STEPS,
        "    v -= lr * (g + weight_decay * w)",
        "    v -= (1 - momentum) * lr * (g + weight_decay * w)",
    ),
    "nesterov": (STEPS, "w -= lr * (gradient + momentum * v)", "w -= lr * v"),
    "adagrad": (STEPS, "    s += np.square(gradient)", "    s[...] = np.square(gradient)"),
    "adagrad-q1-steep-is-damped": (
        STEPS,
        "s += np.square(gradient)\n    w -= lr * gradient / (np.sqrt(s) + eps)",
        "w -= lr * gradient",
    ),
    "adagrad-q2-steps-decay": (STEPS, "    s += np.square(gradient)", "    s[...] = np.square(gradient)"),
    "adagrad-gets-stuck": (STEPS, "    s += np.square(gradient)", "    s[...] = 0.9 * s + 0.1 * np.square(gradient)"),
    "rmsprop": (STEPS, "s += (1 - alpha) * np.square(gradient)", "s += np.square(gradient)"),
    "adam-first-step": [
        (STEPS, "w -= lr * m / (np.sqrt(v) + eps)", "w -= lr * m / (1 - beta1) / (np.sqrt(v / (1 - beta2)) + eps)"),
        (
            STEPS,
            "weight_decay * w, m, v, beta1, beta2)\n    m_unbiased = m / (1 - beta1**t)",
            "weight_decay * w, m, v, beta1, beta2)\n    m_unbiased = m",
        ),
    ],
    "adam": (
        STEPS,
        "weight_decay * w, m, v, beta1, beta2)\n    m_unbiased = m / (1 - beta1**t)",
        "weight_decay * w, m, v, beta1, beta2)\n    m_unbiased = m",
    ),
    "adam-is-a-good-default": (
        "fastlin/optim.py",
        'rule = "adam_update"\n\n    def __init__(\n        self,\n        lr: Lr = 1e-3,',
        'rule = "adam_update"\n\n    def __init__(\n        self,\n        lr: Lr = 1e-5,',
    ),
    "learning-rates": (STEPS, SGD, "w -= min(lr, 0.03) * (g + weight_decay * w)"),
    "reduced-rate-converges": (SCHEDULES, "return self.lr / math.sqrt(max(t, 1))", "return self.lr"),
    "step-decay": (SCHEDULES, "sum(t >= reached for", "sum(t > reached for"),
    "cosine-decay": (
        SCHEDULES,
        "0.5 * (self.lr - self.low) * (1.0 + math.cos(math.pi * min(t, self.T) / self.T))",
        "(self.lr - self.low) * (1.0 - min(t, self.T) / self.T)",
    ),
    "linear-decay": (
        SCHEDULES,
        "        part = min(t, self.T) / self.T\n",
        "        part = (min(t, self.T) / self.T) ** 2\n",
    ),
    "inverse-sqrt-decay": (SCHEDULES, "return self.lr / math.sqrt(max(t, 1))", "return self.lr / max(t, 1)"),
    "linear-warmup": (
        SCHEDULES,
        "return t / self.steps * _rate(self.schedule, 0)",
        "return (t / self.steps) ** 2 * _rate(self.schedule, 0)",
    ),
    "rate-grows-with-the-batch": (SCHEDULES, '"lr * factor", lr * factor,', '"lr * factor", lr * factor**0.5,'),
    "newton": (SECOND_ORDER, "return W - step.reshape(W.shape)", "return W - 0.5 * step.reshape(W.shape)"),
    "quadratic-approximation": (
        SECOND_ORDER,
        "symmetric: Array = (H + H.T) / 2",
        "symmetric: Array = np.diag(np.diag(H))",
    ),
    "hessian-size": (SECOND_ORDER, "symmetric: Array = (H + H.T) / 2", "symmetric: Array = np.eye(W.size)"),
    "bfgs": [
        (SOLVERS, "jac=True, method=method,", 'jac=True, method="L-BFGS-B",'),
        (SOLVERS, "    if chosen in SCIPYS and problem", "    if chosen is SCIPYS and problem"),
    ],
    "lbfgs-in-full-batches": ("fastlin/_solvers/pairs.py", "        return direction\n", "        return -gradient\n"),
}

PICTURES: dict[str, Mutant | list[Mutant]] = {
    "hard-cases": [
        (TOYS, "return X, (X > 0).sum(axis=1) % 2", "return X, rng.integers(0, 2, n)"),
        (TOYS, "np.sqrt(np.where(y == 1, 1.0 + 3.0 * share, rest))", "np.sqrt(9.0 * share)"),
        (TOYS, "np.where(y[:, None] == 1, inside, _away_from_modes(rng, n))", "_away_from_modes(rng, n)"),
    ],
    "xor": (
        FEATURES,
        "_preprocessing.PolynomialFeatures  # all",
        "lambda degree, **how: _preprocessing.PolynomialFeatures(1, **how)  # all",
    ),
    "polar-coordinates": [
        (FEATURES, "np.hypot(X[some, 0], X[some, 1]", "np.add(X[some, 0], X[some, 1]"),
        (TOYS, "np.sqrt(np.where(y == 1, 2.25 + 4.0 * share, share))", "np.sqrt(6.25 * share)"),
    ],
    "bias-and-variance": [
        (TOYS, "return X, np.sin(np.pi * X[:, 0])", "return X, 0.0 * X[:, 0]"),
        (TOYS, "return X, np.sin(np.pi * X[:, 0]) +", "return X, np.sin(np.pi * X[:, 0]) + rng.standard_normal(n) +"),
    ],
    "color-histogram": (FEATURES, "share[some] = _counts(inside, bins) / inside.shape[1]", "share[some] = 1 / bins"),
    "hog": (
        FEATURES,
        "np.array([hog(image, **how) for image in images])",
        "np.zeros_like([hog(image, **how) for image in images])",
    ),
    "bag-of-words": (
        FEATURES,
        "_counts(word.reshape(len(patches), -1), words) / patches.shape[1]",
        "np.full((len(patches), words), 1 / words)",
    ),
}

SEARCHES: dict[str, Mutant | list[Mutant]] = {
    "search-stops-at-a-target": (
        SEARCH,
        "            if best.loss <= target:\n",
        "            if best.loss <= 0.9 * target:\n",
    ),
    "local-search-accepts-worse": (SEARCH, "    if there < here or temperature == 0:\n", "    if True:\n"),
    "range-of-the-parameters": (SEARCH, "rng.uniform(low, high, count)", "rng.uniform(low, 2 * high, count)"),
    "how-often-random-search-succeeds": (
        SEARCH,
        "rng.uniform(low, high, count)",
        "np.random.default_rng(0).uniform(low, high, count)",
    ),
    "descent-stops-when-the-change-is-tiny": (
        TRAINING,
        "abs(losses[-1] - losses[-2]) <= tol",
        "abs(losses[-1] - losses[-2]) <= tol / 2",
    ),
    "eval-numerical-gradient": (
        GRADCHECK,
        "below, f_below = float(here), f_here",
        "below, f_below = float(here) - h, f_here",
    ),
    "numerical-gradient-is-slow": (
        GRADCHECK,
        'f_here = _value(f(W)) if method == "forward" else None',
        'f_here = (_value(f(W)), _value(f(W)))[0] if method == "forward" else None',
    ),
    "loss-surface": (LOSSES, "loss = HINGES[variant, squared]", "loss = HINGES[variant, True]"),
}

DESCENT: dict[str, Mutant | list[Mutant]] = {
    "accuracy-for-computation": (
        OBJECTIVE,
        'inputs.X.shape[0] if reduction == "mean" else 1',
        'inputs.X.shape[0] ** 0.5 if reduction == "mean" else 1',
    ),
    "all-of-these-are-good-learning-rates": (
        SCHEDULES,
        "sum(t >= reached for reached in self.at)",
        "sum(t > 10 * reached for reached in self.at)",
    ),
    "warmup-prevents-explosion": (
        SCHEDULES,
        "return t / self.steps * _rate(self.schedule, 0)",
        "return _rate(self.schedule, 0)",
    ),
    "interactive-demo": (
        PLAY,
        '.replace("/* scripts */", scripts)',
        '.replace("/* scripts */", scripts.replace("2 * lambda", "lambda"))',
    ),
    "four-difficulties": (
        "fastlin/optim.py",
        "        lr: Lr = 1e-3,\n        momentum: float = 0.9,",
        "        lr: Lr = 1e-3,\n        momentum: float = 0.0,",
    ),
    "update-formulas-compared": ("fastlin/optim.py", "        alpha: float = 0.99,", "        alpha: float = 0.0,"),
    "saddles-in-high-dimension": (
        SECOND_ORDER,
        "    symmetric: Array = (H + H.T) / 2",
        "    symmetric: Array = np.abs(H + H.T) / 2 if W.size == 6 else (H + H.T) / 2",
    ),
    "lbfgs-in-mini-batches": (
        MINIMIZE,
        "objective.loss.name, W, X, y, objective.bias",
        "objective.loss.name, None, X, y, objective.bias",
    ),
    "house-prices": (OBJECTIVE, "return S[:, 0] if S.shape[1] == 1 else S\n", "return classes(S)\n"),
    "binary-classifier-with-one-column": (
        OBJECTIVE,
        "return classes(S) if loss.binary else largest(S)",
        "return largest(S)",
    ),
    "double-descent": (TOYS, "X = np.linspace(-1.0, 1.0, n)[:, None]", "X = np.linspace(-0.7, 0.7, n)[:, None]"),
}

MUTANTS = (
    CLASSIFIER | SVM | SOFTMAX | REGRESSION | REGULARISATION | GRADIENTS | SEARCHES | OPTIMISATION | DESCENT | PICTURES
)
