"""The statements, and the mapping between rows and domain objects: one module a table, or a few that are read together.

A statement is built once. What varies between executions is a bound parameter.
"""
