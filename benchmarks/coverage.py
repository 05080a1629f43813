"""Do the intervals hold the truth as often as they say, and do the tests err as rarely?

    python benchmarks/coverage.py [--quick] [--save]

Surveys are simulated whose truth is known. They are built like wave 7 of the World Values Survey: batteries, numbers of
options and topics come from `data/wvs_codebook.csv`. Misses are correlated inside a battery (0.4), between 18 cultures
(0.5) and between methods (0.7). Two kinds of truth:

- same list: the batteries stay, their questions are new. This is what an interval promises.
- other list: the batteries are drawn as well, with replacement. The heaviest may come twice, or not at all.

Where the authors' release is at hand, its own batteries are drawn with replacement too, and its scores are the truth.

Tests are tried where no difference is: the names of two methods are swapped at random, battery by battery. Beside the
sign flips of `culturespa.inference` stand the usual intervals and the p-values of a bootstrap. `--quick` takes seconds,
the full run about ten minutes on one thread; `--save` writes `data/results/coverage.csv`.
"""
import argparse
import os
from dataclasses import dataclass
from pathlib import Path

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np
import pandas as pd
from scipy import stats

from culturespa.alignment import CEILING, FLOOR, score_sheets, sheets
from culturespa.baselines import predictors
from culturespa.comparison import both_distances, distances_on_ruler, flip_p, holm, largest_p, position, swapped_differences
from culturespa.inference import (batteries, flip_interval, kish, misses, over_groups, pulls_on_score, score_of_sums,
                                  sign_flips, weight_shares)
from culturespa.release import find_release, load_llama3
from culturespa.survey import data_path

CULTURES, LEVEL = 18, .95
SPREAD = dict(P1=.36, unaware=.40, floor=.345, ceiling=.06)  # of misses, as parts of the scale
IN_BATTERY, BETWEEN_CULTURES, BETWEEN_METHODS = .4, .5, .7   # correlations
BATTERY_COUNTS = [1, 2, 3, 5, 10, 20, 50]
SAVED = Path(__file__).resolve().parents[1]/'data'/'results'/'coverage.csv'


@dataclass
class Statistic:
    "Something an interval is given for: which methods it needs and how their average scores are combined"
    methods: tuple
    combine: object = np.positive
    scale: object = None
    cultures: str = 'all'  # or 'last'


STATISTICS = {
    'score': Statistic(('P1',)),
    'difference to unaware': Statistic(('P1', 'unaware'), np.subtract, both_distances),
    'difference to unaware, one culture': Statistic(('P1', 'unaware'), np.subtract, both_distances, 'last'),
    'difference to floor': Statistic(('P1', 'floor'), np.subtract, both_distances),
    'place on the ruler': Statistic(('P1', 'floor', 'ceiling'), position, distances_on_ruler)}


# ---- worlds

def codebook_batteries():
    "How many questions and how many steps each battery of the survey has"
    codebook = pd.read_csv(data_path('wvs_codebook.csv'))
    codebook = codebook[codebook.evaluated].assign(options=None)
    groups = codebook.groupby(batteries(codebook))
    return groups.size().to_numpy(), groups.n_options.first().to_numpy() - 1.


def correlated(rng, places):
    "Standard normal values, place x culture x method, correlated between cultures and between methods"
    values = 0
    for cultures, share_cultures in ((1, BETWEEN_CULTURES), (CULTURES, 1 - BETWEEN_CULTURES)):
        for methods, share_methods in ((1, BETWEEN_METHODS), (len(SPREAD), 1 - BETWEEN_METHODS)):
            weight = np.sqrt(share_cultures * share_methods)
            values = values + weight * rng.normal(size=(places, cultures, methods))
    return values


def draw_world(rng, sizes, spans):
    "Lost and most of every question: question x culture for each method, and the battery of each question"
    group = np.repeat(np.arange(len(sizes)), sizes)
    span = spans[group][:, None, None]
    latent = np.sqrt(IN_BATTERY) * correlated(rng, len(sizes))[group]
    latent = latent + np.sqrt(1 - IN_BATTERY) * correlated(rng, len(group))
    steps = np.rint(latent * np.array(list(SPREAD.values())) * span)
    lost = np.clip(steps, -span, span)**2
    most = np.repeat(span[:, :, 0]**2, CULTURES, axis=1)
    return {method: (lost[..., i], most) for i, method in enumerate(SPREAD)}, group


def release_world():
    "The same of the authors' answers; None where they are not on this machine"
    folder = find_release()
    if folder is None:
        return None
    survey, answers = load_llama3(folder)
    bare = predictors(survey, 1)
    everything = pd.concat([sheets(survey, answers), bare])
    kinds = {'P1': ('LLaMA-3', 'P1'), 'unaware': ('LLaMA-3', 'unaware'), 'floor': ('floor', FLOOR), 'ceiling': ('ceiling', CEILING)}
    parts = {name: misses(survey, everything.xs(kind, level=['model', 'method'], drop_level=False))[0].T
             for name, kind in kinds.items()}
    missing = sum(parts.values())
    span = survey.n_options.to_numpy(float)[:, None] - 1
    most = np.where(np.isnan(missing), 0, span**2)
    world = {name: (np.where(np.isnan(missing), 0, part**2 * span**2), most) for name, part in parts.items()}
    return world, batteries(survey.questions)


def by_battery(world, group):
    "Sum over the questions of each battery"
    starts = np.unique(group, return_index=True)[1]
    return {name: tuple(np.add.reduceat(values, starts) for values in pair) for name, pair in world.items()}


def truth_of(world, statistic):
    "The statistic of a world's sums"
    scores = [score_of_sums(lost.sum(0), most.sum(0)) for lost, most in tables(world, statistic)]
    return float(statistic.combine(*(score.mean() for score in scores)))


def tables(world, statistic):
    "Lost and most of the methods a statistic needs, unit x culture"
    which = slice(None) if statistic.cultures == 'all' else slice(-1, None)
    return [tuple(values[:, which] for values in world[name]) for name in statistic.methods]


# ---- intervals

def all_intervals(world, questions, statistic, rng, draws):
    "Every kind of interval for one statistic of one world: name -> (low, high)"
    sums = tables(world, statistic)
    shares = weight_shares(sums[0][1][:, None]).mean(1)
    scores = [score_of_sums(lost.sum(0), most.sum(0)).mean() for lost, most in sums]
    pulls = [pulls_on_score(lost[:, None], most[:, None])[:, 0].mean(1) for lost, most in sums]
    value = statistic.combine(*scores)
    without = [score - pull for score, pull in zip(scores, pulls)]
    pull = value - statistic.combine(*without)
    denominators = shares
    if statistic.scale is not None:
        denominators = shares + 1 - statistic.scale(*without) / statistic.scale(*scores)
    flips = sign_flips(len(shares), draws, rng.integers(2**32))
    chosen = flip_interval(np.array([value]), pull[:, None], denominators[:, None], flips, LEVEL)
    drawn, counts = bootstrap(sums, statistic, rng, draws)
    drawn_error = errors_of_draws(sums, statistic, counts)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    left = value - pull / (1 - shares)
    error = np.sqrt(((left - value)**2).sum())
    reach = {name: stats.t.ppf(tails[1], freedom) * error
             for name, freedom in (('k - 1', len(shares) - 1), ('effective - 1', kish(shares) - 1))}
    low_t, high_t = np.nanquantile((drawn - value) / drawn_error, tails)
    size = np.sqrt((pull**2).sum())
    by_question, _ = bootstrap(tables(questions, statistic), statistic, rng, draws)
    return {
        'percentile, questions': np.nanquantile(by_question, tails),
        'percentile': np.nanquantile(drawn, tails),
        'BCa': np.nanquantile(drawn, corrected_tails(drawn, value, left, tails)),
        'percentile-t': (value - high_t * size, value - low_t * size),
        'jackknife, t of k - 1': (value - reach['k - 1'], value + reach['k - 1']),
        'jackknife, t of effective - 1': (value - reach['effective - 1'], value + reach['effective - 1']),
        'sign flips': (chosen[0].item(), chosen[1].item())}


def bootstrap(sums, statistic, rng, draws):
    "The statistic of units drawn with replacement, and how often each unit was drawn: draw x unit"
    units = len(sums[0][0])
    counts = rng.multinomial(units, np.full(units, 1 / units), size=draws).astype(float)
    scores = [score_of_sums(counts @ lost, counts @ most).mean(1) for lost, most in sums]
    return statistic.combine(*scores), counts


def errors_of_draws(sums, statistic, counts):
    "Standard error of the statistic in every draw, from what each unit pulls"
    scores, without = [], []
    for lost, most in sums:
        all_lost, all_most = counts @ lost, counts @ most
        with np.errstate(divide='ignore', invalid='ignore'):
            rate = all_lost / all_most
            slope = np.nan_to_num(-50 / np.sqrt(rate) / all_most / lost.shape[1], posinf=0, neginf=0)
        pull = slope @ lost.T - (slope * np.nan_to_num(rate)) @ most.T      # draw x unit, mean over cultures
        scores.append(score_of_sums(all_lost, all_most).mean(1))
        without.append(scores[-1][:, None] - pull)
    pull = statistic.combine(*scores)[:, None] - statistic.combine(*without)
    return np.sqrt((counts * pull**2).sum(1))


def corrected_tails(drawn, value, left, tails):
    "Quantiles of the bias-corrected and accelerated bootstrap (Efron 1987)"
    below = np.clip((drawn < value).mean(), .001, .999)
    shift = stats.norm.ppf(below)
    deviation = left.mean() - left
    acceleration = (deviation**3).sum() / (6 * (deviation**2).sum()**1.5)
    z = shift + stats.norm.ppf(tails)
    return stats.norm.cdf(shift + z / (1 - acceleration * z))


def coverage(name, draw, truth, simulations, draws, rng):
    "Share of worlds whose intervals hold the truth"
    rows = []
    for _ in range(simulations):
        questions, group, mark = draw(rng)
        world = by_battery(questions, group)
        for what, statistic in STATISTICS.items():
            found = all_intervals(world, questions, statistic, rng, draws)
            for method, (low, high) in found.items():
                rows.append((name + mark, what, method, low > truth[what], high < truth[what], high - low))
    table = pd.DataFrame(rows, columns=['world', 'statistic', 'method', 'too_high', 'too_low', 'width'])
    groups = table.groupby(['world', 'statistic', 'method'], sort=False)
    found = 100 * groups[['too_low', 'too_high']].mean()
    found = found.assign(percent=100 - found.sum(axis=1), width=groups.width.median(), simulations=groups.size())
    return found.reset_index().assign(table='intervals')


def interval_tables(simulations, draws, seed):
    sizes, spans = codebook_batteries()
    everything = np.arange(len(sizes))
    sums = None
    for i in range(60 if simulations < 100 else 400):        # many worlds of the same list are the truth
        world = by_battery(*draw_world(np.random.default_rng([seed, i]), sizes, spans))
        summed = {name: [values.sum(0) for values in pair] for name, pair in world.items()}
        sums = summed if sums is None else {name: [a + b for a, b in zip(sums[name], summed[name])] for name in sums}
    truth_world = {name: tuple(values[None] for values in pair) for name, pair in sums.items()}
    truth = {what: truth_of(truth_world, statistic) for what, statistic in STATISTICS.items()}

    def same_list(rng):
        return *draw_world(rng, sizes, spans), ''

    def other_list(rng):
        drawn = rng.choice(everything, len(everything))
        return *draw_world(rng, sizes[drawn], spans[drawn]), ''

    yield coverage('same list', same_list, truth, simulations, draws, np.random.default_rng(seed))
    yield coverage('other list', other_list, truth, simulations, draws, np.random.default_rng(seed + 1))
    if (release := release_world()) is not None:
        yield release_coverage(*release, simulations, draws, np.random.default_rng(seed + 2))


def release_coverage(world, group, simulations, draws, rng):
    "Batteries of the release drawn with replacement, apart by whether the heaviest is among them"
    sums = by_battery(world, group)
    truth = {what: truth_of(sums, statistic) for what, statistic in STATISTICS.items()}
    heaviest = sums['P1'][1].sum(1).argmax()
    members = [np.flatnonzero(group == g) for g in range(group.max() + 1)]

    def draw(rng):
        drawn = rng.choice(len(members), len(members))
        picked = np.concatenate([members[g] for g in drawn])
        new_group = np.repeat(np.arange(len(drawn)), [len(members[g]) for g in drawn])
        questions = {name: tuple(values[picked] for values in pair) for name, pair in world.items()}
        return questions, new_group, ', heaviest drawn' if heaviest in drawn else ', heaviest not drawn'

    apart = coverage('release', draw, truth, simulations, draws, rng)
    weighted = apart.assign(world='release', **{
        name: apart[name] * apart.simulations for name in ('percent', 'too_low', 'too_high', 'width')})
    together = weighted.groupby(['table', 'world', 'statistic', 'method'], sort=False).sum(numeric_only=True).reset_index()
    for name in ('percent', 'too_low', 'too_high', 'width'):
        together[name] /= together.simulations
    return pd.concat([together, apart])


# ---- tests

def swap_names(rng, lost_a, lost_b):
    "Two methods that do not differ: each battery's names in random order"
    keep = rng.random(len(lost_a))[:, None] < .5
    return np.where(keep, lost_a, lost_b), np.where(keep, lost_b, lost_a)


def bootstrap_values(lost_a, lost_b, most, rng, draws):
    "Differences of drawn batteries about the difference seen, in the first row the difference itself"
    units = len(lost_a)
    counts = rng.multinomial(units, np.full(units, 1 / units), size=draws).astype(float)
    counts = np.vstack([np.ones(units), counts])
    all_most = counts @ most
    values = score_of_sums(counts @ lost_a, all_most) - score_of_sums(counts @ lost_b, all_most)
    return np.vstack([values[:1], values[1:] - values[0]])


def verdicts(lost_a, lost_b, most, rng, draws):
    "Values of all cultures under both ways of testing: name -> draw x culture"
    flips = sign_flips(len(lost_a), draws, rng.integers(2**32))
    return {'sign flips': swapped_differences(lost_a[:, None], lost_b[:, None], most[:, None], flips),
            'bootstrap': bootstrap_values(lost_a, lost_b, most, rng, draws)}


def families(name, draw, simulations, draws, rng):
    "Families of 18 tests without any difference: share with a false alarm"
    rows = []
    for _ in range(simulations):
        lost_a, lost_b, most = draw(rng)
        lost_a, lost_b = swap_names(rng, lost_a, lost_b)
        for method, values in verdicts(lost_a, lost_b, most, rng, draws).items():
            known = ~np.isnan(values[0])
            p = flip_p(values[:, known])
            rows.append((name, 'unadjusted', method, p.min() <= .05))
            rows.append((name, 'Holm', method, holm(p).min() <= .05))
            rows.append((name, 'max-t', method, largest_p(values[:, known]).min() <= .05))
    return rates(rows, 'families')


def rates(rows, table):
    found = pd.DataFrame(rows, columns=['world', 'statistic', 'method', 'alarm'])
    groups = found.groupby(['world', 'statistic', 'method'], sort=False).alarm
    return pd.DataFrame(dict(percent=100 * groups.mean(), simulations=groups.size())).reset_index().assign(table=table)


def by_number_of_batteries(simulations, draws, rng):
    "False verdicts on the average of 18 cultures, by number of batteries"
    sizes, spans = codebook_batteries()
    rows = []
    for count in BATTERY_COUNTS:
        for _ in range(simulations):
            drawn = rng.choice(len(sizes), count)
            world = by_battery(*draw_world(rng, sizes[drawn], spans[drawn]))
            lost_a, lost_b = swap_names(rng, world['P1'][0], world['unaware'][0])
            for method, values in verdicts(lost_a, lost_b, world['P1'][1], rng, draws).items():
                p = flip_p(np.nanmean(values, axis=1, keepdims=True))
                rows.append(('other list', count, method, p.item() <= .05))
    return rates(rows, 'batteries')


def test_tables(simulations, draws, seed):
    sizes, spans = codebook_batteries()

    def simulated(rng):
        world = by_battery(*draw_world(rng, sizes, spans))
        return world['P1'][0], world['unaware'][0], world['P1'][1]

    yield families('same list', simulated, simulations, draws, np.random.default_rng(seed + 3))
    if (release := release_world()) is not None:
        sums = by_battery(*release)
        fixed = sums['P1'][0], sums['unaware'][0], sums['P1'][1]
        yield families('release', lambda rng: fixed, simulations, draws, np.random.default_rng(seed + 4))
    yield by_number_of_batteries(simulations, draws, np.random.default_rng(seed + 5))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='few simulations: seconds, and numbers to within 5 points')
    parser.add_argument('--save', action='store_true', help=f'write {SAVED.name}')
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    simulations, draws = (60, 399) if options.quick else (1000, 999)
    found = pd.concat([*interval_tables(simulations, draws, options.seed), *test_tables(simulations, draws, options.seed)])
    found = found[['table', 'world', 'statistic', 'method', 'simulations', 'percent', 'too_low', 'too_high', 'width']]
    for table, rows in found.groupby('table', sort=False):
        wide = rows.pivot(index=['world', 'statistic'], columns='method', values='percent')
        order = [list(dict.fromkeys(zip(rows.world, rows.statistic))), list(dict.fromkeys(rows.method))]
        print(f'\n{table}, %\n', wide.loc[order[0], order[1]].round(1).to_string())
    if options.save:
        found.to_csv(SAVED, index=False, float_format='%.2f')


if __name__ == '__main__':
    main()
