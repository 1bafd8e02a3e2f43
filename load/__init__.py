"""Load: what the product's deployments cost and bear, measured and never judged in a test run."""
