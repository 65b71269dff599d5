"""``RUN/post_mortem/``: what a run leaves where its numbers stop being finite, beside its last good checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Optional

from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.errors import NotFinite, UserError
from sb3_isaac.contract.files import atomic_folder, write_text
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.rl.distributed import rank
from sb3_isaac.rl.policy.finite import learning_rate_of, why_not_finite
from sb3_isaac.rl.training.checkpoint import write_checkpoint
from sb3_isaac.rl.training.run_folder import find_checkpoint


def reason(model: Any, error: Exception) -> Optional[NotFinite]:
    """`error` if it says that a number is not finite, else what makes it so; None where it is about something else.

    Stock algorithms end in an error of torch's own at the first NaN.
    """
    if isinstance(error, NotFinite):
        return error
    if isinstance(error, UserError):
        return None
    try:
        unwrap(model.get_env()).check_finite()
    except NotFinite as found:
        return found
    return why_not_finite(model)


def write_post_mortem(model: Any, run: Path, config: Optional[TrainConfig], error: NotFinite) -> NotFinite:
    """The state of this moment, as this process has it, into ``post_mortem/`` of the folder `run`; `error` with where
    that and the last good state are.

    Its files are a checkpoint's, and ``why.json``: the sentence, the learning rate and what was logged last.
    """
    logged = {key: value if math.isfinite(value) else repr(value)  # JSON has no NaN
              for key, value in model.logger.name_to_value.items() if isinstance(value, (int, float))}
    why = {"error": str(error), "num_timesteps": model.num_timesteps, "updates": getattr(model, "_n_updates", None),
           "learning_rate": learning_rate_of(model), "logged": logged}
    place = run / ("post_mortem" if rank() == 0 else f"post_mortem_{rank()}")
    try:
        with atomic_folder(place) as folder:
            write_checkpoint(model, folder, config)
            write_text(folder / "why.json", json.dumps(why, indent=2) + "\n")
        here = f"that of this moment in {place}"
    except UserError as unwritten:
        here = f"that of this moment is lost ({str(unwritten).split(':')[0]})"
    try:
        kept = f"the last good state is in {find_checkpoint(run)}"
    except UserError:
        kept = "no state was saved before"
    return type(error)(f"{str(error).rstrip('.')}; {kept}, {here}.")
