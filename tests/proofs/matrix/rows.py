"""The whole table."""

from tests.proofs.matrix import (
    answers,
    converted,
    harmless,
    layout,
    receipts,
    records,
    sandbox,
    source,
)

ROWS = (
    *source.ROWS,
    *layout.ROWS,
    *converted.ROWS,
    *receipts.ROWS,
    *records.ROWS,
    *answers.ROWS,
    *sandbox.ROWS,
    *harmless.ROWS,
)
