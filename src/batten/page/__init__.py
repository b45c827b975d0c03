"""What outputs hold and how they came about, as one page of HTML."""
