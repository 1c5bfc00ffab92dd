"""Reference pages, written from the code: one per step, the rules, the open datasets."""

import dataclasses
import inspect
from pathlib import Path

from pydantic import BaseModel

from admlops.catalogue.entry import DatasetEntry
from admlops.catalogue.licences import LicenceTerms, licence_table
from admlops.catalogue.reading import load_catalogue
from admlops.checks.rules import RULES
from admlops.files import write_atomically
from admlops.steps.step import STEPS, Step, load_step


def write_reference(folder: Path) -> list[Path]:
    """Write all pages below `folder` and return their paths."""
    pages = {"rules.md": rules_page(), "catalogue.md": catalogue_page()}
    pages |= {f"{word}.md": step_page(load_step(word)) for word in STEPS}
    for name, text in pages.items():
        write_atomically(folder / name, text)
    return [folder / name for name in sorted(pages)]


def step_page(step: Step) -> str:
    """Return the Markdown page of a step: what it does, its paths, its fields, its scores."""
    summary = STEPS[step.word]
    lines = [
        f"# {step.word}",
        "",
        f"{summary.summary} Runs in the `{summary.stage}` image.",
        "",
        inspect.getdoc(step.run) or "",
        "",
        "| path | role | needed |",
        "|---|---|---|",
    ]
    for role, kind in (("input", step.inputs_type), ("output", step.outputs_type)):
        for field in dataclasses.fields(kind):
            needed = "yes" if field.default is dataclasses.MISSING else "no"
            lines.append(f"| `{field.name}` | {role} | {needed} |")
    lines += ["", *_config_tables(step.config_type, set())]
    return "\n".join(lines).rstrip() + "\n"


def _config_tables(kind: type[BaseModel], done: set[type[BaseModel]]) -> list[str]:
    done.add(kind)
    lines = [f"## {kind.__name__}", ""]
    if kind.__doc__:
        lines += [inspect.getdoc(kind) or "", ""]
    if kind.model_fields:
        lines += ["| field | default | meaning |", "|---|---|---|"]
    inner: list[type[BaseModel]] = []
    for name, field in kind.model_fields.items():
        default = (
            "required"
            if field.is_required()
            else f"`{_short(field.get_default(call_default_factory=True))}`"
        )
        lines.append(f"| `{name}` | {default} | {' '.join((field.description or '').split())} |")
        inner += _configs_in(field.annotation)
    lines.append("")
    for other in inner:
        if other not in done:
            lines += _config_tables(other, done)
    return lines


def _short(value: object) -> str:
    text = type(value).__name__ + "()" if isinstance(value, BaseModel) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _configs_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in getattr(annotation, "__args__", ()) for kind in _configs_in(part)]


def rules_page() -> str:
    """Return the Markdown table of rules."""
    lines = [
        "# Rules",
        "",
        "| rule | severity | what must hold | how to mend |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{rule.rule_id}` | {rule.severity} | {rule.statement} | {rule.mend} |"
        for rule in sorted(RULES.values(), key=lambda rule: rule.rule_id)
    ]
    return "\n".join(lines) + "\n"


def catalogue_page() -> str:
    """Return the Markdown page of open datasets and of licence terms."""
    lines = [
        "# Open datasets",
        "",
        "From `src/admlops/catalogue/`; `admlops collect show NAME` prints all, with sources.",
        "",
        "| name | dataset | labelled for | scenes | frames | terms | ingest | download |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_dataset_row(entry) for entry in load_catalogue().values()]
    lines += [
        "",
        "A `?` is a fact for which no source was found, or that has no single answer; the entry",
        "says why.",
        "",
        "# Licence terms",
        "",
        "| name | licence | commercial use | passing data on | share alike | name the source |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_licence_row(terms) for terms in licence_table().values()]
    return "\n".join(lines) + "\n"


def _dataset_row(entry: DatasetEntry) -> str:
    counts = ("?" if n is None else f"{n:,}" for n in (entry.size.scenes, entry.size.frames))
    cells = [
        f"`{entry.name}`",
        f"[{entry.title}]({entry.home})",
        ", ".join(entry.tasks),
        *counts,
        f"[{', '.join(entry.licences)}]({entry.terms_url})",
        f"`{entry.format}`" if entry.format else "no",
        "`fetch`" if entry.fetchable else "by hand",
    ]
    return f"| {' | '.join(cells)} |"


def _licence_row(terms: LicenceTerms) -> str:
    answers = {True: "yes", False: "no", None: "?"}
    facts = (terms.commercial, terms.redistribution, terms.share_alike, terms.attribution)
    cells = [f"`{terms.name}`", f"[{terms.title}]({terms.url})"]
    cells += [answers[fact] for fact in facts]
    return f"| {' | '.join(cells)} |"
