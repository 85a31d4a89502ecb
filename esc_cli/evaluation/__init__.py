"""Evaluation of models: the protocol of the papers, comparisons, degradations and benchmarks."""
