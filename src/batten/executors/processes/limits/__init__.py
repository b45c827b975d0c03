"""How much memory and time a call may take."""
