"""Reads of pools: plain functions that return frozen snapshots, each with a bounded number of queries."""
