"""LSTM and GRU: unrolled against the fused kernels of PyTorch, losses, loading by name."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.models.classes import register
from harness.models.classes.recurrent import GRUConfig, GRUForCausalLM, LSTMConfig, LSTMForCausalLM

CELLS = {"lstm": (LSTMForCausalLM, LSTMConfig), "gru": (GRUForCausalLM, GRUConfig)}


def small(cell, **settings):
    torch.manual_seed(1)
    model, config = CELLS[cell]
    return model(config(**({"hidden_size": 12, "num_hidden_layers": 2, "vocab_size": 7} | settings)))


def random_ids(rows=3, time=9):
    return torch.randint(7, (rows, time), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_unrolled_equals_the_kernel(cell, layers):
    model, ids = small(cell, num_hidden_layers=layers), random_ids()
    labels = ids.where(torch.rand(ids.shape, generator=torch.Generator().manual_seed(2)) < 0.5, -100)
    results = []
    for unrolled in (False, True):
        model.unrolled = unrolled
        model.zero_grad()
        output = model(ids, labels=labels)
        output.loss.backward()
        results.append((output.logits, output.loss, [parameter.grad.clone() for parameter in model.parameters()]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_loss_and_kept_logits(cell):
    model, ids = small(cell), random_ids()
    labels = ids.where(torch.arange(9) % 3 == 2, -100)
    output = model(ids, labels=labels)
    losses = [
        -output.logits[row, place - 1].log_softmax(-1)[ids[row, place]] for row in range(3) for place in (2, 5, 8)
    ]
    assert output.loss.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    mask = labels != -100
    assert torch.equal(model(ids, logits_to_keep=mask).logits, output.logits[mask])
    assert torch.equal(model(ids, logits_to_keep=2).logits, output.logits[:, -2:])


@pytest.mark.parametrize("cell", CELLS)
def test_save_and_load(cell, tmp_path):
    register()
    model = small(cell).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded) is CELLS[cell][0]
    assert torch.equal(loaded(random_ids()).logits, model(random_ids()).logits)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_on_the_left_is_refused(cell):
    with pytest.raises(ValueError, match="pad on the right"):
        small(cell)(random_ids(1, 4), attention_mask=torch.tensor([[0, 1, 1, 1]]))
