"""How rows become columns: schema, types, fitting."""
