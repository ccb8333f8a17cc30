"""The least that a second run can take: import, load each model once in each library, one answer.

python -m benchmarks.floor HOME
"""

import json
import os
import sys
from pathlib import Path


def main(home: Path) -> None:
    """Load every model that the summary in `home` names, as published and in 8 bits."""
    os.environ.update(HF_HOME=str(home), HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    from optimum.intel import OVModelForSeq2SeqLM
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    summary = json.loads((home / "model-prep" / "summary.json").read_text(encoding="utf-8"))
    for model in summary["models"].values():
        repo, task = model["repo"], model["task"]
        converted = str(home / "openvino" / repo.replace("/", "--") / "int8")
        if task == "embedding":
            SentenceTransformer(repo).encode(["a"])
            SentenceTransformer(converted, backend="openvino").encode(["a"])
        elif task == "reranker":
            CrossEncoder(repo).predict([("a", "b")])
            CrossEncoder(converted, backend="openvino").predict([("a", "b")])
        else:
            asked = AutoTokenizer.from_pretrained(repo)(["a"], return_tensors="pt")
            AutoModelForSeq2SeqLM.from_pretrained(repo).generate(**asked, max_new_tokens=4)
            OVModelForSeq2SeqLM.from_pretrained(converted).generate(**asked, max_new_tokens=4)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
