"""No two files of the package import each other in a circle, be it when called or for an annotation."""

from __future__ import annotations

import ast
from collections.abc import Container
from pathlib import Path

import networkx

import powergrid

PACKAGE = Path(powergrid.__file__).parent


def modules() -> dict[str, Path]:
    """Path of every module by its dotted name; templates are text for new files."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = ("powergrid", *file.relative_to(PACKAGE).with_suffix("").parts)
        if "templates" not in parts:
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


def imported(file: Path, known: Container[str]) -> set[str]:
    """Modules of the package that a file imports, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} imports by a relative name"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {name if name in known else str(node.module) for name in inner}
    return {name for name in names if name in known}


def test_no_circle_of_files():
    files = modules()
    graph = networkx.DiGraph()
    for name, file in files.items():
        graph.add_edges_from((name, other) for other in imported(file, files) if other != name)
    assert graph.has_edge("powergrid.networks.compose", "powergrid.networks.tables")
    assert graph.has_edge("powergrid.networks.studied", "powergrid.networks.flow_result")  # for an annotation only
    circles = {tuple(sorted(part)) for part in networkx.strongly_connected_components(graph) if len(part) > 1}
    assert not circles


def test_only_the_package_itself_names_version_1():
    """It calls the alias finder, which serves everything else."""
    faces = ("powergrid.v1", "powergrid.base_env", "powergrid.migration")
    naming = [name for name, file in modules().items() if "powergrid.v1" in file.read_text(encoding="utf-8")]
    assert "powergrid.migration" in naming
    assert [name for name in naming if not name.startswith(faces)] == ["powergrid"]
