"Pages in a real JupyterLab, in a real browser: every cell runs, and nothing comes out pink"

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from nbformat import v4

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PAGES = ("tour", "100_survey", "430_answers", "440_samples")
MINUTES = 10  # for a page on a busy machine; alone, each takes less than three

RUN_ALL = """(async path => {
  const app = window.jupyterapp
  await app.restored
  const panel = await app.commands.execute(
    'docmanager:open', {path, factory: 'Notebook', kernel: {name: 'python3'}})
  await panel.context.ready
  await panel.sessionContext.ready
  await app.commands.execute('notebook:run-all-cells')
  const cells = panel.content.model.toJSON().cells.filter(cell => cell.cell_type === 'code')
  const shown = [...panel.node.querySelectorAll('[data-mime-type$="stderr"]')]
  await panel.sessionContext.shutdown()
  return JSON.stringify({cells, pink: shown.map(node => node.innerText)})
})"""


class Browser:
    "Chromium without a window, spoken to over its debugging port"

    def __init__(self, program: str, folder: Path):
        import websocket

        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        flags += [f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"]
        silent = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen([program, *flags], **silent)
        told = folder / "DevToolsActivePort"
        wait_for(lambda: told.exists() and len(told.read_text().split()) == 2, "Chromium")
        port = told.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            tab = next(tab for tab in json.load(answer) if tab["type"] == "page")
        address, limit = tab["webSocketDebuggerUrl"], 60 * MINUTES
        self.tab = websocket.create_connection(address, timeout=limit, suppress_origin=True)
        self.sent = 0

    def ask(self, method: str, **parameters) -> dict:
        self.sent += 1
        self.tab.send(json.dumps({"id": self.sent, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.tab.recv())
            if answer.get("id") == self.sent:
                return answer["result"]

    def evaluate(self, script: str):
        "What a piece of JavaScript comes to, once its promise is kept"
        answer = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def close(self):
        self.tab.close()
        self.process.terminate()
        self.process.wait(30)


def wait_for(ready, what: str, seconds: float = 120):
    "Until `ready()` is true"
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} is not up after {seconds} s"
        time.sleep(0.2)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def program():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip(f"no browser to drive JupyterLab with: looked for {', '.join(BROWSERS)}")
    return found


@pytest.fixture(scope="module")
def lab(program, tmp_path_factory):
    "The address of a JupyterLab on a copy of the pages, beside everything else of the project"
    copy = tmp_path_factory.mktemp("lab") / ROOT.name
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.name not in ("nbs", ".git", "runs", "_docs"):
            (copy / path.name).symlink_to(path)
    shutil.copytree(ROOT / "nbs", copy / "nbs")
    loud = v4.new_notebook(cells=[v4.new_code_cell("import sys\nprint('oh', file=sys.stderr)")])
    (copy / "nbs/loud.ipynb").write_text(v4.writes_json(loud))
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="]
    command += [f"--ServerApp.root_dir={copy / 'nbs'}", "--LabApp.expose_app_in_browser=True"]
    here = {"JUPYTER_CONFIG_DIR": str(copy.parent / "config"), "PYTHONPATH": str(copy)}
    settings = {"JUPYTERLAB_WORKSPACES_DIR": str(copy.parent / "workspaces")}
    silent = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = subprocess.Popen(command, env=os.environ | here | settings, **silent)
    address = f"http://127.0.0.1:{port}/lab"
    wait_for(lambda: answers(address), "JupyterLab")
    yield address
    server.terminate()
    server.wait(60)


@pytest.fixture(scope="module")
def browser(lab, program, tmp_path_factory):
    opened = Browser(program, tmp_path_factory.mktemp("browser"))
    opened.ask("Page.navigate", url=lab)
    wait_for(lambda: opened.evaluate("!!(window.jupyterapp && jupyterapp.restored)"), "the page")
    yield opened
    opened.close()


def pink(cells: list[dict]) -> list[str]:
    "What cells wrote to stderr, and the errors they ended in"
    said = []
    for cell in cells:
        first = "".join(cell["source"])[:60]
        for output in cell["outputs"]:
            if output["output_type"] == "error" or output.get("name") == "stderr":
                text = output.get("evalue") or "".join(output["text"])
                said.append(f"{first!r} said {text[-300:]!r}")
    return said


def not_run(cells: list[dict]) -> list[str]:
    "Cells without a number, which JupyterLab gives what it has run"
    sources = ["".join(cell["source"]) for cell in cells if cell["execution_count"] is None]
    return [source for source in sources if source.strip()]


@pytest.mark.slow
def test_a_pink_block_is_seen(browser):
    ran = json.loads(browser.evaluate(f"{RUN_ALL}('loud.ipynb')"))
    assert "'oh\\n'" in pink(ran["cells"])[0] and ran["pink"] == ["oh\n"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_in_jupyterlab_without_a_pink_block(browser, page):
    ran = json.loads(browser.evaluate(f"{RUN_ALL}('{page}.ipynb')"))
    assert pink(ran["cells"]) == [] and ran["pink"] == []
    assert not_run(ran["cells"]) == []
