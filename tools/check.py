"""Everything that must agree: python tools/check.py (what `make check` runs).

One line per thing that does not.

Pages parse and are clean; package and tests are what the pages export, nothing is orphaned or
missing from git; pages import earlier pages only; menus and pages match; links and anchors lead
somewhere; locked versions and hashes agree; every promise of SECURITY.md has its test; README.md is
index.ipynb; stored outputs hold no errors, warnings, temporary paths or addresses; every picture is
described in words; and, where the authors' release is at hand (in ../shared/release, or where
CULTURESPA_RELEASE says), nothing tracked holds a question text of the survey.
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
import tomllib
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import density
from export import generated, origin, page_number, pages
from markup import (
    code,
    definitions,
    directives,
    links_and_anchors,
    load,
    menu,
    module_of,
    page_markdown,
    picture_alt,
    pictures_without_words,
    split_target,
)

TOOLS = Path(__file__).resolve().parent
PACKAGE = "culturespa"
KEPT_OUT = re.compile(
    r"(^|/)(\.venv|\.git|_docs|_proc|runs|build|dist|__pycache__|[^/]*\.egg-info|\.[a-z_]+)(/|$)"
)
UNSTABLE = {
    r"\bat 0x[0-9a-f]{6,}": "a memory address",
    r"/tmp/\w": "a temporary path",
    r"\d+%\|[ █▏▎▍▌▋▊▉#]+\|": "a progress bar",
}


def readable(root: Path):
    "Pages that are notebooks: path and content; the others are for `notebooks_parse` to report"
    for page in pages(root):
        try:
            yield page, load(page)
        except (ValueError, KeyError, TypeError):
            pass


def git_lists(root: Path, *arguments: str) -> list[str]:
    "What `git ls-files` says, nothing outside of a checkout"
    command = ["git", "ls-files", "-z", *arguments]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return [name for name in answer.stdout.split("\0") if name] if answer.returncode == 0 else []


def tracked(root: Path) -> list[Path]:
    "Files in git; in a folder that is not a checkout, all files but environments, runs and caches"
    listed = git_lists(root)
    if listed:
        paths = [root / name for name in listed]
        return [path for path in paths if path.is_file()]
    found = []
    for path in sorted(root.rglob("*")):
        inside = str(path.relative_to(root))
        if path.is_file() and not KEPT_OUT.search(inside):
            found.append(path)
    return found


def notebooks_parse(root):
    import nbformat

    for page in pages(root):
        try:
            nbformat.validate(nbformat.read(page, as_version=4))
        except Exception as error:
            why = str(error).splitlines()[0]
            yield f"nbs/{page.name}: is not a valid notebook: {why}"
            continue
        seen = [cell.get("id") for cell in load(page)["cells"]]
        if len(seen) != len(set(seen)):
            yield f"nbs/{page.name}: two cells have the same id"


def notebooks_clean(root):
    from execnb.nbio import nb2str
    from nbdev.clean import _nbdev_clean
    from nbdev.config import get_config

    os.chdir(root)
    get_config.cache_clear()
    for page, _ in readable(root):
        text = page.read_text(encoding="utf-8")
        book = json.loads(text)
        _nbdev_clean(book)
        if nb2str(book) != text:
            yield f"nbs/{page.name}: is not clean: run `nbdev_clean --fname nbs/{page.name}`"


def copy_without_exports(root: Path, copy: Path):
    "Pages and what is written by hand, so that an export starts from nothing"
    for part in ("nbs", PACKAGE, "tests"):
        (copy / part).mkdir(parents=True)
        sources = [*(root / part).glob("*.py"), *(root / part).glob("*.ipynb")]
        for path in sources:
            shutil.copy(path, copy / part)
    shutil.copy(root / "settings.ini", copy)
    for path in [*generated(copy, PACKAGE), copy / PACKAGE / "_modidx.py"]:
        path.unlink(missing_ok=True)


def made_by_export(root: Path) -> set[str]:
    "Modules, by hand or not, and generated tests, as paths from the root"
    modules = [path.name for path in (root / PACKAGE).glob("*.py")]
    tests = [path.name for path in generated(root, PACKAGE) if path.parent.name == "tests"]
    return {f"{PACKAGE}/{name}" for name in modules} | {f"tests/{name}" for name in tests}


BY_HAND = ("__init__.py", "__main__.py")  # the package's door


def why_out_of_step(name: str, ours: Path, fresh: Path) -> str | None:
    "What is wrong with a file, held against a fresh export; None if nothing"
    if not ours.exists():
        return "is missing; run `make export`"
    if ours.name in BY_HAND:
        return None
    if not fresh.exists():
        page = origin(ours)
        return (
            f"is an orphan: {page} does not make it" if page else "is an orphan: no page makes it"
        )
    if fresh.name != "_modidx.py" and not origin(fresh):
        return "is an orphan: no page makes it"
    if ours.read_bytes() != fresh.read_bytes():
        return "is not what its page exports; run `make export`"
    return None


def exports_in_step(root):
    "Export a copy from nothing and compare"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / root.name
        copy_without_exports(root, copy)
        command = [sys.executable, TOOLS / "export.py", "--root", copy]
        run = subprocess.run(command, capture_output=True, text=True)
        yield from run.stderr.strip().splitlines()
        for name in sorted(made_by_export(root) | made_by_export(copy)):
            why = why_out_of_step(name, root / name, copy / name)
            if why:
                yield f"{name}: {why}"


def nothing_untracked(root):
    if not (root / ".git").exists():
        return
    places = ["nbs", PACKAGE, "tests", "tools", "data"]
    for path in git_lists(root, "--others", "--exclude-standard", "--", *places):
        yield f"{path}: is not in git: add it or remove it"


def names_imported(node: ast.AST, modules) -> list[str]:
    "What one statement or call imports, in whatever way"
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            base = f"{PACKAGE}.{base}" if base else PACKAGE
        if base != PACKAGE:
            return [base]
        return [f"{base}.{alias.name}" for alias in node.names if alias.name in modules]
    if isinstance(node, ast.Call) and node.args:
        called = ast.unparse(node.func)
        if called.endswith(("import_module", "__import__")):
            return [str(getattr(node.args[0], "value", ""))]
    return []


def imports(tree, modules):
    "Modules of the package that code imports"
    for node in ast.walk(tree):
        for name in names_imported(node, modules):
            package, *rest = name.split(".")
            if package == PACKAGE and rest and not rest[0].startswith("_"):
                yield rest[0]


def code_cells(book: dict):
    "Number and source of every code cell, without magics; cells that do not parse are left out"
    for number, cell in enumerate(book["cells"], 1):
        if cell["cell_type"] == "code":
            lines = code(cell["source"]).split("\n")
            source = "\n".join(line for line in lines if not re.match(r"\s*[%!]", line))
            try:
                yield number, ast.parse(source)
            except SyntaxError:
                pass


def is_later(made: Path, page: Path) -> bool:
    "Whether a page uses one that comes after it; a page without a number may use any"
    here = page_number(page)
    return made != page and here is not None and (page_number(made) or 0) >= here


def imports_go_back(root):
    "A page imports only modules of pages with lower numbers (a page without a number, any)"
    books = dict(readable(root))
    made = {module_of(book): page for page, book in books.items()}
    for page, book in books.items():
        for number, tree in code_cells(book):
            where = f"nbs/{page.name}, cell {number}"
            for module in sorted(set(imports(tree, made))):
                what = f"{where}: imports {PACKAGE}.{module}"
                if module not in made:
                    yield f"{what}, which no page makes"
                elif is_later(made[module], page):
                    yield f"{what} of the later page {made[module].name}"


def menus_complete(root):
    listed = []
    for _, entries in menu(root):
        listed += entries
    there = {f"nbs/{page.name}" for page in pages(root)}
    twice = {entry for entry in listed if listed.count(entry) > 1}
    for page in sorted(there - set(listed)):
        yield f"{page}: is not in the menus of _quarto.yml"
    for entry in sorted(set(listed) - there):
        yield f"_quarto.yml: menu entry {entry} has no page"
    for entry in sorted(twice):
        yield f"_quarto.yml: {entry} is listed twice"


def prose(root: Path) -> dict[Path, str]:
    "All Markdown: files and pages"
    files = [path for path in tracked(root) if path.suffix == ".md"]
    texts = {path.resolve(): path.read_text(encoding="utf-8") for path in files}
    for page, book in readable(root):
        texts[page.resolve()] = page_markdown(book)
    return texts


def why_dead(link: str, path: Path, root: Path, anchors: dict[Path, set[str]]) -> str | None:
    "What is wrong with a link; None if nothing, or if it leads out of the project's files"
    target, anchor = split_target(link)
    if not target and not anchor:
        return None
    where = (path.parent / target).resolve() if target else path
    if not where.is_relative_to(root.resolve()):
        return f"link {link} leaves the project"
    if not where.exists():
        return f"dead link {link}"
    if anchor and where in anchors and anchor not in anchors[where]:
        return f"{link} has no such anchor"
    return None


def links_alive(root):
    links, anchors = {}, {}
    for path, text in prose(root).items():
        links[path], anchors[path] = links_and_anchors(text)
    for page, book in readable(root):
        anchors[page.resolve()] |= definitions(book)
    for path in sorted(links):
        name = path.relative_to(root.resolve())
        for link in dict.fromkeys(links[path]):
            why = why_dead(link, path, root, anchors)
            if why:
                yield f"{name}: {why}"


def readme_in_step(root):
    from readme import render

    if not (root / "nbs/index.ipynb").exists():
        return
    try:
        text, pictures = render(root)
    except (ValueError, KeyError) as error:
        yield f"nbs/index.ipynb: cannot become README.md: {error}"
        return
    files = {"README.md": text.encode(), **pictures}
    for path, fresh in files.items():
        if not (root / path).exists():
            yield f"{path}: is missing; run `make readme`"
        elif (root / path).read_bytes() != fresh:
            yield f"{path}: is not what nbs/index.ipynb holds; run `make readme`"


def output_text(output: dict) -> str:
    "All that a stored output says in words"
    data = output.get("data", {})
    texts = [value for kind, value in data.items() if kind.startswith("text")]
    return output.get("text", "") + "".join(text for text in texts if isinstance(text, str))


def faults(output: dict):
    "Errors, warnings and what differs from run to run, in one stored output"
    text = output_text(output)
    if output["output_type"] == "error":
        what = f"is an error: {output['ename']}: {output['evalue']}"
        yield what.split("\n")[0]
    elif "Traceback (most recent call last)" in text:
        yield "holds a traceback"
    elif output.get("name") == "stderr":
        first = text.strip().splitlines()[:1]
        yield f"holds a warning or progress (stderr): {first}"
    for pattern, what in UNSTABLE.items():
        if re.search(pattern, text):
            yield f"holds {what}"


def outputs_sound(root):
    for page, book in readable(root):
        for number, cell in enumerate(book["cells"], 1):
            for output in cell.get("outputs", []):
                for fault in faults(output):
                    yield f"nbs/{page.name}, cell {number}: stored output {fault}"


def is_picture(output: dict) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def pictures_described(root):
    "Who cannot see a picture is told what it shows"
    for page, book in readable(root):
        for number, cell in enumerate(book["cells"], 1):
            drawn = any(is_picture(output) for output in cell.get("outputs", []))
            if drawn and not picture_alt(directives(cell["source"])):
                yield (
                    f"nbs/{page.name}, cell {number}: a picture without words: "
                    "say what it shows in a line `#| fig-alt: ...` at the cell's top"
                )
            if picture_alt(directives(cell["source"])) and not drawn:
                yield f"nbs/{page.name}, cell {number}: its words are there and its picture is not"
    for path, text in prose(root).items():
        for link in pictures_without_words(text):
            name = path.relative_to(root.resolve())
            yield f"{name}: the picture {link} has no words between its brackets"


def plain(text: str) -> str:
    "Letters and digits only, so that line breaks, quotes and escapes do not hide a text"
    return re.sub(r"[\W_]+", " ", text.lower()).strip()


def strings(value):
    "All strings in JSON data"
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        items = value.values() if isinstance(value, dict) else value
        for item in items:
            yield from strings(item)


def notebook_text(page: Path) -> str:
    "Sources and outputs of a notebook. Raises `ValueError` or `KeyError` if it is none"
    parts = []
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        parts.append("".join(cell["source"]))
        for output in cell.get("outputs", []):
            parts.append("".join(output.get("text", "")))
            for value in output.get("data", {}).values():
                parts.append("".join(value) if isinstance(value, list) else str(value))
    return "\n".join(parts)


def file_text(path: Path) -> str:
    "What a reader would find in a file, notebooks, JSON and Parquet included"
    if path.suffix == ".ipynb":
        try:
            return notebook_text(path)
        except (ValueError, KeyError):
            pass
    if path.suffix == ".parquet":
        import pandas as pd

        return pd.read_parquet(path).to_csv(index=False)
    text = path.read_text(encoding="utf-8", errors="ignore")
    if path.suffix == ".json":
        try:
            return "\n".join([text, *strings(json.loads(text))])
        except ValueError:
            pass
    return text


def survey_texts(release: Path) -> dict[str, str]:
    "Beginnings of the survey's questions, where the authors' release is at hand: text -> id"
    found = sorted(release.rglob("wvs_questions.json")) if release.exists() else []
    if not found:
        return {}
    items = json.loads(found[0].read_text(encoding="utf-8"))
    long = [item for item in items if len(item["question"]) >= 30]
    return {plain(item["question"])[:40]: item["Q_id"] for item in long}


def release_kept_out(root, release: Path | None = None):
    "No question text of the survey (30 characters or more; the first 40 count) in what is tracked"
    named = os.environ.get("CULTURESPA_RELEASE")
    texts = survey_texts(release or Path(named or root.parent / "shared" / "release"))
    if not texts:
        return
    looked = {*tracked(root), *pages(root)}
    for path in sorted(looked):
        if path.suffix in (".png", ".safetensors", ".lock"):
            continue
        said = plain(file_text(path))
        hits = [question for text, question in texts.items() if text in said]
        if hits:
            yield (
                f"{path.relative_to(root)}: holds survey question texts, "
                f"which may not be passed on: {', '.join(hits[:5])}"
            )


def code_sound(root):
    "Undefined names and the like, by ruff"
    if not (root / "pyproject.toml").exists():
        return
    command = [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format=concise", "."]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    said = run.stdout.strip().splitlines()
    if run.returncode and not said:
        said = run.stderr.strip().splitlines()[:1]
    yield from said


# libraries that the package needs but never imports itself
BEHIND_THE_SCENES = {
    "accelerate": "transformers trains with it",
    "safetensors": "transformers reads weights with it",
    "bitsandbytes": "transformers loads weights in 4 and 8 bits with it",
}


def declared(root: Path) -> dict[str, set[str]]:
    "Extra -> distributions that pyproject.toml asks for, '' being those everybody gets; no `dev`"
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {"": project.get("dependencies", ()), **project.get("optional-dependencies", {})}
    asked.pop("dev", None)  # what pages, tests and tools need
    found = {}
    for extra, lines in asked.items():
        names = [re.match(r"[\w.-]+", line)[0] for line in lines]
        found[extra] = {name.lower().replace("_", "-") for name in names} - {PACKAGE}
    return found


def outside_functions(tree: ast.AST):
    "The statements that run when a module is imported"
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not lazy and not for_types:
            waiting += ast.iter_child_nodes(node)


def imported(root: Path, nodes=ast.walk) -> dict[str, str]:
    "Distribution -> a module of the package that imports it, in one of the nodes"
    distributions = metadata.packages_distributions()
    found = {}
    for path in sorted((root / PACKAGE).glob("*.py")):
        for node in nodes(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top != PACKAGE:
                    distribution = distributions.get(top, [top])[0]
                    found[distribution.lower().replace("_", "-")] = path.name
    return found


def dependencies_agree(root):
    "What pyproject.toml declares is what the package imports; what is in extras waits for its use"
    if not (root / "pyproject.toml").exists():
        return []
    extras, used = declared(root), imported(root)
    asked = set().union(*extras.values())
    said = [f"pyproject.toml: {name} is imported by {used[name]} and not declared"
            for name in sorted(used.keys() - asked)]
    unused = asked - used.keys() - BEHIND_THE_SCENES.keys()
    said += [f"pyproject.toml: {name} is declared and never imported" for name in sorted(unused)]
    at_once = imported(root, outside_functions)
    early = (asked - extras[""]) & at_once.keys()
    return said + [f"{at_once[name]}: {name} is imported at the top, and only an extra "
                   "brings it: import it in the function that needs it" for name in sorted(early)]


def hashes_agree(root):
    "Every package with a hash has the version of the lock"
    lock, hashed = root / "requirements.lock", root / "requirements.hashes"
    if not (lock.exists() and hashed.exists()):
        return
    locked = set(lock.read_text(encoding="utf-8").splitlines())
    for line in hashed.read_text(encoding="utf-8").splitlines():
        pinned, _, digest = line.partition(" --hash=sha256:")
        if line.startswith("#"):
            continue
        if pinned not in locked:
            yield f"requirements.hashes: {pinned} is not in requirements.lock: run `make lock`"
        if not re.fullmatch("[0-9a-f]{64}", digest):
            yield f"requirements.hashes: {pinned} has no hash: run `make lock`"


def promises_kept(root):
    "Every test that SECURITY.md names is there, and every promise names one"
    page = root / "SECURITY.md"
    if not page.exists():
        return
    for line in page.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| ") or line.startswith(("| ---", "| promise")):
            continue
        named = re.findall(r"`(tests/\w+\.py)::(test_\w+)`", line)
        if not named:
            yield f"SECURITY.md: no test holds this promise: {line[2:60]}..."
        for file, test in named:
            path = root / file
            source = path.read_text(encoding="utf-8") if path.exists() else ""
            if not re.search(rf"^def {test}\(", source, re.M):
                yield f"SECURITY.md: {file} has no {test}"


def code_breathes(root):
    "No module denser or longer than tools/density.py allows, once its limits are strict"
    if density.STRICT:
        yield from density.beyond(density.modules([root / PACKAGE]))


CHECKS = [
    notebooks_parse,
    notebooks_clean,
    exports_in_step,
    nothing_untracked,
    imports_go_back,
    menus_complete,
    links_alive,
    readme_in_step,
    outputs_sound,
    pictures_described,
    release_kept_out,
    code_sound,
    dependencies_agree,
    hashes_agree,
    promises_kept,
    code_breathes,
]


def say_density(root: Path):
    "The package's density in a line; a warning while its limits are not strict"
    found = density.modules([root / PACKAGE])
    if not found:
        return
    print(f"density: {density.summary(found)}")
    said = density.beyond(found)
    if said and not density.STRICT:
        print(f"density: warning: {len(said)} beyond the limits, such as: {said[0]}")


def main():
    names = [check.__name__ for check in CHECKS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=TOOLS.parent, help="the checkout to look at")
    parser.add_argument("only", nargs="*", metavar="CHECK", help="some of: " + ", ".join(names))
    given = parser.parse_args()
    unknown = set(given.only) - set(names)
    if unknown:
        parser.error(f"no check called {', '.join(unknown)}; there are {', '.join(names)}")
    root = given.root.resolve()
    problems = []
    for check in CHECKS:
        if not given.only or check.__name__ in given.only:
            problems += check(root)
    for line in problems:
        print(line)
    if not given.only:
        say_density(root)
    agree = f"check: {len(pages(root))} pages, everything agrees"
    print(f"check: {len(problems)} to mend" if problems else agree)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
