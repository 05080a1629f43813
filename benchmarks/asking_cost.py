"""What an answer costs outside the model: a scripted model, a plan of 19 prompts a question.

    python benchmarks/asking_cost.py                     # 247,000 answers and a tenth of them
    python benchmarks/asking_cost.py --against FOLDER    # the same with another checkout, in turn
    python benchmarks/asking_cost.py --repeats 1,4,40    # memory: up to 9.9 million answers
    python benchmarks/asking_cost.py --mode probabilities

Questions are those of the demo survey, numbered anew until there are enough. Every measurement is
a process of its own: it asks into an empty folder, then once more with nothing left to do. Times
are processor time, the best of the rounds, and leave out starting Python; "wall" is what passed
on the clock in the best round, with waiting for the disk after every part. The ratio of two
checkouts is the median of the ratios within a round.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
COLUMNS = [
    'answers',
    'ms each',
    'wall, s',
    'nothing to do, s',
    'wall, s',
    'peak, MB',
    'of it while asking, MB',
]
PROMPTS = 19  # unaware, and 18 cultures under P1
for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(name, '1')


def peak():
    "Largest resident size so far, MB"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def many_questions(questions, n):
    "The questions over and over, each with a name and a text of its own"
    import pandas as pd

    times = -(-n // len(questions))
    many = pd.concat([questions] * times, ignore_index=True)[:n]
    number = many.index.astype(str)
    return many.assign(question_id='G' + number, question=many.question + ' (' + number + ')')


def scripted():
    "A model that takes no time: it always says 1, or finds all options alike"
    import numpy as np
    from culturespa.models import ScriptedModel

    return ScriptedModel(
        lambda chat, seed: '1', lambda chat, labels: np.full(len(labels), 1 / len(labels))
    )


def measure(questions, repeats, mode):
    "Seconds and memory of one plan, asked and asked again"
    from culturespa.answers import fill_answers
    from culturespa.prompts import Prompter
    from culturespa.survey_files import load_survey

    survey = load_survey('demo')
    many, prompter = many_questions(survey.questions, questions), Prompter(survey)
    plan = dict(methods='unaware,P1', repeats=repeats, source='generated', quiet=True, mode=mode)
    fill_answers(tempfile.mkdtemp(), scripted(), many[:2], prompter, **plan)  # all is imported
    found = dict(answers=questions * PROMPTS * repeats, before=peak())
    with tempfile.TemporaryDirectory() as out:
        for what in ('asking', 'again'):
            clock, used = time.perf_counter(), time.process_time()
            counts = fill_answers(out, scripted(), many, prompter, **plan)
            found[what] = time.process_time() - used
            found[f'{what}, wall'] = time.perf_counter() - clock
            assert counts.asked.sum() == found['answers']
    return found | dict(peak=peak())


def in_a_process(tree, *arguments):
    "`measure` with the package of a checkout"
    command = [sys.executable, str(HERE), '--measure', ','.join(map(str, arguments))]
    done = subprocess.run(
        command, env=os.environ | dict(PYTHONPATH=str(tree)), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def rounds_of(trees, plan, rounds):
    "Per checkout its measurements, the checkouts in turn"
    found = {tree: [] for tree in trees}
    for _ in range(rounds):
        for tree in trees:
            found[tree].append(in_a_process(tree, *plan))
    return found


def row(found):
    "A line of the table"
    best = {name: min(each[name] for each in found) for name in found[0]}
    answers, most = best['answers'], max(each['peak'] for each in found)
    each = 1000 * best['asking'] / answers
    cells = [
        f'{answers:,}',
        f'{each:.4f}',
        f'{best["asking, wall"]:.1f}',
        f'{best["again"]:.2f}',
        f'{best["again, wall"]:.2f}',
        f'{most:.0f}',
        f'{most - best["before"]:.0f}',
    ]
    return ' | '.join(cells)


def ratio(ours, theirs, what):
    "Median over rounds of theirs by ours"
    return statistics.median(b[what] / a[what] for a, b in zip(ours, theirs))


def main():
    as_it_is = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_it_is)
    parser.add_argument('--questions', default='1300,13000', help='sizes, with commas between')
    parser.add_argument('--repeats', default='1', help='likewise')
    parser.add_argument('--mode', default='sample', help='or probabilities')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--against', type=Path, help='another checkout of culturespa')
    parser.add_argument('--measure', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        questions, repeats, mode = options.measure.split(',')
        print(json.dumps(measure(int(questions), int(repeats), mode)))
        return
    trees = [HERE.parent.parent]
    if options.against:
        trees.append(options.against.resolve())
    print(f'| checkout | {" | ".join(COLUMNS)} |')
    print('| --- |' + ' ---: |' * len(COLUMNS))
    for questions in options.questions.split(','):
        for repeats in options.repeats.split(','):
            found = rounds_of(trees, (questions, repeats, options.mode), options.rounds)
            for name, tree in zip(('this', 'the other'), trees):
                print(f'| {name} | {row(found[tree])} |', flush=True)
            if options.against:
                ask, again = (ratio(*found.values(), what) for what in ('asking', 'again'))
                print(f'| the other by this | | {ask:.1f} | | {again:.1f} | | | |', flush=True)


if __name__ == '__main__':
    main()
