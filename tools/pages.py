"""Execute pages: python tools/pages.py [--copy] [NOTEBOOK...]

This is what `make notebooks` and .ci/run do.

In place: fresh outputs are stored and the page is cleaned. With --copy the page is only tried,
its file stays as it is. Each page has a kernel of its own, in the folder of the pages;
`--jobs 2` runs two at once. Cells marked `#| eval: false` are left out; with --copy so are tests,
which `make test` runs anyway. A page that writes to stderr fails: Jupyter shows that in pink.
Ends with 'N passed, N failed'.
"""

import argparse
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from export import pages
from markup import directives

ROOT = Path(__file__).resolve().parents[1]


def left_out(source: str, copy: bool) -> bool:
    said = directives(source)
    return said.get("eval", "").lower() == "false" or copy and "test" in said


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


def pink(book) -> list[str]:
    "Warnings, bars and library news: what cells write to stderr; a test may provoke a note"
    said = []
    for number, cell in enumerate(book.cells, 1):
        if cell.source.startswith("#| test "):
            continue
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                said.append(f"cell {number} writes to stderr: {output['text'].strip()[:200]}")
    return said


def is_stored(output) -> bool:
    "Neither stderr nor a live widget, such as a bar, which no other page can show"
    widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    return output.get("name") != "stderr" and not widget


def store(book, page: Path):
    "Write an executed page back, cleaned as nbdev cleans"
    import nbformat
    from nbdev.clean import nbdev_clean

    book.metadata.pop("widgets", None)  # the state of bars that are not stored
    for cell in book.cells:  # progress and library news differ from machine to machine
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if is_stored(output)]
        if cell.source.startswith("#| test "):
            cell.outputs = []
    nbformat.write(book, page)
    os.chdir(ROOT)
    nbdev_clean(str(page))


def why(error: Exception) -> str:
    "The last words of a failed cell's traceback, without colours"
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return text if len(text) < 3000 else "..." + text[-3000:]


def run(page: Path, timeout: int, copy: bool) -> tuple[bool, str]:
    "Execute one page: did it pass, and a line or a traceback about it"
    start = time.time()
    try:
        book = execute(page, timeout, copy)
        said = pink(book)
        if not copy:
            store(book, page)
    except Exception as error:
        return False, f"{page.name}: FAILED after {time.time() - start:.0f} s\n{why(error)}"
    took = f"{time.time() - start:.0f} s"
    if said:
        return False, "\n".join([f"{page.name}: FAILED after {took}", *said])
    return True, f"{page.name}: {took}"


def results(chosen: list[Path], jobs: int, timeout: int, copy: bool):
    "What `run` says of each page, as they end; several at once share the cores between them"
    if jobs == 1:
        for page in chosen:
            yield run(page, timeout, copy)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs) as pool:
        # from the end: what comes first is short, and fills the gaps when it comes last
        under_way = [pool.submit(run, page, timeout, copy) for page in reversed(chosen)]
        for job in as_completed(under_way):
            yield job.result()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebook", nargs="*", type=Path, help="pages to execute (default: all)")
    parser.add_argument("--copy", action="store_true", help="try them, store nothing")
    parser.add_argument("--timeout", type=int, default=900, help="seconds one cell may take")
    parser.add_argument("--jobs", type=int, default=1, help="pages at once (default 1)")
    given = parser.parse_args()
    chosen = [page.resolve() for page in given.notebook] or pages(ROOT)
    failed = 0
    for passed, said in results(chosen, given.jobs, given.timeout, given.copy):
        failed += not passed
        print(said, file=sys.stdout if passed else sys.stderr, flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
