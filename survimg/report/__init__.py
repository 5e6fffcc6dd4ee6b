"""A run as one self-contained HTML page."""

from survimg.report.page import render

__all__ = ["render"]
