"""A team of threads that does a kernel's work together without Python, like that of team.h for Cython.

A kernel is a function that every member of a team runs; its work is phases of numbered items. Items of one phase may
run at the same time; a phase begins when the one before has ended. The members share them out by atomic operations on
the call's board: board[0] counts the items that are done, behind it stands for each item the number of the last phase
in which somebody took it. A helper that is late, because the machine is busy, finds less to do: nobody waits for it
unless it has begun an item.

Helpers find their work on the team's desk. They are Python's threads, which from their first call on never leave
compiled code: neither waking nor working nor sleeping takes the GIL.
"""

import os
import platform
import threading
from contextlib import suppress
from functools import partial

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.cgutils import intp_t, voidptr_t
from numba.extending import intrinsic

from fastlin.kernels.numba_cache import jit

BOARD = 1 + 64  # no phase has more items
MOST_HELPERS = 63

# The desk, its busy words in cache lines of their own: whether there is a job, its function and arguments, and for how
# many threads it is; helpers that it still takes; helpers that have gone again; of each helper, whether it sleeps and
# the lock it sleeps on.
BUSY, ENTRY, JOB, THREADS, OPENINGS, LEFT, ASLEEP = 0, 1, 2, 3, 8, 16, 24
LOCK = ASLEEP + MOST_HELPERS
DESK = LOCK + MOST_HELPERS

# After a job a helper looks out for the next one before it sleeps, some 60 us if nobody else wants its core: waking it
# takes 10 us and more.
LOOKS, LOOKS_BEFORE_YIELDING = 500, 200
_PAUSE = "llvm.x86.sse2.pause" if platform.machine().lower() in {"x86_64", "amd64"} else None


def _place(context, b, kind, array, index):
    data = context.make_array(kind)(context, b, array).data
    return b.gep(data, [index])


@intrinsic
def claim(typingctx, board, item, phase):
    """Whether nobody has taken the item in this phase: it is ours now. Phases count from 1."""

    def emit(context, b, signature, args):
        place = _place(context, b, signature.args[0], args[0], b.add(args[1], intp_t(1)))
        return b.icmp_signed("<", b.atomic_rmw("max", place, args[2], "monotonic"), args[2])

    return types.boolean(board, types.intp, types.intp), emit


@intrinsic
def _count(typingctx, array, index):
    """One more; what was written before can be read by whoever sees that."""

    def emit(context, b, signature, args):
        b.atomic_rmw("add", _place(context, b, signature.args[0], *args), intp_t(1), "release")
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


@intrinsic
def _load(typingctx, array, index):
    def emit(context, b, signature, args):
        return b.load_atomic(_place(context, b, signature.args[0], *args), "seq_cst", 8)

    return types.intp(array, types.intp), emit


@intrinsic
def _swap(typingctx, array, index, value):
    """Stores the value; what was there before."""

    def emit(context, b, signature, args):
        return b.atomic_rmw("xchg", _place(context, b, signature.args[0], *args[:2]), args[2], "seq_cst")

    return types.intp(array, types.intp, types.intp), emit


@intrinsic
def _replace(typingctx, array, index, old, new):
    """Whether the old value was there: the new one is now."""

    def emit(context, b, signature, args):
        place = _place(context, b, signature.args[0], *args[:2])
        return b.extract_value(b.cmpxchg(place, *args[2:], "seq_cst", "seq_cst"), 1)

    return types.boolean(array, types.intp, types.intp, types.intp), emit


@intrinsic
def _pause(typingctx):
    def emit(context, b, signature, args):
        if _PAUSE:
            function = cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.VoidType(), []), _PAUSE)
            b.call(function, [])
        return context.get_dummy_value()

    return types.void(), emit


_yield = types.ExternalFunction("sched_yield", types.intc()) if os.name == "posix" else _pause

# Python's own locks: the same on every system, and none of these needs the GIL.
_new_lock = types.ExternalFunction("PyThread_allocate_lock", types.intp())
_acquire = types.ExternalFunction("PyThread_acquire_lock", types.intc(types.intp, types.intc))
_release = types.ExternalFunction("PyThread_release_lock", types.void(types.intp))


@numba.njit(nogil=True)
def _look_again(looks):
    if looks > LOOKS_BEFORE_YIELDING:
        _yield()  # whoever shares this core may be the one we wait for
    else:
        _pause()


@numba.njit(nogil=True)
def _wait_for(array, index, count):
    looks = 0
    while _load(array, index) < count:
        _look_again(looks)
        looks += 1


@numba.njit(nogil=True)
def finish(board):
    """One more item is done."""
    _count(board, 0)


@numba.njit(nogil=True)
def wait(board, items):
    """Until so many items are done."""
    _wait_for(board, 0, items)


# A member is called as a C function (place, rank, threads), which finds everything else at the place.
_ENTRY = ir.FunctionType(ir.VoidType(), [voidptr_t, intp_t, intp_t])


@intrinsic
def _take_part(typingctx, entry, place, rank, threads):
    def emit(context, b, signature, args):
        b.call(b.inttoptr(args[0], _ENTRY.as_pointer()), [b.inttoptr(args[1], voidptr_t), *args[2:]])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp), emit


@intrinsic
def _place_of(typingctx, work):
    """Where the value is kept until the function that asks returns; whoever calls that holds what it refers to."""

    def emit(context, b, signature, args):
        return b.ptrtoint(cgutils.alloca_once_value(b, args[0]), intp_t)

    return types.intp(work), emit


def _lent(context, b, kind, value):
    """The same value whose arrays are not counted by who uses them: members that count share a cache line a slice."""
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, b, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        parts = zip(kind, cgutils.unpack_tuple(b, value), strict=True)
        return context.make_tuple(b, kind, [_lent(context, b, *part) for part in parts])
    return value


@intrinsic
def _entry_for(typingctx, work):
    """The address of the C function for work = (address of a compiled function f, job): f(*job, rank, threads)."""

    def emit(context, b, signature, args):
        function = ir.Function(b.module, _ENTRY, b.module.get_unique_name("entry"))
        function.linkage = "internal"
        inside = ir.IRBuilder(function.append_basic_block())
        place, rank, threads = function.args
        address, job = cgutils.unpack_tuple(inside, inside.load(inside.bitcast(place, args[0].type.as_pointer())))
        kinds = *signature.args[0][1], types.intp, types.intp
        convention = context.call_conv
        f = inside.inttoptr(address, convention.get_function_type(types.none, kinds).as_pointer())
        # What comes back is no result, and no error: a kernel neither allocates nor raises.
        lent = _lent(context, inside, signature.args[0][1], job)
        convention.call_function(inside, f, types.none, kinds, [*cgutils.unpack_tuple(inside, lent), rank, threads])
        inside.ret_void()
        return b.ptrtoint(function, intp_t)

    return types.intp(work), emit


@numba.njit(nogil=True)
def _post(desk, entry, place, threads):
    """Puts a job on the desk and wakes helpers; how many it takes."""
    helpers = threads - 1
    desk[ENTRY], desk[JOB], desk[THREADS], desk[LEFT] = entry, place, threads, 0
    _swap(desk, OPENINGS, helpers)
    for number in range(helpers):
        if _load(desk, ASLEEP + number) and _swap(desk, ASLEEP + number, 0):
            _release(desk[LOCK + number])
    return helpers


@jit
def lead(member, desk, threads, job):
    """The member at this address, (*job, rank, threads), is run by a team; job ends with the board.

    If another thread has a job running, the caller does its own alone: it neither waits nor adds threads.
    """
    work = member, job
    entry, place = _entry_for(work), _place_of(work)
    if threads < 2 or _swap(desk, BUSY, 1):
        _take_part(entry, place, 0, 1)
        return
    helpers = _post(desk, entry, place, min(threads, MOST_HELPERS + 1))
    _take_part(entry, place, 0, helpers + 1)
    helpers -= _swap(desk, OPENINGS, 0)  # those that came
    _wait_for(desk, LEFT, helpers)
    _swap(desk, BUSY, 0)


def address_of(function, signature):
    """Where the code of a compiled function for arguments of these types is."""
    function.compile(signature)
    compiled = function.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def by_address(result, kinds):
    """call(address, args) of a function compiled for these kinds of arguments; what calls it is compiled without it."""

    @intrinsic
    def call(typingctx, address, args):
        def emit(context, b, signature, given):
            convention = context.call_conv
            function = b.inttoptr(given[0], convention.get_function_type(result, kinds).as_pointer())
            parts = zip(cgutils.unpack_tuple(b, given[1]), signature.args[1], kinds, strict=True)
            values = [context.cast(b, *part) for part in parts]
            _, value = convention.call_function(b, function, result, kinds, values)  # kernels raise nothing
            return value

        return result(types.intp, args), emit

    return call


def together(member, job):
    """How to run a kernel by a team, for a job of these types: call it with the desk, the threads and the job.

    Both the kernel and what leads a team through a job are compiled once and called directly: finding out the types
    of twenty arguments costs microseconds.
    """
    address = address_of(member, (*job, types.intp, types.intp))
    signature = types.intp, types.intp[::1], types.intp, job
    lead.compile(signature)
    return partial(lead.overloads[signature].entry_point, address)


@numba.njit(nogil=True)
def _join(desk):
    """Takes an opening if there is one; its number is the member's rank, 0 if there is none."""
    opening = _load(desk, OPENINGS)
    while opening > 0 and not _replace(desk, OPENINGS, opening, opening - 1):
        opening = _load(desk, OPENINGS)
    return opening


@numba.njit(nogil=True)
def _sleep(desk, number):
    """Until somebody wakes us, who first takes back the word that we sleep; we do, if a job has come meanwhile."""
    _swap(desk, ASLEEP + number, 1)
    if _load(desk, OPENINGS) == 0 or not _swap(desk, ASLEEP + number, 0):
        _acquire(desk[LOCK + number], 1)


@jit
def help_out(desk, number):
    """What a helper does for the rest of its life."""
    lock = _new_lock()
    desk[LOCK + number] = lock
    if lock != 0:
        _acquire(lock, 1)
    looks = 0
    while lock != 0:  # there is one unless memory is out; Numba takes no loop without an end
        rank = _join(desk)
        if rank > 0:
            _take_part(desk[ENTRY], desk[JOB], rank, desk[THREADS])  # they stay until we have left
            _count(desk, LEFT)
            looks = 0
        elif looks < LOOKS:
            _look_again(looks)
            looks += 1
        else:
            _sleep(desk, number)
            looks = 0


class _Team:
    """A desk, and the threads that look at it. They are daemons, so that Python ends without them."""

    def __init__(self):
        self.desk = np.zeros(DESK, np.intp)
        self.helpers = 0
        self._hiring = threading.Lock()

    def hire(self, wanted):
        """Make sure that there are so many helpers, or as many as the system allows."""
        with self._hiring:
            help_out.compile((types.intp[::1], types.intp))
            while self.helpers < wanted:
                how = self.desk, self.helpers
                self.helpers += 1
                with suppress(RuntimeError):  # no more threads: the others do the work
                    threading.Thread(target=help_out, args=how, name="fastlin", daemon=True).start()


_team = _Team()


def desk_for(threads):
    """The desk of a team of so many threads, or of as many as there can be."""
    helpers = min(threads - 1, MOST_HELPERS)
    if _team.helpers < helpers:
        _team.hire(helpers)
    return _team.desk


def _forget_threads():
    """After fork the child has none of the parent's threads."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
