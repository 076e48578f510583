"""What people write flows with; `kitaru/__init__.py` gives it its public names."""
