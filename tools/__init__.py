"""Commands of the checkout itself: nothing here is installed."""
