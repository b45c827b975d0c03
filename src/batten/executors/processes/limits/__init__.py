"""How much memory and time a call may take, and the end of a worker that takes more."""
