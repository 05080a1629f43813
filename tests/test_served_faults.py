"A served model against servers that fail in every way, and against `transformers serve`"
import json, os, socket, subprocess, sys, threading, time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from culturespa.answers import ask
from culturespa.asking import ask_once
from culturespa.models import Sampling
from culturespa.served import ServedModel, load_model
from culturespa.survey import InputError
from test_answers import prompter, questions
from test_models import ScriptedServer, said, toy_model

CHAT = [dict(role='user', content='Tea or coffee?\n1. Tea\n2. Coffee')]


def number(request, options=3) -> str:
    "What the scripted server says: it follows from the request alone"
    return str(1 + request['seed'] % options)


def test_slow_servers_time_out_and_are_asked_again():
    def script(n, request):
        if n == 1: time.sleep(1.5)
        return 200, said('1')
    server = ScriptedServer(script)
    begin = time.monotonic()
    assert ServedModel('m', server.url, timeout=.3, pause=.01).generate([CHAT]) == ['1']
    assert time.monotonic() - begin < 1.4 and len(server.seen) == 2


def test_a_server_that_stays_slow_is_given_up():
    server = ScriptedServer(lambda n, request: time.sleep(.6) or (200, said('1')))
    with pytest.raises(ConnectionError, match='failed 2 times, last with APITimeoutError') as e:
        ServedModel('m', server.url, timeout=.1, tries=2, pause=.01).generate([CHAT])
    assert '\n' not in str(e.value)


def test_nobody_at_the_address():
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    with pytest.raises(ConnectionError, match='failed 2 times'): ServedModel('m', f'http://127.0.0.1:{port}', tries=2, pause=.01).generate([CHAT])
    with pytest.raises(InputError, match='is no address'): ServedModel('m', 'localhost:8000')


@pytest.mark.parametrize('trouble', [(429, {}), (500, b'broken'), (502, b'<html>'), (503, {}), None, (200, b'not json'), (200, b'{"choices": [{'),
                                     (200, {}), (200, dict(choices=[])), (200, dict(choices=None)), (200, b'[]'), (200, b'"text"'), (200, b'')])
def test_every_passing_trouble_is_survived_anywhere(trouble):
    server = ScriptedServer(lambda n, request: trouble if n % 3 == 1 else (200, said(number(request))))
    replies = ServedModel('m', server.url, pause=.001, tries=12).generate([CHAT] * 12, seeds=range(12))
    assert replies == [str(1 + k % 3) for k in range(12)]


def test_concurrency_is_limited_and_order_kept():
    now, most, lock = [0], [0], threading.Lock()
    def script(n, request):
        with lock: now[0] += 1; most[0] = max(most[0], now[0])
        time.sleep(.01 * (request['seed'] % 4))
        with lock: now[0] -= 1
        return 200, said(number(request, 9))
    server = ScriptedServer(script)
    assert ServedModel('m', server.url, concurrency=5).generate([CHAT] * 40, seeds=range(40)) == [str(1 + k % 9) for k in range(40)]
    assert 2 <= most[0] <= 5


def test_a_server_that_dies_in_the_middle_costs_one_part(tmp_path):
    healthy = ScriptedServer(lambda n, request: (200, said(number(request))))
    dying = ScriptedServer(lambda n, request: (200, said(number(request))) if n <= 9 else None)
    def go(server, out): return ask(ServedModel('m', healthy.url if server is healthy else dying.url, name='m', tries=2, pause=.001, concurrency=1),
                                    questions, prompter, methods='unaware,P1', runs=2, out=out, rows=1, quiet=True)
    whole = go(healthy, tmp_path/'whole')
    with pytest.raises(ConnectionError, match='what was answered is kept'): go(dying, tmp_path/'torn')
    for record in (tmp_path/'torn').rglob('_asked.json'): record.write_text(record.read_text().replace(dying.url, healthy.url))
    asked = len(healthy.seen)
    pd.testing.assert_frame_equal(go(healthy, tmp_path/'torn'), whole)
    assert len(healthy.seen) - asked == len(whole) - 9


def test_the_key_is_written_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv('OPENAI_API_KEY', 'sk-secret')
    server = ScriptedServer(lambda n, request: (200, said('1')))
    model = load_model('m', url=server.url)
    ask(model, questions, prompter, 'unaware', out=tmp_path, quiet=True)
    assert server.seen[0][1]['authorization'] == 'Bearer sk-secret'
    assert not any(b'sk-secret' in f.read_bytes() for f in tmp_path.rglob('*') if f.is_file())


def test_scoring_where_the_server_can_and_one_line_where_not(tmp_path):
    able = ScriptedServer(lambda n, request: (200, said('1', {'0': .1, '1': .6, '2': .2, '3': .05})))
    answers = ask(ServedModel('m', able.url), questions, prompter, 'unaware', mode='score', sampling=Sampling(1., 1.), quiet=True)
    assert np.allclose(answers.probability.map(sum) + answers.outside, 1)
    unable = ServedModel('m', ScriptedServer(lambda n, request: (200, said('1'))).url)
    with pytest.raises(InputError, match='gives no logprobs'): ask(unable, questions, prompter, 'unaware', mode='score', quiet=True)
    assert 'no logprobs' in ask_once(unable, prompter, 'Tea?', ['Yes', 'No'])['refused']


@pytest.mark.slow
def test_transformers_serve(tmp_path):
    pytest.importorskip('fastapi'); pytest.importorskip('uvicorn')
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    folder = toy_model(tmp_path/'toy')
    env = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', HF_HOME=str(tmp_path/'hub'))
    with open(tmp_path/'log', 'w') as log:
        process = subprocess.Popen([Path(sys.executable).with_name('transformers'), 'serve', '--host', '127.0.0.1', '--port', str(port), '--device', 'cpu'],
                                   stdout=log, stderr=log, env=env)
    try:
        for _ in range(300):
            with socket.socket() as s:
                if s.connect_ex(('127.0.0.1', port)) == 0: break
            assert process.poll() is None, (tmp_path/'log').read_text()[-2000:]
            time.sleep(.2)
        model = load_model(str(folder), url=f'http://127.0.0.1:{port}', name='served', concurrency=2)
        answers = ask(model, questions, prompter, 'unaware,P1', 'ZWE', sampling=Sampling(max_new_tokens=4), out=tmp_path/'run', quiet=True)
        assert len(answers) == 4 and answers.text.map(len).sum() > 0
        with pytest.raises(InputError, match='gives no logprobs'): model.option_probabilities([CHAT], [['1', '2']])
    finally: process.terminate(); process.wait(timeout=20)
