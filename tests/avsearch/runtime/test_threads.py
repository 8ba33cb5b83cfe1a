"""Work shared out over the cores."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch

from avsearch.runtime.threads import on_all_cores, on_one_core


def test_torch_uses_one_core_inside_and_what_it_used_before_outside():
    before = torch.get_num_threads()
    assert set(on_all_cores(lambda _: torch.get_num_threads(), range(8))) == {1}
    assert torch.get_num_threads() == before
    in_new_thread: list[int] = []
    thread = threading.Thread(target=lambda: in_new_thread.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert in_new_thread == [before]


def test_threads_are_shared_without_torch_and_with_it_once_it_is_loaded():
    program = """
import sys
from avsearch.runtime.threads import on_all_cores
assert on_all_cores(abs, [-1, 2]) == [1, 2]
assert "torch" not in sys.modules
import torch
torch.set_num_threads(2)
assert set(on_all_cores(lambda _: torch.get_num_threads(), range(8))) == {1}
assert torch.get_num_threads() == 2
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_results_come_in_the_order_of_the_arguments():
    assert on_all_cores(lambda number: number**2, range(100)) == [n**2 for n in range(100)]
    assert on_all_cores(str, []) == []
    assert on_one_core(divmod, 7, 2) == (3, 1)


def test_an_exception_goes_to_whoever_asked():
    with pytest.raises(ZeroDivisionError):
        on_all_cores(lambda number: 1 // number, [1, 0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_gets_threads_of_its_own():
    on_one_core(int)
    child = os.fork()
    if child == 0:
        os._exit(on_one_core(int, 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_process_that_is_stopped_while_threads_are_made_ends():
    program = """
import torch
from concurrent.futures import ThreadPoolExecutor
from avsearch.runtime import threads
torch.set_num_threads(3)
submit, made = ThreadPoolExecutor.submit, []
def stopped(pool, work):
    if made:
        raise KeyboardInterrupt
    made.append(pool)
    return submit(pool, work)
ThreadPoolExecutor.submit = stopped
try:
    threads.on_one_core(abs, -1)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("stopped\n", "")
