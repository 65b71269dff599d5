"""The part of ``isaacgym.gymutil`` that randomises properties, by the tables of a task's configuration.

A table of one attribute says ``distribution`` (``gaussian``: mean and standard deviation; ``uniform``, ``loguniform``:
bounds) with its two numbers ``range``, ``operation`` (``additive``, ``scaling``), and may say ``schedule`` (``linear``,
``constant``) with ``schedule_steps``, and ``num_buckets``.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

import numpy as np

from sb3_isaac.contract.errors import unknown
from sb3_isaac.gymcompat.types.structs import SimParams

_ACTORS = ("dof_properties", "tendon_properties", "rigid_body_properties", "rigid_shape_properties")


def get_property_setter_map(gym: Any) -> Dict[str, Callable[..., Any]]:
    """What sets each kind of property."""
    return {**{kind: getattr(gym, f"set_actor_{kind}") for kind in _ACTORS}, "sim_params": gym.set_sim_params}


def get_property_getter_map(gym: Any) -> Dict[str, Callable[..., Any]]:
    """What gets each kind of property."""
    return {**{kind: getattr(gym, f"get_actor_{kind}") for kind in _ACTORS}, "sim_params": gym.get_sim_params}


def get_default_setter_args(gym: Any) -> Dict[str, List[Any]]:
    """Further arguments of the setters: a changed mass changes the inertia."""
    return {**{kind: [True] if kind == "rigid_body_properties" else [] for kind in _ACTORS}, "sim_params": []}


def generate_random_samples(attr_randomization_params: Mapping[str, Any], shape: Any, curr_gym_step_count: int,
                            extern_sample: Any = None) -> Any:
    """Draws of this shape, for the operation of the table: at the start of a schedule they change nothing.

    :param extern_sample: draws that a program made itself; the schedule alone is applied to them.
    """
    table, share = attr_randomization_params, _share(attr_randomization_params, curr_gym_step_count)
    nothing = 1.0 if table["operation"] == "scaling" else 0.0
    if extern_sample is not None:
        return extern_sample * share + nothing * (1.0 - share)
    first, second = table["range"]
    first = first * share + nothing * (1.0 - share)
    if table["distribution"] == "gaussian":
        return np.random.normal(first, second * share, shape)
    second = second * share + nothing * (1.0 - share)
    if table["distribution"] == "loguniform":
        return np.exp(np.random.uniform(np.log(first), np.log(second), shape))
    if table["distribution"] == "uniform":
        return np.random.uniform(first, second, shape)
    raise unknown("distribution", table["distribution"], ("gaussian", "loguniform", "uniform"))


def _share(table: Mapping[str, Any], step: int) -> float:
    """How much of the randomisation is in force at this step."""
    kind = table.get("schedule")
    if kind == "linear":
        return min(step, table["schedule_steps"]) / table["schedule_steps"]
    return float(step >= table["schedule_steps"]) if kind == "constant" else 1.0


def get_bucketed_val(new_prop_val: Any, attr_randomization_params: Mapping[str, Any]) -> Any:
    """The values rounded down to the table's buckets: PhysX has a limited number of materials."""
    table, count = attr_randomization_params, int(attr_randomization_params["num_buckets"])
    low, high = table["range"]
    if table["distribution"] != "uniform":  # two standard deviations, for the table is read as one of variance here
        middle, reach = low, 2.0 * np.sqrt(high)
        low, high = middle - reach, middle + reach
    buckets = low + (high - low) * np.arange(count) / count
    return buckets[np.clip(np.searchsorted(buckets, new_prop_val, side="right") - 1, 0, count - 1)]


def apply_random_samples(prop: Any, og_prop: Any, attr: str, attr_randomization_params: Mapping[str, Any],
                         curr_gym_step_count: int, extern_sample: Any = None,
                         bucketing_randomization_params: Optional[Mapping[str, Any]] = None) -> None:
    """Write a draw about the original value into one attribute of `prop`.

    :param prop: ``SimParams``, a structured array of joints, or properties of a body, shape or tendon.
    :param og_prop: the originals, by the name of the attribute.
    """
    table = attr_randomization_params
    combine = np.multiply if table["operation"] == "scaling" else np.add
    if isinstance(prop, SimParams):
        if attr == "gravity":
            sample = generate_random_samples(table, 3, curr_gym_step_count)
            for i, axis in enumerate("xyz"):
                setattr(prop.gravity, axis, combine(getattr(og_prop["gravity"], axis), sample[i]))
        elif attr == "rest_offset":
            prop.physx.rest_offset = generate_random_samples(table, 1, curr_gym_step_count)
        return
    shape = prop[attr].shape if isinstance(prop, np.ndarray) else 1
    value = combine(og_prop[attr], generate_random_samples(table, shape, curr_gym_step_count, extern_sample))
    if table.get("num_buckets", 0) > 0:
        value = get_bucketed_val(value, bucketing_randomization_params or table)
    if isinstance(prop, np.ndarray):
        prop[attr] = value
    else:
        setattr(prop, attr, value)


def check_buckets(gym: Any, envs: Sequence[Any], dr_params: Mapping[str, Any]) -> None:
    """PhysX allows 64,000 materials; here there is no such limit."""
