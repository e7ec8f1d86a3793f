"""One thread a process: tests run in several at once, and threads that wait for a shared core by spinning starve all.

Set before NumPy or PyTorch are loaded; child processes inherit it.
"""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_LONGEST = "tests/pipeline/test_rehearsal.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes longest: last, it would keep one process busy while the others have nothing."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))
