"The house's own tools, on small projects made for the occasion"

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import check, density, export, markup, pages, readme


def cell(source, *outputs):
    return dict(
        cell_type="code",
        execution_count=None,
        id="",
        metadata={},
        outputs=list(outputs),
        source=source,
    )


def markdown(source):
    return dict(cell_type="markdown", id="", metadata={}, source=source)


def stream(text, name="stdout"):
    return dict(output_type="stream", name=name, text=text)


def write_page(root, name, *cells):
    "A clean notebook, strings standing for code cells, or for Markdown if they begin with '# '"
    from execnb.nbio import nb2str

    cells = [
        copy.deepcopy(c) if isinstance(c, dict) else (markdown if c.startswith("# ") else cell)(c)
        for c in cells
    ]
    for i, c in enumerate(cells):
        c.update(id=f"{name[:2]}{i}", source=c["source"].splitlines(True))
    for c in cells:
        for o in c.get("outputs", []):
            if "text" in o:
                o["text"] = o["text"].splitlines(True)
    book = dict(
        cells=cells,
        nbformat=4,
        nbformat_minor=5,
        metadata=dict(kernelspec=dict(display_name="python3", language="python", name="python3")),
    )
    (root / "nbs" / f"{name}.ipynb").write_text(nb2str(book))


ONE = [
    "# One\n> The first.",
    "#| default_exp one",
    "#| export\ndef one(): return 1",
    "#| test is_one\nassert one() == 1",
]
TWO = [
    "# Two\n> After [one](00_one.ipynb#one).",
    "#| default_exp two",
    "#| export\nfrom culturespa.one import one",
    cell("one()", stream("1\n")),
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    "Two pages and an index in which everything agrees"
    root = tmp_path / "project"
    for folder in ("nbs", "culturespa", "tests"):
        (root / folder).mkdir(parents=True)
    shutil.copy(ROOT / "settings.ini", root)
    (root / "culturespa/__init__.py").write_text('__version__ = "0.1.0"\n')
    (root / "_quarto.yml").write_text(
        "website: {sidebar: {contents: [nbs/index.ipynb, {section: Line, contents: "
        "[nbs/00_one.ipynb, nbs/01_two.ipynb]}]}}"
    )
    write_page(root, "index", "# Start\n> See [two](01_two.ipynb).", "import culturespa.two")
    write_page(root, "00_one", *ONE)
    write_page(root, "01_two", *TWO)
    (root / "README.md").write_text(readme.render(root)[0])
    monkeypatch.chdir(root)
    monkeypatch.delenv("CULTURESPA_RELEASE", raising=False)
    assert export.export(root) == []
    return root


def problems(root, *checks):
    names = checks or [c for c in check.CHECKS if c is not check.code_sound]
    return [line for c in names for line in c(root)]


def test_a_sound_project_has_no_problem(project):
    assert problems(project) == []


def test_a_test_cell_becomes_a_function(project):
    text = (project / "tests/test_one.py").read_text()
    assert text.startswith(export.HEADER) and "from culturespa.one import *" in text
    assert "def test_is_one():\n    assert one() == 1" in text


def test_marks_setup_and_strings_of_several_lines(project):
    write_page(
        project,
        "00_one",
        *ONE[:3],
        "#| testsetup\nimport math",
        '#| test long_text\n#| slow\nt = """a\nb"""\nassert len(t) == 3',
    )
    assert export.export(project, [project / "nbs/00_one.ipynb"]) == []
    text = (project / "tests/test_one.py").read_text()
    assert (
        "\nimport math\n" in text
        and "@pytest.mark.slow\ndef test_long_text():\n" in text
        and '"""a\nb"""' in text
    )
    names = {}
    exec(text.replace("from culturespa.one import *", ""), names)
    names["test_long_text"]()


@pytest.mark.parametrize(
    "bad, said",
    [
        ("#| test nothing\none()", "'nothing' asserts nothing"),
        ("#| test always\nassert True", "'always' asserts nothing"),
        ("#| test is_one\nassert one() == 1", "is there already, in cell 4"),
        ("#| test two words\nassert one()", "wants one name"),
        ("#| test broken\nassert one( == 1", "line 1 of the cell"),
        ("#| export\ndef broken(:", "line 1 of the cell"),
        ("#| test stars\nfrom math import *\nassert pi", "would not run"),
    ],
)
def test_the_exporter_refuses(project, bad, said):
    write_page(project, "00_one", *ONE, bad)
    lines = export.export(project, [project / "nbs/00_one.ipynb"])
    assert len(lines) == 1 and said in lines[0] and lines[0].startswith("00_one.ipynb")


def test_one_page_exports_beside_a_broken_one(project):
    (project / "nbs/01_two.ipynb").write_text("{")
    write_page(project, "00_one", *ONE, "#| export\nTHREE = 3")
    assert export.export(project, [project / "nbs/00_one.ipynb"]) == []
    assert "THREE = 3" in (project / "culturespa/one.py").read_text()


def test_what_a_page_no_longer_makes_is_removed(project):
    write_page(project, "00_one", *ONE[:3])
    assert export.export(project, [project / "nbs/00_one.ipynb"]) == []
    assert not (project / "tests/test_one.py").exists() and (project / "culturespa/one.py").exists()


def test_a_page_without_module_exports_its_tests(project):
    write_page(
        project,
        "20_result",
        "# Result",
        "#| testsetup\nfrom culturespa.one import one",
        "#| test holds\nassert one() == 1",
    )
    assert export.export(project, [project / "nbs/20_result.ipynb"]) == []
    assert (project / "tests/test_result.py").exists() and not (
        project / "culturespa/result.py"
    ).exists()


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def orphan_test(root):
    (root / "tests/test_gone.py").write_text(export.HEADER + "../nbs/07_gone.ipynb.\n")


def error_output(root):
    write_page(
        root,
        "01_two",
        *TWO[:3],
        cell(
            "1/0",
            dict(
                output_type="error",
                ename="ZeroDivisionError",
                evalue="division by zero",
                traceback=[],
            ),
        ),
    )


def leaking_release(root):
    folder = root.parent / "shared/release/data"
    folder.mkdir(parents=True)
    (folder / "wvs_questions.json").write_text(
        json.dumps(
            [{"Q_id": "X1", "question": "How blue is the sky over the place where you live?"}]
        )
    )
    write_page(
        root,
        "01_two",
        *TWO,
        cell("show()", stream('text\n0 "How blue is the sky over the place where\\n you ...\n')),
    )
    export.export(root)


@pytest.mark.parametrize(
    "spoil, checked, said",
    [
        (
            lambda r: (r / "nbs/01_two.ipynb").write_text("{"),
            check.notebooks_parse,
            "nbs/01_two.ipynb: is not a valid notebook",
        ),
        (
            lambda r: edit(
                r / "nbs/01_two.ipynb", '"execution_count": null', '"execution_count": 3'
            ),
            check.notebooks_clean,
            "nbs/01_two.ipynb: is not clean",
        ),
        (
            lambda r: edit(r / "culturespa/one.py", "return 1", "return 2"),
            check.exports_in_step,
            "culturespa/one.py: is not what its page exports",
        ),
        (
            lambda r: edit(r / "tests/test_one.py", "== 1", "== 2"),
            check.exports_in_step,
            "tests/test_one.py: is not what its page exports",
        ),
        (
            lambda r: edit(r / "culturespa/_modidx.py", "one", "won"),
            check.exports_in_step,
            "culturespa/_modidx.py: is not what",
        ),
        (
            lambda r: (r / "culturespa/two.py").unlink(),
            check.exports_in_step,
            "culturespa/two.py: is missing",
        ),
        (
            lambda r: (r / "culturespa/stray.py").write_text(""),
            check.exports_in_step,
            "culturespa/stray.py: is an orphan",
        ),
        (orphan_test, check.exports_in_step, "tests/test_gone.py: is an orphan"),
        (
            lambda r: write_page(r, "00_one", *ONE, "from culturespa.two import *"),
            check.imports_go_back,
            "00_one.ipynb, cell 5: imports culturespa.two of the later page 01_two.ipynb",
        ),
        (
            lambda r: write_page(r, "00_one", *ONE, "def f():\n    from culturespa import two"),
            check.imports_go_back,
            "later page",
        ),
        (
            lambda r: write_page(r, "00_one", *ONE, "import culturespa.nowhere"),
            check.imports_go_back,
            "which no page makes",
        ),
        (
            lambda r: write_page(r, "02_new", "# New"),
            check.menus_complete,
            "nbs/02_new.ipynb: is not in the menus",
        ),
        (
            lambda r: (r / "nbs/01_two.ipynb").unlink(),
            check.menus_complete,
            "menu entry nbs/01_two.ipynb has no page",
        ),
        (
            lambda r: write_page(r, "01_two", "# Two\n[x](gone.ipynb)"),
            check.links_alive,
            "nbs/01_two.ipynb: dead link gone.ipynb",
        ),
        (
            lambda r: write_page(r, "01_two", "# Two\n[x](00_one.ipynb#never)"),
            check.links_alive,
            "has no such anchor",
        ),
        (
            lambda r: (r / "NOTES.md").write_text("# A\n[x](#b) <img src='no.png'>"),
            check.links_alive,
            "NOTES.md: dead link no.png",
        ),
        (
            lambda r: (r / "NOTES.md").write_text("[x](../../etc)"),
            check.links_alive,
            "leaves the project",
        ),
        (
            lambda r: edit(r / "README.md", "Start", "Begin"),
            check.readme_in_step,
            "README.md: is not what",
        ),
        (error_output, check.outputs_sound, "stored output is an error: ZeroDivisionError"),
        (
            lambda r: write_page(
                r, "01_two", *TWO, cell("w()", stream("UserWarning: x\n", "stderr"))
            ),
            check.outputs_sound,
            "holds a warning or progress",
        ),
        (
            lambda r: write_page(r, "01_two", *TWO, cell("w()", stream("<f at 0x7f0011223344>\n"))),
            check.outputs_sound,
            "a memory address",
        ),
        (
            leaking_release,
            check.release_kept_out,
            "nbs/01_two.ipynb: holds survey question texts, which may not be passed on: X1",
        ),
    ],
)
def test_the_check_names(project, spoil, checked, said):
    spoil(project)
    assert any(said in line for line in problems(project, checked)), problems(project, checked)
    assert all("\n" not in line for line in problems(project))


def test_what_only_an_extra_brings_is_imported_where_it_is_used(project):
    (project / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy"]\n'
        '[project.optional-dependencies]\nmodels = ["torch", "own[more]"]\ndev = ["pytest"]\n'
    )
    module = project / "culturespa/one.py"
    lazy = "import numpy\ndef one():\n    import torch\n    import own\n"
    module.write_text(lazy)
    assert problems(project, check.dependencies_agree) == []
    for early in ("import torch\n", "try:\n    import torch\nexcept ImportError:\n    pass\n"):
        module.write_text(early + lazy)
        (said,) = problems(project, check.dependencies_agree)
        assert said.startswith("one.py: torch is imported at the top, and only an extra brings it")
    module.write_text(lazy + "    import pytest\n")
    assert "pytest is imported by one.py and not declared" in problems(
        project, check.dependencies_agree)[0]


def test_files_missing_from_git_are_named(project):
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "add", "nbs", "tests", "culturespa/__init__.py"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    assert problems(project, check.nothing_untracked) == [
        f"culturespa/{m}.py: is not in git: add it or remove it" for m in ("_modidx", "one", "two")
    ]


def test_what_a_page_writes_to_stderr_is_named_and_never_stored():
    from nbformat import from_dict

    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "0%"}
    bar = dict(output_type="display_data", metadata={}, data=widget)
    loud = cell("load()", stream("done\n"), stream("Loading weights: 3%\n", "stderr"), bar)
    book = from_dict(dict(cells=[markdown("# L"), loud]))
    assert pages.pink(book) == ["cell 2 writes to stderr: Loading weights: 3%"]
    assert [pages.is_stored(output) for output in book.cells[1].outputs] == [True, False, False]


def test_pictures_without_words_are_named(project):
    picture = dict(output_type="display_data", metadata={}, data={"image/png": "aGk="})
    mute = "nbs/03_p.ipynb, cell 2: a picture without words"
    write_page(project, "03_p", "# P\n![](images/x.png)", cell("plot()", picture))
    first, second = problems(project, check.pictures_described)
    assert first.startswith(mute) and "#| fig-alt" in first
    assert second == "nbs/03_p.ipynb: the picture images/x.png has no words between its brackets"
    described = cell("#| fig-alt: Two dots\nplot()", picture)
    write_page(project, "03_p", "# P\n![a dot](images/x.png)", described)
    assert problems(project, check.pictures_described) == []


def test_readme_moves_links_tables_and_pictures(project):
    html = "<table><tr><th></th><th>score</th></tr><tr><th>P1</th><td>66.6</td></tr></table>"
    picture = dict(output_type="display_data", metadata={}, data={"image/png": "aGk="})
    write_page(
        project,
        "index",
        "# Start\n[two](01_two.ipynb#x), [licence](../LICENSE), "
        "[`code`](00_one.ipynb), `[no](x.ipynb)`",
        cell(
            "#| echo: false\nt",
            dict(output_type="display_data", metadata={}, data={"text/html": html}),
        ),
        cell("#| label: scores\n#| fig-alt: Two dots\nplot()", picture),
        cell("#| hide\nsecret", stream("secret")),
    )
    text, pictures = readme.render(project)
    assert (
        "[two](nbs/01_two.ipynb#x), [licence](LICENSE), [`code`](nbs/00_one.ipynb), `[no](x.ipynb)`"
        in text
    )
    assert "|  | score |\n| :--- | ---: |\n| P1 | 66.6 |" in text and "secret" not in text
    assert (
        pictures == {"nbs/images/readme-scores.png": b"hi"}
        and "![Two dots](nbs/images/readme-scores.png)" in text
    )


@pytest.mark.parametrize("page", export.pages(ROOT), ids=lambda p: p.stem)
def test_quartos_filter_takes_every_page(page, monkeypatch):
    from nbdev.config import get_config
    from nbdev.processors import FilterDefaults
    from execnb.nbio import read_nb

    monkeypatch.chdir(ROOT)
    get_config.cache_clear()
    book = read_nb(page)
    FilterDefaults()(book)
    assert len(book.cells) > 1
    get_config.cache_clear()


def test_anchors_and_menus():
    assert markup.slug("4. What `S` hides, and why") == "what-s-hides-and-why"
    assert markup.github_slug("What `S` hides, and why") == "what-s-hides-and-why"
    assert "nbs/index.ipynb" in [page for _, entries in markup.menu(ROOT) for page in entries]


def test_a_promise_without_its_test_is_found(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("def test_kept(tmp_path):\n    pass\n")
    rows = ["| promise | test |", "| --- | --- |", "| One | `tests/test_a.py::test_kept` |",
            "| Two | `tests/test_a.py::test_ke` |", "| Three | `tests/test_b.py::test_b` |",
            "| Four | we try |"]
    (tmp_path / "SECURITY.md").write_text("\n".join(rows))
    found = list(check.promises_kept(tmp_path))
    assert [line.split(": ")[1][:22] for line in found] == [
        "tests/test_a.py has no", "tests/test_b.py has no", "no test holds this pro"]


def test_a_hash_of_another_version_is_found(tmp_path):
    (tmp_path / "requirements.lock").write_text("a==1\nb==2\nc==3\n")
    good = " --hash=sha256:" + "0" * 64
    (tmp_path / "requirements.hashes").write_text(f"# made\na==1{good}\nb==3{good}\nc==3\n")
    said = list(check.hashes_agree(tmp_path))
    assert len(said) == 2 and "b==3 is not in" in said[0] and "c==3 has no hash" in said[1]


def test_only_what_has_one_build_is_hashed():
    import lock
    one = ("a-1-py3-none-any.whl", "a-1-py2.py3-none-any.whl", "a-1.tar.gz", "a-1.zip")
    several = ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", "a-1-py311-none-any.whl",
               "a-1-cp39-abi3-macosx_11_0_arm64.whl")
    assert all(lock.ONE_BUILD.search(name) for name in one)
    assert not any(lock.ONE_BUILD.search(name) for name in several)
    hashed = (ROOT / "requirements.hashes").read_text()
    assert "\ntransformers==" in hashed and "torch==" not in hashed and "://" not in hashed


def test_known_faults_are_said_in_a_line_each():
    import audit
    fault = dict(id="PYSEC-1", fix_versions=["1.1", "2.0"])
    packages = [dict(name="a", version="1.0", vulns=[fault, dict(id="X-2", fix_versions=[])]),
                dict(name="b", version="1", vulns=[])]
    assert audit.faults(packages) == [
        "a 1.0: PYSEC-1, mended in 1.1, 2.0", "a 1.0: X-2, mended in no version yet"]


def test_the_workflow_runs_what_a_submission_must_pass():
    import yaml
    text = (ROOT / ".github" / "workflows" / "check.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    assert jobs["run"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert dict(run="bash .ci/run") in steps and dict(run="make docs") in steps
    actions = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", action) for action in actions)


def test_the_lock_names_no_place_and_no_build():
    lock = (ROOT / "requirements.lock").read_text()
    assert "torch==2.13.0\n" in lock and "nbdev==2.4.14\n" in lock
    assert not any(word in lock for word in ("+cpu", "://", " @ ", "--"))


def test_one_version_everywhere():
    import culturespa

    for file, words in [
        ("settings.ini", "version = {}\n"),
        ("CITATION.cff", "\nversion: {}\n"),
        ("CHANGELOG.md", "## {}\n"),
    ]:
        assert words.format(culturespa.__version__) in (ROOT / file).read_text(), file


def test_density_is_syntax_nodes_per_line_of_longer_functions(tmp_path):
    spread = "def f(\n    a,\n    b,\n):\n    c = a + b\n    return c\n"
    (tmp_path / "airy.py").write_text(spread)
    (tmp_path / "short.py").write_text("def g(): return [x for x in range(9) if x]\n")
    airy, short = density.modules([tmp_path])
    # def, arguments and its two; assignment, c, store, sum, a, load, plus, b, load; return, c, load
    assert airy.densities == [16 / 6]
    assert short.densities == []  # fewer than six lines
    assert density.beyond([airy, short]) == []


def test_what_is_too_dense_is_said_and_fails_only_when_strict(project, monkeypatch, capsys):
    dense = "def h(a):\n" + "    a = [a, a, (a, a), [a, a, {a: a}], a + a * a - a]\n" * 6
    (project / "culturespa/dense.py").write_text(dense)
    monkeypatch.setattr(density, "STRICT", False)
    check.say_density(project)
    assert "density: warning: 2 beyond the limits" in capsys.readouterr().out
    assert problems(project, check.code_breathes) == []
    monkeypatch.setattr(density, "STRICT", True)
    said = problems(project, check.code_breathes)
    assert len(said) == 2
    assert "dense.py has" in said[1]


def test_benchmarks_import_what_there_is():
    "They are run by hand and seldom: a name that moved must not wait for that day"
    import ast
    import importlib

    missing = []
    for file in sorted((ROOT / "benchmarks").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("culturespa"):
                module = importlib.import_module(node.module)
                missing += [(file.name, a.name) for a in node.names if not hasattr(module, a.name)]
    assert not missing
