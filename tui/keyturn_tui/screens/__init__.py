"""Full screens, one per module, and the mixins that they share."""
