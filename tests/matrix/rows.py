"""The whole table."""

from tests.matrix import answers, converted, harmless, records, source, surroundings

ROWS = (
    *source.ROWS,
    *converted.ROWS,
    *records.ROWS,
    *answers.ROWS,
    *surroundings.ROWS,
    *harmless.ROWS,
)
