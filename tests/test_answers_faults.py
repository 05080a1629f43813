"Whatever is killed when: the next call does what is missing, and the table is that of an uninterrupted run"
# ruff: noqa: F821  (names such as `go` come out of WORLD, which the killed processes run too)
import os, signal, subprocess, sys, time
from pathlib import Path

import pandas as pd
import pytest

from culturespa.answer_store import read_kept
from culturespa.answers import fill_answers
from culturespa.survey import InputError

WORLD = '''
import os, random, resource, signal, sys, time
from pathlib import Path
import numpy as np, pandas as pd
from culturespa.answers import ask, fill_answers
from culturespa.models import ScriptedModel, Sampling, item_uniform
from culturespa.prompts import Prompter
from culturespa.survey import Survey, load_cultures

questions = pd.DataFrame([dict(question_id=f'T{k}', language='en', topic='t', question=f'How good is number {k}?', first_code=k % 2, scale='ordinal',
    options=['Bad', 'So so', 'Good'][:2 + k % 2], n_options=2 + k % 2) for k in range(30)])
cultures = load_cultures()[:3]
shares = pd.DataFrame([(c, q.question_id, q.first_code + j, 1 / q.n_options, 9) for c in cultures.culture for q in questions.itertuples()
    for j in range(q.n_options)], columns=['culture', 'question_id', 'code', 'share', 'n'])
prompter = Prompter(Survey('faults', questions, shares, cultures))
pace = [0.]
def reply(chat, seed):
    time.sleep(pace[0])
    u = item_uniform(seed)
    return 'No.' if u < .1 else f'I take {int(u * 4)}.'
scripted = ScriptedModel(reply)
def go(model, out, **more):
    return fill_answers(out, model, questions, prompter, 'unaware,P1', runs=2, orders='original,reversed', rows=7, quiet=True,
                        sampling=Sampling(max_new_tokens=3), **more)
'''
KILL = WORLD + '''
out, kind, kills, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if kind == 'scripted': model, pace[0] = scripted, .004
else:
    import torch; torch.set_num_threads(1)
    from culturespa.local import LocalModel
    model = LocalModel(kind, name='toy')
rng, longest, done = random.Random(seed), .15, 0
for _ in range(kills * 20):
    if (child := os.fork()) == 0:
        go(model, out); os._exit(0)
    time.sleep(rng.uniform(0, longest))
    finished, _ = os.waitpid(child, os.WNOHANG)
    if finished:      # it was done before we killed it: start over, and be quicker
        import shutil; shutil.rmtree(out); longest /= 2; done = 0; continue
    os.kill(child, signal.SIGKILL); os.waitpid(child, 0); done += 1
    if done >= kills and len(list(Path(out).rglob('*.parquet'))) > 1: break  # a busy machine may need more kills to get anywhere
print(done, flush=True)
go(model, out); go(model, out)
if kind != 'scripted': go(model, out + '-whole')
'''
exec(WORLD)


def run(script: str, *args) -> str:
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(Path(__file__).parent.parent), TOKENIZERS_PARALLELISM='false')
    done = subprocess.run([sys.executable, '-c', script, *map(str, args)], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def start(script: str, *args):
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(Path(__file__).parent.parent))
    return subprocess.Popen([sys.executable, '-c', script, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def whole(tmp_path) -> pd.DataFrame:
    "The table of a run that nothing disturbed"
    go(scripted, tmp_path/'whole')
    return read_kept(tmp_path/'whole')


def test_killed_at_twenty_random_moments(tmp_path):
    assert int(run(KILL, tmp_path/'torn', 'scripted', 20, 7)) >= 20
    pd.testing.assert_frame_equal(read_kept(tmp_path/'torn'), whole(tmp_path))
    assert not list((tmp_path/'torn').rglob('*.tmp'))
    assert len(read_kept(tmp_path/'torn')) == 30 * 2 * 2 * (1 + 3)


@pytest.mark.slow
def test_a_language_model_killed_at_twenty_random_moments(tmp_path):
    pytest.importorskip('transformers')
    from test_models import toy_model
    assert int(run(KILL, tmp_path/'torn', toy_model(tmp_path/'toy'), 20, 8)) >= 20
    pd.testing.assert_frame_equal(read_kept(tmp_path/'torn'), read_kept(tmp_path/'torn-whole'))
    assert read_kept(tmp_path/'torn').text.nunique() > 20


def test_interrupted_from_the_keyboard(tmp_path):
    listen = "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background is born deaf to it
    child = start(WORLD + listen + "pace[0] = .005; print('up', flush=True); go(scripted, sys.argv[1])", tmp_path/'torn')
    child.stdout.readline()
    for _ in range(300):
        if any((tmp_path/'torn').rglob('*.parquet')): break
        time.sleep(.1)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode != 0 and 'KeyboardInterrupt' in err
    assert 0 < len(list((tmp_path/'torn').rglob('*.parquet'))) < 60
    go(scripted, tmp_path/'torn')
    pd.testing.assert_frame_equal(read_kept(tmp_path/'torn'), whole(tmp_path))


def test_disk_full(tmp_path):
    script = WORLD + '''
asked = [0]
def filling(chat, seed):
    asked[0] += 1
    if asked[0] == 60: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))   # from here on no file can grow beyond 500 bytes
    return reply(chat, seed)
try: go(ScriptedModel(filling), sys.argv[1])
except OSError as e: print('OSError', e.errno)
'''
    assert run(script, tmp_path/'torn').startswith('OSError')
    parts = list((tmp_path/'torn').rglob('*.parquet'))
    assert len(parts) == 8 or len(parts) == 9
    assert not list((tmp_path/'torn').rglob('*.tmp'))
    go(scripted, tmp_path/'torn')
    pd.testing.assert_frame_equal(read_kept(tmp_path/'torn'), whole(tmp_path))


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    child = start(WORLD + "pace[0] = .02; print('up', flush=True); go(scripted, sys.argv[1])", tmp_path/'run')
    child.stdout.readline()
    for _ in range(200):
        if list((tmp_path/'run').rglob('*.parquet')): break
        time.sleep(.05)
    with pytest.raises(InputError, match='is being filled by another process') as e: go(scripted, tmp_path/'run')
    assert '\n' not in str(e.value)
    child.kill(); child.communicate()
    go(scripted, tmp_path/'run')
    pd.testing.assert_frame_equal(read_kept(tmp_path/'run'), whole(tmp_path))


@pytest.mark.parametrize('damage', [lambda b: b[:len(b) // 2], lambda b: b''])
def test_a_damaged_part_is_named(tmp_path, damage):
    go(scripted, tmp_path)
    part = sorted(tmp_path.rglob('*.parquet'))[3]
    part.write_bytes(damage(part.read_bytes()))
    for call in (lambda: go(scripted, tmp_path), lambda: read_kept(tmp_path)):
        with pytest.raises(InputError, match='is damaged: delete it') as e: call()
        assert str(part) in str(e.value) and '\n' not in str(e.value)
    good = whole(tmp_path)
    part.unlink(); go(scripted, tmp_path)
    pd.testing.assert_frame_equal(read_kept(tmp_path), good)


def test_other_settings_are_refused_and_kept_answers_stay(tmp_path):
    go(scripted, tmp_path); before = read_kept(tmp_path)
    with pytest.raises(InputError, match='seed was 42, is now 1'): go(scripted, tmp_path, seed=1)
    with pytest.raises(InputError, match='temperature was 0.6, is now 1'): fill_answers(tmp_path, scripted, questions, prompter, 'P1', rows=7,
        quiet=True, sampling=Sampling(1., max_new_tokens=3))
    pd.testing.assert_frame_equal(read_kept(tmp_path), before)


def test_other_engines_read_the_parts_as_one_table(tmp_path):
    go(scripted, tmp_path)
    theirs = pd.read_parquet(tmp_path/'answers')
    assert len(theirs) == len(read_kept(tmp_path)) and set(theirs.method.astype(str)) == {'unaware', 'P1'}


def test_lines_in_a_log(tmp_path, capsys):
    fill_answers(tmp_path, scripted, questions, prompter, 'unaware', rows=10, quiet=True)
    fill_answers(tmp_path, scripted, questions, prompter, 'unaware', rows=10, runs=3)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 6 and 'unaware none original 2: 90 of 90' in lines[-1] and '% unparsed' in lines[-1] and 's left' in lines[-1]
