"""The whole table."""

from tests.matrix import (
    answers,
    converted,
    harmless,
    layout,
    receipts,
    records,
    source,
    surroundings,
)

ROWS = (
    *source.ROWS,
    *layout.ROWS,
    *converted.ROWS,
    *receipts.ROWS,
    *records.ROWS,
    *answers.ROWS,
    *surroundings.ROWS,
    *harmless.ROWS,
)
