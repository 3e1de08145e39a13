"""`harness train`: trains a model with a recipe, several seeds side by side, or a sweep of recipes."""

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.commands import options
from harness.console import echo, quiet_libraries
from harness.errors import UserError

HELP = "train a model with a recipe, or a sweep of recipes"
REPORTERS = ("tensorboard", "trackio", "wandb")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    what = parser.add_argument_group("what to train")
    what.add_argument("recipe", metavar="RECIPE", nargs="?", help="name of a recipe, or a recipe.json")
    what.add_argument("--list", action="store_true", help="list the recipes and exit")
    what.add_argument("--show", action="store_true", help="show all values of the recipe and exit")
    what.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value, such as model.layers=4 (repeatable)",
    )
    what.add_argument("--seeds", type=options.positive, metavar="N", help="train N seeds side by side, as one model")
    what.add_argument(
        "--architecture", metavar="NAME", help="train a model class of transformers from scratch: llama, mamba, ..."
    )
    what.add_argument("--from", dest="source", metavar="ID", help="fine-tune a pretrained model, a Hub id or a folder")
    what.add_argument("--revision", help="branch, tag or commit of the pretrained model (default: main)")
    what.add_argument("--sweep", type=Path, metavar="FILE", help="train all members of a sweep, a TOML file")
    where = parser.add_argument_group("output")
    where.add_argument("--output", type=Path, metavar="FOLDER", help="folder of the model, seeds or sweep")
    where.add_argument("--push", metavar="ORG/NAME", help="push the trained model to the Hub")
    where.add_argument(
        "--report-to",
        action="append",
        default=[],
        choices=REPORTERS,
        metavar="NAME",
        help=f"log to {', '.join(REPORTERS)}",
    )
    where.add_argument(
        "--evaluations",
        type=options.not_negative,
        default=10,
        metavar="N",
        help="evaluations during training (default: 10)",
    )
    speed = parser.add_argument_group("hardware and speed")
    speed.add_argument(
        "--num-processes", type=options.positive, metavar="N", help="processes, one per GPU (default: 1)"
    )
    speed.add_argument("--bf16", action="store_true", help="train in bfloat16 mixed precision")
    speed.add_argument("--tf32", action="store_true", help="compute float32 products in TF32 on a CUDA GPU")
    speed.add_argument("--compile", action="store_true", help="compile the model with torch.compile")
    speed.add_argument(
        "--gradient-accumulation", type=options.positive, default=1, metavar="N", help="parts of a batch (default: 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Lists or shows recipes, or trains."""
    if args.list:
        return _list()
    if args.sweep:
        return _sweep(args)
    recipe = _recipe(args)
    if args.show:
        return _show(recipe)
    return _train(args, recipe)


def _list() -> int:
    from harness.training.recipes import all_recipes

    for name, recipe in all_recipes().items():
        echo(f"{name:22} {recipe.title}")
    echo("to see all values: harness train RECIPE --show")
    return 0


def _show(recipe: Any) -> int:
    echo(f"{recipe.name}: {recipe.title}")
    for part, values in recipe.parts().items():
        for key, value in values.items():
            if key != "kind":
                echo(f"  {part}.{key} = {_text(value)}")
    return 0


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def _recipe(args: argparse.Namespace) -> Any:
    """The recipe of the options. Raises UserError or ParameterError for an invalid one."""
    from harness.training.recipe_parts import ArchitectureModel, PretrainedModel
    from harness.training.recipe_values import parse_change
    from harness.training.recipes import get_recipe

    if args.recipe is None:
        raise UserError("name a recipe: harness train --list shows them")
    if args.architecture and args.source:
        raise UserError("--architecture trains from scratch and --from fine-tunes: remove one of them")
    if args.revision and not args.source:
        raise UserError("--revision is that of --from ID: name the pretrained model, or remove --revision")
    if args.recipe.endswith(".json"):
        from harness.training.recipe import read_recipe

        recipe = read_recipe(Path(args.recipe))
    else:
        recipe = get_recipe(args.recipe)
    if args.architecture:
        model: Any = ArchitectureModel(args.architecture, seed=recipe.model.seed)
        recipe = recipe.with_model(model, ("model.architecture", args.architecture))
    if args.source:
        model = PretrainedModel(args.source, args.revision, seed=recipe.model.seed)
        recipe = recipe.with_model(model, ("model.source", args.source))
    return recipe.changed(dict(map(parse_change, args.set)))


def _train(args: argparse.Namespace, recipe: Any) -> int:
    from harness.evaluation import distributed

    if args.output is None:
        raise UserError("name the folder of the model with --output FOLDER")
    if args.push and (args.seeds or 1) > 1:
        raise UserError("--push takes one model: train one seed, or push a folder with hf upload")
    if args.push:
        from harness.training.push import require_pushable

        require_pushable(args.push)
    _require_reporters(args.report_to)
    recipes = [recipe.with_next_seeds(number) for number in range(args.seeds or 1)]
    distributed.end_with_launcher()
    if (args.num_processes or 1) > 1 and not distributed.launched_by_other():
        echo(f"starting {args.num_processes} processes ...", file=sys.stderr)
        return distributed.launch(args.num_processes, args.arguments)
    quiet_libraries()
    from harness.training.execution import Execution
    from harness.training.train import train

    execution = Execution(**_execution(args))
    folders = train(recipes, args.output, execution)
    if not distributed.is_first():
        return 0
    for folder in folders:
        echo(f"{folder}: {_result(folder)}")
    if recipe.data.kind == "flipflop":
        from harness.training.card import evaluation_command

        echo(f"to evaluate it: {evaluation_command(str(folders[0]), recipe.data)}")
    if args.push:
        from harness.training.push import push

        echo(f"pushed to {push(folders[0], args.push)}")
    return 0


def _require_reporters(names: list[str]) -> None:
    """Raises UserError if the package of a logger is not installed."""
    from importlib.util import find_spec

    for name in names:
        if find_spec(name) is None:
            raise UserError(f"--report-to {name} needs a package: pip install {name}")


def _execution(args: argparse.Namespace) -> dict[str, Any]:
    """The options that say how to train, as in `execution.Execution`."""
    names = ("bf16", "tf32", "compile", "gradient_accumulation", "evaluations")
    return {name: getattr(args, name) for name in names} | {"report_to": tuple(args.report_to)}


def _result(folder: Path) -> str:
    """The last numbers of a training curve, in words."""
    from harness.training.curve import last_numbers, read_curve
    from harness.training.validation import summary

    numbers = last_numbers(read_curve(folder))
    texts = {"loss": f"{numbers['loss']:.4g} nats"} | summary(numbers)
    return ", ".join(f"{name} {text}" for name, text in texts.items())


def _sweep(args: argparse.Namespace) -> int:
    """Runs a sweep. Exit status 1 if a member failed."""
    _require_sweep_options(args)
    quiet_libraries()
    from harness.training.sweep import run_sweep

    result = run_sweep(args.sweep, args.output, args.num_processes, _execution(args))
    failures = [f"{failure.unit.label} failed: {failure.reason}" for failure in result.failures]
    if result.table.num_rows:
        from harness.reporting import sweep_summary
        from harness.reporting.sweep_data import all_series
        from harness.reporting.sweep_page import write_sweep_report

        sweep_summary.show(all_series(result.table))
        page = write_sweep_report(result.title, args.output, result.table, failures)
        echo(f"{page}; figures and results.parquet beside it")
    for failure in failures:
        echo(failure, file=sys.stderr)
    return 1 if failures else 0


def _require_sweep_options(args: argparse.Namespace) -> None:
    """Raises UserError for options that a sweep file replaces."""
    for option in ("recipe", "set", "seeds", "architecture", "source", "revision", "push", "show"):
        if getattr(args, option):
            name = {"source": "--from", "recipe": repr(args.recipe)}.get(option, f"--{option}")
            raise UserError(f"a sweep takes its recipes from its file: remove {name}")
    if args.output is None:
        raise UserError("name the folder of the sweep with --output FOLDER")
