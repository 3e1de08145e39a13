"""The verbs of `harness`, one per file: `HELP`, `add_arguments(parser)`, `run(args)`. `run` does heavy imports."""
