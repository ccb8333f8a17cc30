"""Settings for the small model of `small_homes`, without reading a catalogue."""

from pathlib import Path

from prep.catalogue.entries import Catalogue, ModelSpec
from prep.catalogue.lock import Lock, LockedModel
from prep.fetch.hub import Network
from prep.home.layout import Home
from prep.settings import Settings
from prep.tasks.registry import TASKS

SPEC = ModelSpec(
    name="tiny", repo="acme/tiny", revision="main", task="embedding", precisions=("int8",), why="x"
)


def settings_for(home: Path, locked: LockedModel, *, offline: bool = False) -> Settings:
    return Settings(
        catalogue=Catalogue(path=Path("/srv/models.toml"), models=(SPEC,)),
        lock=Lock(models=(locked,)),
        models=(SPEC,),
        home=Home(home),
        network=Network(token="hf_secret"),
        offline=offline,
        sample=False,
        precisions=None,
        interpreters=(),
        relock=False,
        dry_run=False,
        shard=None,
        goldens=home,
        questions={SPEC.name: TASKS[SPEC.task].questions()},
        summary=None,
        report=None,
    )
