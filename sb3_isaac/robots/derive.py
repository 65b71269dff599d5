"""What a robot's file tells of it: every field of a Robot, with its origin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError, is_number
from sb3_isaac.robots.drives import Drives, read_drives
from sb3_isaac.robots.geometry import height_range
from sb3_isaac.robots.model import find_trunk, parse, read_model, unreadable
from sb3_isaac.robots.stance import BENT, find_legs, leg_height, standing_pose
from sb3_isaac.robots.values import per_joint

HOME_KEYS = ("home", "stand", "standing", "default", "init")
NEAR_GROUND = 0.15
"""A link reaches the ground when its lowest point is within this share of the trunk's height above the lowest one."""
ANKLE = 0.3
"""Feet are not higher than this share of the trunk's height."""
LYING = 0.4
"""A keyframe lies or sits where a leg reaches down by less than this share of its links' length."""
BESIDE_FOOT = 0.05
"""A shin that reaches the ground to this share of the trunk's height touches whenever its foot does."""
SAG_RAD = 0.1
"""kp where a file says no gain: the standing robot's most loaded joint gives way by this angle under the weight, 59
N·m/rad for a Go2 in its keyframe's crouch. An angle is the same for small and large robots; at 0.15 they sit down on
their hind legs."""
GRAVITY_M_S2 = 9.81
DAMPING_S = 0.025
"""kd = DAMPING_S · kp, less the joint's own damping: as many seconds as a Go2 and an ANYmal are run with."""
ACTION_SCALE_RAD = (0.5, 1.0)
"""An action of 1 asks for a joint's whole torque, within what a stride takes: ±0.45 rad at 1 m/s on legs of 0.3 m."""
FASTEST_RAD_S = 70.0
"""A drive of kp swings a joint of inertia I at √(kp / I). Steps of 10 ms with contacts are stable to about this, and
files are written for steps of 2 ms: joints get the armature that brings them down to it."""


@dataclass(frozen=True)
class Derivation:
    """The fields of a Robot, and where each of them comes from."""

    fields: Mapping[str, Any]
    origin: Mapping[str, str]


def derive(path: str, overrides: Mapping[str, Any]) -> Derivation:
    """The robot of the file, with the fields of a Robot in `overrides` as given.

    :raises UserError: see :meth:`Robot.from_file`.
    """
    return _Derivation(str(path), dict(overrides)).result()


class _Derivation:
    """One pass over the file: pose, then what reaches the ground in it, then gains."""

    def __init__(self, path: str, given: Dict[str, Any]) -> None:
        self.path, self.given = path, given
        self.origin: Dict[str, str] = {}
        self.values: Dict[str, Any] = {"mjcf": path}
        original = parse(path)
        self.trunk = find_trunk(original, path).name
        self.keys = [(key.name or str(i), len(key.qpos)) for i, key in enumerate(original.keys)]
        self.file_model = _compiled(path, original)
        self.model = _compiled(path, read_model(path))
        self.data = mujoco.MjData(self.model)
        hinges = [self.model.joint(j).name for j in range(1, self.model.njnt)]
        self._check_joints()
        self.take("name", Path(path).stem, "the file's name")
        self.take("trunk", self.trunk, "the body of the world that the joints hang on")
        self.take("joints", tuple(hinges), "the file's order")
        if not isinstance(self.values["joints"], (list, tuple)) or {*self.values["joints"]} != {*hinges}:
            raise UserError(f"robot file {path!r} has the joints {', '.join(hinges)}: give joints with each of them "
                            "once, in the order of actions, or remove the others from the file.")
        self.weight_n = GRAVITY_M_S2 * float(self.model.body_subtreemass[1])
        self.joints = [int(self.model.joint(name).id) for name in self.values["joints"]]

    def result(self) -> Derivation:
        """All fields."""
        self._pose()
        self._feet()
        self._gains()
        return Derivation(self.values, self.origin)

    def take(self, field: str, value: Any, origin: str) -> None:
        """Set a field to what was found, or to what was given."""
        given = field in self.given
        self.values[field] = self.given[field] if given else value
        self.origin[field] = "given" if given else origin

    def take_per_joint(self, field: str, values: Sequence[float], origin: str) -> Tuple[float, ...]:
        """The same for a field with a value for each joint, which are returned."""
        self.take(field, tuple(values), origin)
        taken = per_joint(self.values[field], len(self.joints))
        if taken is None or (field != "default_joint_pos" and min(taken) < 0):
            raise UserError(f"robot {self.values['name']!r} has {field}={self.values[field]!r}: give "
                            f"{len(self.joints)} finite numbers, for {', '.join(self.values['joints'])}.")
        return taken

    def _check_joints(self) -> None:
        kinds = self.model.jnt_type[1:]
        others = [self.model.joint(j + 1).name for j in np.flatnonzero(kinds != mujoco.mjtJoint.mjJNT_HINGE)]
        if others:
            raise UserError(f"robot file {self.path!r} has joints that are no hinges ({', '.join(others)}): legs are "
                            "driven at hinges; replace the others by hinges or remove them.")

    # ---- pose

    def _pose(self) -> None:
        pose, origin = ((), "") if "default_joint_pos" in self.given else self._found_pose()
        self._place(self.take_per_joint("default_joint_pos", pose, origin))

    def _place(self, pose: Sequence[float]) -> None:
        self.data.qpos[:7] = (0, 0, 0, 1, 0, 0, 0)
        self.data.qpos[self.model.jnt_qposadr[self.joints]] = pose
        mujoco.mj_forward(self.model, self.data)

    def _found_pose(self) -> Tuple[Tuple[float, ...], str]:
        """The keyframe's, if it is not lying; else one made for four or more legs; else as the file draws it."""
        legs, key = find_legs(self.model), self._key_pose()
        if key is not None:
            self._place(key[0])
            if not legs or leg_height(self.model, self.data, legs) >= LYING:
                return key
        if len(legs) < 4:
            return self._zero_pose() if key is None else key
        angles, reach = standing_pose(self.model, legs)
        why = "for it has no keyframe" if key is None else f"for in {key[1]} it does not stand on its legs"
        return tuple(float(angles[j]) for j in self.joints), \
            f"feet below the hips and legs at {BENT:.0%} of their reach of {reach:.3f} m, {why}"

    def _key_pose(self) -> Optional[Tuple[Tuple[float, ...], str]]:
        """The keyframe called home or the like, else the one with the highest trunk."""
        model = self.file_model
        for name, count in self.keys:
            if count not in (0, model.nq):  # MuJoCo fills up what is too short, at the end
                raise UserError(f"robot file {self.path!r} has keyframe {name!r} with {count} numbers in qpos: its "
                                f"joints need {model.nq}.")
        keys = {name: model.key_qpos[i] for i, (name, count) in enumerate(self.keys) if count}
        if not keys:
            return None
        named = [name for home in HOME_KEYS for name in keys if name.lower() == home]
        free = int(model.body(self.trunk).jntadr[0])
        height = int(model.jnt_qposadr[free]) + 2 if free >= 0 else 0
        name = named[0] if named else max(keys, key=lambda key: keys[key][height])
        return self._in_order(keys[name]), f"keyframe {name!r}"

    def _zero_pose(self) -> Tuple[Tuple[float, ...], str]:
        """All joints where the file draws them, if their ranges allow that."""
        pose = self._in_order(self.file_model.qpos0)
        for joint, angle in zip(self.joints, pose):
            low, high = self.model.jnt_range[joint]
            if self.model.jnt_limited[joint] and not low <= angle <= high:
                raise UserError(f"robot file {self.path!r} has no keyframe, and joint {self.model.joint(joint).name!r} "
                                f"cannot be at {angle:g} rad as drawn: add a <key name=\"home\" qpos=...> or give "
                                "default_joint_pos.")
        return pose, "as the file draws it, without a keyframe"

    def _in_order(self, qpos: np.ndarray) -> Tuple[float, ...]:
        """The joints' angles in a state of the file's model."""
        places = [int(self.file_model.joint(name).qposadr[0]) for name in self.values["joints"]]
        return tuple(round(float(qpos[place]), 6) for place in places)

    # ---- what reaches the ground

    def _feet(self) -> None:
        model = self.model
        geoms = [g for g in range(model.ngeom) if model.geom_conaffinity[g]]
        heights = {g: height_range(model, self.data, g) for g in geoms}
        if not heights:
            raise UserError(f"robot file {self.path!r} has no geom that can touch the ground: give its feet collision "
                            "geoms.")
        ground = min(low for low, _ in heights.values())
        height = self.data.xpos[1, 2] - ground
        near, ankle = ground + NEAR_GROUND * height, ground + ANKLE * height
        feet = []
        for link in self._last_links():
            below = [g for g in geoms if link in self._ancestors(int(model.geom_bodyid[g]))]
            lowest = min(below, key=lambda g: heights[g][0], default=-1)
            if lowest >= 0 and heights[lowest][0] <= near:
                feet.append(self._foot(lowest, heights, ankle))
        if len(feet) < 2 and "feet" not in self.given:
            raise UserError(f"robot file {self.path!r} has {len(feet)} links that reach the ground in the default "
                            "pose: give default_joint_pos for a pose on its feet, or name the feet.")
        self.take("feet", tuple(name for name, _ in _front_left_first(feet)),
                  "the lowest geom of each last link that reaches the ground in the default pose")
        self.sole_of = self._lowest_geoms(geoms, heights)
        missing = [str(name) for name in self.values["feet"] if name not in self.sole_of]
        if missing:
            raise UserError(f"robot file {self.path!r} has no geom that can touch the ground at the feet "
                            f"{_some(missing)}: name bodies or geoms that have one.")
        ground = min(heights[geom][0] for geom in self.sole_of.values())
        self.take("base_height_m", round(-ground, 6), "the trunk above the lowest point of the feet, default pose")
        if not is_number(self.values["base_height_m"]) or self.values["base_height_m"] <= 0:
            raise UserError(f"robot {self.values['name']!r} has base_height_m={self.values['base_height_m']!r}: give a "
                            "finite number above 0, or a default_joint_pos with the feet below the trunk.")
        self._roles({g: low - ground for g, (low, _) in heights.items()})

    def _last_links(self) -> List[int]:
        """Bodies with a joint and none below."""
        jointed = {int(self.model.jnt_bodyid[j]) for j in range(1, self.model.njnt)}
        inner = {above for body in jointed for above in self._ancestors(body)[1:]}
        return sorted(jointed - inner)

    def _ancestors(self, body: int) -> List[int]:
        """A body and those above it, without the world."""
        chain = []
        while body > 0:
            chain.append(body)
            body = int(self.model.body_parentid[body])
        return chain

    def _foot(self, lowest: int, heights: Mapping[int, Tuple[float, float]], ankle: float) -> Tuple[str, np.ndarray]:
        """A foot's name and place: the body of the lowest geom, if all its geoms are below the ankle, else the geom."""
        model, body = self.model, int(self.model.geom_bodyid[lowest])
        alone = all(heights[g][1] <= ankle for g in heights if model.geom_bodyid[g] == body)
        spans = heights[lowest][1] > ankle  # a shin down to the ground is a foot as a whole
        name = model.body(body).name if alone or spans else model.geom(lowest).name
        return name, self.data.geom_xpos[lowest].copy()

    def _lowest_geoms(self, geoms: Sequence[int], heights: Mapping[int, Tuple[float, float]]) -> Dict[str, int]:
        """The lowest geom of each foot, by the foot's name."""
        names = self.values["feet"] if isinstance(self.values["feet"], (list, tuple)) else [self.values["feet"]]
        model = self.model
        own = {name: [g for g in geoms if name in (model.geom(g).name, model.body(model.geom_bodyid[g]).name)]
               for name in names}
        return {name: min(found, key=lambda g: heights[g][0]) for name, found in own.items() if found}

    def _roles(self, above_ground: Mapping[int, float]) -> None:
        """Legs are penalised when they touch; the trunk, and what hangs on it besides legs, falls."""
        model, feet = self.model, {*self.values["feet"]}
        legs = {body for g in self.sole_of.values() for body in self._ancestors(int(model.geom_bodyid[g]))
                if model.body_weldid[body] != 1}
        lowest: Dict[int, float] = {}
        for geom, low in above_ground.items():
            body = int(model.geom_bodyid[geom])
            if not {model.geom(geom).name, model.body(body).name} & feet:
                lowest[body] = min(low, lowest.get(body, low))
        beside = BESIDE_FOOT * self.values["base_height_m"]
        self.take("penalised_bodies", tuple(model.body(b).name for b in sorted(lowest) if b in legs
                                            and lowest[b] > beside),
                  "bodies between trunk and feet that can touch the ground, and do not beside the foot")
        self.take("terminal_bodies", tuple(model.body(b).name for b in sorted(lowest) if b not in legs),
                  "the other bodies that can touch the ground")

    # ---- gains

    def _gains(self) -> None:
        drives = read_drives(self.file_model, self.values["joints"])
        self._check_limits(drives)
        limits = self.take_per_joint("torque_limit_nm", drives.limit, drives.limit_origin)
        if self.given.get("drive") == "torque":
            for gain in ("kp", "kd"):
                self.take_per_joint(gain, [0.0] * len(self.joints), "torque drives have none")
            self.values["drive"], self.origin["drive"] = "torque", "given"
            return
        if all(gain > 0 for gain in drives.kp):
            kp = self.take_per_joint("kp", drives.kp, "the position actuators")
        else:
            kp = self.take_per_joint("kp", self._kp(), f"standing gives way by {SAG_RAD:g} rad")
        if any(gain > 0 for gain in drives.kd):
            self.take_per_joint("kd", drives.kd, "the actuators")
        else:
            own = self.model.dof_damping[self.model.jnt_dofadr[self.joints]]
            kd = [_rounded(max(DAMPING_S * gain - float(damping), 0.0)) for gain, damping in zip(kp, own)]
            self.take_per_joint("kd", kd, f"{DAMPING_S:g} s · kp, less the joint's own damping")
        scale = min((limit / gain for limit, gain in zip(limits, kp) if gain > 0), default=1.0)
        least, most = ACTION_SCALE_RAD
        self.take("action_scale_rad", _rounded(min(max(scale, least), most)),
                  f"the smallest torque limit / kp, from {least:g} to {most:g}")
        self._armature(kp)

    def _armature(self, kp: Sequence[float]) -> None:
        own = self.model.dof_armature[self.model.jnt_dofadr[self.joints]]
        needed = np.array(kp) / FASTEST_RAD_S**2 - (self._joint_inertia() - own)
        raised = needed > own
        values = [_rounded(float(n)) if more else float(o) for n, o, more in zip(needed, own, raised)]
        self.take_per_joint("armature_kgm2", values, "the joints'" + (
            f", {raised.sum()} of them raised so that their kp swings them at {FASTEST_RAD_S:g} rad/s at most"
            if raised.any() else ""))

    def _check_limits(self, drives: Drives) -> None:
        missing = [name for name, limit in zip(self.values["joints"], drives.limit) if not math.isfinite(limit)]
        if missing and "torque_limit_nm" not in self.given:
            raise UserError(f"robot file {self.path!r} says no torque limit for {_some(missing)}: give torque_limit_nm "
                            "in N·m, one number or one for each joint, such as 'sb3-isaac robot FILE "
                            "torque_limit_nm:20 --yaml robot.yml'.")

    def _kp(self) -> List[float]:
        """The torque of standing by SAG_RAD, at least what keeps the weight over straight legs from tipping."""
        tipping = self.weight_n * self.values["base_height_m"] / len(self.values["feet"])
        gain = max(float(np.abs(self._standing_torque()).max()) / SAG_RAD, tipping)
        return [_rounded(gain)] * len(self.joints)

    def _standing_torque(self) -> np.ndarray:
        """Torque (J,) N·m of each joint in the default pose, the weight in equal parts on the feet."""
        model, data, dofs = self.model, self.data, self.model.jnt_dofadr[self.joints]
        jacobian, torque = np.zeros((3, model.nv)), data.qfrc_bias.copy()
        for name in self.values["feet"]:
            geom = self.sole_of[name]
            mujoco.mj_jac(model, data, jacobian, None, data.geom_xpos[geom], model.geom_bodyid[geom])
            torque -= jacobian[2] * self.weight_n / len(self.values["feet"])
        return torque[dofs]

    def _joint_inertia(self) -> np.ndarray:
        """Inertia (J,) kg·m² that each joint feels in the default pose, all others free: 1 / (M⁻¹)_jj."""
        full = np.zeros((self.model.nv, self.model.nv))
        mujoco.mj_fullM(self.model, self.data, full)
        dofs = self.model.jnt_dofadr[self.joints]
        return 1.0 / np.diag(np.linalg.inv(full))[dofs]


def _compiled(path: str, spec: mujoco.MjSpec) -> mujoco.MjModel:
    spec.compiler.discardvisual = True
    try:
        return spec.compile()
    except ValueError as error:
        raise unreadable(path, error) from error


def _some(names: Sequence[str], most: int = 4) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _rounded(value: float) -> float:
    """Three digits: a derived gain is an estimate."""
    return float(f"{value:.3g}")


def _front_left_first(feet: Sequence[Tuple[str, np.ndarray]]) -> List[Tuple[str, np.ndarray]]:
    """Front left, front right, rear left, rear right: from front to rear in pairs, the left of each first."""
    ordered = sorted(feet, key=lambda foot: -foot[1][0])
    pairs = [ordered[i:i + 2] for i in range(0, len(ordered), 2)]
    return [foot for pair in pairs for foot in sorted(pair, key=lambda foot: -foot[1][1])]
