from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "log2(batch_size)": IntDistribution(4, 8),
    "rank(moving_avg_window)": IntDistribution(0, 3),
    "scaler_type": CategoricalDistribution([None, "robust"]),
}
WINDOWS = (3, 25, 51, 101)
VOID = {"meta", "br", "img", "input", "link", "hr"}
MALICE = "<script>alert(1)</script><img src=x onerror=alert(2)>'\""
SECTIONS = [
    "Forecast",
    "Configuration",
    "Decisions",
    "Optimization history",
    "Loss during training",
    "Hyper-parameter importance",
    "Parallel coordinates",
    "Loss by parameter",
    "Timeline",
    "Trials",
]


class Page(HTMLParser):
    """A page as a strict reader sees it: every tag closed, and the text of each element by its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.setdefault(self.open[-1], []).append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(text for tag, own in self.texts.items() if tag not in ("script", "style") for text in own)

    @property
    def data(self) -> Any:
        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        [data] = [own for own in self.texts["script"] if own.startswith('{"template"')]
        return json.loads(data, parse_constant=refuse)

    def section(self, title: str) -> str:
        """Return the text of a section, from its heading to the next."""
        words = self.text_in_order
        start = words.index(title)
        ends = [words.index(own) for own in SECTIONS if words.index(own) > start]
        return " ".join(words[start + 1 : min(ends, default=len(words))])

    @property
    def text_in_order(self) -> list[str]:
        return self._ordered


class OrderedPage(Page):
    def __init__(self, html: str) -> None:
        self._ordered: list[str] = []
        super().__init__(html)

    def handle_data(self, data: str) -> None:
        super().handle_data(data)
        if data.strip() and self.open[-1] not in ("script", "style", "title"):
            self._ordered.append(data.strip())
