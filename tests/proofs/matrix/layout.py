"""Damage to where the original files lie: names, links, modes, and files that nobody locked."""

import shutil
from collections.abc import Callable

from prep.home.layout import write_text
from tests.proofs.matrix.damages import (
    denied,
    extra,
    folder_away,
    lead_away,
    mode,
    somebodys_folder,
    swap_ref_for_link,
)
from tests.proofs.matrix.row import Place, Row
from tests.support.small_homes import lead, replace_by_pipe, resolved

LINKS = ("test_links_stay_inside_the_home",)
MODES = ("test_everybody_can_read",)
EXTRAS = ("test_no_loader_takes_an_unlocked_file",)
REF = ("test_name_leads_to_the_pin",)
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"


def _ref(name: str, do: Callable[[Place], object], *words: str, online: str = "repaired") -> Row:
    return Row(
        name=name,
        group="ref",
        do=do,
        seen_by=REF,
        file="refs/main",
        words=(
            *words,
            "Without --offline, pytest writes it anew.",
        ),
        online=online,  # type: ignore[arg-type]
    )


REF_ROWS = (
    _ref("ref removed", lambda place: place.ref.unlink(), "missing"),
    _ref("refs folder removed", lambda place: shutil.rmtree(place.ref.parent), "missing"),
    _ref("ref of another commit", lambda place: write_text(place.ref, "0" * 40), "0000000000"),
    _ref(
        "ref with a newline",
        lambda place: write_text(place.ref, f"{place.locked.commit}\n"),
        "\\n'",
    ),
    _ref("ref with a space", lambda place: write_text(place.ref, f"{place.locked.commit} "), " '"),
    _ref(
        "ref with a BOM",
        lambda place: place.ref.write_bytes(b"\xef\xbb\xbf" + place.locked.commit.encode()),
        "\\ufeff",
    ),
    _ref(
        "ref in capitals",
        lambda place: write_text(place.ref, place.locked.commit.upper()),
        "locked",
    ),
    _ref("ref shortened", lambda place: write_text(place.ref, place.locked.commit[:7]), "locked"),
    _ref("ref emptied", lambda place: write_text(place.ref, ""), "is '', locked"),
    _ref("ref names a branch", lambda place: write_text(place.ref, "main"), "is 'main', locked"),
    _ref("ref is no text", lambda place: place.ref.write_bytes(bytes(40)), "locked"),
    _ref("ref dangles", lambda place: lead(place.ref, "nowhere"), "missing"),
    _ref("ref leads out", swap_ref_for_link, "outside the home"),
    _ref("ref is a pipe", lambda place: replace_by_pipe(place.ref), "is not a file"),
    _ref("ref is endless", lambda place: lead(place.ref, "/dev/zero"), "outside the home"),
    _ref(
        "ref is a folder",
        lambda place: somebodys_folder(place.ref),
        "is not a file",
        online="failed",
    ),
)


def _links(name: str, do: Callable[[Place], object], file: str, *words: str, **more: object) -> Row:
    return Row(
        name=name,
        group="links",
        do=do,
        seen_by=LINKS,
        file=file,
        words=words,
        **more,  # type: ignore[arg-type]
    )


LINK_ROWS = (
    _links(
        "weights link leads out",
        lambda place: lead_away(place, place.weights),
        WEIGHTS,
        "outside the home",
        online="repaired",
        fetches=(WEIGHTS,),
    ),
    _links(
        "weights relative link leads out",
        lambda place: lead_away(place, place.weights, absolute=False),
        WEIGHTS,
        "outside the home",
        online="repaired",
        fetches=(WEIGHTS,),
    ),
    _links(
        "config link is absolute",
        lambda place: lead(
            place.snapshot / "config.json", (place.snapshot / "config.json").resolve()
        ),
        "config.json",
        "not there where the home is mounted elsewhere",
        online="repaired",
    ),
    _links(
        "blob is a link out",
        lambda place: lead_away(place, place.weights.resolve()),
        WEIGHTS,
        "outside the home",
        online="repaired",
        fetches=(WEIGHTS,),
    ),
    _links(
        "pooling folder leads out",
        lambda place: folder_away(place, place.snapshot / "1_Pooling"),
        "1_Pooling/config.json",
        "outside the home",
    ),
    _links(
        "blobs lead out",
        lambda place: folder_away(place, place.repo / "blobs"),
        WEIGHTS,
        "outside the home",
    ),
    _links(
        "snapshot leads out",
        lambda place: folder_away(place, place.snapshot),
        WEIGHTS,
        "outside the home",
    ),
)


def _modes(
    name: str,
    do: Callable[[Place], object],
    file: str,
    *words: str,
    online: str = "repaired",
    scope: str = "model",
    may_see: tuple[str, ...] = (),
) -> Row:
    return Row(
        name=name,
        group="modes",
        do=do,
        seen_by=MODES,
        may_see=may_see,
        file=file,
        words=(*words, "Services run as other users."),
        online=online,  # type: ignore[arg-type]
        scope=scope,  # type: ignore[arg-type]
    )


MODE_ROWS = (
    _modes("weights 0600", mode(lambda p: p.weights.resolve(), 0o600), "blobs/", "0600", "o+r"),
    _modes("config 0640", mode(lambda p: (p.snapshot / "config.json").resolve(), 0o640), "0640"),
    _modes("ref 0600", mode(lambda p: p.ref, 0o600), "refs/main", "0600"),
    _modes("refs 0700", mode(lambda p: p.ref.parent, 0o700), "refs", "0700", "o+rx"),
    _modes("snapshot 0750", mode(lambda p: p.snapshot, 0o750), "snapshots/", "0750"),
    _modes("snapshot cannot be entered", mode(lambda p: p.snapshot, 0o744), "snapshots/", "0744"),
    _modes("snapshots 0700", mode(lambda p: p.snapshot.parent, 0o700), "snapshots", "0700"),
    _modes("blobs 0700", mode(lambda p: p.repo / "blobs", 0o700), "blobs", "0700"),
    _modes("repository 0700", mode(lambda p: p.repo, 0o700), "hub/models--", "0700"),
    _modes("pooling folder 0700", mode(lambda p: p.snapshot / "1_Pooling", 0o700), "1_Pooling"),
    _modes(
        "plain file 0600", lambda p: resolved(p.weights).chmod(0o600), "snapshots/", "0600", "o+r"
    ),
    _modes("hub folder 0711", mode(lambda p: p.home.hub, 0o711), "hub", "0711", scope="home"),
    _modes(
        "home 0700",
        mode(lambda p: p.home.root, 0o700),
        "home",
        "0700",
        "chmod o+rx",
        online="failed",
        scope="home",
        may_see=("test_everybody_can_read_the_converted",),
    ),
)


def _extras(name: str, do: Callable[[Place], object], file: str, **more: object) -> Row:
    return Row(
        name=name,
        group="unlocked",
        do=do,
        seen_by=EXTRAS,
        file=file,
        words=("is not locked, and a loader would take it", "take it away by hand, or lock it."),
        **more,  # type: ignore[arg-type]
    )


EXTRA_ROWS = (
    _extras("adapter beside the weights", extra("adapter_config.json"), "adapter_config.json"),
    _extras("added tokens", extra("added_tokens.json"), "added_tokens.json"),
    _extras("chat template", extra("chat_template.jinja", body=b"{{ 1 }}"), "chat_template.jinja"),
    _extras("another pooling", extra("2_Dense/config.json"), "2_Dense/config.json"),
    _extras("versioned tokenizer", extra("tokenizer.4.0.0.json"), "tokenizer.4.0.0.json"),
    _extras("sentencepiece model", extra("spiece.model", body=b"\n"), "spiece.model"),
    _extras("generation settings", extra("generation_config.json"), "generation_config.json"),
    _extras("processor", extra("preprocessor_config.json"), "preprocessor_config.json"),
    _extras(
        "sentence-transformers modules beside a reranker",
        extra("modules.json", body=b"[]"),
        "modules.json",
        tasks=("reranker", "seq2seq"),
    ),
    Row(
        name="the hub's note denies the tokenizer",
        group="unlocked",
        do=denied(TOKENIZER),
        seen_by=EXTRAS,
        file=f"{TOKENIZER}",
        words=("notes here that there is no such file", "take it away by hand, or lock it."),
    ),
    _extras("another length limit", extra("sentence_roberta_config.json"), "sentence_roberta_"),
)


ROWS = (*REF_ROWS, *LINK_ROWS, *MODE_ROWS, *EXTRA_ROWS)
