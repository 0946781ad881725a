"""Packages that draft for another one (speculative decoding): what fits, and where they lie on a device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from flashneuron.device.runner import Runner
from flashneuron.device.sync import push_package
from flashneuron.errors import FlashneuronError, InputError
from flashneuron.package.manifest import Package
from flashneuron.profile.session import PushedDraft, Session
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.text import TextCodec
from flashneuron.progress import Progress


def open_drafts(package: Package, settings: Iterable[RunSettings]) -> dict[str, Package]:
    """The drafts that the settings name, by that name. Raises InputError for one that takes ids for other text."""
    names = dict.fromkeys(each.draft for each in settings if each.draft is not None)
    if not names:
        return {}
    vocabulary, found = TextCodec.of(package).vocabulary(), dict[str, Package]()
    for name in names:
        draft = found[name] = Package.open(Path(name))
        sizes = [each.manifest.model.vocab_size for each in (draft, package)]
        if sizes[0] != sizes[1]:
            what = f"has a vocabulary of {sizes[0]} tokens, {package.manifest.name} one of {sizes[1]}"
        elif TextCodec.of(draft).vocabulary() != vocabulary:
            what = f"has another tokenizer than {package.manifest.name}"
        else:
            continue
        raise InputError(f"the draft {name} {what}; use a small model of the same family, with the same tokenizer")
    return found


def push_drafts(session: Session, drafts: Mapping[str, Package], progress: Progress) -> Session:
    """The session with these packages on its device too."""
    if not drafts:
        return session
    runner = session.runner
    if session.link is None or not isinstance(runner, Runner):
        raise FlashneuronError("a draft needs a device to lie on; report this defect")
    pushed = {name: push_package(session.link, draft.folder, progress, runner) for name, draft in drafts.items()}
    runner.note["drafts"] = [each.manifest_sha256 for each in pushed.values()]
    places = {name: PushedDraft(str(each.folder), each.manifest_sha256) for name, each in pushed.items()}
    return replace(session, drafts=places)
