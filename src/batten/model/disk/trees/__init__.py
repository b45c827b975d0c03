"""What is recorded beside a live tree."""
