"""`harness train`: the bundled LSTM, trained anew by its recipe."""

import argparse
from pathlib import Path

from harness.commands import options
from harness.console import quiet_libraries, say

HELP = "train the bundled LSTM by its recipe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("output", metavar="FOLDER", type=Path, help="write model and tokenizer here")
    parser.add_argument("--steps", type=options.positive, default=500, help="default: 500")
    parser.add_argument("--data-seed", type=int, default=0, help="default: 0")
    parser.add_argument("--weight-seed", type=int, default=0, help="default: 0")


def run(args: argparse.Namespace) -> None:
    """Trains, and prints the last loss."""
    quiet_libraries()
    from harness.runs.files import require_writable
    from harness.training.lstm import Recipe, train_lstm

    require_writable(args.output)
    recipe = Recipe(steps=args.steps, data_seed=args.data_seed, weight_seed=args.weight_seed)
    loss = train_lstm(args.output, recipe)
    say(f"{args.output}: last loss {loss:.4f} nats")
    say(f"score it: harness eval --model {args.output} --task flipflop")
