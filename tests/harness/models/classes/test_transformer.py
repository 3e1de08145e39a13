"""The Transformer against GPT-2 of transformers, its positions against formulas in NumPy, and its shortcuts against
the plain computation."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from harness.models.classes import register
from harness.models.classes.positions import POSITIONS
from harness.models.classes.selection import selected_for
from harness.models.classes.sharpness import SHARPNESS, penalty_of
from harness.models.classes.transformer import TransformerConfig, TransformerForCausalLM

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 24}


def small(**settings):
    torch.manual_seed(3)
    model = TransformerForCausalLM(TransformerConfig(**(SIZES | {"initializer_range": 0.3} | settings)))
    for name, parameter in model.named_parameters():  # biases and norms that are not 0 and 1
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.2, mean=float("norm.weight" in name))
    return model.eval()


def random_ids(rows=3, time=24):
    return torch.randint(5, (rows, time), generator=torch.Generator().manual_seed(1))


def test_baseline_parameters():
    """The baseline of the paper: 6 layers, width 512, 8 heads, 512 learned positions (FFL, 5 tokens)."""
    with torch.device("meta"):
        model = TransformerForCausalLM(TransformerConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 19_180_032


def gpt2_with_weights_of(model):
    """GPT-2 of transformers, with attention weights in its output."""
    config = GPT2Config(vocab_size=5, n_positions=24, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    oracle = GPT2LMHeadModel(config).eval()
    oracle.set_attn_implementation("eager")
    names = {
        "wte": "embedding", "wpe": "position_embedding", "ln_f": "norm", "ln_1": "attention_norm", "ln_2": "mlp_norm",
        "attn.c_attn": "attention.query_key_value", "attn.c_proj": "attention.output", "mlp.c_fc": "mlp_input",
        "mlp.c_proj": "mlp_output", ".h.": ".blocks.",
    }  # fmt: skip
    weights = {}
    for key in oracle.state_dict():
        name = "transformer.embedding.weight" if key == "lm_head.weight" else key
        for theirs, own in names.items():
            name = name.replace(theirs, own)
        weight = model.state_dict()[name]
        weights[key] = weight.T if "c_" in key and key.endswith("weight") else weight
    oracle.load_state_dict(weights)
    return oracle


def test_learned_positions_equal_gpt2():
    model = small()
    oracle = gpt2_with_weights_of(model)
    torch.testing.assert_close(model(random_ids()).logits, oracle(random_ids()).logits, rtol=1e-4, atol=1e-5)


def numpy_model(model, ids, positions):
    """Logits in float64 NumPy, one sequence, one head and one query after another."""
    config, weights = model.config, {name: value.double().numpy() for name, value in model.state_dict().items()}
    heads, width, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads, 16

    def norm(values, name):
        centred = values - values.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config.layer_norm_eps)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(values, name):
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def rotated(vector, place):
        result = vector.copy()
        for j in range(width // 2):
            angle = place / 10_000 ** (2 * j / width)
            a, b = vector[j], vector[j + width // 2]
            result[j] = a * np.cos(angle) - b * np.sin(angle)
            result[j + width // 2] = b * np.cos(angle) + a * np.sin(angle)
        return result

    states = weights["transformer.embedding.weight"][ids]
    if positions == "learned":
        states = states + weights["transformer.position_embedding.weight"][: len(ids)]
    if positions == "sinusoidal":
        for place in range(len(ids)):
            for j in range(size // 2):
                angle = place / 10_000 ** (2 * j / size)
                states[place, 2 * j] += np.sqrt(2) * config.initializer_range * np.sin(angle)
                states[place, 2 * j + 1] += np.sqrt(2) * config.initializer_range * np.cos(angle)
    for number in range(config.num_hidden_layers):
        block = f"transformer.blocks.{number}"
        query, key, value = np.split(linear(norm(states, f"{block}.attention_norm"), f"{block}.attention.query_key_value"), 3, -1)  # fmt: skip  # noqa: E501
        mixed = np.zeros_like(states)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for i in range(len(ids)):
                scores = []
                for j in range(i + 1):
                    q, k = query[i, part], key[j, part]
                    if positions == "rope":
                        q, k = rotated(q, i), rotated(k, j)
                    score = q @ k / np.sqrt(width)
                    if positions == "alibi":
                        score -= (i - j) * 2 ** (-8 * (head + 1) / heads)
                    scores.append(score)
                attention = np.exp(np.array(scores) - max(scores))
                mixed[i, part] = attention / attention.sum() @ value[: i + 1, part]
        states = states + linear(mixed, f"{block}.attention.output")
        inner = linear(norm(states, f"{block}.mlp_norm"), f"{block}.mlp_input")
        inner = inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3))) / 2
        states = states + linear(inner, f"{block}.mlp_output")
    return norm(states, "transformer.norm") @ weights["transformer.embedding.weight"].T


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_positions_equal_numpy(positions, attention):
    model = small(positions=positions)
    model.config._attn_implementation = attention  # as from_pretrained(attn_implementation=...) does
    assert model.fused == (attention == "sdpa")
    ids = random_ids()
    expected = np.stack([numpy_model(model, row, positions) for row in ids.numpy()])
    np.testing.assert_allclose(model(ids).logits.detach().numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(autouse=True)
def blocks_of_queries(monkeypatch):
    """More than one block of queries, the last one incomplete."""
    monkeypatch.setattr("harness.models.classes.attention.QUERIES", 10)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("share", [0.1, 0.7])
def test_logits_to_keep(positions, share):
    """The last block at the kept positions only: the same logits, also where some rows keep nothing."""
    model, ids = small(positions=positions), random_ids(4)
    mask = torch.rand(ids.shape, generator=torch.Generator().manual_seed(2)) < share
    mask[1] = False
    torch.testing.assert_close(model(ids, logits_to_keep=mask).logits, model(ids).logits[mask], rtol=1e-4, atol=1e-5)
    assert model(ids, logits_to_keep=2).logits.shape == (4, 2, 5)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("sharpness", [None, *SHARPNESS])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_training_loss_and_gradient(positions, sharpness, share):
    """In training mode only the positions before labels are computed: loss and gradients are those of all logits."""
    model, ids = small(positions=positions), random_ids()
    labels = ids.where(torch.rand(ids.shape, generator=torch.Generator().manual_seed(2)) < share, -100)
    plain = model(ids).logits
    expected = torch.nn.functional.cross_entropy(plain[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    expected.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    output = model.train()(ids, labels=labels, sharpness=sharpness)
    output.loss.backward()
    torch.testing.assert_close(output.loss, expected, rtol=1e-4, atol=1e-6)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)
    assert (output.sharpness is None) == (sharpness is None)
    chosen = selected_for(labels)
    assert (chosen is None) == (share == 0.9)
    torch.testing.assert_close(model(ids, labels=labels, selected=chosen).loss, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", SHARPNESS)
def test_sharpness_equals_numpy(kind):
    weights = np.random.default_rng(0).dirichlet(np.ones(6), (2, 3, 4))
    weights[0, 0, 0] = [1, 0, 0, 0, 0, 0]
    penalties = {
        "entropy": [-sum(w * np.log(w) for w in row if w > 0) for row in weights.reshape(-1, 6)],
        "l2": [-np.sqrt(sum(w * w for w in row)) for row in weights.reshape(-1, 6)],
        "linf": [-max(row) for row in weights.reshape(-1, 6)],
    }
    assert penalty_of(torch.from_numpy(weights), kind).mean().item() == pytest.approx(
        np.mean(penalties[kind]), rel=1e-12
    )


@pytest.mark.parametrize("kind", SHARPNESS)
def test_gradient_of_sharpness_with_later_keys(kind):
    """Weights of later keys are exactly 0. The gradient by the scores, of one query after another."""
    scores = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scores = scores.masked_fill(torch.ones(4, 4).triu(1) > 0, -torch.inf).requires_grad_()
    penalty_of(scores.softmax(-1), kind).sum().backward()
    for query in range(4):
        seen = scores[query, : query + 1].detach().numpy()
        weights = np.exp(seen) / np.exp(seen).sum()
        by_weight = {
            "entropy": -np.log(weights) - 1,
            "l2": -weights / np.sqrt((weights**2).sum()),
            "linf": -(weights == weights.max()).astype(float),
        }[kind]
        expected = weights * (by_weight - (weights * by_weight).sum())
        np.testing.assert_allclose(scores.grad[query, : query + 1], expected, atol=1e-12)
        assert not scores.grad[query, query + 1 :].any()


@pytest.mark.parametrize("kind", SHARPNESS)
def test_sharpness_is_the_mean_over_layers_heads_and_positions(kind):
    model, ids = small(), random_ids(2)
    weights = gpt2_with_weights_of(model)(ids, output_attentions=True).attentions
    expected = sum(penalty_of(layer, kind).mean() for layer in weights) / 2
    labels = ids.where(torch.arange(24) == 20, -100)
    penalty = model.train()(ids, labels=labels, sharpness=kind).sharpness
    torch.testing.assert_close(penalty, expected)
    penalty.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_dropout_is_off_in_evaluation():
    model, ids = small(attention_dropout=0.5, mlp_dropout=0.5, embedding_dropout=0.5), random_ids()
    torch.testing.assert_close(model(ids).logits, small()(ids).logits)
    labels = ids.clone()
    assert not torch.equal(model.train()(ids, labels=labels).loss, model(ids, labels=labels).loss)


@pytest.mark.parametrize("positions", POSITIONS)
def test_save_and_load(positions, tmp_path):
    register()
    model = small(positions=positions)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded) is TransformerForCausalLM and not loaded.training
    assert torch.equal(loaded(random_ids()).logits, model(random_ids()).logits)
    assert loaded.head.weight is loaded.transformer.embedding.weight


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positions": "rotary"}, "positions='rotary' is unknown"),
        ({"num_attention_heads": 3}, "hidden_size=16 is not divisible"),
    ],
)
def test_bad_config(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


def test_learned_positions_have_a_maximum():
    with pytest.raises(ValueError, match="25 tokens, but the model has 24 learned positions"):
        small()(random_ids(time=25))
    assert small(positions="alibi")(random_ids(time=40)).logits.shape == (3, 40, 5)


def test_padding_on_the_left_is_refused():
    with pytest.raises(ValueError, match="pad on the right"):
        small()(random_ids(1, 4), attention_mask=torch.tensor([[0, 1, 1, 1]]))


def test_generate():
    model, ids = small(), random_ids(2, 6)
    mask = torch.ones_like(ids)
    generated = model.generate(ids, attention_mask=mask, max_new_tokens=3, do_sample=False, pad_token_id=0)
    for _ in range(3):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(generated, ids)
