"""`harness train`: trains the bundled LSTM with its recipe."""

import argparse
from pathlib import Path

from harness.commands import options
from harness.console import echo, quiet_libraries

HELP = "train the bundled LSTM with its recipe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("output", metavar="FOLDER", type=Path, help="folder for model and tokenizer")
    parser.add_argument("--steps", type=options.positive, default=500, help="training steps (default: 500)")
    parser.add_argument("--data-seed", type=int, default=0, help="seed of the training data (default: 0)")
    parser.add_argument("--weight-seed", type=int, default=0, help="seed of the initial weights (default: 0)")


def run(args: argparse.Namespace) -> None:
    """Trains the model; prints the final loss."""
    quiet_libraries()
    from harness.runs.files import require_writable
    from harness.training.lstm import Recipe, train_lstm

    require_writable(args.output)
    recipe = Recipe(steps=args.steps, data_seed=args.data_seed, weight_seed=args.weight_seed)
    loss = train_lstm(args.output, recipe)
    echo(f"{args.output}: final loss {loss:.4f} nats")
    echo(f"to evaluate it: harness eval --model {args.output} --task flipflop")
