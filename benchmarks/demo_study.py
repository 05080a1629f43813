"""What the method does in the demo world, and where it must fail.

    python benchmarks/demo_study.py                  # the world that ships: three seeds, controls,
                                                     # greedy answers, options reversed, facts
    python benchmarks/demo_study.py --kind null      # a sister world (first trains the shipped
                                                     # model further in it)
    python benchmarks/demo_study.py --mixture 0.7    # the default world with another m: the method
                                                     # and the RDS control only
    python benchmarks/demo_study.py --save           # also renew data/results/demo, which the
                                                     # final pages read

Prints tables and keeps them in `<out>/<world>.csv`. Interrupted, the same command goes on.
Everything is synthetic.
"""

import argparse
import hashlib
import os
from pathlib import Path

os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')

import numpy as np
import pandas as pd

from culturespa.alignment import align
from culturespa.answer_store import read_kept, save_answers
from culturespa.answers import ask
from culturespa.cli import quiet_libraries
from culturespa.configuration import configure
from culturespa.demo_knowledge import measure_cultures, measure_facts
from culturespa.demo_model import continue_pretraining
from culturespa.demo_world import World, make_survey, world_facts
from culturespa.models import Sampling
from culturespa.pipeline import run_pipeline, survey_answers
from culturespa.survey import data_path, modal_answers, similarity_matrix
from culturespa.survey_files import write_survey

COLUMNS = ['kind', 'seed', 'what', 'answers', 'model', 'method', 'value']


def world_folder(name, world, out):
    "The survey and model of a world: those that ship, or made here"
    if name == 'default':
        return dict(model='demo', survey='demo')
    place = Path(out) / f'world-{name}'
    if not (place / 'survey').exists():
        write_survey(make_survey(world), place / 'survey')
    if not (place / 'model' / 'demo.json').exists():
        continue_pretraining(world, place / 'model')
    return dict(model=str(place / 'model'), survey=str(place / 'survey'))


def truth_correlation(survey, answers):
    "Correlation, over pairs of cultures, of similarities of answers with those of the true modes"
    truth = similarity_matrix(modal_answers(survey.truth), survey.n_options)
    own = similarity_matrix(
        answers.pivot(index='question_id', columns='culture', values='code'), survey.n_options
    )
    upper = np.triu_indices(len(truth), 1)
    return np.corrcoef(
        own.loc[truth.index, truth.columns].to_numpy()[upper], truth.to_numpy()[upper]
    )[0, 1]


def one_seed(kind, world, seed, out, where):
    "A pipeline run and what is measured on it: the run, its answers to the survey, rows of numbers"
    more = (
        dict(methods=('unaware', 'P1', 'P2'), specific=('all',) if seed == 1 else ())
        if kind == 'default'
        else {}
    )
    strategies = ('crqpc', 'rds') if kind.startswith('m=') else ('crqpc', 'rds', 'cds', 'shuffled')
    run = run_pipeline(
        Path(out) / f'{kind}-{seed}',
        configure('demo', per_topic=40, **where, **more, strategies=strategies, seed=seed),
        device='cpu',
    )
    answers, rows = survey_answers(run), []

    def note(what, value, model='base', method='P1', kind_of_answer='sampled'):
        rows.append((kind, seed, what, kind_of_answer, model, method, value))

    for row in align(run.survey, answers).query("culture == 'average'").itertuples():
        note('score', row.score, row.model, row.method)
    for (model, method), own in answers[answers.method != 'unaware'].groupby(
        ['model', 'method'], sort=False
    ):
        note('correlation with truth', truth_correlation(run.survey, own), model, method)
    known = measure_cultures(run.base, world)
    if known.behind.std() > 1e-6:
        note(
            'correlation with the people behind prompts',
            np.corrcoef(known.behind, known.shown)[0, 1],
        )
    pairs = run.record['steps']['pairs']
    note('answers that move (%)', 100 * pairs['moved'] / pairs['comparable'])
    everywhere = next(row for row in pairs['flips'] if row['culture'] == 'all')
    for rate in ('between_conditions', 'within_unaware', 'within_aware', 'chance', 'beyond_chance'):
        note(f'flips: {rate} (%)', 100 * everywhere[rate])
    for strategy, size in pairs['strategies'].items():
        note('pairs', size['pairs'], strategy)
        note('repeated', size['repeated'], strategy)
    for name, methods in (('base', ['unaware', 'P1']), ('base+joint', ['P1'])):
        model = run.base if name == 'base' else run.model('joint')
        greedy = ask(
            model,
            run.survey.questions,
            run.prompter,
            methods,
            out=run.out / 'greedy',
            sampling=Sampling(0, 1.0, 4),
            seed=seed,
            quiet=True,
        )
        for row in align(run.survey, greedy).query("culture == 'average'").itertuples():
            note('score', row.score, row.model, row.method, 'greedy')
        turned = ask(
            model,
            run.survey.questions,
            run.prompter,
            methods,
            out=run.out / 'reversed',
            orders='reversed',
            settings=run.settings(),
            quiet=True,
        )
        for row in align(run.survey, turned).query("culture == 'average'").itertuples():
            note('score', row.score, row.model, row.method, 'reversed options')
        for fact in measure_facts(model).itertuples():
            note(f'facts right: {fact.kind}', fact.accuracy, name, '')
            note(f'log-probability of facts: {fact.kind}', fact.log_probability, name, '')
    return run, answers, rows


def save(kind, runs, table, folder):
    "Renew what the final pages read: answers of all seeds (as repeats), numbers of every world"
    if kind == 'default':
        first, weights = runs[0][0], data_path('demo', 'model', 'model.safetensors').read_bytes()
        together = pd.concat(
            [answers.assign(repeat=i) for i, (_, answers) in enumerate(runs)], ignore_index=True
        )
        orders = [
            read_kept(run.out / 'reversed', 'survey').assign(repeat=i)
            for i, (run, _) in enumerate(runs)
        ]
        save_answers(
            first.survey,
            pd.concat(orders, ignore_index=True),
            folder / 'reversed',
            command='python benchmarks/demo_study.py --save',
            seeds=sorted({int(s) for s in table.seed}),
        )
        save_answers(
            first.survey,
            together,
            folder,
            command='python benchmarks/demo_study.py --save',
            seeds=sorted({int(s) for s in table.seed}),
            templates=first.prompter.templates.hash,
            model='demo',
            model_digest=hashlib.sha256(weights).hexdigest()[:12],
            note='repeat numbers the seeds; each seed is a whole run of the method',
            first_run=first.record,
        )
    file = folder / 'study.csv'
    kept = (
        pd.read_csv(file, keep_default_na=False).query('kind != @kind')
        if file.exists()
        else table[:0]
    )
    pd.concat([kept, table.round(4)]).sort_values(['kind', 'seed'], kind='stable').to_csv(
        file, index=False
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=Path('runs/study'))
    parser.add_argument('--kind', default='default', help=', '.join(world_facts()['kinds']))
    parser.add_argument('--mixture', type=float, help='another mixture than 0.5, 0 to 1')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--save', action='store_true', help='renew data/results/demo')
    options = parser.parse_args()
    if options.mixture is not None and options.kind != 'default':
        parser.error('--mixture is for the default kind of world')
    quiet_libraries()
    name = options.kind if options.mixture is None else f'm={options.mixture:g}'
    world = World(options.kind, mixture=options.mixture)
    where, runs, rows = world_folder(name, world, options.out), [], []
    for seed in options.seeds:
        run, answers, found = one_seed(name, world, seed, options.out, where)
        runs.append((run, answers))
        rows += found
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.to_csv(options.out / f'{name}.csv', index=False)
    brief = table.groupby(['what', 'answers', 'model', 'method'], sort=False).value.agg(
        ['mean', 'std', 'min', 'max']
    )
    print(f'\n{name} world, seeds {options.seeds} (synthetic)\n\n{brief.round(3).to_string()}')
    if options.save:
        save(name, runs, table, data_path('demo').parent / 'results' / 'demo')


if __name__ == '__main__':
    main()
