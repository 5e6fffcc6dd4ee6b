"""Image files: one strict reader per format."""
