"""OpenGL without a window: which library draws, on a graphics card or on the processor."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import importlib
import os
import sys
from typing import Any, Iterator, Optional, Tuple

import mujoco

from sb3_isaac.contract.errors import UserError

SIZE, SOFTWARE_SIZE = (1280, 720), (960, 540)
"""Pixels of a video, unless others are asked for: with a graphics card, and where the processor draws."""
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software", "swiftshader", "gdi generic", "microsoft basic render")
"""In the names of OpenGL's renderers that use no graphics card."""
_NO_GL = ("no OpenGL library could draw offscreen{why}: install one (apt-get install libosmesa6, or libegl1 with a "
          "driver), and choose between them with the environment variable MUJOCO_GL=osmesa or MUJOCO_GL=egl.")


def has_display() -> bool:
    """Whether windows can be opened here, as far as the environment tells."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _egl_works() -> bool:
    """Whether some EGL device can be initialised.

    Asked of the library directly: PyOpenGL settles on one platform when it is imported and cannot try another.
    """
    name = ctypes.util.find_library("EGL")
    if name is None:
        return False
    egl = ctypes.CDLL(name)
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    query = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    open_display = egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query or not open_display:
        return False
    devices, count = (ctypes.c_void_p * 16)(), ctypes.c_int(0)
    ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(query)(
        len(devices), devices, ctypes.byref(count))
    display_of = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)(open_display)
    platform_device = 0x313F  # EGL_PLATFORM_DEVICE_EXT
    displays = (display_of(platform_device, device, None) for device in devices[:count.value])
    return any(display and egl.eglInitialize(ctypes.c_void_p(display), None, None) for display in displays)


def _gl_backend() -> str:
    """What draws offscreen: MUJOCO_GL, else what this process uses already, else the first that works here.

    ``""`` is MuJoCo's own choice, which needs a display on Linux.
    """
    given = os.environ.get("MUJOCO_GL", "").lower().strip()
    if given or has_display():
        return given
    loaded = os.environ.get("PYOPENGL_PLATFORM", "").lower()
    if loaded in ("egl", "osmesa"):
        return loaded
    if _egl_works():
        return "egl"
    if ctypes.util.find_library("OSMesa"):
        return "osmesa"
    raise UserError(_NO_GL.format(why=""))


@contextlib.contextmanager
def _told(backend: str) -> Iterator[None]:
    """A UserError in place of what OpenGL's and MuJoCo's modules raise where nothing can be drawn."""
    try:
        yield
    except (ImportError, AttributeError, OSError, RuntimeError, mujoco.FatalError) as error:
        raise UserError(_NO_GL.format(why=f" with MUJOCO_GL={backend}" if backend else " on this display")) from error


def open_gl(width: int, height: int) -> Any:
    """A GL context, made current, for drawing offscreen; free it, or hand it to :func:`close_context`.

    MuJoCo picks its GL context class when it is imported, which may be before we could choose; hence by name.

    :raises UserError: where no OpenGL library works.
    """
    backend = _gl_backend()
    with _told(backend):
        classes = importlib.import_module(f"mujoco.{backend}") if backend in ("egl", "osmesa") else mujoco
        gl = classes.GLContext(width, height)
        make_current(gl)
    return gl


_current: Any = None
"""The GL context that was made current last."""


def make_current(gl: Any) -> None:
    """Let what is drawn from now on be drawn in this context."""
    global _current
    gl.make_current()
    _current = gl


def open_context(model: mujoco.MjModel, height: int) -> mujoco.MjrContext:
    """MuJoCo's render context in the current GL context: it draws `model` offscreen, in frames of this height."""
    scales = mujoco.mjtFontScale
    with _told(_gl_backend()):
        context = mujoco.MjrContext(model, scales.mjFONTSCALE_150 if height >= 480 else scales.mjFONTSCALE_100)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    return context


def close_context(gl: Any, context: Optional[mujoco.MjrContext] = None) -> None:
    """Free both, in the order of their dependence. Garbage collection may do so while another draws: that goes on."""
    global _current
    other = None if _current is gl else _current
    gl.make_current()
    if context is not None:
        context.free()
    gl.free()
    _current = other
    if other is not None:
        other.make_current()


def processor_draws() -> bool:
    """Whether the current GL context uses no graphics card."""
    opengl = importlib.import_module("OpenGL.GL")  # not before: it settles on a platform when it is imported
    name = (opengl.glGetString(opengl.GL_RENDERER) or b"").decode(errors="replace").lower()
    return any(word in name for word in _SOFTWARE)


def frame_size() -> Tuple[int, int]:
    """Width and height of a video's frames that take a reasonable time on this machine, pixels."""
    try:
        gl = open_gl(16, 16)
    except UserError:  # what is drawn may need no OpenGL
        return SIZE
    size = SOFTWARE_SIZE if processor_draws() else SIZE
    close_context(gl)
    return size
