"The site: pages made ready and rendered, on a small book made for the occasion and on the real one"

import re
import sys
from pathlib import Path

import pytest
from nbformat import v4

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import docs

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MENU = """website:
  sidebar:
    contents:
      - section: Start
        contents: [nbs/index.ipynb]
      - section: Line
        contents: [nbs/100_one.ipynb, nbs/110_two.ipynb]
"""
ONE = [
    "# One\n> What one is, in `plain` words",
    "#| default_exp one",
    "#| export\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ast",
    "#| testsetup\nimport math",
    "#| export\ndef half(x:float):\n    'Half of `x`, so that *twice* is x'\n    return x / 2",
    "#| test halves_add_up\nassert half(1) + half(1) == 1",
    "#| hide\nsecret = 1",
    "#| fig-alt: One dot\nhalf(3)",
]
TWO = [
    "# Two\n> After [one](100_one.ipynb#half)",
    "## A part of it\nUse `half` on $x^2$ and $$y_1$$ as [the licence](../LICENSE) says.",
    "half(4)",
]


def page(root: Path, name: str, cells: list[str]):
    "A notebook; strings that begin with '#' and a blank, or '##', are Markdown"
    made = []
    for source in cells:
        kind = v4.new_markdown_cell if source.startswith(("# ", "##")) else v4.new_code_cell
        made.append(kind(source))
        if "fig-alt" in source:
            made[-1].outputs = [v4.new_output("display_data", {"image/png": PIXEL})]
    text = v4.writes_json(v4.new_notebook(cells=made))
    (root / f"nbs/{name}.ipynb").write_text(text)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    root = tmp_path_factory.mktemp("book")
    (root / "nbs").mkdir()
    (root / "_quarto.yml").write_text(MENU)
    page(root, "index", ["# Start\n> Where to begin"])
    page(root, "100_one", ONE)
    page(root, "110_two", TWO)
    return root


@pytest.fixture(scope="module")
def site(book):
    assert docs.render(book, book / "_docs") == 3
    return book / "_docs"


def test_names_in_prose_and_code_lead_to_their_definitions(site):
    assert '<span id="half"></span>' in (site / "100_one.html").read_text()
    text = (site / "110_two.html").read_text()
    assert len(re.findall('href="100_one.html#half"', text)) == 3  # a link, the prose, the code
    assert "LICENSE" not in text and "the licence" in text  # what the site has not is no link


def test_tests_are_folded_under_their_title_and_directives_are_gone(site):
    text = (site / "100_one.html").read_text()
    titles = re.findall(r'<p class="collapsed[^>]*>(.*?)</p>', text)
    assert set(titles) == {"imports of the module", "imports of the tests", "test: halves add up"}
    assert "secret" not in text and "#|" not in text and 'alt="One dot"' in text


def test_every_page_has_search_contents_menu_and_what_messengers_show(site):
    for name in ("index", "100_one", "110_two", "reference"):
        text = (site / f"{name}.html").read_text()
        assert 'href="search.html"' in text or "search-button" in text
        assert 'rel="icon"' in text and 'property="og:title"' in text
        assert 'href="reference.html"' in text or name == "reference"
    text = (site / "100_one.html").read_text()
    assert '<meta name="description" content="What one is, in plain words">' in text
    assert 'href="#a-part-of-it"' in (site / "110_two.html").read_text()
    assert '"assert":0' in (site / "searchindex.js").read_text()  # words in code are found too


def test_equations_need_no_script_and_pages_no_network(site):
    text = (site / "110_two.html").read_text()
    assert text.count("<math") == 2 and "MathJax" not in text
    assert not re.findall(r"""<(?:script|link|img)[^>]*(?:src|href)=["']https?:""", text)


def test_pages_lead_to_their_notebook(site, book):
    assert 'href="_sources/100_one.ipynb"' in (site / "100_one.html").read_text()
    mine = (book / "nbs/100_one.ipynb").read_bytes()
    assert (site / "_sources/100_one.ipynb").read_bytes() == mine


def test_the_reference_lists_names_with_parameters_and_words(site):
    text = re.sub(r"<[^>]+>", "", (site / "reference.html").read_text())
    assert "half (x: float)" in " ".join(text.split())
    assert "Half of x, so that *twice* is x" in text  # a docstring's stars are no markup


def test_a_dead_link_stops_the_site(book):
    page(book, "110_two", ["# Two\n> After [one](100_one.ipynb#third)"])
    with pytest.raises(RuntimeError, match="third"):
        docs.render(book, book / "_broken")
    page(book, "110_two", TWO)


def brightness(colour: str) -> float:
    "Relative luminance of a colour such as #1a2b3c, as WCAG 2 defines it"
    digits = colour.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted([brightness(one), brightness(other)])
    return (light + 0.05) / (dark + 0.05)


def variables(site: Path, theme: str) -> dict[str, str]:
    "The theme's colours as the last of its style sheets sets them"
    sheets = ("styles/pydata-sphinx-theme.css", "styles/sphinx-book-theme.css", "pages.css")
    found = {}
    for sheet in sheets:
        css = (site / "_static" / sheet).read_text()
        for block in re.findall(r"html\[data-theme=%s\]\s*\{([^}]*)\}" % theme, css):
            found |= dict(re.findall(r"--pst-color-([\w-]+)\s*:\s*(#\w+)", block))
    return found


def test_contrast_is_a_known_number():
    assert round(contrast("#000", "#ffffff"), 1) == 21
    assert round(contrast("#777777", "#fff"), 2) == 4.48


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_and_code_can_be_read_in_both_themes(site, theme):
    colours = variables(site, theme)
    paper, panel = colours["background"], colours["surface"]
    for name in ("text-base", "text-muted", "primary", "secondary"):  # headings, menus, links
        assert contrast(colours[name], paper) >= 4.5, (name, colours[name], paper)
    for name in ("text-base", "text-muted", "inline-code"):
        assert contrast(colours[name], panel) >= 4.5, (name, colours[name], panel)
    css = (site / "_static/pygments.css").read_text()
    rule = rf'html\[data-theme="{theme}"\] \.highlight (\.\w+) {{(?:[^}}]*; )? ?color: (#\w+)'
    in_code = dict(re.findall(rule, css))
    assert ".c1" in in_code  # comments
    assert {k: c for k, c in in_code.items() if contrast(c, panel) < 4.5} == {}


def test_the_whole_book_is_rendered_without_a_warning(tmp_path):
    number = docs.render(ROOT, tmp_path / "site")
    made = list((tmp_path / "site").glob("*.html"))
    assert len(made) >= number + 2  # and search, reference
    for path in made:
        pictures = re.findall(r"<img[^>]*>", path.read_text())
        assert all(re.search(r'alt="[^"]', picture) for picture in pictures), path.name
