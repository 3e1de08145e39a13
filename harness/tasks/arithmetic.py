"""
name: arithmetic
what: sums, differences, products and quotients of integers 0..999, and additions of 4, 8 and 16 digits with carries
paper: arXiv 2510.26285; the long additions arXiv 2306.00946
data: fflm_data config arithmetic, test
scored: the number in the answer; unparsed, refused and truncated answers are wrong and counted separately
baselines: the most frequent answer
"""

from dataclasses import replace
from typing import ClassVar

import pyarrow as pa

from fflm_data.arrays import Bools
from harness.tasks.base import Membership, NumberTask, Suites, column, group_by
from harness.tasks.wording import NUMBER


class ArithmeticTask(NumberTask):
    """Integer arithmetic, grouped by operation and, for long additions, by number of digits."""

    # A sum of 17 digits may take a token per digit.
    wording = replace(NUMBER, plain_tokens=32)
    name = "arithmetic"
    version = 2
    same_prompts_since = 1
    order = 100
    group = "numbers and facts"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=42),),
        "paper": (Membership(since=1),),
        "full": (Membership(since=1),),
    }
    config = "arithmetic"
    splits = ("test",)

    def groups(self, rows: pa.Table) -> dict[str, Bools]:
        digits = column(rows, "a").astype(str)
        lengths = group_by("digits", [len(number) for number in digits.tolist()])
        small = column(rows, "a") < 1_000
        operations = group_by("operation", column(rows, "operation"))
        by_operation = {name: members & small for name, members in operations.items()}
        return by_operation | {
            f"operation=+,{name}": members & ~small for name, members in lengths.items() if (members & ~small).any()
        }
