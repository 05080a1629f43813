"""Execute pages: python tools/pages.py [--copy] [NOTEBOOK...] (what `make notebooks` and .ci/run do).

In place: fresh outputs are stored and the page is cleaned. With --copy the page is only tried, its file stays as it is.
One page at a time, each in a kernel of its own, in the folder of the pages; cells marked `#| eval: false` are left out.
Ends with 'N passed, N failed'.
"""
import argparse, re, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_RUN = re.compile(r"^#\|\s*eval:\s*false\s*$", re.M | re.I)


def execute(page: Path, timeout: int):
    "The page with fresh outputs, as a notebook in memory"
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor, ExecutePreprocessor
    book = nbformat.read(page, as_version=4)
    left_out = {c.id: dict(c) for c in book.cells if c.cell_type == "code" and NOT_RUN.search(c.source)}
    for cell in book.cells:
        if cell.id in left_out: cell.cell_type = "raw"
    resources = {"metadata": {"path": str(page.parent)}}
    book, _ = ExecutePreprocessor(timeout=timeout, kernel_name="python3").preprocess(book, resources)
    book, _ = CoalesceStreamsPreprocessor(enabled=True).preprocess(book, resources)
    for cell in book.cells:
        if cell.id in left_out: cell.update(left_out[cell.id])
    return book


def store(book, page: Path):
    "Write an executed page back, cleaned as nbdev cleans"
    import os, nbformat
    from nbdev.clean import nbdev_clean
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
    failed, pages = 0, [p.resolve() for p in given.notebook] or sorted((ROOT/"nbs").glob("[!_.]*.ipynb"))
    for page in pages:
        start = time.time()
        try:
            book = execute(page, given.timeout)
            if not given.copy: store(book, page)
            print(f"{page.name}: {time.time() - start:.0f} s", flush=True)
        except Exception as error:
            failed += 1
            print(f"{page.name}: FAILED after {time.time() - start:.0f} s\n{why(error)}", file=sys.stderr, flush=True)
    print(f"{len(pages) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__": main()
