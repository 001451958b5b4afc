"""exp, log, float16 and views of arrays for loops in Numba, as instructions that LLVM can vectorise.

np.exp would call the C library for every number. Here the instructions are part of the loop and have no branches.
Multiply-adds may be fused, but sums keep their order: `fastmath` would change it.
"""

from typing import NamedTuple

from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

# The features of the processor that kernels are compiled for: the host's, unless NUMBA_CPU_FEATURES lists others.
CPU_FEATURES = frozenset((get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES).split(","))


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
        """The larger of both; NaN if one of them is NaN."""
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
        """The number's bits as an integer."""
        return self.b.bitcast(self.value, ir.IntType(32 if isinstance(self.value.type, ir.FloatType) else 64))

    def from_bits(self, integer):
        return Real(self.b, self.b.bitcast(integer, self.value.type))


class Format(NamedTuple):
    """The constants of a floating-point type that exp and log use."""

    mantissa: int  # bits
    integer: float  # 2^mantissa: from here to 2^(mantissa + 1) floats are integers, held by their lowest bits
    bias: int
    lowest: float  # exp is 0 below
    ln2_hi: float  # has so few bits that its product with an exponent is exact
    ln2_lo: float
    exp: tuple[float, ...]
    log_terms: int
    small: float  # its cube is less than a tenth of its last bit
    artanh: tuple[float, ...]


# exp(r) = 1 + r + r^2 q(r) for |r| <= ln(2)/2; q by Remez exchange in 50 digits, levelling the relative error of exp
# at 3.1e-9 (0.05 ulp) for float and 7.7e-18 (0.07 ulp) for double.
_FLOAT = Format(
    *(23, 2.0**23, 127, -104.0, 0.693359375, -2.12194440054690583e-4),
    (
        *(0.49999993447796486827, 0.16666520631709496887, 0.041668388045313996659),
        *(0.0083687168797281399469, 0.0013814598646664034453),
    ),
    log_terms=5,
    small=2.0**-14,
    artanh=(0.33333208142852466810, 0.20010763618408527500, 0.14000902652648072785, 0.14005993344525266466),
)
_DOUBLE = Format(
    *(52, 2.0**52, 1023, -746.0, 0.693145751953125, 1.42860682030941723212e-6),
    (
        *(0.50000000000000102245, 0.1666666666666667453, 0.04166666666652199074, 0.0083333333333222072959),
        *(0.0013888888947820891418, 0.0001984126988659099934, 2.4801487326012336596e-5),
        *(2.7557242336680357124e-6, 2.7632655759332030799e-7, 2.5110049895858716253e-8),
    ),
    log_terms=11,
    small=2.0**-28,
    artanh=(
        *(0.33333333333333154850, 0.20000000000077558240, 0.14285714274058979340, 0.11111111976824728959),
        *(0.090908722394804840676, 0.076932741976567767857, 0.066505606702652919366, 0.060524726242341449005),
        *(0.041724848912067917518, 0.085048800735366668164),
    ),
)


def _format(x):
    return _FLOAT if isinstance(x.value.type, ir.FloatType) else _DOUBLE


def _emit_exp(context, b, signature, args):
    """x = n ln 2 + r, and exp(x) = 2^n exp(r).

    Adding 1.5 * 2^mantissa rounds to an integer n, which is then in the low bits of the sum. 2^n is the product of two
    powers, because one power alone cannot be a subnormal number.
    """
    x = Real(b, args[0])
    form = _format(x)
    x = x.at_least(form.lowest)
    rounder = 1.5 * form.integer + 2 * form.bias
    shifted = x * 1.44269504088896340736 + rounder
    n = shifted - rounder
    r = x - n * form.ln2_hi - n * form.ln2_lo
    power = shifted.bits()  # n + 2 bias in the low bits; the others are shifted out
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


def _emit_log1p(context, b, signature, args):
    """2 artanh(z) with z = x / (2 + x) <= 1/3, where artanh(z) = z + z^3 q(z^2): q by Remez exchange, as above.

    For a small z, z^3 is nothing beside z, and is not computed: it would be subnormal for numbers far larger than that.
    """
    x = Real(b, args[0])
    form = _format(x)
    z = x / (x + 2)
    kept = z.at_least(form.small)
    cubic = kept * 2 * (kept * kept) * (kept * kept).polynomial(form.artanh)
    small = b.fcmp_ordered("<", z.value, x.wrap(form.small).value)
    return (z * 2 + Real(b, b.select(small, x.wrap(0.0).value, cubic.value))).value


@intrinsic
def exp_below_highest(typingctx, x):
    """exp(x) for x up to 88 (float) or 709 (double), to 1.1 ulp; NaN for NaN."""
    return x(x), _emit_exp


@intrinsic
def log_from_1(typingctx, s):
    """log(s) for finite s >= 1, to 3 ulp; NaN for NaN."""
    return s(s), _emit_log


@intrinsic
def log1p_to_1(typingctx, x):
    """log(1 + x) for 0 <= x <= 1, to 2 ulp however small x is; NaN for NaN."""
    return x(x), _emit_log1p


def _half_bits_to_float(b, bits):
    """A float16 as a float, exactly, by integer operations: for processors without an instruction for it."""
    int_t, float_t = ir.IntType(32), ir.FloatType()
    bits = b.zext(bits, int_t)
    sign = b.shl(b.and_(bits, int_t(0x8000)), int_t(16))
    magnitude = b.shl(b.and_(bits, int_t(0x7FFF)), int_t(13))  # exponent and mantissa at their places in a float
    exponent = b.and_(magnitude, int_t(0x1F << 23))
    # The exponent's bias grows from 15 to 127; that of Inf and NaN from 31 to 255.
    normal = b.add(magnitude, int_t((127 - 15) << 23))
    special = b.add(magnitude, int_t((255 - 31) << 23))
    # A subnormal number is m 2^-24: (2^-14 + m 2^-24) - 2^-14, of which the first is a float that ends in m.
    least = int_t((127 - 14) << 23)
    difference = b.fsub(b.bitcast(b.add(magnitude, least), float_t), b.bitcast(least, float_t))
    found = b.select(b.icmp_unsigned("==", exponent, int_t(0x1F << 23)), special, normal)
    found = b.select(b.icmp_unsigned("==", exponent, int_t(0)), b.bitcast(difference, int_t), found)
    return b.bitcast(b.or_(found, sign), float_t)


@intrinsic
def float_from_half(typingctx, bits):
    """The float16 with these bits (uint16) as a float."""

    def emit(context, b, signature, args):
        if "+f16c" in CPU_FEATURES:
            return b.fpext(b.bitcast(args[0], ir.HalfType()), ir.FloatType())
        return _half_bits_to_float(b, args[0])  # elsewhere LLVM may call a function that does not exist

    return types.float32(types.uint16), emit


@intrinsic
def cast_all(typingctx, numbers, like):
    """A tuple of numbers, each in the type of `like`."""
    result = types.UniTuple(like, len(numbers))

    def emit(context, b, signature, args):
        parts = zip(cgutils.unpack_tuple(b, args[0]), numbers, strict=True)
        return context.make_tuple(b, result, [context.cast(b, value, kind, like) for value, kind in parts])

    return result(numbers, like), emit


@intrinsic
def smaller(typingctx, p, q):
    """min(p, q) of two counts. Numba's own min and max are functions, compiled for every pair of types."""

    def emit(context, b, signature, args):
        return b.select(b.icmp_signed("<", *args), *args)

    return types.intp(types.intp, types.intp), emit


@intrinsic
def bytes_of(typingctx, x):
    """The size of the type of a number, of which np.finfo would tell more, and take longer to compile."""

    def emit(context, b, signature, args):
        return cgutils.intp_t(x.bitwidth // 8)

    return types.intp(x), emit


@intrinsic
def smallest_normal(typingctx, x):
    """The smallest normal number of the type of x."""

    def emit(context, b, signature, args):
        return args[0].type(2.0 ** (-126 if x.bitwidth == 32 else -1022))

    return x(x), emit


# ---- Views: Numba's own slices check their bounds, and lose the information that a row is contiguous ----------------


@intrinsic
def row(typingctx, A, i):
    """A[i] of a matrix, as a contiguous array: loops over it are vectorised."""
    result = types.Array(A.dtype, 1, "C", readonly=not A.mutable)

    def emit(context, b, signature, args):
        return _row(context, b, A, *args)

    return result(A, i), emit


@intrinsic
def each_row(typingctx, matrices, i):
    """(A[i], B[i], ...) of a tuple of matrices."""
    result = types.UniTuple(
        types.Array(matrices.dtype.dtype, 1, "C", readonly=not matrices.dtype.mutable), len(matrices)
    )

    def emit(context, b, signature, args):
        found = [_row(context, b, matrices.dtype, A, args[1]) for A in cgutils.unpack_tuple(b, args[0])]
        return context.make_tuple(b, result, found)

    return result(matrices, i), emit


@intrinsic
def window(typingctx, A, row, rows, column, columns):
    """A[row : row + rows, column : column + columns], which must lie inside A."""
    result = types.Array(A.dtype, 2, "A", readonly=not A.mutable)

    def emit(context, b, signature, args):
        matrix = context.make_array(A)(context, b, args[0])
        strides = cgutils.unpack_tuple(b, matrix.strides)
        offset = b.add(b.mul(args[1], strides[0]), b.mul(args[3], strides[1]))
        return _view(context, b, result, matrix, offset, [args[2], args[4]], strides)

    return result(A, row, rows, column, columns), emit


@intrinsic
def column(typingctx, A, j):
    """A[:, j]"""
    result = types.Array(A.dtype, 1, "A", readonly=not A.mutable)

    def emit(context, b, signature, args):
        matrix = context.make_array(A)(context, b, args[0])
        strides, shape = cgutils.unpack_tuple(b, matrix.strides), cgutils.unpack_tuple(b, matrix.shape)
        return _view(context, b, result, matrix, b.mul(args[1], strides[1]), shape[:1], strides[:1])

    return result(A, j), emit


@intrinsic
def matrix(typingctx, A, i):
    """A[i] of an array of matrices."""
    result = types.Array(A.dtype, 2, "A", readonly=not A.mutable)

    def emit(context, b, signature, args):
        array = context.make_array(A)(context, b, args[0])
        strides, shape = cgutils.unpack_tuple(b, array.strides), cgutils.unpack_tuple(b, array.shape)
        return _view(context, b, result, array, b.mul(args[1], strides[0]), shape[1:], strides[1:])

    return result(A, i), emit


@intrinsic
def joined(typingctx, A):
    """The rows of a matrix, which follow each other without a gap, as one."""
    result = types.Array(A.dtype, 1, "C", readonly=not A.mutable)

    def emit(context, b, signature, args):
        array = context.make_array(A)(context, b, args[0])
        size = b.mul(*cgutils.unpack_tuple(b, array.shape))
        return _view(context, b, result, array, cgutils.intp_t(0), [size], [array.itemsize])

    return result(A), emit


@intrinsic
def slice_of(typingctx, a, start, stop):
    """a[start:stop] of a contiguous vector, inside which it must lie."""
    result = types.Array(a.dtype, 1, "C", readonly=not a.mutable)

    def emit(context, b, signature, args):
        return _slice(context, b, a, *args)

    return result(a, start, stop), emit


@intrinsic
def slices_of(typingctx, arrays, start, stop):
    """(a[start:stop], b[start:stop], ...) of a tuple of contiguous vectors: Numba has no loop that makes a tuple."""

    def emit(context, b, signature, args):
        found = [
            _slice(context, b, kind, a, *args[1:])
            for kind, a in zip(arrays, cgutils.unpack_tuple(b, args[0]), strict=True)
        ]
        return context.make_tuple(b, arrays, found)

    return arrays(arrays, start, stop), emit


def _row(context, b, kind, A, i):
    array = context.make_array(kind)(context, b, A)
    stride, columns = cgutils.unpack_tuple(b, array.strides)[0], cgutils.unpack_tuple(b, array.shape)[1]
    result = types.Array(kind.dtype, 1, "C", readonly=not kind.mutable)
    return _view(context, b, result, array, b.mul(i, stride), [columns], [array.itemsize])


def _slice(context, b, kind, a, start, stop):
    array = context.make_array(kind)(context, b, a)
    offset = b.mul(start, array.itemsize)
    return _view(context, b, kind, array, offset, [b.sub(stop, start)], [array.itemsize])


def _view(context, b, kind, array, offset, shape, strides):
    """A part of an array. It does not keep the array alive: the caller does."""
    found = context.make_array(kind)(context, b)
    data = cgutils.pointer_add(b, array.data, offset, found.data.type)
    context.populate_array(found, data=data, shape=shape, strides=strides, itemsize=array.itemsize, meminfo=None)
    return found._getvalue()
