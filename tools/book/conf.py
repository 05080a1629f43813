"""Sphinx's configuration of the site; tools/docs.py makes the pages ready and calls it."""

import html
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = "culturespa"
author = "the culturespa authors"
copyright = "2025 onwards, the culturespa authors"
extensions = ["myst_nb", "sphinx_copybutton"]
exclude_patterns = ["images"]
suppress_warnings = ["config.cache"]

nb_execution_mode = "off"  # what is stored is shown
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_block", "deflist", "dollarmath", "tasklist"]
myst_heading_anchors = 4
myst_heading_slug_func = "markup.slug"

html_theme = "sphinx_book_theme"
html_title = "culturespa"
html_favicon = "favicon.svg"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_sourcelink_suffix = ""
html_use_index = False  # the reference lists all names
html_math_renderer = "mathml"
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,  # the line under a page's title has it
    "use_fullscreen_button": False,
    "navbar_start": [],
    "navbar_persistent": [],
    "pygments_light_style": "a11y-high-contrast-light",  # 4.5 to 1 and more, comments too
    "pygments_dark_style": "a11y-high-contrast-dark",
}
copybutton_selector = "div.cell_input pre"


def mathml(tex: str, display: str) -> str:
    "An equation that a browser draws without a script"
    from latex2mathml.converter import convert

    return convert(tex.strip(), display=display)


def inline_equation(visitor, node):
    from docutils.nodes import SkipNode

    visitor.body.append(mathml(node.astext(), "inline"))
    raise SkipNode


def display_equation(visitor, node):
    from docutils.nodes import SkipNode

    visitor.body.append(f'<div class="math">{mathml(node.astext(), "block")}</div>')
    raise SkipNode


def know_anchors(app, doctree):
    "A link to a page and a name of it, `page.ipynb#name`, finds what the page exports"
    page = app.env.docname
    slugs = app.env.metadata[page].setdefault("myst_slugs", {})
    for name in app.config.names_of_page.get(page, []):
        slugs.setdefault(name, (None, name, name))


def address(app, page: str, name: str) -> str | None:
    "Where a page's link to a name leads: to itself, else to the first page that makes the name"
    makers = [made_on for made_on, names in app.config.names_of_page.items() if name in names]
    if not makers:
        return None
    place = "" if page in makers else app.builder.get_relative_uri(page, makers[0])
    return f"{place}#{name}"


def link_names(app, doctree, page):
    "A `name` in the prose leads to its definition"
    from docutils import nodes

    for literal in list(doctree.findall(nodes.literal)):
        target = address(app, page, re.sub(r"\(.*\)$", "", literal.astext()))
        if target and not isinstance(literal.parent, (nodes.reference, nodes.title)):
            link = nodes.reference("", "", refuri=target, internal=True)
            literal.replace_self(link)
            link += literal


CALL = re.compile(r'<span class="n">(\w+)</span>(?=<span class="p">\()')


def link_calls(app, page, body: str) -> str:
    "A call in a cell of code leads to what it calls"

    def linked(found):
        target = address(app, page, found[1])
        return f'<a class="n" href="{target}">{found[1]}</a>' if target else found[0]

    return CALL.sub(linked, body)


def finish(app, page, template, context, doctree):
    "Links in the code, and what search engines and messengers show of a page"
    context["body"] = link_calls(app, page, context.get("body", ""))
    says = html.escape(app.config.page_descriptions.get(page) or DESCRIPTION)
    heading = html.escape(re.sub(r"<[^>]+>", "", context.get("title", project)))
    context["metatags"] = context.get("metatags", "") + (
        f'<meta name="description" content="{says}">'
        f'<meta property="og:title" content="{heading}">'
        f'<meta property="og:description" content="{says}">'
        f'<meta property="og:type" content="article">'
        f'<meta property="og:site_name" content="{project}">'
    )


DESCRIPTION = "Self-pluralising culture alignment of large language models"


def setup(app):
    app.add_config_value("names_of_page", {}, "env")
    app.add_config_value("page_descriptions", {}, "env")
    app.add_html_math_renderer("mathml", (inline_equation, None), (display_equation, None))
    app.connect("doctree-read", know_anchors)
    app.connect("doctree-resolved", link_names)
    app.connect("html-page-context", finish)
