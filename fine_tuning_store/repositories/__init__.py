"""The repositories: what can be done with jobs and their history. Written once, without async, over any source of transactions."""
