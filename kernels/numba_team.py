"""A team of threads that does a kernel's work together without Python, like that of team.h for Cython.

A kernel is a function that every member of a team runs. Its work consists of phases, and each phase of numbered items.
Items of one phase may run at the same time; a phase begins when the one before has ended. The members share the items
out by atomic operations on the call's `progress`: progress[0] counts the items that are done, and progress[1 + item] is
the number of the last phase in which a member took that item. A helper that is late, because the machine is busy, finds
fewer items left: the others wait for it only if it has begun one.

Helpers find their work in the team's job slot. They are Python's threads, which never leave compiled code after their
first call: they wake, work and sleep without the GIL.
"""

import _thread
import os
import platform
import threading
from contextlib import suppress
from functools import partial

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.cgutils import intp_t, voidptr_t
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from fastlin.kernels.numba_cache import inlined, jit

PROGRESS_SIZE = 1 + 64  # no phase has more items
MOST_HELPERS = 63

# The words of the job slot: whether there is a job, the addresses of its function and of its arguments, and its number
# of threads; how many helpers may still join; how many helpers have left again; then for each helper whether it sleeps,
# and the lock on which it sleeps. Words that several threads change often have cache lines of their own.
BUSY, ENTRY, JOB, THREADS, OPENINGS, LEFT, ASLEEP = 0, 1, 2, 3, 8, 16, 24
LOCK = ASLEEP + MOST_HELPERS
JOB_SLOT_SIZE = LOCK + MOST_HELPERS

# After a job a helper looks for the next one before it sleeps, for some 60 us if no other program wants its core:
# waking it takes 10 us and more.
LOOKS, LOOKS_BEFORE_YIELDING = 500, 200
_PAUSE = "llvm.x86.sse2.pause" if platform.machine().lower() in {"x86_64", "amd64"} else None


def _pointer(context, b, kind, array, index):
    data = context.make_array(kind)(context, b, array).data
    return b.gep(data, [index])


@intrinsic
def claim(typingctx, progress, item, phase):
    """Takes the item in this phase, and says whether it was still free. Phases count from 1."""

    def emit(context, b, signature, args):
        pointer = _pointer(context, b, signature.args[0], args[0], b.add(args[1], intp_t(1)))
        return b.icmp_signed("<", b.atomic_rmw("max", pointer, args[2], "monotonic"), args[2])

    return types.boolean(progress, types.intp, types.intp), emit


@intrinsic
def _count(typingctx, array, index):
    """Adds 1. A thread that reads the new count also reads all that this thread has written before."""

    def emit(context, b, signature, args):
        b.atomic_rmw("add", _pointer(context, b, signature.args[0], *args), intp_t(1), "release")
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


@intrinsic
def _load(typingctx, array, index):
    def emit(context, b, signature, args):
        return b.load_atomic(_pointer(context, b, signature.args[0], *args), "seq_cst", 8)

    return types.intp(array, types.intp), emit


@intrinsic
def _swap(typingctx, array, index, value):
    """Stores the value and returns the one that was there before."""

    def emit(context, b, signature, args):
        return b.atomic_rmw("xchg", _pointer(context, b, signature.args[0], *args[:2]), args[2], "seq_cst")

    return types.intp(array, types.intp, types.intp), emit


@intrinsic
def _replace(typingctx, array, index, old, new):
    """Stores the new value if the old one is there, and says whether it was."""

    def emit(context, b, signature, args):
        pointer = _pointer(context, b, signature.args[0], *args[:2])
        return b.extract_value(b.cmpxchg(pointer, *args[2:], "seq_cst", "seq_cst"), 1)

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

# Python's own lock functions are available on every system, and these do not need the GIL.
_new_lock = types.ExternalFunction("PyThread_allocate_lock", types.intp())
_acquire = types.ExternalFunction("PyThread_acquire_lock", types.intc(types.intp, types.intc))
_release = types.ExternalFunction("PyThread_release_lock", types.void(types.intp))


@inlined
def _look_again(looks):
    if looks > LOOKS_BEFORE_YIELDING:
        _yield()  # the thread that we wait for may need this core
    else:
        _pause()


@inlined
def _wait_for(array, index, count):
    looks = 0
    while _load(array, index) < count:
        _look_again(looks)
        looks += 1


@inlined
def finish(progress):
    """Says that one more item is done."""
    _count(progress, 0)


@inlined
def wait(progress, items):
    """Returns when this number of items is done."""
    _wait_for(progress, 0, items)


@inlined
def rotated(i, count, rank, threads):
    """The i-th item that a member tries to take: the first ones are its own share of the `count` items."""
    return (i + rank * count // threads) % count


@inlined
def column_range(first, last, count, columns):
    """The columns of the blocks first ... last - 1 of `count` column blocks.

    Blocks are whole cache lines, so that no two members write to the same line.
    """
    return columns * first // count // 16 * 16, columns if last == count else columns * last // count // 16 * 16


# A member is called as a C function (address, rank, threads), which finds its arguments at the address.
_ENTRY = ir.FunctionType(ir.VoidType(), [voidptr_t, intp_t, intp_t])


@intrinsic
def _take_part(typingctx, entry, address, rank, threads):
    def emit(context, b, signature, args):
        b.call(b.inttoptr(args[0], _ENTRY.as_pointer()), [b.inttoptr(args[1], voidptr_t), *args[2:]])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp), emit


@intrinsic
def _address_on_stack(typingctx, work):
    """The address of a copy of the value on the stack, which lasts until the calling function returns.

    The copy keeps no array alive: the caller of that function does.
    """

    def emit(context, b, signature, args):
        return b.ptrtoint(cgutils.alloca_once_value(b, args[0]), intp_t)

    return types.intp(work), emit


def _lent(context, b, kind, value):
    """The same value with arrays that are not reference-counted.

    The counter of an array is in one cache line, which would move between the members with every slice that they take.
    """
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
        at, rank, threads = function.args
        address, job = cgutils.unpack_tuple(inside, inside.load(inside.bitcast(at, args[0].type.as_pointer())))
        kinds = *signature.args[0][1], types.intp, types.intp
        convention = context.call_conv
        f = inside.inttoptr(address, convention.get_function_type(types.none, kinds).as_pointer())
        # The result is ignored, and so is the error status: a kernel neither allocates nor raises.
        lent = _lent(context, inside, signature.args[0][1], job)
        convention.call_function(inside, f, types.none, kinds, [*cgutils.unpack_tuple(inside, lent), rank, threads])
        inside.ret_void()
        return b.ptrtoint(function, intp_t)

    return types.intp(work), emit


@inlined
def _post(job_slot, entry, address, threads):
    """Puts a job into the slot and wakes helpers; returns how many helpers may join."""
    helpers = threads - 1
    job_slot[ENTRY], job_slot[JOB], job_slot[THREADS], job_slot[LEFT] = entry, address, threads, 0
    _swap(job_slot, OPENINGS, helpers)
    for number in range(helpers):
        if _load(job_slot, ASLEEP + number) and _swap(job_slot, ASLEEP + number, 0):
            _release(job_slot[LOCK + number])
    return helpers


@jit
def lead(member, job_slot, threads, job):
    """Runs member(*job, rank, threads), of which `member` is the address, by a team; the job ends with `progress`.

    If another thread has a job running, the caller does its own alone: it neither waits nor adds threads.
    """
    work = member, job
    entry, address = _entry_for(work), _address_on_stack(work)
    if threads < 2 or _swap(job_slot, BUSY, 1):
        _take_part(entry, address, 0, 1)
        return
    helpers = _post(job_slot, entry, address, threads if threads <= MOST_HELPERS else MOST_HELPERS + 1)
    _take_part(entry, address, 0, helpers + 1)
    helpers -= _swap(job_slot, OPENINGS, 0)  # the number of helpers that have joined
    _wait_for(job_slot, LEFT, helpers)
    _swap(job_slot, BUSY, 0)


@global_compiler_lock
def address_of(function, kinds):
    """The address of the code of a compiled function for arguments of these types.

    LLVM is asked under the compiler's lock alone: no thread may be inside LLVM when the process forks.
    """
    _, _, signature, _ = function.get_call_template(kinds, {})  # compiles it; *args become one tuple
    compiled = function.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def by_address(result, kinds):
    """call(address, args) of a function with arguments of these types.

    A kernel that calls its pieces like this is compiled once for all pieces of these types.
    """

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
    """run(job_slot, threads, job), which runs a kernel by a team, for jobs of these types.

    The kernel and `lead` are compiled here and called directly: Numba's dispatchers check the types of all arguments
    in every call, which takes microseconds for twenty of them.
    """
    address = address_of(member, (*job, types.intp, types.intp))
    signature = types.intp, types.intp[::1], types.intp, job
    lead.compile(signature)
    return partial(lead.overloads[signature].entry_point, address)


@inlined
def _join(job_slot):
    """Joins the job if another helper may join; returns the helper's rank, or 0 if it has not joined."""
    opening = _load(job_slot, OPENINGS)
    while opening > 0 and not _replace(job_slot, OPENINGS, opening, opening - 1):
        opening = _load(job_slot, OPENINGS)
    return opening


@inlined
def _sleep(job_slot, number):
    """Sleeps until there is a job.

    The helper sets its word to ASLEEP, and then looks for a job once more. If a leader finds the word first, it resets
    the word and releases the lock. If the helper finds the job first, it resets the word itself.
    """
    _swap(job_slot, ASLEEP + number, 1)
    if _load(job_slot, OPENINGS) == 0 or not _swap(job_slot, ASLEEP + number, 0):
        _acquire(job_slot[LOCK + number], 1)


@jit
def help_out(job_slot, number):
    """Joins job after job until the process ends."""
    lock = _new_lock()
    job_slot[LOCK + number] = lock
    if lock != 0:
        _acquire(lock, 1)
    looks = 0
    while lock != 0:  # it is 0 if there was no memory for it; Numba compiles no loop without an end
        rank = _join(job_slot)
        if rank > 0:
            _take_part(job_slot[ENTRY], job_slot[JOB], rank, job_slot[THREADS])  # valid until this helper has left
            _count(job_slot, LEFT)
            looks = 0
        elif looks < LOOKS:
            _look_again(looks)
            looks += 1
        else:
            _sleep(job_slot, number)
            looks = 0


class _Helper:
    """A thread of a team.

    The threading module's threads do not serve: if Ctrl-C interrupts Thread.start(), the new thread may wait for ever.
    """

    runs = False  # set by the thread itself


class _Team:
    """A job slot, and the threads that poll it, for which Python does not wait when it exits.

    Ctrl-C may come between any two steps of `hire`, and a signal's handler may call it: what one call leaves half done,
    the next one finds and completes.
    """

    def __init__(self):
        self.job_slot = np.zeros(JOB_SLOT_SIZE, np.intp)
        self.helpers = 0
        self._threads = {}  # by the helper's number
        self._hiring = threading.RLock()

    def hire(self, wanted):
        """Starts threads until there are `wanted` helpers, or as many as the system allows."""
        with self._hiring:
            if not help_out.signatures:  # compiling takes the compiler's lock, which Ctrl-C can leave held
                help_out.compile((types.intp[::1], types.intp))
            for number in range(wanted):
                if number in self._threads and self._threads[number].runs:
                    continue
                self._threads[number] = thread = _Helper()
                with suppress(RuntimeError):  # the system starts no more threads: the others do the work
                    _thread.start_new_thread(self._help, (number, thread))
            self.helpers = max(self.helpers, wanted)

    def _help(self, number, thread):
        """Runs in a helper's thread."""
        with self._hiring:
            if self._threads[number] is not thread:  # Ctrl-C came right after its start, and it was replaced
                return
            thread.runs = True
        help_out(self.job_slot, number)


_team = _Team()


def job_slot_for(threads):
    """The job slot of a team of this number of threads, or of as many as the system allows."""
    helpers = min(threads - 1, MOST_HELPERS)
    if _team.helpers < helpers:
        _team.hire(helpers)
    return _team.job_slot


def _forget_threads():
    """Forgets the helpers after a fork: the child has none of the parent's threads."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
