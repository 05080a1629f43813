"""Golden numbers on the files the paper's authors released. Written by hand.

The release is never part of this project. The tests look for it in the folder that
CULTURESPA_RELEASE names, then in ../shared/release, and are skipped without it. They compare
counts, codes and scores; no wording or share is kept here.
"""

import functools
import hashlib
import json
import os
import re
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from culturespa.given import question_files, read_questions, take_questions
from culturespa.filters import filter_questions
from culturespa.survey import InputError, modal_answers, similarity
from culturespa.survey_files import load_survey
from culturespa.file_names import read_file_name
from culturespa.release import load_llama3, read_answers
from culturespa.wvs import load_codebook, load_countries
from culturespa.wvs_sources import fetch_release, read_texts, release_files

RELEASE = Path(
    os.environ.get('CULTURESPA_RELEASE') or Path(__file__).parents[2] / 'shared' / 'release'
)
pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(
        not (RELEASE / 'data' / 'wvs_questions.json').is_file(),
        reason=f"the authors' release is not at {RELEASE}: `culturespa data release --out DIR` "
        "fetches it, CULTURESPA_RELEASE=DIR names it",
    ),
]

# fmt: off
N = dict(
    USA=2596, CAN=4018, BOL=2067, BRA=1762, GBR=2609, NLD=2145, DEU=1528, UKR=1289, CHN=3036,
    RUS=1810, IND=1692, THA=1500, KEN=1266, NGA=1237, ETH=1230, ZWE=1215, AUS=1813, NZL=1057)
# fmt: on
NEVER_ASKED = dict(CHN=37, GBR=13, USA=2, AUS=2, NZL=2, BOL=1, DEU=1, RUS=1, THA=1)


def released(name):
    return json.loads((RELEASE / 'data' / name).read_text(encoding='utf-8'))


@functools.cache
def survey():
    return load_survey(RELEASE)


@functools.cache
def modal_codes():
    return survey().modal


def test_259_questions_in_13_topics():
    sizes = survey().questions.groupby('topic', sort=False).size()
    assert len(survey().questions) == 259
    assert sizes.tolist() == [45, 11, 49, 6, 9, 10, 21, 6, 6, 12, 23, 36, 25]
    assert survey().n_options.value_counts().to_dict() == {
        2: 35,
        3: 43,
        4: 106,
        5: 22,
        7: 1,
        8: 1,
        10: 42,
        11: 9,
    }


def test_codebook_agrees_with_the_released_options_and_codes():
    book, questions = load_codebook(), survey().questions.set_index('question_id')
    assert list(book.index) == list(questions.index)
    assert (book.n_options == questions.options.map(len)).all()
    codes = survey().shares.groupby('question_id').code
    assert (codes.min()[book.index] == book.first_code).all()
    assert (codes.max()[book.index] == book.first_code + book.n_options - 1).all()


def test_eighteen_cultures_with_their_sample_sizes():
    n = survey().shares.groupby('culture', sort=False).n.agg(['min', 'max'])
    assert n['min'].equals(n['max']) and n['min'].to_dict() == N
    assert load_countries().n.dropna().astype(int).to_dict() == N | {'MEX': 1741}


def test_items_never_asked():
    lacking = 259 - survey().shares.groupby('culture').question_id.nunique()
    assert lacking[lacking > 0].to_dict() == NEVER_ASKED


def test_missing_answers_stay_in_the_denominator():
    s = survey().shares
    assert np.allclose(s.share * s.n, (s.share * s.n).round(), atol=1e-6)
    sums = s.groupby(['culture', 'question_id']).share.sum()
    assert (sums < 1 + 1e-9).all() and (sums < 0.999).mean() > 0.5


def test_modal_answers_are_the_first_of_the_largest_released_shares():
    people, modal = released('proportions_group_by_country.json'), modal_codes()
    for culture in modal:
        for q, code in modal[culture].items():
            options = people[culture].get(q) or {}
            assert pd.isna(code) if not options else code == int(max(options, key=options.get))


def test_eight_modal_answers_are_ties_and_the_files_order_decides():
    s = survey().shares
    tied = (
        s[s.share == s.groupby(['culture', 'question_id']).share.transform('max')]
        .groupby(['culture', 'question_id'])
        .size()
        > 1
    )
    assert tied.sum() == 8
    lowest = modal_answers(s.sort_values('code', kind='stable')).reindex_like(modal_codes())
    assert 0 < (lowest != modal_codes()).fillna(False).to_numpy().sum() <= 8


def test_similarity_matrix_to_its_rounding_for_all_153_pairs():
    theirs, ours, n = released('country_similarity.json'), survey().similarity, survey().n_options
    pairs = list(combinations(survey().cultures.culture, 2))
    assert len(pairs) == 153
    for a, b in pairs:
        assert abs(ours.loc[a, b] - theirs[a][b]) <= 0.05 + 1e-9, (a, b)
        assert ours.loc[a, b] == pytest.approx(similarity(modal_codes()[a], modal_codes()[b], n))
    assert np.mean([ours.loc[p] for p in pairs]) == pytest.approx(61.88, abs=0.005)


def test_similarity_follows_the_cultural_map():
    from scipy.stats import pearsonr, spearmanr

    point = survey().cultures.set_index('culture')[['x', 'y']]
    pairs = list(combinations(point.index, 2))
    near = [-np.linalg.norm(point.loc[a] - point.loc[b]) for a, b in pairs]
    similar = survey().similarity
    alike = [similar.loc[p] for p in pairs]
    assert pearsonr(near, alike).statistic == pytest.approx(0.868, abs=0.0005)
    assert spearmanr(near, alike).statistic == pytest.approx(0.880, abs=0.0005)


def check_neighbours(question_ids):
    "Ranks of the released lists, and five answered neighbours of each country, come out of chrF++"
    from culturespa.prompts import Prompter

    theirs, prompter = Prompter(survey()), Prompter(replace(survey(), neighbours=None))
    questions, modal = survey().questions.to_dict('records'), modal_codes()
    for q in questions:
        if q['question_id'] not in question_ids:
            continue
        ranked, expected = prompter.neighbours(q), theirs.neighbours(q)
        assert expected == released_neighbours()[q['question_id']]
        assert ranked == expected, q['question_id']
        for culture in modal:
            five = lambda ids: [i for i in ids if pd.notna(modal.loc[i, culture])][:5]
            assert five(ranked) == five(expected)


@functools.cache
def released_neighbours():
    return released('self_alignment_examples.json')


def test_neighbours_come_out_of_chrf():
    check_neighbours({'Q1', 'Q50', 'Q91', 'Q120', 'Q171', 'Q234A', 'Q259'})


@pytest.mark.slow
def test_neighbours_of_every_question_come_out_of_chrf():
    check_neighbours(set(survey().questions.question_id))


def test_china_reaches_rank_16_for_five_answered_neighbours():
    modal = modal_codes()['CHN']
    reach = {
        q: [i for i, n in enumerate(released_neighbours()[q], 1) if pd.notna(modal.get(n))][4]
        for q in survey().questions.question_id
    }
    assert max(reach.values()) == 16


# Numbers of the generated questions (13 topics in order, 1,000 each, from 0) that the authors' own
# notebook drops in each of its filters, and what it leaves of their options: SHA-256 of
# [[number, options], ...] per topic as JSON
DROPPED = {
    'duplicate': """
        622 1244 1337 1404 1454 1574 1594 1641 1652 1654 1665 1682 1710 1726 1795 1845 1853 1887
        1901 1909 1924 1950 1990 3049 3601 4972 5325 5827 6059 6074 6077 6144 6171 6231 6274 6281
        6289 6347 6349 6366 6393 6410 6440 6454 6481 6531 6551 6559 6585 6605 6615 6618 6662 6668
        6676 6723 6727 6769 6869 6911 6940 6959 6967 6971 6975 6977 6982 7620 7747 7758 7843 8623
        8697 9489 9656 9867 9870 9938 9996 9997 11169 11233 11258 11272 11281 11346 11357 11361
        11418 11440 11452 11467 11610 11614 11625 11634 11653 11654 11680 11720 11724 11731 11766
        11772 11906 11909 11919 11989 11998""",
    'bare scale': """
        3128 3136 3169 3245 3475 3527 3546 3595 3633 3660 3671 3736 3844 3924 4713 8008 8133 8322
        8591 8710 8833 8930 10000 10048 10317 10574 10894 10917 12421 12826 12842""",
    'malformed': "1055 1715 1905 1927 8538 8563 8608 8665 8983 12243 12362 12866 12872",
}
# the words of the two ends of the scale went into the question
EXPLAINED = """
    1062 1616 1803 4798 4965 8271 8272 8277 8436 8460 8518 8567 8570 8728 8809 8865 8872 8907 8926
    8933 12228 12240 12807"""
OPTIONS = """
    0dd227634623 9eec8f575831 dfc303cc3b50 551342544c56 da2eeb6234ad 3381e95b7d16 244b25968f09
    addd100caa03 1176ea8f66ee 97ae7cf5b774 3b666bd2d10a fa43791b35f1 19c802a913d5""".split()


def numbers(text, below):
    return {int(number) for number in text.split() if int(number) < below}


@functools.cache
def generated():
    "The authors' generated questions: all topics there are, which must be the first ones"
    folder = RELEASE / 'data' / 'Meta-Llama-3-8B-Instruct'
    if not list(folder.glob('generated_questions_topic_*.json')):
        pytest.skip(f"no generated questions in {folder}: `culturespa data release` fetches them")
    files = question_files(folder)
    topics = [int(file.name.split('_')[3]) for file in files]
    assert topics == list(range(len(files))), (
        "a duplicate can be told only if all topics before it are there"
    )
    return read_questions(folder)


def seeds():
    return [question['question'] for question in released('wvs_questions.json')]


def test_the_papers_filters_drop_what_the_authors_drop():
    items = generated()
    found = filter_questions(items, seeds(), 'paper')
    for name, expected in DROPPED.items():
        assert set(found.index[found['filter'] == name]) == numbers(expected, len(items)), name
    assert set(found['filter'].dropna()) <= set(DROPPED)
    kept = found[found['filter'].isna()]
    rewritten = kept.index[kept.question != items.question[kept.index]]
    assert set(rewritten) == numbers(EXPLAINED, len(items))
    for number in rewritten:
        assert kept.question[number].startswith(items.question[number])


def test_the_papers_cleaning_leaves_the_authors_options():
    items = generated()
    kept = filter_questions(items, seeds(), 'paper').query('filter.isna()')
    for topic in range(len(items) // 1000):
        rows = kept[kept.index // 1000 == topic]
        text = json.dumps(list(zip(rows.index, rows.options)), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest()[:12] == OPTIONS[topic], topic


def test_our_filters_part_with_the_papers_on_scales_from_0_and_on_repeated_options():
    items = generated()
    paper, ours = (filter_questions(items, seeds(), preset) for preset in ('paper', 'ours'))
    only_ours = items.index[paper['filter'].notna() & ours['filter'].isna()]
    assert set(only_ours) == numbers('4713', len(items))
    only_paper = items.index[paper['filter'].isna() & ours['filter'].notna()]
    assert set(ours.reason[only_paper]) == {'repeated options'}
    assert all(
        len({option.lower() for option in options}) < len(options)
        for options in paper.options[only_paper]
    )
    again = filter_questions(ours[ours['filter'].isna()], preset='ours')
    assert again['filter'].isna().all() and again.options.equals(ours.options[again.index])


def test_released_questions_are_step_1_under_either_preset():
    items = generated()
    for preset in ('paper', 'ours'):
        questions, dropped, counts = take_questions(
            RELEASE / 'data' / 'Meta-Llama-3-8B-Instruct', survey(), preset
        )
        assert len(questions) + len(dropped) == len(items) == counts['attempts']
        assert questions.topic.nunique() == len(items) // 1000
        names = {int(name[1:]) - 1 for name in questions.question_id}
        assert names == set(items.index) - set(
            items.index[filter_questions(items, seeds(), preset)['filter'].notna()]
        )
    few = take_questions(RELEASE, survey(), 'paper', per_topic=10, topics=['Corruption'])[0]
    assert few.question_id.tolist() == [f'G{4000 + i:05}' for i in range(1, 11)]


def test_scores_of_the_released_answers():
    folder = RELEASE / 'result' / 'Meta-Llama-3-8B-Instruct'
    files = [
        folder / 'wvs_result_culture_unaware_0.json',
        *sorted(folder.glob('wvs_result_culture_aware_???_0.json')),
    ]
    if len(files) != 19 or not all(f.exists() for f in files):
        pytest.skip(f"not all 19 files of released answers in {folder}")
    answers = read_answers(files, survey())
    modal, n = modal_codes(), survey().n_options
    sheets = {
        key: group.set_index('question_id').code
        for key, group in answers.groupby(['method', 'culture'])
    }
    unaware = {c: similarity(sheets['unaware', 'none'], modal[c], n) for c in modal}
    aware = {c: similarity(sheets['P1', c], modal[c], n) for c in modal}
    assert np.mean(list(unaware.values())) == pytest.approx(62.36, abs=0.005)
    assert np.mean(list(aware.values())) == pytest.approx(66.61, abs=0.005)
    for c, before, after in (('USA', 68.34, 71.12), ('ZWE', 53.13, 65.53), ('CHN', 62.19, 66.54)):
        assert (unaware[c], aware[c]) == (
            pytest.approx(before, abs=0.005),
            pytest.approx(after, abs=0.005),
        )


# Answers in files

TWIN = 'wvs_result_self_alignment_0.json'


def result_names():
    "Names of all result files of the release, whether they are here or not"
    files = release_files().file
    return [Path(file).name for file in files if file.startswith('result/')]


def result_files():
    return sorted(RELEASE.glob('result/*/*.json'))


def need_all_results():
    here = {path.name for path in result_files()}
    missing = [name for name in result_names() if name not in here]
    if missing:
        pytest.skip(f'{len(missing)} of {len(result_names())} result files are not in {RELEASE}')


@functools.cache
def all_answers():
    return read_answers(result_files(), survey())


def test_every_result_file_there_is_is_read():
    coverage = pd.DataFrame(all_answers().attrs['coverage'])
    assert set(coverage.file) == {path.name for path in result_files()} - {TWIN}
    assert (
        (coverage.known == 259).all()
        and (coverage.foreign == 0).all()
        and (coverage.survey == 259).all()
    )
    assert len(all_answers()) == 259 * len(coverage)
    for note in all_answers().attrs['notes']:
        assert TWIN in note


def test_files_say_which_method_and_culture_they_are():
    said = {name: read_file_name(name, survey().cultures) for name in result_names()}
    assert not any(facts['unknown'] for facts in said.values())
    sheets = {(facts['method'], facts['culture']) for name, facts in said.items() if name != TWIN}
    assert sheets == {
        ('unaware', None),
        ('P3', 'USA'),
        ('P1+P3', 'USA'),
        ('P2+P3', 'USA'),
        ('P2+P3', 'CAN'),
        *(('P1', culture) for culture in N),
    }


def test_a_file_without_a_culture_is_one_of_the_others():
    need_all_results()
    (note,) = all_answers().attrs['notes']
    assert note.startswith(TWIN) and 'wvs_result_self_alignment_American_0.json' in note
    alone = [path for path in result_files() if path.name == TWIN]
    with pytest.raises(InputError, match='--culture'):
        read_answers(alone, survey())
    assert set(read_answers(alone, survey(), culture='USA').culture) == {'USA'}


def test_scores_of_methods_with_few_cultures():
    need_all_results()
    expected = {
        ('P3', 'USA'): 63.74,
        ('P1+P3', 'USA'): 66.99,
        ('P2+P3', 'USA'): 66.83,
        ('P2+P3', 'CAN'): 69.55,
    }
    modal, n = modal_codes(), survey().n_options
    sheets = all_answers().set_index('question_id').groupby(['method', 'culture']).code
    for (method, culture), score in expected.items():
        codes = sheets.get_group((method, culture))
        assert similarity(codes, modal[culture], n) == pytest.approx(score, abs=0.005), (
            method,
            culture,
        )


def test_replies_are_read_as_the_authors_read_them():
    "They take the first digits of any reply, up to 10, without asking for a sign or for codes"
    for reply, code in zip(all_answers().text, all_answers().code):
        digits = re.search(r'\d+', reply)
        theirs = int(digits.group()) if digits and int(digits.group()) <= 10 else None
        assert (None if pd.isna(code) else code) == theirs, reply


def test_the_final_pages_read_the_same_folder():
    asked, answers = load_llama3(RELEASE)
    assert set(answers.model) == {'LLaMA-3'}
    assert answers.drop(columns='model').equals(all_answers().drop(columns='model'))
    assert asked.modal.equals(modal_codes())


def test_the_two_lines_of_the_readme(tmp_path, capsys):
    from culturespa.cli import main

    release, out = tmp_path / 'release', tmp_path / 'runs' / 'llama3'
    assert (
        main(['data', 'release', '--out', str(release), '--source', str(RELEASE), '--quiet']) == 0
    )
    answers = sorted(map(str, release.glob('result/*/*.json')))
    assert len(answers) == len(result_files())
    line = [
        'align',
        '--survey',
        str(release),
        '--answers',
        *answers,
        '--out',
        str(out),
        '--draws',
        '50',
    ]
    assert main(line) == 0
    printed = capsys.readouterr()
    assert printed.err.count('\n') == len(all_answers().attrs['notes'])
    scores = pd.read_csv(out / 'scores.csv').set_index(['method', 'culture']).score
    assert set(scores.index.get_level_values('method')) == set(all_answers().method)
    assert scores['P1', 'average'] == pytest.approx(66.61, abs=0.005)


def test_question_texts_of_the_release_fit_an_import():
    texts = read_texts(RELEASE)
    assert len(texts) == 259 and all(
        len(t['options']) == load_codebook().n_options[q] for q, t in texts.items()
    )


# Fetching


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_the_release_is_fetched_from_a_folder_and_a_server(tmp_path):
    handler = functools.partial(QuietHandler, directory=str(RELEASE))
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = {file for file in release_files().file if (RELEASE / file).exists()}
    try:
        for out, source in (
            (tmp_path / 'copy', RELEASE),
            (tmp_path / 'web', f'http://127.0.0.1:{server.server_port}'),
        ):
            states = fetch_release(out, source).set_index('file').state
            assert set(states.index[states == 'fetched']) == here
            assert set(states[~states.index.isin(here)]) <= {'not at the source'}
            assert set(fetch_release(out, source).state) <= {'there already', 'not at the source'}
            assert load_survey(out).modal.equals(survey().modal)
    finally:
        server.shutdown()
        server.server_close()
