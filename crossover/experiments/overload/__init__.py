"""What a server does with more than it can carry."""
