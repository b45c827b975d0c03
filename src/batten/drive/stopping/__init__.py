"""What ends a run early: a signal, failures, a budget."""
