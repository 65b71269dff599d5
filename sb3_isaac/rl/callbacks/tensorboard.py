"""TensorBoard beyond its curves: a screen of what matters in this task, and the settings of each run."""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping

from stable_baselines3.common.logger import HParam, TensorBoardOutputFormat

from sb3_isaac.contract.tensor_env import Display
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.rl.callbacks.iteration import IterationCallback

REWARD, EVALUATED = "rollout/ep_rew_mean", "eval/reward_mean"


class TensorBoardScreen(IterationCallback):
    """Writes the layout of the tab *Custom scalars* (the reward first, then what the task displays) and, for the tab
    *HParams*, what the run was made with.

    :param settings: of the run, as nested mappings.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self._settings = settings

    def _on_training_start(self) -> None:
        display = unwrap(self.training_env).env.display
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.add_custom_scalars(layout(display))
                # A metric's value is that of the curve of its name; this one counts until there is one.
                table = HParam(flat(self._settings), {REWARD: 0.0, EVALUATED: 0.0})
                output.write({"settings": table}, {"settings": ()})


def layout(display: Display) -> Dict[str, Dict[str, Any]]:
    """Charts by title: the reward, what progress lines show, what curves of evaluations show."""
    charts = {"reward": [REWARD, EVALUATED]}
    charts.update({shown.label: [shown.key] for shown in display.progress if shown.key != REWARD})
    charts.update({panel.title.replace("\n", " "): [panel.key] for panel in display.panels})
    return {"at a glance": {title: ["Multiline", [f"^{re.escape(key)}$" for key in keys]]
                            for title, keys in charts.items()}}


def flat(settings: Mapping[str, Any], before: str = "") -> Dict[str, Any]:
    """Numbers, truths and texts by dotted names; of other values, their text."""
    found: Dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{before}{name}."))
        elif value is not None:
            found[f"{before}{name}"] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return found
