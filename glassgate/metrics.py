"""Numbers for operators, read when they are asked for; in Prometheus' text form."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4"


@dataclass(frozen=True, slots=True)
class _Number:
    kind: Literal["counter", "gauge"]
    name: str
    meaning: str
    read: Callable[[], float]


class Metrics(Collector):
    """Register functions once; nothing is counted on the data path for this."""

    def __init__(self) -> None:
        self._numbers: list[_Number] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def counter(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A number that only grows; `name` without `_total`."""
        self._numbers.append(_Number("counter", name, meaning, read))

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        self._numbers.append(_Number("gauge", name, meaning, read))

    def collect(self) -> Iterator[Metric]:
        for number in self._numbers:
            family = CounterMetricFamily if number.kind == "counter" else GaugeMetricFamily
            metric = family(f"glassgate_{number.name}", number.meaning)
            metric.add_metric([], float(number.read()))
            yield metric

    def text(self) -> bytes:
        return generate_latest(self._registry)
