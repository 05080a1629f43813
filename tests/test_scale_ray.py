"With Ray: two workers, one killed in the middle, give the files of one process"
import os
import signal
import sys

import numpy as np
import pandas as pd
import pytest

ray = pytest.importorskip('ray')

from culturespa.answers import ask
from culturespa.models import ScriptedModel, item_uniform
from culturespa.prompts import Prompter
from culturespa.scale import RayEngine, SpreadModel
from culturespa.survey import InputError
from culturespa.survey_files import load_survey

pytestmark = pytest.mark.slow
# workers do not see this file: what is sent from it travels whole
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

survey = load_survey('demo')
questions, prompter = survey.questions[:30], Prompter(survey)
PLAN = dict(methods='unaware,P1', cultures='KEN,USA', repeats=2, rows=8, quiet=True)


def speak(chat, seed):
    return str(int(item_uniform(seed) * 5))


def alike(chat, labels):
    return np.full(len(labels), .9 / len(labels))


def speaker():
    return ScriptedModel(speak, alike, name='speaker')


def mortal(marker):
    "The speaker; the first process that is asked as a Kenyan dies, as if its machine was lost"

    def reply(chat, seed):
        if 'Kenyan' in chat[0]['content'] and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return speak(chat, seed)

    return lambda: ScriptedModel(reply, alike, name='speaker')


def failing(limit):
    "The speaker, until it has been asked so often"
    said = []

    def reply(chat, seed):
        said.append(seed)
        if len(said) > limit:
            raise ConnectionError('the cable was pulled')
        return speak(chat, seed)

    return ScriptedModel(reply, alike, name='speaker')


def files_of(out):
    kept = (file for file in out.rglob('*') if file.is_file())
    return {str(file.relative_to(out)): file.read_bytes() for file in kept}


@pytest.fixture(scope='module')
def cluster():
    "A cluster of two on this machine"
    if ray.is_initialized():
        pytest.skip('another Ray runs in this process')
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv('RAY_ADDRESS', raising=False)
        yield
    ray.shutdown()


@pytest.fixture
def many(cluster):
    "Makes a model of two workers; they go when the test ends"
    engines = []

    def make(load, **more):
        engines.append(RayEngine(load, workers=2, **more))
        return SpreadModel(engines[-1])

    yield make
    for engine in engines:
        engine.close()


def test_two_workers_write_the_files_of_one_process(many, tmp_path):
    spread = many(speaker)
    for mode in ('sample', 'probabilities'):
        one, two = tmp_path / mode / 'one', tmp_path / mode / 'two'
        ask(speaker(), questions, prompter, out=one, mode=mode, **PLAN)
        ask(spread, questions, prompter, out=two, mode=mode, **PLAN)
        assert files_of(one) == files_of(two)


def test_a_killed_worker_starts_again_and_a_run_may_change_its_engine(many, tmp_path):
    alone = ask(speaker(), questions, prompter, out=tmp_path / 'one', **PLAN)
    with pytest.raises(ConnectionError):
        ask(failing(70), questions, prompter, out=tmp_path / 'two', **PLAN)
    begun = len(files_of(tmp_path / 'two'))
    spread = ask(many(mortal(tmp_path / 'died')), questions, prompter, out=tmp_path / 'two', **PLAN)
    assert (tmp_path / 'died').exists()
    pd.testing.assert_frame_equal(spread, alone)
    assert begun < len(files_of(tmp_path / 'two'))
    assert files_of(tmp_path / 'one') == files_of(tmp_path / 'two')


def test_what_a_worker_raises_is_raised_here_and_what_was_answered_is_kept(many, tmp_path):
    with pytest.raises(ConnectionError, match='the cable was pulled'):
        ask(many(lambda: failing(70)), questions, prompter, out=tmp_path / 'torn', **PLAN)
    assert any(name.endswith('.parquet') for name in files_of(tmp_path / 'torn'))


def test_workers_that_fit_nowhere_are_refused(cluster, many):
    many(speaker)
    with pytest.raises(InputError, match='3 workers with 1 CPU each: the cluster has 2'):
        RayEngine(speaker, workers=3)
    with pytest.raises(InputError, match='1 workers with 99 GPU each'):
        RayEngine(speaker, workers=1, gpus=99)
