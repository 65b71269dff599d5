"""What a program needs of Isaac Gym's API, and how much of it the emulation has. Programs are read, never run.

What counts as covered is asked of the emulation's own modules: a name that is there, and a method of ``Gym`` that is
written, is covered.
"""

from __future__ import annotations

import ast
import builtins
import importlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.install import MODULES

SKIPPED_FOLDERS = frozenset({".git", ".venv", "venv", "build", "dist", "node_modules", "__pycache__", "site-packages"})


@dataclass(frozen=True)
class Use:
    """One place where a program uses a symbol: ``Gym.create_sim``, ``gymapi.Vec3``, ``torch_utils.quat_mul``,
    ``AssetOptions.fix_base_link``."""

    symbol: str
    file: str
    line: int


@dataclass(frozen=True)
class Audit:
    """The uses found below `root`, in `files` files of which `unread` are no Python of this version."""

    root: str
    files: int
    unread: Tuple[str, ...]
    uses: Tuple[Use, ...]

    def symbols(self) -> Dict[str, int]:
        """Each symbol and how often it is used, by name."""
        return dict(sorted(Counter(use.symbol for use in self.uses).items()))

    def missing(self) -> Dict[str, Use]:
        """Symbols that the emulation does not have, each with its first use."""
        first: Dict[str, Use] = {}
        for use in self.uses:
            if use.symbol not in first and not is_covered(use.symbol):
                first[use.symbol] = use
        return dict(sorted(first.items()))


def audit(path: Path) -> Audit:
    """Read a program, or every program below a folder.

    :raises UserError: when there is none.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.py") if not SKIPPED_FOLDERS & set(file.parts))
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise UserError(f"there is no Python program at {str(path)!r}: give a script or a folder of them.")
    uses: List[Use] = []
    unread: List[str] = []
    for file in files:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8", errors="replace"))
        except (SyntaxError, ValueError):
            unread.append(str(file))
            continue
        uses += [Use(symbol, str(file), line) for symbol, line in uses_of(tree)]
    return Audit(str(path), len(files), tuple(unread), tuple(uses))


def uses_of(tree: ast.AST) -> List[Tuple[str, int]]:
    """(symbol, line) of each use in a program's syntax tree, in no particular order."""
    names = _Names(tree)
    return [*names.imported, *_star_uses(tree, names), *_attribute_uses(tree, names)]


class _Names:
    """What a file calls Isaac Gym's modules, its structs and its Gym object."""

    def __init__(self, tree: ast.AST) -> None:
        self.modules: Dict[str, str] = {}
        """Name in the file -> module of isaacgym (``gymapi``, ...), "" for the package itself."""
        self.stars: List[str] = []
        """Modules of isaacgym from which everything is imported."""
        self.other_stars = False
        self.imported: List[Tuple[str, int]] = []
        """Symbols imported by name, with their line."""
        self.structs: Dict[str, str] = {}
        """Dotted name of a variable -> struct of gymapi that it was made as."""
        self.gyms: Set[str] = {"gym"}
        """Last names under which a Gym object is reached (``gym`` for ``self.gym`` too)."""
        self.other_gym = False
        """Whether ``gym`` alone is OpenAI's package."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self._add_import(node)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                self._add_import_from(node)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                self._add_assignment(node.targets, _dotted(node.value.func))

    def _add_import(self, node: ast.Import) -> None:
        for alias in node.names:
            parts = alias.name.split(".")
            if parts[0] == "isaacgym":
                self.modules[alias.asname or "isaacgym"] = ".".join(parts[1:]) if alias.asname else ""
            elif (alias.asname or parts[0]) == "gym":
                self.other_gym = True

    def _add_import_from(self, node: ast.ImportFrom) -> None:
        parts = (node.module or "").split(".")
        if parts[0] != "isaacgym":
            self.other_stars |= any(alias.name == "*" for alias in node.names)
            return
        for alias in node.names:
            if len(parts) == 1:
                self.modules[alias.asname or alias.name] = alias.name
            elif alias.name == "*":
                self.stars.append(parts[1])
            else:
                self.imported.append((f"{parts[1]}.{alias.name}", node.lineno))
                self.modules[alias.asname or alias.name] = f"{parts[1]}.{alias.name}"

    def _add_assignment(self, targets: List[ast.expr], called: Optional[str]) -> None:
        made = self.resolved(called) if called else None
        for target in targets:
            name = _dotted(target)
            if name is None or made is None or not made.startswith("gymapi."):
                continue
            if made == "gymapi.acquire_gym":
                self.gyms.add(name.split(".")[-1])
            elif made.count(".") == 1:
                self.structs[name] = made.split(".")[1]

    def resolved(self, dotted: str) -> Optional[str]:
        """``gymapi.Vec3`` for whatever the file calls it; None for what is not Isaac Gym's."""
        first, *rest = dotted.split(".")
        if first not in self.modules:
            return None
        return ".".join(part for part in (self.modules[first], *rest) if part)


def _dotted(node: ast.AST) -> Optional[str]:
    """``self.gym.create_sim`` of an expression of names and attributes alone."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return None if inner is None else f"{inner}.{node.attr}"
    return None


def _attribute_uses(tree: ast.AST, names: _Names) -> Iterator[Tuple[str, int]]:
    """``gymapi.X``, ``self.gym.f``, and fields of variables that were made as one of gymapi's structs."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        dotted = _dotted(node)
        if dotted is None:
            continue
        *before, attribute = dotted.split(".")
        resolved = names.resolved(dotted)
        if resolved is not None:
            if resolved.count(".") == 1 and resolved.split(".")[0] in MODULES:
                yield resolved, node.lineno
        elif ".".join(before) in names.structs:
            yield f"{names.structs['.'.join(before)]}.{attribute}", node.lineno
        elif before[-1] in names.gyms and not (names.other_gym and before == ["gym"]):
            if not attribute.startswith("_"):
                yield f"Gym.{attribute}", node.lineno


def _star_uses(tree: ast.AST, names: _Names) -> Iterator[Tuple[str, int]]:
    """Names that a file neither defines nor imports come from its star imports.

    They are counted as Isaac Gym's if no other package is star-imported too, or if the emulation has them.
    """
    if not names.stars:
        return
    own = set(dir(builtins)) | set(names.modules)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.arg):
            own.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            own.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            own.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            own.add(node.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in own and node.id not in (*MODULES, "np", "torch"):
            holders = [module for module in names.stars if is_covered(f"{module}.{node.id}")]
            if holders or not names.other_stars:
                yield f"{(holders or names.stars)[0]}.{node.id}", node.lineno


def is_covered(symbol: str) -> bool:
    """Whether the emulation has `symbol`, written as in :class:`Use`."""
    owner, name = symbol.split(".")
    if owner in MODULES:
        return hasattr(importlib.import_module(f"sb3_isaac.gymcompat.api.{owner}"), name)
    gymapi: Any = importlib.import_module("sb3_isaac.gymcompat.api.gymapi")
    struct = getattr(gymapi, owner, None)
    return struct is not None and (hasattr(struct, name) or name in getattr(struct, "_defaults", ()))


def table(result: Audit) -> str:
    """Symbols with their number of uses, those that are missing first and with their place, and the share covered."""
    symbols, missing = result.symbols(), result.missing()
    width = max((len(symbol) for symbol in symbols), default=0)
    lines = [f"{symbol:<{width}} {symbols[symbol]:>5}  not there: {use.file}:{use.line}"
             for symbol, use in missing.items()]
    lines += [f"{symbol:<{width}} {count:>5}" for symbol, count in symbols.items() if symbol not in missing]
    lines += [f"not read, no Python 3: {file}" for file in result.unread]
    covered, uses = len(symbols) - len(missing), sum(symbols.values())
    used = uses - sum(symbols[symbol] for symbol in missing)
    share = f"{100 * covered / len(symbols):.1f}%" if symbols else "none used"
    lines.append(f"{result.root}: {covered} of {len(symbols)} symbols covered, {share}; {used} of {uses} uses; "
                 f"{result.files} files")
    return "\n".join(lines)
