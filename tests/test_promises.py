"What SECURITY.md promises, tried"

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from culturespa.cli import main
from culturespa.configuration import configure
from culturespa.local import LocalModel
from culturespa.models import random_adapter, random_model
from culturespa.run_folder import Run
from culturespa.survey import InputError

ROOT = Path(__file__).resolve().parents[1]


class Bomb:
    "Unpickling it makes a file"

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def bomb_for(mark: Path) -> bytes:
    "A pickle that does work: proved before it is used"
    content = pickle.dumps(Bomb(mark))
    pickle.loads(content)
    assert mark.exists()
    mark.unlink()
    return content


def test_pickled_weights_are_never_opened(tmp_path):
    mark, model = tmp_path / "mark", random_model(tmp_path / "model")
    bomb = bomb_for(mark)
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (model / name).write_bytes(bomb)
    LocalModel(model, device="cpu")  # safetensors lie beside them
    (model / "model.safetensors").rename(tmp_path / "kept")
    with pytest.raises(InputError, match="safetensors"):
        LocalModel(model, device="cpu")
    (tmp_path / "kept").rename(model / "model.safetensors")
    adapter = random_adapter(tmp_path / "adapter", model)
    (adapter / "adapter_model.bin").write_bytes(bomb)
    LocalModel(model, adapter, device="cpu")
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError):
        LocalModel(model, adapter, device="cpu")
    assert not mark.exists()


def edited(file: Path, **changes):
    "A JSON file with other values"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_no_code_of_a_model_folder_runs(tmp_path):
    mark, model = tmp_path / "mark", random_model(tmp_path / "model")
    (model / "own.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    places = dict(AutoConfig="own.C", AutoModelForCausalLM="own.M", AutoTokenizer=["own.T", None])
    edited(model / "tokenizer_config.json", auto_map=places)
    for kind in ("llama", "own"):  # one that the library knows, and one that only the folder knows
        edited(model / "config.json", auto_map=places, model_type=kind)
        try:
            LocalModel(model, device="cpu")
        except InputError:
            assert kind == "own"
        assert not mark.exists()


# runs in a process of its own: a hook of the interpreter cannot be taken off
WATCH = """
import json, os, sys
seen = []

def hook(event, arguments):
    if event == 'open':
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and not isinstance(path, int):
            seen.append(['write', os.path.abspath(os.fsdecode(path))])
    elif event.startswith('socket.') and event != 'socket.__new__' or event == 'subprocess.Popen':
        seen.append([event, repr(arguments)[:200]])

sys.addaudithook(hook)
from culturespa.cli import main
code = main(sys.argv[2:])
with open(sys.argv[1], 'w') as file:
    json.dump([code, seen], file)
"""


OUTSIDE = {
    "strategies": ["../../victim"],
    "specific": ["../../victim"],
    "cultures": ["../../victim"],
}


@pytest.mark.parametrize("setting", OUTSIDE)
def test_names_in_a_record_lead_to_no_other_place(tmp_path, capfd, setting):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "diary.txt").write_text("dear diary")
    run = tmp_path / "theirs/run"
    Run(run, configure("demo"), quiet=True).note("")
    record = json.loads((run / "record.json").read_text())
    record["configuration"][setting] = OUTSIDE[setting]
    (run / "record.json").write_text(json.dumps(record))
    for command in ("run --preset demo --out", "pairs --out", "tune --out", "report"):
        assert main([*command.split(), str(run)]) == 2
        said = capfd.readouterr().err
        assert said.count("\n") == 1 and "victim" in said, command
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"diary.txt", "record.json"}
    assert (victim / "diary.txt").read_text() == "dear diary"


def test_a_run_connects_to_nobody_and_writes_into_its_folder_alone(tmp_path):
    places = {name: tmp_path / name for name in ("home", "here", "temporary", "run")}
    for place in places.values():
        place.mkdir()
    places["run"].rmdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= dict(HOME=str(places["home"]), TMPDIR=str(places["temporary"]), PYTHONPATH=str(ROOT))
    few = "--cultures USA,ZWE --topics Food --per-topic 4 --strategies crqpc --device cpu --quiet"
    line = f"run --preset demo --out {places['run']} {few}".split()
    said = tmp_path / "said.json"
    command = [sys.executable, "-c", WATCH, said, *line]
    done = subprocess.run(command, env=env, cwd=places["here"], capture_output=True, text=True)
    code, seen = json.loads(said.read_text())
    assert code == 0, done.stderr
    assert [call for call in seen if call[0].startswith("socket")] == []
    programs = {what.split("'")[1] for kind, what in seen if kind == "subprocess.Popen"}
    assert programs <= {"fc-list"}  # which fonts there are, for pictures
    written = {Path(what) for kind, what in seen if kind == "write"}
    assert any(path.is_relative_to(places["run"]) for path in written)
    caches = places["temporary"], places["home"] / ".cache", Path(os.devnull)
    allowed = (places["run"], said, *caches)
    assert {path for path in written if not any(path.is_relative_to(p) for p in allowed)} == set()
    assert list(places["here"].rglob("*")) == []
    files = [path for path in places["temporary"].rglob("*") if path.is_file()]
    assert files == []  # what libraries put there for a moment is gone


# what a process wrote itself a moment ago, or what ships with the package
OWN = {('adapter_folder', 'read_text'), ('stored_results', 'read_text'), ('survey', 'read_csv'),
       ('wvs', 'read_csv')}
READERS = {'read_text', 'read_csv', 'read_parquet', 'read_json', 'read_excel'}
WRITERS = {'write_text', 'write_bytes', 'to_csv', 'to_parquet', 'to_json', 'to_excel'}


def test_files_go_through_one_reader_and_one_writer():
    import ast

    around = []
    for file in sorted((ROOT / 'culturespa').glob('*.py')):
        if file.stem in ('reading', 'writing'):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = node.func.attr
            ships = 'data_path(' in ast.unparse(node) or 'StringIO(' in ast.unparse(node)
            reads = name in READERS and not ships
            # without a place `to_csv` returns a text
            writes = name in WRITERS and (node.args or name.startswith('write'))
            if (reads or writes) and (file.stem, name) not in OWN:
                around.append(f'{file.stem}: {ast.unparse(node)[:80]}')
    assert not around, around
