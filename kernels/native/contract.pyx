"""The comparison of fastlin/_contract.py in C, for every call of a kernel: in Python it takes longer than a small loss.

It accepts only what passes there. For all else Contract.check decides, and raises the error.
"""

from cpython.object cimport PyObject
from numpy cimport NPY_DOUBLE, NPY_FLOAT, dtype, import_array, npy_intp

# Declared with borrowed references: counting them would take as long as the comparison.
cdef extern from "Python.h":
    bint PyLong_CheckExact(PyObject *)
    long long PyLong_AsLongLongAndOverflow(PyObject *, int *)
    bint PyTuple_Check(PyObject *)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *)
    PyObject *PyTuple_GET_ITEM(PyObject *, Py_ssize_t)

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyArrayObject:
        pass
    bint PyArray_Check(PyObject *)
    bint PyArray_ISBEHAVED_RO(PyArrayObject *)
    bint PyArray_ISWRITEABLE(PyArrayObject *)
    int PyArray_TYPE(PyArrayObject *)
    int PyArray_NDIM(PyArrayObject *)
    char *PyArray_BYTES(PyArrayObject *)
    npy_intp PyArray_ITEMSIZE(PyArrayObject *)
    npy_intp *PyArray_DIMS(PyArrayObject *)
    npy_intp *PyArray_STRIDES(PyArrayObject *)

import_array()

cdef enum:
    MOST_LEAVES = 40
    MOST_NODES = 64
    MOST_SIZES = 24
    MOST_TERMS = 128
    MOST_CHOICES = 96
    MOST_AXES = 4
    MOST_PAIRS = 256

cdef enum:
    ARRAY, SIZE, NUMBERS, ANY

cdef enum:
    CONTIGUOUS, ROWS, UNIT, STRIDED, LIKE

cdef struct Term:
    Py_ssize_t factor
    int first, second

cdef struct Sum:
    # A size, a number and other terms: most sums have none of these.
    int size
    Py_ssize_t added
    int start, stop

cdef struct Leaf:
    int kind
    bint real, written
    Py_ssize_t length
    int type_num, axes, layout, like
    int choices[MOST_AXES + 1]  # where those of each axis start

cdef struct Bound:
    int size, leaf, axis
    Py_ssize_t added

cdef struct Derived:
    int size
    Sum numerator
    int denominator

cdef struct Pair:
    int first, second

cdef struct Extent:
    char *start
    char *stop


cdef class Guard:
    """A kernel behind its contract."""

    cdef readonly object __wrapped__
    cdef object contract
    cdef int nodes[MOST_NODES]  # a leaf, or -1 - the number of members of a group, which follow
    cdef Leaf leaves[MOST_LEAVES]
    cdef Bound bound[MOST_SIZES]
    cdef Derived derived[MOST_SIZES]
    cdef Sum conditions[MOST_SIZES]
    cdef Sum choices[MOST_CHOICES]
    cdef Term terms[MOST_TERMS]
    cdef Pair pairs[MOST_PAIRS]  # of arrays that must not overlap, because one of them is written
    cdef int node_count, leaf_count, bound_count, derived_count, condition_count, choice_count, term_count, pair_count

    def __init__(self, kernel, contract):
        self.__wrapped__, self.contract = kernel, contract
        rooms = (
            (len(contract.leaves), MOST_LEAVES), (len(contract.sizes), MOST_SIZES),
            (len(contract.conditions), MOST_SIZES), (max(len(leaf.shape) for leaf in contract.leaves), MOST_AXES))
        if any(needed > room for needed, room in rooms):
            raise ValueError(f"{contract.kernel}: its contract is too large for contract.pyx")
        self.add_node(contract.tree)
        for leaf in contract.leaves:
            self.add_leaf(leaf)
        for self.bound_count, (size, number, axis, added) in enumerate(contract.bound, 1):
            self.bound[self.bound_count - 1] = Bound(size, number, axis, added)
        for self.derived_count, (size, numerator, denominator) in enumerate(contract.derived, 1):
            self.derived[self.derived_count - 1] = Derived(size, self.add_sum(numerator), denominator)
        for self.condition_count, (_, total) in enumerate(contract.conditions, 1):
            self.conditions[self.condition_count - 1] = self.add_sum(total)
        self.add_pairs()

    cdef int add_node(self, node) except -1:
        if self.node_count == MOST_NODES:
            raise ValueError(f"{self.contract.kernel}: its contract is too large for contract.pyx")
        is_leaf = isinstance(node, int)
        self.nodes[self.node_count] = node if is_leaf else -1 - len(node.members)
        self.node_count += 1
        for member in () if is_leaf else node.members:
            self.add_node(member)
        return 0

    cdef int add_leaf(self, given) except -1:
        cdef Leaf *leaf = &self.leaves[self.leaf_count]
        self.leaf_count += 1
        leaf.kind = ["array", "size", "numbers", "any"].index(given.kind)
        leaf.written, leaf.length, leaf.like, leaf.axes = given.written, given.length, given.like, len(given.shape)
        leaf.real = given.dtype == "real"
        if leaf.kind == ARRAY:
            leaf.type_num = -1 if leaf.real else dtype(given.dtype).num
            leaf.layout = ["contiguous", "rows", "unit", "strided", "like"].index(given.layout)
        for axis, choices in enumerate(given.shape):
            leaf.choices[axis] = self.choice_count
            for choice in choices:
                if self.choice_count == MOST_CHOICES:
                    raise ValueError(f"{self.contract.kernel}: its contract is too large for contract.pyx")
                self.choices[self.choice_count] = self.add_sum(choice)
                self.choice_count += 1
        leaf.choices[leaf.axes] = self.choice_count
        return 0

    cdef int add_pairs(self) except -1:
        cdef int i, j
        for i in range(self.leaf_count):
            for j in range(i):
                if self.leaves[i].kind == self.leaves[j].kind == ARRAY and (
                        self.leaves[i].written or self.leaves[j].written):
                    if self.pair_count == MOST_PAIRS:
                        raise ValueError(f"{self.contract.kernel}: its contract is too large for contract.pyx")
                    self.pairs[self.pair_count] = Pair(i, j)
                    self.pair_count += 1
        return 0

    cdef Sum add_sum(self, total) except *:
        cdef Sum made = Sum(0, -1, self.term_count, self.term_count)  # sizes[0] is 1
        for factor, first, second in total:
            if first == 0:
                made.added += factor
            elif made.size == 0 and factor == 1 and second == 0:
                made.size = first
                made.added += 1
            else:
                if self.term_count == MOST_TERMS:
                    raise ValueError(f"{self.contract.kernel}: its contract is too large for contract.pyx")
                self.terms[self.term_count] = Term(factor, first, second)
                self.term_count += 1
        made.stop = self.term_count
        return made

    def __call__(self, *args):
        if not self.holds(args):
            self.contract.check(args)
            raise RuntimeError(f"{self.contract.kernel}: contract.pyx refuses what fastlin/_contract.py accepts")
        return self.__wrapped__(*args)

    cdef bint holds(self, tuple args) noexcept:
        cdef PyObject *found[MOST_LEAVES]
        cdef Py_ssize_t sizes[MOST_SIZES]
        cdef Extent extents[MOST_LEAVES]
        cdef const Pair *pair
        cdef int cursor = 0
        cdef int i
        if not (self.gather(<PyObject *> args, &cursor, found) and self.are_right_kinds(found)):
            return False
        if not self.measure(found, sizes):
            return False
        for i in range(self.leaf_count):
            if self.leaves[i].kind == ARRAY and not self.is_right_array(i, found, sizes, &extents[i]):
                return False
        for i in range(self.pair_count):
            pair = &self.pairs[i]
            if (extents[pair.first].start < extents[pair.second].stop
                    and extents[pair.second].start < extents[pair.first].stop):
                return False
        for i in range(self.condition_count):
            if self.value_of(&self.conditions[i], sizes) < 0:
                return False
        return True

    cdef bint gather(self, PyObject *group, int *cursor, PyObject **found) noexcept:
        # The leaves' values, from nested tuples.
        cdef int count = -1 - self.nodes[cursor[0]]
        cdef int i, node
        cursor[0] += 1
        if not PyTuple_Check(group) or PyTuple_GET_SIZE(group) != count:
            return False
        for i in range(count):
            node = self.nodes[cursor[0]]
            if node >= 0:
                found[node] = PyTuple_GET_ITEM(group, i)
                cursor[0] += 1
            elif not self.gather(PyTuple_GET_ITEM(group, i), cursor, found):
                return False
        return True

    cdef bint are_right_kinds(self, PyObject **found) noexcept:
        # Types, numbers of axes and flags.
        cdef int real = -1
        cdef Leaf *leaf
        cdef PyArrayObject *A
        cdef int i
        for i in range(self.leaf_count):
            leaf = &self.leaves[i]
            if leaf.kind == NUMBERS and not (PyTuple_Check(found[i]) and PyTuple_GET_SIZE(found[i]) == leaf.length):
                return False
            if leaf.kind != ARRAY:
                continue
            if not PyArray_Check(found[i]):
                return False
            A = <PyArrayObject *> found[i]
            if leaf.real and real < 0:
                real = PyArray_TYPE(A)
                if real != NPY_FLOAT and real != NPY_DOUBLE:
                    return False
            if PyArray_TYPE(A) != (real if leaf.real else leaf.type_num) or PyArray_NDIM(A) != leaf.axes:
                return False
            if not PyArray_ISBEHAVED_RO(A) or (leaf.written and not PyArray_ISWRITEABLE(A)):
                return False
        return True

    cdef bint measure(self, PyObject **found, Py_ssize_t *sizes) noexcept:
        # The value of every size.
        cdef Bound *bound
        cdef Derived *derived
        cdef Py_ssize_t value
        cdef int i
        sizes[0] = 1
        for i in range(self.bound_count):
            bound = &self.bound[i]
            if bound.axis >= 0:
                value = PyArray_DIMS(<PyArrayObject *> found[bound.leaf])[bound.axis] - bound.added
            else:
                value = size_of(found[bound.leaf])
            if value < 0:
                return False
            sizes[bound.size] = value
        for i in range(self.derived_count):
            derived = &self.derived[i]
            value = self.value_of(&derived.numerator, sizes)
            if value < 0 or sizes[derived.denominator] <= 0:
                return False
            sizes[derived.size] = value // sizes[derived.denominator]
        return True

    cdef inline Py_ssize_t value_of(self, const Sum *total, const Py_ssize_t *sizes) noexcept:
        cdef Py_ssize_t value = sizes[total.size] + total.added
        cdef int i
        for i in range(total.start, total.stop):
            value += self.terms[i].factor * sizes[self.terms[i].first] * sizes[self.terms[i].second]
        return value

    cdef bint is_right_array(
            self, int number, PyObject **found, const Py_ssize_t *sizes, Extent *extent) noexcept:
        # Shape and layout; also finds out from where to where it reaches.
        cdef Leaf *leaf = &self.leaves[number]
        cdef PyArrayObject *A = <PyArrayObject *> found[number]
        cdef const npy_intp *shape = PyArray_DIMS(A)
        cdef const npy_intp *strides = PyArray_STRIDES(A)
        cdef const npy_intp *others
        cdef int axis, i
        cdef bint matches
        for axis in range(leaf.axes):
            matches = False
            for i in range(leaf.choices[axis], leaf.choices[axis + 1]):
                matches = matches or self.value_of(&self.choices[i], sizes) == shape[axis]
            if not matches:
                return False
        if leaf.layout == LIKE:
            others = PyArray_STRIDES(<PyArrayObject *> found[leaf.like])
            for axis in range(leaf.axes):
                if strides[axis] != others[axis]:
                    return False
        return has_layout(A, leaf.layout, extent)


cdef inline Py_ssize_t size_of(PyObject *value) noexcept:
    # -1 if it is no int from 0 on, below 2^48.
    cdef int overflow = 0
    cdef long long size
    if not PyLong_CheckExact(value):
        return -1
    size = PyLong_AsLongLongAndOverflow(value, &overflow)
    return -1 if overflow or size < 0 or size >= (<long long> 1 << 48) else <Py_ssize_t> size


cdef inline bint has_layout(PyArrayObject *A, int layout, Extent *extent) noexcept:
    # The strides of axes with one entry do not matter, and none do in an empty array.
    cdef const npy_intp *shape = PyArray_DIMS(A)
    cdef const npy_intp *strides = PyArray_STRIDES(A)
    cdef Py_ssize_t itemsize = PyArray_ITEMSIZE(A)
    cdef Py_ssize_t least = itemsize  # from one entry of the axis to the next
    cdef int axes = PyArray_NDIM(A)
    cdef int axis
    extent.start = extent.stop = NULL
    for axis in range(axes):
        if shape[axis] == 0:
            return True
    extent.start = PyArray_BYTES(A)
    extent.stop = extent.start + itemsize
    for axis in range(axes - 1, -1, -1):
        if shape[axis] > 1:
            if (layout == CONTIGUOUS or (axis == axes - 1 and layout < STRIDED)) and strides[axis] != least:
                return False
            if strides[axis] & (itemsize - 1) or (layout == ROWS and strides[axis] < least):
                return False
            least = strides[axis] * shape[axis] if layout == ROWS else least
            if strides[axis] < 0:
                extent.start += (shape[axis] - 1) * strides[axis]
            else:
                extent.stop += (shape[axis] - 1) * strides[axis]
        if layout == CONTIGUOUS:
            least *= shape[axis]
    return True
