"""Render every page into _docs: python tools/docs.py (what `make docs` runs).

Quarto, if it is on PATH, goes by _quarto.yml; else Sphinx does, by tools/book/conf.py, with the
menus of the same _quarto.yml. Of what package registries hold, Sphinx with myst-nb and the theme of
the Jupyter Book served these notebooks best: search, equations and pictures need no network and no
server, links are checked, tests fold under their title, and 96 pages take 15 s and 40 MB
(mkdocs-jupyter: 40 s, 96 MB, equations from the network; quarto-cli and mystmd download the rest of
themselves from elsewhere). Here the pages are made ready for it: `#|` lines become its tags.
"""

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from export import page_number, pages
from markup import (
    code,
    definitions,
    directives,
    exported,
    load,
    menu,
    module_of,
    picture_alt,
    title,
)

TOOLS = Path(__file__).resolve().parent
BOOK = TOOLS / "book"
NOT_SHOWN = {"hide", "default_exp"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def is_import(node: ast.stmt) -> bool:
    "Also one that types alone need: `if TYPE_CHECKING`"
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return all(map(is_import, node.body))
    return isinstance(node, (ast.Import, ast.ImportFrom))


def only_imports(source: str) -> bool:
    return all(map(is_import, ast.parse(source).body))


def fold_title(said: dict[str, str], source: str) -> str:
    "What stands over a folded cell; empty for one that stays open"
    if "testsetup" in said:
        return "imports of the tests" if only_imports(source) else "shared by the tests"
    if "export" in said and only_imports(source):
        return "imports of the module"
    if "test" in said:
        return "test: " + said["test"].replace("_", " ")
    if said.get("code-fold") in ("true", "hide"):
        return said.get("code-summary", "code").strip("\"'")
    return ""


def code_cell(cell: dict) -> list[dict]:
    "A code cell for myst-nb, behind an anchor for each name it defines; nothing if it is hidden"
    said, source = directives(cell["source"]), code(cell["source"])
    if NOT_SHOWN & set(said) or said.get("include") == "false" or not source:
        return []
    tags = sorted({"export", "test", "testsetup"} & set(said))
    options = {"image": {"alt": picture_alt(said), "align": "left"}}
    if fold_title(said, source):
        tags.append("hide-input")
        options["code_prompt_show"] = options["code_prompt_hide"] = fold_title(said, source)
    if said.get("echo") == "false" or "hide_input" in said:
        tags.append("remove-input")
    if said.get("output") == "false" or "hide_output" in said:
        tags.append("remove-output")
    ready = cell | {"source": source, "metadata": {"tags": tags, "mystnb": options}}
    names = sorted(exported(cell))
    anchors = "".join(f'<span id="{name}"></span>' for name in names)
    return [markdown_cell(anchors, cell["id"] + "-names"), ready] if names else [ready]


def markdown_cell(text: str, name: str) -> dict:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text}


def where(page: Path, book: dict) -> str:
    "The line under a page's title: its number, its module, its notebook"
    number, module = page_number(page), module_of(book)
    parts = [f"page {number}"] if number is not None else []
    if module:
        parts.append(f"module <code>culturespa.{module}</code>")
    parts.append(f'<a href="_sources/{page.name}" download>notebook</a>')
    return f'<p class="where">{" · ".join(parts)}</p>'


def inside(text: str) -> str:
    "Markdown without links to files that the site does not hold: their words stay"
    return re.sub(r"(?<!!)\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)


def ready_page(page: Path, book: dict) -> dict:
    "A notebook for myst-nb"
    cells = []
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cells += code_cell(cell)
        else:
            cells.append(cell | {"source": inside(cell["source"])})
    first = next(cell for cell in cells if cell["cell_type"] == "markdown")
    heading, _, rest = first["source"].partition("\n")
    first["source"] = f"{heading}\n\n{where(page, book)}\n\n{rest}"
    python = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": python, "cells": cells}


def menus(root: Path) -> str:
    "The menus of _quarto.yml as Sphinx reads them, the reference at their end"
    parts = []
    for section, entries in [*menu(root), ("Reference", ["reference"])]:
        names = [Path(entry).stem for entry in entries if Path(entry).stem != "index"]
        head = ["```{toctree}", ":hidden:", f":caption: {section}", ""]
        parts.append("\n".join([*head, *names, "```"]))
    return "\n\n".join(parts)


def called(node: ast.AST) -> str:
    "What follows a name: its parameters, or the value it stands for"
    if isinstance(node, ast.ClassDef):
        fields = [item.target.id for item in node.body if isinstance(item, ast.AnnAssign)]
        return f"({', '.join(fields)})"
    if isinstance(node, FUNCTIONS):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"({ast.unparse(node.args)}){returns}"
    value = ast.unparse(node.value) if node.value else "..."
    return f"= {value if len(value) <= 60 else value[:57] + '...'}"


def said_of(node: ast.AST) -> str:
    "A docstring as Markdown in which nothing but `code` is markup"
    says = ast.get_docstring(node) if isinstance(node, (ast.ClassDef, *FUNCTIONS)) else None
    parts = re.split(r"(`[^`]+`)", " ".join((says or "").split()))
    parts[::2] = [re.sub(r"([*_$<\[\\])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def entry(name: str, node: ast.AST, page: Path) -> str:
    "A name of the reference: linked, how it is called, its docstring"
    term = f"[`{name}`]({page.name}#{name}) `{called(node)}`"
    says = said_of(node)
    return f"{term}\n: {says}" if says else f"{term}\n: a constant"


def reference(books: dict[Path, dict]) -> str:
    "One page that lists every public name, page by page"
    parts = ["# Reference", "> Every public name: how it is called, what it does, where it is made"]
    for page, book in books.items():
        found = {}
        for cell in book["cells"]:
            found |= exported(cell)
        if found:
            parts.append(f"## culturespa.{module_of(book)}")
            parts.append(f"On page [{title(book)}]({page.name}).")
            parts += [entry(name, node, page) for name, node in found.items()]
    return "\n\n".join(parts) + "\n"


def listed(root: Path) -> dict[Path, dict]:
    "Pages that are there, in the menus' order"
    entries = [root / entry for _, part in menu(root) for entry in part]
    return {page: load(page) for page in entries if page.exists()}


def stage(root: Path, folder: Path) -> dict[Path, dict]:
    "Write all that Sphinx reads into `folder`"
    books = listed(root)
    if (root / "nbs/images").exists():
        shutil.copytree(root / "nbs/images", folder / "images")
    for page, book in books.items():
        ready = ready_page(page, book)
        if page.stem == "index":
            ready["cells"].append(markdown_cell(menus(root), "menus"))
        (folder / page.name).write_text(json.dumps(ready), encoding="utf-8")
    (folder / "reference.md").write_text(reference(books), encoding="utf-8")
    return books


def description(book: dict) -> str:
    "A page in a sentence: what its first quotation says"
    texts = [cell["source"] for cell in book["cells"] if cell["cell_type"] == "markdown"]
    found = re.search(r"^>\s*(.+(?:\n>.*)*)", "\n\n".join(texts), re.M)
    words = re.sub(r"\]\([^)]*\)|[\[`*>]", "", found[1]) if found else ""
    return " ".join(words.split())


def render(root: Path, out: Path) -> int:
    "All listed pages as HTML files in `out`. Raises `RuntimeError` if Sphinx warns of anything"
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "pages"
        source.mkdir()
        books = stage(root, source)
        names = {page.stem: sorted(definitions(book)) for page, book in books.items()}
        said = {page.stem: description(book) for page, book in books.items()}
        warnings = (Path(folder) / "warnings").open("w+")
        with patch_docutils(BOOK), docutils_namespace():  # a second site knows nothing of the first
            app = Sphinx(
                srcdir=source,
                confdir=BOOK,
                outdir=out,
                doctreedir=Path(folder) / "doctrees",
                buildername="html",
                confoverrides={"names_of_page": names, "page_descriptions": said},
                status=None,
                warning=warnings,
            )
            app.build()
        warnings.seek(0)
        warned = warnings.read().replace(f"{source}{os.sep}", "").strip()
    if warned or app.statuscode:
        raise RuntimeError(warned)
    for page in books:
        shutil.copy(page, out / "_sources")  # the notebook itself, to download
    return len(books)


def quarto(root: Path):
    "The site by Quarto, which needs nbdev's filter on its PATH"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if subprocess.run(["quarto", "render"], cwd=root, env=os.environ | {"PATH": path}).returncode:
        sys.exit("docs: quarto failed")
    start = '<meta http-equiv="refresh" content="0; url=nbs/index.html">'
    (root / "_docs/index.html").write_text(start)
    return len(pages(root))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=TOOLS.parent, help="the checkout to render")
    parser.add_argument("--out", type=Path, help="folder to write (default: _docs of the checkout)")
    given = parser.parse_args()
    root = given.root.resolve()
    out = (given.out or root / "_docs").resolve()
    if shutil.which("quarto") and not given.out:
        number = quarto(root)
    else:
        try:
            number = render(root, out)
        except RuntimeError as error:
            sys.exit(f"docs: Sphinx warns:\n{error}")
    print(f"docs: {number} pages, open {out}/index.html")


if __name__ == "__main__":
    main()
