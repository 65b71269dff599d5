"""Torch's number of threads is set before torch is imported, and stays what it is while tests run.

``train`` would choose another number on busy cores, and tests compare results bit for bit. Where tests run on each
core at the same time (``pytest -n auto``) a process takes one thread.
"""

from __future__ import annotations

import os

from sb3_isaac.contract.cores import available_cores

os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else str(available_cores()))
