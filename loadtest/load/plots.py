"""Plots of a run as SVG, drawn without a display."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.load.watching import Sample

_SIZE_IN = (8.5, 2.6)


def draw_plots(samples: Sequence[Sample], disk: Mapping[str, float]) -> dict[str, str]:
    """SVG by title; `disk` is bytes per event by table. Nothing is drawn of an empty run."""
    if not samples:
        return {}
    drawings: dict[str, Callable[[Axes], None]] = {
        "Throughput, events a second": lambda axes: _throughput(axes, samples),
        "Lag, events that are due and not durable": lambda axes: _lag(axes, samples),
        "Latency by second, ms": lambda axes: _latency(axes, samples),
        "Producer behind its schedule, ms": lambda axes: _behind(axes, samples),
        "Memory by process, MiB": lambda axes: _memory(axes, samples),
        "Bytes on disk per event": lambda axes: _disk(axes, disk),
    }
    return {title: _drawn(draw) for title, draw in drawings.items()}


def _drawn(draw: Callable[[Axes], None]) -> str:
    # Text as text, and the same ids every time: the file is small and can be compared.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "loadtest", "font.size": 8}):
        figure = Figure(figsize=_SIZE_IN, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.grid(visible=True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _times(samples: Sequence[Sample]) -> list[float]:
    return [sample.at_s for sample in samples]


def _throughput(axes: Axes, samples: Sequence[Sample]) -> None:
    for name in ("due", "sent", "durable"):
        axes.plot(_times(samples)[1:], _per_second(samples, name), label=name, linewidth=1)
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")


def _per_second(samples: Sequence[Sample], name: str) -> list[float]:
    return [
        (getattr(later, name) - getattr(earlier, name)) / max(later.at_s - earlier.at_s, 1e-3)
        for earlier, later in pairwise(samples)
    ]


def _lag(axes: Axes, samples: Sequence[Sample]) -> None:
    axes.fill_between(_times(samples), [sample.lag for sample in samples], alpha=0.5)
    axes.set_ylim(bottom=0)


def _latency(axes: Axes, samples: Sequence[Sample]) -> None:
    for name in ("p50_ms", "p99_ms", "max_ms"):
        values = [getattr(sample, name) for sample in samples]
        axes.plot(_times(samples), values, label=name.removesuffix("_ms"), linewidth=1)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")


def _behind(axes: Axes, samples: Sequence[Sample]) -> None:
    axes.plot(_times(samples), [sample.behind_ms for sample in samples], linewidth=1)
    axes.set_ylim(bottom=0)


def _memory(axes: Axes, samples: Sequence[Sample]) -> None:
    names = {name: None for sample in samples for name in sample.memory}
    for name in names:
        sizes = [sample.memory.get(name, 0) / 2**20 for sample in samples]
        axes.plot(_times(samples), sizes, label=name, linewidth=1)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", ncols=3)


def _disk(axes: Axes, disk: Mapping[str, float]) -> None:
    axes.barh(list(disk), list(disk.values()))
    axes.invert_yaxis()
