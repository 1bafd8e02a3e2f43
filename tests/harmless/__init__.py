"""The other direction: behind what breaks nothing, the suite has to find nothing broken."""
