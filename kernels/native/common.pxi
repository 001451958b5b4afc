# What the files of this folder share: how arrays are described to C functions, the types of these functions, pieces
# (a function for float and double, as Python sees it) and teams of threads. Every other file uses this one and what
# its first lines name.
#
# Arrays are class-major: W and dW are (c, d + 1) with b as the last column, scores are (c, rows). Inner loops run along
# rows or features, where memory is contiguous, so that the compiler can use vector registers.

from cython cimport floating
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport INFINITY, pow, sqrt as c_sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset
from numpy cimport (
    PyArray_BYTES, PyArray_DATA, PyArray_DIM, PyArray_ITEMSIZE, PyArray_NDIM, PyArray_SIZE, PyArray_STRIDE,
    import_array, ndarray)

from inspect import Parameter, Signature

import_array()

cdef enum:
    MAX_HYPER = 4  # hyper-parameters of a loss
    MAX_STATES = 3  # state arrays of an update
    MAX_SCALARS = 7  # hyper-parameters of an update, and t
    MAX_BLOCK = 128  # rows of a block of an epoch


# ---- How arrays are described -----------------------------------------------------------------------------

ctypedef void (*convert_t)(const char *x, Py_ssize_t d, void *row) noexcept nogil


cdef extern from "csr.h":
    ctypedef struct CsrArrays "csr_arrays":
        const void *data
        const void *indices
        const int64_t *indptr
        Py_ssize_t d
    ctypedef struct CsrSizes "csr_sizes":
        Py_ssize_t rows, c, stride, ld
    ctypedef void (*csr_function)(
        const CsrArrays *X, Py_ssize_t start, Py_ssize_t rows, const void *given, const CsrSizes *sizes,
        void *out) noexcept nogil
    csr_function csr_scores_for(Py_ssize_t real, Py_ssize_t data, Py_ssize_t index) nogil
    csr_function csr_gradient_for(Py_ssize_t real, Py_ssize_t data, Py_ssize_t index) nogil
    ctypedef void (*csr_columns_function)(
        const CsrArrays *XT, Py_ssize_t start, Py_ssize_t count, Py_ssize_t parts, const void *slopes, bint adds,
        double scale, const CsrSizes *sizes, void *gradient) noexcept nogil
    csr_columns_function csr_columns_for(Py_ssize_t real, Py_ssize_t data) nogil


cdef struct Samples:
    # X, as its storage reads it; drivers pass it on unread.
    const char *data
    Py_ssize_t row_step  # from one row to the next, in bytes
    Py_ssize_t itemsize  # of a stored number
    convert_t convert  # converts a stored row to W's type; NULL where rows are read in place
    CsrArrays sparse  # of a storage of sparse rows, which has none of the above; and its functions
    csr_function sparse_scores, sparse_gradient

cdef struct RowRange:
    # Rows of X, and those that are likely to follow, which a storage may prefetch.
    Py_ssize_t start, count
    Py_ssize_t next_start, next_count

cdef struct RowSelection:
    # Rows of X in any order, and their columns first ... last - 1. b belongs to column 0. The order goes on with rows
    # that are likely to follow, which a storage may prefetch: `known` rows with them.
    const int64_t *order
    Py_ssize_t count, known
    Py_ssize_t first, last

cdef struct Sizes:
    # The sizes of the arrays that a storage's functions are given. A stride is the distance of two rows, in numbers.
    # Where W and dW are feature-major, d counts all of their rows, b's too.
    Py_ssize_t d, c
    Py_ssize_t row_buffer_stride, weights_stride, scores_stride, dW_stride
    void *panels  # a copy of the weights in panels (wide.h), or NULL

cdef struct Matrix:
    # The caller's W or dW, (d, c) or (d + 1, c), of any strides.
    char *data
    Py_ssize_t rows
    Py_ssize_t row_step, column_step  # in bytes

cdef struct Workspace:
    # One matrix for each part of the work.
    char *data
    Py_ssize_t part_step  # from one part's matrix to the next, in bytes
    Py_ssize_t stride  # from one row to the next, in numbers

cdef struct ScoreBlock:
    # The arguments of an epilogue besides the scores (c, rows).
    Py_ssize_t c, rows
    Py_ssize_t stride  # of the scores, in numbers
    const void *y  # int32 labels, or rows of c targets of the scores' type, as the loss requires
    const void *sample_weight
    void *scratch  # three numbers for each row
    const double *hyper

cdef extern from "tile.h":
    ctypedef struct ProductSizes "tile_sizes":  # of a product of the tile, as storages and add_product compute it
        Py_ssize_t rows, d, c
        Py_ssize_t X, W, b, scores  # strides, in numbers
        const void *panels


cdef inline bint is_single(ndarray A) noexcept:
    return PyArray_ITEMSIZE(A) == sizeof(float)


cdef inline Py_ssize_t stride_of(ndarray A) noexcept:
    # The distance of two rows of the last two axes, in numbers.
    return PyArray_STRIDE(A, PyArray_NDIM(A) - 2) // PyArray_ITEMSIZE(A)


cdef inline Matrix matrix(ndarray A) noexcept:
    return Matrix(PyArray_BYTES(A), PyArray_DIM(A, 0), PyArray_STRIDE(A, 0), PyArray_STRIDE(A, 1))


cdef inline Workspace workspace_of(ndarray A) noexcept:
    return Workspace(PyArray_BYTES(A), PyArray_STRIDE(A, PyArray_NDIM(A) - 3), stride_of(A))


cdef inline Py_ssize_t target_bytes(ndarray y) noexcept:
    # The bytes of one row of y, which is (n,) or (n, c) and contiguous. (An array of one row may have any stride.)
    return PyArray_ITEMSIZE(y) * (PyArray_DIM(y, 1) if PyArray_NDIM(y) == 2 else 1)


cdef inline Py_ssize_t column_border(Py_ssize_t columns, int item, int count) noexcept nogil:
    # The first column of column block `item` of `count`. Blocks are whole cache lines of numbers, so that no two
    # threads write to one line.
    return columns if item == count else columns * item // count // 16 * 16


# ---- The functions that drivers call ----------------------------------------------------------------------
#
# They are written once, for Cython's `floating`, and called through the types below, whose pointers to numbers are
# `void *`: every ABI passes these as it passes `float *` and `double *`. So a driver picks float or double once a call.
# fastlin/ops.py documents each kind of function.

ctypedef void (*to_layout_t)(
    const Matrix *W, const Sizes *sizes, Py_ssize_t first, Py_ssize_t last, void *weights) noexcept nogil
ctypedef void (*combine_t)(
    void *parts, Py_ssize_t count, Py_ssize_t part_step, const Sizes *sizes, double scale, const Matrix *dW,
    Py_ssize_t first, Py_ssize_t last) noexcept nogil
ctypedef void (*product_t)(
    const void *X, const void *G, void *total, void *sums, const ProductSizes *sizes) noexcept nogil
ctypedef void (*scores_t)(
    const Samples *X, const RowRange *rows, const Sizes *sizes, const void *weights, void *row_buffer,
    void *scores) noexcept nogil
ctypedef void (*gradient_t)(
    const Samples *X, const RowRange *rows, const Sizes *sizes, const void *row_buffer, const void *dscores,
    void *dW) noexcept nogil
ctypedef void (*gather_scores_t)(
    const Samples *X, const RowSelection *rows, const Sizes *sizes, const void *x_scale, const void *x_shift,
    const void *weights, void *row_buffer, void *scores) noexcept nogil  # x_scale is NULL if X is not scaled
ctypedef void (*gather_gradient_t)(
    const Samples *X, const RowSelection *rows, const Sizes *sizes, const void *x_scale, const void *row_buffer,
    const void *dscores, void *dW) noexcept nogil
ctypedef double (*epilogue_t)(void *scores, const ScoreBlock *block) noexcept nogil
ctypedef void (*update_t)(
    void *w, const void *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil
ctypedef double (*penalty_t)(void *g, const void *w, Py_ssize_t n, double l2, double l1) noexcept nogil
ctypedef void (*clip_t)(const void *g, void *out, Py_ssize_t n, double scale, double limit) noexcept nogil
ctypedef void (*prox_t)(void *w, Py_ssize_t n, double shrink, double factor) noexcept nogil
ctypedef void (*average_t)(const void *w, double *mean, Py_ssize_t n, double factor) noexcept nogil
ctypedef double (*squares_t)(const void *g, Py_ssize_t n) noexcept nogil


# ---- Pieces -----------------------------------------------------------------------------------------------

cdef class Piece:
    """A function for float and double. Drivers call it by its address, Python calls it with arrays."""

    cdef void *float_fn
    cdef void *double_fn
    cdef readonly str __name__
    cdef readonly object __signature__

    cdef int count_args(self, list args) except -1:
        # Subclasses whose functions are given a varying number of arguments keep these numbers, and check them.
        return 0


cdef Piece bind(Piece piece, str name, void *float_fn, void *double_fn, str args):
    piece.__name__ = name
    piece.float_fn = float_fn
    piece.double_fn = double_fn
    piece.__signature__ = Signature([Parameter(arg, Parameter.POSITIONAL_ONLY) for arg in args.split()])
    piece.count_args(args.split())
    return piece


cdef inline void *fn_of(Piece piece, bint single) except NULL:
    cdef void *fn = piece.float_fn if single else piece.double_fn
    if fn == NULL:
        raise TypeError(f"{piece.__name__} is not made for {'float32' if single else 'float64'} weights")
    return fn


cdef int check_count(Piece piece, str what, Py_ssize_t found, Py_ssize_t expected) except -1:
    # For functions that Python calls with any number of arguments.
    if found != expected:
        raise TypeError(f"{piece.__name__} takes {expected} {what}; found {found}")
    return 0


cdef int check_limit(Piece piece, str what, Py_ssize_t found, Py_ssize_t limit) except -1:
    if found > limit:
        raise ValueError(f"{piece.__name__} has {found} {what}; common.pxi allows {limit}")
    return 0


# ---- Teams of threads -------------------------------------------------------------------------------------

cdef extern from "team.h" nogil:
    enum:
        MAX_ITEMS
    ctypedef struct team_job:
        void (*work)(void *context, Py_ssize_t round, int phase, int item) noexcept
        void *context
        Py_ssize_t rounds
        int phases
        int *items
        int threads
    void team_run(team_job *job) noexcept

ctypedef void (*work_t)(void *context, Py_ssize_t round, int phase, int item) noexcept nogil


cdef int item_count(Py_ssize_t count) except -1:
    if count > MAX_ITEMS:
        raise ValueError(f"a team shares out at most {<int> MAX_ITEMS} items; found {count}")
    return <int> count


cdef void run_items(work_t work, void *job, int items, int threads) noexcept nogil:
    # One phase. A member begins with its own share of the items, the same in every call, so that its part of the arrays
    # stays in its cache.
    cdef team_job team
    team.work = work
    team.context = job
    team.rounds = team.phases = 1
    team.items[0] = items
    team.threads = threads
    team_run(&team)
