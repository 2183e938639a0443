"""What a scraper reads from a server."""

from dataclasses import dataclass
from urllib.request import urlopen

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Scraped", "scrape"]


@dataclass(frozen=True)
class Scraped:
    """Every sample, by its name and labels."""

    families: tuple[Metric, ...]
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """Return one sample; KeyError if there is none with just these labels."""
        return self.samples[f"hydrazoo_{name}", frozenset(labels.items())]

    def labels(self, name: str) -> list[dict[str, str]]:
        """Return the labels of every sample of that name."""
        return [dict(labels) for found, labels in self.samples if found == f"hydrazoo_{name}"]


def scrape(address: str) -> Scraped:
    """Read the metrics once."""
    with urlopen(f"http://{address}/metrics", timeout=10) as response:
        families = tuple(text_string_to_metric_families(response.read().decode()))
    found = (sample for family in families for sample in family.samples)
    samples = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    return Scraped(families, samples)
