"""The driver of the backends written in Python: numba compiles it, naive and numpy run it as it stands."""


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
