"""The layers: an import may only point down. What the README's reading order promises."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Iterator, Tuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sb3_isaac"
LAYERS = (  # from the top; a module's layer is the first name that it starts with
    ("cli",), ("rl_zoo",), ("testing",), ("bench", "tuning"), ("rl.training.train",), ("view",), ("rl",),
    ("envs.vec_normalize",),
    ("envs.vec_env", "envs.gym_env"), ("envs.statistics",), ("clients",), ("tasks",), ("sim",), ("gymcompat",),
    ("terrain",), ("robots", "engine"), ("envs",), ("config",), ("contract",),
)
SOURCES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> int:
    for i, names in enumerate(LAYERS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return i
    raise AssertionError(f"{module} belongs to no layer")


def imports_of(path: Path) -> Iterator[Tuple[int, str]]:
    """(line, module below sb3_isaac) of each import, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sb3_isaac":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"[len("sb3_isaac."):]
                file = PACKAGE.joinpath(*inner.split("."))
                is_module = file.with_suffix(".py").exists() or (file / "__init__.py").exists()
                yield node.lineno, inner if is_module else (node.module or "")[len("sb3_isaac."):]


@pytest.mark.parametrize("path", [p for p in SOURCES if module_of(p) not in ("", "__main__")], ids=module_of)
def test_imports_point_down(path: Path) -> None:
    here = layer_of(module_of(path))
    for line, module in imports_of(path):
        if module:
            assert layer_of(module) >= here, f"{path.name}:{line} imports {module} from a layer above"


def test_learning_sees_environments_and_neither_simulators_nor_engines() -> None:
    for path in SOURCES:
        if module_of(path).split(".")[0] == "rl":
            for line, module in imports_of(path):
                assert module.split(".")[0] not in ("sim", "engine", "robots"), f"{path.name}:{line} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_sources_parse_on_python_3_8_and_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    assert text.count("\n") <= 400
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            assert getattr(node.func, "id", "") not in ("eval", "exec"), f"{path.name}:{node.lineno} evaluates code"


def test_importing_the_package_is_light() -> None:
    """NVIDIA's isaacgym must be imported before torch, so `import sb3_isaac` must not bring torch in."""
    code = ("import sb3_isaac, sys, gymnasium; "
            "assert 'IsaacQuadrupedFlat-v0' in gymnasium.registry; "
            "print([m for m in ('torch', 'stable_baselines3', 'mujoco') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
