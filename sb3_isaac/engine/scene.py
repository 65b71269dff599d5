"""What every scene here is made of: solver options, drives on joints, sensors of contact forces and of positions."""

from __future__ import annotations

from typing import Optional

import mujoco

_ALONE = int(mujoco.mjtDisableBit.mjDSBL_ISLAND | mujoco.mjtDisableBit.mjDSBL_WARMSTART)


def plain() -> mujoco.MjsDefault:
    """MuJoCo's own defaults, for what is added to a robot's file: else it would take those of the file's root class."""
    return mujoco.MjSpec().default


def set_options(spec: mujoco.MjSpec, timestep_s: float, iterations: int, noslip_iterations: Optional[int] = None,
                alone: bool = False) -> None:
    """Solver options that hold up at steps of 5 to 10 ms and that every engine has.

    :param iterations: of the Newton solver, at most.
    :param noslip_iterations: passes after the solver that keep contacts from creeping under load; None: what the
        model's file says.
    :param alone: for one robot in a world a tenth of the physics is left out: there are no islands of bodies that could
        be solved one by one, and the last acceleration, which is of other targets and contacts, is no better start for
        the solver than the unconstrained one. It ends at the same acceleration.
    """
    option = spec.option
    option.timestep = timestep_s
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone, option.impratio = mujoco.mjtCone.mjCONE_PYRAMIDAL, 1.0  # a large ratio is for elliptic cones
    # Sparse Jacobians have a wrong Newton Hessian in MuJoCo 4.0.0; for one robot dense ones are faster anyway.
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    option.iterations, option.ls_iterations = iterations, 20
    if alone:
        option.disableflags |= _ALONE
    if noslip_iterations is not None:
        option.noslip_iterations = noslip_iterations


def add_drive(spec: mujoco.MjSpec, joint: str, gain: float = 1.0, kp: float = 0.0, kd: float = 0.0,
              limit: float = 1.0) -> None:
    """An actuator of the joint's name with the force gain · ctrl − kp q − kd q̇, within ±limit (N·m or N).

    With gain = kp it is a position drive, kp (ctrl − q) − kd q̇.
    """
    drive = spec.add_actuator(plain(), name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT,
                              gaintype=mujoco.mjtGain.mjGAIN_FIXED, biastype=mujoco.mjtBias.mjBIAS_AFFINE,
                              forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE, forcerange=[-limit, limit])
    drive.gainprm[0], drive.biasprm[1], drive.biasprm[2] = gain, -kp, -kd


def add_contact_sensor(spec: mujoco.MjSpec, body: str) -> None:
    """Net world force (3) N of all contacts on the body, in the last physics step."""
    spec.add_sensor(
        name=_contact(body), type=mujoco.mjtSensor.mjSENS_CONTACT,
        # What the XML's data="force" reduce="netforce" num="1" compiles to.
        intprm=[1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE), 3, 1],
        # As the second object, so that the force is the one on this body.
        reftype=mujoco.mjtObj.mjOBJ_BODY, refname=body)


def add_position_sensor(spec: mujoco.MjSpec, body: str) -> None:
    """Position (3) m of the body's frame in the world, at the start of the last physics step."""
    spec.add_sensor(name=_position(body), type=mujoco.mjtSensor.mjSENS_FRAMEPOS,
                    objtype=mujoco.mjtObj.mjOBJ_XBODY, objname=body)


def contact_address(model: mujoco.MjModel, body: str) -> int:
    """Where the body's contact force begins in ``sensordata``."""
    return int(model.sensor(_contact(body)).adr[0])


def position_address(model: mujoco.MjModel, body: str) -> int:
    """Where the body's position begins in ``sensordata``."""
    return int(model.sensor(_position(body)).adr[0])


def limit_targets(model: mujoco.MjModel) -> None:
    """Clip the drives' targets to their joints' ranges.

    Done on the compiled model, for only its joints are in radians whatever the file's unit."""
    joints = model.actuator_trnid[:, 0]
    model.actuator_ctrllimited[:], model.actuator_ctrlrange[:] = model.jnt_limited[joints], model.jnt_range[joints]


def _contact(body: str) -> str:
    return f"contact {body}"


def _position(body: str) -> str:
    return f"position {body}"
