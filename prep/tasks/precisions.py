"""The precisions of a conversion, as a catalogue names them, from the finest to the coarsest."""

PRECISIONS = ("fp32", "fp16", "int8")
