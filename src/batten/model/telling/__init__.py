"""How people are told: commands, numbers, sizes, and what is hidden of secrets."""
