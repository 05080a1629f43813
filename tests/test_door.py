"What importers meet first: an instant import, short names, the programs of the index; by hand"

import doctest
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import culturespa

ROOT = Path(__file__).resolve().parents[1]


def programs() -> list[str]:
    "The numbered programs of the index"
    cells = json.loads((ROOT/'nbs'/'index.ipynb').read_text())['cells']
    sources = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']
    sources = [source.removeprefix('#| eval: false\n') for source in sources]
    titles = tuple(f'# {n}. ' for n in range(1, 6))
    return [source for source in sources if source.startswith(titles)]


def test_every_name_of_the_door_opens():
    assert set(culturespa.__all__) <= set(dir(culturespa))
    for name in culturespa.__all__:
        assert getattr(culturespa, name) is not None
    with pytest.raises(AttributeError, match='culturespa has no scroe: it has'):
        culturespa.scroe


def test_the_import_is_instant_and_names_do_not_collide_with_modules():
    modules = {path.stem for path in (ROOT/'culturespa').glob('*.py')}
    assert not modules & set(culturespa._DOOR)
    heavy = ('numpy', 'pandas', 'torch', 'transformers', 'pydantic', 'typer')
    code = f'import sys, culturespa; print([name for name in {heavy} if name in sys.modules])'
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert said.stdout == '[]\n', said.stderr


def test_there_are_five_programs_of_at_most_eight_lines():
    lengths = []
    for program in programs():
        lines = program.splitlines()[1:]       # the first is its name
        lengths.append(sum(bool(line.strip()) for line in lines))
    assert len(lengths) == 5 and max(lengths) <= 8


@pytest.mark.parametrize('program', programs(), ids=lambda program: program.splitlines()[0][2:])
def test_the_programs_of_the_index_run(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(program, names)
    kept = [names[name] for name in ('scores', 'answers', 'pairs', 'tuned') if name in names]
    assert len(kept) == 1 and kept[0] is not None


# what takes long or writes much has its program on the index or the page of its module
WITHOUT_EXAMPLE = {'merge_adapter'}


def functions() -> list[str]:
    return [name for name in culturespa.__all__ if inspect.isfunction(getattr(culturespa, name))]


@pytest.mark.parametrize('name', [name for name in functions() if name not in WITHOUT_EXAMPLE])
def test_every_function_of_the_door_shows_an_example_that_runs(name):
    function = getattr(culturespa, name)
    found = [test for test in doctest.DocTestFinder(recurse=False).find(function) if test.examples]
    assert found, f'{name} shows no example'
    for test in found:
        test.globs = dict(inspect.getmodule(function).__dict__)
        results = doctest.DocTestRunner(verbose=False).run(test)
        assert results.failed == 0


STOPPED_WHILE_IMPORTING = '''
import sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == 'typer':
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
from culturespa.__main__ import main
main()
'''


def test_ctrl_c_is_a_line_while_the_command_is_still_being_imported():
    typed = [sys.executable, '-c', STOPPED_WHILE_IMPORTING]
    ended = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (130, 'culturespa: interrupted\n')
