"""Files written wrong on purpose: each is reported, or refused in a line naming file, row, column.

Written by hand. The properties at the end are hypothesis's: whatever is done to a file, the
importer neither crashes nor passes it in silence.
"""
import hashlib
import re
import threading
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import culturespa.wvs_sources as wvs_sources
from culturespa.survey import InputError
from culturespa.survey_files import load_survey
from culturespa.wvs import MISSING_POLICIES, WEIGHTS
from culturespa.wvs_import import import_wvs
from culturespa.wvs_sources import fetch_release, made_labels, made_microdata, write_microdata

N, ITEMS = 12, 6


def two_countries():
    "The invented people most tests begin with"
    return made_microdata(['USA', 'THA'], n=N, items=ITEMS, seed=3)


@pytest.fixture
def people():
    people = two_countries()
    codes = people.loc[:, 'Q1':]
    people.loc[:, 'Q1':] = np.where(codes < 0, 1, codes)
    return people


@pytest.fixture
def made(people, tmp_path):
    return write_microdata(people, tmp_path/'made.csv')


def complaint(*args, **options):
    "The one line the importer refuses with"
    with pytest.raises(InputError) as caught:
        import_wvs(*args, **options)
    text = str(caught.value)
    assert '\n' not in text and len(text) < 400, text
    return text


def edited(made, change):
    "The made file with its text changed"
    made.write_text(change(made.read_text()))
    return made


def cell(made, row, column, value):
    "The made file with one cell changed; row 2 is the first respondent"
    lines = [line.split(',') for line in made.read_text().splitlines()]
    lines[row - 1][lines[0].index(column)] = value
    made.write_text('\n'.join(map(','.join, lines)) + '\n')
    return made


# Whole files

def test_the_made_file_itself_is_fine(made):
    survey = import_wvs(made)
    assert len(survey.cultures) == 2
    assert not any('outside' in line for line in survey.record['checks'])


def test_truncated_csv(made):
    text = complaint(edited(made, lambda t: t[:t.rindex(',')].rstrip('\n')))
    assert 'made.csv, row 25, column Q6' in text and 'cut short' in text


def test_truncated_sav_and_dta(people, tmp_path):
    for name in ('made.sav', 'made.dta'):
        file = write_microdata(people, tmp_path/name)
        file.write_bytes(file.read_bytes()[:-200])
        assert name in complaint(file)


def test_rows_too_short_and_too_long(made):
    whole = made.read_text().splitlines()
    changed = {7: whole[6] + ',1', 9: whole[8].rsplit(',', 2)[0]}
    for row, line in changed.items():
        lines = [*whole[:row - 1], line, *whole[row:]]
        made.write_text('\n'.join(lines))
        text = complaint(made)
        assert f'row {row}' in text and 'the header has 13' in text


def test_wrong_delimiter_in_header_and_in_rows(made):
    assert 'no column Q1 to Q259' in complaint(edited(made, lambda t: t.replace(',', '#')))
    made.write_text(made.read_text().replace('#', ',').replace(',', ';').replace(';', ',', 12))
    assert 'row 2' in complaint(made)


def test_any_of_four_delimiters_and_decimal_commas_will_do(people, made, tmp_path):
    expected = import_wvs(made).shares
    text = made.read_text()
    for delimiter in ';\t|':
        made.write_text(text.replace(',', delimiter))
        pd.testing.assert_frame_equal(import_wvs(made).shares, expected)
    comma = people.assign(W_WEIGHT=people.W_WEIGHT.astype(str).str.replace('.', ','))
    comma.to_csv(tmp_path/'comma.csv', sep=';', index=False)
    pd.testing.assert_frame_equal(import_wvs(tmp_path/'comma.csv').shares, expected)


def test_wrong_encodings(made, people, tmp_path):
    text = made.read_text()
    made.write_bytes(text.encode('utf-16'))
    assert 'row 1: not plain text' in complaint(made)
    made.write_bytes(text.replace('VERSION', 'VERSÃO').encode('cp1252'))
    assert 'row 1' in complaint(made) and 'cp1252' in complaint(made)
    assert len(import_wvs(made, encoding='cp1252').cultures) == 2
    made.write_bytes(text.replace('THA', 'Thaïlande', 1).encode('cp1252'))
    assert 'row 14, column B_COUNTRY_ALPHA' in complaint(made) and 'not utf-8' in complaint(made)
    assert 'unknown encoding' in complaint(made, encoding='utf-99')
    made.write_bytes(b'\xef\xbb\xbf' + text.encode())
    assert len(import_wvs(made).cultures) == 2


def test_waves_5_and_6_and_the_joint_file(made, tmp_path):
    old = tmp_path/'wave6.csv'
    names = ['V1', 'V2', 'V2A', *(f'V{i}' for i in range(3, 60))]
    old.write_text(','.join(names) + '\n' + ','.join(['6'] * 60) + '\n')
    assert 'wave 5 or 6' in complaint(old) and 'wave 7 is needed' in complaint(old)
    old.write_text('studyno,cntry_AN,gwght,A001\n1,DE,1,2\n')
    assert 'joint' in complaint(old)
    assert 'row 3, column A_WAVE' in complaint(cell(made, 3, 'A_WAVE', '6'))


def test_nothing_there(made, tmp_path):
    assert 'is no file' in complaint(tmp_path/'none.csv')
    assert 'is no file' in complaint(tmp_path)
    assert 'at least one' in complaint([])
    (tmp_path/'empty.csv').touch()
    assert 'row 1: no header' in complaint(tmp_path/'empty.csv')
    assert 'no respondents' in complaint(edited(made, lambda t: t.splitlines()[0] + '\n'))
    (tmp_path/'made.zip').touch()
    assert 'unpacked' in complaint(tmp_path/'made.zip')
    (tmp_path/'junk.sav').write_bytes(b'soup' * 100)
    assert 'junk.sav' in complaint(tmp_path/'junk.sav')
    (tmp_path/'junk.csv').write_bytes(bytes(range(256)))
    assert 'junk.csv' in complaint(tmp_path/'junk.csv')


# Columns

def test_a_file_without_weights(made):
    edited(made, lambda t: t.replace('W_WEIGHT', 'WEIGHT'))
    assert 'row 1: no column W_WEIGHT; --weights none' in complaint(made)
    assert len(import_wvs(made, weights='none').shares)


def test_columns_missing_and_repeated(made):
    text = made.read_text()
    made.write_text(text.replace('B_COUNTRY_ALPHA', 'X').replace('B_COUNTRY', 'Y'))
    assert 'no column B_COUNTRY_ALPHA or B_COUNTRY' in complaint(made)
    made.write_text(text.replace(',Q2,', ',Q1,'))
    assert 'column Q1 occurs 2 times' in complaint(made)


def test_countries_by_number_will_do(made):
    edited(made, lambda t: t.replace('B_COUNTRY_ALPHA', 'X'))
    assert set(import_wvs(made).cultures.culture) == {'USA', 'THA'}


# Cells

@pytest.mark.parametrize('weight', ['-1', '-0.001', '1e9', '101', 'inf', 'nan', '', 'heavy'])
def test_weights_that_are_none(made, weight):
    assert 'row 5, column W_WEIGHT' in complaint(cell(made, 5, 'W_WEIGHT', weight))


@pytest.mark.parametrize('country', ['ATL', 'US', '-4', '', '999'])
def test_unknown_countries(made, country):
    assert 'row 5, column B_COUNTRY_ALPHA' in complaint(cell(made, 5, 'B_COUNTRY_ALPHA', country))


def test_a_country_of_ones_own_is_a_row(made, tmp_path):
    more = tmp_path/'more.csv'
    more.write_text('culture,numeric,name,adjective,article,continent\nATL,,Atlantis,Atlantean,an,Europe\n')
    cell(made, 5, 'B_COUNTRY_ALPHA', 'ATL')
    assert 'ATL' in set(import_wvs(made, countries=more).cultures.culture)
    more.write_text('culture,numeric,name,adjective,article\nATL,,Atlantis,Atlantean,an\n')
    assert 'more.csv lacks the column continent' in complaint(made, countries=more)
    more.write_text('culture,numeric,name,adjective,article,continent\nAtlantis,,Atlantis,Atlantean,an,Europe\n')
    assert 'more.csv, row 2' in complaint(made, countries=more)


def test_duplicate_respondents(made, people, tmp_path):
    first = made.read_text().splitlines()[1]
    text = complaint(edited(made, lambda t: t + first + '\n'))
    assert 'row 26, column D_INTERVIEW' in text and 'row 2 of made.csv' in text
    one = write_microdata(people, tmp_path/'one.csv')
    two = write_microdata(people, tmp_path/'two.sav')
    text = complaint([one, two])
    assert 'two.sav, row 1' in text and 'row 2 of one.csv' in text


@pytest.mark.parametrize('code', ['5', '0', '-6', '1.5', '300', '1e30', '-99'])
def test_codes_outside_the_codebook(made, code):
    text = complaint(cell(made, 4, 'Q1', code))
    assert 'row 4, column Q1' in text and '1 to 4, or -1 to -5' in text


def test_rare_codes_outside_the_codebook_are_reported(tmp_path):
    people = made_microdata(['THA'], n=400, items=3)
    people.loc[10, 'Q2'] = 8
    survey = import_wvs(write_microdata(people, tmp_path/'made.csv'))
    first = survey.record['checks'][0]
    assert first.startswith('Q2: 1 answers outside') and 'row 12' in first


def test_words_where_numbers_are_expected(made):
    assert "row 6, column Q3: 'often'" in complaint(cell(made, 6, 'Q3', 'often'))


def test_blank_cells_are_missing_answers(made):
    survey = import_wvs(cell(made, 2, 'Q1', ''), weights='none', missing='kept')
    n = survey.shares.set_index(['culture', 'question_id']).n
    assert n['USA', 'Q1'].iloc[0] == N - 1 and n['USA', 'Q2'].iloc[0] == N


def test_words_need_someone_who_knows_their_codes(people, tmp_path):
    labels = made_labels(people.columns[7:])
    single = write_microdata(people, tmp_path/'single.csv', labels)
    assert 'row 2, column Q1' in complaint(single) and 'give --texts' in complaint(single)
    labels['Q1'].pop(2)
    other = labels | {'Q2': {1: 'else'}}
    texts = write_microdata(people, tmp_path/'labels.sav', other)
    survey = import_wvs(single, texts=texts)
    assert any('Q2: label' in line for line in survey.record['checks'])
    assert 'Q2' not in set(survey.questions.question_id)


def test_a_country_without_weight_is_left_out_and_reported(people, tmp_path):
    people.loc[people.B_COUNTRY_ALPHA == 'THA', 'W_WEIGHT'] = 0
    survey = import_wvs(write_microdata(people, tmp_path/'made.csv'))
    assert set(survey.cultures.culture) == {'USA'}
    assert any(line.startswith('THA: nobody') for line in survey.record['checks'])
    people.W_WEIGHT = 0
    text = complaint(write_microdata(people, tmp_path/'made.csv'))
    assert 'no respondent with a weight above 0' in text


# Settings and texts

def test_unknown_settings(made):
    for wrong in (dict(weights='heavy'), dict(missing='lost'), dict(preset='papr')):
        assert 'accepted are' in complaint(made, **wrong)


def test_texts_out_of_step_with_codes(made, tmp_path):
    texts = tmp_path/'questions.csv'

    def refused(text):
        texts.write_text('question_id,question,options\n' + text)
        return complaint(made, texts=texts)
    assert 'row 2: Q7 has 1 options, its codes 1 to 2 need 2' in refused('Q7,Yes?,"[""Yes""]"\n')
    assert 'row 2: Q1 has 3 options' in refused('Q1,How?,"[""a"", ""b"", ""c""]"\n')
    assert 'row 3: question_id Q1 occurs twice' in refused('Q1,How?,\nQ1,How?,\n')
    assert 'row 2: options' in refused('Q1,How?,Yes/No\n')
    assert 'none of the questions' in refused('X1,How?,\n')
    texts.write_text('id,question\n')
    assert 'lacks the column question_id' in complaint(made, texts=texts)
    assert 'nowhere.csv' in complaint(made, texts=tmp_path/'nowhere.csv')


def test_nothing_is_written_when_refused(made, tmp_path):
    complaint(cell(made, 5, 'W_WEIGHT', '-1'), tmp_path/'out')
    assert not (tmp_path/'out').exists()


# Properties

slow_fixtures = settings(max_examples=25, deadline=None,
                         suppress_health_check=[HealthCheck.function_scoped_fixture])
COLUMNS = ['A_WAVE', 'B_COUNTRY_ALPHA', 'W_WEIGHT', 'Q1', 'Q6']


CELLS = st.text(st.characters(codec='utf-8', exclude_characters='\n\r,'), max_size=8)


@slow_fixtures
@given(row=st.integers(2, 2 * N + 1), column=st.sampled_from(COLUMNS), value=CELLS)
def test_no_cell_crashes_or_passes_in_silence(tmp_path_factory, row, column, value):
    people = two_countries()
    made = write_microdata(people, tmp_path_factory.mktemp('cell')/'made.csv')
    before = untouched()
    try:
        survey = import_wvs(cell(made, row, column, value))
    except InputError as e:
        assert '\n' not in str(e) and 'made.csv' in str(e)
        return
    old = people[column].astype(str)[row - 2]
    reported = survey.record['checks'] != before.record['checks']
    counted = not survey.shares.equals(before.shares)
    assert reported or counted or same(value, old), (value, old)


@cache
def untouched():
    with TemporaryDirectory() as folder:
        return import_wvs(write_microdata(two_countries(), f'{folder}/made.csv'))


def number(cell):
    "A cell as a number, or as text in capitals if it is none"
    is_number = re.fullmatch(r'[-+]?\d+(\.\d*)?', cell)
    return float(cell) if is_number else cell.upper()


def same(one, other):
    "Do two cells mean the same, or the same to a survey: -5, -3 and a blank are all out?"
    out = (-3, -4, -5, '')
    one, other = number(one.strip().strip('"')), number(other.strip())
    return one == other or (one in out and other in out)


@slow_fixtures
@given(data=st.data())
def test_no_cut_or_flipped_byte_crashes(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp('bytes')
    name = data.draw(st.sampled_from(['made.csv', 'made.sav', 'made.dta']))
    people = made_microdata(['USA', 'THA'], n=N, items=ITEMS)
    file = write_microdata(people, folder/name)
    raw = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        raw = raw[:data.draw(st.integers(0, len(raw) - 2))]
    else:
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    file.write_bytes(raw)
    try:
        survey = import_wvs(file)
    except InputError as e:
        assert '\n' not in str(e)
    else:
        sums = survey.shares.groupby(['culture', 'question_id']).share.sum()
        assert (sums <= 1 + 1e-6).all()


SIX_ITEMS = ['Q1', 'Q56', 'Q91', 'Q94', 'Q111', 'Q119']   # one nominal, two from 0, three to fix


@slow_fixtures
@given(seed=st.integers(0, 10**6), n=st.integers(1, 30), ordinal=st.booleans(),
       missing=st.sampled_from(MISSING_POLICIES), weights=st.sampled_from(list(WEIGHTS)))
def test_any_made_survey_makes_sense_and_survives_the_disk(tmp_path_factory, seed, n, ordinal,
                                                           missing, weights):
    folder = tmp_path_factory.mktemp('any')
    people = made_microdata(['BOL', 'KAZ'], n=n, items=120, seed=seed)
    columns = [*people.columns[:7], *SIX_ITEMS]
    file = write_microdata(people[columns], folder/'made.csv')
    try:
        survey = import_wvs(file, folder/'out', weights, missing, ordinal)
    except InputError as e:
        assert 'answered any item' in str(e)
        return
    shares = survey.shares
    pd.testing.assert_frame_equal(load_survey(folder/'out').shares, shares)
    assert (shares.effective_n <= shares.n * (1 + 1e-9)).all()
    assert (shares.effective_n > 0).all()
    assert shares.share.between(0, 1 + 1e-9).all()
    sums = shares.groupby(['culture', 'question_id']).share.sum()
    if missing == 'paper':
        assert (sums <= 1 + 1e-9).all()
    else:
        assert np.allclose(sums, 1)
    scales = survey.questions[['question_id', 'first_code', 'n_options']]
    options = shares[shares.code >= 0].merge(scales)
    last_code = options.first_code + options.n_options - 1
    assert options.code.between(options.first_code, last_code).all()


# Survey folders, edited by hand

@cache
def folder_texts():
    "The three files of a small survey folder, as text"
    with TemporaryDirectory() as folder:
        out = Path(folder)/'out'
        file = write_microdata(two_countries(), f'{folder}/made.sav', made_labels(['Q1', 'Q2']))
        survey = import_wvs(file, out)
        survey.shares.to_csv(out/'shares.csv', index=False)
        names = ('questions.csv', 'shares.csv', 'cultures.csv')
        return {name: (out/name).read_text() for name in names}


def reload(folder, **tables):
    "Load that folder with some files replaced"
    replaced = {f'{name}.csv': text for name, text in tables.items()}
    for name, text in (folder_texts() | replaced).items():
        (folder/name).write_text(text)
    return load_survey(folder)


def edited_table(name, row, column, value):
    "One of the folder's files with one cell changed"
    table = pd.read_csv(StringIO(folder_texts()[f'{name}.csv']), dtype=str, keep_default_na=False)
    table.loc[row, column] = value
    return table.to_csv(index=False)


WRONG_CELLS = [     # the header is row 1
    ('shares', 3, 'share', '1.2', 'row 5'),
    ('shares', 3, 'share', '-0.2', 'row 5'),
    ('shares', 3, 'share', 'half', 'row 5'),
    ('shares', 3, 'code', '9', 'row 5'),
    ('shares', 3, 'culture', 'ATL', 'row 5'),
    ('shares', 3, 'question_id', 'Q999', 'row 5'),
    ('questions', 1, 'n_options', '1', 'row 3'),
    ('questions', 1, 'question_id', 'Q1', 'row 3'),
    ('questions', 1, 'n_options', '5', 'row 3'),
    ('questions', 1, 'options', '["one"]', 'row 3'),
    ('questions', 1, 'options', 'one; two', 'row 3'),
    ('questions', 1, 'first_code', '7', 'row 3'),
    ('cultures', 1, 'culture', 'USA', 'row 3'),
    ('cultures', 1, 'culture', 'Thai', 'row 3'),
    ('cultures', 1, 'article', 'the', 'row 3'),
]


@pytest.mark.parametrize('name,row,column,value,says', WRONG_CELLS)
def test_wrong_rows_of_a_survey_folder(tmp_path, name, row, column, value, says):
    table = edited_table(name, row, column, value)
    with pytest.raises(InputError) as e:
        reload(tmp_path, **{name: table})
    text = str(e.value)
    assert '\n' not in text and name in text and says in text and column in text


ODD_CELLS = ['[]', '{}', 'null', '[1, 2]', '["a", "b"]', '""', 'nan', 'inf', '1e400']
ANY_CELL = st.one_of(st.text(st.characters(codec='utf-8'), max_size=6), st.integers().map(str),
                     st.floats().map(str), st.sampled_from(ODD_CELLS))


@slow_fixtures
@given(data=st.data())
def test_no_cell_of_a_survey_folder_crashes(tmp_path_factory, data):
    name = data.draw(st.sampled_from(['questions', 'shares', 'cultures']))
    table = pd.read_csv(StringIO(folder_texts()[f'{name}.csv']))
    row = data.draw(st.integers(0, len(table) - 1))
    column = data.draw(st.sampled_from(list(table)))
    changed = edited_table(name, row, column, data.draw(ANY_CELL))
    try:
        survey = reload(tmp_path_factory.mktemp('folder'), **{name: changed})
    except InputError as e:
        assert '\n' not in str(e)
    else:
        assert len(survey.modal) and len(survey.similarity)


# The authors' release, from a server of our own

FILES = {'data/a.json': '{"a": 1}', 'data/b.json': '[]', 'result/m/c.json': '{}'}


class Quiet(SimpleHTTPRequestHandler):
    "Says nothing of every request"
    def log_message(self, *args):
        pass


@pytest.fixture
def release(tmp_path, monkeypatch):
    "A made release of three files, its list of hashes, and a server"
    root, rows = tmp_path/'source', []
    for name, text in FILES.items():
        (root/name).parent.mkdir(parents=True, exist_ok=True)
        (root/name).write_text(text)
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        rows.append(dict(file=name, sha256=sha256, required=name.startswith('data/')))
    monkeypatch.setattr(wvs_sources, 'release_files', lambda: pd.DataFrame(rows))
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield root, f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_release_is_fetched_resumed_and_verified(release, tmp_path):
    root, url = release
    for source, out in ((url, tmp_path/'web'), (root, tmp_path/'copy')):
        assert set(fetch_release(out, source).state) == {'fetched'}
        (out/'data/b.json').unlink()
        (out/'data/a.json').write_text('{"a"')
        states = fetch_release(out, source).state.tolist()
        assert states == ['fetched', 'fetched', 'there already']
        assert (out/'data/a.json').read_text() == '{"a": 1}'
        assert not list(out.rglob('*.part'))
        assert len([path for path in out.rglob('*') if path.is_file()]) == 3


def test_optional_files_may_be_absent_and_required_ones_not(release, tmp_path):
    root, url = release
    (root/'result/m/c.json').unlink()
    for name, source in (('web', url), ('copy', root)):
        assert fetch_release(tmp_path/name, source).state.tolist()[-1] == 'not at the source'
    (root/'data/a.json').unlink()
    for source in (url, root):
        with pytest.raises(InputError, match='lacks data/a.json'):
            fetch_release(tmp_path/'out', source)


def test_a_wrong_hash_is_refused_and_nothing_kept(release, tmp_path):
    root, url = release
    (root/'data/b.json').write_text('[1]')
    for source in (url, root):
        with pytest.raises(InputError, match='b.json is not the released file') as e:
            fetch_release(tmp_path/'out', source)
        assert '\n' not in str(e.value)
        assert not (tmp_path/'out/data/b.json').exists()
