"""Deployments made of local processes, to be broken on purpose. Nothing here judges anything."""
