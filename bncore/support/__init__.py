"""What everything else stands on and what knows nothing of batch norm: optional packages, progress, files, errors."""
