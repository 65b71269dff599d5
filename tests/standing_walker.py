"""The file of a walking policy that stands: its actions are 0 whatever it sees, so what follows is known by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sb3_isaac.policy.formats import save_policy
from sb3_isaac.tasks import make_task

VELOCITY, FLAT = "IsaacQuadrupedVelocity-v0", "IsaacQuadrupedFlat-v0"


def standing_walker(path: Path, task_id: str = FLAT, **changes: Any) -> str:
    """Write it for the task `task_id`, with `changes` of what the file says; the file's path."""
    task = make_task(task_id, 1, threads=1, **changes.get("env_kwargs", {}))
    width, joints = sum(task.metadata()["obs_table"].values()), task.action_space.shape[0]
    content = {
        "format_version": 1, "activation": "nn.ELU",
        "state_dict": {"0.weight": torch.zeros(joints, width), "0.bias": torch.zeros(joints)},
        "action_low": [-1.0] * joints, "action_high": [1.0] * joints, "obs_mean": torch.zeros(width),
        "obs_var": torch.ones(width), "epsilon": 1e-8, "clip_obs": 10.0, "env": task_id, "env_kwargs": {},
        "obs_table": task.metadata()["obs_table"], **changes}
    task.close()
    save_policy(path, content)
    return str(path)
