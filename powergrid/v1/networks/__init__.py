"""v1's feeders with v1's own tables, deviations from the published ones included."""
