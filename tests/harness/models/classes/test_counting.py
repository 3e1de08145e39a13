"""The counting Transformer against float64 NumPy: every kind of positions, the head on the last token, the loss."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from harness.models.classes import register
from harness.models.classes.counting import CountingTransformer, CountingTransformerConfig
from harness.models.classes.positions import POSITIONS
from harness.training.build import build
from harness.training.recipes import get_recipe

HEADS, WIDTH = 2, 4  # of a head


def small(positions="learned", layers=2):
    torch.manual_seed(3)
    config = CountingTransformerConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=layers, num_attention_heads=HEADS, positions=positions,
        max_position_embeddings=12, initializer_range=0.4,
    )  # fmt: skip
    model = CountingTransformer(config)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.2, mean=float("norm.weight" in name))
    return model


def random_ids(rows=3, time=12):
    return torch.randint(9, (rows, time), generator=torch.Generator().manual_seed(1))


def numpy_count(model, ids):
    """The predicted count of one sequence, with complex numbers for rotations and explicit loops over queries."""
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    positions, places = model.config.positions, np.arange(len(ids))

    def linear(values, name):
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(values, name):
        centred = values - values.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def turned(vectors):
        if positions != "rope":
            return vectors
        half = WIDTH // 2
        angles = places[:, None] * 10_000.0 ** (-np.arange(half) / half)
        pairs = (vectors[:, :half] + 1j * vectors[:, half:]) * np.exp(1j * angles)
        return np.concatenate([pairs.real, pairs.imag], axis=1)

    states = weights["transformer.embedding.weight"][ids]
    if positions == "learned":
        states = states + weights["transformer.position_embedding.weight"][places]
    if positions == "sinusoidal":
        waves = np.exp(1j * places[:, None] * 10_000.0 ** (-np.arange(0, 8, 2) / 8))
        scale = model.config.initializer_range * 2**0.5
        states = states + scale * np.stack([waves.imag, waves.real], axis=-1).reshape(len(ids), 8)
    for block in (f"transformer.blocks.{number}" for number in range(model.config.num_hidden_layers)):
        parts = np.split(linear(norm(states, f"{block}.attention_norm"), f"{block}.attention.query_key_value"), 3, -1)
        mixed = []
        for head in range(HEADS):
            query, key, value = (part[:, head * WIDTH : (head + 1) * WIDTH] for part in parts)
            query, key = turned(query), turned(key)
            rows = []
            for now in places:
                scores = key[: now + 1] @ query[now] / 2
                if positions == "alibi":
                    scores -= (now - places[: now + 1]) / 16 ** (head + 1)  # 2 heads: slopes 1/16 and 1/256
                exponentials = np.exp(scores)
                rows.append(exponentials / exponentials.sum() @ value[: now + 1])
            mixed.append(rows)
        states = states + linear(np.concatenate(mixed, axis=-1), f"{block}.attention.output")
        inner = linear(norm(states, f"{block}.mlp_norm"), f"{block}.mlp_input")
        inner = inner / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
        states = states + linear(inner, f"{block}.mlp_output")
    return linear(norm(states[-1:], "transformer.norm"), "head").item()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("positions", POSITIONS)
def test_count_equals_numpy(positions, layers):
    model, ids = small(positions, layers).eval(), random_ids()
    expected = [numpy_count(model, row) for row in ids.numpy()]
    counts = torch.tensor([3.0, 0.0, 7.0])
    output = model(ids, labels=counts)
    assert output.logits.shape == (3, 1)
    np.testing.assert_allclose(output.logits.squeeze(1).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert output.loss.item() == pytest.approx(np.mean((np.array(expected) - counts.numpy()) ** 2), rel=1e-4)


def test_save_and_load(tmp_path):
    register()
    model = small().eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is CountingTransformer
    assert torch.equal(loaded(random_ids()).logits, model(random_ids()).logits)


def test_recipe_of_the_paper():
    """One layer; the vocabulary is that of the data, and positions reach to the last token."""
    model = build(get_recipe("query-count").changed({"data.vocabulary": "20"})).model
    assert (model.config.num_hidden_layers, model.config.vocab_size, model.config.positions) == (1, 20, "learned")
    assert model(torch.randint(20, (2, 201))).logits.shape == (2, 1)
