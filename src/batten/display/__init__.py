"""How a run is shown to people: by a bar, by lines, in a notebook, and its end."""
