"""How densely code is written, per module: python tools/density.py [FOLDER...]

`make check` prints its last line, about the package.

Density is the number of syntax nodes per line of a function, blank lines and comments counted;
functions of fewer than six lines are left out. A module's density is the median of its
functions'. Also counted: lines, lines over 100 characters, and compound statements on one line.
Whoever reads a dense module wants it spread out, not shortened.
"""

import argparse
import ast
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parent

MEDIAN = 9  # nodes a line, over all functions of the package
DENSEST = 12  # nodes a line, of any module
LONGEST = 500  # lines of a module; from 400 on, look for a second subject
STRICT = True  # True: what is beyond these limits fails `make check`; False: it is only said

SHORT = 6  # functions of fewer lines are not measured
WIDE = 100  # characters of a line

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPOUNDS = (ast.If, ast.For, ast.While, ast.With, ast.Try)


@dataclass
class Module:
    name: str
    lines: int
    densities: list[float]  # of every function that is long enough
    wide: int  # lines of more than `WIDE` characters
    compounds: int  # statements with their body on the same line

    @property
    def density(self) -> float:
        "The median of its functions; 0 if it has none"
        return statistics.median(self.densities) if self.densities else 0


def length(node: ast.AST) -> int:
    "Lines from the first to the last"
    return node.end_lineno - node.lineno + 1


def density(function: ast.AST) -> float:
    "Syntax nodes per line"
    nodes = list(ast.walk(function))
    return len(nodes) / length(function)


def is_wide(line: str) -> bool:
    "Too wide, and written by a person: nbdev writes the list of a module's names on its own"
    by_nbdev = line.startswith(("__all__", " " * 11 + "'"))
    return len(line) > WIDE and not by_nbdev


def measured(path: Path) -> Module:
    "One module, read"
    text = path.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    functions = [node for node in nodes if isinstance(node, FUNCTIONS)]
    compounds = [node for node in nodes if isinstance(node, COMPOUNDS)]
    lines = text.splitlines()
    return Module(
        name=path.name,
        lines=len(lines),
        densities=[density(function) for function in functions if length(function) >= SHORT],
        wide=sum(is_wide(line) for line in lines),
        compounds=sum(node.body[0].lineno == node.lineno for node in compounds),
    )


def modules(folders: list[Path]) -> list[Module]:
    "All modules of some folders, but for nbdev's index of names"
    found = []
    for folder in folders:
        paths = [path for path in folder.rglob("*.py") if path.name != "_modidx.py"]
        found += [measured(path) for path in sorted(paths)]
    return found


def overall(found: list[Module]) -> float:
    "The median of all functions"
    every = []
    for module in found:
        every += module.densities
    return statistics.median(every) if every else 0


def summary(found: list[Module]) -> str:
    "One line about all modules"
    densest = max(found, key=lambda module: module.density)
    longest = max(found, key=lambda module: module.lines)
    wide = sum(module.wide for module in found)
    compounds = sum(module.compounds for module in found)
    return (
        f"median {overall(found):.1f}, densest {densest.name} {densest.density:.1f}, "
        f"longest {longest.name} {longest.lines}, over {WIDE}: {wide}, "
        f"one-line compounds: {compounds}"
    )


def beyond(found: list[Module]) -> list[str]:
    "What is beyond the limits"
    said = []
    median = overall(found)
    if median > MEDIAN:
        said.append(f"a function has {median:.1f} nodes a line (median), the limit is {MEDIAN}")
    for module in found:
        if module.density > DENSEST:
            said.append(
                f"{module.name} has {module.density:.1f} nodes a line, the limit is {DENSEST}"
            )
        if module.lines > LONGEST:
            said.append(f"{module.name} has {module.lines} lines, the limit is {LONGEST}")
    return said


def report(module: Module) -> str:
    "One line about a module"
    return (
        f"{module.name:24} {module.lines:5} lines  {module.density:5.1f} nodes/line  "
        f"{module.wide:4} over {WIDE}  {module.compounds:4} one-line compounds"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="*", type=Path, help="default: the package")
    given = parser.parse_args()
    found = modules(given.folder or [TOOLS.parent / "culturespa"])
    if not found:
        sys.exit("density: no Python files there")
    for module in found:
        print(report(module))
    print(summary(found))


if __name__ == "__main__":
    main()
