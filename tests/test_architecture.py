"""The shape of the source: imports point down and never in a circle, and a layer keeps to what the one below offers."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

import pytest

import sb3_isaac

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sb3_isaac"
LAYERS = (  # from the top; folders of one layer do not import each other
    ("cli",), ("rl_zoo",), ("testing",), ("view",), ("tuning", "bench"), ("rl",), ("envs",), ("clients",), ("tasks",),
    ("sim",), ("gymcompat",), ("terrain",), ("robots",), ("engine",), ("policy",), ("config",),
    ("contract",))
TASKS = next(i for i, names in enumerate(LAYERS) if "tasks" in names)
REGISTERED = {("contract.ids", f"tasks.{name}")
              for name in ("quadruped_flat", "quadruped_velocity", "quadruped_rough", "quadruped_waypoint",
                           "quadruped_vision", "biped_velocity", "ant", "humanoid", "double_pendulum")}
"""Strings that name a module above: the ids of the shipped tasks, each resolved when the task is made."""
CLIENT_OWN = {"clients.legged_gym", "clients.isaacgymenvs"}
"""Files whose ``.sim`` is the handle of a client's own Isaac Gym simulation, not a Simulator of ours."""
PLACE = re.compile(r"sb3_isaac((?:\.\w+)+)\.?(?::\w+)?")


def module_of(path: Path) -> str:
    """The module below sb3_isaac of a file, "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
LAYERED = [module for module in SOURCES if module not in ("", "__main__")]


class Import(NamedTuple):
    """Line, module below sb3_isaac, and how: ``import``, ``string`` or ``typing`` (not at run time)."""

    line: int
    module: str
    kind: str


def read(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


def layer_of(module: str) -> int:
    for i, names in enumerate(LAYERS):
        if module.split(".")[0] in names:
            return i
    raise AssertionError(f"{module} belongs to no layer")


def resolve(name: str) -> str:
    """The module below sb3_isaac that a dotted name lies in; a public name of the package is where it is defined."""
    if name in sb3_isaac._LAZY:
        name = sb3_isaac._LAZY[name][len("sb3_isaac."):]
    while name and name not in SOURCES:
        name = name.rpartition(".")[0]
    return name


def imports_of(tree: ast.AST) -> Iterator[Import]:
    """Everything of sb3_isaac that a file names: both kinds of import, anywhere in it, and strings."""
    typing_only = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If)
                   and "TYPE_CHECKING" in ast.dump(node.test) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        kind = "typing" if id(node) in typing_only else "import"
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full.startswith("sb3_isaac."):
                    yield Import(node.lineno, resolve(full[len("sb3_isaac."):]), kind)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("sb3_isaac."):
                    yield Import(node.lineno, resolve(alias.name[len("sb3_isaac."):]), kind)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            place = PLACE.fullmatch(node.value)
            if place:
                yield Import(node.lineno, resolve(place[1][1:]), "string")


@functools.lru_cache(maxsize=None)
def imports_in(module: str) -> Tuple[Import, ...]:
    """Those of one of our files."""
    return tuple(imports_of(read(module)))


def upward(module: str, tree: ast.AST) -> List[Import]:
    """What `module` names of the layers above it, and of the other folders of its own layer."""
    return [found for found in imports_of(tree) if found.module and (module, found.module) not in REGISTERED
            and found.module.split(".")[0] != module.split(".")[0] and layer_of(found.module) <= layer_of(module)]


@pytest.mark.parametrize("module", LAYERED)
def test_imports_point_down(module: str) -> None:
    assert not upward(module, read(module))


@pytest.mark.parametrize("line", [
    "import sb3_isaac.rl.algo.ppo", "import sb3_isaac.rl.algo.ppo as ppo", "from sb3_isaac.rl.algo import ppo",
    "from sb3_isaac.rl.algo.ppo import PPO", "from sb3_isaac import PPO", "def f():\n    from sb3_isaac.rl import algo",
    "if TYPE_CHECKING:\n    from sb3_isaac.rl.algo import ppo", "import_module('sb3_isaac.rl.algo.ppo')",
    "PLACE = 'sb3_isaac.rl.algo.ppo:PPO'", "import_module(f'sb3_isaac.rl.algo.{name}')", "'sb3_isaac.PPO'",
])
def test_every_way_to_name_a_layer_above_is_seen(line: str) -> None:
    tree = ast.parse(line)
    assert len(upward("tasks.double_pendulum", tree)) == 1 and not upward("cli.train", tree)


def test_the_registered_strings_are_in_use() -> None:
    named = {(module, found.module) for module in LAYERED for found in imports_in(module)}
    assert named >= REGISTERED


def test_learning_sees_environments_and_neither_simulators_nor_engines() -> None:
    for module in SOURCES:
        if module.split(".")[0] == "rl":
            for found in imports_in(module):
                assert found.module.split(".")[0] not in ("sim", "engine", "robots"), f"{module}:{found}"


# ---- reaching through


def reaches(tree: ast.AST) -> Iterator[str]:
    """Where code takes ``.sim`` or ``.engine`` of an object, or a private attribute of its ``.env``.

    ``self.sim`` and ``args.sim`` are a class's own attribute and a flag of the command line.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            base = node.value
            if node.attr in ("sim", "engine") and not (isinstance(base, ast.Name) and base.id in ("self", "args")):
                yield f"line {node.lineno}: .{node.attr}"
            if (node.attr.startswith("_") and not node.attr.startswith("__") and isinstance(base, ast.Attribute)
                    and base.attr in ("env", "sim", "engine")):
                yield f"line {node.lineno}: .{base.attr}.{node.attr}"
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            words = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            if name in ("getattr", "hasattr", "attrgetter", "get_attr", "env_method") and any(
                    part in ("sim", "engine") for word in words for part in word.split(".")):
                yield f"line {node.lineno}: {name}({', '.join(words)})"


@pytest.mark.parametrize("module", [m for m in LAYERED if layer_of(m) < TASKS and m not in CLIENT_OWN])
def test_nothing_above_the_tasks_reaches_through_them(module: str) -> None:
    assert not list(reaches(read(module)))


@pytest.mark.parametrize(("line", "count"), [
    ("env.env.sim.engine", 2), ("self._env.env.sim", 1), ("getattr(getattr(env, 'sim', None), 'engine', None)", 2),
    ("attrgetter('env.sim')(e)", 1), ("self.env._steps", 1), ("self._env.env.stop_rule", 0), ("args.sim", 0),
    ("self.sim", 0), ("env.simulate()", 0), ("self._env", 0),
])
def test_every_way_to_reach_through_is_seen(line: str, count: int) -> None:
    assert len(list(reaches(ast.parse(line)))) == count


# ---- circles


def circle(graph: Dict[str, Set[str]]) -> Optional[List[str]]:
    """The nodes of a circle of `graph`, None where it has none."""
    done: Set[str] = set()

    def search(node: str, path: Tuple[str, ...]) -> Optional[List[str]]:
        if node in path:
            return [*path[path.index(node):], node]
        if node in done:
            return None
        for below in sorted(graph.get(node, ())):
            found = search(below, (*path, node))
            if found:
                return found
        done.add(node)
        return None

    return next((found for found in (search(node, ()) for node in sorted(graph)) if found), None)


def import_graph() -> Dict[str, Set[str]]:
    """Module -> the modules that it imports at run time, at its top or in a function."""
    return {module: {found.module for found in imports_in(module)
                     if found.kind == "import" and found.module not in ("", module)} for module in LAYERED}


def folder_graph(depth: int) -> Dict[str, Set[str]]:
    """The same between folders, down to so many names; a file right in a folder stands for that folder."""
    graph: Dict[str, Set[str]] = {}
    for module, below in import_graph().items():
        here, *there = (".".join(folder_of(m).split(".")[:depth]) for m in (module, *sorted(below)))
        graph.setdefault(here, set()).update(folder for folder in there if folder != here)
    return graph


def folder_of(module: str) -> str:
    is_folder = SOURCES[module].name == "__init__.py" or "." not in module
    return module if is_folder else module.rpartition(".")[0]


def test_no_circle_of_imports_between_files() -> None:
    assert circle(import_graph()) is None


@pytest.mark.parametrize("depth", [1, 2])
def test_no_circle_of_imports_between_folders(depth: int) -> None:
    graph = folder_graph(depth)
    assert circle(graph) is None and len(graph) >= len(LAYERS)


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


# ---- size and language


@pytest.mark.parametrize("path", [*SOURCES.values(), *sorted((ROOT / "tests").glob("*.py")),
                                  *sorted((ROOT / "examples").glob("*.py"))], ids=lambda path: path.stem)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or node.lineno) - node.lineno < 70, f"{node.name} is longer than 70 lines"


@pytest.mark.parametrize("module", SOURCES)
def test_sources_parse_on_python_3_8_and_evaluate_nothing(module: str) -> None:
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"), feature_version=(3, 8))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            assert getattr(node.func, "id", "") not in ("eval", "exec"), f"line {node.lineno} evaluates code"


def test_importing_the_package_is_light() -> None:
    """NVIDIA's isaacgym must be imported before torch, so `import sb3_isaac` must not bring torch in."""
    code = ("import sb3_isaac, sys, gymnasium; "
            "assert 'IsaacQuadrupedFlat-v0' in gymnasium.registry; "
            "print([m for m in ('torch', 'stable_baselines3', 'mujoco') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
