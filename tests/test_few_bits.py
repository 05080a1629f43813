"Models in 4 and 8 bits, with bitsandbytes: near the whole model, tuned, and left as they were"
import pandas as pd
import pytest
import torch

pytest.importorskip('bitsandbytes')

from peft import PeftModel

from culturespa.local import LocalModel
from culturespa.model_files import QUANTISED, dtype_name, find_dtype, load_weights
from culturespa.models import Sampling, random_adapter, random_model
from culturespa.prompts import Prompter
from culturespa.samples import training_chats
from culturespa.shapes import ModelShape
from culturespa.survey_files import load_survey
from culturespa.tuning import Tuning, mean_log_probability, train_adapter

QUICK = Tuning(learning_rate=5e-3, epochs=6, batch=16, micro_batch=16, batch_specific=16)
CHAT = [dict(role='system', content='You answer as yourself.'),
        dict(role='user', content='Tea or coffee?\n1. Tea\n2. Coffee\nThe number only.')]


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp('toys')/'toy')


def says(model):
    return model.option_probabilities([CHAT], [['1', '2']])[0][0].tolist()


@pytest.mark.parametrize('name', QUANTISED)
def test_probabilities_stay_near_in_less_memory(toy, name):
    text = torch.tensor([[1, 40, 77, 123, 200]])
    whole = load_weights(toy, 'cpu', torch.float32)
    few = load_weights(toy, 'cpu', find_dtype(name, 'cpu'), name)
    with torch.inference_mode():
        exact, near = (lm(text).logits.softmax(-1) for lm in (whole, few))
    assert dtype_name(few) == name
    assert 0 < (near - exact).abs().sum(-1).max() / 2 < .4
    assert few.get_memory_footprint() < .6 * whole.get_memory_footprint()


@pytest.mark.parametrize('name', QUANTISED)
def test_adapters_sit_beside_the_weights_and_are_taken_off_again(toy, tmp_path, name):
    base = LocalModel(toy, device='cpu', dtype=name)
    plain = says(base)
    first = base.with_adapter(random_adapter(tmp_path/'first', toy))
    assert says(first) != plain == says(base)
    assert base.record['dtype'] == first.record['dtype'] == name
    assert base.generate([CHAT], Sampling(max_new_tokens=3)) != ['']


@pytest.mark.parametrize('name', QUANTISED)
def test_the_shape_weighs_what_the_model_weighs(toy, name):
    lm = load_weights(toy, 'cpu', find_dtype(name, 'cuda'), name)
    told = ModelShape(toy, dtype=name).weight_bytes()
    assert abs(told / lm.get_memory_footprint() - 1) < .05


@pytest.mark.slow
@pytest.mark.parametrize('name', QUANTISED)
def test_an_adapter_is_trained_and_loads_in_plain_peft(tmp_path, name):
    survey = load_survey('demo')
    items = survey.questions[:64]
    modes = survey.modal.BOL[:64].to_numpy()
    pairs = pd.DataFrame(dict(culture='BOL', question_id=items.question_id, code=modes))
    samples = training_chats(pairs, items, Prompter(survey))
    base = LocalModel('demo', device='cpu', dtype=name)
    before = mean_log_probability(base, samples)
    made = train_adapter(base, samples, tmp_path/'BOL', QUICK, quiet=True)
    assert made['dtype'] == name and f'| dtype | {name} |' in (tmp_path/'BOL/README.md').read_text()
    assert mean_log_probability(base, samples) == before
    assert mean_log_probability(base.with_adapter(tmp_path/'BOL'), samples) > before + .1
    PeftModel.from_pretrained(LocalModel('demo', device='cpu').lm, str(tmp_path/'BOL'))
