"""The verbs of `harness`, one a file: `HELP`, `add_arguments(parser)`, `run(args)`. What a verb needs is imported when
it runs."""
