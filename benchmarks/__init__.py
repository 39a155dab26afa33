"""Runnable measurements. Each prints ratios against a limit or a peer measured in the same run, never bare absolutes.

``python -m benchmarks.NAME [--quick] [--json]``; with ``--json`` the last line is one JSON object.
"""
