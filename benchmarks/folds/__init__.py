"""Parts of bench_fold.py: tools that fold ONNX models, each in a process of its own, judged on the
zoo of tests/zoo.
"""
