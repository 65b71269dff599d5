"""``isaacgym.gymutil``: command-line arguments, simulation settings from dicts, and lines for viewers.

The arguments are those that Isaac Gym's documentation lists for its examples; the attributes of the result are those
that client programs read.
"""

from __future__ import annotations

import argparse
import math
import re
import warnings
from typing import Any, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.rotations import rotate as _rotate  # star imports must not bring it into programs
from sb3_isaac.gymcompat.api import gymapi
from sb3_isaac.gymcompat.api.randomise import (  # noqa: F401 - programs import them from here
    apply_random_samples,
    check_buckets,
    generate_random_samples,
    get_bucketed_val,
    get_default_setter_args,
    get_property_getter_map,
    get_property_setter_map,
)
from sb3_isaac.gymcompat.runtime.settings import device_for

Colour = Tuple[float, float, float]


# ---- devices and arguments

def parse_bool(text: Any) -> bool:
    """A bool from ``true``, ``1``, ``yes``, ... or their opposites, in any case."""
    word = str(text).strip().lower()
    if word not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        raise UserError(f"{text!r} is neither true nor false: give one of them.")
    return word in ("true", "1", "yes", "on")


def parse_device_str(device_str: str) -> Tuple[str, int]:
    """``cpu`` -> ("cpu", 0), ``cuda:1`` -> ("cuda", 1), ``cuda`` -> ("cuda", 0).

    A CUDA device comes back as the CPU where the program was told so (``sb3-isaac run --cuda-to-cpu``).
    """
    match = re.fullmatch(r"(cpu|cuda|gpu)(?::(\d+))?", str(device_str))
    if match is None:
        raise UserError(f"device {device_str!r} is not one of Isaac Gym's: give 'cpu' or 'cuda:0'.")
    kind = "cpu" if match[1] == "cpu" else device_for(str(device_str))
    return kind, 0 if kind == "cpu" else int(match[2] or 0)


def parse_arguments(description: str = "Isaac Gym Example", headless: bool = False, no_graphics: bool = False,
                    custom_parameters: Sequence[Mapping[str, Any]] = ()) -> argparse.Namespace:
    """Isaac Gym's common arguments and a program's own, from ``sys.argv``.

    :param headless: offer ``--headless``.
    :param no_graphics: offer ``--nographics``, which means headless too.
    :param custom_parameters: mappings with ``name`` (``--num_envs``) and what ``ArgumentParser.add_argument`` takes.
    """
    parser = argparse.ArgumentParser(description=description)
    if headless:
        parser.add_argument("--headless", action="store_true", help="run without a viewer")
    if no_graphics:
        parser.add_argument("--nographics", action="store_true", help="no graphics at all; implies --headless")
    parser.add_argument("--sim_device", default="cuda:0", help="physics device, cpu or cuda:N")
    parser.add_argument("--pipeline", default="gpu", help="where the tensors live, cpu or gpu")
    parser.add_argument("--graphics_device_id", type=int, default=0, help="graphics device")
    engine = parser.add_mutually_exclusive_group()
    engine.add_argument("--flex", action="store_true", help="use FleX")
    engine.add_argument("--physx", action="store_true", help="use PhysX")
    parser.add_argument("--num_threads", type=int, default=0, help="PhysX threads")
    parser.add_argument("--subscenes", type=int, default=0, help="PhysX subscenes to simulate in parallel")
    parser.add_argument("--slices", type=int, help="client threads that process environments")
    for parameter in custom_parameters:
        options = dict(parameter)
        try:
            parser.add_argument(options.pop("name"), **options)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"the custom parameter {dict(parameter)!r} is not one of argparse's ({error}): give it a "
                            "name such as '--num_envs', and type, default, action or help.") from error
    return _with_derived(parser.parse_args())


def _with_derived(args: argparse.Namespace) -> argparse.Namespace:
    """Device strings resolved, and the attributes that follow from what was given."""
    if args.pipeline.lower() not in ("cpu", "gpu", "cuda"):
        raise UserError(f"--pipeline is {args.pipeline!r}: give cpu or gpu.")
    for name, value in vars(args).items():
        if isinstance(value, str) and re.fullmatch(r"cuda(:\d+)?", value):
            setattr(args, name, device_for(value))  # the program's own --rl_device as well
    args.sim_device_type, args.compute_device_id = parse_device_str(args.sim_device)
    args.use_gpu = args.sim_device_type == "cuda"
    args.use_gpu_pipeline = args.use_gpu and args.pipeline.lower() != "cpu"
    args.pipeline = "gpu" if args.use_gpu_pipeline else "cpu"
    args.physics_engine = gymapi.SimType.SIM_FLEX if args.flex else gymapi.SimType.SIM_PHYSX
    if args.slices is None:
        args.slices = args.subscenes
    if getattr(args, "nographics", False):
        args.headless = True
    return args


# ---- simulation settings

def parse_sim_config(config: Any, sim_params: Any) -> None:
    """Write a mapping of settings into a ``SimParams``, those of ``physx`` and ``flex`` into their parts.

    ``up_axis`` is 0 for y and 1 for z, ``gravity`` three numbers. Values take the type of what they replace. What
    SimParams does not have is left out with a warning.
    """
    for name, value in _items(config):
        if name in ("physx", "flex"):
            part = getattr(sim_params, name)
            for inner, inner_value in _items(value):
                _assign(part, inner, inner_value, f"sim.{name}")
        elif name == "up_axis":
            sim_params.up_axis = _up_axis(value)
        elif name == "gravity":
            sim_params.gravity = gymapi.Vec3(*(float(v) for v in value))
        else:
            _assign(sim_params, name, value, "sim")


def _items(config: Any) -> List[Tuple[str, Any]]:
    """Names and values of a mapping, or of a class or object that is used as one."""
    pairs = config if isinstance(config, Mapping) else {
        name: getattr(config, name) for name in dir(config)
        if isinstance(getattr(config, name), type) or not callable(getattr(config, name))}
    return [(name, value) for name, value in pairs.items() if not name.startswith("_")]


def _up_axis(value: Any) -> Any:
    y, z = gymapi.UpAxis.UP_AXIS_Y, gymapi.UpAxis.UP_AXIS_Z
    axes = {0: y, 1: z, "y": y, "z": z}
    key = value.lower() if isinstance(value, str) else value
    if key not in axes:
        raise UserError(f"sim.up_axis is {value!r}: give 0 or 'y', or 1 or 'z'.")
    return axes[key]


def _assign(target: Any, name: str, value: Any, where: str) -> None:
    if not hasattr(target, name):
        warnings.warn(f"{where}.{name} is no setting of Isaac Gym's and was left out.", stacklevel=3)
        return
    kind = type(getattr(target, name))
    try:
        setattr(target, name, parse_bool(value) if kind is bool else kind(value))
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}.{name} is {value!r}: give a {kind.__name__}.") from error


def _indent_xml(element: Any, level: int = 0) -> None:
    """Break an ElementTree into lines, two spaces a level, in place. Two of the IsaacGymEnvs call it."""
    pad = "\n" + "  " * level
    for i, child in enumerate(element):
        _indent_xml(child, level + 1)
        child.tail = pad + ("  " if i < len(element) - 1 else "")
    if len(element):
        element.text = (element.text or "").strip() or pad + "  "


# ---- lines for a viewer

class LineGeometry:
    """Coloured line segments in a frame of their own: ``points`` (n, 2, 3) m and ``hues`` (n, 3) from 0 to 1."""

    def __init__(self, points: Any, hues: Any, pose: Any = None) -> None:
        self.points = np.asarray(points, dtype=np.float32).reshape(-1, 2, 3)
        self.hues = np.asarray(hues, dtype=np.float32).reshape(-1, 3)
        if pose is not None:
            self.points = self.instance_verts(pose)

    def vertices(self) -> np.ndarray:
        """The segments' ends (n, 2, 3) m."""
        return self.points

    def colors(self) -> np.ndarray:
        """A colour (n, 3) for each segment."""
        return self.hues

    def num_lines(self) -> int:
        """n."""
        return len(self.points)

    def instance_verts(self, pose: Any) -> np.ndarray:
        """The segments' ends (n, 2, 3) m after the Transform `pose`."""
        quat = torch.tensor([pose.r.w, pose.r.x, pose.r.y, pose.r.z]).view(1, 1, 4)
        moved: np.ndarray = _rotate(quat, torch.from_numpy(self.points)).numpy()
        return moved + np.array([pose.p.x, pose.p.y, pose.p.z], dtype=np.float32)


class AxesGeometry(LineGeometry):
    """A frame's axes, `scale` m long: x red, y green, z blue."""

    def __init__(self, scale: float = 1.0, pose: Any = None) -> None:
        ends = scale * np.eye(3)
        super().__init__(np.stack((np.zeros((3, 3)), ends), axis=1), np.eye(3), pose)


class WireframeBBoxGeometry(LineGeometry):
    """The edges of the box between the corners `bbox` (2, 3) m."""

    def __init__(self, bbox: Any, pose: Any = None, color: Optional[Colour] = None) -> None:
        low, high = np.asarray(bbox, dtype=np.float32).reshape(2, 3)
        corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
        edges = [(a, b) for i, a in enumerate(corners) for b in corners[i + 1:] if np.abs(a - b).sum() == 1]
        super().__init__(low + np.array(edges) * (high - low), np.tile(color or (1.0, 0.0, 0.0), (12, 1)), pose)


class WireframeBoxGeometry(WireframeBBoxGeometry):
    """The edges of a box of these widths, m, centred on its frame."""

    def __init__(self, xdim: float = 1.0, ydim: float = 1.0, zdim: float = 1.0, pose: Any = None,
                 color: Optional[Colour] = None) -> None:
        half = 0.5 * np.array([xdim, ydim, zdim])
        super().__init__((-half, half), pose, color)


class WireframeSphereGeometry(LineGeometry):
    """Circles of latitude in `color2` and of longitude in `color` on a sphere of `radius` m."""

    def __init__(self, radius: float = 1.0, num_lats: int = 8, num_lons: int = 8, pose: Any = None,
                 color: Optional[Colour] = None, color2: Optional[Colour] = None) -> None:
        first = color or (1.0, 0.0, 0.0)
        lat, lon = np.linspace(-0.5 * math.pi, 0.5 * math.pi, num_lats + 1), np.linspace(0, 2 * math.pi, num_lons + 1)
        grid = radius * np.stack((np.cos(lat)[:, None] * np.cos(lon), np.cos(lat)[:, None] * np.sin(lon),
                                  np.repeat(np.sin(lat)[:, None], num_lons + 1, axis=1)), axis=-1)
        meridians = np.stack((grid[:-1, :-1], grid[1:, :-1]), axis=2).reshape(-1, 2, 3)
        circles = np.stack((grid[1:-1, :-1], grid[1:-1, 1:]), axis=2).reshape(-1, 2, 3)
        hues = [np.tile(first, (len(meridians), 1)), np.tile(color2 or first, (len(circles), 1))]
        super().__init__(np.concatenate((meridians, circles)), np.concatenate(hues), pose)


def draw_lines(geom: LineGeometry, gym: Any, viewer: Any, env: Any, pose: Any) -> None:
    """Draw `geom` at the Transform `pose` of an environment."""
    gym.add_lines(viewer, env, geom.num_lines(), geom.instance_verts(pose), geom.colors())


def draw_line(p1: Any, p2: Any, color: Any, gym: Any, viewer: Any, env: Any) -> None:
    """Draw a segment between two Vec3 in the colour of a third."""
    ends = [[p.x, p.y, p.z] for p in (p1, p2)]
    gym.add_lines(viewer, env, 1, np.array([ends], dtype=np.float32),
                  np.array([[color.x, color.y, color.z]], dtype=np.float32))
