"""Programs to start from; run them with `python -m examples.NAME`."""
