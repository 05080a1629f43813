"""What the demo's adapters gain and what they forget, over ways to tune

    python benchmarks/abilities.py --run runs/demo          # about two minutes a way
    python benchmarks/abilities.py --run runs/demo --save   # renews data/results/demo/front.csv

Every way trains a joint adapter on the same pairs, of a run that is there. Gain is S under P1 minus
the base's; forgetting is the share of general facts answered right, on facts that no way was
trained on. `replay` adds the base's own replies to the other half of the facts, as a part of the
pairs. The ways were fixed before any of them was scored. Everything is synthetic.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')

import numpy as np
import pandas as pd

from culturespa.abilities import demo_items
from culturespa.alignment import align
from culturespa.answers import ask
from culturespa.models import Sampling
from culturespa.options import quiet_libraries
from culturespa.run_folder import Run
from culturespa.samples import training_chats
from culturespa.survey import data_path
from culturespa.tuning import DEMO_TUNING, train_adapter

GREEDY = Sampling(0, 1.0, 8)
WAYS = {
    'default': {},
    'rate 1e-3': dict(learning_rate=1e-3),
    'rate 5e-4': dict(learning_rate=5e-4),
    'rate 2e-4': dict(learning_rate=2e-4),
    'one epoch': dict(epochs=1),
    'rank 2': dict(rank=2, alpha=4),
    'replay 5 %': dict(replay=0.05),
    'replay 10 %': dict(replay=0.10),
    'replay 30 %': dict(replay=0.30),
    'rate 5e-4, replay 5 %': dict(learning_rate=5e-4, replay=0.05),
    'rate 5e-4, replay 30 %': dict(learning_rate=5e-4, replay=0.30),
}


def fact_prompts():
    "The demo's facts as chats; `held` is what no way is trained on"
    items = demo_items()
    chats = []
    for item in items.itertuples():
        system = dict(role='system', content=item.system)
        chats.append([system, dict(role='user', content=item.question)])
    return items.assign(chat=chats, held=items.fact % 2 == 1)


def replies(model, chats):
    "Greedy replies"
    seeds = list(range(len(chats)))
    return [text.strip() for text in model.generate(list(chats), GREEDY, seeds)]


def facts_right(model, facts):
    "Per cent of held-out facts, and of the others"
    right = np.array(replies(model, facts.chat)) == facts.answer.to_numpy()
    return 100 * right[facts.held].mean(), 100 * right[~facts.held].mean()


def score(model, run):
    "Mean S over cultures under P1"
    answers = ask(
        model, run.survey.questions, run.prompter, ['P1'], settings=run.settings(), quiet=True
    )
    scores = align(run.survey, answers)
    return scores[scores.culture == 'average'].score.mean()


def replayed(base, facts, n):
    "Samples of what the base says anyway to facts that are not held out"
    others = facts[~facts.held]
    chosen = others.sample(n, replace=n > len(others), random_state=0)
    samples = []
    for chat, reply in zip(chosen.chat, replies(base, chosen.chat)):
        samples.append(dict(prompt=chat, completion=[dict(role='assistant', content=reply)]))
    return samples


def one_way(run, samples, facts, change, seed):
    "Train and measure one way"
    change = dict(change)
    n = int(change.pop('replay', 0) * len(samples))
    more = replayed(run.base, facts, n) if n else []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / 'adapter'
        settings = replace(DEMO_TUNING, seed=seed, **change)
        train_adapter(run.base, samples + more, place, settings, quiet=True)
        model = run.base.with_adapter(place, 'base+way')
        held, others = facts_right(model, facts)
        return dict(S=score(model, run), held_out_facts=held, other_facts=others)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--run', type=Path, default=Path('runs/demo'))
    parser.add_argument('--seed', type=int, default=11)
    parser.add_argument('--ways', nargs='+', choices=list(WAYS), default=list(WAYS))
    parser.add_argument('--save', action='store_true', help='renew data/results/demo/front.csv')
    options = parser.parse_args()
    quiet_libraries()
    run = Run(options.run, quiet=True)
    pairs = run.table('pairs')
    own = pairs[pairs.strategy == 'crqpc']
    samples = training_chats(own, run.table('questions'), run.prompter)
    facts = fact_prompts()
    held, others = facts_right(run.base, facts)
    base = dict(S=score(run.base, run), held_out_facts=held, other_facts=others)
    rows = [dict(way='base', **base)]
    for way in options.ways:
        began = time.time()
        rows.append(dict(way=way, **one_way(run, samples, facts, WAYS[way], options.seed)))
        print(f'{way}: {time.time() - began:.0f} s', flush=True)
        table = pd.DataFrame(rows).round(3)
        if options.save:
            file = data_path('demo').parent / 'results' / 'demo' / 'front.csv'
            table.to_csv(file, index=False)
    print(table.to_string(index=False))


if __name__ == '__main__':
    main()
