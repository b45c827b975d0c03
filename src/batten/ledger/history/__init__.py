"""What runs did, and what their calls used."""
