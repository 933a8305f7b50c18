"""The receipts as a page shows them: what stands behind each number, and what a reader should be warned of."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fourier_robust.report.collect import Collected, Receipt
from fourier_robust.report.method_table import MethodTable, precision_of

ALWAYS = ("checkpoint", "config", "subject", "definitions", "data", "git", "fourier_robust", "wall_seconds")


@dataclass(frozen=True)
class Shown:
    """One receipt as texts; `key` is its anchor, `config` and `training` those of its settings (or empty)."""

    key: str
    run: str
    method: str
    suite: str
    seed: str
    commit: str
    trained: str
    precision: str
    data: str
    time: str
    device: str
    command: str
    checkpoint: str
    remarks: tuple[str, ...]
    flags: tuple[str, ...]
    config: str
    training: str


@dataclass(frozen=True)
class Receipts:
    """All receipts, and the texts of the settings they name: anchor -> text."""

    shown: tuple[Shown, ...]
    key_of: Mapping[Receipt, str]
    settings: Mapping[str, str]


def flags_of(receipt: Receipt) -> tuple[str, ...]:
    """What a reader of its numbers must know: dirty or unknown code, a partial set, conditions not measured."""
    content, said = receipt.content, []
    git = content.get("git") or {}
    if git.get("dirty"):
        said.append("dirty commit")
    if not git.get("commit"):
        said.append("unknown commit")
    if any((launch.get("git") or {}).get("dirty") for launch in _launches(receipt)):
        said.append("trained from a dirty commit")
    said += [remark for remark in content.get("remarks") or () if "PARTIAL SET" in str(remark)]
    wanted, measured = content.get("conditions_wanted"), content.get("conditions_measured")
    if wanted != measured:
        said.append(f"PARTIAL: {measured} of {wanted} conditions measured")
    if content.get("not_measured"):
        said.append(f"PARTIAL: not measured: {', '.join(content['not_measured'])}")
    lacking = [key for key in ALWAYS if key not in content and not ("not_measured" in content and key in _OF_ONE)]
    if lacking:
        said.append(f"another schema: the receipt lacks {', '.join(lacking)}")
    return tuple(map(str, said))


_OF_ONE = ("data", "wall_seconds")  # absent in the receipt of suite=all


def receipts_of(collected: Collected) -> Receipts:
    """Every receipt that was read, numbered in order; equal settings are shown once."""
    settings: dict[str, str] = {}
    known: dict[str, str] = {}

    def anchor(kind: str, text: str) -> str:
        if text and (kind + text) not in known:
            known[kind + text] = f"{kind}{len(known) + 1}"
            settings[known[kind + text]] = text
        return known.get(kind + text, "")

    shown, key_of = [], {}
    for number, receipt in enumerate(collected.receipts, 1):
        key_of[receipt] = f"r{number}"
        shown.append(_shown(receipt, f"r{number}", anchor("c", _config(receipt)), anchor("t", _training(receipt))))
    return Receipts(tuple(shown), key_of, settings)


def _config(receipt: Receipt) -> str:
    """Settings of the evaluation without where things lie and what ran them."""
    config = receipt.content.get("config") or {}
    kept = {key: value for key, value in config.items() if key not in ("device", "paths", "resume", "ckpt")}
    return json.dumps(kept, indent=1, sort_keys=True) if kept else ""


def _training(receipt: Receipt) -> str:
    settings = receipt.run.settings
    return "" if settings is None else "\n".join(f"{key}: {text}" for key, text in settings.items())


def _launches(receipt: Receipt) -> list[Mapping[str, Any]]:
    launches = receipt.run.training.get("launches")
    return [one for one in launches if isinstance(one, dict)] if isinstance(launches, list) else []


def _shown(receipt: Receipt, key: str, config: str, training: str) -> Shown:
    content, first = receipt.content, receipt.first
    launches = _launches(receipt)
    trained = ", ".join(dict.fromkeys(_commit(one.get("git") or {}) for one in launches))
    seconds = sum(float(one.get("wall_seconds") or 0) for one in launches)
    if trained and seconds:
        trained += f", {_time(seconds)}"
    wall = content.get("wall_seconds")
    time = "" if wall is None else _time(float(wall))
    if content.get("conditions_reused"):
        time += f", {content['conditions_reused']} conditions by an earlier launch"
    device = content.get("device") or {}
    threads = f", {device['threads']} threads" if device.get("type") == "cpu" and device.get("threads") else ""
    checkpoint = content.get("checkpoint") or {}
    return Shown(
        key=key,
        run=receipt.run.shown,
        method=" ".join(filter(None, (first.get(name, "") for name in ("train_dataset", "arch", "aug", "reg")))),
        suite=receipt.name,
        seed=first.get("seed", ""),
        commit=_commit(content.get("git") or {}),
        trained=trained,
        precision=precision_of(receipt),
        data=_data(content.get("data") or {}),
        time=time,
        device=f"{device.get('name') or device.get('type') or 'unknown'}{threads}",
        command=" ".join(map(str, content.get("command") or ())),
        checkpoint=str(checkpoint.get("sha256") or "")[:16],
        remarks=tuple(map(str, content.get("remarks") or ())),
        flags=flags_of(receipt),
        config=config,
        training=training,
    )


def _commit(git: Mapping[str, Any]) -> str:
    return (str(git.get("commit") or "unknown")[:12]) + (" (dirty)" if git.get("dirty") else "")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _data(data: Mapping[str, Any]) -> str:
    """Names and identities of the images, one by one where they are few, else the first and a digest of all."""
    if len(data) <= 2:
        return ", ".join(f"{name} {str(identity)[:16]}" for name, identity in data.items())
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
    name, identity = next(iter(data.items()))
    return f"{name} {str(identity)[:16]} and {len(data) - 1} more, all together {digest}"


def warnings_of(
    collected: Collected, receipts: Receipts, tables: Sequence[MethodTable], copies: Sequence[str]
) -> list[str]:
    """What stands at the head of a report: dirty code, partial sets, mixed versions, what was left out; a line each."""
    said = []
    total = len(receipts.shown)
    for text, word in (("from dirty commits", "dirty"), ("from unknown commits", "unknown commit"),
                       ("of partial sets", "PARTIAL"), ("of another schema", "another schema")):  # fmt: skip
        keys = [one.key for one in receipts.shown if any(word in flag for flag in one.flags)]
        if keys:
            said.append(f"{len(keys)} of {total} evaluations {text}: {_listed(keys)}")
    versions = Counter(str(one.content.get("fourier_robust", "unknown")) for one in collected.receipts)
    if len(versions) > 1:
        mixed = ", ".join(f"{version} ({count})" for version, count in sorted(versions.items()))
        said.append(f"mixed versions of fourier_robust: {mixed}")
    unknown = sorted({one.run.shown for one in collected.receipts if one.run.settings is None})
    if unknown:
        said.append(f"no config.yaml, so runs of equal names count as one method: {_listed(unknown)}")
    for table in tables:
        mixed_in: dict[str, list[str]] = {}
        for column in table.columns:
            name = f"{column.suite}: {column.name}"
            if len(column.precisions) > 1:
                mixed_in.setdefault(f"measured in {' and '.join(column.precisions)}", []).append(name)
            if len(column.images) > 1:
                mixed_in.setdefault(f"n from {column.images[0]:,} to {column.images[-1]:,}", []).append(name)
        said += [f"trained on {table.train_dataset}, {what}: {_listed(names)}" for what, names in mixed_in.items()]
    apart = [f"{column.suite}: {column.metric}" for table in tables for column in table.columns if column.mark]
    if apart:
        said.append(f"equal names, different definitions, settings or data, apart: {', '.join(dict.fromkeys(apart))}")
    return [*said, *copies, *collected.skipped]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more
