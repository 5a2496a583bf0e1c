"""The report in a browser: nothing sticks out of a telephone or a screen, and no table is cut.

Skipped where no Chromium is installed.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.progress import Silent
from dwplus.workflow.pages.report import write_report
from support.fixture_types import LayOut
from support.report_parts import without_costs
from support.runs import fresh_run, lay_out

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)

MEASURED = """<script>addEventListener("load", () => {
const wide = document.documentElement.scrollWidth - innerWidth;
const out = [...document.querySelectorAll("body *")].filter(e =>
  !e.closest(".scroll") && !e.closest("svg") && e.getBoundingClientRect().right > innerWidth + 1);
const cut = [...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth + 1).map(
  e => e.firstElementChild);
const named = [...out, ...cut].map(e => e.tagName + "." + e.className).slice(0, 5);
parent.postMessage(`measured ${innerWidth} ${wide} ${named}`, "*");
});</script></body>"""

FRAME = """<title>nothing</title><body style="margin:0"><script>onmessage = e => { document.title = e.data; }</script>
<iframe src="page.html" style="width:WIDTHpx;height:900px;border:0"></iframe></body>"""
"""Chromium's own window is never narrower than 500 px."""


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
@pytest.mark.slow  # a browser takes seconds to start
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_of_the_page(
    data_root: LayOut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    without_costs(monkeypatch)
    root = data_root(train=2, test=2, size=32)
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    lay_out(fresh_run(root, "a-run-with-a-name-that-is-longer-than-any-column-of-a-table-can-be"), root.runs)
    page, frame = tmp_path / "page.html", tmp_path / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    page.write_text(write_report(root, progress=Silent()).read_text().replace("</body>", MEASURED))

    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, "--window-size=1400,900", "--virtual-time-budget=5000", "--dump-dom", frame.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout

    title = re.search(r"<title>measured (\d+) (-?\d+) (.*?)</title>", found)
    if title is None:
        pytest.skip("this Chromium shows no page")
    assert int(title[1]) == width
    assert int(title[2]) <= 0, f"the page is wider than {title[1]} px"
    assert title[3] == ""
