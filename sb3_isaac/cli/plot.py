"""``sb3-isaac plot RUN...``: learning curves of one or more runs as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from sb3_isaac.contract.errors import UserError

PANELS = (
    ("rollout/ep_rew_mean", "reward of an episode\n(training commands)"),
    ("eval/reward_mean", "reward at 1 m/s\n(evaluation)"),
    ("eval/forward_speed_mean", "speed at 1 m/s\n(evaluation, m/s)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUNs and where the picture goes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--out", help="PNG file (default: curve.png in the first run folder)")
    parser.add_argument("--labels", nargs="+", help="a name for each run (default: its folder's)")


def run(args: argparse.Namespace) -> int:
    """Draw."""
    folders = [Path(name) for name in args.runs]
    for folder in folders:
        if not (folder / "metrics.csv").is_file():
            raise UserError(f"{str(folder)!r} holds no metrics.csv: give a folder that 'sb3-isaac train' wrote.")
    labels = args.labels or [folder.name for folder in folders]
    if len(labels) != len(folders):
        raise UserError(f"{len(labels)} labels for {len(folders)} runs: give one for each.")
    out = Path(args.out) if args.out else folders[0] / "curve.png"
    draw(folders, labels, out)
    print(out)
    return 0


def draw(folders: "list[Path]", labels: "list[str]", out: Path) -> None:
    """One panel for each of ``PANELS`` that a run has, environment steps along the bottom."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    from sb3_isaac.contract.files import atomic_file
    from sb3_isaac.rl.training.metrics import read_metrics

    runs = [read_metrics(folder / "metrics.csv") for folder in folders]
    panels = [panel for panel in PANELS if any(panel[0] in metrics for metrics in runs)]
    if not panels:
        raise UserError(f"{folders[0]} has logged no finished episode yet: train longer.")
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.4), squeeze=False)
    for axis, (key, title) in zip(axes[0], panels):
        for metrics, label in zip(runs, labels):
            if key in metrics:
                known = np.isfinite(metrics[key])
                steps = metrics["eval/steps" if key.startswith("eval/") else "step"]
                axis.plot(steps[known] / 1e6, metrics[key][known], label=label, linewidth=1.6)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("environment steps, millions")
        axis.grid(alpha=0.3)
        if key == "eval/reward_mean":
            axis.axhline(300, color="0.4", linestyle="--", linewidth=1)
        if key == "eval/forward_speed_mean":
            axis.axhspan(0.95, 1.05, color="0.4", alpha=0.15)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    with atomic_file(out) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)
