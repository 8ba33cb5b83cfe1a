"""From a data set to a checkpoint and its report."""
