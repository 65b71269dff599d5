"""What a program that runs a policy on a robot has to know of it: ``deploy.yml``, and the metadata of an ONNX file."""

from __future__ import annotations

import math
from typing import Any, Dict, Mapping

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.wording import unit_of
from sb3_isaac.policy.module import PolicyModule

FORMAT = 1
_HANDED_ON = ("joint_names", "default_joint_pos", "joint_range", "action_scale", "kp", "kd", "torque_limit_nm",
              "command", "latency_s")
_UNITS = {"steps": "transitions", "control_hz": "Hz", "observations": "beside each part",
          "actions": "1; a target is default_joint_pos + action_scale * action", "default_joint_pos": "rad",
          "joint_range": "rad", "action_scale": "rad for an action of 1", "kp": "N·m/rad", "kd": "N·m·s/rad",
          "torque_limit_nm": "N·m", "latency_s": "s"}
"""Of what is handed on, by key; those of a command's axes are what their names end in."""


def deploy_facts(policy: PolicyModule, metadata: Mapping[str, Any]) -> Dict[str, Any]:
    """Plain data: what the policy's file and its task's ``metadata()`` tell.

    ================== ====== ====================================================================
    key                shape  what
    ================== ====== ====================================================================
    format                    1
    env, steps                what it was trained on, for so many transitions
    control_hz                observations and actions a second
    observations              {name, width, unit} of each part of ``obs``, in order
    actions            (J, 2) bounds of ``action``
    joint_names        (J,)   in the order of ``action`` and ``joint_target``
    default_joint_pos  (J,)   rad, the target for an action of 0
    joint_range        (J, 2) rad, least and largest target; null where there is none
    action_scale              rad for an action of 1, where there is a default_joint_pos
    kp, kd             (J,)   N·m/rad, N·m·s/rad of the drives: τ = kp (target − q) − kd q̇
    torque_limit_nm    (J,)   N·m, largest torque either way
    command                   {axis: [least, largest]} that it was trained for
    latency_s          (2,)   s that targets came late by in training, from least to largest
    units                     of the numbers of the other keys, {key: unit}, and {axis: unit} of ``command``
    ================== ====== ====================================================================

    What a task does not tell is left out.

    :raises UserError: where the observation's parts or its rate are not known.
    """
    told = {**policy.info, **metadata}
    table = told.get("obs_table")
    if not table or not told.get("control_dt"):
        raise UserError("this policy's task tells neither obs_table nor control_dt, which a program on a robot has to "
                        "know: give them in the task's metadata().")
    units: Mapping[str, str] = told.get("units") or {}
    units_of: Dict[str, Any] = dict(_UNITS)
    facts = {
        "format": FORMAT, "env": told.get("env"), "steps": told.get("steps"),
        "control_hz": round(1.0 / float(told["control_dt"]), 6),
        "observations": [{"name": name, "width": int(width), "unit": units.get(name, "as the task has it")}
                         for name, width in table.items()],
        "actions": [list(pair) for pair in zip(policy.low.tolist(), policy.high.tolist())],
        **{key: told[key] for key in _HANDED_ON if told.get(key) is not None},
    }
    if "default_joint_pos" not in facts:  # actions are no joint targets, but torques, say
        facts.pop("action_scale", None)
        units_of["actions"] = "1"
    if "joint_range" in facts:  # JSON has no infinity
        facts["joint_range"] = [[round(end, 6) if math.isfinite(end) else None for end in ends]
                                for ends in facts["joint_range"]]
    if "command" in facts:
        units_of["command"] = {axis: unit_of(axis) for axis in facts["command"]}
    return {**facts, "units": {key: unit for key, unit in units_of.items() if key in facts}}
