"""A run as one self-contained HTML page, and its figures as images."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from survimg.report.export import export_figures
    from survimg.report.page import render

__all__ = ["export_figures", "render"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # When asked for: images need matplotlib, a page templates; a comparison of runs neither.
    if name == "export_figures":
        from survimg.report.export import export_figures

        return export_figures
    if name == "render":
        from survimg.report.page import render

        return render
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
