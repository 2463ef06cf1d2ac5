"""One task's share of pi: every task sums its own part of a series.

    pi = sum over k of (4/(8k+1) - 2/(8k+4) - 1/(8k+5) - 1/(8k+6)) / 16^k

(Bailey, Borwein and Plouffe, 1997). Task i of n takes the k with k mod n = i,
in exact fractions, and prints its share in units of 10^-DIGITS. The shares of
all tasks add up to pi.
"""

import os
from fractions import Fraction

DIGITS = 300
# Each term gives a little more than one decimal digit.
TERMS = DIGITS


def term(k: int) -> Fraction:
    """The k-th term of the series."""
    parts = Fraction(4, 8 * k + 1) - Fraction(2, 8 * k + 4) - Fraction(1, 8 * k + 5) - Fraction(1, 8 * k + 6)
    return parts / 16**k


def main() -> None:
    """Sums this task's terms and prints the share."""
    index = int(os.environ["IRIS_TASK_INDEX"])
    count = int(os.environ["IRIS_TASK_COUNT"])
    mine = range(index, TERMS, count)
    print(f"task {index} of {count}: {len(mine)} terms, attempt {os.environ['IRIS_ATTEMPT']}", flush=True)
    share = sum((term(k) for k in mine), Fraction(0))
    print(f"share {round(share * 10**DIGITS)}", flush=True)


if __name__ == "__main__":
    main()
