"""Benchmarks of fine-tuning: what docs/benchmarks.md says about it is measured by the modules here."""
