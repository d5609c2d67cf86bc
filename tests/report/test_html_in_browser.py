"""The page of a report, clicked in headless Chromium; skipped where there is none."""

import html
import json
import re
import shutil
import subprocess

import pytest

from report.test_html import write_evaluation, write_run
from segtrain.report.html import render

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on the PATH")

NAMES = ("wall", "door", "roof")
# What a person does, and what the page then shows; put into the page's title.
CLICKS = """
const errors = [];
window.onerror = (message) => errors.push(message);
const found = {};
const rows = () => [...document.querySelectorAll("#class-table tbody tr")];
const names = () => rows().map((row) => Number(row.cells[1].dataset.value));
document.querySelectorAll("#class-table th button")[1].click();
found.descending = names();
document.querySelectorAll("#class-table th button")[1].click();
found.ascending = names();
const slider = document.querySelector(".stack input");
slider.value = 80; slider.dispatchEvent(new Event("input"));
found.split = slider.parentElement.style.getPropertyValue("--split");
const search = document.getElementById("search");
search.value = "i3"; search.dispatchEvent(new Event("input"));
found.shown = [...document.querySelectorAll(".card:not(.hidden) b")].map((each) => each.textContent);
search.value = ""; search.dispatchEvent(new Event("input"));
const order = () => [...document.querySelectorAll(".card b")].map((each) => each.textContent);
found.worst = order();
document.querySelector("[data-order=best]").click();
found.best = order();
document.getElementById("theme").click();
found.theme = document.documentElement.dataset.theme;
const config = document.getElementById("config-search");
config.value = "loss"; config.dispatchEvent(new Event("input"));
found.config = document.getElementById("config").textContent;
found.requests = performance.getEntriesByType("resource").filter((each) => !each.name.startsWith("data:")).length;
found.errors = errors;
document.title = JSON.stringify(found);
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    page = render(write_run(folder, NAMES), write_evaluation(folder, names=NAMES, prefix="i"))
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>(() => {{{CLICKS}}})()</script></body>"))
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", f"file://{path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Content Security Policy" not in done.stderr and "CONSOLE" not in done.stderr
    return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[1]))


def test_a_click_on_a_heading_sorts_the_classes(seen):
    assert seen["descending"] == sorted(seen["descending"], reverse=True)
    assert seen["ascending"] == sorted(seen["ascending"]) and len(set(seen["ascending"])) == 3


def test_the_handle_moves_the_border_between_labels_and_prediction(seen):
    assert seen["split"] == "80%"


def test_search_and_order_change_the_gallery(seen):
    assert seen["shown"] == ["i3"]
    assert seen["best"] == seen["worst"][::-1] and seen["worst"][0] == "i0"


def test_the_theme_and_the_config_search_work(seen):
    assert seen["theme"] in ("dark", "light") and seen["config"].startswith("loss: ") and "name" not in seen["config"]


def test_the_console_is_empty_and_nothing_is_requested(seen):
    assert seen["errors"] == [] and seen["requests"] == 0
