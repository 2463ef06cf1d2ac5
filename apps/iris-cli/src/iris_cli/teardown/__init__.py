"""Taking a cluster down, with proof that nothing is left."""
