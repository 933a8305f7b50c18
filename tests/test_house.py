"""The rules of the house, read from the source: imports go down, cfg stops at the front doors, run/ alone writes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fourier_robust"
FLOORS = {
    "errors": 0,
    "fourier": 1,
    "metric": 1,
    "dataset": 1,
    "run": 1,
    "arch": 1,
    "optim": 1,
    "score": 1,
    "aug": 2,
    "reg": 2,
    "corruption": 2,
    "attack": 2,
    "engine": 3,
    "suite": 4,
    "report": 4,
    "config": 5,
    "usage": 5,
    "cli": 5,
    "subject": 5,
    "api": 5,
    "train": 5,
    "evaluate": 5,
    "reporting": 5,
    "sweeping": 5,
    "status": 5,
    "doctor": 5,
    "plugins": 5,
    "checkup": 4,
}
ISOLATED = {"arch": {"fourier"}, "optim": set(), "fourier": set(), "metric": set()}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "conf" not in path.relative_to(PACKAGE).parts)
WRITES = {"write_text", "write_bytes", "mkdir", "to_csv", "unlink", "rename", "imsave"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    for module in imports(path):
        if not module.startswith("fourier_robust."):
            continue
        there = module.split(".")[1]
        assert FLOORS[there] <= FLOORS[here], f"{path.name} (floor {FLOORS[here]}) imports {module}"
        if here in ISOLATED and there not in (here, "errors"):
            assert there in ISOLATED[here], f"{here}/ may not import {there}/"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_config_stops_at_the_front_doors(path: Path) -> None:
    below = FLOORS.get(room(path), 0) < 5
    used = [module for module in imports(path) if module.split(".")[0] in ("hydra", "omegaconf")]
    assert not (below and used), f"{path.name} imports {used}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_run_writes(path: Path) -> None:
    if room(path) == "run":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        assert name not in WRITES, f"{path.name}:{node.lineno} calls {name}"
        written = [arg.value for arg in node.args[1:2] if isinstance(arg, ast.Constant)] if name == "open" else []
        assert not any(set(str(mode)) & set("wax+") for mode in written), f"{path.name}:{node.lineno} opens for writing"
        if name == "save":  # torch.save, np.save, figure.save
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            assert getattr(owner, "id", "") not in ("torch", "np", "numpy"), f"{path.name}:{node.lineno} saves"


def test_no_circles() -> None:
    """Within a floor, rooms that import each other must not form a circle."""
    edges: dict[str, set[str]] = {}
    for path in FILES:
        for module in imports(path):
            if module.startswith("fourier_robust.") and module.split(".")[1] != room(path):
                edges.setdefault(room(path), set()).add(module.split(".")[1])
    state: dict[str, int] = {}

    def visit(node: str) -> None:
        assert state.get(node) != 1, f"a circle of imports runs through {node}"
        if state.get(node) == 2:
            return
        state[node] = 1
        for other in edges.get(node, ()):
            visit(other)
        state[node] = 2

    for node in list(edges):
        visit(node)


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in FILES} - {"__init__"} <= FLOORS.keys()
