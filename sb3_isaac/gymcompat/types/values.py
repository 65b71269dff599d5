"""Vectors, quaternions and poses as clients write them: mutable, single numbers, with Isaac Gym's arithmetic.

Quaternions are (x, y, z, w) and take body to world coordinates. Numbers with a fraction are C floats, as in the
original: a ``dt`` of 0.005 reads 0.004999999888241291, and programs round quotients of it. Nothing here runs once a
step.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Dict, Iterator, Optional, Sequence, Tuple

import numpy as np


def number(value: Any) -> float:
    """A number, or an array or tensor of one element, as the nearest C float (32 bits)."""
    return float(np.float32(value if type(value) is float else _scalar(value)))


def _scalar(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


class Closed:
    """An object whose attributes are those of its class and no others, converted to their type when they are set.

    A value of one element, such as a (1, 1) tensor, serves as a number; floats are rounded to 32 bits. Nested values
    are copied, as in the original.
    """

    _defaults: ClassVar[Dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        cls._defaults = {name: number(value) if isinstance(value, float) else value
                         for name, value in cls._defaults.items()}

    def __init__(self) -> None:
        for name, value in self._defaults.items():
            object.__setattr__(self, name, value.copy() if isinstance(value, Closed) else value)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
            return
        if name not in self._defaults:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}: "
                                 f"it has {', '.join(self._defaults)}.")
        object.__setattr__(self, name, self._converted(name, value))

    def _converted(self, name: str, value: Any) -> Any:
        default = self._defaults[name]
        if isinstance(default, Closed):
            if type(value) is not type(default):
                raise TypeError(f"{type(self).__name__}.{name} takes a {type(default).__name__}, "
                                f"not a {type(value).__name__}.")
            return value.copy()
        if isinstance(default, float):
            return number(value)
        return type(default)(_scalar(value)) if isinstance(default, (bool, int)) else value

    def copy(self) -> Any:
        """One of the same values."""
        new = type(self).__new__(type(self))
        for name, value in self.__dict__.items():
            object.__setattr__(new, name, value.copy() if isinstance(value, Closed) else value)
        return new

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"


class _Numbers(Closed):
    """A row of named numbers."""

    dtype: ClassVar[np.dtype]

    def __init__(self, *args: float, **kwargs: float) -> None:
        names = tuple(self._defaults)
        if len(args) > len(names):
            raise TypeError(f"{type(self).__name__} takes at most {len(names)} numbers, not {len(args)}.")
        self.__dict__.update(self._defaults)  # past __setattr__: programs make tens of thousands of these
        self.__dict__.update(zip(names, map(number, args)))
        for name, value in kwargs.items():
            setattr(self, name, value)

    def __iter__(self) -> Iterator[float]:
        return iter(self.__dict__.values())

    @classmethod
    def from_buffer(cls, buffer: Any) -> Any:
        """The numbers at the start of `buffer`, which holds float32."""
        return cls(*(float(v) for v in np.frombuffer(buffer, dtype=np.float32, count=len(cls._defaults))))

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> np.ndarray:
        row = np.array(tuple(self), dtype=self.dtype)
        return row if dtype is None else row.astype(dtype)

    def _with(self, values: Sequence[float]) -> Any:
        return type(self)(*values)


class _Vector(_Numbers):
    """A vector's arithmetic."""

    def __add__(self, other: Any) -> Any:
        return self._with([a + b for a, b in zip(self, other)])

    def __sub__(self, other: Any) -> Any:
        return self._with([a - b for a, b in zip(self, other)])

    def __mul__(self, factor: float) -> Any:
        return self._with([a * number(factor) for a in self])

    def __truediv__(self, divisor: float) -> Any:
        return self._with([a / number(divisor) for a in self])

    def __neg__(self) -> Any:
        return self._with([-a for a in self])

    def dot(self, other: Any) -> float:
        """Scalar product."""
        return sum(a * b for a, b in zip(self, other))

    def length_sq(self) -> float:
        """Squared length."""
        return self.dot(self)

    def length(self) -> float:
        """Length."""
        return math.sqrt(self.length_sq())

    def normalize(self) -> Any:
        """The vector of length 1 in this direction; a zero vector stays one."""
        return self / (self.length() or 1.0)


class Vec2(_Vector):
    """Two numbers."""

    _defaults = {"x": 0.0, "y": 0.0}
    dtype = np.dtype([("x", "f4"), ("y", "f4")])
    x: float
    y: float


class Vec3(_Vector):
    """Three numbers."""

    _defaults = {"x": 0.0, "y": 0.0, "z": 0.0}
    dtype = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4")])
    x: float
    y: float
    z: float

    def cross(self, other: "Vec3") -> "Vec3":
        """Vector product."""
        return Vec3(self.y * other.z - self.z * other.y, self.z * other.x - self.x * other.z,
                    self.x * other.y - self.y * other.x)


class Quat(_Numbers):
    """A unit quaternion (x, y, z, w)."""

    _defaults = {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}
    dtype = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("w", "f4")])
    x: float
    y: float
    z: float
    w: float

    @staticmethod
    def from_axis_angle(axis: Vec3, angle: float) -> "Quat":
        """The rotation by `angle` rad about `axis`."""
        unit, half = axis.normalize(), 0.5 * number(angle)
        return Quat(*(unit * math.sin(half)), math.cos(half))

    @staticmethod
    def from_euler_zyx(roll: float, pitch: float, yaw: float) -> "Quat":
        """The rotation by roll about x, then pitch about y, then yaw about z (fixed axes), rad."""
        x, y, z = (Quat.from_axis_angle(axis, angle)
                   for axis, angle in ((Vec3(1), roll), (Vec3(0, 1), pitch), (Vec3(0, 0, 1), yaw)))
        return z * y * x

    def to_euler_zyx(self) -> Tuple[float, float, float]:
        """(roll, pitch, yaw) rad of ``from_euler_zyx``."""
        x, y, z, w = self
        sine = max(-1.0, min(1.0, 2 * (w * y - z * x)))
        return (math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)), math.asin(sine),
                math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))

    def __mul__(self, other: "Quat") -> "Quat":
        a, b = Vec3(self.x, self.y, self.z), Vec3(other.x, other.y, other.z)
        return Quat(*(b * self.w + a * other.w + a.cross(b)), self.w * other.w - a.dot(b))

    def inverse(self) -> "Quat":
        """The opposite rotation."""
        return Quat(-self.x, -self.y, -self.z, self.w)

    def normalize(self) -> "Quat":
        """The same rotation, of length 1."""
        length = math.sqrt(sum(v * v for v in self)) or 1.0
        return Quat(*(v / length for v in self))

    def rotate(self, vec: Vec3) -> Vec3:
        """A body vector in world coordinates."""
        axis = Vec3(self.x, self.y, self.z)
        t = axis.cross(vec) * 2.0
        return vec + t * self.w + axis.cross(t)


class Transform(Closed):
    """A pose: position `p` m and rotation `r`."""

    _defaults = {"p": Vec3(), "r": Quat()}
    dtype = np.dtype([("p", Vec3.dtype), ("r", Quat.dtype)])
    p: Vec3
    r: Quat

    def __init__(self, p: Optional[Vec3] = None, r: Optional[Quat] = None) -> None:
        super().__init__()
        if p is not None:
            self.p = p
        if r is not None:
            self.r = r

    @staticmethod
    def from_buffer(buffer: Any) -> "Transform":
        """The pose at the start of `buffer`, which holds 7 float32."""
        row = [float(v) for v in np.frombuffer(buffer, dtype=np.float32, count=7)]
        return Transform(Vec3(*row[:3]), Quat(*row[3:]))

    def transform_vector(self, vec: Vec3) -> Vec3:
        """`vec` rotated."""
        return self.r.rotate(vec)

    def transform_point(self, point: Vec3) -> Vec3:
        """`point` rotated and moved."""
        return self.r.rotate(point) + self.p

    def transform_vectors(self, vectors: Sequence[Any]) -> np.ndarray:
        """Each of `vectors` rotated, as an array of ``Vec3.dtype``."""
        return np.array([tuple(self.transform_vector(Vec3(*v))) for v in vectors], dtype=Vec3.dtype)

    def transform_points(self, points: Sequence[Any]) -> np.ndarray:
        """Each of `points` rotated and moved, as an array of ``Vec3.dtype``."""
        return np.array([tuple(self.transform_point(Vec3(*v))) for v in points], dtype=Vec3.dtype)

    def __mul__(self, other: "Transform") -> "Transform":
        return Transform(self.transform_point(other.p), self.r * other.r)

    def inverse(self) -> "Transform":
        """The pose that undoes this one."""
        back = self.r.inverse()
        return Transform(back.rotate(-self.p), back)


class Velocity(Closed):
    """Linear m/s and angular rad/s velocity."""

    _defaults = {"linear": Vec3(), "angular": Vec3()}
    dtype = np.dtype([("linear", Vec3.dtype), ("angular", Vec3.dtype)])
    linear: Vec3
    angular: Vec3

    def __init__(self, p: Optional[Vec3] = None, q: Optional[Vec3] = None) -> None:
        super().__init__()
        if p is not None:
            self.linear = p
        if q is not None:
            self.angular = q


class DofState:
    """Layout of a joint's state: position rad or m, velocity rad/s or m/s."""

    dtype = np.dtype([("pos", "f4"), ("vel", "f4")])


class RigidBodyState:
    """Layout of a body's state: 13 float32."""

    dtype = np.dtype([("pose", Transform.dtype), ("vel", Velocity.dtype)])


DOF_PROPERTIES = np.dtype([("hasLimits", "?"), ("lower", "f4"), ("upper", "f4"), ("driveMode", "i4"),
                           ("velocity", "f4"), ("effort", "f4"), ("stiffness", "f4"), ("damping", "f4"),
                           ("friction", "f4"), ("armature", "f4")])
"""Layout of a joint's properties; limits in rad or m, effort in N·m or N."""
