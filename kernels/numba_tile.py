"""Vector code for Numba: the register tiles of the products with X, as LLVM instructions.

A tile is a rectangle of sums that stay in vector registers while a loop runs: 4 rows x 5 classes of scores, or
10 classes x 2 vectors of dW, or 5 x 4. Twenty sums hide the latency of the multiply-add, and need less than one load
for two of them. Numba's own loops do neither: LLVM keeps one sum per loop, and uses half of AVX-512's width.

The functions marked @intrinsic are called from compiled code; at compile time each appends instructions to the
function that calls it, through a builder `b`. Python's loops and lists in them run at compile time: they unroll.
Vectors are loaded at any alignment, and at the end of a row under a mask: no code reads or writes outside a row.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.cgutils import intp_t
from numba.extending import intrinsic

from fastlin.kernels.numba_math import CPU_FEATURES

VECTOR_BYTES = 64 if "+avx512f" in CPU_FEATURES else 32 if "+avx2" in CPU_FEATURES else 16
ALIGNED_VECTORS = 32  # with fewer in a row, the columns before an aligned vector take longer than it gains
_REGISTERS = 32 if VECTOR_BYTES == 64 or "+neon" in CPU_FEATURES else 16
CACHE_LINE = 64
SCORE_ROWS = 4
ROWS_AHEAD = 16  # in any order: a row is prefetched so many before its scores, some 0.5 us
SCORE_CLASSES = 5 if _REGISTERS == 32 else 3  # the sums, a vector of each class and one of X must fit
# Many classes on few vectors read X once; with few classes more vectors make up the sums that hide latency.
GRADIENT_CLASSES = 10 if _REGISTERS == 32 else 5
# With many classes: native/wide.h says why.
WIDE_CLASSES = 16
WIDE_ROWS, WIDE_VECTORS = (8, 3) if _REGISTERS == 32 else (6, 2)
PANEL_CLASSES, PANEL_VECTORS = (6, 4) if _REGISTERS == 32 else (5, 2)  # of panel_tile
PANEL_BYTES = 256  # of a row of its panel


def gradient_vectors(classes):
    return 4 if _REGISTERS == 32 and classes <= 5 else 2


ACTIVE_ROWS = 64  # one bit each

_BITS = {"float": ir.IntType(32), "double": ir.IntType(64)}  # the integer as wide as a float of that name
_lane_t = ir.IntType(32)


# ---- Instructions ----------------------------------------------------------------------------------------


class Matrix:
    """A matrix that an intrinsic is given. Its rows may have any stride, and each row is contiguous."""

    def __init__(self, context, b, kind, value):
        array = context.make_array(kind)(context, b, value)
        self.b, self.data, self.real = b, array.data, context.get_data_type(kind.dtype)
        self.row_bytes = cgutils.unpack_tuple(b, array.strides)[0]
        self.rows, self.columns = cgutils.unpack_tuple(b, array.shape)
        self.bytes = context.get_abi_sizeof(self.real)
        self.lanes = VECTOR_BYTES // self.bytes

    def row(self, number):
        """The address of a row."""
        return cgutils.pointer_add(self.b, self.data, self.b.mul(number, self.row_bytes))

    def at(self, row, column):
        """The address of an entry."""
        return self.b.gep(self.row(row), [column])

    def load(self, row, column, lanes, mask=None):
        """A vector of a row; lanes that the mask excludes are zero and not read."""
        return self.load_at(self.row(row), column, lanes, mask)

    def load_at(self, start, column, lanes, mask=None):
        """The same of the row that begins at `start`."""
        vector = ir.VectorType(self.real, lanes)
        pointer = self.b.bitcast(self.b.gep(start, [column]), vector.as_pointer())
        if mask is None:
            return self.b.load(pointer, align=self.bytes)
        return self._masked("load", vector, vector, [pointer, _lane_t(self.bytes), mask, vector(None)])

    def store(self, vector, row, column, mask=None):
        self.store_at(vector, self.row(row), column, mask)

    def store_at(self, vector, start, column, mask=None):
        pointer = self.b.bitcast(self.b.gep(start, [column]), vector.type.as_pointer())
        if mask is None:
            self.b.store(vector, pointer, align=self.bytes)
        else:
            self._masked("store", ir.VoidType(), vector.type, [vector, pointer, _lane_t(self.bytes), mask])

    def rows_after(self, row):
        """The address of a row past the last row of this matrix; if rows lie far apart, the address of the matrix."""
        near = self.b.icmp_signed("<", self.row_bytes, self.b.mul(self.columns, intp_t(2 * self.bytes)))
        return self.row(self.b.select(near, self.b.add(self.rows, row), intp_t(0)))

    def prefetch(self, start, column, cache=2, writes=False):
        """A hint that an entry, anywhere in memory, will be read. cache : 2 for the second cache, 3 for the nearest.

        writes : that it will also be written to.
        """
        pointer = self.b.bitcast(self.b.gep(start, [column]), ir.IntType(8).as_pointer())
        hints = [ir.IntType(32)(hint) for hint in (int(writes), cache, 1)]  # as data
        signature = ir.FunctionType(ir.VoidType(), [pointer.type, *(hint.type for hint in hints)])
        self.b.call(cgutils.get_or_insert_function(self.b.module, signature, "llvm.prefetch.p0"), [pointer, *hints])

    def prefetch_bytes(self, address, offset):
        """The same for an address that is an integer."""
        memory = ir.IntType(8).as_pointer()
        self.prefetch(self.b.gep(self.b.inttoptr(address, memory), [offset]), intp_t(0))

    def _masked(self, what, result, vector, args):
        name = f"llvm.masked.{what}.v{vector.count}f{8 * self.bytes}.p0"
        signature = ir.FunctionType(result, [arg.type for arg in args])
        return self.b.call(cgutils.get_or_insert_function(self.b.module, signature, name), args)


class Order:
    """The numbers of rows, one behind the other."""

    def __init__(self, context, b, kind, value):
        array = context.make_array(kind)(context, b, value)
        self.b, self.data = b, array.data
        self.last = b.sub(b.extract_value(array.shape, 0), intp_t(1))

    def number(self, r):
        """That of row r in the order; the last one stands for those behind it."""
        return self.b.load(self.b.gep(self.data, [least(self.b, r, self.last)]))


class GatheredRows:
    """gathered = (stored, order, in_place): the rows stored[order[0]], stored[order[1]], ... which are read there, if
    in_place, or else from `copies` of them. Where `stored` has another type of number, copies are all that can be read.
    """

    def __init__(self, context, b, kind, value, copies):
        stored, order, self.in_place = cgutils.unpack_tuple(b, value)
        self.b, self.copies = b, copies
        self.stored, self.order = Matrix(context, b, kind[0], stored), Order(context, b, kind[1], order)

    def row(self, r):
        """The address of row r."""
        copy = self.copies.row(r)
        if self.stored.real != self.copies.real:
            return copy
        return self.b.select(self.in_place, self.stored.row(self.order.number(r)), copy)


def first_lanes(b, count, lanes):
    """The mask of lanes 0, 1, ... count - 1."""
    count = b.trunc(least(b, count, intp_t(lanes)), _lane_t)
    numbers = ir.Constant(ir.VectorType(_lane_t, lanes), list(range(lanes)))
    return b.icmp_signed("<", numbers, in_all_lanes(b, count, lanes))


def in_all_lanes(b, x, lanes):
    vector = b.insert_element(ir.Constant(ir.VectorType(x.type, lanes), ir.Undefined), x, _lane_t(0))
    return shuffle(b, vector, vector, [0] * lanes)


def shuffle(b, p, q, lanes):
    """The named lanes of p and q, where q's follow p's."""
    return b.shuffle_vector(p, q, ir.Constant(ir.VectorType(_lane_t, len(lanes)), lanes))


def least(b, p, q):
    return b.select(b.icmp_signed("<", p, q), p, q)


def add(b, p, q):
    return b.fadd(p, q, flags=("contract",))


def add_product(b, p, q, total):
    """p q + total: one instruction where the processor has it, two elsewhere."""
    return add(b, b.fmul(p, q, flags=("contract",)), total)


def loop(b, state, goes_on, step):
    """while goes_on(*state): state = step(*state). The state stays in registers."""
    before = b.block
    head, body, end = (b.append_basic_block(name) for name in ("head", "body", "end"))
    b.branch(head)
    b.position_at_end(head)
    phis = [b.phi(value.type) for value in state]
    b.cbranch(goes_on(*phis), body, end)
    b.position_at_end(body)
    for phi, first, following in zip(phis, state, step(*phis), strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(following, b.block)
    b.branch(head)
    b.position_at_end(end)
    return phis


def specialise(b, count, most, emit):
    """Emits emit(1), emit(2), ... emit(most), and a switch that runs the one for `count`: sums stay in registers only
    if their number is known when the code is compiled.
    """
    copies = [b.append_basic_block(f"count_{n}") for n in range(1, most + 1)]
    end = b.append_basic_block("end")
    switch = b.switch(count, copies[-1])
    for n, block in enumerate(copies, 1):
        if n < most:
            switch.add_case(n, block)
        b.position_at_end(block)
        emit(n)
        b.branch(end)
    b.position_at_end(end)


def lane_sums(b, vectors, part):
    """The sums of the lanes of four vectors, as one vector of four.

    First neighbours are added, until a 128-bit part (of `part` lanes) holds the sums of `part` vectors; then the parts
    are added. Shuffles inside a part are cheap, those across parts are not.
    """
    while len(vectors) > SCORE_ROWS // part:
        vectors = [_add_neighbours(b, p, q, part) for p, q in zip(vectors[::2], vectors[1::2], strict=True)]
    while vectors[0].type.count > part:
        half = vectors[0].type.count // 2
        halves = range(half), range(half, 2 * half)
        vectors = [add(b, *(shuffle(b, v, v, list(lanes)) for lanes in halves)) for v in vectors]
    return shuffle(b, vectors[0], vectors[-1], list(range(SCORE_ROWS)))


def _add_neighbours(b, p, q, part):
    lanes = p.type.count
    even = [i + k for i in range(0, lanes, part) for k in (*range(0, part, 2), *range(lanes, lanes + part, 2))]
    return add(b, shuffle(b, p, q, even), shuffle(b, p, q, [i + 1 for i in even]))


# ---- Tiles -----------------------------------------------------------------------------------------------


@intrinsic
def scores_tile(typingctx, X, W, scores, tile):
    """tile = (r, j, classes, k, stop): scores[j:j+classes, r:r+4] += W[j:j+classes, k:stop] X[r:r+4, k:stop]^T.

    classes <= SCORE_CLASSES
    """

    def emit(context, b, signature, args):
        X, W, scores = (Matrix(context, b, *pair) for pair in zip(signature.args[:3], args[:3], strict=True))
        r, j, classes, _, _ = where = cgutils.unpack_tuple(b, args[3])
        last = b.sub(X.rows, intp_t(1))
        rows = [X.row(least(b, b.add(r, intp_t(i)), last)) for i in range(SCORE_ROWS)]
        # Each of the first two groups of classes prefetches a row of the block that follows with each tile.
        fours = b.lshr(r, intp_t(2))  # a shift: where rows are short a division takes as long as the tile
        group, groups = (b.zext(b.icmp_signed(">", *pair), intp_t) for pair in ((j, intp_t(0)), (W.rows, classes)))
        prefetch_hint = X.rows_after(b.add(b.shl(fours, groups), group))

        def meanwhile(k, x, mask):
            if mask is None:
                X.prefetch(prefetch_hint, k)

        _emit_scores(b, W, scores, where, rows, meanwhile)
        return context.get_dummy_value()

    return types.void(X, W, scores, tile), emit


@intrinsic
def gather_scores_tile(typingctx, copies, gathered, W, scores, tile):
    """The same for gathered rows, which GatheredRows describes. Four rows that follow are prefetched: with the first
    classes those ROWS_AHEAD later, and with others the next four.
    """

    def emit(context, b, signature, args):
        copies, W, scores = (Matrix(context, b, signature.args[i], args[i]) for i in (0, 2, 3))
        rows = GatheredRows(context, b, signature.args[1], args[1], copies)
        where = cgutils.unpack_tuple(b, args[4])
        last = b.sub(scores.columns, intp_t(1))  # rows behind it in the order may not be read
        starts = [rows.row(least(b, b.add(where[0], intp_t(i)), last)) for i in range(SCORE_ROWS)]
        ahead = b.select(b.icmp_signed("==", where[1], intp_t(0)), intp_t(ROWS_AHEAD), intp_t(SCORE_ROWS))
        following = [rows.row(b.add(b.add(where[0], ahead), intp_t(i))) for i in range(SCORE_ROWS)]

        def meanwhile(k, x, mask):
            for row in following:
                copies.prefetch(row, k, cache=3)

        _emit_scores(b, W, scores, where, starts, meanwhile)
        return context.get_dummy_value()

    return types.void(copies, gathered, W, scores, tile), emit


def _emit_scores(b, W, scores, where, rows, meanwhile):
    """A tile of the scores of four rows; `rows` are the addresses at which they begin.

    meanwhile(k, x, mask) : emits further work with the vectors x of the rows at k, beside their multiplication.
    """
    r, j, classes, start, stop = where
    lanes = W.lanes
    # Rows beyond the last repeat it; their sums are not stored.
    inside = first_lanes(b, b.sub(scores.columns, r), SCORE_ROWS)
    whole = b.sub(stop, b.srem(b.sub(stop, start), intp_t(lanes)))
    end_mask = first_lanes(b, b.sub(stop, whole), lanes)

    def emit_tile(classes):
        class_rows = [W.row(b.add(j, intp_t(i))) for i in range(classes)]

        def step(k, *sums, mask=None):
            w = [W.load_at(row, k, lanes, mask) for row in class_rows]
            x = [W.load_at(row, k, lanes, mask) for row in rows]
            meanwhile(k, x, mask)
            pairs = ((w[i], x[h]) for i in range(classes) for h in range(SCORE_ROWS))
            return b.add(k, intp_t(lanes)), *(add_product(b, *p, s) for p, s in zip(pairs, sums, strict=True))

        zero = ir.Constant(ir.VectorType(W.real, lanes), None)
        state = loop(b, [start, *[zero] * (classes * SCORE_ROWS)], lambda k, *_: b.icmp_signed("<", k, whole), step)
        _, *sums = loop(b, state, lambda k, *_: b.icmp_signed("<", k, stop), lambda *state: step(*state, mask=end_mask))
        for i in range(classes):
            row = scores.row(b.add(j, intp_t(i)))
            total = lane_sums(b, sums[i * SCORE_ROWS : (i + 1) * SCORE_ROWS], 16 // W.bytes)
            scores.store_at(add(b, scores.load_at(row, r, SCORE_ROWS, inside), total), row, r, inside)

    specialise(b, classes, SCORE_CLASSES, emit_tile)


@intrinsic
def wide_tile(typingctx, X, panel, sums, tile):
    """tile = (r, k, vectors, following, step): sums[r:r+WIDE_ROWS] += X[r:r+WIDE_ROWS, k:k+len(panel)] panel.

    A row of `panel` has a feature's weights of as many classes as `vectors` vectors hold. The last row of X repeats.
    Each column prefetches `step` bytes at the address `following`.
    """

    def emit(context, b, signature, args):
        X, panel, sums = (Matrix(context, b, *pair) for pair in zip(signature.args[:3], args[:3], strict=True))
        r, start, vectors, following, stride = cgutils.unpack_tuple(b, args[3])
        last, lanes = b.sub(X.rows, intp_t(1)), X.lanes
        rows = [b.gep(X.row(least(b, b.add(r, intp_t(i)), last)), [start]) for i in range(WIDE_ROWS)]

        def emit_tile(vectors):
            columns = [intp_t(v * lanes) for v in range(vectors)]

            def step(k, *totals):
                w = [panel.load(k, column, lanes) for column in columns]
                x = [in_all_lanes(b, b.load(b.gep(row, [k])), lanes) for row in rows]
                X.prefetch_bytes(following, b.mul(k, stride))
                pairs = ((x[i], w[v]) for i in range(WIDE_ROWS) for v in range(vectors))
                return b.add(k, intp_t(1)), *(add_product(b, *p, s) for p, s in zip(pairs, totals, strict=True))

            targets = [(b.add(r, intp_t(i)), column) for i in range(WIDE_ROWS) for column in columns]
            _emit_sums(b, step, panel.rows, sums, targets)

        specialise(b, vectors, WIDE_VECTORS, emit_tile)
        return context.get_dummy_value()

    return types.void(X, panel, sums, tile), emit


@intrinsic
def panel_tile(typingctx, panel, numbers, dscores, dW, tile):
    """tile = (j, classes, k, v, following, step):
    dW[j:j+classes, k:k+width] += dscores[j:j+classes, numbers] panel[:, v:v+width].

    `panel` has columns of X, in the rows whose numbers are listed; width is PANEL_VECTORS vectors. Each row prefetches
    `step` bytes at the address `following`.
    """

    def emit(context, b, signature, args):
        panel, G, dW = (Matrix(context, b, signature.args[i], args[i]) for i in (0, 2, 3))
        numbers = context.make_array(signature.args[1])(context, b, args[1]).data
        j, classes, k, first, following, stride = cgutils.unpack_tuple(b, args[4])
        lanes = panel.lanes

        def emit_tile(classes):
            class_rows = [G.row(b.add(j, intp_t(i))) for i in range(classes)]

            def step(i, *sums):
                x = [panel.load(i, b.add(first, intp_t(v * lanes)), lanes) for v in range(PANEL_VECTORS)]
                panel.prefetch_bytes(following, b.mul(i, stride))
                row = b.load(b.gep(numbers, [i]))
                g = [in_all_lanes(b, b.load(b.gep(start, [row])), lanes) for start in class_rows]
                pairs = ((g[h], x[v]) for h in range(classes) for v in range(PANEL_VECTORS))
                return b.add(i, intp_t(1)), *(add_product(b, *p, s) for p, s in zip(pairs, sums, strict=True))

            columns = [b.add(k, intp_t(v * lanes)) for v in range(PANEL_VECTORS)]
            targets = [(b.add(j, intp_t(h)), column) for h in range(classes) for column in columns]
            _emit_sums(b, step, panel.rows, dW, targets)

        specialise(b, classes, PANEL_CLASSES, emit_tile)
        return context.get_dummy_value()

    return types.void(panel, numbers, dscores, dW, tile), emit


def _emit_sums(b, step, count, A, targets):
    """`count` steps, whose sums begin at 0 and are then added to vectors of A at (row, column) of `targets`."""
    zeros = [ir.Constant(ir.VectorType(A.real, A.lanes), None)] * len(targets)
    _, *sums = loop(b, [intp_t(0), *zeros], lambda i, *_: b.icmp_signed("<", i, count), step)
    for (row, column), total in zip(targets, sums, strict=True):
        A.store(add(b, A.load(row, column, A.lanes), total), row, column)


@intrinsic
def fill_panel(typingctx, X, row, k, panel, i):
    """panel[i] = X[row, k:k+width], for PANEL_BYTES: Numba's loop asks for each row whether the two overlap."""

    def emit(context, b, signature, args):
        X, panel = (Matrix(context, b, signature.args[n], args[n]) for n in (0, 3))
        row, k, i = args[1], args[2], args[4]
        for start in range(0, PANEL_BYTES // X.bytes, X.lanes):
            panel.store(X.load(row, b.add(k, intp_t(start)), X.lanes), i, intp_t(start))
        return context.get_dummy_value()

    return types.void(X, row, k, panel, i), emit


@intrinsic
def rows_after(typingctx, X):
    """(address, bytes) of as many rows as X has, where they follow it in memory; 0 bytes where rows lie far apart."""
    result = types.UniTuple(types.intp, 2)

    def emit(context, b, signature, args):
        X = Matrix(context, b, signature.args[0], args[0])
        near = b.icmp_signed("<", X.row_bytes, b.mul(X.columns, intp_t(2 * X.bytes)))
        size = b.select(near, b.mul(X.rows, X.row_bytes), intp_t(0))
        return context.make_tuple(b, result, [b.ptrtoint(X.row(X.rows), intp_t), size])

    return result(X), emit


@intrinsic
def unaligned_columns(typingctx, X):
    """Columns before the first one that begins at a multiple of VECTOR_BYTES in every row; 0 if rows differ.

    NumPy's large arrays begin 16 bytes behind such a multiple.
    """

    def emit(context, b, signature, args):
        X = Matrix(context, b, signature.args[0], args[0])
        start, low = b.ptrtoint(X.data, intp_t), intp_t(VECTOR_BYTES - 1)
        bytes_before = b.and_(b.neg(start), low)
        same = b.icmp_signed("==", b.and_(b.or_(X.row_bytes, b.urem(start, intp_t(X.bytes))), low), intp_t(0))
        return b.select(same, b.udiv(bytes_before, intp_t(X.bytes)), intp_t(0))

    return types.intp(X), emit


@intrinsic
def prefetch_row(typingctx, X, order, r):
    """Prefetches row order[r] of X, or the order's last one."""

    def emit(context, b, signature, args):
        X, order = Matrix(context, b, signature.args[0], args[0]), Order(context, b, signature.args[1], args[1])
        start = X.row(order.number(args[2]))

        def step(k):
            X.prefetch(start, k, cache=3)
            return [b.add(k, intp_t(CACHE_LINE // X.bytes))]

        loop(b, [intp_t(0)], lambda k: b.icmp_signed("<", k, X.columns), step)
        return context.get_dummy_value()

    return types.void(X, order, r), emit


@intrinsic
def transpose_square(typingctx, A, i, j, B):
    """B[j:j+side, i:i+side] = A[i:i+side, j:j+side]^T for a side of 16 bytes: shuffles inside 16 bytes are cheap."""

    def emit(context, b, signature, args):
        A, B = (Matrix(context, b, signature.args[n], args[n]) for n in (0, 3))
        i, j, side = args[1], args[2], 16 // A.bytes
        rows = [A.load(b.add(i, intp_t(n)), j, side) for n in range(side)]
        for n, column in enumerate(_turned(b, rows)):
            B.store(column, b.add(j, intp_t(n)), i)
        return context.get_dummy_value()

    return types.void(A, i, j, B), emit


def _turned(b, rows):
    """The columns of a square, two or four vectors of two or four lanes."""
    if len(rows) == 2:
        return [shuffle(b, *rows, [0, 2]), shuffle(b, *rows, [1, 3])]
    low = [shuffle(b, *pair, [0, 4, 1, 5]) for pair in (rows[:2], rows[2:])]
    high = [shuffle(b, *pair, [2, 6, 3, 7]) for pair in (rows[:2], rows[2:])]
    return [shuffle(b, *half, lanes) for half in (low, high) for lanes in ([0, 1, 4, 5], [2, 3, 6, 7])]


@intrinsic(prefer_literal=True)
def on_stack(typingctx, like, size):
    """The address of `size` bytes, a global constant, for numbers like those of an array, until the function ends."""
    count = size.literal_value

    def emit(context, b, signature, args):
        with b.goto_entry_block():  # cgutils.alloca_once would set all of it to zero
            memory = b.alloca(ir.ArrayType(ir.IntType(8), count))
        memory.align = VECTOR_BYTES
        return b.bitcast(memory, context.get_data_type(like.dtype).as_pointer())

    return types.CPointer(like.dtype)(like, size), emit


@intrinsic
def active_rows(typingctx, dscores, r):
    """Bit i says whether column r + i of dscores is not zero in every class, for i < ACTIVE_ROWS."""

    def emit(context, b, signature, args):
        G, r = Matrix(context, b, signature.args[0], args[0]), args[1]
        inside = first_lanes(b, b.sub(G.columns, r), ACTIVE_ROWS)
        bits = ir.VectorType(_BITS[str(G.real)], ACTIVE_ROWS)

        def step(j, found):
            return b.add(j, intp_t(1)), b.or_(found, b.bitcast(G.load(j, r, ACTIVE_ROWS, inside), bits))

        _, found = loop(b, [intp_t(0), bits(None)], lambda j, _: b.icmp_signed("<", j, G.rows), step)
        unsigned = b.shl(found, ir.Constant(bits, [1] * ACTIVE_ROWS))  # -0 is 0
        return b.bitcast(b.icmp_unsigned("!=", unsigned, bits(None)), ir.IntType(ACTIVE_ROWS))

    return types.uint64(dscores, r), emit


@intrinsic
def gradient_tile(typingctx, X, gathered, dscores, dW, r, active, j, classes, k):
    """dW[j:j+classes, k:k+width] += dscores[j:j+classes, r:] X[r:, k:k+width] over the active rows from r on.

    width is gradient_vectors(classes) vectors, or what is left of a row; classes <= GRADIENT_CLASSES.
    gathered : None, or what GatheredRows says of rows in an order, whose copies X would be. Those behind them in the
        order are prefetched, or, if it is None, those behind X in memory.
    """

    def emit(context, b, signature, args):
        X, G, dW = (Matrix(context, b, signature.args[i], args[i]) for i in (0, 2, 3))
        r, active, j, classes, start = args[4:]
        lanes = X.lanes
        rows = None if gathered == types.none else GatheredRows(context, b, gathered, args[1], X)

        def emit_tile(classes, k, vectors, mask=None):
            class_rows = [b.add(j, intp_t(i)) for i in range(classes)]
            columns = [b.add(k, intp_t(v * lanes)) for v in range(vectors)]
            prefetch = _prefetching_in_order(b, rows, G, columns) if rows else _prefetching(b, X, columns)

            def step(active, *sums):
                row = b.add(r, b.cttz(active, ir.Constant(ir.IntType(1), 1)))
                x_row = (rows or X).row(row)
                x = [X.load_at(x_row, column, lanes, mask) for column in columns]
                if mask is None:
                    prefetch(row)
                g = [in_all_lanes(b, b.load(G.at(i, row)), lanes) for i in class_rows]
                pairs = ((g[i], x[v]) for i in range(classes) for v in range(vectors))
                remaining = b.and_(active, b.sub(active, active.type(1)))  # all but the lowest bit
                return remaining, *(add_product(b, *p, s) for p, s in zip(pairs, sums, strict=True))

            # The sums begin at 0: added to dW one by one, rows would be rounded to dW.
            targets = [(i, column) for i in class_rows for column in columns]
            zeros = [ir.Constant(ir.VectorType(X.real, lanes), None)] * len(targets)
            _, *sums = loop(b, [active, *zeros], lambda rows, *_: b.icmp_unsigned("!=", rows, rows.type(0)), step)
            for target, total in zip(targets, sums, strict=True):
                dW.store(add(b, dW.load(*target, lanes, mask), total), *target, mask)

        def emit_columns(classes):
            def step(k):
                emit_tile(classes, k, 1, first_lanes(b, b.sub(X.columns, k), lanes))
                return [b.add(k, intp_t(lanes))]

            vectors = gradient_vectors(classes)
            stop = b.add(start, intp_t(vectors * lanes))
            with b.if_else(b.icmp_signed("<=", stop, X.columns)) as (whole, rest):
                with whole:
                    emit_tile(classes, start, vectors)
                with rest:
                    loop(b, [start], lambda k: b.icmp_signed("<", k, X.columns), step)

        specialise(b, classes, GRADIENT_CLASSES, emit_columns)
        return context.get_dummy_value()

    return types.void(X, gathered, dscores, dW, r, active, j, classes, k), emit


def _prefetching(b, X, columns):
    """What a row prefetches of the rows behind X in memory, while a tile of these columns is computed.

    The scores have prefetched the first part. A half remains, or three quarters where there are few classes.
    """
    vectors = len(columns)
    fetched = 3 if vectors == 4 else 1
    missing = b.sdiv(b.mul(X.rows, intp_t(fetched)), intp_t(vectors))
    start = X.rows_after(b.sub(X.rows, missing))
    done = b.sdiv(b.mul(b.mul(columns[0], X.rows), intp_t(fetched)), intp_t(vectors))

    def prefetch(row):
        for v in range(fetched):
            number = b.add(b.mul(row, intp_t(fetched)), intp_t(v))
            X.prefetch(start, b.add(done, b.mul(number, intp_t(X.lanes))))

    return prefetch


def _prefetching_in_order(b, rows, G, columns):
    """The same of the rows behind those of G in the order: these columns of one."""
    step = max(1, CACHE_LINE // (G.lanes * rows.stored.bytes))  # vectors whose columns share a cache line

    def prefetch(row):
        after = rows.stored.row(rows.order.number(b.add(row, G.columns)))
        for column in columns[::step]:
            rows.stored.prefetch(after, column)

    return prefetch
