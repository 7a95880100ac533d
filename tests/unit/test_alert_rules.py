"""Every rule of alerts is sound, tested for firing and silence, and leads to a page that helps."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_docs import _anchors, declared_metrics

from deploy.localstack.squeezed import squeezed

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = sorted((REPOSITORY / "alerts" / "rules").glob("*.yml"))
CASES = sorted((REPOSITORY / "alerts" / "rules" / "tests").glob("*.yml"))
RUNBOOK = REPOSITORY / "docs" / "runbook.md"
ALERTMANAGER = REPOSITORY / "deploy" / "alertmanager" / "alertmanager.yml"
#: Declared by the process that archives; see its own page.
OTHER_METRICS = re.compile(r"meterline_archive_")


def program(name: str) -> str:
    """Path of a program of the Debian packages prometheus and prometheus-alertmanager."""
    found = shutil.which(name)
    assert found, (
        f"{name} is missing: run `bash deploy/localstack/ensure_servers.sh`, or install it"
    )
    return found


def run(*command: str) -> str:
    """What a program says, errors included; it has to succeed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def rules() -> list[dict[str, Any]]:
    """Every rule of every file."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def test_the_rules_are_sound() -> None:
    assert len(RULES) >= 5
    run(program("promtool"), "check", "rules", *map(str, RULES))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_alerts_fire_and_are_silent_as_their_cases_say(case: Path) -> None:
    assert "SUCCESS" in run(program("promtool"), "test", "rules", str(case))


def test_a_case_that_expects_something_else_is_red(tmp_path: Path) -> None:
    """The guard is not asleep: with a threshold changed, the cases fail."""
    folder = tmp_path / "rules" / "tests"
    folder.mkdir(parents=True)
    for path in RULES:
        text = path.read_text().replace('{check="totals"}) > 0', '{check="totals"}) > 5')
        (tmp_path / "rules" / path.name).write_text(text)
    shutil.copy(next(case for case in CASES if case.stem == "money"), folder)
    with pytest.raises(AssertionError, match="MeterlineTotalsDrift"):
        run(program("promtool"), "test", "rules", str(folder / "money.yml"))


@pytest.mark.parametrize("wanted", ["fires", "is silent"])
def test_every_alert_has_a_case_in_which_it(wanted: str) -> None:
    tested = {
        expected["alertname"]
        for path in CASES
        for case in yaml.safe_load(path.read_text())["tests"]
        for expected in case["alert_rule_test"]
        if bool(expected["exp_alerts"]) == (wanted == "fires")
    }
    assert tested == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_it_saw_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    summary = rule["annotations"]["summary"]
    assert "$value" in summary or "absent(" in rule["expr"]
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
    section = RUNBOOK.read_text().partition(f"\n### {name}\n")[2].partition("\n#")[0]
    for part in ("*Meaning.*", "*First query.*", "*Safe action.*"):
        assert part in section.replace("\n", " "), f"docs/runbook.md, {name}: expected {part}"


def test_the_runbook_has_no_heading_without_an_alert() -> None:
    headings = re.findall(r"^### (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert set(headings) == set(ALERTS)
    assert {name.lower() for name in ALERTS} <= set(_anchors(RUNBOOK.read_text()))


def test_rules_ask_only_for_metrics_that_are_declared() -> None:
    known = {row[0] for row in declared_metrics()}
    for rule in rules():
        for name in re.findall(r"(?<!:)\bmeterline_\w+", rule["expr"]):
            bare = re.sub(r"_(bucket|sum|count)$", "", name)
            assert bare in known or OTHER_METRICS.match(bare), f"{rule}: {name}"


def test_recorded_series_that_are_asked_for_are_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = {
        name for rule in rules() for name in re.findall(r"\bmeterline:[\w:]+", rule["expr"])
    } | set(re.findall(r"\bmeterline:[\w:]+", RUNBOOK.read_text()))
    assert asked <= recorded


def test_the_configurations_are_sound() -> None:
    assert "SUCCESS" in run(program("amtool"), "check-config", str(ALERTMANAGER))
    config = REPOSITORY / "deploy" / "prometheus" / "prometheus.yml"
    found = run(program("promtool"), "check", "config", str(config))
    assert "5 rule files found" in found


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("severity=critical area=pipeline", "page"),
        ("severity=critical area=money", "page,finance"),
        ("severity=critical area=usage", "page"),
        ("severity=critical area=slo", "page"),
        ("severity=warning area=pipeline", "pipeline"),
        ("severity=warning area=money", "finance"),
        ("severity=warning area=usage", "usage"),
        ("severity=info area=usage", "usage"),
        ("severity=warning area=slo", "pipeline"),
    ],
)
def test_an_alert_reaches_those_whom_it_concerns(labels: str, receivers: str) -> None:
    found = run(
        program("amtool"), "config", "routes", "test", "--config.file", str(ALERTMANAGER),
        *labels.split(),
    )  # fmt: skip
    assert found.splitlines()[-1] == receivers


def test_what_is_kept_back_and_what_keeps_it_back_are_alerts_of_ours() -> None:
    """A name that is mistyped in a matcher would keep nothing back, and say nothing."""
    for rule in yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = matcher.split("=", 1)[1].lstrip("~ ").strip('" ')
            matched = {name for name in ALERTS if re.fullmatch(pattern, name)}
            alternatives = pattern.count("|") + 1
            assert len(matched) == alternatives, matcher


@pytest.mark.parametrize(
    ("text", "shorter"),
    [
        ("for: 30s", "for: 2000ms"),
        ("rate(x[5m]) > 30", "rate(x[20000ms]) > 30"),
        ("group_wait: 10s", "group_wait: 666ms"),
        ("labels: {severity: warning}", "labels: {severity: warning}"),
        ("max_over_time(x[1d])", "max_over_time(x[5760000ms])"),
    ],
)
def test_everything_that_waits_is_squeezed_by_one_factor(text: str, shorter: str) -> None:
    assert squeezed(text, 15) == shorter
    assert squeezed(text, 1) == text


def test_squeezed_rules_are_rules() -> None:
    for path in RULES:
        fresh = squeezed(path.read_text(), 15)
        assert len(re.findall(r"\d+ms\b", fresh)) == len(
            re.findall(r"(?:: |\[)\d+[smhd]\b", path.read_text())
        )
