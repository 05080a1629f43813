"""What checks and renderers read off pages and Markdown alike: menus, titles, headings, links."""

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import mistune
import yaml

PLUGINS = ["table", "math", "footnotes", "strikethrough", "task_lists", "def_list"]


def menu(root: Path) -> list[tuple[str, list[str]]]:
    "The menus of _quarto.yml: section titles, each with its pages as paths from the root"
    site = yaml.safe_load((root / "_quarto.yml").read_text())["website"]

    def entries(contents):
        for item in contents or []:
            if isinstance(item, str):
                yield item
            elif "contents" in item:
                yield from entries(item["contents"])
            else:
                yield item.get("href") or item.get("file") or ""

    return [
        (part.get("section", ""), list(entries(part["contents"])))
        if isinstance(part, dict) and "contents" in part
        else ("", list(entries([part])))
        for part in site["sidebar"]["contents"]
    ]


def load(page: Path) -> dict:
    "A notebook as plain data, sources and output texts joined to single strings"
    book = json.loads(page.read_text(encoding="utf-8"))
    for cell in book["cells"]:
        cell["source"] = "".join(cell["source"])
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = "".join(output["text"])
            data = output.get("data", {})
            for kind, value in data.items():
                if isinstance(value, list):
                    data[kind] = "".join(value)
    return book


def directives(source: str) -> dict[str, str]:
    "The `#|` lines a code cell begins with: name to the rest of the line"
    found = {}
    for line in source.lstrip("\n").split("\n"):
        match = re.match(r"#\s*\|\s*([\w-]+):?\s*(.*)", line)
        if not match:
            break
        found[match[1]] = match[2].strip()
    return found


def code(source: str) -> str:
    "A code cell without its `#|` lines"
    return re.sub(r"\A(\s*#\s*\|.*(\n|\Z))+", "", source).strip("\n")


def picture_alt(said: dict[str, str]) -> str:
    "What a cell's `#| fig-alt:` says of its picture; empty if it says nothing"
    return said.get("fig-alt", "").strip("\"'")


def title(book: dict) -> str:
    "What the page's first heading says"
    for cell in book["cells"]:
        found = cell["cell_type"] == "markdown" and re.search(r"^# (.+)$", cell["source"], re.M)
        if found:
            return re.sub(r"[`*]", "", found[1]).strip()
    return ""


def slug(heading: str) -> str:
    "The anchor that Quarto and our own pages give a heading"
    text = re.sub(r"[^\w\s.-]", "", heading.lower())
    return re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", text.strip())) or "section"


def github_slug(heading: str) -> str:
    "The anchor that GitHub gives a heading"
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower().strip()))


class Attributes(HTMLParser):
    "Collects what raw HTML links to, and the ids it sets"

    def __init__(self, text):
        super().__init__()
        self.links, self.ids = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("href", "src") and v]
        self.ids += [v for k, v in attrs if k in ("id", "name") and v]


def pictures_without_words(text: str) -> list[str]:
    "Addresses of pictures in a Markdown text that have no alternative text"
    found = []

    def walk(nodes):
        for node in nodes:
            if node["type"] == "image" and not node.get("children"):
                found.append(node["attrs"]["url"])
            walk(node.get("children", []))

    walk(mistune.create_markdown(renderer="ast", plugins=PLUGINS)(text))
    return found


def links_and_anchors(text: str) -> tuple[list[str], set[str]]:
    "Targets a Markdown text links to, pictures too, and the anchors it offers; code is not read"
    links, anchors = [], set()

    def words(node):
        return node.get("raw", "") + "".join(words(child) for child in node.get("children", []))

    def walk(nodes):
        for node in nodes:
            if node["type"] in ("link", "image"):
                links.append(node["attrs"]["url"])
            elif node["type"] in ("inline_html", "block_html"):
                html = Attributes(node["raw"])
                links.extend(html.links)
                anchors.update(html.ids)
            elif node["type"] == "heading":
                heading = words(node)
                given = re.search(r"\{#([\w.-]+)[^}]*\}\s*$", heading)
                anchors.update({given[1]} if given else {slug(heading), github_slug(heading)})
            walk(node.get("children", []))

    walk(mistune.create_markdown(renderer="ast", plugins=PLUGINS)(text))
    return links, anchors


def exported(cell: dict) -> dict[str, ast.AST]:
    "Public names that a cell gives to its module, and where: functions, classes and constants"
    if cell["cell_type"] != "code" or not {"export", "exports"} & set(directives(cell["source"])):
        return {}
    try:
        body = ast.parse(code(cell["source"])).body
    except SyntaxError:
        return {}
    found = {node.name: node for node in body if hasattr(node, "name")}
    for node in body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        constants = [target.id for target in targets if isinstance(target, ast.Name)]
        found |= {name: node for name in constants if name[0].isupper()}
    return {name: node for name, node in found.items() if not name.startswith("_")}


def definitions(book: dict) -> set[str]:
    "Public names that a page exports: its documentation has an anchor for each"
    return {name for cell in book["cells"] for name in exported(cell)}


def module_of(book: dict) -> str | None:
    "The module a page makes"
    for cell in book["cells"]:
        name = cell["cell_type"] == "code" and directives(cell["source"]).get("default_exp")
        if name:
            return name
    return None


def page_markdown(book: dict) -> str:
    "All Markdown of a page"
    return "\n\n".join(c["source"] for c in book["cells"] if c["cell_type"] == "markdown")


def split_target(link: str) -> tuple[str, str]:
    "Path and anchor of a relative link; an address elsewhere gives two empty strings"
    if re.match(r"[a-z][a-z0-9+.-]*:|//", link, re.I):
        return "", ""
    path, _, anchor = link.partition("#")
    return unquote(path.partition("?")[0]), unquote(anchor)
