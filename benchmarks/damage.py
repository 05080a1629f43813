"""Ways in which a file comes damaged, or was made to do harm: used by fuzz.py

Each takes a random generator and a file that is as it should be, and changes it in one way. What
is changed is drawn; the same generator makes the same change.
"""

import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

# what stands where something else should: of other types, too large, or leading out of the folder
ODD:tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2.5, -1e308, 10**9, 10**12, 10**30, float('nan'), float('inf'),
    '', ' ', 'x', '1', '-3', '1e999', 'nan', '9' * 5000, 'a\nb', '\x00', '\ud800', '\u202e', '=1+1',
    '../../victim', '/etc/passwd', '~nobody/x', '{', '{0}', 'x' * 20_000, '\x1b[31m', 'USA', 'demo',
    [], [None], [1, 'a'], [[]], {}, {'a': 1}, {'': {'': []}}, [{}], ['x'] * 1500)

Damage = Callable[[random.Random, Path], None]


# ---- bytes of any file

def flip_bytes(rng:random.Random, file:Path):
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 3, 30))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def cut_short(rng:random.Random, file:Path):
    content = file.read_bytes()
    file.write_bytes(content[:rng.randrange(len(content) + 1)])


def lose_block(rng:random.Random, file:Path):
    content = file.read_bytes()
    first = rng.randrange(len(content) + 1)
    file.write_bytes(content[:first] + content[first + rng.choice((1, 8, 100, 4000)):])


def insert_bytes(rng:random.Random, file:Path):
    content = file.read_bytes()
    place = rng.randrange(len(content) + 1)
    odd = rng.choice((b'\0', b'\xff\xfe', b'\r', b'"', b'{"' * 500, b'[' * 100_000, b'9' * 5000,
                      b'\xed\xa0\x80', b',' * 1000, b'\\ud800', bytes(1000)))
    file.write_bytes(content[:place] + odd + content[place:])


def write_otherwise(rng:random.Random, file:Path):
    "The same text as another program would save it"
    text = file.read_bytes().decode('utf-8', 'replace')
    kind = rng.choice(('utf-16', 'utf-8-sig', 'latin-1', 'utf-32', 'cr', 'crlf', 'twice'))
    if kind == 'cr':
        content = text.replace('\n', '\r').encode()
    elif kind == 'crlf':
        content = text.replace('\n', '\r\n').encode()
    elif kind == 'twice':
        content = (text + text).encode()
    else:
        content = text.encode(kind, 'replace')
    file.write_bytes(content)


def other_thing(rng:random.Random, file:Path):
    "Nothing, a folder, a pipe, or a link to elsewhere in the place of a file"
    kind = rng.choice(('gone', 'empty', 'folder', 'pipe', 'link', 'loop', 'noise', 'device'))
    content = file.read_bytes()
    file.unlink()
    if kind == 'empty':
        file.touch()
    elif kind == 'folder':
        file.mkdir()
    elif kind == 'pipe':
        os.mkfifo(file)
    elif kind == 'link':
        file.symlink_to('/etc/hostname')
    elif kind == 'loop':
        file.symlink_to(file.name)
    elif kind == 'device':
        file.symlink_to('/dev/zero')
    elif kind == 'noise':
        file.write_bytes(rng.randbytes(len(content) % 5000))


BYTES:tuple[Damage, ...] = (
    flip_bytes, flip_bytes, cut_short, lose_block, insert_bytes, write_otherwise, other_thing)


# ---- JSON

def _places(value:Any, path:tuple = ())->list[tuple]:
    "Where something stands in a JSON value"
    found = [path]
    entries:Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = list(enumerate(value))[:50]
    for key, entry in entries:
        found += _places(entry, (*path, key))
    return found


def _changed(rng:random.Random, value:Any)->Any:
    "A JSON value with one odd thing in it"
    path = rng.choice(_places(value))
    if not path:
        return rng.choice((rng.choice(ODD), [value], {'': value}))
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    last = path[-1]
    how = rng.choice(('odd', 'odd', 'odd', 'gone', 'renamed', 'wrapped', 'deep'))
    if how == 'odd':
        inside[last] = rng.choice(ODD)
    elif how == 'gone':
        inside.pop(last)
    elif how == 'renamed' and isinstance(inside, dict):
        inside[str(rng.choice(ODD))] = inside.pop(last)
    elif how == 'deep':
        for _ in range(rng.choice((3, 70, 300))):
            inside[last] = [inside[last]]
    else:
        inside[last] = [inside[last]]
    return value


def change_json(rng:random.Random, file:Path):
    value = _changed(rng, json.loads(file.read_text()))
    file.write_text(json.dumps(value))


def change_line(rng:random.Random, file:Path):
    "JSON in lines"
    lines = file.read_text().rstrip('\n').split('\n')
    place = rng.randrange(len(lines))
    lines[place] = json.dumps(_changed(rng, json.loads(lines[place])))
    if rng.random() < .1:
        rng.shuffle(lines)
    file.write_text('\n'.join(lines) + '\n')


# ---- TOML

def change_toml(rng:random.Random, file:Path):
    lines = file.read_text().split('\n')
    places = [k for k, line in enumerate(lines) if re.match(r'\w+ *=|\[', line)]
    place = rng.choice(places)
    name = lines[place].split('=')[0]
    odd = rng.choice((
        '1', '-1', '1e999', 'nan', 'true', '""', '"x"', '[]', '[1]', '{}', '{a = 1}', '"../../x"',
        '10000000000000000000000', '"{question:3000000000}"', '"{question.__class__}"', '"{"',
        '"{0}"', '"{question!r}"', '"\\u0000"', '1979-05-27', '["x"]', '[[]]', '[' * 200, '0x7f',
        '["' + 'x' * 9000 + '"]', '"~nobody"', '99999999', '"P1"', '["P1", "P1"]'))
    how = rng.choice(('value', 'value', 'value', 'gone', 'renamed', 'twice'))
    if how == 'value':
        lines[place] = f'{name} = {odd}'
    elif how == 'gone':
        lines.pop(place)
    elif how == 'twice':
        lines.insert(place, lines[place])
    else:
        lines[place] = f'{rng.choice(("x", "seed", "a.b", "preset", "from"))}{lines[place]}'
    file.write_text('\n'.join(lines))


# ---- tables of text

def change_csv(rng:random.Random, file:Path):
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table = _changed_table(rng, table)
    text = table.to_csv(index=False)
    how = rng.random()
    if how < .05:
        text = text.replace(',', ';')
    elif how < .1:
        text = 'x' * 200_000 + ',' + text
    elif how < .15:
        text = ',' * 20_000 + text
    file.write_bytes(text.encode('utf-8', 'surrogatepass'))


def _changed_table(rng:random.Random, table:pd.DataFrame)->pd.DataFrame:
    "A table with a column or a cell that is not as it should be"
    name = rng.choice(list(table))
    how = rng.choice((
        'cell', 'cell', 'cell', 'column', 'gone', 'renamed', 'no rows', 'rows', 'twice'))
    table = table.astype(object)
    if how == 'cell' and len(table):
        table.iat[rng.randrange(len(table)), list(table).index(name)] = _plain(rng)
    elif how == 'column':
        table[name] = pd.Series([_plain(rng)] * len(table), table.index, dtype=object)
    elif how == 'gone':
        table = table.drop(columns=name)
    elif how == 'renamed':
        table = table.rename(columns={name: str(rng.choice(('', 'x', 'code', 'text', 'culture')))})
    elif how == 'no rows':
        table = table.iloc[:0]
    elif how == 'twice':
        table = pd.concat([table, table[[name]]], axis=1)
    else:
        table = pd.concat([table] * rng.choice((2, 3)), ignore_index=True)
    return table


def _plain(rng:random.Random)->Any:
    "An odd thing that a cell of text can hold"
    return rng.choice([odd for odd in ODD if not isinstance(odd, list | dict)])


# ---- Parquet

def _other_column(rng:random.Random, n:int)->pa.Array:
    "A column of another type"
    makers = (
        lambda: pa.array(range(n)), lambda: pa.array([b'\xff\x00'] * n), lambda: pa.nulls(n),
        lambda: pa.array([[1, None]] * n), lambda: pa.array([['a']] * n),
        lambda: pa.array([dict(a=1)] * n), lambda: pa.array([True] * n),
        lambda: pa.array([float('nan')] * n), lambda: pa.array([float('inf')] * n),
        lambda: pa.array(['x'] * n), lambda: pa.array(['1'] * n), lambda: pa.array([-5] * n),
        lambda: pa.array([2**63] * n, pa.uint64()), lambda: pa.array([0] * n, pa.timestamp('s')),
        lambda: pa.array([0] * n, pa.date32()), lambda: pa.array([1] * n, pa.duration('s')),
        lambda: pa.array([None, *['x'] * n][:n]), lambda: pa.array([1] * n).cast(pa.decimal128(20)),
        lambda: pa.array([1] * n, pa.int8()), lambda: pa.array(['x'] * n, pa.large_string()),
        lambda: pa.array(['x'] * n).dictionary_encode(), lambda: pa.array([[[1]]] * n),
        lambda: pa.array(['../../victim'] * n), lambda: pa.array(['x' * 50_000] * n))
    return rng.choice(makers)()


def change_parquet(rng:random.Random, file:Path):
    table = pq.read_table(file, partitioning=None)
    place = rng.randrange(table.num_columns)
    name = table.column_names[place]
    how = rng.choice((
        'type', 'type', 'type', 'gone', 'renamed', 'no rows', 'rows', 'notes', 'bomb'))
    if how == 'type':
        table = table.set_column(place, name, _other_column(rng, len(table)))
    elif how == 'gone':
        table = table.drop_columns([name])
    elif how == 'renamed':
        other = rng.choice(('', 'x', 'code', rng.choice(table.column_names)))
        table = table.rename_columns([*table.column_names[:place], other,
                                      *table.column_names[place + 1:]])
    elif how == 'no rows':
        table = table.slice(0, 0)
    elif how == 'rows':
        table = pa.concat_tables([table, table])
    elif how == 'notes':
        notes = rng.choice((
            b'', b'{}', b'[]', b'{"index_columns": 3}', b'{"columns": [1]}', b'\xff'))
        table = table.replace_schema_metadata({b'pandas': notes})
    else:
        places = pa.array([0] * max(len(table), 1), pa.int32())[:len(table)]
        text = pa.array(['x' * 3_000_000])
        table = table.set_column(place, name, pa.DictionaryArray.from_arrays(places, text))
    pq.write_table(table, file)


OF_KIND:dict[str, tuple[Damage, ...]] = {
    '.json': (change_json,) * 8,
    '.jsonl': (change_line,) * 8,
    '.toml': (change_toml,) * 8,
    '.csv': (change_csv,) * 8,
    '.parquet': (change_parquet,) * 8}


def damage(
    rng:random.Random,
    file:Path,          # as it should be; changed
)->str:                 # what was done to it, in a word
    "Change a file in one way"
    change = rng.choice(OF_KIND.get(file.suffix, ()) + BYTES)
    try:
        change(rng, file)
    except (UnicodeError, ValueError, KeyError, pa.ArrowException):   # no library can write that
        change = flip_bytes
        change(rng, file)
    return change.__name__
