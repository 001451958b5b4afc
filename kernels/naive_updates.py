"""Optimizer steps as the papers write them, one number at a time. See fastlin/ops.py for the contract."""

import math


def root(x):
    """The square root; of a negative number NaN, where Python would raise in the middle of a step."""
    return math.nan if x < 0 else math.sqrt(x)


def sgd_update(w, g, lr, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        w[i] = x - lr * (float(g[i]) + weight_decay * x)


def momentum_update(w, g, v, lr, momentum, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        velocity = momentum * float(v[i]) + float(g[i]) + weight_decay * x
        v[i] = velocity
        w[i] = x - lr * velocity


def velocity_update(w, g, v, lr, momentum, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        velocity = momentum * float(v[i]) - lr * (float(g[i]) + weight_decay * x)
        v[i] = velocity
        w[i] = x + velocity


def nesterov_update(w, g, v, lr, momentum, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        velocity = momentum * float(v[i]) + gradient
        v[i] = velocity
        w[i] = x - lr * (gradient + momentum * velocity)


def adagrad_update(w, g, s, lr, eps, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        squares = float(s[i]) + gradient * gradient
        s[i] = squares
        w[i] = x - lr * gradient / (root(squares) + eps)


def rmsprop_update(w, g, s, lr, alpha, eps, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        squares = alpha * float(s[i]) + (1.0 - alpha) * gradient * gradient
        s[i] = squares
        w[i] = x - lr * gradient / (root(squares) + eps)


def adadelta_update(w, g, s, u, lr, rho, eps, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        squares = rho * float(s[i]) + (1.0 - rho) * gradient * gradient
        delta = gradient * root(float(u[i]) + eps) / root(squares + eps)
        s[i] = squares
        u[i] = rho * float(u[i]) + (1.0 - rho) * delta * delta
        w[i] = x - lr * delta


def adam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        first = beta1 * float(m[i]) + (1.0 - beta1) * gradient
        second = beta2 * float(v[i]) + (1.0 - beta2) * gradient * gradient
        m[i] = first
        v[i] = second
        first_unbiased = first / (1.0 - beta1**t)
        second_unbiased = second / (1.0 - beta2**t)
        w[i] = x - lr * first_unbiased / (root(second_unbiased) + eps)


def adam_almost_update(w, g, m, v, lr, beta1, beta2, eps, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        first = beta1 * float(m[i]) + (1.0 - beta1) * gradient
        second = beta2 * float(v[i]) + (1.0 - beta2) * gradient * gradient
        m[i] = first
        v[i] = second
        w[i] = x - lr * first / (root(second) + eps)


def adamw_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i])
        first = beta1 * float(m[i]) + (1.0 - beta1) * gradient
        second = beta2 * float(v[i]) + (1.0 - beta2) * gradient * gradient
        m[i] = first
        v[i] = second
        first_unbiased = first / (1.0 - beta1**t)
        second_unbiased = second / (1.0 - beta2**t)
        w[i] = (1.0 - lr * weight_decay) * x - lr * first_unbiased / (root(second_unbiased) + eps)


def amsgrad_update(w, g, m, v, v_max, t, lr, beta1, beta2, eps, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        first = beta1 * float(m[i]) + (1.0 - beta1) * gradient
        second = beta2 * float(v[i]) + (1.0 - beta2) * gradient * gradient
        highest = float(v_max[i])
        highest = highest if highest >= second else second  # a NaN becomes the maximum
        m[i] = first
        v[i] = second
        v_max[i] = highest
        first_unbiased = first / (1.0 - beta1**t)
        second_unbiased = highest / (1.0 - beta2**t)
        w[i] = x - lr * first_unbiased / (root(second_unbiased) + eps)


def nadam_rates(t, lr, beta1, momentum_decay, product):
    """The rates of g and of m in step t, bias corrected. product : `nadam_product` of t."""
    now = beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))
    following = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1.0) * momentum_decay))
    return lr * (1.0 - now) / (1.0 - product), lr * following / (1.0 - product * following)


def nadam_product(t, beta1, momentum_decay):
    """The product of beta1 (1 - q^i / 2) over i = 1 ... t, where q = 0.96^momentum_decay, by the same work for any t.

    log(1 - x) = -(x + x^2/2 + x^3/3 + ...), and the sum of (q^i)^k over i is q^k (1 - q^(k t)) / (1 - q^k).
    """
    if beta1 == 0.0 or t * math.log(beta1) < -50.0:  # beside 1 the product is nothing
        return 0.0
    rate = momentum_decay * math.log(0.96)
    first, last = -math.expm1(rate), -math.expm1(t * rate)
    below, above = first, last  # 1 - q^k and 1 - q^(k t)
    total, half = 0.0, 1.0
    for k in range(1, 57):  # 2^-56 is nothing beside 1
        half *= 0.5
        total += half / k * ((1.0 - below) * above / below if below > 0.0 else t)
        below += (1.0 - below) * first
        above += (1.0 - above) * last
    return math.exp(t * math.log(beta1) - total)


def nadam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay, momentum_decay):
    product = nadam_product(t, beta1, momentum_decay)
    of_gradient, of_moment = nadam_rates(t, lr, beta1, momentum_decay, product)
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        first = beta1 * float(m[i]) + (1.0 - beta1) * gradient
        second = beta2 * float(v[i]) + (1.0 - beta2) * gradient * gradient
        m[i] = first
        v[i] = second
        second_unbiased = second / (1.0 - beta2**t)
        w[i] = x - (of_gradient * gradient + of_moment * first) / (root(second_unbiased) + eps)


def radam_rates(t, lr, beta1, beta2):
    """The rate of m / (sqrt(v) + eps) in step t, or that of m alone while v is too uncertain; the other rate is 0."""
    rate = lr / (1.0 - beta1**t)
    decayed = beta2**t
    last = 2.0 / (1.0 - beta2) - 1.0
    rho = last - 2.0 * t * decayed / (1.0 - decayed)
    if rho <= 5.0:
        return 0.0, rate
    rectified = math.sqrt((rho - 4.0) * (rho - 2.0) * last / ((last - 4.0) * (last - 2.0) * rho))
    return rate * rectified * math.sqrt(1.0 - decayed), 0.0


def radam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    rate, rate_alone = radam_rates(t, lr, beta1, beta2)
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        first = beta1 * float(m[i]) + (1.0 - beta1) * gradient
        second = beta2 * float(v[i]) + (1.0 - beta2) * gradient * gradient
        m[i] = first
        v[i] = second
        w[i] = x - (rate * first / (root(second) + eps) if rate else rate_alone * first)


def adamax_update(w, g, m, u, t, lr, beta1, beta2, eps, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        first = beta1 * float(m[i]) + (1.0 - beta1) * gradient
        size, before = abs(gradient) + eps, beta2 * float(u[i])
        largest = before if before > size else size  # a NaN becomes the maximum
        m[i] = first
        u[i] = largest
        w[i] = x - lr * first / (1.0 - beta1**t) / largest


def lion_update(w, g, m, lr, beta1, beta2, weight_decay):
    for i in range(len(w)):
        moment, gradient = float(m[i]), float(g[i])
        direction = beta1 * moment + (1.0 - beta1) * gradient
        sign = 1.0 if direction > 0.0 else -1.0 if direction < 0.0 else direction  # keeps 0 and NaN
        m[i] = beta2 * moment + (1.0 - beta2) * gradient
        w[i] = (1.0 - lr * weight_decay) * float(w[i]) - lr * sign


def penalty_stage(g, w, l2, l1):
    value = 0.0
    for j in range(w.shape[0]):
        for k in range(w.shape[1]):
            x = float(w[j, k])
            slope = 0.0
            if l2:  # two separate terms: 0 times an infinite weight is NaN
                slope += 2.0 * l2 * x
                value += l2 * x * x
            if l1:
                slope += l1 * (1.0 if x > 0.0 else -1.0 if x < 0.0 else x)  # keeps 0 and NaN
                value += l1 * abs(x)
            g[j, k] += slope
    return value


def clip_stage(g, out, scale, limit):
    for i in range(len(g)):
        x = scale * float(g[i])
        out[i] = -limit if x < -limit else limit if x > limit else x


def prox_stage(w, shrink, factor):
    for i in range(len(w)):
        x = float(w[i])
        w[i] = factor * (x - (-shrink if x < -shrink else shrink if x > shrink else x))


def average_stage(w, mean, factor):
    for i in range(len(w)):
        before = float(mean[i])
        mean[i] = before + (float(w[i]) - before) * factor


def sum_squares(g):
    total = 0.0
    for x in g.tolist():
        total += x * x
    return total
