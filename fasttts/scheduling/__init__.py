"""The step loop and its decisions: admission, slots, speculation, verification, budgets."""
