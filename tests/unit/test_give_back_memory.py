"""A worker does not stay as large as its largest moment."""

import subprocess
import sys

_PROGRAM = """
import psutil
from dataflows.runner import give_back_memory, tune_memory

def resident():
    return psutil.Process().memory_info().rss / 2**20

tune_memory()
before = resident()
held = [bytes(4096) for _ in range(50_000)]
kept = held[::500]  # what is still in use lies between what is not
del held
peak = resident()
give_back_memory()
print(peak - before, resident() - before)
"""


def test_what_a_peak_left_behind_goes_back_to_the_system() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=120, check=True
    )
    peak, after = map(float, told.stdout.split())
    assert peak > 150, "otherwise there is nothing to give back"
    assert after < 50
