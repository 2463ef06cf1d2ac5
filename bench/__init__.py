"""How fast Iris is, against a physical limit and its peers in the same run. See README.md."""
