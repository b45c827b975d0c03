"""What all stages of one run share: options, checks, the output as it was found, log, report."""
