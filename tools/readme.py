"""Write README.md out of nbs/index.ipynb: python tools/readme.py (what `make readme` runs).

Markdown, shown code and stored outputs in order; tables become Markdown tables, pictures files
under nbs/images, and links that are right from nbs/ are made right from the root. `#| hide`
leaves a cell out, `#| echo: false` its code.
"""

import base64
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from markup import code, directives, load, picture_alt

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Made from nbs/index.ipynb by `make readme`: change that page. -->\n"
HIDDEN = {"hide", "default_exp", "export", "exporti", "test", "testsetup"}


class Rows(HTMLParser):
    "The cells of an HTML table, row by row"

    def __init__(self, html):
        super().__init__()
        self.rows, self.cell = [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell.strip().replace("|", "\\|"))
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


def is_number(cell: str) -> bool:
    "A number as tables show it, or nothing"
    return bool(re.fullmatch(r"[-+−±]?[\d.,]+( ?%| ?± ?[\d.,]+)?|", cell))


def side(column: tuple[str, ...]) -> str:
    "Markdown's mark for the side on which a column stands"
    numbers = any(column) and all(is_number(cell) for cell in column)
    return "---:" if numbers else ":---"


def table(html: str) -> str:
    "An HTML table as Markdown, words to the left and numbers to the right"
    rows = [row for row in Rows(html).rows if row]
    width = max(len(row) for row in rows)
    head, *body = [row + [""] * (width - len(row)) for row in rows]
    sides = [side(column) for column in zip(*body)] if body else [":---"] * width
    lines = ["| " + " | ".join(row) + " |" for row in (head, sides, *body)]
    return "\n".join(lines)


def moved(found: re.Match) -> str:
    "What stands before a link of a page in nbs/, and the link as seen from the root"
    before, link = found.groups()
    if re.match(r"[a-z][a-z0-9+.-]*:|//|#|$", link, re.I):
        return before + link
    path, hash_, anchor = link.partition("#")
    place = os.path.normpath(os.path.join("nbs", path))
    return before + place.replace(os.sep, "/") + hash_ + anchor


def from_root(text: str) -> str:
    "Relative links and pictures of a page in nbs/, as seen from the root; blocks of code stay"
    parts = re.split(r"(^```.*?^```[^\n]*$|`[^`\n]+`)", text, flags=re.M | re.S)
    for i in range(0, len(parts), 2):  # what stands between is code
        part = re.sub(r"(\]\()([^)\s]+)", moved, parts[i])
        parts[i] = re.sub(r"""((?:src|href)=["'])([^"']+)""", moved, part)
    return "".join(parts)


def shown(output: dict, name: str, alt: str) -> tuple[str, dict[str, bytes]]:
    "One stored output as Markdown, and the picture file it needs; `alt` says what a picture shows"
    data = output.get("data", {})
    if "text/markdown" in data:
        return from_root(data["text/markdown"]), {}
    if "image/svg+xml" in data:
        path = f"nbs/images/{name}.svg"
        return f"![{alt}]({path})", {path: data["image/svg+xml"].encode()}
    if "image/png" in data:
        path = f"nbs/images/{name}.png"
        return f"![{alt}]({path})", {path: base64.b64decode(data["image/png"])}
    if "<table" in data.get("text/html", ""):
        return table(data["text/html"]), {}
    said = output.get("text") or data.get("text/plain", "")
    text = re.sub(r"\x1b\[[0-9;]*m", "", said).rstrip()
    return (f"```text\n{text}\n```" if text else ""), {}


def code_cell(cell: dict, number: int) -> tuple[list[str], dict[str, bytes]]:
    "A code cell and its outputs, as far as they are shown, and the pictures they need"
    said, source = directives(cell["source"]), code(cell["source"])
    parts, pictures = [], {}
    if HIDDEN & set(said):
        return parts, pictures
    if source and said.get("echo") != "false" and "hide_input" not in said:
        parts.append(f"```python\n{source}\n```")
    if said.get("output") == "false" or "hide_output" in said:
        return parts, pictures
    name = f"readme-{said.get('label') or number}"
    for part, output in enumerate(cell.get("outputs", []), 1):
        text, made = shown(output, name if part == 1 else f"{name}-{part}", picture_alt(said))
        parts.append(text)
        pictures |= made
    return parts, pictures


def render(root: Path) -> tuple[str, dict[str, bytes]]:
    "The text of README.md, and its pictures by path"
    parts, pictures = [NOTE.strip()], {}
    for number, cell in enumerate(load(root / "nbs/index.ipynb")["cells"], 1):
        if cell["cell_type"] == "markdown":
            parts.append(from_root(cell["source"].strip()))
        elif cell["cell_type"] == "code":
            said, made = code_cell(cell, number)
            parts += said
            pictures |= made
    text = "\n\n".join(part for part in parts if part)
    return text + "\n", pictures


def main():
    if not (ROOT / "nbs/index.ipynb").exists():
        sys.exit("readme: there is no nbs/index.ipynb")
    text, pictures = render(ROOT)
    for path, content in {"README.md": text.encode(), **pictures}.items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_bytes(content)
    print(f"README.md: {len(text.split())} words, {len(pictures)} pictures")


if __name__ == "__main__":
    main()
