"""Everything that must agree, one line per thing that does not: python tools/check.py (what `make check` runs).

Pages parse and are clean; package and tests are what the pages export, nothing is orphaned or missing from git; pages
import earlier pages only; menus and pages match; links and anchors lead somewhere; README.md is index.ipynb; stored
outputs hold no errors, warnings, temporary paths or addresses; and, where the authors' release is at hand (in
../shared/release, or where CULTURESPA_RELEASE says), nothing tracked holds a question text of the survey.
"""

import argparse, ast, json, os, re, shutil, subprocess, sys, tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from export import generated, origin, page_number, pages
from markup import (
    code,
    definitions,
    directives,
    links_and_anchors,
    load,
    menu,
    page_markdown,
    split_target,
)

TOOLS = Path(__file__).resolve().parent
PACKAGE = "culturespa"
KEPT_OUT = re.compile(
    r"(^|/)(\.venv|\.git|_docs|_proc|runs|build|dist|__pycache__|[^/]*\.egg-info|\.[a-z_]+)(/|$)"
)


def readable(root: Path):
    "Pages that are notebooks: path and content; the others are for `notebooks_parse` to report"
    for page in pages(root):
        try:
            yield page, load(page)
        except (ValueError, KeyError, TypeError):
            pass


def tracked(root: Path) -> list[Path]:
    "Files in git; in a folder that is not a checkout, all files but environments, runs and caches"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return [root / p for p in listed.stdout.split("\0") if p and (root / p).is_file()]
    return [
        p
        for p in sorted(root.rglob("*"))
        if p.is_file() and not KEPT_OUT.search(str(p.relative_to(root)))
    ]


def notebooks_parse(root):
    import nbformat

    for page in pages(root):
        try:
            nbformat.validate(nbformat.read(page, as_version=4))
        except Exception as error:
            yield f"nbs/{page.name}: is not a valid notebook: {str(error).splitlines()[0]}"
            continue
        seen = [c.get("id") for c in load(page)["cells"]]
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


def exports_in_step(root):
    "Export a copy from nothing and compare"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / root.name
        for part in ("nbs", PACKAGE, "tests"):
            (copy / part).mkdir(parents=True)
            for path in [*(root / part).glob("*.py"), *(root / part).glob("*.ipynb")]:
                shutil.copy(path, copy / part)
        shutil.copy(root / "settings.ini", copy)
        for path in [*generated(copy, PACKAGE), copy / PACKAGE / "_modidx.py"]:
            path.unlink(missing_ok=True)
        run = subprocess.run(
            [sys.executable, TOOLS / "export.py", "--root", copy], capture_output=True, text=True
        )
        yield from run.stderr.strip().splitlines()
        modules = {p.name for r in (root, copy) for p in (r / PACKAGE).glob("*.py")}
        tests = {
            p.name for r in (root, copy) for p in generated(r, PACKAGE) if p.parent.name == "tests"
        }
        for name in [
            *(f"{PACKAGE}/{m}" for m in sorted(modules)),
            *(f"tests/{t}" for t in sorted(tests)),
        ]:
            ours, fresh = root / name, copy / name
            if not ours.exists():
                yield f"{name}: is missing; run `make export`"
            elif not fresh.exists():
                yield f"{name}: is an orphan: " + (
                    f"{origin(ours)} does not make it" if origin(ours) else "no page makes it"
                )
            elif name != f"{PACKAGE}/__init__.py" and not (
                origin(fresh) or fresh.name == "_modidx.py"
            ):
                yield f"{name}: is an orphan: no page makes it"
            elif ours.read_bytes() != fresh.read_bytes():
                yield f"{name}: is not what its page exports; run `make export`"


def nothing_untracked(root):
    if not (root / ".git").exists():
        return
    places = ["nbs", PACKAGE, "tests", "tools", "data"]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard", "--", *places],
        cwd=root,
        capture_output=True,
        text=True,
    ).stdout
    for path in filter(None, listed.split("\0")):
        yield f"{path}: is not in git: add it or remove it"


def imports(tree, modules):
    "Modules of the package that code imports, in whatever way"
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (
                PACKAGE * bool(node.level)
                + "." * bool(node.level and node.module)
                + (node.module or "")
            )
            names = [base] + [
                f"{base}.{a.name}" for a in node.names if base == PACKAGE and a.name in modules
            ]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("import_module", "__import__"))
            and node.args
        ):
            names = [getattr(node.args[0], "value", "")]
        for name in names:
            parts = str(name).split(".")
            if parts[0] == PACKAGE and len(parts) > 1 and not parts[1].startswith("_"):
                yield parts[1]


def imports_go_back(root):
    "A page imports only modules of pages with lower numbers (a page without a number, any)"
    books = dict(readable(root))
    made = {}
    for page, book in books.items():
        for cell in book["cells"]:
            name = cell["cell_type"] == "code" and directives(cell["source"]).get("default_exp")
            if name:
                made[name] = page
    for page, book in books.items():
        here = page_number(page)
        for number, cell in enumerate(book["cells"], 1):
            if cell["cell_type"] != "code":
                continue
            source = "\n".join(
                l for l in code(cell["source"]).split("\n") if not re.match(r"\s*[%!]", l)
            )
            try:
                found = set(imports(ast.parse(source), made))
            except SyntaxError:
                continue
            for module in sorted(found):
                if module not in made:
                    yield f"nbs/{page.name}, cell {number}: imports {PACKAGE}.{module}, which no page makes"
                elif (
                    made[module] != page
                    and here is not None
                    and (page_number(made[module]) or 0) >= here
                ):
                    yield f"nbs/{page.name}, cell {number}: imports {PACKAGE}.{module} of the later page {made[module].name}"


def menus_complete(root):
    listed = [entry for _, entries in menu(root) for entry in entries]
    there = {f"nbs/{p.name}" for p in pages(root)}
    for page in sorted(there - set(listed)):
        yield f"{page}: is not in the menus of _quarto.yml"
    for entry in sorted(set(listed) - there):
        yield f"_quarto.yml: menu entry {entry} has no page"
    for entry in sorted({e for e in listed if listed.count(e) > 1}):
        yield f"_quarto.yml: {entry} is listed twice"


def links_alive(root):
    texts = {p: p.read_text(encoding="utf-8") for p in tracked(root) if p.suffix == ".md"}
    books = dict(readable(root))
    texts |= {p: page_markdown(b) for p, b in books.items()}
    parsed = {p.resolve(): links_and_anchors(t) for p, t in texts.items()}
    anchors = {p: a for p, (_, a) in parsed.items()}
    for page, book in books.items():
        anchors[page.resolve()] |= definitions(book)
    for path, (links, _) in sorted(parsed.items()):
        name = path.relative_to(root.resolve())
        for link in dict.fromkeys(links):
            target, anchor = split_target(link)
            if not target and not anchor:
                continue
            where = (path.parent / target).resolve() if target else path
            if not where.is_relative_to(root.resolve()):
                yield f"{name}: link {link} leaves the project"
            elif not where.exists():
                yield f"{name}: dead link {link}"
            elif anchor and where in anchors and anchor not in anchors[where]:
                yield f"{name}: {link} has no such anchor"


def readme_in_step(root):
    from readme import render

    if not (root / "nbs/index.ipynb").exists():
        return
    try:
        text, pictures = render(root)
    except (ValueError, KeyError) as error:
        yield f"nbs/index.ipynb: cannot become README.md: {error}"
        return
    for path, fresh in {"README.md": text.encode(), **pictures}.items():
        if not (root / path).exists():
            yield f"{path}: is missing; run `make readme`"
        elif (root / path).read_bytes() != fresh:
            yield f"{path}: is not what nbs/index.ipynb holds; run `make readme`"


def outputs_sound(root):
    "Errors, warnings and what differs from run to run"
    unstable = {
        r"\bat 0x[0-9a-f]{6,}": "a memory address",
        r"/tmp/\w": "a temporary path",
        r"\d+%\|[ █▏▎▍▌▋▊▉#]+\|": "a progress bar",
    }
    for page, book in readable(root):
        for number, cell in enumerate(book["cells"], 1):
            for output in cell.get("outputs", []):
                where = f"nbs/{page.name}, cell {number}: stored output"
                data = output.get("data", {})
                text = output.get("text", "") + "".join(
                    v for k, v in data.items() if k.startswith("text") and isinstance(v, str)
                )
                if output["output_type"] == "error":
                    yield f"{where} is an error: {output['ename']}: {output['evalue']}".split("\n")[
                        0
                    ]
                elif "Traceback (most recent call last)" in text:
                    yield f"{where} holds a traceback"
                elif output.get("name") == "stderr":
                    yield f"{where} holds a warning or progress (stderr): {text.strip().splitlines()[:1]}"
                for pattern, what in unstable.items():
                    if re.search(pattern, text):
                        yield f"{where} holds {what}"


def plain(text: str) -> str:
    "Letters and digits only, so that line breaks, quotes and escapes do not hide a text"
    return re.sub(r"[\W_]+", " ", text.lower()).strip()


def strings(value):
    "All strings in JSON data"
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def file_text(path: Path) -> str:
    "What a reader would find in a file, notebooks, JSON and Parquet included"
    if path.suffix == ".ipynb":
        try:
            return "\n".join(
                "".join(c["source"])
                + "\n".join(
                    "".join(v) if isinstance(v, list) else str(v)
                    for o in c.get("outputs", [])
                    for v in [o.get("text", ""), *o.get("data", {}).values()]
                )
                for c in json.loads(path.read_text(encoding="utf-8"))["cells"]
            )
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


def release_kept_out(root, release: Path | None = None):
    "No question text of the survey (of 30 characters or more; its first 40 count) in a tracked file or a stored output"
    release = release or Path(
        os.environ.get("CULTURESPA_RELEASE") or root.parent / "shared" / "release"
    )
    found = sorted(release.rglob("wvs_questions.json")) if release.exists() else []
    if not found:
        return
    items = json.loads(found[0].read_text(encoding="utf-8"))
    needles = {plain(i["question"])[:40]: i["Q_id"] for i in items if len(i["question"]) >= 30}
    looked = {*tracked(root), *pages(root)}
    for path in sorted(p for p in looked if p.suffix not in (".png", ".safetensors", ".lock")):
        text = plain(file_text(path))
        hits = [q for needle, q in needles.items() if needle in text]
        if hits:
            yield f"{path.relative_to(root)}: holds survey question texts, which may not be passed on: {', '.join(hits[:5])}"


def code_sound(root):
    "Undefined names and the like, by ruff"
    if not (root / "pyproject.toml").exists():
        return
    run = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format=concise", "."],
        cwd=root,
        capture_output=True,
        text=True,
    )
    yield from run.stdout.strip().splitlines() or (
        [run.stderr.strip().split("\n")[0]] if run.returncode else []
    )


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
    release_kept_out,
    code_sound,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=TOOLS.parent, help="the checkout to look at")
    parser.add_argument(
        "only", nargs="*", metavar="CHECK", help="some of: " + ", ".join(c.__name__ for c in CHECKS)
    )
    given = parser.parse_args()
    unknown = set(given.only) - {c.__name__ for c in CHECKS}
    if unknown:
        parser.error(
            f"no check called {', '.join(unknown)}; there are {', '.join(c.__name__ for c in CHECKS)}"
        )
    root = given.root.resolve()
    problems = [
        line
        for check in CHECKS
        if not given.only or check.__name__ in given.only
        for line in check(root)
    ]
    for line in problems:
        print(line)
    print(
        f"check: {len(problems)} to mend"
        if problems
        else f"check: {len(pages(root))} pages, everything agrees"
    )
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
