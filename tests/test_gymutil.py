"""isaacgym.gymutil: what client programs read of arguments, device strings and simulation settings."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from typing import Any, Iterator, List, Tuple

import numpy as np
import pytest

from sb3_isaac import UserError
from sb3_isaac.gymcompat.api import gymapi, gymutil
from sb3_isaac.gymcompat.runtime.settings import Settings, current, use


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    before = current()
    yield
    use(before)


def parse(monkeypatch: pytest.MonkeyPatch, *flags: str, **kwargs: Any) -> Any:
    monkeypatch.setattr(sys, "argv", ["train.py", *flags])
    return gymutil.parse_arguments(**kwargs)


def test_what_legged_gym_reads_of_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [{"name": "--task", "type": str, "default": "anymal", "help": "which"},
           {"name": "--resume", "action": "store_true", "default": False},
           {"name": "--rl_device", "type": str, "default": "cuda:0"}, {"name": "--num_envs", "type": int}]
    args = parse(monkeypatch, "--task", "go2", "--num_envs", "7", "--sim_device", "cpu", "--rl_device", "cpu",
                 description="RL Policy", custom_parameters=own)
    assert (args.task, args.resume, args.num_envs, args.rl_device) == ("go2", False, 7, "cpu")
    assert (args.sim_device_type, args.compute_device_id, args.sim_device) == ("cpu", 0, "cpu")
    assert args.physics_engine == gymapi.SIM_PHYSX
    assert (args.use_gpu, args.use_gpu_pipeline, args.num_threads, args.subscenes) == (False, False, 0, 0)
    assert not hasattr(args, "headless")


def test_headless_and_flex(monkeypatch: pytest.MonkeyPatch) -> None:
    args = parse(monkeypatch, "--nographics", "--flex", "--sim_device", "cpu", headless=True, no_graphics=True)
    assert args.headless and args.physics_engine == gymapi.SIM_FLEX
    assert not parse(monkeypatch, "--sim_device", "cpu", headless=True).headless


def test_cuda_is_refused_with_a_hint_or_becomes_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [{"name": "--rl_device", "type": str, "default": "cuda:0"}]
    use(Settings(cuda_to_cpu=False))
    for flags in ([], ["--sim_device", "cpu"]):  # Isaac Gym's default is cuda:0, and so is the program's own
        with pytest.raises(UserError, match=r"'cuda:0'.*--cuda-to-cpu"):
            parse(monkeypatch, *flags, custom_parameters=own)
    with pytest.raises(UserError, match="--cuda-to-cpu"):
        gymutil.parse_device_str("cuda:1")
    use(Settings(cuda_to_cpu=True))
    args = parse(monkeypatch, custom_parameters=own)
    assert (args.sim_device, args.sim_device_type, args.rl_device, args.pipeline) == ("cpu", "cpu", "cpu", "cpu")
    assert not args.use_gpu and not args.use_gpu_pipeline
    assert gymutil.parse_device_str("cuda:1") == ("cpu", 0)


@pytest.mark.parametrize(("text", "expected"), [("cpu", ("cpu", 0)), ("cpu:0", ("cpu", 0))])
def test_device_strings(text: str, expected: Tuple[str, int]) -> None:
    assert gymutil.parse_device_str(text) == expected


def test_mistakes_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="device 'tpu'"):
        gymutil.parse_device_str("tpu")
    with pytest.raises(UserError, match="--pipeline is 'fast'"):
        parse(monkeypatch, "--sim_device", "cpu", "--pipeline", "fast")
    for bad in ({"type": int}, {"name": "--n", "typ": int}):
        with pytest.raises(UserError, match="custom parameter"):
            parse(monkeypatch, "--sim_device", "cpu", custom_parameters=[bad])
    with pytest.raises(UserError, match="neither true nor false"):
        gymutil.parse_bool("perhaps")
    with pytest.raises(UserError, match="up_axis is 2"):
        gymutil.parse_sim_config({"up_axis": 2}, gymapi.SimParams())
    with pytest.raises(UserError, match=r"sim\.dt is 'fast'"):
        gymutil.parse_sim_config({"dt": "fast"}, gymapi.SimParams())


@pytest.mark.parametrize(("text", "value"), [("True", True), ("yes", True), (1, True), ("0", False), (False, False)])
def test_truth(text: Any, value: bool) -> None:
    assert gymutil.parse_bool(text) is value


def test_settings_reach_the_parameters_in_their_types() -> None:
    """The numbers are legged_gym's."""
    params = gymapi.SimParams()
    gymutil.parse_sim_config(
        {"dt": 0.005, "substeps": 1, "gravity": [0.0, 0.0, -9.81], "up_axis": 1, "use_gpu_pipeline": "False",
         "physx": {"num_threads": 10, "solver_type": 1, "contact_offset": 0.01, "contact_collection": 2}}, params)
    assert params.dt == pytest.approx(0.005) and params.substeps == 1 and params.use_gpu_pipeline is False
    assert params.up_axis == gymapi.UP_AXIS_Z
    assert (params.gravity.x, params.gravity.y) == (0.0, 0.0) and params.gravity.z == pytest.approx(-9.81)
    assert params.physx.num_threads == 10 and params.physx.contact_offset == pytest.approx(0.01)
    assert params.physx.contact_collection == gymapi.CC_ALL_SUBSTEPS


def test_settings_from_classes_and_unknown_ones() -> None:
    """walk-these-ways passes the ``vars`` of a class that holds another."""
    class Sim:
        dt = 0.002
        up_axis = "z"

        class physx:
            num_threads = 3

    params = gymapi.SimParams()
    gymutil.parse_sim_config(vars(Sim), params)
    assert params.dt == pytest.approx(0.002) and params.physx.num_threads == 3
    assert params.up_axis == gymapi.UP_AXIS_Z
    gymutil.parse_sim_config(Sim, params)
    with pytest.warns(UserWarning, match=r"sim\.physx\.speed is no setting"):
        gymutil.parse_sim_config({"physx": {"speed": 3}}, params)


def test_xml_is_broken_into_lines() -> None:
    root = ElementTree.fromstring("<a><b><c/></b><d/></a>")
    gymutil._indent_xml(root)
    assert ElementTree.tostring(root, encoding="unicode") == "<a>\n  <b>\n    <c />\n  </b>\n  <d />\n</a>"


class Recorder:
    """Stands where a program's Gym is, and keeps what was drawn."""

    def __init__(self) -> None:
        self.drawn: List[Tuple[Any, ...]] = []

    def add_lines(self, *args: Any) -> None:
        self.drawn.append(args)


def test_lines_for_a_viewer() -> None:
    quarter_turn_z = gymapi.Quat(0.0, 0.0, 0.5**0.5, 0.5**0.5)
    pose = gymapi.Transform(gymapi.Vec3(1.0, 2.0, 3.0), quarter_turn_z)
    axes = gymutil.AxesGeometry(0.5)
    moved = axes.instance_verts(pose)
    np.testing.assert_allclose(moved[:, 0], [[1, 2, 3]] * 3, atol=1e-6)
    np.testing.assert_allclose(moved[:, 1], [[1, 2.5, 3], [0.5, 2, 3], [1, 2, 3.5]], atol=1e-6)
    gym = Recorder()
    gymutil.draw_lines(axes, gym, "viewer", "env", pose)
    assert gym.drawn[0][:3] == ("viewer", "env", 3)
    np.testing.assert_allclose(gym.drawn[0][3], moved)
    gymutil.draw_line(gymapi.Vec3(0, 0, 0), gymapi.Vec3(1, 0, 0), gymapi.Vec3(0, 1, 0), gym, "viewer", "env")
    assert gym.drawn[1][2] == 1 and gym.drawn[1][3].shape == (1, 2, 3)


def test_wireframes_lie_on_their_shapes() -> None:
    sphere = gymutil.WireframeSphereGeometry(0.3, 4, 6, None, color=(1, 1, 0))
    np.testing.assert_allclose(np.linalg.norm(sphere.vertices(), axis=2), 0.3, atol=1e-6)
    assert sphere.num_lines() == len(sphere.colors()) == 4 * 6 + 3 * 6
    box = gymutil.WireframeBoxGeometry(1.0, 2.0, 3.0)
    assert box.num_lines() == 12
    lengths = np.linalg.norm(box.vertices()[:, 1] - box.vertices()[:, 0], axis=1)
    assert sorted(np.round(lengths, 5)) == [1.0] * 4 + [2.0] * 4 + [3.0] * 4
    assert np.abs(box.vertices()).reshape(-1, 3).max(axis=0).tolist() == [0.5, 1.0, 1.5]


def test_randomisation_by_tables() -> None:
    """Draws lie in their range, schedules begin with no change, and originals are what a draw is combined with."""
    table = {"range": [0.5, 1.5], "distribution": "uniform", "operation": "scaling", "schedule": "linear",
             "schedule_steps": 100}
    sample = gymutil.generate_random_samples
    assert (sample(table, 4, 0) == 1.0).all() and (sample({**table, "operation": "additive"}, 4, 0) == 0.0).all()
    assert ((sample(table, 1000, 50) >= 0.75) & (sample(table, 1000, 50) <= 1.25)).all()
    assert sample(table, 1000, 500).min() < 0.6
    shape, original = gymapi.RigidShapeProperties(), {"friction": 2.0}
    fixed = {"range": [3.0, 3.0], "distribution": "uniform", "operation": "scaling"}
    gymutil.apply_random_samples(shape, original, "friction", fixed, 0)
    assert shape.friction == 6.0
    dof = np.zeros(3, dtype=[("damping", "f4")])
    gymutil.apply_random_samples(dof, {"damping": np.ones(3)}, "damping", {**fixed, "operation": "additive"}, 0)
    assert dof["damping"].tolist() == [4.0] * 3
    gymutil.apply_random_samples(shape, original, "friction", {**fixed, "range": [0.0, 1.0], "num_buckets": 4}, 0)
    assert shape.friction in (0.0, 0.25, 0.5, 0.75)
    gym = gymapi.acquire_gym()
    maps = (gymutil.get_property_setter_map(gym), gymutil.get_property_getter_map(gym))
    assert set(maps[0]) == set(maps[1]) == set(gymutil.get_default_setter_args(gym))
