"""The report as Markdown, and its pictures."""

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import gdfast as gd
from gdfast import _formatting

from .curves import Curve, Threads
from .limit import bandwidth
from .race import BACKENDS, Entry, Outcome
from .rival import Rival

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEMPLATE = Path(__file__).parents[2] / "docs" / "performance.md"
# The measured sections of the page, and the pictures that end them: file and what it shows.
SECTIONS: dict[str, dict[str, str]] = {
    "machine": {},
    "targets": {"limit": "The share of the speed at which memory is read, on each line."},
    "other targets": {"threads": "How many times as fast a full batch is with two threads."},
    "rivals": {},
    "ahead": {},
    "notes": {},
    "curves": {
        "features": "Time per sample over the number of features.",
        "rows": "Time per sample over the number of rows, with 20 features.",
    },
    "contract": {"contract": "How much more time the contract takes, on each line."},
}
MARKS = "<!-- {0} -->\n", "\n<!-- end of {0} -->"
PRICE, SPEEDUP = 0.05, 1.8  # targets that the pictures show, too
# The target of a backend on its worst line: so many times as fast as another, on the lines of this name.
BACKEND_TARGETS = [
    ("numba as fast as cpp", "numba", "cpp", 0.8, ""),
    ("numpy as fast as the Python loop", "numpy", "Python loop", 5, "per sample"),
    ("numpy as fast as two calls of BLAS", "numpy", "NumPy loop", 1 / 3, "full batch"),
]


@dataclass
class Report:
    """What a run has measured; what was not asked for is empty."""

    rivals: Sequence[Rival]
    scale: float
    rounds: int
    outcomes: list[Outcome] = field(default_factory=list)
    imports: dict[str, list[float]] = field(default_factory=dict)
    first_fits: dict[str, list[float]] = field(default_factory=dict)
    prices: dict[str, tuple[float, float]] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)
    threads: list[Threads] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        of_lines = [error for outcome in self.outcomes for error in outcome.errors]
        return of_lines + [error for curve in self.curves for error in curve.errors]

    @property
    def price(self) -> float:
        """The median over the lines of what the contract costs, as a share."""
        return median(strict / free for strict, free in self.prices.values()) - 1

    def sections(self) -> dict[str, str]:
        """The parts of docs/performance.md that are measured."""
        made = {"machine": self.machine(), "other targets": self.others(), "notes": self.notes()}
        if self.outcomes:
            made["targets"] = self.targets()
            made["rivals"] = self.against_rivals()
            made["ahead"] = self.ahead()
        if self.prices:
            made["contract"] = self.contract()
        return {name: made[name] for name in SECTIONS if made.get(name)}

    def machine(self) -> str:
        lines = [f"{'processor':<14}  {processor()}", gd.show_config()]
        for rival in self.rivals:
            if rival.package not in ("gdfast", "python", "numpy", "numba"):
                state = rival.why_not() or rival.version()
                lines.append(f"{rival.name:<14}  {state}")
        for threads in (1, 2):
            speeds = [f"{bandwidth(1 << bits, threads) / 1e9:.0f}" for bits in (18, 22, 24, 29)]
            lines.append(
                f"{'memory':<14}  read at {', '.join(speeds)} GB/s from 256 KiB, 4 MiB, 16 MiB, 512 MiB "
                f"by {threads} thread{'s' * (threads > 1)}"
            )
        lines.append(f"{'this run':<14}  {self.rounds} rounds, --scale {self.scale:g}")
        return "```\n" + "\n".join(lines) + "\n```"

    def targets(self) -> str:
        head = ["work", "unit", "target", *BACKENDS, "met", "limit of memory", "share of it"]
        head += ["fastest rival", "its figure", "times ours"]
        rows: list[list[Any]] = [head]
        for outcome in self.outcomes:
            line, own = outcome.line, outcome.entries[outcome.own]
            rival = outcome.best_rival
            figure = outcome.entries[rival].minimum if rival else None
            rows.append(
                [
                    line.name,
                    line.unit,
                    _shown(line.target),
                    *(_pair(outcome.entries.get(backend)) for backend in BACKENDS),
                    ""
                    if line.target is None
                    else "yes"
                    if own.minimum <= line.target
                    else "**no**",
                    _shown(outcome.limit),
                    f"{outcome.limit / own.minimum:.0%}" if outcome.limit else "",
                    rival or "",
                    _shown(figure),
                    _shown(figure and figure / own.minimum),
                ]
            )
        return _formatting.markdown(rows)

    def against_rivals(self) -> str:
        names = [rival.name for rival in self.rivals if rival.name not in BACKENDS]
        names = [name for name in names if any(name in o.entries for o in self.outcomes)]
        rows: list[list[Any]] = [["work", "unit", *names]]
        for outcome in self.outcomes:
            own = outcome.entries[outcome.own].minimum
            cells = [_against(outcome.entries.get(name), own) for name in names]
            rows.append([outcome.line.name, outcome.line.unit, *cells])
        return _formatting.markdown(rows)

    def others(self) -> str:
        rows: list[list[Any]] = [["what", "figure", "target", "met", "beside it"]]

        def add(what: str, show: str, figure: float, most: float, beside: str = "") -> None:
            met = "yes" if figure <= most else "**no**"
            rows.append([what, show.format(figure), f"at most {show.format(most)}", met, beside])

        def add_ratio(what: str, figure: float, least: float, beside: str) -> None:
            met = "yes" if figure >= least else "**no**"
            rows.append([what, f"{figure:.2f} times", f"at least {least:g} times", met, beside])

        for what, faster, slower, least, of_line in BACKEND_TARGETS:
            ratios = {
                outcome.line.name: outcome.entries[slower].minimum / outcome.entries[faster].minimum
                for outcome in self.outcomes
                if of_line in outcome.line.name
                and {faster, slower} <= outcome.entries.keys() - outcome.failed.keys()
            }
            if ratios:
                worst = min(ratios, key=ratios.__getitem__)
                middle = median(ratios.values())
                add_ratio(what, ratios[worst], least, f"{worst}; the median line {middle:.2f}")
        if self.imports:
            best = {name: 1e3 * min(seconds) for name, seconds in self.imports.items()}
            beside = ", ".join(f"{k} {v:.0f} ms" for k, v in best.items() if k != "gdfast")
            add("import beyond NumPy's", "{:.0f} ms", best["gdfast"], 30, beside)
        if self.first_fits:
            cold, warm = (min(self.first_fits[state]) for state in ("cold", "warm"))
            add("numba's first fit in a process, cache empty", "{:.2f} s", cold, 2)
            add("the same, cache filled", "{:.2f} s", warm, 0.3)
        if self.prices:
            add("price of the contract", "{:.1%}", self.price, PRICE, "median over the lines below")
        for case in self.threads:
            first, *others = case.speedups
            of_others = "".join(f"{name} {case.speedups[name]:.2f}; " for name in others)
            beside = f"{of_others}{case.of_limit:.0%} of the limit of memory"
            add_ratio(f"a second thread: {case.name}", case.speedups[first], SPEEDUP, beside)
        return _formatting.markdown(rows) if len(rows) > 1 else ""

    def ahead(self) -> str:
        lines = []
        for outcome in self.outcomes:
            own, rival = outcome.entries[outcome.own].minimum, outcome.best_rival
            if rival and outcome.entries[rival].minimum < own:
                times = own / outcome.entries[rival].minimum
                lines.append(
                    f"- {outcome.line.name}: {rival} takes 1/{times:.2f} of gdfast's time."
                )
        return "\n".join(lines) or "No rival is ahead on any line of this run."

    def contract(self) -> str:
        rows: list[list[Any]] = [["work", "with the contract / free of it"]]
        rows += [[name, f"{strict / free:.3f}"] for name, (strict, free) in self.prices.items()]
        return _formatting.markdown(rows)

    def notes(self) -> str:
        lines = [f"- ERROR, no figure: {error}" for error in self.errors]
        for rival in self.rivals:
            reason = rival.why_not()
            if reason:
                lines.append(f"- {rival.name}: not in this run: {reason}.")
            reasons: dict[str, list[str]] = {}
            for outcome in self.outcomes:
                if rival.name in outcome.absent:
                    reasons.setdefault(outcome.absent[rival.name], []).append(outcome.line.name)
            lines += [
                f"- {rival.name}: no figure, because {reason}: {'; '.join(names)}."
                for reason, names in reasons.items()
            ]
        return "\n".join(lines)

    def text(self) -> str:
        """For a terminal."""
        return "\n\n".join(self.sections().values())

    def write(self, folder: Path) -> None:
        """Write performance.md, from the text that it has, and the pictures. Nothing of another run is kept."""
        text = TEMPLATE.read_text("utf-8")
        sections, pictures = self.sections(), self.pictures()
        for section, shown in SECTIONS.items():
            begin, end = (mark.format(section) for mark in MARKS)
            before, begun, rest = text.partition(begin)
            _, ended, after = rest.partition(end)
            if not (begun and ended):
                raise ValueError(f"{TEMPLATE} has no section {section!r}")
            parts = [sections[section]] if section in sections else []
            for name, caption in shown.items():
                if name in pictures:
                    parts.append(f"![{caption}](images/performance-{name}.svg)")
            body = "\n\n".join(parts) or "Nothing in this run."
            text = before + begin + body + end + after
        (folder / "performance.md").write_text(text, encoding="utf-8")
        for name, draw in pictures.items():
            _save(draw, folder / "images" / f"performance-{name}.svg")

    def pictures(self) -> Mapping[str, Callable[["Axes"], None]]:
        made: dict[str, Callable[[Axes], None]] = {}
        for curve in self.curves:
            made[curve.over] = partial(_draw_curve, curve)
        if self.outcomes:
            made["limit"] = self._draw_limit
        if self.threads:
            made["threads"] = self._draw_threads
        if self.prices:
            made["contract"] = self._draw_prices
        return made

    def _draw_limit(self, ax: "Axes") -> None:
        with_limit = [o for o in self.outcomes if o.limit]
        shares = [100 * (o.limit or 0) / o.entries[o.own].minimum for o in with_limit]
        of_rival = [
            100 * (o.limit or 0) / o.entries[o.best_rival].minimum if o.best_rival else 0
            for o in with_limit
        ]
        _bars(ax, [o.line.name for o in with_limit], {"gdfast": shares, "fastest rival": of_rival})
        ax.set_xlabel("% of the speed at which memory is read")

    def _draw_threads(self, ax: "Axes") -> None:
        names = self.threads[0].speedups
        figures = {name: [case.speedups[name] for case in self.threads] for name in names}
        _bars(ax, [case.name for case in self.threads], figures)
        ax.axvline(SPEEDUP, color="0.3", lw=0.8, ls=":")
        ax.set_xlabel("times as fast with two threads")

    def _draw_prices(self, ax: "Axes") -> None:
        percent = [100 * (strict / free - 1) for strict, free in self.prices.values()]
        _bars(ax, list(self.prices), {"": percent})
        ax.axvline(100 * PRICE, color="0.3", lw=0.8, ls=":")
        ax.set_xlabel("% more time than free of the contract")


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def _shown(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:.3g}" if figure < 1000 else f"{figure:,.0f}"


def _pair(entry: Entry | None) -> str:
    """Minimum and median."""
    if entry is None:
        return ""
    return "error" if entry.error else f"{_shown(entry.minimum)} ({_shown(entry.median)})"


def _against(entry: Entry | None, own: float) -> str:
    """Minimum and median, how many times ours the minimum is, and marks that the text explains."""
    if entry is None or entry.error:
        return _pair(entry)
    rows = f", {entry.rows} rows" if entry.rows else ""
    reach = f", to the objective {_shown(entry.reach / own)}x" if entry.reach else ""
    return f"{_pair(entry)}, {_shown(entry.minimum / own)}x{rows}{reach}"


def _draw_curve(curve: Curve, ax: "Axes") -> None:
    for name, figures in curve.figures.items():
        own = name in BACKENDS
        ax.plot(
            curve.points,
            figures,
            marker=".",
            lw=1.8 if own else 1,
            ls="-" if own else "--",
            label=name,
        )
    ax.plot(curve.points, curve.limits, color="0.3", lw=0.8, ls=":", label="limit of memory")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(curve.over)
    ax.set_ylabel("ns per sample")
    ax.legend(frameon=False, fontsize="small")


def _bars(ax: "Axes", labels: Sequence[str], figures: Mapping[str, Sequence[float]]) -> None:
    height = 0.8 / len(figures)
    for k, (name, lengths) in enumerate(figures.items()):
        places = [at + (k - (len(figures) - 1) / 2) * height for at in range(len(labels))]
        ax.barh(places, lengths, height, label=name)
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    if len(figures) > 1:
        ax.legend(frameon=False, fontsize="small")


def _save(draw: Callable[["Axes"], None], path: Path) -> None:
    """An SVG whose bytes depend on what is drawn alone."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gdfast"}):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        ax = figure.subplots()
        draw(ax)
        ax.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
