"""The NumPy twin of the compiled core: the same functions and signatures, written as the formulas read."""
