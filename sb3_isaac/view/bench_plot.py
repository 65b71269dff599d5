"""The picture of ``sb3-isaac bench``: where the time of an iteration goes, and how speed grows with their number."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

from sb3_isaac.contract.figures import BLUE, ORANGE, SKY, VERMILLION, drawing, plain_log, save

PARTS = (("physics", BLUE), ("task", SKY), ("inference and glue", ORANGE), ("update", VERMILLION))
FLOORS = "floors"
ROOM = 1.7
"""Length of the axis over that of the longest bar: space for the text after the bars."""


def draw(result: Dict[str, Any], out: Path) -> None:
    """Write a PNG of `result`, what ``bench.json`` holds."""
    panels = 2 if result["speed"] else 1
    system = result["system"]
    versions = ", ".join(f"{name} {version}" for name, version in system["versions"].items()
                         if name != "numpy" and version != "absent")
    with drawing(9.0 + 4.6 * (panels - 1), 3.8, 1, panels, width_ratios=[1.7, 1.0][:panels]) as (figure, axes):
        _draw_bars(axes[0][0], result)
        if result["speed"]:
            _draw_speed(axes[0][1], result["speed"])
        figure.supxlabel(f"{system['cpu']}, {system['cores']} cores"
                         f"{', ' + system['gpu'] if system['gpu'] else ''}; {versions}", fontsize=7, color="0.35",
                         x=0.01, ha="left")
        save(figure, out)


def bars(result: Dict[str, Any]) -> List[Tuple[str, List[float]]]:
    """(label, seconds by ``PARTS``) of each contender and of the floors."""
    median = {row["name"]: row["median_s"] for row in result["rows"] if row["median_s"] is not None}
    made = []
    for whole in [name for name in median if name.endswith(" iteration")]:
        name = whole[:-len(" iteration")]
        physics, task = median[f"{name} physics"], median[f"{name} task"]
        made.append((name, [physics, task, median[f"{name} rollout"] - physics - task, median[f"{name} update"]]))
    made.append((FLOORS, [median.get("bare physics", 0.0), 0.0, median["bare networks rollout"],
                          median["bare networks update"]]))
    return made


def _draw_bars(axis: Any, result: Dict[str, Any]) -> None:
    """Stacked bars. A bar that is many times longer than the others is cut, with its time written on it."""
    ratio = {row["name"]: row["ratio"] for row in result["rows"]}
    once = {row["name"] for row in result["rows"] if row["n"] == 1 < result["config"]["rounds"]}
    made = bars(result)
    # The default batch size makes a bar of another order of magnitude, which would hide the others.
    reach = ROOM * max(sum(parts) for name, parts in made if "batch_size" not in name)
    for y, (name, parts) in enumerate(made):
        left, floor = 0.0, name == FLOORS
        for (part, colour), seconds in zip(PARTS, parts):
            axis.barh(y, seconds, left=left, color=colour, height=0.62, alpha=0.55 if floor else 1.0,
                      hatch="///" if floor else None, edgecolor="white", label=None if y else part)
            left += seconds
        compared = ((f"ours ÷ {name}", ratio.get(f"ours iteration / {name} iteration")),
                    ("symmetric", ratio.get(f"ours symmetric iteration / {name} iteration")),
                    ("÷ floors", ratio.get(f"{name} iteration / floors")))
        text = ", ".join([f"{left:.3g} s", *(f"{what} {value:.2f}" for what, value in compared if value)])
        cut = left > reach
        axis.text(reach * 0.99 if cut else left, y, f"{text} →" if cut else f" {text}", va="center", fontsize=8,
                  ha="right" if cut else "left", color="white" if cut else "black", weight="bold" if cut else None)
    axis.set_xlim(0, reach)
    axis.set_yticks(range(len(made)), [
        "floors: bare physics\nand networks" if name == FLOORS
        else f"{name}\n(measured once)" if f"{name} iteration" in once else name for name, _ in made])
    axis.invert_yaxis()
    axis.set_xlabel("seconds of one training iteration, medians")
    config = result["config"]
    cone = f", {config['cone']} friction cone" if config["cone"] else ""
    axis.set_title(f"{config['env']}: {config['num_envs']} environments × {config['n_steps']} steps, "
                   f"{config['n_epochs']} epochs × {config['minibatches']} minibatches{cone}", fontsize=9)
    axis.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    axis.grid(False, axis="y")


def _draw_speed(axis: Any, speed: List[Dict[str, Any]]) -> None:
    """Transitions per second over the number of environments, both logarithmic; the speed-up stands at each point."""
    numbers = [row["num_envs"] for row in speed]
    for key, colour, label, above in (("stepping", BLUE, "environment alone", True),
                                      ("training", VERMILLION, "whole training", False)):
        rates = [row[f"{key}_per_s"] for row in speed]
        axis.loglog(numbers, rates, "o-", color=colour, label=label)
        for row, rate in zip(speed, rates):
            axis.annotate(f"×{row[f'{key}_speedup']:.3g}", (row["num_envs"], rate), fontsize=7, color=colour,
                          textcoords="offset points", xytext=(0, 6 if above else -12), ha="center")
    axis.set_xticks(numbers, [str(n) for n in numbers])
    plain_log(axis.yaxis)
    axis.minorticks_off()
    axis.margins(x=0.12, y=0.15)
    axis.set_xlabel("environments")
    axis.set_title(f"transitions per second (× over {speed[0]['speedup_over']})", fontsize=9)
    axis.legend()
