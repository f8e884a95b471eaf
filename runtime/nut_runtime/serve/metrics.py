"""What Prometheus reads."""

import re
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from nut_runtime import __version__
from nut_runtime.health import Health
from nut_runtime.serve.live_state import Distribution, LiveState

__all__ = ["MetricsPage"]


class MetricsPage(Collector):
    """Reads everything at the moment that it is asked for; nothing is counted twice.

    Args:
        live: Verdicts, times and scores.
        health: Components, counters and gauges.
    """

    def __init__(self, live: LiveState, health: Health) -> None:
        self._live = live
        self._health = health
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Return all of it in the text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Give each family, called by the registry."""
        seen: set[str] = set()
        for family in self._families():
            if family.name not in seen:  # two names of counters may come to the same
                seen.add(family.name)
                yield family

    def _families(self) -> Iterator[Metric]:
        counts, latency, scores = self._live.tally()
        info = {"version": __version__, "station": self._live.station}
        yield InfoMetricFamily("nut_runtime", "What runs here.", value=_labels(info))
        verdicts = CounterMetricFamily("nut_verdicts", "Parts by verdict.", labels=["label", "reason"])
        for (label, reason), number in sorted(counts.items()):
            verdicts.add_metric([label, reason], number)
        yield verdicts
        yield _histogram("nut_latency_seconds", "From trigger or capture to the verdict.", latency)
        yield _histogram("nut_score", "Normalised scores, the threshold at 0.5.", scores)
        well = GaugeMetricFamily("nut_component_ok", "1 where a camera, an output or the model works.", labels=["name"])
        for name, component in self._health.components().items():
            well.add_metric([_text(name)], float(component.is_well))
        yield well
        for name, number in self._health.counters().items():
            yield CounterMetricFamily(f"nut_{_name(name)}", f"Counter {_text(name)}.", value=number)
        for name, value in self._health.gauges().items():
            yield GaugeMetricFamily(f"nut_{_name(name)}", f"Gauge {_text(name)}.", value=value)


def _histogram(name: str, what: str, distribution: Distribution) -> HistogramMetricFamily:
    buckets, below = [], 0
    for bound, count in zip((*distribution.bounds, float("inf")), distribution.counts, strict=True):
        below += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), float(below)))
    return HistogramMetricFamily(name, what, buckets=buckets, sum_value=distribution.total)


def _name(name: str) -> str:
    """Return what Prometheus takes as a name."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"


def _text(text: str) -> str:
    return text.encode(errors="replace").decode()


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: _text(value) for name, value in labels.items()}
