"""What commonly ails a training run, told from what was logged: one pure function of its history for each failure.

Each returns a sentence with the remedy, or None. The limits were laid where healthy runs of the shipped tasks and
settings stay far off: there clip fractions reach 0.54, KL divergences 0.07, one term has 0.98 of the reward at most,
and the policy's standard deviation ends above 0.1 of half the action's range.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

import numpy as np

RECENT = 10
"""Iterations that a finding looks back on, at least."""


class Facts(NamedTuple):
    """What of an environment and a learner the findings need.

    ============ ==============================================================================================
    max_steps    steps after which an episode runs out of time; infinite where it does not say
    transitions  of an iteration: robots × steps of a rollout
    n_steps      of a rollout
    half_range   half the width of the narrowest action's range; 1 where it is unbounded; 0 for discrete actions
    target_kl    the KL divergence that ends an update, nat; 0 where none does
    ============ ==============================================================================================
    """

    max_steps: float
    transitions: int
    n_steps: int
    half_range: float
    target_kl: float = 0.0


class History:
    """Values that were logged, a list for each key with an entry for each iteration: NaN where there was none."""

    def __init__(self, facts: Facts) -> None:
        self.facts, self.count = facts, 0
        self.clipped: Mapping[str, float] = {}
        """Observation -> share of its values that the normaliser has clipped, when that was last looked at."""
        self._values: Dict[str, List[float]] = {}

    def add(self, values: Mapping[str, Any]) -> None:
        """Take in what one iteration has logged."""
        for key in (*values, *self._values):
            series = self._values.setdefault(key, [math.nan] * self.count)
            if len(series) == self.count:
                value = values.get(key)
                series.append(float(value) if isinstance(value, (int, float, np.number)) else math.nan)
        self.count += 1

    def all(self, key: str) -> np.ndarray:
        """Every finite value of `key`, in order."""
        series = np.array(self._values.get(key, ()))
        return series[np.isfinite(series)]

    def last(self, key: str, count: int = RECENT) -> np.ndarray:
        """The values of the last `count` iterations; empty where one of them is missing."""
        series = np.array(self._values.get(key, ())[-count:])
        return series if len(series) == count and np.isfinite(series).all() else np.zeros(0)

    def life(self, iterations: slice) -> float:
        """Steps until an episode of these iterations was terminated, on average; infinite where none was."""
        ended = [np.array(self._values.get(f"rollout/{name}", ()))[iterations] for name in ("episodes", "timeouts")]
        if any(len(series) == 0 for series in ended):
            return math.inf
        terminated = float(np.nansum(ended[0]) - np.nansum(ended[1]))
        return len(ended[0]) * self.facts.transitions / terminated if terminated > 0 else math.inf

    def reward_terms(self) -> Dict[str, float]:
        """Mean of each reward term over the last twice ``RECENT`` iterations, of those that were logged so long."""
        means = {key: self.last(key, 2 * RECENT) for key in self._values if key.startswith("reward/")}
        return {key: float(series.mean()) for key, series in means.items() if len(series)}


def reward_is_zero(history: History) -> Optional[str]:
    """No episode earns anything."""
    rewards = history.last("rollout/ep_rew_mean", 2 * RECENT)
    if len(rewards) and not rewards.any():
        return (f"every episode's reward has been 0 for {2 * RECENT} iterations: add a term that grows on the way to "
                "the goal, or weigh penalties less where the sum is cut off at 0.")
    return None


def collapse(history: History) -> Optional[str]:
    """The reward has lost half of what was learnt, for some time."""
    rewards = history.all("rollout/ep_rew_mean")
    if len(rewards) < 4 * RECENT:
        return None
    smooth = np.convolve(rewards, np.full(RECENT, 1 / RECENT), mode="valid")
    best = int(np.argmax(smooth))
    gain, noise = smooth[best] - smooth[0], float(np.median(np.abs(np.diff(rewards))))
    if best + 2 * RECENT < len(smooth) and gain > 5 * noise and (smooth[-RECENT:] < smooth[0] + gain / 2).all():
        steps = (history.count - len(rewards) + best + RECENT) * history.facts.transitions
        return (f"the reward has fallen from {smooth[best]:.3g} at {steps} steps of this run to {smooth[-1]:.3g}: go "
                "on from a checkpoint of that time, with a smaller learning_rate or desired_kl.")
    return None


def no_exploration(history: History) -> Optional[str]:
    """The actions have hardly any spread left."""
    spread = history.last("train/std")
    if history.facts.half_range and len(spread) and spread.mean() < 0.01 * history.facts.half_range:
        return (f"the actions' standard deviation has shrunk to {spread[-1]:.2g}, and nothing new is tried any more: "
                "raise ent_coef, or begin with a larger log_std_init.")
    entropy = history.last("train/entropy_loss")
    if not history.facts.half_range and len(entropy) and (entropy > -0.01).all():
        return "the policy always takes the same action in the same state, and tries nothing new: raise ent_coef."
    return None


def steps_too_long(history: History) -> Optional[str]:
    """Updates move the policy so far that the rollout says nothing about it any more."""
    kl, clipped = history.last("train/approx_kl"), history.last("train/clip_fraction")
    if len(kl) and np.median(kl) > max(0.2, history.facts.target_kl):
        return (f"updates move the policy by a KL divergence of {np.median(kl):.2g}, where 0.01 to 0.05 is usual: "
                "lower learning_rate or n_epochs, or give desired_kl: 0.03.")
    if len(clipped) and np.median(clipped) > 0.7:
        return (f"{np.median(clipped):.0%} of the samples are beyond clip_range, so most of an update is thrown away: "
                "lower learning_rate or n_epochs, or give desired_kl: 0.03.")
    return None


def no_steps(history: History) -> Optional[str]:
    """Updates do not move the policy."""
    kl, clipped = (history.last(f"train/{key}", 2 * RECENT) for key in ("approx_kl", "clip_fraction"))
    if len(kl) and len(clipped) and (np.abs(kl) < 1e-6).all() and not clipped.any():
        return ("updates do not move the policy (KL divergence below 1e-6): raise learning_rate, or look whether the "
                "reward depends on the actions at all.")
    return None


def critic_is_lost(history: History) -> Optional[str]:
    """The value loss has grown by orders of magnitude, and the critic predicts worse than a mean would."""
    loss, explained = history.all("train/value_loss"), history.last("train/explained_variance")
    if len(loss) < 2 * RECENT or not len(explained):
        return None
    smooth = np.convolve(loss, np.full(RECENT, 1 / RECENT), mode="valid")
    if smooth[-1] > 30 * smooth.min() and smooth[-1] > 1.0 and explained.mean() < 0.0:
        return (f"the value loss has grown from {smooth.min():.2g} to {smooth[-1]:.2g}: normalise rewards "
                "(normalize: true), lower learning_rate or vf_coef, and look for rewards that are rare and very large.")
    return None


def ends_at_once(history: History) -> Optional[str]:
    """Episodes are terminated soon after their start, and that does not get better."""
    facts, now = history.facts, history.life(slice(-RECENT, None))
    if (history.count < 3 * RECENT or history.count * facts.n_steps < facts.max_steps
            or now > 0.03 * facts.max_steps or now > 1.5 * history.life(slice(0, RECENT))):
        return None
    return (f"most episodes are terminated after about {now:.0f} of {facts.max_steps:.0f} steps, as at the start of "
            "training: look with 'sb3-isaac play', and begin in a state that can be held, with smaller actions or a "
            "milder termination.")


def lunges(history: History) -> Optional[str]:
    """A step earns more and more, while episodes stay short: speed without survival."""
    facts, two = history.facts, 2 * RECENT
    length, reward = history.last("rollout/ep_len_mean", two), history.last("rollout/ep_rew_mean", two)
    if history.count * facts.n_steps < 2 * facts.max_steps or history.count < 3 * two or not len(length) * len(reward):
        return None
    start = slice(0, RECENT)
    first = float(history.all("rollout/ep_rew_mean")[start].mean() / history.all("rollout/ep_len_mean")[start].mean())
    now, before = history.life(slice(-two, None)), history.life(slice(-2 * two, -two))
    earned = float((reward / length).mean())
    if now > 0.15 * facts.max_steps or now > 1.2 * before or earned < first + 0.3 * abs(first):
        return None
    return (f"a step earns {earned:.2g}, up from {first:.2g}, but episodes are still terminated after about {now:.0f} "
            f"of {facts.max_steps:.0f} steps: the policy gains by a lunge with a fall after it, so reward no more "
            "speed than is commanded, and every step survived, or take something off for a termination.")


def one_term_dominates(history: History) -> Optional[str]:
    """One of at least three reward terms is nearly all of the reward."""
    terms = {key: value for key, value in history.reward_terms().items() if value != 0.0}
    whole = sum(abs(value) for value in terms.values())
    if len(terms) < 3:
        return None
    key, value = max(terms.items(), key=lambda item: abs(item[1]))
    share = abs(value) / whole
    if share > 0.98 or (value < 0 and share > 0.8):
        return (f"{key} is {share:.0%} of all reward terms, so the others teach nothing: lower its weight, or raise "
                "theirs.")
    return None


def worlds_diverge(history: History) -> Optional[str]:
    """The simulation breaks down again and again."""
    bad = history.last("rollout/bad_worlds")
    if len(bad) and bad.mean() > 1e-3 * history.facts.transitions:
        return (f"{bad.mean():.0f} simulated worlds diverge in an iteration: try a smaller physics_dt with more "
                "substeps, a smaller action scale or softer gains.")
    return None


def observations_are_clipped(history: History) -> Optional[str]:
    """The normaliser cuts off a good part of an observation."""
    most = max(history.clipped.items(), key=lambda item: item[1], default=("", 0.0))
    if most[1] > 0.05:
        return (f"the normaliser clips {most[1]:.0%} of the values of {most[0]}: bring that observation to a range of "
                "about -1 to 1 yourself, or raise clip_obs.")
    return None


FINDINGS: Dict[str, Callable[[History], Optional[str]]] = {
    function.__name__: function for function in (
        reward_is_zero, collapse, no_exploration, steps_too_long, no_steps, critic_is_lost, ends_at_once, lunges,
        one_term_dominates, worlds_diverge, observations_are_clipped)}
"""By name; docs/troubleshooting.md has the same list."""
