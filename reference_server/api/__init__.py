"""The views: each reads what it needs from the request, asks the domain, and shapes the answer."""
