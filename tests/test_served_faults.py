"A served model against servers that fail in every way, and against `transformers serve`"
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from culturespa.answer_store import read_kept
from culturespa.answers import ask
from culturespa.asking import ask_once
from culturespa.models import Sampling, random_model
from culturespa.questions import QuestionWriter, generate_questions
from culturespa.served import ServedModel, heeds_temperature, load_model
from culturespa.survey import InputError
from culturespa.survey_files import load_survey
from culturespa.toys import ScriptedServer, chat_reply
from test_answers import prompter, questions

CHAT = [dict(role='user', content='Tea or coffee?\n1. Tea\n2. Coffee')]
BROKEN = [(429, {}), (500, b'broken'), (502, b'<html>'), (503, {}), None, (200, b'not json'),
          (200, b'{"choices": [{'), (200, {}), (200, dict(choices=[])), (200, dict(choices=None)),
          (200, b'[]'), (200, b'"text"'), (200, b'')]


def number(request, options=3) -> str:
    "What the scripted server says: it follows from the request alone"
    return str(1 + request['seed'] % options)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(('127.0.0.1', 0))
        return listening.getsockname()[1]


def test_slow_servers_time_out_and_are_asked_again():
    def script(n, request):
        if n == 1:
            time.sleep(1.5)
        return 200, chat_reply('1')
    server = ScriptedServer(script)
    begin = time.monotonic()
    assert ServedModel('m', server.url, timeout=.3, pause=.01).generate([CHAT]) == ['1']
    assert time.monotonic() - begin < 1.4 and len(server.seen) == 2


def test_a_server_that_stays_slow_is_given_up():
    server = ScriptedServer(lambda n, request: time.sleep(.6) or (200, chat_reply('1')))
    model = ServedModel('m', server.url, timeout=.1, tries=2, pause=.01)
    given_up = 'failed 2 times, last with no whole reply within 0.1 s'
    with pytest.raises(ConnectionError, match=given_up) as failed:
        model.generate([CHAT])
    assert '\n' not in str(failed.value)


def test_nobody_at_the_address():
    model = ServedModel('m', f'http://127.0.0.1:{free_port()}', tries=2, pause=.01)
    with pytest.raises(ConnectionError, match='failed 2 times'):
        model.generate([CHAT])
    with pytest.raises(InputError, match='is no address'):
        ServedModel('m', 'localhost:8000')


@pytest.mark.parametrize('trouble', BROKEN)
def test_every_passing_trouble_is_survived_anywhere(trouble):
    def script(n, request):
        return trouble if n % 3 == 1 else (200, chat_reply(number(request)))
    model = ServedModel('m', ScriptedServer(script).url, pause=.001, tries=12)
    replies = model.generate([CHAT] * 12, seeds=range(12))
    assert replies == [str(1 + k % 3) for k in range(12)]


def test_concurrency_is_limited_and_order_kept():
    under_way, most, lock = [0], [0], threading.Lock()

    def script(n, request):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(.01 * (request['seed'] % 4))
        with lock:
            under_way[0] -= 1
        return 200, chat_reply(number(request, 9))

    model = ServedModel('m', ScriptedServer(script).url, concurrency=5)
    replies = model.generate([CHAT] * 40, seeds=range(40))
    assert replies == [str(1 + k % 9) for k in range(40)]
    assert 2 <= most[0] <= 5


def test_a_server_that_dies_in_the_middle_costs_nothing(tmp_path, capsys):
    healthy = ScriptedServer(lambda n, request: (200, chat_reply(number(request))))
    dying = ScriptedServer(
        lambda n, request: (200, chat_reply(number(request))) if n <= 11 else None)

    def go(server, out, rows):
        model = ServedModel('m', server.url, name='m', tries=2, pause=.001, concurrency=1)
        return ask(model, questions, prompter, methods='unaware,P1', repeats=2, out=out, rows=rows,
                   quiet=True, sampling=Sampling(0.))

    undisturbed = go(healthy, tmp_path/'whole', 512)
    assert len(healthy.seen) == len(undisturbed) == 16
    for rows in (5, 512):
        torn = tmp_path/f'torn{rows}'
        dying.seen.clear()
        with pytest.raises(ConnectionError, match='what was answered is kept'):
            go(dying, torn, rows)
        before = len(healthy.seen)
        capsys.readouterr()
        pd.testing.assert_frame_equal(go(healthy, torn, rows), undisturbed)  # under another address
        assert len(healthy.seen) - before == len(undisturbed) - 11
        said_once = capsys.readouterr().err
        assert said_once.count('note:') == 1 and 'weights' in said_once and healthy.url in said_once
        (note,) = torn.rglob('_asked.json')
        assert json.loads(note.read_text())['model']['url'] == f'{dying.url},{healthy.url}'
        go(healthy, torn, rows)
        assert 'note:' not in capsys.readouterr().err


def test_ctrl_c_keeps_what_a_server_had_said(tmp_path):
    def script(n, request):
        if n == 4:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(20)
        return 200, chat_reply(number(request))
    plan = dict(methods='unaware', repeats=2, out=tmp_path, quiet=True, sampling=Sampling(0.))
    model = ServedModel('m', ScriptedServer(script).url, concurrency=1)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ask(model, questions, prompter, **plan)
    assert time.monotonic() - begin < 3
    kept = read_kept(tmp_path)
    assert len(kept) == 3 and kept.code.notna().all()


def test_ctrl_c_ends_the_command_while_a_server_is_silent(tmp_path):
    asked = threading.Event()

    def silent(n, request):
        asked.set()
        time.sleep(60)

    url = ScriptedServer(silent).url.replace('//', '//ada:sk-secret@') + '?key=sk-hidden'
    command = [sys.executable, '-m', 'culturespa', 'assess', '--model', 'm', '--url', url,
               '--survey', 'demo', '--cultures', 'USA', '--out', str(tmp_path/'out')]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert asked.wait(120), 'nothing was asked'
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        said = b''.join(process.communicate(timeout=30))
    assert time.monotonic() - begin < 5 and process.returncode == 130    # two, on a busy machine
    assert b'culturespa: interrupted' in said and b'Traceback' not in said
    written = [file.read_bytes() for file in tmp_path.rglob('*') if file.is_file()]
    assert not any(b'sk-' in content for content in [said, *written])


def test_probabilities_had_before_a_failure_serve_every_repeat(tmp_path):
    listed = {'0': .1, '1': .6, '2': .2, '3': .0995}
    able = ScriptedServer(lambda n, request: (200, chat_reply('1', listed)))
    dying = ScriptedServer(
        lambda n, request: (200, chat_reply('1', listed)) if n < 2 else (401, {}))
    plan = dict(methods='unaware', repeats=3, mode='probabilities', sampling=Sampling(1., 1.),
                quiet=True)

    def go(server, out):
        model = ServedModel('m', server.url, concurrency=1)
        return ask(model, questions, prompter, out=out, **plan)

    whole = go(able, tmp_path/'whole')
    with pytest.raises(InputError, match='refuses the key'):
        go(dying, tmp_path/'torn')
    assert len(read_kept(tmp_path/'torn')) == 3        # one question, three repeats
    asked = len(able.seen)
    pd.testing.assert_frame_equal(go(able, tmp_path/'torn'), whole)
    assert len(able.seen) - asked == len(questions) - 1


@pytest.mark.parametrize('secret_in', ['key', 'query', 'password'])
def test_secrets_are_written_nowhere(secret_in, tmp_path, monkeypatch, capsys):
    server = ScriptedServer(lambda n, request: (200, chat_reply('1 sk-secret')))
    url = server.url
    if secret_in == 'key':
        monkeypatch.setenv('OPENAI_API_KEY', 'sk-secret')
    if secret_in == 'query':
        url += '?key=sk-secret'
    if secret_in == 'password':
        url = url.replace('//', '//ada:sk-secret@')
    ask(load_model('m', url=url), questions, prompter, 'unaware', out=tmp_path)
    sent = server.seen[0][1]['authorization'] if secret_in != 'query' else ''
    assert sent == dict(key='Bearer sk-secret', query='', password='Basic YWRhOnNrLXNlY3JldA==')[
        secret_in]
    written = [file.read_bytes() for file in tmp_path.rglob('*') if file.is_file()]
    written.append(''.join(capsys.readouterr()).encode())
    assert written and not any(b'sk-secret' in content for content in written)


def test_a_server_that_ignores_the_temperature_is_recorded(tmp_path, capsys):
    server = ScriptedServer(lambda n, request: (200, chat_reply('1')))
    model = ServedModel('m', server.url)
    plan = dict(methods='unaware', out=tmp_path, quiet=True)
    for _ in range(2):
        ask(model, questions, prompter, **plan)
    assert capsys.readouterr().err.count('ignore') == 1
    (note,) = tmp_path.rglob('_asked.json')
    assert json.loads(note.read_text())['model']['heeds_temperature'] is False
    assert len(server.seen) == len(questions) + 12


def test_other_fields_are_another_way_of_asking(tmp_path):
    server = ScriptedServer(lambda n, request: (200, chat_reply('1')))
    plan = dict(methods='unaware', out=tmp_path, quiet=True, sampling=Sampling(0.))
    ask(ServedModel('m', server.url, extra=dict(top_k=5)), questions, prompter, **plan)
    ask(ServedModel('m', server.url, extra=dict(top_k=5), concurrency=2, timeout=9.), questions,
        prompter, **plan)
    with pytest.raises(InputError, match='top_k was 5, is now 6'):
        ask(ServedModel('m', server.url, extra=dict(top_k=6)), questions, prompter, **plan)
    with pytest.raises(InputError, match='top_k was 5, is now not sent'):
        ask(ServedModel('m', server.url), questions, prompter, **plan)
    more = dict(top_k=5, min_p=.1)
    with pytest.raises(InputError, match='min_p was not sent, is now 0.1'):
        ask(ServedModel('m', server.url, extra=more), questions, prompter, **plan)


def test_questions_written_before_a_failure_are_in_the_log(tmp_path):
    survey = load_survey('demo')

    def dying(n, request):
        return (200, chat_reply('No idea.')) if n <= 5 else (401, {})

    model = ServedModel('m', ScriptedServer(dying).url, concurrency=1)
    writer = QuestionWriter(survey, per_topic=1, give_up=1)
    with pytest.raises(InputError, match='refuses the key'):
        generate_questions(model, writer, tmp_path/'log', quiet=True)
    assert (tmp_path/'log').read_text().count('No idea.') == 5


def test_scoring_where_the_server_can_and_one_line_where_not():
    listed = {'0': .1, '1': .6, '2': .2, '3': .0995}
    able = ServedModel('m', ScriptedServer(lambda n, request: (200, chat_reply('1', listed))).url)
    unable = ServedModel('m', ScriptedServer(lambda n, request: (200, chat_reply('1'))).url)
    plan = dict(methods='unaware', mode='probabilities', quiet=True)
    answers = ask(able, questions, prompter, sampling=Sampling(1., 1.), **plan)
    assert np.allclose(answers.probability.map(sum) + answers.outside, 1)
    with pytest.raises(InputError, match='gives no logprobs'):
        ask(unable, questions, prompter, **plan)
    assert 'no logprobs' in ask_once(unable, prompter, 'Tea?', ['Yes', 'No'])['refused']


@pytest.fixture
def transformers_server(tmp_path):
    "A random model behind `transformers serve`: its folder and address"
    pytest.importorskip('fastapi')
    pytest.importorskip('uvicorn')
    port, log = free_port(), tmp_path/'log'
    env = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', HF_HOME=str(tmp_path/'hub'))
    command = [Path(sys.executable).with_name('transformers'), 'serve', '--host', '127.0.0.1',
               '--port', str(port), '--device', 'cpu']
    with open(log, 'w') as lines:
        process = subprocess.Popen(command, stdout=lines, stderr=lines, env=env)
    try:
        for _ in range(300):
            with socket.socket() as trying:
                if trying.connect_ex(('127.0.0.1', port)) == 0:
                    break
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(.2)
        yield random_model(tmp_path/'toy'), f'http://127.0.0.1:{port}'
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_transformers_serve(transformers_server, tmp_path):
    folder, url = transformers_server
    model = load_model(str(folder), url=url, name='served', concurrency=2)
    brief = Sampling(max_new_tokens=4)
    answers = ask(model, questions, prompter, 'unaware,P1', 'ZWE', sampling=brief,
                  out=tmp_path/'run', quiet=True)
    assert len(answers) == 4 and answers.text.map(len).sum() > 0
    assert heeds_temperature(model) is False     # it takes a temperature and ignores it
    with pytest.raises(InputError, match='gives no logprobs'):
        model.option_probabilities([CHAT], [['1', '2']])
