"Whatever is killed when: the next call does the rest, and the table is that of a whole run"
# ruff: noqa: F821  (names such as `go` come out of WORLD, which the killed processes run too)
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from culturespa.answer_store import read_kept
from culturespa.answers import fill_answers
from culturespa.models import Sampling, ScriptedModel
from culturespa.survey import InputError

WORLD = '''
import os, random, resource, shutil, signal, sys, time
from pathlib import Path

import numpy as np
import pandas as pd

from culturespa.answers import ask, fill_answers
from culturespa.models import Sampling, ScriptedModel, item_uniform
from culturespa.prompts import Prompter
from culturespa.survey import Survey, load_cultures

TEXTS = ['Bad', 'So so', 'Good']
rows, shares = [], []
cultures = load_cultures()[:3]
for k in range(30):
    n = 2 + k % 2
    rows.append(dict(question_id=f'T{k}', language='en', topic='t',
                     question=f'How good is number {k}?', first_code=k % 2, scale='ordinal',
                     options=TEXTS[:n], n_options=n))
    for culture in cultures.culture:
        shares += [(culture, f'T{k}', k % 2 + j, 1 / n, 9) for j in range(n)]
questions = pd.DataFrame(rows)
shares = pd.DataFrame(shares, columns=['culture', 'question_id', 'code', 'share', 'n'])
prompter = Prompter(Survey('faults', questions, shares, cultures))
pace = [0.]

def reply(chat, seed):
    time.sleep(pace[0])
    u = item_uniform(seed)
    return 'No.' if u < .1 else f'I take {int(u * 4)}.'

scripted = ScriptedModel(reply)

def go(model, out, **more):
    return fill_answers(out, model, questions, prompter, 'unaware,P1', repeats=2,
                        orders='original,reversed', rows=7, quiet=True,
                        sampling=Sampling(max_new_tokens=3), **more)
'''
KILL = WORLD + '''
out, kind, kills, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if kind == 'scripted':
    model, pace[0] = scripted, .004
else:
    import torch
    torch.set_num_threads(1)
    from culturespa.local import LocalModel
    model = LocalModel(kind, name='toy')

rng, longest, done = random.Random(seed), .15, 0
for _ in range(kills * 20):
    child = os.fork()
    if child == 0:
        go(model, out)
        os._exit(0)
    time.sleep(rng.uniform(0, longest))
    finished, _ = os.waitpid(child, os.WNOHANG)
    if finished:      # it was done before we killed it: start over, and be quicker
        shutil.rmtree(out)
        longest /= 2
        done = 0
        continue
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done += 1
    got_somewhere = len(list(Path(out).rglob('*.parquet'))) > 1
    if done >= kills and got_somewhere:      # a busy machine may need more kills for that
        break
print(done, flush=True)
go(model, out)
go(model, out)
if kind != 'scripted':
    go(model, out + '-whole')
'''
exec(WORLD)


def environment() -> dict:
    root = str(Path(__file__).parent.parent)
    return dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=root, TOKENIZERS_PARALLELISM='false')


def run(script: str, *args) -> str:
    command = [sys.executable, '-c', script, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def start(script: str, *args):
    command = [sys.executable, '-c', script, *map(str, args)]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(command, env=environment(), **pipes)


def whole(tmp_path) -> pd.DataFrame:
    "The table of a run that nothing disturbed"
    go(scripted, tmp_path/'whole')
    return read_kept(tmp_path/'whole')


def wait_for_a_part(folder):
    "Until the first answers are on disk"
    for _ in range(300):
        if any(folder.rglob('*.parquet')):
            return
        time.sleep(.1)


def test_killed_at_twenty_random_moments(tmp_path):
    assert int(run(KILL, tmp_path/'torn', 'scripted', 20, 7)) >= 20
    pd.testing.assert_frame_equal(read_kept(tmp_path/'torn'), whole(tmp_path))
    assert not list((tmp_path/'torn').rglob('*.tmp'))
    assert len(read_kept(tmp_path/'torn')) == 30 * 2 * 2 * (1 + 3)


@pytest.mark.slow
def test_a_language_model_killed_at_twenty_random_moments(tmp_path):
    from culturespa.models import random_model
    toy = random_model(tmp_path/'toy')
    assert int(run(KILL, tmp_path/'torn', toy, 20, 8)) >= 20
    pd.testing.assert_frame_equal(read_kept(tmp_path/'torn'), read_kept(tmp_path/'torn-whole'))
    assert read_kept(tmp_path/'torn').text.nunique() > 20


def test_interrupted_from_the_keyboard(tmp_path):
    # a job in the background is born deaf to the signal
    listen = 'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
    slow = "pace[0] = .005\nprint('up', flush=True)\ngo(scripted, sys.argv[1])"
    child = start(WORLD + listen + slow, tmp_path/'torn')
    child.stdout.readline()
    wait_for_a_part(tmp_path/'torn')
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
    if asked[0] == 60:      # from here on no file can grow beyond 500 bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    return reply(chat, seed)

try:
    go(ScriptedModel(filling), sys.argv[1])
except OSError as error:
    print('OSError', error.errno)
'''
    assert run(script, tmp_path/'torn').startswith('OSError')
    parts = list((tmp_path/'torn').rglob('*.parquet'))
    assert len(parts) == 8 or len(parts) == 9
    assert not list((tmp_path/'torn').rglob('*.tmp'))
    go(scripted, tmp_path/'torn')
    pd.testing.assert_frame_equal(read_kept(tmp_path/'torn'), whole(tmp_path))


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    slow = "pace[0] = .02\nprint('up', flush=True)\ngo(scripted, sys.argv[1])"
    child = start(WORLD + slow, tmp_path/'run')
    child.stdout.readline()
    wait_for_a_part(tmp_path/'run')
    with pytest.raises(InputError, match='is in use by another process') as refused:
        go(scripted, tmp_path/'run')
    assert '\n' not in str(refused.value)
    child.kill()
    child.communicate()
    go(scripted, tmp_path/'run')
    pd.testing.assert_frame_equal(read_kept(tmp_path/'run'), whole(tmp_path))


@pytest.mark.parametrize('damage', [lambda b: b[:len(b) // 2], lambda b: b''])
def test_a_damaged_part_is_named(tmp_path, damage):
    go(scripted, tmp_path)
    part = sorted(tmp_path.rglob('*.parquet'))[3]
    part.write_bytes(damage(part.read_bytes()))
    for call in (lambda: go(scripted, tmp_path), lambda: read_kept(tmp_path)):
        with pytest.raises(InputError, match='is damaged: delete it') as refused:
            call()
        assert str(part) in str(refused.value) and '\n' not in str(refused.value)
    good = whole(tmp_path)
    part.unlink()
    go(scripted, tmp_path)
    pd.testing.assert_frame_equal(read_kept(tmp_path), good)


def test_other_settings_are_refused_and_kept_answers_stay(tmp_path):
    go(scripted, tmp_path)
    before = read_kept(tmp_path)
    with pytest.raises(InputError, match='seed was 42, is now 1'):
        go(scripted, tmp_path, seed=1)
    hot = Sampling(1., max_new_tokens=3)
    with pytest.raises(InputError, match='temperature was 0.6, is now 1'):
        fill_answers(
            tmp_path, scripted, questions, prompter, 'P1', rows=7, quiet=True, sampling=hot)
    pd.testing.assert_frame_equal(read_kept(tmp_path), before)


def test_other_engines_read_the_parts_as_one_table(tmp_path):
    go(scripted, tmp_path)
    theirs = pd.read_parquet(tmp_path/'answers')
    assert len(theirs) == len(read_kept(tmp_path))
    assert set(theirs.method.astype(str)) == {'unaware', 'P1'}


def test_lines_in_a_log(tmp_path, capsys):
    plan = scripted, questions, prompter, 'unaware'
    fill_answers(tmp_path, *plan, rows=10, quiet=True)
    fill_answers(tmp_path, *plan, rows=10, repeats=3)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 6
    for words in ('unaware none original 2: 90 of 90', '% unparsed', 's left'):
        assert words in lines[-1]
