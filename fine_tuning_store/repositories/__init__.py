"""The behaviour: what can be done with jobs, written once, sync, over any scope."""
