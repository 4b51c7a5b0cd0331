"""From a bare clone to the result with eight workers, through kills and a restart; then what people look at."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.deployment.conftest import SCREENSHOTS, Deployment
from tests.workers.mlflow_tracking.conftest import record

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3000)]

TRIALS = 24
WAIT_SECONDS = 60


def shown(browser: webdriver.Chrome, name: str, *texts: str, selector: str = "body", at_least: int = 1) -> None:
    """Wait until the page shows these texts and elements, and keep a picture of it."""
    wait = WebDriverWait(browser, WAIT_SECONDS)
    for text in texts:
        wait.until(lambda driver, text=text: text in driver.find_element(By.TAG_NAME, "body").text, f"no {text!r}")
    wait.until(lambda driver: len(driver.find_elements(By.CSS_SELECTOR, selector)) >= at_least)
    browser.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


def a_worker_is_killed_at_work(deployment: Deployment, killed: set[str]) -> bool:
    """Kill the worker that began its trial last, and return whether it died before that trial had ended."""
    # A container's host name is the beginning of its id.
    host = deployment.sql(
        "SELECT w.host FROM castpool_slots s JOIN castpool_workers w USING (worker_id) "
        f"WHERE s.ended_at IS NULL AND s.lease_until > now() AND w.host <> ALL ('{{{','.join(killed)}}}') "
        "ORDER BY s.trial_id DESC LIMIT 1"
    )
    if not host:
        return False
    subprocess.run(["docker", "kill", host], check=True, capture_output=True)
    killed.add(host)
    left = deployment.sql(
        "SELECT count(*) FROM castpool_slots s JOIN castpool_workers w USING (worker_id) "
        f"WHERE w.host = '{host}' AND s.ended_at IS NULL"
    )
    return left == "1"


def test_a_bare_clone_becomes_a_result_whatever_is_killed(deployment: Deployment) -> None:
    first, second = deployment.guide_commands()
    for command in first:
        deployment.run(command.replace("docker compose exec", "docker compose exec -T"))
    deployment.wait_for(lambda: deployment.sql("SELECT count(*) FROM castpool_workers") == "8")
    assert len(deployment.run("docker compose ps --quiet worker").split()) == 8
    # At once: the study takes half a minute, and the slots of the killed keep it open for a minute more.
    killed: set[str] = set()
    for _ in range(2):
        deployment.wait_for(lambda: a_worker_is_killed_at_work(deployment, killed))
    postgres = deployment.run("docker compose ps --quiet postgres").strip()
    subprocess.run(["docker", "kill", postgres], check=True, capture_output=True)
    subprocess.run(["docker", "start", postgres], check=True, capture_output=True)
    deployment.wait_for(lambda: deployment.status()["ended"] >= 4)
    before = deployment.status()
    assert before["ended"] < TRIALS, "the study was over before everything was shut down"

    assert second[0] == "docker compose down"
    deployment.run(second[0])
    deployment.run(second[1])
    assert deployment.status()["ended"] >= before["ended"]
    for command in second[2:]:
        deployment.run(command)

    after = deployment.status()
    assert (after["ended"], after["slots"]) == (TRIALS, TRIALS)
    assert sum(after[outcome] for outcome in ("complete", "pruned", "diverged", "failed")) == TRIALS
    assert any(retry["reason"].startswith("lost: worker") for retry in after["retries"]), "two workers were killed"
    assert after["measures"]["mlflow_completeness"] == 1
    best = json.loads((deployment.folder / "castpool-out" / "demo" / "best.json").read_text())
    # The verification may choose another trial than the one of the lowest loss.
    stored = deployment.sql(
        "SELECT value FROM trial_values JOIN trials USING (trial_id) JOIN studies USING (study_id) "
        f"WHERE study_name = 'demo' AND number = {best['trial']}"
    )
    assert best["value"] == float(stored) >= after["best"]["value"]
    assert (deployment.folder / "castpool-out" / "demo" / "report.html").is_file()
    runs = record(deployment.mlflow, "demo")
    assert len(runs) == 1 + after["attempts"]


def test_workers_log_json_with_what_each_line_belongs_to(deployment: Deployment) -> None:
    logged = deployment.run("docker compose logs --no-log-prefix worker").replace("\x1b[2K", "").splitlines()
    lines = [json.loads(line) for line in logged if line]
    ended = [line for line in lines if line["event"] == "trial ended"]
    assert ended
    for line in ended:
        assert all(line[name] is not None for name in ("run_id", "study", "trial", "slot", "attempt", "worker"))
        assert {"outcome", "loss", "seconds", "timestamp", "level"} <= line.keys()


def test_the_dashboard_in_a_browser(deployment: Deployment, browser: webdriver.Chrome) -> None:
    browser.get(deployment.dashboard)
    shown(browser, "dashboard-studies", "demo")
    browser.find_element(By.PARTIAL_LINK_TEXT, "demo").click()
    # The history's plot has a point a trial.
    shown(browser, "dashboard-study", "History", selector=".js-plotly-plot .scatterlayer .point", at_least=2)
    best = deployment.status()["best"]
    browser.get(f"{deployment.dashboard}/dashboard/studies/1/trials?numbers={best['trial']}")
    shown(browser, "dashboard-trial", f"Trial {best['trial']} (", "Intermediate Values", f"\n{best['step']} ")
    shown(browser, "dashboard-trial", selector="img[src*='/artifacts/']")  # what it forecast for the last horizon
    browser.get(f"{deployment.dashboard}/dashboard/studies/1/note")
    shown(browser, "dashboard-note", "castpool tunes NHITS", "pruner", "best loss")
    browser.get(f"{deployment.dashboard}/dashboard/studies/1")
    shown(browser, "dashboard-artifacts", "report.html", "forecast.png", "model.zip")
    report = next(artifact for artifact in artifacts(deployment) if artifact["filename"] == "report.html")
    browser.get(f"{deployment.dashboard}/artifacts/1/{report['artifact_id']}")
    shown(browser, "dashboard-report", "Best loss", "Decisions", selector="#forecast .main-svg")


def artifacts(deployment: Deployment) -> list[dict[str, str]]:
    with urllib.request.urlopen(f"{deployment.dashboard}/api/studies/1") as answer:
        found: list[dict[str, str]] = json.load(answer)["artifacts"]
    return found


def test_mlflow_in_a_browser(deployment: Deployment, browser: webdriver.Chrome) -> None:
    runs = record(deployment.mlflow, "demo")
    experiment = f"{deployment.mlflow}/#/experiments/1"
    browser.get(f"{experiment}/runs")
    shown(browser, "mlflow-runs", "demo")
    browser.get(f"{experiment}/runs/{runs['demo']['id']}")
    shown(browser, "mlflow-study", "demo", "best_loss", "horizon")
    # Of a killed attempt nothing may be recorded: the best trial has all there is to show.
    best = f"trial {deployment.status()['best']['trial']}"
    browser.get(f"{experiment}/runs/{runs[best]['id']}")
    shown(browser, "mlflow-trial", best, "validation_loss", "duration_training_seconds", "Parent run")
    browser.get(f"{experiment}/runs/{runs[best]['id']}/model-metrics")
    shown(browser, "mlflow-metrics", "validation_loss", selector=".js-plotly-plot .main-svg")
    browser.get(f"{deployment.mlflow}/#/models/demo")
    shown(browser, "mlflow-model", "Version 1", "champion")


def test_measures_are_served_to_prometheus_while_the_result_is_awaited(deployment: Deployment) -> None:
    deployment.run("docker compose up --detach result")
    url = f"http://127.0.0.1:{deployment.ports['CASTPOOL_METRICS_PORT']}/metrics"
    read = ""

    def answers() -> bool:
        nonlocal read
        try:
            read = urllib.request.urlopen(url, timeout=5).read().decode()
        except OSError:
            return False
        return True

    deployment.wait_for(answers, 120)
    assert re.search(r'^castpool_slots\{study="demo"\} 24', read, re.MULTILINE)
    assert re.search(r'^castpool_slots_open\{study="demo"\} 0', read, re.MULTILINE)


def test_the_password_is_nowhere_but_in_its_secret(deployment: Deployment) -> None:
    canary = deployment.canary
    assert canary in (deployment.folder / ".env").read_text()
    said = {
        "logs": deployment.run("docker compose logs"),
        "configuration": deployment.run(
            "docker inspect $(docker compose ps --all --quiet) --format '{{json .Config}}'"
        ),
        "history": deployment.run("docker history --no-trunc castpool"),
        "processes": "".join(
            deployment.run(f"docker top {container} -eo pid,args")
            for container in deployment.run("docker compose ps --quiet").split()
        ),
        "status": json.dumps(deployment.status()),
        "dump": deployment.run("docker compose exec -T postgres pg_dump -U castpool --inserts castpool"),
        "image": deployment.run(
            f"docker run --rm --entrypoint sh castpool -c 'env; grep -r {canary} /opt /home /etc || true'"
        ),
    }
    assert [name for name, text in said.items() if canary in text] == []
    assert "trial_user_attributes" in said["dump"]
    for path in deployment.folder.rglob("castpool-out/**/*"):
        if path.is_file():
            assert canary.encode() not in path.read_bytes(), path


def test_ports_are_open_on_this_machine_alone(deployment: Deployment) -> None:
    bound = deployment.run("docker compose ps --format '{{.Ports}}'")
    assert not re.search(r"(0\.0\.0\.0|\[::\]):\d+->", bound), bound
    assert "127.0.0.1" in bound
