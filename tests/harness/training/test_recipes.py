"""The recipes of the package against the papers: sizes, learning rates, losses."""

import pytest
import torch

from harness.models.classes import register
from harness.training.build import build, vocabulary_size
from harness.training.execution import Execution, training_arguments
from harness.training.recipe_parts import Schedule
from harness.training.recipes import all_recipes, get_recipe
from harness.training.trainer import RecipeTrainer

NAMES = list(all_recipes())


def trainer_of(recipe, folder, model=None, rows=None):
    arguments = training_arguments(recipe, folder, Execution(), 1, cpu=True)
    model = model or torch.nn.Linear(1, 1)
    return RecipeTrainer(recipe, model, rows, arguments, evaluate_model=dict, evaluations=0)


def test_baseline_has_the_size_of_the_paper():
    with torch.device("meta"):
        model = build(get_recipe("flipflop-transformer")).model
    assert sum(parameter.numel() for parameter in model.parameters()) == 19_180_032
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (6, 512, 8)
    assert (config.positions, config.max_position_embeddings, config.vocab_size) == ("learned", 512, 5)


def test_lstm_has_the_size_of_the_paper():
    model = build(get_recipe("flipflop-lstm")).model
    assert sum(parameter.numel() for parameter in model.parameters()) == 133_381


def test_baseline_recipe():
    """arXiv 2306.00946, section 4 and appendix B."""
    recipe = get_recipe("flipflop-transformer")
    assert (recipe.data.p_ignore, recipe.data.length, recipe.data.batch_size) == ((0.8,), 512, 16)
    assert (recipe.schedule.steps, recipe.data.mode) == (10_000, "deterministic")


@pytest.mark.parametrize("name", ["flipflop-transformer", "flipflop-lstm"])
def test_learning_rate_of_the_scheduler(name, tmp_path):
    """3e-4, warm-up of 50 steps, 0 at step 10,001; read from the optimizer during a training without a model."""
    recipe = get_recipe(name)
    trainer = trainer_of(recipe, tmp_path)
    trainer.create_optimizer_and_scheduler(recipe.schedule.steps)
    group = trainer.optimizer.param_groups[0]
    assert (group["betas"], group["weight_decay"], type(trainer.optimizer)) == ((0.9, 0.999), 0.1, torch.optim.AdamW)
    assert len(trainer.optimizer.param_groups) == 1
    rates = {}
    for step in range(1, recipe.schedule.steps + 1):
        rates[step] = group["lr"]
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    expected = {1: 1 / 50, 49: 49 / 50, 50: 1, 51: 9950 / 9951, 5_000: 5001 / 9951, 10_000: 1 / 9951}
    for step in set(expected) & set(rates):
        assert rates[step] == pytest.approx(3e-4 * expected[step], rel=1e-12), step
    assert len(set(expected) & set(rates)) == (6 if name == "flipflop-transformer" else 4)
    if name == "flipflop-transformer":
        assert group["lr"] == 0


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Schedule(steps=10, warmup_steps=0), {1: 10 / 11, 2: 9 / 11, 10: 1 / 11}),
        (Schedule(steps=10, warmup_steps=2), {1: 0.5, 2: 1.0, 3: 8 / 9, 10: 1 / 9}),
        (Schedule(steps=10, warmup_steps=10), {1: 0.1, 10: 1.0}),
        (Schedule(steps=10, warmup_steps=2, zero_at=22), {2: 1.0, 12: 0.5}),
    ],
)
def test_schedules(schedule, factors):
    for step, factor in factors.items():
        assert schedule.factor(step) == pytest.approx(factor), step


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_learns_from_its_first_batch(name, tmp_path):
    """The loss at the start is that of a constant guess, and a step on a batch lowers it."""
    register()
    recipe = get_recipe(name)
    small = {"schedule.steps": "60", "schedule.warmup_steps": "10", "data.batch_size": "4"}
    if name == "flipflop-transformer":
        small |= {"model.layers": "1", "model.width": "32", "model.heads": "2"}
    built = build(recipe.changed(small))
    assert len(built.rows) == 240
    trainer = trainer_of(recipe, tmp_path, built.model, built.rows)
    batch = next(iter(trainer.get_train_dataloader()))
    first = trainer.compute_loss(built.model, batch)
    if recipe.data.kind == "flipflop":
        assert first.item() == pytest.approx(torch.tensor(float(vocabulary_size(recipe))).log().item(), abs=0.5)
    else:
        assert first.item() == pytest.approx(batch["labels"].square().mean().item(), rel=0.2)
    optimizer = torch.optim.SGD(built.model.parameters(), 1e-3)
    first.backward()
    optimizer.step()
    assert trainer.compute_loss(built.model, batch) < first
