"""The README as package indexes show it: with links to a repository, where one is known.

They show no file beside it. `make dist URL=https://github.com/OWNER/accepttrace` sets the variable
REPOSITORY_URL; without it links stay as they are, and the package has no project URLs.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ReadmeHook(MetadataHookInterface):
    """Sets `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        url = os.environ.get("REPOSITORY_URL", "").rstrip("/")
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        tag = f"v{metadata['version']}"
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, url, tag) if url else text,
        }
        metadata["urls"] = project_urls(url) if url else {}


def absolute(text: str, url: str, tag: str) -> str:
    """Links to files, and images, as at this tag of the repository."""
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:|#)", rf"\g<1>{url}/raw/{tag}/", text)
    return re.sub(r"((?<!!)\[[^]]*\]\()(?!https?:|#)", rf"\g<1>{url}/blob/{tag}/", text)


def project_urls(url: str) -> dict[str, str]:
    """As an index lists them."""
    return {
        "Homepage": url,
        "Documentation": f"{url}/tree/HEAD/docs",
        "Changelog": f"{url}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{url}/issues",
    }
