"""A store of three nodes in two regions under random faults, every answer held against a model."""
