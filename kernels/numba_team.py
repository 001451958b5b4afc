"""How the threads of a team share out the items of a phase without Python: atomic operations on a board.

board[0] counts the items that are done; behind it stands, for each item, the number of the last phase in which
somebody took it.
"""

import os
import platform

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.cgutils import intp_t
from numba.extending import intrinsic

BOARD = 1 + 64  # no phase has more items
LOOKS_BEFORE_YIELDING = 200
_PAUSE = "llvm.x86.sse2.pause" if platform.machine().lower() in {"x86_64", "amd64"} else None


def _place(context, b, kind, board, index):
    data = context.make_array(kind)(context, b, board).data
    return b.gep(data, [index])


@intrinsic
def claim(typingctx, board, item, phase):
    """Whether nobody has taken the item in this phase: it is ours now. Phases count from 1."""

    def emit(context, b, signature, args):
        place = _place(context, b, signature.args[0], args[0], b.add(args[1], intp_t(1)))
        return b.icmp_signed("<", b.atomic_rmw("max", place, args[2], "monotonic"), args[2])

    return types.boolean(board, types.intp, types.intp), emit


@intrinsic
def finish(typingctx, board):
    """One more item is done, and what was written for it can be read by whoever sees that."""

    def emit(context, b, signature, args):
        b.atomic_rmw("add", _place(context, b, signature.args[0], args[0], intp_t(0)), intp_t(1), "release")
        return context.get_dummy_value()

    return types.void(board), emit


@intrinsic
def _done(typingctx, board):
    def emit(context, b, signature, args):
        return b.load_atomic(_place(context, b, signature.args[0], args[0], intp_t(0)), "acquire", 8)

    return types.intp(board), emit


@intrinsic
def _pause(typingctx):
    def emit(context, b, signature, args):
        if _PAUSE:
            function = cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.VoidType(), []), _PAUSE)
            b.call(function, [])
        return context.get_dummy_value()

    return types.void(), emit


_yield = types.ExternalFunction("sched_yield", types.intc()) if os.name == "posix" else _pause


@numba.njit(nogil=True)
def wait(board, items):
    """Until so many items are done. Whoever shares this core may be the one we wait for."""
    looks = 0
    while _done(board) < items:
        looks += 1
        if looks > LOOKS_BEFORE_YIELDING:
            _yield()
        else:
            _pause()
