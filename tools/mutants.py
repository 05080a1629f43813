"""Would the tests notice? python tools/mutants.py MODULE... [--most N]

Breaks the formulas on purpose, one at a time.

Every operator, comparison, number and aggregate (mean, sum, min, max, any, all) of a module is
changed in turn, and the tests that run without the authors' files are run against the changed
module. A change that no test notices is printed with its place. Drawing and messages are left
alone. Ends with a line a module and in exit code 1 if fewer than 95 % are noticed.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'culturespa'
MEASURING = [
    'alignment',
    'distributions',
    'baselines',
    'batteries',
    'inference',
    'comparison',
    'diagnostics',
    'own_label',
    'robustness',
    'diversity',
    'breakdowns',
    'matrices',
    'relation',
    'cultures',
    'maps',
    'trees',
]  # their tests are run against a change that its own did not notice

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.MatMult: ast.Add,
}
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
AGGREGATES = {
    'mean': 'sum',
    'sum': 'mean',
    'min': 'max',
    'max': 'min',
    'any': 'all',
    'all': 'any',
    'nanmean': 'nansum',
    'argmax': 'argmin',
    'idxmax': 'idxmin',
    'maximum': 'minimum',
    'minimum': 'maximum',
}
# imported once, before forking
ONCE = [
    'numpy', 'pandas', 'pytest', 'scipy.cluster.hierarchy', 'scipy.stats', 'sklearn.manifold'
]
SPARED_FUNCTIONS = ('plot_', '_plot', '_draw', '_picture', 'write_')
SPARED_ARGUMENTS = {'draws', 'seed', 'permutations', 'samples', 'splits', 'title', 'random_state'}


def places(tree):
    "Every node that can be changed, with its change in words"
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef) or function.name.startswith(SPARED_FUNCTIONS):
            continue
        for node in inside(function):
            if (
                isinstance(node, (ast.BinOp, ast.AugAssign))
                and type(node.op) in OPERATORS
                and not is_text(node)
            ):
                yield function.name, node, 'operator'
            elif (
                isinstance(node, ast.Compare)
                and len(node.ops) == 1
                and type(node.ops[0]) in COMPARISONS
            ):
                yield function.name, node, 'comparison'
            elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
                yield function.name, node, 'number'
            elif isinstance(node, ast.Attribute) and node.attr in AGGREGATES:
                yield function.name, node, 'aggregate'
            elif isinstance(node, ast.BoolOp):
                yield function.name, node, 'and/or'
            elif isinstance(node, ast.UnaryOp) and isinstance(
                node.op, (ast.USub, ast.Not, ast.Invert)
            ):
                yield function.name, node, 'sign'


def inside(node):
    "The nodes below, without messages, annotations, nested functions and settings that cost time"
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or name in (
                'annotation',
                'returns',
                'decorator_list',
            ):
                continue
            if isinstance(child, (ast.Raise, ast.JoinedStr, ast.FunctionDef)):
                continue
            if isinstance(child, ast.keyword) and child.arg in SPARED_ARGUMENTS:
                continue
            if isinstance(child, ast.arguments):
                continue
            yield child
            yield from inside(child)


def is_text(node):
    "Does the operator join texts or lists rather than count?"
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
    textual = (ast.JoinedStr, ast.List, ast.ListComp, ast.Dict, ast.Tuple)
    return any(
        isinstance(side, textual) or isinstance(side, ast.Constant) and isinstance(side.value, str)
        for side in sides
    )


def change(node, kind):
    "Change a node in place"
    if kind == 'operator':
        node.op = OPERATORS[type(node.op)]()
    elif kind == 'comparison':
        node.ops = [COMPARISONS[type(node.ops[0])]()]
    elif kind == 'number':
        node.value = node.value + 1 if node.value != 1 else 0
    elif kind == 'aggregate':
        node.attr = AGGREGATES[node.attr]
    elif kind == 'and/or':
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif kind == 'sign':
        node.op = (
            ast.UAdd()
            if isinstance(node.op, ast.USub)
            else ast.Not()
            if isinstance(node.op, ast.Invert)
            else ast.UAdd()
        )


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    "Imports one module from a changed tree"

    def __init__(self, name, code):
        self.name, self.code = name, code

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            return importlib.util.spec_from_loader(
                name, self, origin=str(ROOT / PACKAGE / (name.rpartition('.')[2] + '.py'))
            )

    def exec_module(self, module):
        module.__file__ = module.__spec__.origin
        exec(self.code, module.__dict__)


def tests_pass(module, code, files, seconds):
    "Run tests in a child process against the changed module; a child that hangs has noticed"
    child = os.fork()
    if not child:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        if code is not None:
            sys.meta_path.insert(0, Changed(f'{PACKAGE}.{module}', code))
        import pytest

        status = 1
        try:
            status = pytest.main(
                ['-x', '-q', '-p', 'no:cacheprovider', '-m', 'not slow and not release', *files]
            )
        finally:
            os._exit(int(status))
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def test_files(names):
    files = [ROOT / 'tests' / f'test_{name}.py' for name in names]
    return [str(path) for path in files if path.exists()]


def survivors(module, most, seed, seconds, only_own):
    "Changes that no test noticed, and how many were made"
    path = ROOT / PACKAGE / f'{module}.py'
    tree = ast.parse(path.read_text())
    count = sum(1 for _ in places(tree))
    chosen = sorted(random.Random(seed).sample(range(count), min(most, count)))
    own = test_files([module])
    wider = [] if only_own else test_files(n for n in MEASURING if n != module)
    if not tests_pass(module, None, own + wider, 600):
        sys.exit(f'{module}: the tests fail before anything is changed')
    alive = []
    for number, index in enumerate(chosen, 1):
        broken = copy.deepcopy(tree)
        function, node, kind = list(places(broken))[index]
        before = ast.unparse(node)
        change(node, kind)
        code = compile(ast.fix_missing_locations(broken), str(path), 'exec')
        if tests_pass(module, code, own, seconds) and (
            not wider or tests_pass(module, code, wider, seconds)
        ):
            alive.append(
                f'{module}.py:{node.lineno} in {function}: '
                f'{kind} {before[:60]} -> {ast.unparse(node)[:60]}'
            )
            print(f'  survived: {alive[-1]}', flush=True)
        print(f'{module}: {number} of {len(chosen)}', end='\r', file=sys.stderr, flush=True)
    return alive, len(chosen), count


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'module', nargs='*', default=MEASURING, help=f"default: {' '.join(MEASURING)}"
    )
    parser.add_argument(
        '--most', type=int, default=150, help='changes a module, drawn at random (default 150)'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--seconds', type=int, default=90, help='a test run that takes longer has noticed'
    )
    parser.add_argument(
        '--own', action='store_true', help="run the module's own tests only (quicker, stricter)"
    )
    given = parser.parse_args()
    os.environ['CULTURESPA_RELEASE'] = os.devnull
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for name in ONCE:
        importlib.import_module(name)

    made = lived = 0
    for module in given.module:
        if not (ROOT / PACKAGE / f'{module}.py').exists():
            continue
        alive, tried, count = survivors(module, given.most, given.seed, given.seconds, given.own)
        made, lived = made + tried, lived + len(alive)
        print(
            f'{module:16} {tried} of {count} changes tried, '
            f'{tried - len(alive)} noticed ({1 - len(alive) / tried:.1%})',
            flush=True,
        )
    print(f'all: {made} tried, {1 - lived / made:.1%} noticed')
    sys.exit(lived > 0.05 * made)


if __name__ == '__main__':
    main()
