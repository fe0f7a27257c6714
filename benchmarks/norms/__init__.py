"""What bench_norm.py is made of: cases, their data and float64 results, worker processes, classes, tables."""
