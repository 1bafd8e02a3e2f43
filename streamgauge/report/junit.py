"""The run as JUnit XML, for continuous integration servers that know nothing else.

There is no standard, only what Jenkins, GitLab and the GitHub actions agree on: suites of cases
with `failure`, `error` or `skipped` inside. A warning must not turn a build red, so it is a passed
case whose output says what was found.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from ..results import CheckResult, RunResult, Verdict
from .data import WORDS, Section, evidence, found_of, sections, visible

_SKIPPED = (Verdict.COULD_NOT_TEST, Verdict.NOT_APPLICABLE, Verdict.NOT_RUN)
_ATTRIBUTE_CHARS_MAX = 1_000
"""Servers show the `message` attribute in lists: it stays short, the text below is whole."""


def junit_xml(run: RunResult) -> str:
    """One suite per section, one case per check."""
    root = ET.Element("testsuites", {"name": "streamgauge", **_totals(run.checks)})
    root.set("time", f"{run.duration_s:.3f}")
    for section in sections(run):
        root.append(_suite(section, run))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _suite(section: Section, run: RunResult) -> ET.Element:
    attributes = {
        "name": _attribute(f"{section.id} {section.title}"),
        # The schema that Jenkins checks against knows no zone and no fraction.
        "timestamp": _attribute(run.started[:19]),
        "hostname": _attribute(run.target),
        "time": f"{sum(check.duration_s for check in section.checks):.3f}",
    }
    suite = ET.Element("testsuite", attributes | _totals(section.checks))
    for check in section.checks:
        suite.append(_case(check))
    return suite


def _case(check: CheckResult) -> ET.Element:
    requirement = check.requirement
    case = ET.Element(
        "testcase",
        classname=_attribute(f"conformance.{requirement.section}"),
        name=_attribute(f"{requirement.id} {requirement.title}"),
        time=f"{check.duration_s:.3f}",
    )
    if check.is_known_failure:
        ET.SubElement(case, "skipped", message=_attribute(found_of(check)))
    elif check.verdict is Verdict.FAIL:
        _child(case, "failure", check, _details(check))
    elif check.verdict is Verdict.ERROR:
        _child(case, "error", check, _details(check))
    elif check.verdict in _SKIPPED:
        reason = f"{WORDS[check.verdict]}: {check.message}"
        ET.SubElement(case, "skipped", message=_attribute(reason))
    elif check.verdict is Verdict.WARN:
        ET.SubElement(case, "system-out").text = _text(f"warning: {_details(check)}")
    return case


def _child(case: ET.Element, tag: str, check: CheckResult, text: str) -> None:
    child = ET.SubElement(
        case, tag, type=check.requirement.level.value, message=_attribute(check.message)
    )
    child.text = _text(text)


def _details(check: CheckResult) -> str:
    requirement = check.requirement
    parts = [
        check.message,
        f"Rule: {requirement.rule} ({requirement.level.value}; {requirement.source})",
        f"Evidence: {evidence(check)}",
        f"To change: {requirement.cure}",
    ]
    if check.explanation is not None:
        parts.append(f"Likely cause: {check.explanation.what}. {check.explanation.advice}")
    if check.reproduce:
        parts.append(f"Reproduce:\n{check.reproduce}")
    return "\n".join(parts)


def _totals(checks: tuple[CheckResult, ...]) -> dict[str, str]:
    verdicts = [check.verdict for check in checks if not check.is_known_failure]
    known = len(checks) - len(verdicts)
    return {
        "tests": str(len(checks)),
        "failures": str(verdicts.count(Verdict.FAIL)),
        "errors": str(verdicts.count(Verdict.ERROR)),
        "skipped": str(known + sum(verdict in _SKIPPED for verdict in verdicts)),
    }


def _attribute(text: str) -> str:
    return _text(text, _ATTRIBUTE_CHARS_MAX).replace("\n", " ")


def _text(text: str, limit: int = 32_000) -> str:
    """`visible` leaves only what Unicode calls printable, all of which XML 1.0 allows."""
    return visible(text, limit)
