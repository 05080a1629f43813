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
from markup import code, directives, load

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


def table(html: str) -> str:
    "An HTML table as Markdown, words to the left and numbers to the right"
    rows = [r for r in Rows(html).rows if r]
    width = max(map(len, rows))
    rows = [r + [""] * (width - len(r)) for r in rows]

    def number(cell):
        return re.fullmatch(r"[-+−±]?[\d.,]+( ?%| ?± ?[\d.,]+)?|", cell)

    sides = [
        "---:" if all(number(r[i]) for r in rows[1:]) and any(r[i] for r in rows[1:]) else ":---"
        for i in range(width)
    ]
    return "\n".join("| " + " | ".join(r) + " |" for r in [rows[0], sides, *rows[1:]])


def from_root(text: str) -> str:
    "Relative links and pictures of a page in nbs/, as seen from the root; blocks of code stay"

    def moved(link):
        if re.match(r"[a-z][a-z0-9+.-]*:|//|#|$", link, re.I):
            return link
        path, hash_, anchor = link.partition("#")
        return os.path.normpath(os.path.join("nbs", path)).replace(os.sep, "/") + hash_ + anchor

    parts = re.split(r"(^```.*?^```[^\n]*$|`[^`\n]+`)", text, flags=re.M | re.S)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(\]\()([^)\s]+)", lambda m: m[1] + moved(m[2]), parts[i])
        parts[i] = re.sub(
            r"""((?:src|href)=["'])([^"']+)""", lambda m: m[1] + moved(m[2]), parts[i]
        )
    return "".join(parts)


def shown(output: dict, name: str) -> tuple[str, dict[str, bytes]]:
    "One stored output as Markdown, and the picture file it needs"
    data = output.get("data", {})
    if "text/markdown" in data:
        return from_root(data["text/markdown"]), {}
    if "image/svg+xml" in data:
        path = f"nbs/images/{name}.svg"
        return f"![]({path})", {path: data["image/svg+xml"].encode()}
    if "image/png" in data:
        path = f"nbs/images/{name}.png"
        return f"![]({path})", {path: base64.b64decode(data["image/png"])}
    if "<table" in data.get("text/html", ""):
        return table(data["text/html"]), {}
    text = re.sub(r"\x1b\[[0-9;]*m", "", output.get("text") or data.get("text/plain", "")).rstrip()
    return (f"```text\n{text}\n```" if text else ""), {}


def render(root: Path) -> tuple[str, dict[str, bytes]]:
    "The text of README.md, and its pictures by path"
    parts, pictures = [NOTE], {}
    for number, cell in enumerate(load(root / "nbs/index.ipynb")["cells"], 1):
        said = directives(cell["source"]) if cell["cell_type"] == "code" else {}
        if HIDDEN & set(said):
            continue
        if cell["cell_type"] == "markdown":
            parts.append(from_root(cell["source"].strip()))
        if cell["cell_type"] != "code":
            continue
        if said.get("echo") != "false" and "hide_input" not in said and code(cell["source"]):
            parts.append(f"```python\n{code(cell['source'])}\n```")
        if said.get("output") == "false" or "hide_output" in said:
            continue
        for part, output in enumerate(cell.get("outputs", []), 1):
            text, made = shown(
                output, f"readme-{said.get('label') or number}" + (f"-{part}" if part > 1 else "")
            )
            parts.append(text)
            pictures |= made
    return "\n\n".join(p for p in parts if p).replace("-->\n\n\n", "-->\n\n") + "\n", pictures


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
