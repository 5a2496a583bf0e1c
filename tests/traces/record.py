"""Record what Xee and geemap send: run this where both are installed, beside the repository's own environment.

    python tests/traces/record.py              # or the names of some programs

Every request to the local Earth Engine that carries an expression goes into ``tests/traces/<program>.json``, in order;
``support/client_programs.py`` holds the programs; ``test_conformity_clients.py`` replays the files where the packages
are missing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from support.client_programs import PROGRAMS  # noqa: E402 - found by the path above
from support.local_ee_client import serving  # noqa: E402 - found by the path above


def main() -> None:
    sent: list[dict[str, Any]] = []
    request = requests.Session.request

    def recorded(self: Any, method: str, url: str, *arguments: Any, **more: Any) -> Any:
        body = more.get("data")
        if method == "POST" and body and b"expression" in (body.encode() if isinstance(body, str) else body):
            route = url.split("/v1/projects/")[1].split("/", 1)[1].split("?")[0]
            sent.append({"route": route, "body": json.loads(body)})
        return request(self, method, url, *arguments, **more)

    requests.Session.request = recorded
    with serving():
        for name in sys.argv[1:] or PROGRAMS:
            program = PROGRAMS[name]
            sent.clear()
            with tempfile.TemporaryDirectory() as folder:
                program.run(Path(folder))
            content = {"client": f"{program.package} {version(program.package)}", "requests": sent}
            HERE.joinpath(f"{name}.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
