"""Execute pages: python tools/pages.py [--copy] [NOTEBOOK...]

This is what `make notebooks` and .ci/run do.

In place: fresh outputs are stored and the page is cleaned. With --copy the page is only tried,
its file stays as it is. One page at a time, each in a kernel of its own, in the folder of the
pages. Cells marked `#| eval: false` are left out; with --copy so are tests marked `#| slow`,
which `make test` runs anyway. Ends with 'N passed, N failed'.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from export import pages
from markup import directives

ROOT = Path(__file__).resolve().parents[1]


def left_out(source: str, copy: bool) -> bool:
    said = directives(source)
    return said.get("eval", "").lower() == "false" or copy and "test" in said and "slow" in said


def execute(page: Path, timeout: int, copy: bool):
    "The page with fresh outputs, as a notebook in memory"
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor, ExecutePreprocessor

    book = nbformat.read(page, as_version=4)
    spared = {
        c.id: dict(c) for c in book.cells if c.cell_type == "code" and left_out(c.source, copy)
    }
    for cell in book.cells:
        if cell.id in spared:
            cell.cell_type = "raw"
    resources = {"metadata": {"path": str(page.parent)}}
    runner = ExecutePreprocessor(
        timeout=timeout, kernel_name="python3", extra_arguments=["--log-level=ERROR"]
    )
    book, _ = runner.preprocess(book, resources)
    book, _ = CoalesceStreamsPreprocessor(enabled=True).preprocess(book, resources)
    for cell in book.cells:
        if cell.id in spared:
            cell.update(spared[cell.id])
    return book


def store(book, page: Path):
    "Write an executed page back, cleaned as nbdev cleans"
    import nbformat
    from nbdev.clean import nbdev_clean

    for cell in book.cells:  # progress and library news differ from machine to machine
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    nbformat.write(book, page)
    os.chdir(ROOT)
    nbdev_clean(str(page))


def why(error: Exception) -> str:
    "The last words of a failed cell's traceback, without colours"
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return text if len(text) < 3000 else "..." + text[-3000:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebook", nargs="*", type=Path, help="pages to execute (default: all)")
    parser.add_argument("--copy", action="store_true", help="try them, store nothing")
    parser.add_argument("--timeout", type=int, default=900, help="seconds one cell may take")
    given = parser.parse_args()
    failed, chosen = 0, [p.resolve() for p in given.notebook] or pages(ROOT)
    for page in chosen:
        start = time.time()
        try:
            book = execute(page, given.timeout, given.copy)
            if not given.copy:
                store(book, page)
            print(f"{page.name}: {time.time() - start:.0f} s", flush=True)
        except Exception as error:
            failed += 1
            print(
                f"{page.name}: FAILED after {time.time() - start:.0f} s\n{why(error)}",
                file=sys.stderr,
                flush=True,
            )
    print(f"{len(chosen) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
