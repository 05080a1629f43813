"""Do the intervals hold the truth as often as they say, and do the tests err as rarely?

    python benchmarks/coverage.py [--quick] [--save]

Surveys are simulated whose truth is known. They are built like wave 7 of the World Values Survey:
batteries and numbers of options come from `data/wvs_codebook.csv`. Misses are correlated inside a
battery (0.4), between 18 cultures (0.5) and between methods (0.7). Two kinds of truth:

- same list: the batteries stay, their questions are new. This is what an interval promises.
- other list: the batteries are drawn as well. The heaviest may come twice, or not at all.

Where the authors' release is at hand, its own batteries are drawn with replacement too, and its
scores are the truth.

Tests are tried where there is no difference: the names of two methods are swapped at random,
battery by battery. Beside the sign flips stand the usual intervals and the p-values of a
bootstrap.

`--quick` takes less than a minute, the full run some minutes on one thread; `--save` writes
`data/results/coverage.csv`.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np
import pandas as pd
from scipy import stats

from culturespa.alignment import CEILING, FLOOR
from culturespa.sheets import answer_sheets
from culturespa.baselines import baseline_answers
from culturespa.batteries import batteries, kish
from culturespa.comparison import (
    both_distances,
    flip_p,
    holm,
    largest_p,
    position,
    ends_and_distances,
    swapped_differences,
)
from culturespa.inference import (
    flip_interval,
    misses,
    pulls_on_score,
    score_of_sums,
    sign_flips,
    weight_shares,
)
from culturespa.release import find_release, load_llama3
from culturespa.survey import data_path

CULTURES, LEVEL = 18, 0.95
TAILS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
SPREAD = dict(P1=0.36, unaware=0.40, floor=0.345, ceiling=0.06)  # of misses, as parts of the scale
IN_BATTERY, BETWEEN_CULTURES, BETWEEN_METHODS = 0.4, 0.5, 0.7  # correlations
BATTERY_COUNTS = [1, 2, 3, 5, 10, 20, 50]
COLUMNS = [
    'table',
    'world',
    'statistic',
    'method',
    'simulations',
    'percent',
    'too_low',
    'too_high',
    'width',
]
SAVED = Path(__file__).resolve().parents[1] / 'data' / 'results' / 'coverage.csv'


@dataclass
class Statistic:
    "Something an interval is given for"

    methods: tuple  # those it needs
    combine: Callable = np.positive  # their average scores -> the statistic
    scale: Callable | None = None  # as `with_bounds` has it
    cultures: str = 'all'  # or 'last'


GAIN = ('P1', 'unaware')
STATISTICS = {
    'score': Statistic(('P1',)),
    'difference to unaware': Statistic(GAIN, np.subtract, both_distances),
    'difference to unaware, one culture': Statistic(GAIN, np.subtract, both_distances, 'last'),
    'difference to floor': Statistic(('P1', 'floor'), np.subtract, both_distances),
    'place between floor and ceiling': Statistic(
        ('P1', 'floor', 'ceiling'), position, ends_and_distances
    ),
}


# ---- worlds: {method: (lost, most)}, question x culture, and the battery of each question


def codebook_batteries():
    "How many questions and how many steps each battery of the survey has"
    codebook = pd.read_csv(data_path('wvs_codebook.csv'))
    codebook = codebook[codebook.evaluated].assign(options=None)
    groups = codebook.groupby(batteries(codebook))
    return groups.size().to_numpy(), groups.n_options.first().to_numpy() - 1.0


def correlated(rng, places):
    "Standard normal values, place x culture x method, correlated between cultures and methods"
    total = 0
    by_culture = [(1, BETWEEN_CULTURES), (CULTURES, 1 - BETWEEN_CULTURES)]
    by_method = [(1, BETWEEN_METHODS), (len(SPREAD), 1 - BETWEEN_METHODS)]
    for cultures, of_cultures in by_culture:
        for methods, of_methods in by_method:
            values = rng.normal(size=(places, cultures, methods))
            total = total + np.sqrt(of_cultures * of_methods) * values
    return total


def draw_world(rng, sizes, spans):
    "A survey with batteries of these sizes and spans, and what every method misses"
    group = np.repeat(np.arange(len(sizes)), sizes)
    span = spans[group][:, None, None]  # question x culture x method
    of_battery = correlated(rng, len(sizes))[group]
    of_question = correlated(rng, len(group))
    shared = np.sqrt(IN_BATTERY) * of_battery
    own = np.sqrt(1 - IN_BATTERY) * of_question
    width = np.array(list(SPREAD.values()))
    steps = np.rint((shared + own) * width * span)
    lost = np.clip(steps, -span, span) ** 2
    most = np.repeat(span[:, :, 0] ** 2, CULTURES, axis=1)
    world = {}
    for i, method in enumerate(SPREAD):
        world[method] = lost[..., i], most
    return world, group


def release_world():
    "The authors' answers; None where they are not on this machine"
    folder = find_release()
    if folder is None:
        return None
    survey, answers = load_llama3(folder)
    everything = pd.concat([answer_sheets(survey, answers), baseline_answers(survey, 1)])
    kinds = dict(
        P1=('LLaMA-3', 'P1'),
        unaware=('LLaMA-3', 'unaware'),
        floor=('floor', FLOOR),
        ceiling=('ceiling', CEILING),
    )
    parts = {}
    for method, kind in kinds.items():
        one = everything.xs(kind, level=['model', 'method'], drop_level=False)
        parts[method] = misses(survey, one)[0].T  # question x culture
    missing = np.isnan(sum(parts.values()))  # the same cells for all
    squared_span = (survey.n_options.to_numpy(float)[:, None] - 1) ** 2
    most = np.where(missing, 0, squared_span)
    world = {}
    for method, part in parts.items():
        world[method] = np.where(missing, 0, part**2) * squared_span, most
    return world, batteries(survey.questions)


def by_battery(world, group):
    "Sum over the questions of each battery"
    starts = np.unique(group, return_index=True)[1]
    sums = {}
    for method, pair in world.items():
        sums[method] = tuple(np.add.reduceat(values, starts) for values in pair)
    return sums


def sums_of(world, statistic):
    "(lost, most) of the methods a statistic needs, unit x culture"
    which = slice(None) if statistic.cultures == 'all' else slice(-1, None)
    return [tuple(values[:, which] for values in world[method]) for method in statistic.methods]


def value_of(world, statistic):
    "A statistic of a world"
    means = []
    for lost, most in sums_of(world, statistic):
        score = score_of_sums(lost.sum(0), most.sum(0))
        means.append(score.mean())
    return float(statistic.combine(*means))


def truth_of_list(sizes, spans, worlds, seed):
    "Every statistic of many worlds with the same list of batteries, put together"
    all_lost = {method: np.zeros((1, CULTURES)) for method in SPREAD}
    all_most = {method: np.zeros((1, CULTURES)) for method in SPREAD}
    for i in range(worlds):
        rng = np.random.default_rng([seed, i])
        world, _ = draw_world(rng, sizes, spans)
        for method, (lost, most) in world.items():
            all_lost[method] += lost.sum(0)
            all_most[method] += most.sum(0)
    together = {method: (all_lost[method], all_most[method]) for method in SPREAD}
    return {name: value_of(together, statistic) for name, statistic in STATISTICS.items()}


# ---- intervals


@dataclass
class Draws:
    "How often each unit was drawn, draw x unit, and patterns of signs"

    batteries: np.ndarray
    questions: np.ndarray
    flips: np.ndarray


def draws_for(rng, draws, batteries, questions):
    return Draws(
        with_replacement(rng, draws, batteries),
        with_replacement(rng, draws, questions),
        sign_flips(batteries, draws, rng.integers(2**32)),
    )


def with_replacement(rng, draws, units):
    "How often each of some units is drawn"
    return rng.multinomial(units, np.full(units, 1 / units), size=draws).astype(float)


def all_intervals(world, questions, statistic, draws):
    "Every kind of interval for one statistic of one world: name -> (low, high)"
    sums = sums_of(world, statistic)
    shares = weight_shares(sums[0][1][:, None]).mean(1)
    scores = [score_of_sums(lost.sum(0), most.sum(0)).mean() for lost, most in sums]
    pulls = [pulls_on_score(lost[:, None], most[:, None])[:, 0].mean(1) for lost, most in sums]
    without = [score - pull for score, pull in zip(scores, pulls)]
    value = statistic.combine(*scores)
    pull = value - statistic.combine(*without)
    drawn = bootstrap(sums, statistic, draws.batteries)
    drawn_questions = bootstrap(sums_of(questions, statistic), statistic, draws.questions)
    errors = errors_of_draws(sums, statistic, draws.batteries)
    return {
        'percentile, questions': percentiles(drawn_questions),
        'percentile': percentiles(drawn),
        'BCa': corrected_percentiles(drawn, value, pull),
        'percentile-t': studentised(drawn, errors, value, pull),
        'jackknife, t of k - 1': jackknife_t(value, pull, shares, len(shares) - 1),
        'jackknife, t of effective - 1': jackknife_t(value, pull, shares, kish(shares) - 1),
        'sign flips': sign_flip_ends(value, pull, shares, scores, without, statistic, draws.flips),
    }


def sign_flip_ends(value, pull, shares, scores, without, statistic, flips):
    "The interval of `culturespa.inference`"
    if statistic.scale is not None:
        left = statistic.scale(*without) / statistic.scale(*scores)
        shares = shares + 1 - left
    ends = flip_interval(np.array([value]), pull[:, None], shares[:, None], flips, LEVEL)
    return [end.item() for end in ends]


def bootstrap(sums, statistic, counts):
    "The statistic of units drawn with replacement"
    scores = [score_of_sums(counts @ lost, counts @ most).mean(1) for lost, most in sums]
    return statistic.combine(*scores)


def errors_of_draws(sums, statistic, counts):
    "Standard error of the statistic in every draw, from what each unit pulls"
    scores, without = [], []
    for lost, most in sums:
        all_lost, all_most = counts @ lost, counts @ most
        with np.errstate(divide='ignore', invalid='ignore'):
            rate = all_lost / all_most
            slope = -50 / np.sqrt(rate) / all_most / lost.shape[1]
        slope = np.nan_to_num(slope, posinf=0, neginf=0)
        paid = slope * np.nan_to_num(rate)
        pull = slope @ lost.T - paid @ most.T  # draw x unit
        score = score_of_sums(all_lost, all_most).mean(1)
        scores.append(score)
        without.append(score[:, None] - pull)
    pull = statistic.combine(*scores)[:, None] - statistic.combine(*without)
    return np.sqrt((counts * pull**2).sum(1))


def percentiles(drawn, tails=TAILS):
    "The usual bootstrap interval"
    return np.nanquantile(drawn, tails)


def corrected_percentiles(drawn, value, pull):
    "Bias-corrected and accelerated bootstrap (Efron 1987)"
    below = (drawn < value).mean()
    shift = stats.norm.ppf(np.clip(below, 0.001, 0.999))
    squares, cubes = (pull**2).sum(), (pull**3).sum()
    acceleration = cubes / (6 * squares**1.5)
    z = shift + stats.norm.ppf(TAILS)
    corrected = shift + z / (1 - acceleration * z)
    return percentiles(drawn, stats.norm.cdf(corrected))


def studentised(drawn, errors, value, pull):
    "Bootstrap of the t value"
    with np.errstate(divide='ignore', invalid='ignore'):
        low, high = percentiles((drawn - value) / errors)
    size = np.sqrt((pull**2).sum())
    return value - high * size, value - low * size


def jackknife_t(value, pull, shares, freedom):
    "Jackknife error, leaving out one battery after the other, with a t quantile"
    error = np.sqrt(((pull / (1 - shares)) ** 2).sum())
    reach = stats.t.ppf(TAILS[1], freedom) * error
    return value - reach, value + reach


def coverage(name, draw, truth, simulations, draws, rng):
    "Share of worlds whose intervals hold the truth"
    rows = []
    for _ in range(simulations):
        questions, group, mark = draw(rng)
        world = by_battery(questions, group)
        drawn = draws_for(rng, draws, group[-1] + 1, len(group))
        for what, statistic in STATISTICS.items():
            found = all_intervals(world, questions, statistic, drawn)
            for method, (low, high) in found.items():
                missed = high < truth[what], low > truth[what]
                rows.append((name + mark, what, method, *missed, high - low))
    columns = ['world', 'statistic', 'method', 'too_low', 'too_high', 'width']
    table = pd.DataFrame(rows, columns=columns)
    groups = table.groupby(['world', 'statistic', 'method'], sort=False)
    found = 100 * groups[['too_low', 'too_high']].mean()
    found['percent'] = 100 - found.sum(axis=1)
    found['width'], found['simulations'] = groups.width.median(), groups.size()
    return found.reset_index().assign(table='intervals')


def interval_tables(simulations, draws, seed):
    "Coverage in every world"
    sizes, spans = codebook_batteries()
    truth = truth_of_list(sizes, spans, 60 if simulations < 100 else 400, seed)
    how = dict(simulations=simulations, draws=draws)

    def same_list(rng):
        return *draw_world(rng, sizes, spans), ''

    def other_list(rng):
        drawn = rng.choice(len(sizes), len(sizes))
        return *draw_world(rng, sizes[drawn], spans[drawn]), ''

    yield coverage('same list', same_list, truth, **how, rng=np.random.default_rng(seed))
    yield coverage('other list', other_list, truth, **how, rng=np.random.default_rng(seed + 1))
    release = release_world()
    if release is not None:
        yield release_coverage(*release, **how, rng=np.random.default_rng(seed + 2))


def release_coverage(world, group, simulations, draws, rng):
    "Batteries of the release drawn with replacement, apart by whether the heaviest is among them"
    sums = by_battery(world, group)
    truth = {name: value_of(sums, statistic) for name, statistic in STATISTICS.items()}
    heaviest = sums['P1'][1].sum(1).argmax()
    members = [np.flatnonzero(group == g) for g in range(group.max() + 1)]

    def draw(rng):
        drawn = rng.choice(len(members), len(members))
        picked = np.concatenate([members[g] for g in drawn])
        new_group = np.repeat(np.arange(len(drawn)), [len(members[g]) for g in drawn])
        questions = {name: tuple(values[picked] for values in pair) for name, pair in world.items()}
        mark = ', heaviest drawn' if heaviest in drawn else ', heaviest not drawn'
        return questions, new_group, mark

    apart = coverage('release', draw, truth, simulations, draws, rng)
    return pd.concat([together(apart), apart])


def together(apart):
    "One row where there are two, each simulation counting alike"
    numbers = ['percent', 'too_low', 'too_high', 'width']
    summed = apart.assign(world='release')
    summed[numbers] = summed[numbers].mul(summed.simulations, axis=0)
    summed = summed.groupby(['table', 'world', 'statistic', 'method'], sort=False)
    summed = summed[[*numbers, 'simulations']].sum().reset_index()
    summed[numbers] = summed[numbers].div(summed.simulations, axis=0)
    return summed


# ---- tests


def swap_names(rng, lost_a, lost_b):
    "Two methods that do not differ: each battery's names in random order"
    keep = rng.random(len(lost_a))[:, None] < 0.5
    return np.where(keep, lost_a, lost_b), np.where(keep, lost_b, lost_a)


def bootstrap_values(lost_a, lost_b, most, rng, draws):
    "The difference seen, then those of drawn batteries about it: draw x culture"
    counts = with_replacement(rng, draws, len(lost_a))
    counts = np.vstack([np.ones(len(lost_a)), counts])
    scores = [score_of_sums(counts @ lost, counts @ most) for lost in (lost_a, lost_b)]
    values = scores[0] - scores[1]
    return np.vstack([values[:1], values[1:] - values[0]])


def tested(lost_a, lost_b, most, rng, draws):
    "Values under both ways of testing: name -> draw x culture"
    flips = sign_flips(len(lost_a), draws, rng.integers(2**32))
    swapped = swapped_differences(lost_a[:, None], lost_b[:, None], most[:, None], flips)
    return {'bootstrap': bootstrap_values(lost_a, lost_b, most, rng, draws), 'sign flips': swapped}


def families(name, draw, simulations, draws, rng):
    "Families of 18 tests without any difference: share with a false alarm"
    rows = []
    for _ in range(simulations):
        lost_a, lost_b, most = draw(rng)
        lost_a, lost_b = swap_names(rng, lost_a, lost_b)
        for method, values in tested(lost_a, lost_b, most, rng, draws).items():
            p = flip_p(values)
            rows.append((name, 'unadjusted', method, p.min() <= 0.05))
            rows.append((name, 'Holm', method, holm(p).min() <= 0.05))
            rows.append((name, 'max-t', method, largest_p(values).min() <= 0.05))
    return rates(rows, 'families')


def by_number_of_batteries(simulations, draws, rng):
    "False verdicts on the average of 18 cultures, by number of batteries"
    sizes, spans = codebook_batteries()
    rows = []
    for count in BATTERY_COUNTS:
        for _ in range(simulations):
            drawn = rng.choice(len(sizes), count)
            world = by_battery(*draw_world(rng, sizes[drawn], spans[drawn]))
            lost_a, lost_b = swap_names(rng, world['P1'][0], world['unaware'][0])
            for method, values in tested(lost_a, lost_b, world['P1'][1], rng, draws).items():
                p = flip_p(values.mean(1, keepdims=True))
                rows.append(('other list', count, method, p.item() <= 0.05))
    return rates(rows, 'batteries')


def rates(rows, table):
    "Share of alarms in %"
    found = pd.DataFrame(rows, columns=['world', 'statistic', 'method', 'alarm'])
    groups = found.groupby(['world', 'statistic', 'method'], sort=False).alarm
    counted = pd.DataFrame(dict(percent=100 * groups.mean(), simulations=groups.size()))
    return counted.reset_index().assign(table=table)


def test_tables(simulations, draws, seed):
    "False alarms in every world"
    sizes, spans = codebook_batteries()

    def simulated(rng):
        world = by_battery(*draw_world(rng, sizes, spans))
        return world['P1'][0], world['unaware'][0], world['P1'][1]

    yield families('same list', simulated, simulations, draws, np.random.default_rng(seed + 3))
    release = release_world()
    if release is not None:
        sums = by_battery(*release)
        fixed = sums['P1'][0], sums['unaware'][0], sums['P1'][1]
        rng = np.random.default_rng(seed + 4)
        yield families('release', lambda rng: fixed, simulations, draws, rng)
    yield by_number_of_batteries(simulations, draws, np.random.default_rng(seed + 5))


def show(found):
    "Print one wide table for each kind"
    for table, rows in found.groupby('table', sort=False):
        wide = rows.pivot(index=['world', 'statistic'], columns='method', values='percent')
        index = list(dict.fromkeys(zip(rows.world, rows.statistic)))
        columns = list(dict.fromkeys(rows.method))
        print(f'\n{table}, %\n{wide.loc[index, columns].round(1).to_string()}')


def main():
    as_it_is = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_it_is)
    parser.add_argument('--quick', action='store_true', help='few simulations, within 5 points')
    parser.add_argument('--save', action='store_true', help=f'write {SAVED.name}')
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    simulations, draws = (60, 399) if options.quick else (1000, 999)
    how = simulations, draws, options.seed
    found = pd.concat([*interval_tables(*how), *test_tables(*how)])[COLUMNS]
    show(found)
    if options.save:
        found.to_csv(SAVED, index=False, float_format='%.2f')


if __name__ == '__main__':
    main()
