"""Render every page into _docs: python tools/docs.py (what `make docs` runs).

With Quarto on PATH the site is Quarto's, by _quarto.yml and nbdev's filter. Without it the pages
become plain HTML files that need nothing else: menus of _quarto.yml, contents, code in colours
with its module or test named, equations as MathML, links between pages, and `names` in the prose
linked to their definitions.
"""

import argparse
import ast
import base64
import html
import mimetypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from export import page_number, pages
from markup import PLUGINS, code, definitions, directives, load, menu, slug, title

TOOLS = Path(__file__).resolve().parent
NOT_SHOWN = {"hide", "default_exp"}


def highlighted(source: str, language: str = "python") -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import TextLexer, get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language or "text", stripall=False)
    except ClassNotFound:
        lexer = TextLexer()
    coloured = highlight(source.rstrip(), lexer, HtmlFormatter(nowrap=True))
    return f'<pre><code>{coloured.rstrip()}</code></pre>'


def block(inner: str, tag: str = "") -> str:
    "A box of code with its label and a button that copies it"
    label = f'<span class="tag">{tag}</span>' if tag else ""
    return (
        f'<div class="block">{label}{inner}<button class="copy" type="button">copy</button></div>'
    )


def mathml(tex: str, display: str) -> str:
    from latex2mathml.converter import convert

    try:
        return convert(tex.strip(), display=display)
    except Exception:
        return f"<code>{html.escape(tex)}</code>"


def writer(where: Path, names: dict[str, str], toc: list):
    "A Markdown renderer for one page: pictures put in, links to .html, headings into `toc`"
    import mistune

    taken: dict[str, int] = {}

    class Renderer(mistune.HTMLRenderer):
        def heading(self, text, level, **attrs):
            given = re.search(r"\s*\{#([\w.-]+)[^}]*\}\s*$", text)
            text = text[: given.start()] if given else text
            words = html.unescape(re.sub(r"<[^>]+>", "", text))
            anchor = given[1] if given else slug(words)
            taken[anchor] = taken.get(anchor, 0) + 1
            if taken[anchor] > 1:
                anchor += f"-{taken[anchor] - 1}"
            if level in (2, 3):
                toc.append((level, anchor, words))
            mark = f'<a class="anchor" href="#{anchor}" aria-label="link to this">#</a>'
            return f'<h{level} id="{anchor}">{text}{mark}</h{level}>\n'

        def link(self, text, url, title=None):
            text = re.sub(
                r'<a href="[^"]*">(<code>.*?</code>)</a>', r"\1", text
            )  # a name inside a link stays a word
            return super().link(text, re.sub(r"\.ipynb(?=#|$)", ".html", url), title)

        def image(self, text, url, title=None):
            path = where / url
            if not re.match(r"\w+:", url) and path.is_file():
                kind = mimetypes.guess_type(path.name)[0] or "image/png"
                url = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
            return f'<img src="{html.escape(url)}" alt="{html.escape(text)}">'

        def codespan(self, text):
            target = names.get(re.sub(r"\(.*\)$", "", text))
            inner = f"<code>{html.escape(text)}</code>"
            return f'<a href="{target}">{inner}</a>' if target else inner

        def block_code(self, source, info=None):
            return block(highlighted(source, (info or "text").split()[0]))

        def block_math(self, text):
            return f'<div class="math">{mathml(text, "block")}</div>\n'

        def inline_math(self, text):
            return mathml(text, "inline")

        def table(self, text):
            return f'<div class="scroll"><table>{text}</table></div>\n'

        def inline_html(self, text):
            return self.raw(text)

        def block_html(self, text):
            return self.raw(text) + "\n"

        def raw(self, text):
            text = re.sub(r'(href="[^":]*)\.ipynb', r"\1.html", text)
            return re.sub(
                r'<img[^>]*?src="([^":]+)"', lambda m: m[0].replace(m[1], self.embedded(m[1])), text
            )

        def embedded(self, url):
            found = re.search(r'src="([^"]*)"', self.image("", url))
            return html.unescape(found[1])

    Renderer.__init__ = lambda self: mistune.HTMLRenderer.__init__(self, escape=False)
    return mistune.create_markdown(renderer=Renderer(), plugins=PLUGINS)


def shown(output: dict, markdown) -> str:
    "One stored output as HTML"
    from nbconvert.filters.ansi import ansi2html

    data = output.get("data", {})
    if "text/markdown" in data:
        return markdown(data["text/markdown"])
    if "text/html" in data:
        made = re.sub(r"<style scoped>.*?</style>", "", data["text/html"], flags=re.S)
        if 'class="dataframe"' in made:  # words to the left, numbers stay at the right
            made = re.sub(
                r"<td>(?=[^<]*[^\W\d_]{2}[^<]*</td>)(?!NaN|nan|&lt;NA)", '<td class="words">', made
            )
        return f'<div class="scroll">{made}</div>' if "<table" in made else made
    if "image/svg+xml" in data:
        return re.sub(r"\A.*?(?=<svg)", "", data["image/svg+xml"], flags=re.S)
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">'
    if "text/latex" in data:
        return f'<div class="math">{mathml(data["text/latex"].strip("$ "), "block")}</div>'
    if output["output_type"] == "error":
        return f'<pre class="error">{html.escape(output["ename"] + ": " + output["evalue"])}</pre>'
    text = (output.get("text") or data.get("text/plain", "")).rstrip()
    return f"<pre>{ansi2html(text)}</pre>" if text else ""


def code_cell(cell: dict, module: str, markdown) -> str:
    "A code cell, its label and its outputs; an exported one is an anchor for each name it defines"
    said, source = directives(cell["source"]), code(cell["source"])
    if (
        NOT_SHOWN & set(said)
        or said.get("include") == "false"
        or not (source or cell.get("outputs"))
    ):
        return ""
    source = "\n".join(l for l in source.split("\n") if not re.search(r"#\s*\|\s*hide_line\s*$", l))
    kind, tag, ids = "cell", "", ""
    if {"export", "exports", "exporti"} & set(said):
        kind, tag = "cell export", module
        defined = [
            n.name
            for n in ast.parse(source).body
            if hasattr(n, "name") and not n.name.startswith("_")
        ]
        ids = "".join(f'<span id="{name}"></span>' for name in defined)
    elif "testsetup" in said:
        tag = "shared with the tests"
    elif "test" in said:
        kind, tag = "cell test", f"test {said['test'].replace('_', ' ')}"
    inner = (
        ""
        if said.get("echo") == "false" or "hide_input" in said or not source
        else block(highlighted(source), tag)
    )
    imports_only = "testsetup" in said and all(
        isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(source).body
    )
    if inner and (imports_only or said.get("code-fold") in ("true", "hide")):
        summary = said.get("code-summary", "").strip("\"'") or (
            "imports of the tests" if imports_only else "code"
        )
        inner = f'<details class="fold"><summary>{html.escape(summary)}</summary>{inner}</details>'
    outputs = (
        ""
        if said.get("output") == "false" or "hide_output" in said
        else "".join(shown(o, markdown) for o in cell.get("outputs", []))
    )
    return (
        f'<div class="{kind}">{ids}{inner}'
        + (f'<div class="out">{outputs}</div>' if outputs else "")
        + "</div>\n"
    )


def listed(root: Path) -> list[tuple[str, Path, dict]]:
    "Pages that are there, in the menus' order: section, path, notebook"
    return [
        (section, root / entry, load(root / entry))
        for section, entries in menu(root)
        for entry in entries
        if (root / entry).exists()
    ]


def sidebar(book_list, here: Path) -> str:
    parts, last = [], None
    for section, path, book in book_list:
        if section != last:
            parts.append(
                ("</ul>" if last is not None else "") + f"<h2>{html.escape(section)}</h2><ul>"
            )
        last, number = section, page_number(path)
        mark = f"<span>{number:02d}</span>" if number is not None else "<span></span>"
        parts.append(
            f'<li><a href="{path.stem}.html"{" class=here" if path == here else ""}>{mark}'
            f'{html.escape(title(book) or path.stem)}</a></li>'
        )
    return (
        '<a class="name" href="index.html">culturespa</a>'
        '<p class="says">Self-pluralising culture alignment of language models</p>'
        + "".join(parts)
        + "</ul>"
    )


SCRIPT = """for (const b of document.querySelectorAll('.copy')) b.onclick = () => {
  navigator.clipboard.writeText(b.parentElement.querySelector('pre').innerText);
  b.textContent = 'copied';
  setTimeout(() => b.textContent = 'copy', 1200) }"""


def page_html(root: Path, position: int, books: list, names: dict[str, str], css: str) -> str:
    section, path, book = books[position]
    toc, body = [], []
    markdown = writer(
        path.parent, {n: t.removeprefix(f"{path.stem}.html") for n, t in names.items()}, toc
    )
    plain = writer(path.parent, {}, [])
    name = next(
        (
            d["default_exp"]
            for c in book["cells"]
            if "default_exp" in (d := directives(c["source"]))
        ),
        "",
    )
    module = f"{root.name if not (root / 'culturespa').exists() else 'culturespa'}.{name}"
    for cell in book["cells"]:
        if cell["cell_type"] == "markdown":
            body.append(markdown(cell["source"]))
        elif cell["cell_type"] == "code":
            body.append(code_cell(cell, module, plain))
    text = "".join(body).replace("<blockquote>", '<blockquote class="lead">', 1)
    nav = sidebar(books, path)

    def turn(i, side):
        if not 0 <= i < len(books):
            return ""
        _, page, other = books[i]
        words = "← before" if side == "previous" else "next →"
        inner = f"<small>{words}</small>{html.escape(title(other))}"
        return f'<a class="{side}" href="{page.stem}.html">{inner}</a>'

    contents = "".join(
        f'<li class="h{level}"><a href="#{anchor}">{html.escape(words)}</a></li>'
        for level, anchor, words in toc
    )
    number = page_number(path)
    where = " · ".join(
        filter(
            None,
            [
                html.escape(section),
                f"page {number:02d}" if number is not None else "",
                f"<code>{module}</code>" if name else "",
            ],
        )
    )
    heading = title(book) or path.stem
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{html.escape(heading)}{'' if heading == 'culturespa' else ' · culturespa'}</title>
<style>{css}</style></head><body>
<details class="top"><summary>culturespa</summary><nav class="side">{nav}</nav></details>
<div class="frame"><nav class="side">{nav}</nav>
<main><p class="where">{where}</p>
{text}
<nav class="turn">{turn(position - 1, "previous")}{turn(position + 1, "next")}</nav>
<footer>Made from <code>nbs/{path.name}</code>,
the source of this page{' and of its module' if name else ''}.</footer></main>
<aside class="toc">{f'<b>On this page</b><ul>{contents}</ul>' if toc else ''}</aside></div>
<script>{SCRIPT}</script></body></html>
"""


def colours() -> str:
    from pygments.formatters import HtmlFormatter

    def of(style):
        return "\n".join(
            l
            for l in HtmlFormatter(style=style).get_style_defs("pre").split("\n")
            if l.startswith("pre .") and "background" not in l
        )

    return f"{of('friendly')}\n@media (prefers-color-scheme:dark) {{\n{of('github-dark')}\n}}"


def render(root: Path, out: Path):
    "All listed pages as HTML files in `out`"
    books = listed(root)
    names = {
        n: f"{path.stem}.html#{n}"
        for _, path, book in reversed(books)
        for n in definitions(book)
        if not n.startswith("_")
    }
    css = (TOOLS / "docs.css").read_text() + colours()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for position, (_, path, _) in enumerate(books):
        (out / f"{path.stem}.html").write_text(
            page_html(root, position, books, names, css), encoding="utf-8"
        )
    if books and not (out / "index.html").exists():
        (out / "index.html").write_text(
            f'<meta http-equiv="refresh" content="0; url={books[0][1].stem}.html">'
        )
    return len(books)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=TOOLS.parent, help="the checkout to render")
    parser.add_argument("--out", type=Path, help="folder to write (default: _docs of the checkout)")
    given = parser.parse_args()
    root = given.root.resolve()
    out = given.out or root / "_docs"
    if shutil.which("quarto") and not given.out:
        here = Path(sys.executable).parent  # where nbdev_filter lies
        path = f"{here}{os.pathsep}{os.environ['PATH']}"
        if subprocess.run(
            ["quarto", "render"], cwd=root, env=os.environ | {"PATH": path}
        ).returncode:
            sys.exit("docs: quarto failed")
        (out / "index.html").write_text(
            '<meta http-equiv="refresh" content="0; url=nbs/index.html">'
        )
        print(f"docs: {len(pages(root))} pages by Quarto, open {out}/index.html")
    else:
        print(f"docs: {render(root, out)} pages, open {out}/index.html")


if __name__ == "__main__":
    main()
