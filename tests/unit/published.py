"""Counts that people have published of their own servers, and the word that is right for each."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Published(NamedTuple):
    what: str
    source: str  # below https://github.com/
    sharing: Literal["shared", "reuseport"]
    counts: tuple[int, ...]  # by worker: accepted, or held, as they could be had
    word: Literal["FAIR", "UNEVEN", "TOO FEW"]


PUBLISHED: Final = (
    Published(
        "mosip before: nginx, open connections by ss",
        "mosip/mosip-infra/issues/1920",
        "shared",
        (349, 17, 4, 0, 0, 0, 0, 0),
        "UNEVEN",
    ),
    Published(
        "mosip after: the same with reuseport",
        "mosip/mosip-infra/issues/1920",
        "reuseport",
        (171, 142, 169, 153, 167, 139, 142, 156),
        "FAIR",
    ),
    Published(
        "mattermost: nginx, open connections by netstat; the first 14 workers that it lists",
        "mattermost/mattermost-load-test-ng/pull/718",
        "shared",
        (59114, 3769, 9846, 898, 98, 0, 27425, 11, 2, 0, 0, 0, 0, 0),
        "UNEVEN",
    ),
    Published(
        "pitchfork: requests, 16 workers and 4 clients",
        "Shopify/pitchfork/pull/127",
        "shared",
        (49131, 46997, 44023, 38420, 14945, 1742, 91, 12, 0, 0, 0, 1, 0, 0, 0, 0),
        "UNEVEN",
    ),
    Published(
        "gunicorn: the second of five runs of 100 requests",
        "benoitc/gunicorn/issues/2670",
        "shared",
        (3, 1, 86, 4, 4),
        "UNEVEN",
    ),
    Published(
        "gunicorn: the third run",
        "benoitc/gunicorn/issues/2670",
        "shared",
        (96, 4, 0, 0, 0),
        "UNEVEN",
    ),
    Published(
        "envoy: 2 connections on 3 workers, in 7 of 10 runs",
        "envoyproxy/envoy/issues/33707",
        "reuseport",
        (1, 1, 0),
        "TOO FEW",
    ),
    Published(
        "envoy: 2 connections on 3 workers, in 3 of 10 runs",
        "envoyproxy/envoy/issues/33707",
        "reuseport",
        (2, 0, 0),
        "TOO FEW",
    ),
    # The counts are not published, but 19, 57 and 23 % of the CPU: these are that of 17.
    Published(
        "envoy: 17 connections on 3 workers, the least even run",
        "envoyproxy/envoy/issues/33707",
        "reuseport",
        (3, 10, 4),
        "TOO FEW",
    ),
    Published(
        "envoy: 17 connections on 3 workers, the most even run: 28, 40 and 31 %",
        "envoyproxy/envoy/issues/33707",
        "reuseport",
        (5, 7, 5),
        "TOO FEW",
    ),
)
