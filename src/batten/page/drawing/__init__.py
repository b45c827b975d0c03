"""How a page is drawn: pieces, pictures, style."""
