"""Isaac Gym's vectors, poses, enumerations and structures."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.api import gymapi

Vec3, Quat, Transform = gymapi.Vec3, gymapi.Quat, gymapi.Transform


def close(a: object, b: object) -> bool:
    return list(a) == pytest.approx(list(b), abs=1e-6)  # type: ignore[call-overload]


def test_vectors() -> None:
    a, b = Vec3(1, 2, 3), Vec3(z=1.0)
    assert close(a + b, (1, 2, 4)) and close(a - b, (1, 2, 2)) and close(-a, (-1, -2, -3))
    assert close(a * 2, (2, 4, 6)) and close(a / 2, (0.5, 1, 1.5))
    assert a.dot(b) == 3 and close(a.cross(b), (2, -1, 0))
    assert a.length_sq() == 14 and a.normalize().length() == pytest.approx(1) and Vec3().normalize().length() == 0
    assert close(Vec3(*torch.tensor([1.0, 2.0, 3.0])), a), "as legged_gym makes them"
    assert close(Vec3.from_buffer(np.array([1, 2, 3], np.float32)), a)
    assert np.array(a).dtype == Vec3.dtype and np.array(a)["y"] == 2


def test_quaternions() -> None:
    """A quarter turn about z takes x to y; products apply the right factor first."""
    z = Quat.from_axis_angle(Vec3(0, 0, 2), math.pi / 2)
    x = Quat.from_axis_angle(Vec3(1, 0, 0), math.pi / 2)
    assert close(z.rotate(Vec3(1, 0, 0)), (0, 1, 0)) and close(z, (0, 0, 0.5**0.5, 0.5**0.5))
    assert close((x * z).rotate(Vec3(1, 0, 0)), x.rotate(z.rotate(Vec3(1, 0, 0)))) and close(
        (x * z).rotate(Vec3(1, 0, 0)), (0, 0, 1))
    assert close((z * z.inverse()), Quat()) and close(Quat(0, 0, 0, 2).normalize(), Quat())
    assert Quat.from_euler_zyx(0.1, -0.2, 0.3).to_euler_zyx() == pytest.approx((0.1, -0.2, 0.3))
    assert close(Quat.from_euler_zyx(0, 0, math.pi / 2), z)


def test_poses() -> None:
    pose = Transform(Vec3(1, 0, 0), Quat.from_axis_angle(Vec3(0, 0, 1), math.pi / 2))
    assert close(pose.transform_point(Vec3(1, 0, 0)), (1, 1, 0))
    assert close(pose.transform_vector(Vec3(1, 0, 0)), (0, 1, 0))
    both = pose * pose
    assert close(both.transform_point(Vec3()), pose.transform_point(pose.transform_point(Vec3())))
    assert close((pose * pose.inverse()).p, (0, 0, 0))
    assert pose.transform_points([Vec3(1, 0, 0)])["y"].tolist() == pytest.approx([1])
    assert close(Transform(Vec3(1, 2, 3), r=None).r, Quat()), "legged_gym passes r=None"


def test_nested_values_are_edited_in_place_and_assigned_by_copy() -> None:
    params = gymapi.HeightFieldParams()
    params.transform.p.x = -25
    assert params.transform.p.x == -25 and gymapi.HeightFieldParams().transform.p.x == 0
    start, pose = Vec3(1, 2, 3), Transform()
    pose.p = start
    start.x = 9.0
    assert pose.p.x == 1
    twin = copy.deepcopy(pose)
    twin.p.x = 5.0
    assert pose.p.x == 1 and pose != twin and pose == pose.copy()


def test_numbers_are_converted_to_the_kind_of_their_field() -> None:
    shape = gymapi.RigidShapeProperties()
    shape.friction = torch.tensor([[0.5]])
    shape.filter = np.int64(3)
    assert shape.friction == 0.5 and type(shape.friction) is float and type(shape.filter) is int
    params = gymapi.SimParams()
    params.up_axis = 1
    assert params.up_axis is gymapi.UP_AXIS_Z and params.physx.solver_type == 1


def test_an_array_of_one_element_serves_as_a_number() -> None:
    """Programs add ``np.random.uniform(size=(1,))`` to a mass."""
    body = gymapi.RigidBodyProperties()
    body.mass = np.full(1, 2.5)
    body.flags = np.ones((1, 1), dtype=np.int64)
    assert body.mass == 2.5 and body.flags == 1 and type(body.flags) is int
    assert close(Vec3(np.ones(1), torch.ones(1, 1)) * np.full(1, 2.0), (2, 2, 0))
    assert close(Quat.from_axis_angle(Vec3(0, 0, 1), np.zeros(1)), Quat())
    with pytest.raises((TypeError, ValueError)):
        body.mass = np.ones(2)


def test_numbers_with_a_fraction_are_c_floats() -> None:
    """A legged_gym fork prints a dt of 0.005 as 0.004999999888241291, and rounds up quotients of it."""
    params = gymapi.SimParams()
    assert params.dt == float(np.float32(1 / 60))
    params.dt = 0.005
    assert params.dt == 0.004999999888241291 and params.copy().dt == params.dt
    assert math.ceil(0.020 / params.dt) == 5 and math.ceil(20 / (4 * params.dt)) == 1001
    assert Vec3(0.1).x == 0.10000000149011612 and (Vec3(0.1) * 3).x == float(np.float32(np.float32(0.1) * 3.0))


def test_enumerations_are_numbers_with_names_and_stand_at_the_top_level() -> None:
    modes = (gymapi.DOF_MODE_NONE, gymapi.DOF_MODE_POS, gymapi.DOF_MODE_VEL, gymapi.DOF_MODE_EFFORT)
    assert [int(mode) for mode in modes] == [0, 1, 2, 3]
    assert gymapi.DofDriveMode.DOF_MODE_POS is gymapi.DOF_MODE_POS and gymapi.UP_AXIS_Z == 1
    assert gymapi.KEY_ESCAPE.name == "KEY_ESCAPE" and gymapi.ContactCollection(2) == gymapi.CC_ALL_SUBSTEPS
    assert gymapi.AXIS_ALL == 63 and gymapi.STATE_ALL == gymapi.STATE_POS | gymapi.STATE_VEL


def test_layouts_are_isaac_gyms() -> None:
    assert gymapi.RigidBodyState.dtype.itemsize == 13 * 4 and gymapi.DofState.dtype.names == ("pos", "vel")
    assert Transform.dtype["r"].names == ("x", "y", "z", "w")


def test_inverse_mass_and_inertia() -> None:
    body = gymapi.RigidBodyProperties()
    body.mass = 4.0
    body.inertia.x, body.inertia.y, body.inertia.z = Vec3(2, 0, 0), Vec3(0, 4, 0), Vec3(0, 0, 5)
    assert body.invMass == 0.25 and body.invInertia.y.y == pytest.approx(0.25)
    body.mass = 3.0
    body.invMass = 1.0 / body.mass  # as programs do beside the mass
    with pytest.raises(UserError, match=r"invMass is 0\.5 and mass is 3"):
        body.invMass = 0.5
    assert body.mass == 3.0 and body.copy() == body
