"""The drivers of the backends written in Python: numba compiles them, naive and numpy run them as they stand."""


def compose(load, scores_of, epilogue, gradient):
    """One pass over X: scores of a row block, epilogue of the loss, gradient of the row block, next block."""

    def loss_grad(X, W, b, y, sample_weight, hyper, rows, scores, scratch, dW, db):
        n = X.shape[0]
        block = scores.shape[1]
        loss = 0.0
        for start in range(0, n, block):
            stop = min(start + block, n)
            floats = load(X[start:stop], rows)
            S = scores[:, : stop - start]
            scores_of(floats, W, b, S)
            loss += epilogue(S, y[start:stop], sample_weight[start:stop], scratch, *hyper)
            gradient(floats, S, dW, db)
        return loss

    return loss_grad


def cut(arrays, start, stop):
    """The same stretch of each array."""
    return tuple([A[start:stop] for A in arrays])


def compose_step(clip, update, prox):
    """One pass over the arrays: clip g, update, prox of w, all for a stretch of them, then the next stretch."""

    def step(w, g, state, scalars, room, scale, limit, shrink, factor):
        for start in range(0, w.size, room.size):
            stop = min(start + room.size, w.size)
            clipped = room[: stop - start]
            clip(g[start:stop], clipped, scale, limit)
            update(w[start:stop], clipped, *cut(state, start, stop), *scalars)
            prox(w[start:stop], shrink, factor)

    return step
