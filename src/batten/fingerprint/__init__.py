"""What functions and values are, told so that two processes can compare them."""
