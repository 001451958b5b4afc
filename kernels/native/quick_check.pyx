"""Fast checks of common arguments in C, where fastlin/_check/ needs several microseconds.

They accept only arguments that pass every check there. For all other arguments the checks in Python decide, and raise
the errors.
"""

from numpy cimport (
    NPY_DOUBLE, NPY_FLOAT, NPY_INT32, NPY_INT64, PyArray_BYTES, PyArray_CheckExact, PyArray_DATA, PyArray_DIM,
    PyArray_DIMS, PyArray_IS_C_CONTIGUOUS, PyArray_IS_F_CONTIGUOUS, PyArray_ISBEHAVED, PyArray_ISBEHAVED_RO,
    PyArray_ITEMSIZE, PyArray_NBYTES, PyArray_NDIM, PyArray_SimpleNew, PyArray_STRIDE, PyArray_TYPE, dtype as dtype_t,
    import_array, int32_t, int64_t, ndarray, npy_intp, uint64_t)

import_array()

ctypedef fused label:
    int32_t
    int64_t


cdef enum:
    # A call with more rows, numbers of X or products than these (in all some 30 ms on a slow core) takes the checks in
    # Python, which are nothing beside it: Ctrl-C is answered between their laps, and they give the laps of the kernel
    # array objects of our own, whose shape no other thread can set.
    MOST_ROWS = 1 << 17  # as many as the rows of a section (fastlin/_plan.py)
    MOST_NUMBERS = 1 << 23
    MOST_PRODUCTS = 1 << 26


cdef bint is_readable(A, int ndim) noexcept:
    return PyArray_CheckExact(A) and PyArray_NDIM(A) == ndim and PyArray_ISBEHAVED_RO(A)


cdef bint is_contiguous(ndarray A) noexcept:
    return PyArray_IS_C_CONTIGUOUS(A) or PyArray_IS_F_CONTIGUOUS(A)


cdef bint are_apart(ndarray out, ndarray A) noexcept:
    # A has no negative strides and is not empty.
    cdef size_t start = <size_t> PyArray_DATA(A)
    cdef size_t stop = start + PyArray_ITEMSIZE(A)
    cdef size_t own = <size_t> PyArray_DATA(out)
    cdef int axis
    for axis in range(PyArray_NDIM(A)):
        stop += (PyArray_DIM(A, axis) - 1) * PyArray_STRIDE(A, axis)
    return own + PyArray_NBYTES(out) <= start or stop <= own


cdef bint can_be_out(out, ndarray W, ndarray X, ndarray y) noexcept:
    if not (PyArray_CheckExact(out) and PyArray_NDIM(out) == 2 and PyArray_ISBEHAVED(out) and is_contiguous(out)):
        return False
    if PyArray_TYPE(out) != PyArray_TYPE(W):
        return False
    if PyArray_DIM(out, 0) != PyArray_DIM(W, 0) or PyArray_DIM(out, 1) != PyArray_DIM(W, 1):
        return False
    return are_apart(out, W) and are_apart(out, X) and are_apart(out, y)


cdef bint copy_labels(const char *y, npy_intp step, npy_intp n, label kind, uint64_t c, int32_t *labels) noexcept:
    # Whether all labels are in [0, c). Each is read once, for the check and the copy. A negative label is a huge
    # unsigned number.
    cdef npy_intp i
    cdef label value
    cdef bint inside = True
    for i in range(n):
        value = (<const label *> (y + i * step))[0]
        inside = inside and (<uint64_t> <int64_t> value < c)
        labels[i] = <int32_t> value
    return inside


def quick_labels(W, X, y, bint bias, out):
    """y as new int32 labels if the arguments are common ones, else None.

    They are if W (d, c) is contiguous, X (n, d) has W's type and contiguous rows, neither is empty, y (n,) holds 32- or
    64-bit integers in [0, c), and `out` is None or writeable, like W, and overlaps no other array; all of them must be
    native, aligned, no subclasses, and not large.
    """
    if not (is_readable(W, 2) and is_readable(X, 2) and is_readable(y, 1) and is_contiguous(W)):
        return None
    cdef npy_intp n = PyArray_DIM(X, 0)
    cdef npy_intp d = PyArray_DIM(X, 1)
    cdef npy_intp c = PyArray_DIM(W, 1)
    cdef int real = PyArray_TYPE(W)
    cdef npy_intp size = PyArray_ITEMSIZE(W)
    if (real != NPY_FLOAT and real != NPY_DOUBLE) or PyArray_TYPE(X) != real or n == 0 or d == 0 or c == 0:
        return None
    if n > MOST_ROWS or d > MOST_NUMBERS // n or c > MOST_PRODUCTS // (n * (d + 16)):
        return None
    if PyArray_DIM(W, 0) != d + bias or PyArray_DIM(y, 0) != n:
        return None
    if PyArray_STRIDE(X, 1) != size or PyArray_STRIDE(X, 0) < 0 or PyArray_STRIDE(X, 0) % size:
        return None
    if PyArray_STRIDE(y, 0) < 0:
        return None
    if out is not None and not can_be_out(out, W, X, y):
        return None
    cdef ndarray labels = PyArray_SimpleNew(1, PyArray_DIMS(y), NPY_INT32)
    cdef int32_t *own = <int32_t *> PyArray_DATA(labels)
    cdef bint inside = False
    if PyArray_TYPE(y) == NPY_INT64:
        inside = copy_labels(<const char *> PyArray_DATA(y), PyArray_STRIDE(y, 0), n, <int64_t> 0, c, own)
    elif PyArray_TYPE(y) == NPY_INT32:
        inside = copy_labels(<const char *> PyArray_DATA(y), PyArray_STRIDE(y, 0), n, <int32_t> 0, c, own)
    return labels if inside else None


cdef npy_intp find_outside(const label *indices, npy_intp n, uint64_t d) noexcept nogil:
    cdef npy_intp start = 0
    cdef npy_intp stop, i
    cdef bint outside = False
    while start < n and not outside:
        stop = min(n, start + 1024)
        for i in range(start, stop):  # without an exit, so that the compiler makes vectors of it
            outside |= <uint64_t> <int64_t> indices[i] >= d
        start = start if outside else stop
    for i in range(start, n):
        if <uint64_t> <int64_t> indices[i] >= d:
            return i
    return -1


def first_outside(ndarray indices, npy_intp d):
    """The position of the first index that is not in [0, d), or -1. indices : int32 or int64, contiguous."""
    cdef npy_intp n = PyArray_DIM(indices, 0)
    cdef void *data = PyArray_DATA(indices)
    cdef bint wide = PyArray_TYPE(indices) == NPY_INT64
    cdef npy_intp found
    with nogil:
        if wide:
            found = find_outside(<const int64_t *> data, n, d)
        else:
            found = find_outside(<const int32_t *> data, n, d)
    return found


cdef bint has_layout(A, tuple shape, dtype_t dtype, str order) noexcept:
    # An array that is contiguous in both orders counts as C.
    cdef int i
    if not (PyArray_CheckExact(A) and PyArray_NDIM(A) == len(shape) and PyArray_ISBEHAVED_RO(A)):
        return False
    for i in range(PyArray_NDIM(A)):
        if PyArray_DIM(A, i) != <npy_intp> shape[i]:
            return False
    if PyArray_TYPE(A) != dtype.num:
        return False
    if order == "C":
        return PyArray_IS_C_CONTIGUOUS(A)
    return PyArray_IS_F_CONTIGUOUS(A) and not PyArray_IS_C_CONTIGUOUS(A)


def same_layout(W, dW, tuple shape, dtype_t dtype, str order):
    """Whether W and dW are arrays of this shape and type and no subclasses, both contiguous in this order, aligned and
    without overlap, and W is writeable. A step with these needs no other check.
    """
    if not (has_layout(W, shape, dtype, order) and has_layout(dW, shape, dtype, order) and PyArray_ISBEHAVED(W)):
        return False
    return abs(PyArray_BYTES(W) - PyArray_BYTES(dW)) >= PyArray_NBYTES(W)
