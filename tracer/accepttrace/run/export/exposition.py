"""Metrics as text, in the form that a scraper asks for: the only user of prometheus_client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder

from accepttrace.model.totals import Naming
from accepttrace.views.metrics import METRICS, Histogram, Metric, Sample, Summary

_FAMILIES: Final[dict[str, Any]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
    "summary": SummaryMetricFamily,
}


class _Reading:
    """What an encoder collects: the samples, and what the process costs (`process_…`)."""

    def __init__(self, samples: Sequence[Sample], naming: Naming) -> None:
        self._samples, self._naming = samples, naming

    def collect(self) -> Iterator[Any]:
        by_metric: dict[Metric, list[Sample]] = {metric: [] for metric in METRICS}
        for sample in self._samples:
            by_metric[sample.metric].append(sample)
        for metric, samples in by_metric.items():
            if samples:
                yield _family(metric, samples, self._naming)
        yield from ProcessCollector(registry=None).collect()


def _family(metric: Metric, samples: Iterable[Sample], naming: Naming) -> Any:
    make = _FAMILIES[metric.kind]
    family = make(metric.name, metric.help, labels=metric.label_names(naming))
    for _, labels, value in samples:
        if isinstance(value, Histogram):
            family.add_metric(labels, value.buckets, value.sum)
        elif isinstance(value, Summary):
            family.add_metric(labels, value.number, value.sum)
        else:
            family.add_metric(labels, value)
    return family


def content_type(accept: str) -> str:
    """What a scraper gets that sends this `Accept`."""
    return str(choose_encoder(accept)[1])


def text(samples: Sequence[Sample], naming: Naming, accept: str) -> bytes:
    """All of them, in that form."""
    encode = choose_encoder(accept)[0]
    return bytes(encode(_Reading(samples, naming)))
