"""The tasks that a catalogue may name."""

from collections.abc import Mapping

from prep.tasks.embedding import EMBEDDING
from prep.tasks.reranker import RERANKER
from prep.tasks.seq2seq import SEQ2SEQ
from prep.tasks.task import Task

TASKS: Mapping[str, Task] = {task.name: task for task in (EMBEDDING, RERANKER, SEQ2SEQ)}
