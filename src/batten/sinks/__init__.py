"""Where rows go: how a batch becomes a part."""
