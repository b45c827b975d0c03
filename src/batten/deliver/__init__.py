"""How what is sealed gets to destinations: published, recorded, each batch once."""
