"""Logs, signals, sockets, cores and GPUs: what every other room may need.

Import from here: any module. It imports no other room.
"""
