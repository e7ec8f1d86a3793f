"""One thread a process: tests run in several at once, and threads that wait for a shared core by spinning starve all.

Set before NumPy or PyTorch are loaded; child processes inherit it.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
