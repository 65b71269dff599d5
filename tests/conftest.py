"""Torch's number of threads stays what it is while tests run: ``train`` would choose another on busy cores, and tests
compare results bit for bit."""

from __future__ import annotations

import os

from sb3_isaac.contract.cores import available_cores

os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))  # before torch is imported
