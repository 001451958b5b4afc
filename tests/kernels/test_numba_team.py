"""Numba's team of threads: all helpers join a job, awake or asleep, and the bits are the same."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastlin as fl
from fastlin import ops, testing

numba = pytest.importorskip("numba")
pytestmark = pytest.mark.numba

# A member of `meet` ends when all members have come, so that a missing member makes the test exceed its time limit.
MEET = """
import _thread, os, threading, time, warnings
import numba, numpy as np
from fastlin.kernels.numba_team import PROGRESS_SIZE, finish, job_slot_for, together, wait

@numba.njit(nogil=True)
def meet(came, progress, rank, threads):
    came[rank] += 1
    finish(progress)
    wait(progress, threads)

run = together(meet, numba.typeof((np.zeros(9), np.zeros(PROGRESS_SIZE, np.intp))))

def all_meet(threads):
    came = np.zeros(9)
    run(job_slot_for(threads), threads, (came, np.zeros(PROGRESS_SIZE, np.intp)))
    assert came.tolist() == [1.0] * threads + [0.0] * (9 - threads)
"""


def run_script(lines):
    done = subprocess.run(
        [sys.executable, "-c", MEET + lines], timeout=300, capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr


def test_all_meet_awake_and_asleep():
    run_script(
        """
for threads in np.random.default_rng(0).integers(1, 10, 400):
    all_meet(int(threads))
    if threads % 9 == 0:
        time.sleep(0.05)
"""
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_all_meet_after_fork():
    run_script(
        """
all_meet(4)
child = os.fork()
all_meet(5)
if not child:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    )


def test_who_finds_the_team_busy_works_alone():
    run_script(
        """
@numba.njit(nogil=True)
def count(members, progress, rank, threads):
    members[rank] = threads

inner = together(count, numba.typeof((np.zeros(9), np.zeros(PROGRESS_SIZE, np.intp))))
members = np.zeros(9)
busy = job_slot_for(3)
busy[0] = 1  # as while another thread has a job running
inner(busy, 3, (members, np.zeros(PROGRESS_SIZE, np.intp)))
assert members.tolist() == [1.0] + [0.0] * 8
busy[0] = 0
all_meet(3)

errors = []
def call():
    try:
        for _ in range(300):
            alone = np.zeros(9)
            inner(job_slot_for(3), 3, (alone, np.zeros(PROGRESS_SIZE, np.intp)))
            assert alone[0] in (1, 3)
    except BaseException as error:
        errors.append(error)

callers = [threading.Thread(target=call) for _ in range(4)]
for caller in callers: caller.start()
for caller in callers: caller.join()
assert not errors, errors
all_meet(3)
"""
    )


def test_no_more_threads_is_no_error():
    run_script(
        """
def refuse(*args):
    raise RuntimeError("can't start new thread")

_thread.start_new_thread = refuse
came = np.zeros(9)
together(meet, numba.typeof((came, np.zeros(PROGRESS_SIZE, np.intp))))
assert not job_slot_for(4).any()
all_meet(1)
"""
    )


@pytest.mark.parametrize("loss", ops.losses())
def test_same_bits_for_any_members(loss, dtype):
    rng = np.random.default_rng(0)
    cases = [testing.random_case(*shape).astype(dtype) for shape in ((1797, 64, 10), (700, 131, 10), (333, 1030, 7))]
    expected = [case.evaluate(loss, backend="numba", threads=1) for case in cases]
    for _ in range(200):
        which = rng.integers(len(cases))
        value, dW = cases[which].evaluate(loss, backend="numba", threads=int(rng.integers(1, 9)))
        assert value == expected[which][0]
        assert dW.tobytes() == expected[which][1].tobytes()
        if rng.random() < 0.05:
            time.sleep(0.02)  # the helpers fall asleep


def test_an_epoch_counts_every_loss():
    """Members add to the sums of other members and overwrite none."""
    case = testing.random_case(20000, 512, 4).astype("float32")  # in two column blocks
    how = {"epochs": 3, "loss": "svm", "batch_size": 64, "backend": "numba"}
    expected = fl.train(case.X, case.y, threads=1, **how)
    for threads in [2, 3] * 4:
        found = fl.train(case.X, case.y, threads=threads, **how)
        assert found.history["loss"] == expected.history["loss"]
        assert found.W.tobytes() == expected.W.tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_until_no_other_thread_compiles():
    """Else the lock of Numba's compiler would be held in the child, for ever."""
    run_script(
        """
import signal
from numba.core.compiler_lock import global_compiler_lock

compiling = threading.Event()
def compile():
    with global_compiler_lock:
        compiling.set()
        time.sleep(0.3)

def double(x):
    return x + x

other = threading.Thread(target=compile)
other.start()
compiling.wait()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer Pythons warn of a fork with threads
    child = os.fork()
if not child:
    signal.alarm(60)
    os._exit(numba.njit(double)(3) != 6)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
other.join()
assert not global_compiler_lock.is_locked()
assert numba.njit(double)(3) == 6
with global_compiler_lock:  # a thread may fork while it compiles itself
    child = os.fork()
    if not child:
        signal.alarm(60)
        os._exit(numba.njit(double)(3) != 6)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
thread = threading.Thread(target=numba.njit(double), args=[3], daemon=True)
thread.start()
thread.join(60)
assert not thread.is_alive()
"""
    )


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
def test_a_storm_of_interruptions_leaves_the_team_whole():
    """Whatever Ctrl-C interrupts, the start of a helper too: all helpers come to the next job, and no others exist."""
    run_script(
        """
import faulthandler, random, signal
from pathlib import Path
from fastlin.kernels import numba_team

faulthandler.dump_traceback_later(240, exit=True)
others = len(list(Path("/proc/self/task").iterdir())) if Path("/proc").exists() else 0

signal.signal(signal.SIGALRM, signal.default_int_handler)
all_meet(4)
teams = [numba_team._team, *(numba_team._Team() for _ in range(60))]
for team in teams:
    for _ in range(10):
        numba_team._team = team
        try:
            # Again after 5 s: Python ignores the exception of a signal that comes in a finalizer.
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 3e-4), 5)
            while True:
                team.helpers = 0  # so that every call has to look
                all_meet(4)
        except KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0)
for team in teams:
    numba_team._team = team
    all_meet(4)
assert all(len(team._threads) == 3 for team in teams)
tasks = Path("/proc/self/task")
while tasks.exists() and len(list(tasks.iterdir())) > others + 3 * len(teams):
    time.sleep(0.01)  # those that were replaced end
"""
    )
