"""How several machines do one job: who does the run, who works for it, and how that ends."""
