"""exp and log for loops along rows, in Numba, as instructions that LLVM can put into a vectorised loop.

np.exp would be a call of the C library for every number. Here the code stands in the loop itself and has no
branches. Rounding is spelled out: multiply-adds may fuse, but sums are not reordered as `fastmath` would.
"""

from typing import NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


class Real:
    """A float or double in an intrinsic, on which arithmetic appends instructions."""

    def __init__(self, b, value):
        self.b, self.value = b, value

    def wrap(self, other):
        return other if isinstance(other, Real) else Real(self.b, self.value.type(other))

    def __add__(self, other):
        return Real(self.b, self.b.fadd(self.value, self.wrap(other).value, flags=("contract",)))

    def __sub__(self, other):
        return Real(self.b, self.b.fsub(self.value, self.wrap(other).value, flags=("contract",)))

    def __mul__(self, other):
        return Real(self.b, self.b.fmul(self.value, self.wrap(other).value, flags=("contract",)))

    def __truediv__(self, other):
        return Real(self.b, self.b.fdiv(self.value, self.wrap(other).value, flags=("contract",)))

    def at_least(self, bound):
        """The larger of both; a NaN stays."""
        below = self.b.fcmp_ordered("<", self.value, self.wrap(bound).value, flags=("contract",))
        return Real(self.b, self.b.select(below, self.wrap(bound).value, self.value))

    def polynomial(self, coefficients):
        """Horner's scheme; the constant term comes first."""
        *rest, total = coefficients
        total = self.wrap(total)
        for coefficient in reversed(rest):
            total = total * self + coefficient
        return total

    def bits(self):
        """The number's memory, as an integer."""
        return self.b.bitcast(self.value, ir.IntType(32 if isinstance(self.value.type, ir.FloatType) else 64))

    def from_bits(self, integer):
        return Real(self.b, self.b.bitcast(integer, self.value.type))


class Format(NamedTuple):
    """What exp and log must know about a floating-point type."""

    mantissa: int  # bits
    integer: float  # 2^mantissa: numbers from here to its double are integers, which stand in their lowest bits
    bias: int
    lowest: float  # exp is 0 below
    ln2_hi: float  # so few bits that its product with an exponent is exact
    ln2_lo: float
    exp: tuple[float, ...]
    log_terms: int


# exp(r) = 1 + r + r^2 q(r) for |r| <= ln(2)/2; q by Remez exchange in 50 digits, levelling the relative error of exp
# at 3.1e-9 (0.05 ulp) for float and 7.7e-18 (0.07 ulp) for double.
_FLOAT = Format(
    *(23, 2.0**23, 127, -104.0, 0.693359375, -2.12194440054690583e-4),
    (
        *(0.49999993447796486827, 0.16666520631709496887, 0.041668388045313996659),
        *(0.0083687168797281399469, 0.0013814598646664034453),
    ),
    log_terms=5,
)
_DOUBLE = Format(
    *(52, 2.0**52, 1023, -746.0, 0.693145751953125, 1.42860682030941723212e-6),
    (
        *(0.50000000000000102245, 0.1666666666666667453, 0.04166666666652199074, 0.0083333333333222072959),
        *(0.0013888888947820891418, 0.0001984126988659099934, 2.4801487326012336596e-5),
        *(2.7557242336680357124e-6, 2.7632655759332030799e-7, 2.5110049895858716253e-8),
    ),
    log_terms=11,
)


def _format(x):
    return _FLOAT if isinstance(x.value.type, ir.FloatType) else _DOUBLE


def _emit_exp(context, b, signature, args):
    """x = n ln 2 + r, and exp(x) = 2^n exp(r).

    Adding 1.5 * 2^mantissa rounds to an integer, n, which then stands in the low bits of the sum. 2^n is the product
    of two powers, because one alone cannot reach the subnormal numbers.
    """
    x = Real(b, args[0])
    form = _format(x)
    x = x.at_least(form.lowest)
    rounder = 1.5 * form.integer + 2 * form.bias
    shifted = x * 1.44269504088896340736 + rounder
    n = shifted - rounder
    r = x - n * form.ln2_hi - n * form.ln2_lo
    power = shifted.bits()  # n + 2 bias, below bits that are shifted out
    half = b.lshr(power, power.type(1))
    low, high = (x.from_bits(b.shl(part, power.type(form.mantissa))) for part in (half, b.sub(power, half)))
    return ((r * r * r.polynomial(form.exp) + r + 1) * low * high).value


def _emit_log(context, b, signature, args):
    """s = 2^n m with m in [1/sqrt 2, sqrt 2), and log(m) is the series of 2 artanh(z), z = (m - 1)/(m + 1)."""
    s = Real(b, args[0])
    form = _format(s)
    mantissa = s.bits().type(form.mantissa)
    n = b.lshr(b.sub(s.bits(), s.wrap(0.70710678118654752440).bits()), mantissa)
    m = s.from_bits(b.sub(s.bits(), b.shl(n, mantissa)))
    z = (m - 1) / (m + 1)
    artanh = z * (z * z).polynomial([1 / (2 * i + 1) for i in range(form.log_terms)])
    exponent = s.from_bits(b.add(n, s.wrap(form.integer).bits())) - form.integer
    log = exponent * 0.69314718055994530942 + artanh * 2
    nan = b.fcmp_unordered("uno", s.value, s.value)  # a term s - s would cancel in a caller with "reassoc"
    return b.select(nan, s.value, log.value)


@intrinsic
def exp_below_highest(typingctx, x):
    """exp(x) for x up to 88 (float) or 709 (double), to 1.1 ulp; NaN for NaN."""
    return x(x), _emit_exp


@intrinsic
def log_from_1(typingctx, s):
    """log(s) for finite s >= 1, to 3 ulp; NaN for NaN."""
    return s(s), _emit_log


@intrinsic
def row(typingctx, A, i):
    """A[i] as an array whose entries are known to lie side by side, else loops over it are not vectorised."""
    kind = types.Array(A.dtype, 1, "C", readonly=not A.mutable)

    def emit(context, b, signature, args):
        matrix = context.make_array(A)(context, b, args[0])
        stride, columns = cgutils.unpack_tuple(b, matrix.strides)[0], cgutils.unpack_tuple(b, matrix.shape)[1]
        found = context.make_array(kind)(context, b)
        data = cgutils.pointer_add(b, matrix.data, b.mul(args[1], stride), found.data.type)
        context.populate_array(
            found, data=data, shape=[columns], strides=[matrix.itemsize], itemsize=matrix.itemsize, meminfo=None
        )
        return found._getvalue()

    return kind(A, i), emit


@intrinsic
def window(typingctx, A, row, rows, column, columns):
    """A[row : row + rows, column : column + columns], which lies inside A: Numba's own slices ask whether it does."""

    def emit(context, b, signature, args):
        matrix = context.make_array(A)(context, b, args[0])
        strides = cgutils.unpack_tuple(b, matrix.strides)
        offset = b.add(b.mul(args[1], strides[0]), b.mul(args[3], strides[1]))
        return _view(context, b, kind, matrix, offset, [args[2], args[4]], strides)

    kind = types.Array(A.dtype, 2, "A", readonly=not A.mutable)
    return kind(A, row, rows, column, columns), emit


@intrinsic
def column(typingctx, A, j):
    """A[:, j]"""

    def emit(context, b, signature, args):
        matrix = context.make_array(A)(context, b, args[0])
        strides, shape = cgutils.unpack_tuple(b, matrix.strides), cgutils.unpack_tuple(b, matrix.shape)
        return _view(context, b, kind, matrix, b.mul(args[1], strides[1]), shape[:1], strides[:1])

    kind = types.Array(A.dtype, 1, "A", readonly=not A.mutable)
    return kind(A, j), emit


@intrinsic
def matrix(typingctx, A, i):
    """A[i] of an array of matrices."""

    def emit(context, b, signature, args):
        array = context.make_array(A)(context, b, args[0])
        strides, shape = cgutils.unpack_tuple(b, array.strides), cgutils.unpack_tuple(b, array.shape)
        return _view(context, b, kind, array, b.mul(args[1], strides[0]), shape[1:], strides[1:])

    kind = types.Array(A.dtype, 2, "A", readonly=not A.mutable)
    return kind(A, i), emit


@intrinsic
def stretch(typingctx, a, start, stop):
    """a[start:stop] of a contiguous vector."""

    def emit(context, b, signature, args):
        array = context.make_array(a)(context, b, args[0])
        offset = b.mul(args[1], array.itemsize)
        return _view(context, b, kind, array, offset, [b.sub(args[2], args[1])], [array.itemsize])

    kind = types.Array(a.dtype, 1, "C", readonly=not a.mutable)
    return kind(a, start, stop), emit


def _view(context, b, kind, array, offset, shape, strides):
    """Some of an array; whoever gave that holds the memory."""
    found = context.make_array(kind)(context, b)
    data = cgutils.pointer_add(b, array.data, offset, found.data.type)
    context.populate_array(found, data=data, shape=shape, strides=strides, itemsize=array.itemsize, meminfo=None)
    return found._getvalue()
