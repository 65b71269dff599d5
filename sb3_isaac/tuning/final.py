"""The final stage: whether the best trial is better than the YAML that it started from, or came out best by chance."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from optuna.trial import FrozenTrial, TrialState

SHIPPED = "shipped"
CANDIDATE, SEED = "candidate", "seed"
LEVEL = 0.05


def signed_rank_p(gains: Sequence[float]) -> float:
    """One-sided p of Wilcoxon's signed-rank test of paired `gains` against "not above 0".

    Exact, by scipy, for up to 13 pairs with ties (scipy >= 1.15); zeros are left out.
    """
    from scipy.stats import wilcoxon  # it takes a second to import, and only a final stage needs it

    return float(wilcoxon(gains, alternative="greater").pvalue) if any(gains) else 1.0


@dataclass(frozen=True)
class Comparison:
    """A candidate beside the shipped YAML.

    | field | what |
    |---|---|
    | candidate | its name |
    | seeds | the seeds with which both came to an end |
    | ours, theirs | its values and those of the shipped YAML, paired |
    | p | of the test, multiplied by the number of candidates (Bonferroni) |
    """

    candidate: str
    seeds: Tuple[int, ...]
    ours: Tuple[float, ...]
    theirs: Tuple[float, ...]
    p: float

    @property
    def better(self) -> bool:
        """Whether it beats the shipped YAML at the 5% level."""
        return self.p <= LEVEL

    def sentence(self, unit: str, cap: Optional[int] = None) -> str:
        """The verdict; `cap` is the most transitions of a run where values are transitions to the stop rule."""
        if not self.seeds:
            return f"{self.candidate} was not compared with the shipped YAML: no seed came to its end with both."
        ours, theirs = (_median(values, cap) for values in (self.ours, self.theirs))
        verb = "beats" if self.better else "is not shown to beat"
        least = 2.0 ** -len(self.seeds)
        few = f"; with {len(self.seeds)} seeds it cannot go below {least:.3f}" if least > LEVEL else ""
        return (f"{self.candidate} {verb} the shipped YAML: median {unit} {ours} against {theirs} over "
                f"{len(self.seeds)} paired seeds, p = {self.p:.3f} (Wilcoxon's signed-rank test, one-sided{few}).")


def _median(values: Sequence[float], cap: Optional[int]) -> str:
    median = statistics.median(values)
    if cap is None:
        return f"{median:,.1f}"
    met = f"(met by {sum(value <= cap for value in values)} of {len(values)})"
    return f"{median:,.0f} {met}" if median <= cap else f"more than {cap:,} {met}"


def queue(candidates: Sequence[str], seeds: Sequence[int]) -> List[Tuple[Dict[str, Any], Dict[str, Any]]]:
    """The trials of the final stage, pair by pair, so that a stage cut short has whole pairs."""
    return [({CANDIDATE: name, SEED: seed}, {}) for seed in seeds for name in candidates]


def compare(trials: Sequence[FrozenTrial], candidates: Sequence[str], direction: str) -> List[Comparison]:
    """Each candidate beside the shipped YAML, the one with the best median first."""
    values: Dict[Tuple[str, int], float] = {}
    for trial in trials:
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            values[trial.params[CANDIDATE], trial.params[SEED]] = trial.value
    sign = 1.0 if direction == "minimize" else -1.0
    made = []
    others = [name for name in candidates if name != SHIPPED]
    for name in others:
        seeds = tuple(sorted(seed for who, seed in values if who == name and (SHIPPED, seed) in values))
        ours, theirs = (tuple(values[who, seed] for seed in seeds) for who in (name, SHIPPED))
        p = signed_rank_p([sign * (b - a) for a, b in zip(ours, theirs)]) if seeds else 1.0
        made.append(Comparison(name, seeds, ours, theirs, min(1.0, p * len(others))))
    return sorted(made, key=lambda c: sign * statistics.median(c.ours) if c.ours else float("inf"))


def as_builtins(comparisons: Sequence[Comparison]) -> List[Mapping[str, Any]]:
    """For a JSON file."""
    return [{"candidate": c.candidate, "seeds": c.seeds, "values": c.ours, "shipped": c.theirs, "p": c.p}
            for c in comparisons]
