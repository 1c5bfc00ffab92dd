"""The step `curate`: merge dataset versions, divide frames into splits, compare, tag."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from admlops.analysis.comparison import compare_versions, describe_comparison
from admlops.catalogue.licences import MixedTerms, describe_terms, mix_terms
from admlops.config import Config
from admlops.curation.division import divide_dataset
from admlops.curation.merging import (
    MergeRule,
    MergeSource,
    Part,
    count_categories,
    find_conflicts,
    open_part,
    read_part,
    refuse_conflicts,
)
from admlops.curation.splitting import SplitRule, describe_mix
from admlops.errors import ConfigError
from admlops.files import write_atomically, write_folder_atomically
from admlops.lake.store import Dataset
from admlops.serving.licences import Use, require_permission
from admlops.steps.step import Scores
from admlops.structures.manifest import Manifest

REPORT_FILE = "curation.json"
REPORT_PAGE = "curation.md"


@dataclass(frozen=True, slots=True)
class CurateInputs:
    """What is read.

    Attributes:
        dataset: manifest of a dataset version; may be left out where versions are merged.
        earlier: manifest of the version to compare the result with.
    """

    dataset: Path | None = None
    earlier: Path | None = None


@dataclass(frozen=True, slots=True)
class CurateOutputs:
    """What is written.

    Attributes:
        report: folder of `curation.json` and `curation.md`.
        curated: manifest of the resulting dataset version.
    """

    report: Path
    curated: Path | None = None


class CurateConfig(Config):
    """What is done, in this order; what is not named is left out."""

    merge: MergeRule | None = None
    """Dataset versions that become one; the input `dataset` is the first of them, where given."""
    split: SplitRule | None = None
    """How frames are divided into splits."""
    use: Use | None = None
    """What the data is meant for: refused where the terms of the mix forbid it."""
    tag: str = ""
    """Name that the resulting version gets."""


def curate(inputs: CurateInputs, outputs: CurateOutputs, config: CurateConfig) -> Scores:
    """Merge, divide, compare and tag dataset versions; sum up the terms of the mix.

    Raises:
        ConfigError: there is nothing to work on, or the terms forbid the use.
        DataError: sources are in conflict, splits would leak, or a version cannot be read.
    """
    report: dict[str, Any] = {}
    scores: Scores = {}
    if config.merge is not None:
        dataset, report["merge"] = _merge(inputs.dataset, config.merge, config.use)
        scores |= {name: float(value) for name, value in report["merge"]["counts"].items()}
    elif inputs.dataset is not None:
        dataset = Dataset.open(Manifest.read(inputs.dataset, "dataset").reference)
    else:
        raise ConfigError("curate needs --dataset, or sources to merge (merge.sources)")
    report["licences"] = asdict(mix_terms(dataset.licences))
    if config.use is not None:
        require_permission(dataset.licences, config.use)
    if config.split is not None:
        dataset, report["split"] = divide_dataset(dataset, config.split)
        scores |= {name: float(value) for name, value in report["split"]["counts"].items()}
    if inputs.earlier is not None:
        earlier = Dataset.open(Manifest.read(inputs.earlier, "dataset").reference)
        comparison = compare_versions(earlier, dataset)
        report["comparison"] = comparison.to_json_dict()
        scores |= comparison.scores
        report["pages"] = [describe_comparison(comparison)]
    if config.tag:
        dataset.tag(config.tag)
    _write(dataset, inputs, outputs, (report, scores))
    return scores


def _merge(given: Path | None, rule: MergeRule, use: Use | None) -> tuple[Dataset, dict[str, Any]]:
    """Return the merged version; the same merge leads to the same version."""
    sources = rule.sources
    if given is not None:
        reference = Manifest.read(given, "dataset").reference
        sources = (MergeSource(reference=reference), *sources)
    parts = [open_part(source) for source in sources]
    content = [rule.to_json_dict(), [part.dataset.reference for part in parts]]
    text = json.dumps(content, sort_keys=True).encode()
    tag = f"merged-{hashlib.sha256(text).hexdigest()[:16]}"
    target = Dataset.create(rule.lake_uri)
    totals = [total.to_json_dict() for part in parts for total in count_categories(part)]
    if tag in target.tags():
        merged = Dataset.open(f"{target.uri}@{tag}")
        counts = {"merged_added": 0, "merged_present": sum(len(part.rows) for part in parts)}
        return merged, {"counts": counts, "categories": totals, "conflicts": []}
    conflicts = find_conflicts([_whole(target), *parts] if target.num_frames else parts)
    if rule.on_conflict == "refuse":
        refuse_conflicts(conflicts)
    licences = sorted({name for part in parts for name in part.dataset.licences})
    if use is not None:
        require_permission({*target.licences, *licences}, use)
    target = Dataset.create(rule.lake_uri, licences=licences)
    frames = chain.from_iterable(read_part(part) for part in parts)
    added = target.append(frames, whole=True)
    target.tag(tag)
    counts = {"merged_added": added.num_added, "merged_present": added.num_present}
    return target, {
        "counts": counts | {"merged_conflicts": len(conflicts)},
        "categories": totals,
        "conflicts": [str(conflict) for conflict in conflicts],
    }


def _whole(dataset: Dataset) -> Part:
    return open_part(MergeSource(reference=dataset.reference))


def _write(
    dataset: Dataset,
    inputs: CurateInputs,
    outputs: CurateOutputs,
    found: tuple[dict[str, Any], Scores],
) -> None:
    report, scores = found
    pages = report.pop("pages", [])
    report["dataset"] = dataset.reference
    with write_folder_atomically(outputs.report) as folder:
        write_atomically(folder / REPORT_FILE, json.dumps(report, indent=2) + "\n")
        write_atomically(folder / REPORT_PAGE, "\n".join(_render(report, pages)))
    if outputs.curated is not None:
        parent = Manifest.read(inputs.dataset, "dataset").reference if inputs.dataset else ""
        provenance = {"step": "curate", "parent": parent}
        dataset.manifest(provenance, scores).write(outputs.curated)


def _render(report: dict[str, Any], pages: list[str]) -> Iterator[str]:
    yield f"# {report['dataset']}\n"
    mix = MixedTerms(**report["licences"])
    yield f"## Terms\n\n{describe_terms(mix)}" if mix.names else "No licence is recorded.\n"
    yield from (f"* conflict: {conflict}" for conflict in mix.conflicts)
    if mix.attribution:
        yield f"* must be named: {', '.join(mix.attribution)}"
    if "merge" in report:
        yield "\n## Merged\n\n| source | category | becomes | boxes |\n|---|---|---|---:|"
        for row in report["merge"]["categories"]:
            after = row["after"] or "(left out)"
            yield f"| {row['source']} | {row['before']} | {after} | {row['num_boxes']} |"
        yield from (f"* {conflict}" for conflict in report["merge"]["conflicts"])
    if "split" in report:
        yield f"\n## Splits\n\n{describe_mix(report['split']['shares'])}"
        yield from (f"* {finding}" for finding in report["split"]["findings"])
    if pages:
        yield "\n## Compared\n"
    yield from pages
