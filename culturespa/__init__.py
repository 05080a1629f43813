"""CultureSPA: self-pluralising culture alignment of large language models.

The names below are the door for importers. Each is loaded when it is first used, so that
`import culturespa` is instant; everything else lives in the module of its page.
"""

from importlib import import_module

__version__ = "0.1.0"

# what it is called here -> the module it lives in, and its name there if that is another
_DOOR = {
    "InputError": "survey",
    "Survey": "survey",
    "load_survey": "survey_files",
    "Prompter": "prompts",
    "Model": "models",
    "Sampling": "models",
    "ScriptedModel": "models",
    "LocalModel": "local",
    "load_model": "served",
    "find_model": "model_files",
    "QuestionWriter": "questions",
    "generate_questions": "questions",
    "ask": "answers",
    "assess": "answers",
    "pair_answers": "pairs",
    "collect_pairs": "pairs",
    "Tuning": "tuning",
    "training_chats": "samples",
    "train_adapter": "tuning",
    "merge_adapter": "adapters",
    "answer_sheets": "sheets",
    "score": "alignment.align",
    "compare": "comparison",
    "report": "report_page.write_alignment",
    "configure": "configuration",
    "run": "pipeline.run_pipeline",
}
__all__ = [*_DOOR, "__version__"]


def __getattr__(name: str):
    if name not in _DOOR:
        names = ", ".join(_DOOR)
        raise AttributeError(
            f"culturespa has no {name}: it has {names}, and a module for every page"
        )
    module, _, own_name = _DOOR[name].partition(".")
    found = getattr(import_module(f"culturespa.{module}"), own_name or name)
    globals()[name] = found
    return found


def __dir__():
    return sorted([*globals(), *_DOOR])
