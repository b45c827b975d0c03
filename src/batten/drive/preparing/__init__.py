"""What is done before work begins: checks, order, the plan, the schema."""
