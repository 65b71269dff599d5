"""Torch's number of threads is set before torch is imported, and stays what it is while tests run; signals arrive.

``train`` would choose another number on busy cores, and tests compare results bit for bit. Where tests run on each
core at the same time (``pytest -n auto``) a process takes one thread.
"""

from __future__ import annotations

import os
import signal

from sb3_isaac.contract.cores import available_cores

os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else str(available_cores()))

# What is started in the background, or by nohup, is told to ignore these, and tests send them.
for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, name), handler)
