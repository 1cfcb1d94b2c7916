"""The modules of src/ import each other in one direction, in the order of the table in docs/architecture.md."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
ARCHITECTURE = ROOT / "docs" / "architecture.md"


def modules():
    """The code of each module, by its path in the crate. Tests and the binaries are left out."""
    code = {}
    for path in SRC.rglob("*.rs"):
        module = path.relative_to(SRC).with_suffix("").parts
        if "tests" in module or module[0] in ("bin", "main", "lib"):
            continue
        text = re.split(r"^#\[cfg\(test\)\]\nmod tests", path.read_text(), flags=re.M)[0]
        code[module] = re.sub(r"//.*", "", text)
    return code


def paths_of(tree):
    """Every path that the tree of a `use` names."""
    match = re.fullmatch(r"\s*((?:\w+::)*)\{(.*)\}\s*", tree, re.S)
    if not match:
        return [tree.strip()]
    prefix, inner = match.groups()
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(inner + ","):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append(inner[start:place])
            start = place + 1
    return [prefix + path for part in parts if part.strip() for path in paths_of(part)]


def imported(code, module, path):
    """The module that a path leads to. None for another crate's."""
    parts = path.split("::")
    if parts[0] == "crate":
        parts, found = parts[1:], ()
    elif parts[0] == "super":
        parts, found = parts[1:], module[:-1]
    else:
        parts, found = parts[parts[0] == "self" :], module
    for part in parts:
        if found + (part,) not in code:
            break
        found += (part,)
    return found if found and found != module else None


def imports(code):
    graph = {}
    for module, text in code.items():
        trees = re.findall(r"^\s*(?:pub(?:\([^)]*\))? )?use ([^;]+);", text, re.M)
        paths = [path for tree in trees for path in paths_of(tree)]
        paths += re.findall(r"(?<![\w:])(?:[a-z_]+)(?:::\w+)+", text)
        graph[module] = {imported(code, module, path) for path in paths} - {None}
    return graph


def circle(graph):
    """One circle of imports, if there is one."""
    done, way = set(), []

    def walk(module):
        if module in way:
            return way[way.index(module) :] + [module]
        if module in done:
            return None
        way.append(module)
        found = next(filter(None, map(walk, sorted(graph[module]))), None)
        way.pop()
        done.add(module)
        return found

    return next(filter(None, map(walk, sorted(graph))), None)


def rows():
    """The first row of the table that names each top-level module."""
    table = ARCHITECTURE.read_text().split("| module | what it keeps |")[1].split("\n\n")[0]
    places = {}
    for number, line in enumerate(table.splitlines()[2:]):
        for name in re.findall(r"`(\w+)", line.split("|")[1]):
            places.setdefault(name, number)
    return places


class Imports(unittest.TestCase):
    def test_no_circle(self):
        graph = imports(modules())
        self.assertGreater(len(graph), 90)
        self.assertIn(("plan",), graph[("reconcile",)])
        self.assertIsNone(circle(graph))

    def test_circles_are_found(self):
        code = {("a",): "use crate::{x, b::{C, d::E}};", ("b",): "fn f() { super::g::h() }", ("g",): "", ("b", "d"): ""}
        self.assertIsNone(circle(imports(code)))
        for text in ["use crate::a::X;", "use super::{y, a::{self, X}};", "fn f() { crate::a::x() }"]:
            self.assertIsNotNone(circle(imports({**code, ("g",): text})), text)

    def test_modules_import_only_from_those_below_them(self):
        places, graph = rows(), imports(modules())
        pairs = {(module[0], other[0]) for module, others in graph.items() for other in others}
        self.assertEqual({name for pair in pairs for name in pair} - places.keys(), set(), "not in the table")
        self.assertEqual([pair for pair in sorted(pairs) if places[pair[1]] < places[pair[0]]], [])


if __name__ == "__main__":
    unittest.main()
