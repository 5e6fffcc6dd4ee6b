"""A run as one self-contained HTML page, and its figures as images."""

from survimg.report.export import export_figures
from survimg.report.page import render

__all__ = ["export_figures", "render"]
