"""Full screens, one per module, and the base classes that they share."""
