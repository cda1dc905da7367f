"""The comparison of two placements at one load that both can carry."""
