"""The command line: parse arguments, call the rooms below, print.

Import from here: `app`. It may import every other room; nothing imports it but `castpool.__main__`.
"""
