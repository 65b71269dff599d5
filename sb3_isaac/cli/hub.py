"""``hub:user/name`` in place of a run: the policy of a repository on the Hugging Face Hub."""

from __future__ import annotations

PREFIX = "hub:"
RUN = "run folder, checkpoint folder, policy.pth, hub:USER/NAME, or the id of a task whose policy ships"
"""What a verb that runs a trained policy takes, for its help."""


def here(run: str) -> str:
    """`run`, or the ``policy.pth`` of what it names on the Hub, fetched."""
    if not run.startswith(PREFIX):
        return run
    from sb3_isaac.rl.training.hub import load_from_hub

    return load_from_hub(run[len(PREFIX):])
