"""What is put aside while a batch is made: chunks, and files of items."""
