"""Folding: an evaluation-mode batch norm disappears into the weights around it, exactly."""
