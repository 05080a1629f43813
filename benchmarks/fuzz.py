"""Hostile files by the thousand: does anything but one line come out?

    python benchmarks/fuzz.py [--inputs N] [--area NAME ...] [--seed S] [--save]

Every area begins with files that are as they should be. One of them is damaged (damage.py), and
the public readers are called; a part of the inputs goes through the command line. What may come
out is a result or an `InputError` of one line, with exit code 2 on the command line. Anything
else is a failure: another exception, a traceback, two lines, a folder written by half, a file of
the folder or beside it changed, or more than a minute of work. `--save` writes the table to
`data/results/fuzz.csv`. The same seed makes the same inputs.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(name, '1')
os.environ.setdefault('HF_HUB_OFFLINE', '1')

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from damage import damage

LONGEST = 60        # seconds for one input
MOST_MEMORY = 12 * 2**30    # bytes, of addresses
SOMETIMES = .01     # part of the inputs that goes through the command line, where an area has one


@dataclass
class Area:
    "Files that are as they should be, and what reads them"
    make:Callable[[Path], None]             # writes them into a folder
    read:Callable[[Path], Any]
    pattern:str = '**/*'                    # those that are damaged
    command:Callable[[Path, Path], list]|None = None    # (folder, out) -> what is typed


# ---- surveys

def make_survey(folder:Path):
    from culturespa.survey import select
    from culturespa.survey_files import load_survey, write_survey
    demo = load_survey('demo')
    ids = demo.questions.question_id[:4]
    small = select(demo, ['USA', 'BOL', 'THA', 'ZWE'], question_ids=list(ids))
    write_survey(small, folder/'survey')


def read_survey(folder:Path):
    from culturespa.prompts import Prompter
    from culturespa.survey import survey_digest
    from culturespa.survey_files import load_survey
    survey = load_survey(folder/'survey')
    survey_digest(survey)
    assert len(survey.modal) == len(survey.questions)
    prompter = Prompter(survey)
    prompter.chat('P2', survey.questions.iloc[0].to_dict(), survey.cultures.culture[0])
    prompter.chat('P3', survey.questions.iloc[0].to_dict(), survey.cultures.culture[0])


def survey_command(folder:Path, out:Path)->list:
    return ['export', 'lm-eval', '--survey', folder/'survey', '--out', out]


def make_release(folder:Path):
    options = dict(Q1=['Much', 'Some', 'Little', 'None'], Q94=['No', 'A bit', 'Yes'])
    items = [dict(Q_id=name, question=f'An invented {name}?', option_lst=texts)
             for name, texts in options.items()]
    shares = dict(Q1={'1': .5, '2': .25, '3': .25}, Q94={'0': .5, '2': .5})
    (folder/'wvs_questions.json').write_text(json.dumps(items))
    (folder/'proportions_group_by_country.json').write_text(
        json.dumps(dict(USA=shares, KEN=shares, XXX=shares)))
    (folder/'self_alignment_examples.json').write_text(json.dumps(dict(Q1=['Q94'])))


def read_release_folder(folder:Path):
    from culturespa.survey_files import load_survey
    assert load_survey(folder).modal.shape


# ---- answers

def make_answers(folder:Path):
    make_survey(folder)
    survey = _survey(folder)
    ids = list(survey.questions.question_id)
    items = [dict(Q_id=name, answer='1. Yes') for name in ids]
    (folder/'run0_culture_aware_USA.json').write_text(json.dumps(items))
    n = [int(n) for n in survey.questions.n_options]
    table = pd.DataFrame(dict(
        question_id=ids, code=1, text='1', method='P1', culture='BOL', repeat=0,
        probability=[[1 / size] * size for size in n]))
    table.to_parquet(folder/'answers.parquet', index=False)
    table['probability'] = table.probability.map(json.dumps)
    table.to_csv(folder/'answers.csv', index=False)
    carried = dict(method='P1', culture='USA', order='original')
    lines = [json.dumps(dict(doc=dict(question_id=name, **carried), resps=[['1', '2']]))
             for name in ids]
    (folder/'samples_culturespa.jsonl').write_text('\n'.join(lines) + '\n')
    samples = [dict(metadata=dict(question_id=name, **carried), epoch=1,
                    output=dict(completion='2')) for name in ids]
    (folder/'log.json').write_text(json.dumps(dict(eval=dict(model='m'), samples=samples)))


ANSWER_FILES = ('run0_culture_aware_USA.json', 'answers.parquet', 'answers.csv',
                'samples_culturespa.jsonl', 'log.json')


def _survey(folder:Path):
    from culturespa.survey_files import load_survey
    return load_survey(folder/'survey')


def read_answer_files(folder:Path):
    from culturespa.elsewhere import gather_answers
    from culturespa.sheets import answer_sheets
    survey = _survey(folder)
    refused = []
    for name in ANSWER_FILES:
        try:
            answer_sheets(survey, gather_answers([folder/name], survey, model='m'))
        except ValueError as error:
            refused.append(error)
    for error in refused:
        raise error


def answers_command(folder:Path, out:Path)->list:
    files = [folder/name for name in ANSWER_FILES]
    return ['align', '--survey', folder/'survey', '--draws', '20', '--out', out,
            '--answers', *files]


# ---- questions, replies, wordings, settings

def make_questions(folder:Path):
    topic = _demo().questions.topic.iloc[0]
    items = [{'question': f'Is number {k} good?', 'option_lst': ['1. Yes', '2. No'], 'class': topic}
             for k in range(4)]
    (folder/'generated_questions_topic_1.json').write_text(json.dumps(items))
    table = pd.DataFrame(dict(
        question_id=['a', 'b'], language='en', topic=topic, question=['Is it?', 'Was it?'],
        options=[['Yes', 'No'], ['A lot', 'A bit', 'None']], first_code=1, scale='ordinal'))
    table.to_parquet(folder/'mine.parquet', index=False)
    table.assign(options=table.options.map(json.dumps)).to_csv(folder/'mine.csv', index=False)


_DEMO:dict = {}


def _demo():
    from culturespa.survey_files import load_survey
    if not _DEMO:
        _DEMO['survey'] = load_survey('demo')
    return _DEMO['survey']


def read_question_files(folder:Path):
    from culturespa.given import take_questions
    refused = []
    for place in (folder, folder/'mine.parquet', folder/'mine.csv'):
        try:
            take_questions(place, _demo(), per_topic=3)
        except ValueError as error:
            refused.append(error)
    for error in refused:
        raise error


def make_reply(folder:Path):
    said = {'Question': 'Is it good?', 'Options': ['1. Yes', '2. No', "3. Don't know"]}
    (folder/'reply.json').write_text(json.dumps(said))


def read_reply(folder:Path):
    from culturespa.filters import Dropped, Sieve, read_question
    from culturespa.reading import read_bytes
    text = read_bytes(folder/'reply.json').decode('utf-8', 'surrogateescape')
    for preset in ('ours', 'paper'):
        with contextlib.suppress(Dropped):
            asked, options = Sieve(preset).sift(*read_question(f'Here: {text} {text}'))
            json.dumps([asked, options], ensure_ascii=False).encode()


def make_templates(folder:Path):
    from culturespa.survey import data_path
    shutil.copyfile(data_path('prompts', 'en.toml'), folder/'mine.toml')


def read_templates(folder:Path):
    from culturespa.prompts import Prompter
    prompter = Prompter(_demo(), folder/'mine.toml')
    question = _demo().questions.iloc[0].to_dict()
    chats = [prompter.chat(method, question, 'USA') for method in ('P1', 'P2', 'P3')]
    assert len(json.dumps(chats)) < 10**6


def templates_command(folder:Path, out:Path)->list:
    return ['export', 'inspect', '--templates', folder/'mine.toml', '--cultures', 'USA',
            '--methods', 'P1', '--out', out]


SETTINGS = '''preset = "default"
model = "demo"
survey = "demo"
cultures = ["USA", "ZWE"]
topics = ["Family"]
methods = ["unaware", "P1"]
strategies = ["crqpc"]
specific = ["USA"]
temperature = 0.5
repeats = 2
per_topic = 3
seed = 7
tuning = {epochs = 2, rank = 4}
'''

STUDY = '''title = "T"
[base]
preset = "demo"
per_topic = 3
tuning = {epochs = 1}
[seeds]
corpus = [1, 2]
training = [1]
[[arm]]
name = "one"
why = "because"
[[arm]]
name = "two"
from = "one"
learn_from = "P2"
seeds = {training = [1, 2]}
[[claim]]
says = "it is better"
arm = "one"
model = "base+joint"
'''


def make_settings(folder:Path):
    (folder/'settings.toml').write_text(SETTINGS)


def read_settings_file(folder:Path):
    from culturespa.configuration import configure, read_settings
    configure(**read_settings(folder/'settings.toml'))


def make_study(folder:Path):
    from culturespa.survey import data_path
    shutil.copyfile(data_path('studies', 'demo.toml'), folder/'study.toml')


def read_study_file(folder:Path):
    from culturespa.study import describe_study, read_study
    describe_study(read_study(folder/'study.toml'))


def study_command(folder:Path, out:Path)->list:
    return ['study', folder/'study.toml', '--dry-run', '--out', out]


# ---- runs

def _clerk():
    "Answers 1 or 2, and writes questions"
    from culturespa.models import ScriptedModel
    def reply(chat, seed):
        if 'JSON' in str(chat):
            return json.dumps(dict(Question=f'Is {seed % 1000} good?', Options=['Yes', 'No']))
        return str(1 + seed % 2)
    return ScriptedModel(reply, name='base')


def make_run(folder:Path):
    from culturespa.configuration import configure
    from culturespa.pipeline import STEPS
    from culturespa.run_folder import Run
    settings = configure(
        'demo', cultures=('USA', 'BOL', 'THA'), topics=('Food',), per_topic=4, limit=4,
        flip_questions=4)
    run = Run(folder/'run', settings, quiet=True)
    run.base = _clerk()
    for step in ('questions', 'answers', 'pairs', 'survey'):
        STEPS[step](run)


def read_run(folder:Path):
    from culturespa.answer_store import count_part, kept_parts, read_kept, read_note
    from culturespa.pipeline import STEPS, survey_answers
    from culturespa.run_folder import Run
    run = Run(folder/'run', quiet=True)
    run.base = _clerk()
    if run.configuration.model == 'demo':
        for name in ('questions', 'pairs'):
            run.table(name)
            # a record that lost a step is one of a run that has yet to take it, and would
            if name in run.steps:
                STEPS[name](run)
        survey_answers(run)
    read_kept(folder/'run')
    for *_, files in kept_parts(folder/'run'):
        for file in files:
            count_part(file)
    read_note(folder/'run', 'survey', 'base')


def continue_run(folder:Path):
    "Read the log of attempts again, and what was asked before"
    from culturespa.pipeline import STEPS
    from culturespa.run_folder import Run
    record = json.loads((folder/'run'/'record.json').read_text())
    record['steps'] = {}
    (folder/'run'/'record.json').write_text(json.dumps(record))
    run = Run(folder/'run', quiet=True)
    run.base = _clerk()
    for step in ('questions', 'answers'):
        STEPS[step](run)


def run_command(folder:Path, out:Path)->list:
    return ['pairs', '--out', folder/'run']


def make_saved(folder:Path):
    from culturespa.answer_store import save_answers
    ids = list(_demo().questions.question_id[:20])
    answers = pd.DataFrame(dict(
        source='survey', model='base', method='P1', culture='USA', question_id=ids,
        order='original', repeat=0, code=1))
    save_answers(_demo(), answers, folder/'saved', command='a test')


def read_saved(folder:Path):
    from culturespa.answer_store import load_saved
    load_saved(folder/'saved', _demo())


# ---- adapters, models, reviews, abilities

def make_adapter(folder:Path):
    import torch
    from safetensors.torch import save_file
    place = folder/'adapters'/'joint'
    place.mkdir(parents=True)
    half = dict(A=torch.ones(2, 4), B=torch.ones(4, 2))
    tensors = {f'base_model.model.model.layers.0.self_attn.q_proj.lora_{name}.weight': half[name]
               for name in 'AB'}
    save_file(tensors, place/'adapter_model.safetensors')
    config = dict(peft_type='LORA', r=2, lora_alpha=4, lora_dropout=0., target_modules=['q_proj'],
                  base_model_name_or_path='demo', revision=None)
    (place/'adapter_config.json').write_text(json.dumps(config))
    note = dict(model='demo', revision=None, weights='ab', adapter='joint', survey='demo',
                samples=3, steps=2, epochs=1, batch=4, supervised_tokens=5, last_loss=.5,
                settings=dict(rank=2), plan='x')
    (place/'base.json').write_text(json.dumps(note))
    from culturespa.model_files import fingerprint
    asked = folder/'answers'/'source=survey'/'model=base%2Bjoint'
    asked.mkdir(parents=True)
    about = dict(model=dict(name='base+joint', adapter_weights=fingerprint(place)))
    (asked/'_asked.json').write_text(json.dumps(about))
    row = dict(model='base+joint', name='joint', method='P1', score=70., floor=60., ceiling=90.,
               position=30., low=69., high=71., unparsed_share=0., gain=1., own_label=.5,
               any_label=.5, own_low=0., own_high=1., any_low=0., any_high=1.)
    summary = dict(survey='demo', synthetic=True, methods=[row, row | dict(model='base')])
    (folder/'summary.json').write_text(json.dumps(summary))
    steps = dict(pairs=dict(moved=3, comparable=5, strategies={}))
    (folder/'record.json').write_text(json.dumps(dict(configuration={}, steps=steps)))


def read_adapter(folder:Path):
    from culturespa.adapter_folder import same_training
    from culturespa.adapters import describe_adapter
    from culturespa.model_files import check_adapter
    from culturespa.passports import card_text, gather_passport, lacking
    from culturespa.updates import adapter_updates
    place = folder/'adapters'/'joint'
    describe_adapter(place)
    same_training([place], 'x')
    check_adapter(place, dict(path='demo', weights='ab'))
    passport = gather_passport(place)
    lacking(passport)
    card_text(passport)
    adapter_updates(place)


def make_model(folder:Path):
    from culturespa.survey import data_path
    for name in ('config.json', 'tokenizer_config.json', 'generation_config.json',
                 'tokenizer.json', 'model.safetensors'):
        shutil.copyfile(data_path('demo', 'model', name), folder/name)
    (folder/'chat_template.jinja').write_bytes(
        data_path('demo', 'model', 'chat_template.jinja').read_bytes())


def read_model(folder:Path):
    from culturespa.model_files import fingerprint
    from culturespa.shapes import ModelShape
    fingerprint(folder)
    shape = ModelShape(folder)
    shape.weight_bytes()


def make_review(folder:Path):
    from culturespa.review import write_review
    pairs, questions = _pairs()
    write_review(pairs, questions, folder/'review.csv')


def _pairs():
    questions = _demo().questions.head(3)
    pairs = pd.DataFrame(dict(
        strategy='crqpc', culture='USA', question_id=questions.question_id, order='original',
        repeat=0, unaware=1, code=2, repeated=False))
    return pairs, questions


def read_review_file(folder:Path):
    from culturespa.review import apply_review
    apply_review(_pairs()[0], folder/'review.csv')


def make_prompts(folder:Path):
    chat = [dict(role='user', content='Two and two?')]
    lines = [json.dumps(chat), json.dumps(dict(messages=chat))]
    (folder/'prompts.jsonl').write_text('\n'.join(lines) + '\n')
    sample = dict(prompt=chat, completion=[dict(role='assistant', content='4')])
    (folder/'replay.jsonl').write_text(json.dumps(sample) + '\n')


def read_prompt_files(folder:Path):
    from culturespa.samples import draw_replay, read_prompts
    read_prompts(folder/'prompts.jsonl')
    draw_replay(folder/'replay.jsonl', 3, 0, targets=True)


# ---- microdata

def make_microdata(folder:Path):
    from culturespa.wvs_sources import made_microdata
    people = made_microdata(n=6, items=4)
    people.to_csv(folder/'people.csv', index=False)
    known = pd.DataFrame(dict(
        culture=['KAZ'], numeric=[398], name=['Kazakhstan'], adjective=['Kazakh'], article=['a'],
        continent=['Asia'], n=[1000]))
    known.to_csv(folder/'countries.csv', index=False)
    texts = pd.DataFrame(dict(
        question_id=['Q1', 'Q2'], question=['How?', 'Why?'],
        options=[json.dumps(['a', 'b', 'c', 'd'])] * 2))
    texts.to_csv(folder/'texts.csv', index=False)


def read_microdata(folder:Path):
    from culturespa.wvs_import import import_wvs
    import_wvs(folder/'people.csv', texts=folder/'texts.csv', countries=folder/'countries.csv')


def microdata_command(folder:Path, out:Path)->list:
    return ['data', 'wvs', folder/'people.csv', '--texts', folder/'texts.csv', '--countries',
            folder/'countries.csv', '--out', out, '--quiet']


AREAS = {
    'survey': Area(make_survey, read_survey, command=survey_command),
    'release': Area(make_release, read_release_folder),
    'answers': Area(make_answers, read_answer_files, '*.*', answers_command),
    'questions': Area(make_questions, read_question_files),
    'reply': Area(make_reply, read_reply),
    'templates': Area(make_templates, read_templates, command=templates_command),
    'settings': Area(make_settings, read_settings_file),
    'study': Area(make_study, read_study_file, command=study_command),
    'run': Area(make_run, read_run, '**/*[a-z]', run_command),
    'log': Area(make_run, continue_run, '**/*.jsonl'),
    'saved': Area(make_saved, read_saved),
    'adapter': Area(make_adapter, read_adapter),
    'model': Area(make_model, read_model, '*[!z].*'),
    'review': Area(make_review, read_review_file),
    'prompts': Area(make_prompts, read_prompt_files),
    'microdata': Area(make_microdata, read_microdata, command=microdata_command)}
WRITING = {'log'}       # areas in which a run goes on, and so writes
# part of an equal share of the inputs
SLOW = dict(model=.1, log=.2, answers=.2, microdata=.3, run=.3, survey=.4)


# ---- one input

class TooLong(BaseException):
    "An input that took more than `LONGEST` seconds"


@contextlib.contextmanager
def bounded()->Iterator[None]:
    "Within, a minute of work is a failure"
    def stop(*_):
        raise TooLong
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def contents(folder:Path)->dict:
    "Every plain file and its bytes"
    return {file: file.read_bytes() for file in sorted(folder.rglob('*'))
            if file.is_file() and not file.is_symlink()}


def trouble_of_reading(area:Area, folder:Path)->str|None:
    "What came out and should not have; None if all is well"
    from culturespa.reading import InputError
    try:
        with bounded():
            area.read(folder)
    except InputError as error:
        said = str(error)
        return None if said and '\n' not in said and len(said) < 5000 else f'no line: {said[:80]!r}'
    except (Exception, TooLong) as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = [step for step in place if 'culturespa' in step.filename] or place
        last = ours[-1]
        return f'{type(error).__name__} in {Path(last.filename).name}:{last.lineno} {error}'[:200]
    return None


def trouble_of_command(typed:list, out:Path)->str|None:
    "The same, of a command"
    from culturespa.cli import main
    said, complained = io.StringIO(), io.StringIO()
    try:
        with bounded(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
            code = main([str(word) for word in typed])
    except (Exception, TooLong) as error:
        return f'command {typed[0]}: {type(error).__name__} {error}'[:200]
    lines = [line for line in complained.getvalue().splitlines() if line.strip()]
    if code not in (0, 2):
        return f'command {typed[0]}: exit {code}: {lines[-1:]}'[:300]
    if code == 2 and (not lines or not lines[-1].startswith('culturespa: ')):
        return f'command {typed[0]}: no line, {lines[-1:]}'[:200]
    if 'Traceback' in complained.getvalue():
        return f'command {typed[0]}: a traceback'
    if code == 2 and out.exists():
        return f'command {typed[0]}: {out.name} is left half written'
    return None


def trouble_of(area:Area, name:str, place:Path, rng:random.Random)->tuple[str, str|None]:
    "Damage one file, read; what was done, and what came out that should not have"
    folder, out = place/'given', place/'out'
    files = [file for file in sorted(folder.glob(area.pattern)) if file.is_file()]
    file = rng.choice([file for file in files if file.name != '.lock'])
    done = f'{damage(rng, file)} {file.name}'
    before = contents(place)
    if area.command and rng.random() < SOMETIMES:
        found = trouble_of_command(area.command(folder, out), out)
    else:
        found = trouble_of_reading(area, folder)
    after = {path: content for path, content in contents(place).items()
             if out not in path.parents and path.name != '.lock'}
    before = {path: content for path, content in before.items() if path.name != '.lock'}
    if found is None and name not in WRITING and after != before:
        found = 'a file was changed'
    if found is None and (place/'victim'/'keep.txt').read_text() != 'mine':
        found = 'a file elsewhere was changed'
    return done, found


def restore(place:Path, kept:Path):
    "Put back what was damaged"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(kept, place)


def fuzz_area(
    name:str,
    inputs:int,
    seed:int = 0,
    say:Callable[[str], Any] = print,
)->Counter:         # what came out and should not have -> how often
    "Damage the files of an area again and again"
    area, found = AREAS[name], Counter()
    with tempfile.TemporaryDirectory() as folder:
        kept, place = Path(folder)/'kept', Path(folder)/'place'
        (kept/'given').mkdir(parents=True)
        area.make(kept/'given')
        (kept/'victim').mkdir()
        (kept/'victim'/'keep.txt').write_text('mine')
        restore(place, kept)
        assert trouble_of_reading(area, place/'given') is None, f'{name}: whole files are refused'
        for number in range(inputs):
            restore(place, kept)
            rng = random.Random(f'{seed} {name} {number}')
            done, trouble = trouble_of(area, name, place, rng)
            if trouble:
                kind = trouble.split(folder)[0]
                if not found[kind]:
                    say(f'{name} {number}, {done}: {trouble}')
                found[kind] += 1
    return found


def fuzz(
    inputs:int,                 # of all areas together
    areas:list[str]|None = None,
    seed:int = 0,
    say:Callable[[str], Any] = print,
)->pd.DataFrame:                # area, inputs, failures, seconds
    "The table: a row for each area"
    warnings.simplefilter('ignore')
    names = areas or list(AREAS)
    weights = [SLOW.get(name, 1) for name in names]
    rows = []
    for name, weight in zip(names, weights):
        share = max(1, round(inputs * weight / sum(weights)))
        begin = time.perf_counter()
        failures = fuzz_area(name, share, seed, say)
        seconds = time.perf_counter() - begin
        rows.append((name, share, failures.total(), round(seconds, 1)))
        say(f'{name}: {share:,} inputs, {failures.total():,} failures, {seconds:.0f} s')
    return pd.DataFrame(rows, columns=['area', 'inputs', 'failures', 'seconds'])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--inputs', type=int, default=2000)
    parser.add_argument('--area', nargs='*', choices=AREAS)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--save', action='store_true')
    typed = parser.parse_args()
    # what unpacks without end is a failure, and no harm to this machine
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    table = fuzz(typed.inputs, typed.area, typed.seed, lambda line: print(line, flush=True))
    print(table.to_string(index=False))
    print(f'{table.inputs.sum():,} inputs, {table.failures.sum():,} failures')
    if typed.save:
        file = Path(__file__).parents[1]/'data'/'results'/'fuzz.csv'
        table[['area', 'inputs', 'failures']].to_csv(file, index=False)
    sys.exit(1 if table.failures.sum() else 0)


if __name__ == '__main__':
    main()
