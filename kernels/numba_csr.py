"""Sparse rows for Numba: the layout of their W and dW, their scores and their gradient. See fastlin/ops.py.

The design is that of native/csr.h, where the reasons are. W and dW are feature-major: an entry of X reads one row of W
and adds to one row of dW. Classes are cut into tiles, whose sums stay in vector registers while the entries of a row
are gone through; the last vector of a tile ends with its last class, and may overlap the one before it. The scores of
some rows stand row by row on the stack, and are transposed into the (c, rows) that epilogues want.

Each index is loaded once, compared with d, and passed over if it is outside: another thread may write to the array.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.cgutils import intp_t
from numba.extending import intrinsic

from fastlin.kernels.numba_cache import jit
from fastlin.kernels.numba_math import joined
from fastlin.kernels.numba_tile import (
    VECTOR_BYTES,
    Matrix,
    add,
    add_product,
    first_lanes,
    in_all_lanes,
    least,
    loop,
    shuffle,
    specialise,
)

__all__ = [  # the functions of the table
    *("to_feature_major", "combine_feature_major"),
    *("csr_scores", "csr_float32_scores", "csr_int64_scores", "csr_float32_int64_scores"),
    *("csr_gradient", "csr_float32_gradient", "csr_int64_gradient", "csr_float32_int64_gradient"),
    *("turn_slopes", "csr_columns", "csr_float32_columns", "place_columns"),
]

TURNED_ROWS = 16  # rows whose scores are transposed at once
TILE_VECTORS = 8  # of a tile, at most
TWO_SUMS = 4  # vectors up to which odd and even entries have sums of their own: they hide the latency of adding
AHEAD = 24  # entries, ahead of which rows of W and dW are prefetched
CACHED_BYTES = 512 << 10  # of a W that needs no prefetching
COPIED_ROWS = 64  # of W or dW: they stay in L1 while they are copied
SUMMED = 2048  # numbers of dW that are summed at once


# ---- Layout: the caller's W and dW, but for the order of their numbers ---------------------------------------------


@jit
def without_gaps(A):
    """Whether the rows of a matrix follow each other without a gap."""
    return (A.strides[1] == A.itemsize or A.shape[1] == 1) and A.strides[0] == A.shape[1] * A.itemsize


@jit
def to_feature_major(W, weights):
    rows, c = W.shape
    for start in range(0, rows, COPIED_ROWS):
        some = W[start : start + COPIED_ROWS]
        out = weights[start : start + COPIED_ROWS]
        for j in range(c):
            for k in range(some.shape[0]):
                out[k, j] = some[k, j]


@jit
def combine_feature_major(parts, scale, dW):
    rows, c = dW.shape
    factor = dW.dtype.type(scale)
    if without_gaps(dW) and without_gaps(parts[0]):
        sum_rows(parts, factor, joined(dW))
        return
    for start in range(0, rows, COPIED_ROWS):
        out = dW[start : start + COPIED_ROWS]
        some = parts[:, start : start + COPIED_ROWS]
        for j in range(c):
            for k in range(out.shape[0]):
                total = some[0, k, j]
                for p in range(1, some.shape[0]):
                    total += some[p, k, j]
                out[k, j] = factor * total


@jit
def sum_rows(parts, factor, out):
    """out = factor times the sum of the parts, some numbers at a time, which stay in L1."""
    for start in range(0, out.size, SUMMED):
        total = out[start : start + SUMMED]
        first = joined(parts[0])[start : start + SUMMED]
        for k in range(total.size):
            total[k] = first[k]
        for p in range(1, parts.shape[0]):
            part = joined(parts[p])[start : start + SUMMED]
            for k in range(total.size):
                total[k] += part[k]
        for k in range(total.size):
            total[k] *= factor


# ---- Instructions ----------------------------------------------------------------------------------------


class Entries:
    """Sparse rows that an intrinsic is given: kernels/records.py's CsrRows."""

    def __init__(self, context, b, kind, value, last):
        arrays = cgutils.unpack_tuple(b, value)
        self.b, self.d, self.last = b, arrays[3], last
        self.data, self.indices, self.indptr = (
            context.make_array(own)(context, b, array).data for own, array in zip(kind.types[:3], arrays, strict=False)
        )
        self.index_bytes = kind.types[1].dtype.bitwidth // 8

    def range(self, row):
        """The first entry of a row, and the first after it."""
        return [self.b.load(self.b.gep(self.indptr, [self.b.add(row, intp_t(i))])) for i in range(2)]

    def column(self, p):
        """The index of an entry, loaded once whatever the compiler would like better: it may change meanwhile."""
        found = self.b.load_atomic(self.b.gep(self.indices, [p]), "monotonic", self.index_bytes)
        return found if found.type == intp_t else self.b.sext(found, intp_t)

    def number(self, p, real, lanes):
        """An entry's number in all lanes of a vector of W's type."""
        x = self.b.load(self.b.gep(self.data, [p]))
        return in_all_lanes(self.b, x if x.type == real else self.b.fpext(x, real), lanes)

    def for_inside(self, k, state, emit):
        """emit(), a new state, if the index is that of a column of X; else the state remains."""
        b, before = self.b, self.b.block
        body, end = (b.append_basic_block(name) for name in ("inside", "after"))
        b.cbranch(b.icmp_unsigned("<", k, self.d), body, end)
        b.position_at_end(body)
        found = emit()
        b.branch(end)
        body = b.block
        b.position_at_end(end)
        phis = [b.phi(value.type) for value in state]
        for phi, old, new in zip(phis, state, found, strict=True):
            phi.add_incoming(old, before)
            phi.add_incoming(new, body)
        return phis


class Tile:
    """Some classes of a feature-major W or dW, with the vectors that cover them."""

    def __init__(self, b, W, first, width, lanes, count):
        self.b, self.W, self.first, self.lanes, self.count = b, W, first, lanes, count
        self.columns = [*(intp_t(i * lanes) for i in range(count - 1)), b.sub(width, intp_t(lanes))]

    def load(self, k):
        """The vectors of row k."""
        return self.load_at(self.b.gep(self.W.row(k), [self.first]))

    def load_at(self, start):
        """The vectors that begin there."""
        return [self.W.load_at(start, column, self.lanes) for column in self.columns]

    def store_at(self, vectors, start):
        for vector, column in zip(vectors, self.columns, strict=True):
            self.W.store_at(vector, start, column)

    def add_to(self, k, vectors, factor=None):
        """W[k] += factor vectors. All are read before one is written: the last two may overlap."""
        start = self.b.gep(self.W.row(k), [self.first])
        pairs = list(zip(self.load_at(start), vectors, strict=True))
        if factor is None:
            self.store_at([add(self.b, old, v) for old, v in pairs], start)
        else:
            self.store_at([add_product(self.b, factor, v, old) for old, v in pairs], start)

    def prefetch(self, X, p, prefetches, writes):
        """The row of W that an entry after p will need. Its index is not checked: any address may be prefetched."""
        with self.b.if_then(self.b.icmp_signed(">", prefetches, intp_t(0))):
            k = X.column(least(self.b, self.b.add(p, intp_t(AHEAD)), X.last))
            start = self.b.gep(self.W.row(k), [self.first])
            line = 64 // self.W.bytes
            for column in range(0, self.count * self.lanes, line):
                self.W.prefetch(start, intp_t(column), cache=3, writes=writes)
            with self.b.if_then(self.b.icmp_signed(">", prefetches, intp_t(1))):
                last = self.b.add(self.columns[-1], intp_t(self.lanes - 1))
                self.W.prefetch(start, last, cache=3, writes=writes)


def with_vectors(b, width, real_bytes, emit):
    """emit(lanes, count) for the widest vectors that `width` numbers fill, and as many as cover them."""
    sizes = [(size, TILE_VECTORS if size == VECTOR_BYTES else 2) for size in (64, 32, 16) if size <= VECTOR_BYTES]
    end = b.append_basic_block("covered")
    for size, most in (*sizes, (real_bytes, 16 // real_bytes - 1)):
        lanes = size // real_bytes
        fits, other = b.append_basic_block("fits"), b.append_basic_block("narrower")
        b.cbranch(b.icmp_signed(">=", width, intp_t(lanes)), fits, other)
        b.position_at_end(fits)
        count = b.sdiv(b.add(width, intp_t(lanes - 1)), intp_t(lanes))
        specialise(b, count, most, lambda count, lanes=lanes: emit(lanes, count))
        b.branch(end)
        b.position_at_end(other)
    b.branch(end)
    b.position_at_end(end)


class Turned:
    """Numbers of TURNED_ROWS rows on the stack, a row's side by side; elsewhere they stand class by class."""

    def __init__(self, b, A, first, width, r, rows):
        self.b, self.A, self.first, self.width, self.r, self.rows = b, A, first, width, r, rows
        self.lanes = A.lanes
        self.row = TILE_VECTORS * A.lanes
        self.memory = cgutils.alloca_once(b, ir.ArrayType(A.real, TURNED_ROWS * self.row))
        self.memory.align = 64

    def at(self, r, column):
        index = self.b.add(self.b.mul(r, intp_t(self.row)), column)
        return self.b.gep(self.memory, [intp_t(0), index])

    def turn(self, square):
        """square(r, j) for all r and j where squares of numbers begin."""
        for r in range(0, TURNED_ROWS, self.lanes):
            mask = first_lanes(self.b, self.b.sub(self.rows, intp_t(r)), self.lanes)

            def step(j, r=r, mask=mask):
                square(r, j, mask)
                return [self.b.add(j, intp_t(self.lanes))]

            loop(self.b, [intp_t(0)], lambda j: self.b.icmp_signed("<", j, self.width), step)

    def read(self):
        """Reads them from A. Classes beyond the last repeat it."""
        b, last = self.b, self.b.sub(self.width, intp_t(1))

        def square(r, j, mask):
            numbers = [b.add(self.first, least(b, b.add(j, intp_t(i)), last)) for i in range(self.lanes)]
            column = b.add(self.r, intp_t(r))
            found = transposed(b, [self.A.load(number, column, self.lanes, mask) for number in numbers])
            for i, vector in enumerate(found):
                self.A.store_at(vector, self.at(intp_t(r + i), j), intp_t(0))

        self.turn(square)

    def write(self):
        """Writes them to A. Classes beyond the last are stored before it, which is stored after them."""
        b, last = self.b, self.b.sub(self.width, intp_t(1))

        def square(r, j, mask):
            found = [self.A.load_at(self.at(intp_t(r + i), j), intp_t(0), self.lanes) for i in range(self.lanes)]
            column = b.add(self.r, intp_t(r))
            for i, vector in reversed(list(enumerate(transposed(b, found)))):
                number = b.add(self.first, least(b, b.add(j, intp_t(i)), last))
                self.A.store(vector, number, column, mask)

        self.turn(square)


def transposed(b, square):
    """The columns of a square of numbers. Each round moves the highest bit of the row to the column, and back."""
    half = len(square) // 2
    low = [i // 2 + i % 2 * len(square) for i in range(len(square))]
    high = [i + half for i in low]
    for _ in range(half.bit_length()):
        pairs = zip(square[:half], square[half:], strict=True)
        square = [shuffle(b, p, q, lanes) for p, q in pairs for lanes in (low, high)]
    return square


# ---- Scores and gradient ---------------------------------------------------------------------------------------------


@intrinsic
def csr_scores_tile(typingctx, X, W, scores, tile):
    """tile = (start, last, prefetches, r, rows, first, width): the scores of the rows start + r ... of X, `rows` of
    them, for the classes first ... first + width - 1.

    last : the last entry of which the index may be read.  rows <= TURNED_ROWS
    """

    def emit(context, b, signature, args):
        W, scores = (Matrix(context, b, *pair) for pair in zip(signature.args[1:3], args[1:3], strict=True))
        start, last, prefetches, r, rows, first, width = cgutils.unpack_tuple(b, args[3])
        X, turned = Entries(context, b, signature.args[0], args[0], last), Turned(b, scores, first, width, r, rows)
        zeros = cgutils.alloca_once(b, ir.ArrayType(W.real, turned.row), zfill=True)
        has_b = b.icmp_signed(">", W.rows, X.d)
        bias = b.select(has_b, b.gep(W.row(X.d), [first]), b.gep(zeros, [intp_t(0), intp_t(0)]))

        def emit_rows(lanes, count):
            tile = Tile(b, W, first, width, lanes, count)
            zero = [ir.Constant(ir.VectorType(W.real, lanes), None)] * count

            def entry(p, sums):
                k, x = X.column(p), X.number(p, W.real, lanes)
                tile.prefetch(X, p, prefetches, writes=False)
                return X.for_inside(
                    k, sums, lambda: [add_product(b, x, w, s) for w, s in zip(tile.load(k), sums, strict=True)]
                )

            def one(p, *sums):
                return b.add(p, intp_t(1)), *entry(p, sums)

            def two(p, *sums):
                even, odd = entry(p, sums[:count]), entry(b.add(p, intp_t(1)), sums[count:])
                return b.add(p, intp_t(2)), *even, *odd

            def row(i):
                p, end = X.range(b.add(start, b.add(r, i)))
                sums = tile.load_at(bias)
                if count <= TWO_SUMS:
                    before_last = b.sub(end, intp_t(1))
                    state = loop(b, [p, *sums, *zero], lambda p, *_: b.icmp_signed("<", p, before_last), two)
                    p, even, odd = state[0], state[1 : count + 1], state[count + 1 :]
                    sums = [add(b, *pair) for pair in zip(even, odd, strict=True)]
                _, *sums = loop(b, [p, *sums], lambda p, *_: b.icmp_signed("<", p, end), one)
                tile.store_at(sums, turned.at(i, intp_t(0)))
                return [b.add(i, intp_t(1))]

            loop(b, [intp_t(0)], lambda i: b.icmp_signed("<", i, rows), row)

        with_vectors(b, width, W.bytes, emit_rows)
        turned.write()
        return context.get_dummy_value()

    return types.void(X, W, scores, tile), emit


@intrinsic
def csr_gradient_tile(typingctx, X, dscores, dW, tile):
    """dW += what these rows contribute, given their slopes, for these classes; `tile` as above."""

    def emit(context, b, signature, args):
        dscores, dW = (Matrix(context, b, *pair) for pair in zip(signature.args[1:3], args[1:3], strict=True))
        start, last, prefetches, r, rows, first, width = cgutils.unpack_tuple(b, args[3])
        X, turned = Entries(context, b, signature.args[0], args[0], last), Turned(b, dscores, first, width, r, rows)
        turned.read()

        def emit_rows(lanes, count):
            tile = Tile(b, dW, first, width, lanes, count)

            def row(i, *totals):
                p, end = X.range(b.add(start, b.add(r, i)))
                slopes = tile.load_at(turned.at(i, intp_t(0)))

                def entry(p):
                    k, x = X.column(p), X.number(p, dW.real, lanes)
                    tile.prefetch(X, p, prefetches, writes=True)
                    with b.if_then(b.icmp_unsigned("<", k, X.d)):
                        tile.add_to(k, slopes, x)
                    return [b.add(p, intp_t(1))]

                loop(b, [p], lambda p: b.icmp_signed("<", p, end), entry)
                return b.add(i, intp_t(1)), *(add(b, *pair) for pair in zip(totals, slopes, strict=True))

            zero = [ir.Constant(ir.VectorType(dW.real, lanes), None)] * count
            _, *totals = loop(b, [intp_t(0), *zero], lambda i, *_: b.icmp_signed("<", i, rows), row)
            with b.if_then(b.icmp_signed(">", dW.rows, X.d)):
                tile.add_to(X.d, totals)

        with_vectors(b, width, dW.bytes, emit_rows)
        return context.get_dummy_value()

    return types.void(X, dscores, dW, tile), emit


@intrinsic
def turn_tile(typingctx, dscores, start, slopes, sums, tile):
    """tile = (r, rows, first, width): slopes[start + r + i] = dscores[:, r + i] for these classes, i < rows.

    `sums` += the slopes of these rows, as the gradient of b adds them up.
    """

    def emit(context, b, signature, args):
        dscores, slopes = (Matrix(context, b, signature.args[i], args[i]) for i in (0, 2))
        start, sums = args[1], context.make_array(signature.args[3])(context, b, args[3]).data
        r, rows, first, width = cgutils.unpack_tuple(b, args[4])
        turned = Turned(b, dscores, first, width, r, rows)
        turned.read()

        def emit_rows(lanes, count):
            tile = Tile(b, slopes, first, width, lanes, count)

            def row(i, *totals):
                found = tile.load_at(turned.at(i, intp_t(0)))
                tile.store_at(found, b.gep(slopes.row(b.add(start, b.add(r, i))), [first]))
                return b.add(i, intp_t(1)), *(add(b, *pair) for pair in zip(totals, found, strict=True))

            zero = [ir.Constant(ir.VectorType(slopes.real, lanes), None)] * count
            _, *totals = loop(b, [intp_t(0), *zero], lambda i, *_: b.icmp_signed("<", i, rows), row)
            total = b.gep(sums, [first])
            tile.store_at([add(b, *pair) for pair in zip(tile.load_at(total), totals, strict=True)], total)

        with_vectors(b, width, slopes.bytes, emit_rows)
        return context.get_dummy_value()

    return types.void(dscores, start, slopes, sums, tile), emit


def rows_before(b, n, part, parts):
    """The number of rows up to the end of a part."""
    return b.sdiv(b.mul(n, b.add(part, intp_t(1))), parts)


@intrinsic
def csr_columns_tile(typingctx, XT, slopes, dW, tile):
    """tile = (start, last, prefetches, parts, adds, scale, k, count, first, width): for these classes and i < count,
    dW[k + i] = scale times the gradient of column start + k + i, and if it `adds`, times dW[k + i] too. Parts of the
    rows are summed by themselves: see native/csr.h.
    """

    def emit(context, b, signature, args):
        slopes, dW = (Matrix(context, b, *pair) for pair in zip(signature.args[1:3], args[1:3], strict=True))
        start, last, prefetches, parts, adds, scale, first_k, columns, first, width = cgutils.unpack_tuple(b, args[3])
        XT = Entries(context, b, signature.args[0], args[0], last)

        def row_of(p):
            return XT.column(least(b, p, last))

        def emit_columns(lanes, count):
            of_slopes, of_dW = (Tile(b, A, first, width, lanes, count) for A in (slopes, dW))
            zero = [ir.Constant(ir.VectorType(dW.real, lanes), None)] * count

            def entry(p, row, *sums):
                x, after = XT.number(p, dW.real, lanes), b.add(p, intp_t(1))
                of_slopes.prefetch(XT, p, prefetches, writes=False)
                found = (add_product(b, x, g, s) for g, s in zip(of_slopes.load(row), sums, strict=True))
                return after, row_of(after), *found

            def of_part(end, p, part, *totals):
                row = row_of(p)

                def is_later(q):
                    follows = b.icmp_signed("<", b.add(q, intp_t(1)), parts)
                    return b.and_(follows, b.icmp_unsigned(">=", row, rows_before(b, XT.d, q, parts)))

                (part,) = loop(b, [part], is_later, lambda q: [b.add(q, intp_t(1))])
                limit = rows_before(b, XT.d, part, parts)
                p = b.add(p, b.zext(b.icmp_unsigned(">=", row, limit), intp_t))

                def is_inside(p, row, *_):
                    return b.and_(b.icmp_signed("<", p, end), b.icmp_unsigned("<", row, limit))

                p, _, *sums = loop(b, [p, row_of(p), *zero], is_inside, entry)
                return p, part, *(add(b, *pair) for pair in zip(totals, sums, strict=True))

            def column(i):
                k = b.add(first_k, i)
                p, end = XT.range(b.add(start, k))
                target = b.gep(dW.row(k), [first])
                before = [b.select(adds, *pair) for pair in zip(of_dW.load_at(target), zero, strict=True)]
                _, _, *totals = loop(
                    b,
                    [p, intp_t(0), *before],
                    lambda p, *_: b.icmp_signed("<", p, end),
                    lambda *state: of_part(end, *state),
                )
                factor = in_all_lanes(b, scale, lanes)
                of_dW.store_at([b.fmul(factor, total) for total in totals], target)
                return [b.add(i, intp_t(1))]

            loop(b, [intp_t(0)], lambda i: b.icmp_signed("<", i, columns), column)

        with_vectors(b, width, dW.bytes, emit_columns)
        return context.get_dummy_value()

    return types.void(XT, slopes, dW, tile), emit


@jit
def first_of_tile(c, lanes, tile):
    """The first class of a tile: tiles are nearly equal shares of the vectors that c classes fill."""
    vectors = -(-c // lanes)
    tiles = -(-vectors // TILE_VECTORS)
    return min(vectors * tile // tiles * lanes, c)


@jit
def prefetched(rows, row_bytes, width_bytes):
    """What of the rows of a matrix is prefetched: 0 nothing, 1 the lines from their start on, 2 the last byte's too."""
    if rows * row_bytes <= CACHED_BYTES:
        return 0
    return 2 if (width_bytes - 1) % 64 + 1 > (row_bytes & -row_bytes) else 1


@jit
def csr_scores(X, start, W, row_buffer, scores):
    c, rows = scores.shape
    lanes = VECTOR_BYTES // W.itemsize
    last = X.indptr[start + rows] - 1
    for r in range(0, rows, TURNED_ROWS):
        tile = first = 0
        while first < c:
            tile += 1
            after = first_of_tile(c, lanes, tile)
            prefetches = prefetched(X.d, W.strides[0], (after - first) * W.itemsize)
            where = start, last, prefetches, r, min(TURNED_ROWS, rows - r), first, after - first
            csr_scores_tile(X, W, scores, where)
            first = after


@jit
def csr_gradient(X, start, row_buffer, dscores, dW):
    c, rows = dscores.shape
    lanes = VECTOR_BYTES // dW.itemsize
    last = X.indptr[start + rows] - 1
    for r in range(0, rows, TURNED_ROWS):
        tile = first = 0
        while first < c:
            tile += 1
            after = first_of_tile(c, lanes, tile)
            prefetches = prefetched(X.d, dW.strides[0], (after - first) * dW.itemsize)
            where = start, last, prefetches, r, min(TURNED_ROWS, rows - r), first, after - first
            csr_gradient_tile(X, dscores, dW, where)
            first = after


csr_float32_scores = csr_int64_scores = csr_float32_int64_scores = csr_scores
csr_float32_gradient = csr_int64_gradient = csr_float32_int64_gradient = csr_gradient


@jit
def turn_slopes(dscores, start, slopes, sums):
    c, rows = dscores.shape
    lanes = VECTOR_BYTES // slopes.itemsize
    for r in range(0, rows, TURNED_ROWS):
        tile = first = 0
        while first < c:
            tile += 1
            after = first_of_tile(c, lanes, tile)
            turn_tile(dscores, start, slopes, sums, (r, min(TURNED_ROWS, rows - r), first, after - first))
            first = after


@jit
def csr_columns(XT, start, parts, slopes, adds, scale, dW):
    count, c = dW.shape
    lanes, factor = VECTOR_BYTES // dW.itemsize, dW.dtype.type(scale)
    last = XT.indptr[start + count] - 1
    for k in range(0, count, TURNED_ROWS):
        tile = first = 0
        while first < c:
            tile += 1
            after = first_of_tile(c, lanes, tile)
            prefetches = prefetched(XT.d, slopes.strides[0], (after - first) * slopes.itemsize)
            some = k, min(TURNED_ROWS, count - k), first, after - first
            csr_columns_tile(XT, slopes, dW, (start, last, prefetches, parts, adds, factor, *some))
            first = after


csr_float32_columns = csr_columns


@jit
def place_columns(columns, next, places):
    for i in range(columns.size):
        k = columns[i]
        places[i] = next[k]
        next[k] += 1
