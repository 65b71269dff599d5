"""Small robot files for tests: a dog of boxes and spheres as MJCF and as URDF."""

from __future__ import annotations

from pathlib import Path

HIP_X, HIP_Y, THIGH_M, CALF_M, FOOT_M = 0.2, 0.1, 0.2, 0.2, 0.02
LEGS = {"FR": (1, -1), "FL": (1, 1), "RR": (-1, -1), "RL": (-1, 1)}  # not in the order that tasks want
POSE = (0.0, 0.9, -1.8)
HEIGHT_M = THIGH_M * 0.6216099682706644 * 2 + FOOT_M  # cos 0.9 = cos(0.9 − 1.8)
TRUNK_KG, THIGH_KG, CALF_KG = 6.0, 0.5, 0.3
MASS_KG = TRUNK_KG + 4 * (THIGH_KG + 2 * CALF_KG)


def leg(name: str, foot: str = "geom") -> str:
    """Hip, thigh and calf; the foot is a sphere of the calf, or of a body of its own."""
    x, y = LEGS[name]
    sphere = f'<geom name="{name}_sole" size="{FOOT_M}"'
    soles = {"geom": f'{sphere} pos="0 0 {-CALF_M}" mass="0"/>', "none": "",
             "body": f'<body name="{name}_foot" pos="0 0 {-CALF_M}">{sphere} mass="0"/></body>'}
    return f"""
    <body name="{name}_hip" pos="{x * HIP_X} {y * HIP_Y} 0">
      <inertial pos="0 0 0" mass="{CALF_KG}" diaginertia="0.0005 0.0005 0.0005"/>
      <joint name="{name}_hip_joint" axis="1 0 0" range="-0.8 0.8"/>
      <body name="{name}_thigh">
        <inertial pos="0 0 -0.1" mass="{THIGH_KG}" diaginertia="0.002 0.002 0.0005"/>
        <joint name="{name}_thigh_joint" axis="0 1 0" range="-1 3"/>
        <geom type="capsule" size="0.02" fromto="0 0 -0.05 0 0 -0.15"/>
        <body name="{name}_calf" pos="0 0 {-THIGH_M}">
          <inertial pos="0 0 -0.1" mass="{CALF_KG}" diaginertia="0.001 0.001 0.0001"/>
          <joint name="{name}_calf_joint" axis="0 1 0" range="-2.7 -0.5"/>
          <geom type="capsule" size="0.01" fromto="0 0 -0.03 0 0 -0.15"/>
          {soles[foot]}
        </body>
      </body>
    </body>"""


def motors(kind: str = 'motor ctrlrange="-20 20"') -> str:
    """Actuators of all joints."""
    joints = [f"{name}_{part}_joint" for name in LEGS for part in ("hip", "thigh", "calf")]
    return f"<actuator>{''.join(f'<{kind} joint={joint!r}/>' for joint in joints)}</actuator>"


def keyframe(name: str = "home", pose: tuple[float, ...] = POSE) -> str:
    """A keyframe in which all legs have the same pose."""
    legs = " ".join(map(str, pose * 4))
    return f'<keyframe><key name="{name}" qpos="0 0 0.3 1 0 0 0 {legs}"/></keyframe>'


def dog(foot: str = "geom", root: str = "<freejoint/>", extra: str = "", world: str = "", before: str = "",
        legs: tuple[str, ...] = tuple(LEGS)) -> str:
    """The MJCF of a dog with `extra` sections at its end."""
    return f"""<mujoco><compiler angle="radian"/><default><joint armature="0.01" damping="0.1"/></default>{before}
      <worldbody>{world}
        <body name="torso" pos="0 0 0.3">{root}
          <inertial pos="0 0 0" mass="{TRUNK_KG}" diaginertia="0.02 0.08 0.09"/>
          <geom type="box" size="0.2 0.08 0.05"/>{''.join(leg(name, foot) for name in legs)}
        </body>
      </worldbody>{extra}</mujoco>"""


def dog_urdf(inertial: str = '<inertial><mass value="{mass}"/><inertia ixx="0.002" iyy="0.002" izz="0.001" ixy="0" '
                             'ixz="0" iyz="0"/></inertial>', visual: str = "") -> str:
    """A dog as URDF: a root link without mass, feet behind fixed joints, limits and efforts, no pose."""
    parts = ['<link name="base"/>', _link("trunk", inertial.format(mass=TRUNK_KG), '<box size="0.4 0.16 0.1"/>',
                                          visual=visual), _joint("base_fixed", "fixed", "base", "trunk")]
    for name, (x, y) in LEGS.items():
        parts += [_link(f"{name}_hip", inertial.format(mass=CALF_KG)),
                  _joint(f"{name}_hip_joint", "revolute", "trunk", f"{name}_hip", f"{x * HIP_X} {y * HIP_Y} 0",
                         "1 0 0"),
                  _link(f"{name}_thigh", inertial.format(mass=THIGH_KG)),
                  _joint(f"{name}_thigh_joint", "revolute", f"{name}_hip", f"{name}_thigh"),
                  _link(f"{name}_calf", inertial.format(mass=CALF_KG), '<cylinder radius="0.01" length="0.1"/>',
                        "0 0 -0.08"),
                  _joint(f"{name}_calf_joint", "revolute", f"{name}_thigh", f"{name}_calf", f"0 0 {-THIGH_M}",
                         limits=(-2.7, -0.5)),
                  _link(f"{name}_foot", inertial.format(mass=0.05), f'<sphere radius="{FOOT_M}"/>'),
                  _joint(f"{name}_foot_fixed", "fixed", f"{name}_calf", f"{name}_foot", f"0 0 {-CALF_M}")]
    return f'<robot name="dog">{"".join(parts)}</robot>'


def _link(name: str, inertial: str, shape: str = "", xyz: str = "0 0 0", visual: str = "") -> str:
    collision = f'<collision><origin xyz="{xyz}"/><geometry>{shape}</geometry></collision>' if shape else ""
    return f'<link name="{name}">{visual}{collision}{inertial}</link>'


def _joint(name: str, kind: str, parent: str, child: str, xyz: str = "0 0 0", axis: str = "0 1 0",
           limits: tuple[float, float] = (-0.8, 3.0)) -> str:
    return (f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/><origin xyz="{xyz}"/>'
            f'<axis xyz="{axis}"/><limit lower="{limits[0]}" upper="{limits[1]}" effort="25" velocity="20"/>'
            '<dynamics damping="0.05" friction="0.1"/></joint>')


def write(folder: Path, text: str, name: str = "dog.xml") -> str:
    """The path of a file with this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)
