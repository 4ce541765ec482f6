"""Threads of calls that may hang: reused, never shared, and gone after a while."""

import contextvars
import gc
import os
import threading
import time
import weakref
from concurrent.futures import wait

import pytest

from fasttts.verifiers import daemon_pool
from fasttts.verifiers.daemon_pool import run_in_daemon


def idents(calls: int) -> set[int]:
    return {run_in_daemon(threading.get_ident).result(5) for _ in range(calls)}


def test_calls_after_each_other_share_threads() -> None:
    assert len(idents(50)) <= 3  # one may answer before it waits again


def test_a_call_that_hangs_holds_up_no_other() -> None:
    release = threading.Event()
    hanging = [run_in_daemon(release.wait) for _ in range(20)]
    assert run_in_daemon(lambda: 7).result(5) == 7
    assert not any(call.done() for call in hanging)
    release.set()
    assert all(call.result(5) for call in hanging)


def test_many_at_once_from_many_threads() -> None:
    found: list[int] = []

    def ask(start: int) -> None:
        found.extend(run_in_daemon(lambda n=n: n * n).result(5) for n in range(start, start + 50))

    threads = [threading.Thread(target=ask, args=(50 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [n * n for n in range(400)]


def test_errors_reach_the_caller_and_leave_the_thread_usable() -> None:
    def fail() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run_in_daemon(fail).result(5)
    assert run_in_daemon(lambda: "works").result(5) == "works"


def test_each_call_has_its_callers_context() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("first")
    assert run_in_daemon(variable.get).result(5) == "first"
    variable.set("second")
    assert run_in_daemon(variable.get).result(5) == "second"
    assert contextvars.Context().run(lambda: run_in_daemon(variable.get)).result(5) == "none"


def test_an_idle_thread_holds_nothing_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_pool, "_IDLE_S", 0.05)

    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)
    call = run_in_daemon(lambda held=held: None)
    wait([call], 5)
    del held, call
    end = time.monotonic() + 5
    while gone() is not None or _num_threads():
        assert time.monotonic() < end, (gone(), _num_threads())
        gc.collect()
        time.sleep(0.01)
    assert run_in_daemon(lambda: 1).result(5) == 1


def _num_threads() -> int:
    return sum(thread.name.startswith("fasttts-call") for thread in threading.enumerate())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12, what is tested
def test_a_forked_process_has_threads_of_its_own() -> None:
    assert run_in_daemon(lambda: 1).result(5) == 1  # an idle thread, which the child has not
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if run_in_daemon(lambda: 5).result(5) == 5 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
