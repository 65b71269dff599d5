"""Gym's calls about assets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.model.asset import Asset, load_asset, primitive
from sb3_isaac.gymcompat.runtime.sim import Sim
from sb3_isaac.gymcompat.types.enums import INVALID_HANDLE, DofType
from sb3_isaac.gymcompat.types.structs import ActuatorProperties, AssetOptions, IndexRange, RigidShapeProperties
from sb3_isaac.gymcompat.types.values import number


def checked(call: str, argument: str, value: Any, kind: type) -> Any:
    """`value`, which has to be a `kind`."""
    if not isinstance(value, kind):
        raise UserError(f"{call}: {argument} is a {type(value).__name__}: give a {kind.__name__}, "
                        f"as gym's create or load calls return it.")
    return value


def place_of(name: str, names: Sequence[str]) -> int:
    """The index of `name`, ``INVALID_HANDLE`` where there is none: programs ask whether a part is there."""
    return list(names).index(name) if name in names else INVALID_HANDLE


class AssetCalls:
    """Loading, and reading and writing what an asset holds."""

    def load_asset(self, sim: Sim, rootpath: str, filename: str, options: Optional[AssetOptions] = None) -> Asset:
        """A robot from a URDF or MJCF file."""
        options = options if options is not None else AssetOptions()
        path, known = Path(str(rootpath)) / str(filename), checked("load_asset", "sim", sim, Sim).assets
        key = (str(path), path.stat().st_mtime_ns if path.is_file() else 0, repr(options))
        if key not in known:
            known[key] = load_asset(str(rootpath), str(filename), options.copy())
        return known[key].fresh(key)

    load_urdf = load_asset
    load_mjcf = load_asset

    def create_box(self, sim: Sim, width: float, height: float, depth: float,
                   options: Optional[AssetOptions] = None) -> Asset:
        """A box of these full edges along x, y, z."""
        return self._primitive(sim, "box", [0.5 * width, 0.5 * height, 0.5 * depth], options)

    def create_sphere(self, sim: Sim, radius: float, options: Optional[AssetOptions] = None) -> Asset:
        """A ball."""
        return self._primitive(sim, "sphere", [radius], options)

    def create_capsule(self, sim: Sim, radius: float, width: float, options: Optional[AssetOptions] = None) -> Asset:
        """A capsule along x whose cylinder is `width` long."""
        return self._primitive(sim, "capsule", [radius, 0.5 * width], options)

    @staticmethod
    def _primitive(sim: Sim, kind: str, size: List[float], options: Optional[AssetOptions]) -> Asset:
        options, size = options if options is not None else AssetOptions(), [number(v) for v in size]
        key, known = (kind, *size, repr(options)), checked(f"create_{kind}", "sim", sim, Sim).assets
        if key not in known:
            known[key] = primitive(kind, size, options.copy())
        return known[key].fresh(key)

    def get_asset_rigid_body_count(self, asset: Asset) -> int:
        """B."""
        return checked("get_asset_rigid_body_count", "asset", asset, Asset).num_bodies

    def get_asset_rigid_body_names(self, asset: Asset) -> List[str]:
        """All, in order."""
        return list(checked("get_asset_rigid_body_names", "asset", asset, Asset).body_names)

    def get_asset_rigid_body_name(self, asset: Asset, index: int) -> str:
        """One."""
        return asset.body_names[index]

    def get_asset_rigid_body_dict(self, asset: Asset) -> Dict[str, int]:
        """Indices by name."""
        return {name: i for i, name in enumerate(asset.body_names)}

    def find_asset_rigid_body_index(self, asset: Asset, name: str) -> int:
        """The index of a body."""
        return place_of(name, asset.body_names)

    def get_asset_dof_count(self, asset: Asset) -> int:
        """D."""
        return checked("get_asset_dof_count", "asset", asset, Asset).num_dofs

    def get_asset_dof_names(self, asset: Asset) -> List[str]:
        """All, in order."""
        return list(checked("get_asset_dof_names", "asset", asset, Asset).dof_names)

    def get_asset_dof_name(self, asset: Asset, index: int) -> str:
        """One."""
        return asset.dof_names[index]

    def get_asset_dof_dict(self, asset: Asset) -> Dict[str, int]:
        """Indices by name."""
        return {name: i for i, name in enumerate(asset.dof_names)}

    def get_asset_dof_type(self, asset: Asset, index: int) -> DofType:
        """Rotation or translation."""
        return DofType.DOF_TRANSLATION if asset.dof_is_slide[index] else DofType.DOF_ROTATION

    def find_asset_dof_index(self, asset: Asset, name: str) -> int:
        """The index of a joint."""
        return place_of(name, asset.dof_names)

    def get_asset_dof_properties(self, asset: Asset) -> np.ndarray:
        """A copy, (D,) structured."""
        return checked("get_asset_dof_properties", "asset", asset, Asset).dof_properties.copy()

    def get_asset_rigid_shape_count(self, asset: Asset) -> int:
        """S."""
        return checked("get_asset_rigid_shape_count", "asset", asset, Asset).num_shapes

    def get_asset_rigid_shape_properties(self, asset: Asset) -> List[RigidShapeProperties]:
        """Copies, S of them."""
        checked("get_asset_rigid_shape_properties", "asset", asset, Asset)
        return [props.copy() for props in asset.shape_properties]

    def set_asset_rigid_shape_properties(self, asset: Asset, props: Sequence[RigidShapeProperties]) -> bool:
        """For the actors created from now on."""
        checked("set_asset_rigid_shape_properties", "asset", asset, Asset)
        if len(props) != asset.num_shapes:
            raise UserError(f"set_asset_rigid_shape_properties: {len(props)} properties were given and asset "
                            f"{asset.name!r} has {asset.num_shapes} shapes: give one for each.")
        asset.shape_properties = [p.copy() for p in props]
        return True

    def get_asset_rigid_body_shape_indices(self, asset: Asset) -> List[IndexRange]:
        """Each body's shapes."""
        return [r.copy() for r in asset.shape_ranges]

    def get_asset_actuator_count(self, asset: Asset) -> int:
        """Of an MJCF file."""
        return len(asset.actuators)

    def get_asset_actuator_properties(self, asset: Asset) -> List[ActuatorProperties]:
        """Of an MJCF file."""
        return [a.copy() for a in asset.actuators]

