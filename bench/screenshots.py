"""The picture of the README, from a real run: nginx under load, traced. `make screenshots`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from accepttrace.config import Config, Filters
from accepttrace.lab.clients import Plan
from accepttrace.lab.load import Load
from accepttrace.lab.nginx import REQUEST, Nginx
from accepttrace.run.tcp import TcpSubject
from accepttrace.views.svg import export_svg
from accepttrace.views.table import render

WIDTH, HEIGHT = 110, 16
SECONDS = 6


def main(folder: Path) -> None:
    """Writes live.svg into `folder`."""
    with Nginx(4, reuseport=True, port=8080) as nginx:
        config = Config(filters=Filters(ports=frozenset({nginx.port})))
        plan = Plan(duration_s=SECONDS + 2, rate=2000, concurrency=16, request=REQUEST)
        with TcpSubject(config) as subject, Load(nginx.addresses, plan):
            for _ in range(SECONDS):
                time.sleep(1)
                snapshot = subject.refresh()
    picture = export_svg(
        render(snapshot, WIDTH, HEIGHT), f"sudo accepttrace --port {nginx.port}", WIDTH
    )
    (folder / "live.svg").write_text(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
