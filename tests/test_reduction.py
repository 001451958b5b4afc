"""reduction="none": the losses of the rows, and the gradient of their sum."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import testing


@pytest.mark.paired(how=["plain", "uint8", "scaled", "bias"])
def test_a_loss_for_each_row(loss, backend, dtype, how):
    case = testing.random_case(23, 6, 4, bias=how == "bias").astype(dtype)
    X = (np.abs(case.X) * 20).astype(np.uint8) if how == "uint8" else case.X
    given = {"x_scale": np.linspace(0.5, 1, 6), "x_shift": 0.3} if how == "scaled" else {}
    given |= {"bias": case.bias, "backend": backend}
    hyper, W, y = testing.off_neutral(f"{loss}_epilogue"), case.W, case.targets(loss)
    out = np.full_like(W, 7)
    losses, dW = testing.evaluate(
        loss, hyper, W, X, y, sample_weight=case.sample_weight, reduction="none", out=out, **given
    )
    total, gradient = testing.evaluate(loss, hyper, W, X, y, sample_weight=case.sample_weight, reduction="sum", **given)
    assert dW is out
    assert losses.dtype == np.float64
    np.testing.assert_array_equal(dW, gradient)
    assert losses.sum() == pytest.approx(total, rel=1e-4 if dtype == "float32" else 1e-12)
    for i in (0, 9, 22):
        alone, _ = testing.evaluate(loss, hyper, W, X[i : i + 1], y[i : i + 1], **given)
        assert losses[i] == pytest.approx(alone * case.sample_weight[i], rel=1e-3 if dtype == "float32" else 1e-10)


def test_rows_are_torchs():
    torch = pytest.importorskip("torch")
    case = testing.random_case(30, 5, 4)
    y = np.where(case.y == 1, -100, case.y)
    expected = torch.nn.functional.cross_entropy(torch.tensor(case.X @ case.W), torch.tensor(y), reduction="none")
    losses, _ = fl.softmax_loss(case.W, case.X, y, ignore_index=-100, reduction="none")
    np.testing.assert_allclose(losses, expected, rtol=1e-12)


def test_no_rows_and_a_penalty():
    losses, dW = fl.svm_loss(np.ones((2, 3)), np.ones((0, 2)), np.zeros(0, int), reduction="none")
    assert losses.shape == (0,)
    assert not dW.any()
    with pytest.raises(ValueError, match=r"reg is L2\(lam=0.1\), which no row's loss has a part of"):
        fl.svm_loss(np.ones((2, 3)), np.ones((1, 2)), [0], 0.1, reduction="none")
