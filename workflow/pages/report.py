"""Report: ``report/index.html``, the page that sets what was built, trained and scored beside the paper's numbers.

Reads what the stages left on disk, computes nothing that they did not. Pictures are inside the page: it is one file.
Beside it: ``verdicts.json``, and the tables as ``tables.md`` and ``tables.csv``. A page whose inputs have not changed
is not made again (``unchanged``).
"""

from __future__ import annotations

from pathlib import Path

from ...pipeline.dataset.root import DataRoot
from ...pipeline.files.atomic import write_if_changed
from ...pipeline.progress import Progress
from .unchanged import Made, inputs_of


def write_report(root: DataRoot, *, progress: Progress) -> Path:
    """Write ``report/index.html`` of a data root; its path. Runs that cannot be read are named, there and here.

    Raises:
        DataError: the root holds no data set.
    """
    path, inputs = root.report_page, inputs_of(root)
    made = Made.read(path)
    if made is None or not made.holds(path, inputs):
        with progress.stage("Writing the report", None, unit="pages") as step:
            made = _write(root, path, inputs)
            step.advance()
    else:
        progress.say(f"{path} is up to date")
    for name, sentences in made.faults.items():
        progress.say(f"run {name}: {'; '.join(sentences)}")
    return path


def _write(root: DataRoot, path: Path, inputs: str) -> Made:
    # Imported here: a page that has not changed is found without the libraries that make one, which take seconds.
    from ..reproduction.document import write_verdicts
    from .content import content_of, tables_file
    from .html import render
    from .sections.tables import as_csv, as_markdown

    content = content_of(root)
    verdicts = content["verdicts"]
    write_if_changed(path, render("report.html.j2", content))
    written = [path]
    if verdicts:
        for kind, text in (("md", as_markdown(verdicts, mark=content["mark"])), ("csv", as_csv(verdicts))):
            write_if_changed(tables_file(path, kind), text.encode())
            written.append(tables_file(path, kind))
        written.append(write_verdicts(root, verdicts))
    return Made.of(inputs, written, content["faults"]).write(path)
