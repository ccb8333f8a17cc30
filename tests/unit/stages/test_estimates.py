"""What a conversion needs, estimated from the sizes in the lock and the headers of the weights."""

import json
import struct
from pathlib import Path

from prep.home.layout import Home
from prep.stages.estimates import GRAPH, LIBRARIES, Make, make_of
from tests.support.small_homes import locked_model, place_source, write_bytes


def test_numbers_are_counted_by_the_header_where_the_file_is_there(tmp_path: Path) -> None:
    header = json.dumps(
        {"__metadata__": {}, "a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}
    ).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(8)
    files = {"config.json": b"{}", "model.safetensors": weights}
    home, locked = Home(tmp_path), locked_model(files)
    by_size = make_of(home, locked, "int8")
    assert by_size == Make(
        precision="int8",
        bytes=len(weights) // 4 + 2 + GRAPH,
        temporary=len(weights) // 4 * 4 + 2 + GRAPH,
        memory=LIBRARIES + int(len(weights) // 4 * 4 * 1.4),
    )
    snapshot = place_source(home, locked, files)
    assert make_of(home, locked, "fp16").bytes == 4 * 2 + 2 + GRAPH
    (snapshot / "model.safetensors").unlink()
    write_bytes(snapshot / "model.safetensors", b"\xff" * 100)
    assert make_of(home, locked, "int8").bytes == by_size.bytes
