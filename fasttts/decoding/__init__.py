"""Token rules: how tokens are drawn, where steps end, and which tokens a grammar allows."""
